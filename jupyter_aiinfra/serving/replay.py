"""Recorded calls of a package, asked of the real thing.

Loads the model as a worker does, and asks its application what ``calls.jsonl`` holds: each call
alone, each example of a call alone, and all calls at once, which share batches. Writes a JSON line
for each answer to standard output; who reads them compares. What the model itself prints goes to
standard error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from jupyter_aiinfra.serving.app import App
from jupyter_aiinfra.serving.model import CannotServe, Manifest, load_model, read_manifest
from jupyter_aiinfra.serving.recorded import Call, body_of, place_and_device, read_calls, telling

__all__ = ["main", "rows_alone"]

_OURS = __name__.rpartition(".")[0]
_MOST_ROWS = 64
_FAILED = 500


class _Reasons(logging.Handler):
    """Keeps why the model failed: a client is not told, who has made the model is."""

    def __init__(self) -> None:
        super().__init__()
        self.last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the error of `record`, if there is one."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self.last = f"{type(error).__name__}: {error}"

    def take(self) -> str | None:
        """Return the last one, once."""
        last, self.last = self.last, None
        return last


def main(argv: Sequence[str]) -> int:
    """Answer the calls of the folder that `argv` names; return an exit status.

    A second word is where it computes, whatever the manifest says.
    """
    folder, device = place_and_device(argv)
    with telling() as tell:
        try:
            manifest = read_manifest(folder)
            served = load_model(folder, device=device)
            calls = read_calls(folder)
        except CannotServe as error:
            tell({"failed": str(error)})
            return 0
        tell({"loaded": served.name})
        for line in asyncio.run(_Asking(App(served)).answers(manifest, calls)):
            tell(line)
    return 0


class _Asking:
    """Asks an application itself, without a socket."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._reasons = _Reasons()

    async def answers(self, manifest: Manifest, calls: Sequence[Call]) -> list[dict[str, Any]]:
        """Ask for all calls in all ways; return a line for each answer."""
        logger = logging.getLogger(_OURS)
        logger.addHandler(self._reasons)
        try:
            return await self._all(manifest, calls)
        finally:
            logger.removeHandler(self._reasons)
            self._app.close()

    async def _all(self, manifest: Manifest, calls: Sequence[Call]) -> list[dict[str, Any]]:
        bodies = [call.body for call in calls]
        found = [
            {"call": n, "how": "alone"} | await self._asked(body) for n, body in enumerate(bodies)
        ]
        for number, call in enumerate(calls):
            for row, inputs in enumerate(rows_alone(call.inputs, named=len(manifest.inputs) > 1)):
                told = await self._asked(body_of(inputs))
                found.append({"call": number, "row": row, "how": "row"} | told)
        if len(bodies) > 1:
            together = await asyncio.gather(*map(self._asked, bodies))
            found += [{"call": n, "how": "together"} | each for n, each in enumerate(together)]
        return found

    async def _asked(self, body: bytes) -> dict[str, Any]:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
        sent: list[Any] = []
        given = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            told = next(given, None)
            if told is None:
                await asyncio.Event().wait()  # the client stays
            return told

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        answer = b"".join(message.get("body", b"") for message in sent)
        told: dict[str, Any] = {"status": sent[0]["status"], "body": msgspec.Raw(answer)}
        # Others may have been asked at the same time: only who failed has a reason.
        why = self._reasons.take() if told["status"] == _FAILED else None
        return told if why is None else {**told, "why": why}


def rows_alone(inputs: Any, *, named: bool) -> list[Any]:
    """Return requests for each example of `inputs` by itself; none where there is but one."""
    columns = inputs if named else {"": inputs}
    count = min(_MOST_ROWS, len(next(iter(columns.values()))))
    if count < 2:  # noqa: PLR2004
        return []
    cut = [
        {name: values[row : row + 1] for name, values in columns.items()} for row in range(count)
    ]
    return cut if named else [each[""] for each in cut]
