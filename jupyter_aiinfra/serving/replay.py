"""Recorded calls of a package, asked of the real thing.

Loads the model as a worker does, and asks its application what ``calls.jsonl`` holds: each call
alone, each example of a call alone, and all calls at once, which share batches. Writes a JSON line
for each answer to standard output; who reads them compares. What the model itself prints goes to
standard error.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from jupyter_aiinfra.serving.app import App
from jupyter_aiinfra.serving.model import CannotServe, Manifest, load_model, read_manifest

__all__ = ["main", "rows_alone"]

_CALLS = "calls.jsonl"
_OURS = __name__.rpartition(".")[0]
_MOST_ROWS = 64


class _Call(msgspec.Struct, kw_only=True):
    inputs: Any


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
    place, *device = argv
    # Only what is ours: models print, and so do the packages that they import.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with out:
        try:
            folder = Path(place)
            manifest = read_manifest(folder)
            served = load_model(folder, device=next(iter(device), None))
            lines = (folder / _CALLS).read_bytes().splitlines()
            calls = [msgspec.json.decode(line, type=_Call) for line in lines]
        except CannotServe as error:
            out.write(msgspec.json.encode({"failed": str(error)}) + b"\n")
            return 0
        out.write(msgspec.json.encode({"loaded": served.name}) + b"\n")
        for line in asyncio.run(_answers(App(served), manifest, calls)):
            out.write(msgspec.json.encode(line) + b"\n")
    return 0


async def _answers(app: App, manifest: Manifest, calls: Sequence[_Call]) -> list[dict[str, Any]]:
    reasons = _Reasons()
    logging.getLogger(_OURS).addHandler(reasons)
    try:
        return await _all_answers(app, manifest, calls, reasons)
    finally:
        logging.getLogger(_OURS).removeHandler(reasons)


async def _all_answers(
    app: App, manifest: Manifest, calls: Sequence[_Call], reasons: _Reasons
) -> list[dict[str, Any]]:
    bodies = [msgspec.json.encode({"inputs": call.inputs}) for call in calls]
    found = [
        {"call": n, "how": "alone"} | await _asked(app, body, reasons)
        for n, body in enumerate(bodies)
    ]
    for number, call in enumerate(calls):
        for row, inputs in enumerate(rows_alone(call.inputs, named=len(manifest.inputs) > 1)):
            body = msgspec.json.encode({"inputs": inputs})
            answer = await _asked(app, body, reasons)
            found.append({"call": number, "row": row, "how": "row"} | answer)
    if len(bodies) > 1:
        together = await asyncio.gather(*(_asked(app, body, reasons) for body in bodies))
        found += [{"call": n, "how": "together"} | each for n, each in enumerate(together)]
    app.close()
    return found


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


async def _asked(app: App, body: bytes, reasons: _Reasons) -> dict[str, Any]:
    """Ask the application itself, without a socket."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
    }
    sent: list[Any] = []
    given = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        told = next(given, None)
        if told is None:
            await asyncio.Event().wait()  # the client stays
        return told

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent)
    told: dict[str, Any] = {"status": sent[0]["status"], "body": msgspec.Raw(answer)}
    why = reasons.take()
    return told if why is None else {**told, "why": why}
