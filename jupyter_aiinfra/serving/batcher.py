"""Continuous batching: a batch is what queued while the last one ran, and nobody is waited for.

One user alone is answered at once; under load batches grow by themselves. All of it happens on one
event loop. A short forward pass runs on the loop itself, where a thread would cost more than the
work; a longer one in a single thread, so that requests go on being read.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from jupyter_aiinfra.serving.faults import Busy, Fault, ModelFault, TooLarge, TooLate
from jupyter_aiinfra.serving.schema import Batch, rows_of
from jupyter_aiinfra.serving.tracing import Span

__all__ = ["Batcher", "Limits", "Ticket", "joined", "shares"]

_log = logging.getLogger(__name__)

# Forward passes that take longer leave the event loop, and come back well below it only.
_LONG_SECONDS = 0.005
_LONG_TIMES = 3
_SHORT_SECONDS = 0.002


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much may be asked at once, and for how long.

    Parameters
    ----------
    queue
        Examples that may wait; what comes then is refused at once.
    seconds
        From a request's arrival to its answer.
    inline_seconds
        Forward passes of one example that are shorter run on the event loop.
    """

    batch: int = 64
    queue: int = 1024
    seconds: float = 30.0
    inline_seconds: float = 0.0005


class Ticket:
    """One request in the queue.

    Whoever makes one is told in :meth:`tell`, once, on the event loop and never from within
    :meth:`Batcher.put`. A ticket that is `done` is not computed any more.
    """

    __slots__ = ("batch", "deadline", "done", "key", "rows", "span")

    batch: Batch
    deadline: float
    key: Hashable
    rows: int
    span: Span | None

    def __init__(self) -> None:
        self.done = False
        self.span = None

    def fill(self, batch: Batch, key: Hashable = None) -> None:
        """Say what is asked; only requests of equal keys share a call."""
        self.batch = batch
        self.key = key
        self.rows = rows_of(batch)

    def tell(self, answer: Batch | Fault) -> None:
        """Take the answer, or what is told instead of one."""
        raise NotImplementedError


class _Promise(Ticket):
    """Hands the answer to a future; whoever cancels that does without."""

    __slots__ = ("_future",)

    def __init__(self, batch: Batch, key: Hashable, future: asyncio.Future[Batch]) -> None:
        super().__init__()
        self.fill(batch, key)
        self._future = future
        future.add_done_callback(self._forget)

    def _forget(self, future: asyncio.Future[Batch]) -> None:
        del future
        self.done = True

    def tell(self, answer: Batch | Fault) -> None:
        if self._future.done():
            return
        if isinstance(answer, Fault):
            self._future.set_exception(answer)
        else:
            self._future.set_result(answer)


