"""Answers in parts: a generator's values as server-sent events, for as long as somebody listens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from jupyter_aiinfra.serving.faults import BadInput, Busy
from jupyter_aiinfra.serving.schema import Batch, listed, rows_of
from jupyter_aiinfra.serving.wire import Receive

__all__ = ["Streams"]

_log = logging.getLogger(__name__)

_END = object()


class Streams:
    """Runs up to `most` generators, each of whose steps has a thread while it lasts.

    The next part is asked for when the last one has been handed over: a slow reader slows its own
    generator down, and one that goes has it closed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="aiinfra-stream")

    def open(
        self, function: Callable[[Any], Iterator[Any]], batch: Batch, receive: Receive
    ) -> AsyncIterator[bytes]:
        """Return the events of one example.

        Raises
        ------
        BadInput
            There are several examples.
        Busy
            As many streams as may be are open.
        """
        if rows_of(batch) != 1:
            raise BadInput("an answer in parts is for one example", field="inputs")
        if self._open >= self._most:
            raise Busy(f"{self._most} streams are open", retry_after_seconds=1)
        self._open += 1
        example = batch[0] if not isinstance(batch, Mapping) else _first(batch)
        return self._events(function, example, receive)

    def close(self) -> None:
        """Let the threads end; nobody waits for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _events(
        self, function: Callable[[Any], Iterator[Any]], example: Any, receive: Receive
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        gone = asyncio.ensure_future(receive())
        parts: Iterator[Any] | None = None
        step: asyncio.Future[Any] | None = None
        try:
            parts = function(example)
            while True:
                step = loop.run_in_executor(self._threads, next, parts, _END)
                await asyncio.wait((step, gone), return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                part = step.result()
                if part is _END:
                    yield b"event: end\ndata: {}\n\n"
                    return
                yield b"data: " + msgspec.json.encode(part, enc_hook=listed) + b"\n\n"
        except Exception as error:  # noqa: BLE001 - a model is other people's code
            # Its status has long been sent; the event says it.
            _log.exception("the model failed in the middle of an answer")
            told = msgspec.json.encode({"error": f"the model failed: {type(error).__name__}"})
            yield b"event: error\ndata: " + told + b"\n\n"
        finally:
            self._open -= 1
            gone.cancel()
            close = getattr(parts, "close", _nothing)
            if step is None or step.done():
                close()
            else:
                # A generator cannot be closed in the middle of a step.
                step.add_done_callback(lambda _: close())


def _first(batch: Mapping[str, Any]) -> Any:
    one = {name: array[0] for name, array in batch.items()}
    return one if len(one) > 1 else next(iter(one.values()))


def _nothing() -> None:
    """Close what was never begun."""