class Batcher:
    """Answers requests by few calls of `predict`.

    Parameters
    ----------
    predict
        From a batch to a batch of as many examples. Only one call runs at a time.
    single_seconds
        What one example took at warm-up: decides where the first calls run.
    note
        Told the size of each batch and the seconds it took.
    traced
        Told who was in it, and the seconds.
    """

    def __init__(
        self,
        predict: Callable[[Batch], Batch],
        *,
        limits: Limits,
        single_seconds: float,
        note: Callable[[int, float], object] | None = None,
        traced: Callable[[Sequence[Ticket], float], object] | None = None,
    ) -> None:
        self._predict = predict
        self._limits = limits
        self._note = note
        self._traced = traced
        self._inline_possible = single_seconds < limits.inline_seconds
        self.inline = self._inline_possible
        self._long = 0
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aiinfra-forward")
        self._queue: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._busy = False
        self._row_seconds = single_seconds
        self._sweep: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self.queued_rows = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._busy and not self._queue

    def submit(
        self, batch: Batch, *, key: Hashable = None, span: Span | None = None
    ) -> asyncio.Future[Batch]:
        """Return what will be the answer to `batch`; to cancel it takes it out of the queue.

        Parameters
        ----------
        key
            Only requests of equal keys share a call.
        span
            The request that it is, where that is traced.

        Raises
        ------
        Busy
            Too much waits already; it says when to come again.
        TooLarge
            It could never be accepted.
        """
        future: asyncio.Future[Batch] = self._loop.create_future()
        promise = _Promise(batch, key, future)
        promise.span = span
        self.put(promise)
        return future

    def put(self, ticket: Ticket) -> None:
        """Queue `ticket`, which is told when there is an answer.

        Raises
        ------
        Busy, TooLarge
            As :meth:`submit` does; the ticket is told nothing then.
        """
        rows = ticket.rows
        limit = self._limits.queue
        if rows > limit:
            raise TooLarge(f"{rows} examples; at most {limit} are taken at once", field="inputs")
        if self.queued_rows + rows > limit:
            again = max(1.0, self.queued_rows * self._row_seconds)
            raise Busy("too many requests are waiting", retry_after_seconds=again)
        ticket.deadline = self._loop.time() + self._limits.seconds
        if ticket.span is not None:
            ticket.span.queued()
        self._queue.append(ticket)
        self.queued_rows += rows
        if not self._busy:
            # At the end of this turn of the loop: what else is read in it comes along.
            self._busy = True
            self._loop.call_soon(self._next)
        if self._sweep is None:
            self._sweep = self._loop.call_at(ticket.deadline, self._expire)

    async def drained(self) -> None:
        """Return when nothing waits any more and nothing runs."""
        while not self.idle:
            if self._emptied is None:
                self._emptied = self._loop.create_future()
            await asyncio.shield(self._emptied)

    def close(self) -> None:
        """Let the thread end; a call that runs is not waited for. May be called twice."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- one batch after the other -----------------------------------------------------------

    def _next(self) -> None:
        items = self._taken()
        if not items:
            self._rest()
            return
        self._running = items
        if self.inline:
            self._ended(*self._called(items))
            return
        call = self._loop.run_in_executor(self._thread, self._called, items)
        call.add_done_callback(
            lambda done: None if done.cancelled() else self._ended(*done.result())
        )

    def _taken(self) -> list[Ticket]:
        """Take the next batch from the queue, without those whose client has gone."""
        items: list[Ticket] = []
        rows = 0
        while self._queue:
            head = self._queue[0]
            if not head.done:
                full = rows + head.rows > self._limits.batch
                if items and (full or head.key != items[0].key):
                    break
                items.append(head)
                rows += head.rows
            self._queue.popleft()
            self.queued_rows -= head.rows
        return items

    def _called(self, items: list[Ticket]) -> tuple[list[Ticket], list[Any], float]:
        """Return `items` with an answer or a fault for each, and how long it took."""
        begun = time.perf_counter()
        try:
            answers = self._shared(items)
        except Exception as error:  # noqa: BLE001 - a model is other people's code
            if len(items) == 1:
                answers = [_fault(error)]
            else:
                # One request may have spoilt it for all: the others get their answers.
                _log.warning("a batch of %d requests failed, asking one by one", len(items))
                answers = [self._alone(item) for item in items]
        return items, answers, time.perf_counter() - begun

    def _shared(self, items: list[Ticket]) -> list[Any]:
        if len(items) == 1:
            answer = self._predict(items[0].batch)
            _check_rows(answer, items[0].rows)
            return [answer]
        whole = self._predict(joined([item.batch for item in items]))
        rows = [item.rows for item in items]
        _check_rows(whole, sum(rows))
        return shares(whole, rows)

    def _alone(self, item: Ticket) -> Any:
        try:
            return self._shared([item])[0]
        except Exception as error:  # noqa: BLE001 - the same
            return _fault(error)

    def _ended(self, items: list[Ticket], answers: list[Any], seconds: float) -> None:
        rows = sum(item.rows for item in items)
        if self._traced is not None:
            self._traced(items, seconds)
        for item, answer in zip(items, answers, strict=True):
            if not item.done:
                item.done = True
                item.tell(answer)
        self._running = []
        self._row_seconds += 0.1 * (seconds / rows - self._row_seconds)
        if self._inline_possible:
            self._place(seconds)
        if self._note is not None:
            self._note(rows, seconds)
        if self._queue:
            # A turn of the loop between two batches: answers leave, and requests are read.
            self._loop.call_soon(self._next)
        else:
            self._rest()

    def _rest(self) -> None:
        self._busy = False
        emptied, self._emptied = self._emptied, None
        if emptied is not None and not emptied.done():
            emptied.set_result(None)

    def _place(self, seconds: float) -> None:
        """Decide where the next call runs; on a busy machine anything is long now and then."""
        if seconds < _SHORT_SECONDS:
            self._long, self.inline = 0, True
        elif seconds > _LONG_SECONDS:
            self._long += 1
            self.inline = self.inline and self._long < _LONG_TIMES

    def _expire(self) -> None:
        """Give up on requests whose time is over, waiting or running, and look again in time."""
        now = self._loop.time()
        first = math.inf
        for item in (*self._running, *self._queue):
            if item.done:
                continue
            if item.deadline <= now:
                item.done = True
                late = f"no answer within {self._limits.seconds:g} s"
                item.tell(TooLate(late, retry_after_seconds=1))
            else:
                first = min(first, item.deadline)
        self._sweep = None if math.isinf(first) else self._loop.call_at(first, self._expire)


def _fault(error: Exception) -> Fault:
    if isinstance(error, Fault):
        return error
    # The text of the error may hold what was sent: it goes to the log of whoever runs this, only.
    _log.error("the model failed", exc_info=error)
    return ModelFault(f"the model failed: {type(error).__name__}")


def _check_rows(answer: Batch, rows: int) -> None:
    if isinstance(answer, Mapping):
        wrong = {name: len(array) for name, array in answer.items() if len(array) != rows}
        if wrong:
            raise ModelFault(f"the model returned {wrong} examples where {rows} were asked for")
    elif len(answer) != rows:
        raise ModelFault(f"the model returned {len(answer)} examples where {rows} were asked for")


def joined(batches: Sequence[Batch]) -> Batch:
    """Return one batch of all examples of `batches`, in order."""
    first = batches[0]
    if isinstance(first, Mapping):
        parts = cast("Sequence[Mapping[str, Any]]", batches)
        return {name: np.concatenate([part[name] for part in parts]) for name in first}
    return [example for batch in batches for example in batch]


def shares(whole: Batch, rows: Sequence[int]) -> list[Batch]:
    """Cut `whole` into batches of `rows` examples each."""
    cut: list[Batch] = []
    begin = 0
    if isinstance(whole, dict) and len(whole) == 1:
        ((name, array),) = whole.items()
        for count in rows:
            end = begin + count
            cut.append({name: array[begin:end]})
            begin = end
        return cut
    for count in rows:
        end = begin + count
        if isinstance(whole, Mapping):
            cut.append({name: array[begin:end] for name, array in whole.items()})
        else:
            cut.append(whole[begin:end])
        begin = end
    return cut
