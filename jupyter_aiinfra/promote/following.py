"""Watching a notebook run: its events as they come, and the notebook that they make.

What is read are the files that ``node/live.py`` writes, from byte offsets, on any pool that lets
files of a job be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jupyter_aiinfra.errors import NotFound
from jupyter_aiinfra.model import Handle
from jupyter_aiinfra.node.live import EVENTS, STATE
from jupyter_aiinfra.pools.base import Browsing

__all__ = ["EventReader", "Picture", "read_file"]

_FIRST = EVENTS.format(1)
_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n\r])")


class EventReader:
    """Reads what is new of a run's events at each :meth:`poll`.

    ``file`` and ``offset`` say how far it is: who hands them on goes on there.
    """

    def __init__(
        self, pool: Browsing, handle: Handle, *, file: str = _FIRST, offset: int = 0
    ) -> None:
        self.file = file
        self.offset = offset
        self.ended = False
        self._pool = pool
        self._handle = handle

    async def poll(self) -> Sequence[Mapping[str, Any]]:
        """Return the events that are new; none where there is no file yet.

        Where a file was given up for another, as long runs do, the next begins with an ``outputs``
        event for the cell that runs; what was between is in the output notebook.

        Raises
        ------
        Unreachable
            The pool does not answer.
        """
        data = await self._new(self.file, self.offset)
        if data is None or (not data and self.offset):
            newest = await self._newest()
            if newest is not None and newest != self.file:
                self.file, self.offset = newest, 0
                data = await self._new(self.file, 0)
        if not data:
            return ()
        whole, mark, _ = data.rpartition(b"\n")
        self.offset += len(whole) + len(mark)
        events = [json.loads(line) for line in whole.splitlines() if line.strip()]
        self.ended = self.ended or any(event["event"] == "end" for event in events)
        return events

    async def _new(self, path: str, offset: int) -> bytes | None:
        return await read_file(self._pool, self._handle, path, offset=offset)

    async def _newest(self) -> str | None:
        text = await self._new(STATE, 0)
        return str(json.loads(text)["events"]) if text else None


async def read_file(pool: Browsing, handle: Handle, path: str, *, offset: int = 0) -> bytes | None:
    """Return what a file of a job's run directory holds from a byte on; ``None``: it is not there.

    Raises
    ------
    Unreachable
        The pool does not answer.
    """
    try:
        reader = await pool.open_file(handle, path, offset=offset)
    except NotFound:
        return None
    try:
        pieces = []
        while piece := await reader.read():
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        await reader.aclose()


class Picture:
    """A notebook as its events make it. ``notebook`` is changed in place.

    Cells of a run are those of the output notebook, with the one that holds the parameters.

    Parameters
    ----------
    make
        Makes of an output what the notebook holds.
    """

    def __init__(
        self, notebook: dict[str, Any], *, make: Callable[[Mapping[str, Any]], Any] = dict
    ) -> None:
        self.notebook = notebook
        self._make = make
        self._shown: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self._clear: set[int] = set()

    def apply(self, event: Mapping[str, Any]) -> set[int]:
        """Take in one event; return which cells it has changed, by their places."""
        kind = event["event"]
        if kind == "update":
            shown = self._shown.get(event["display_id"], ())
            for _, output in shown:
                output["data"], output["metadata"] = event["data"], event["metadata"]
            return {at for at, _ in shown}
        if kind in ("cell", "outputs", "clear"):
            self._change(self.notebook["cells"][event["cell"]], event)
            return {event["cell"]}
        if kind in ("stream", "output"):
            cell = self.notebook["cells"][event["cell"]]
            cell.setdefault("outputs", [])
            if event["cell"] in self._clear:
                self._clear.discard(event["cell"])
                cell["outputs"] = []
            if kind == "stream":
                self._print(cell["outputs"], event["name"], event["text"])
            else:
                self._show(cell["outputs"], event)
            return {event["cell"]}
        return set()

    def _change(self, cell: Any, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "outputs":
            cell["outputs"] = [self._make(output) for output in event["outputs"]]
        elif kind == "clear" and event["wait"]:
            self._clear.add(event["cell"])
        elif kind == "clear" or event["state"] == "running":
            cell["outputs"] = []
        elif event.get("execution_count") is not None:
            cell["execution_count"] = event["execution_count"]

    def _show(self, outputs: list[Any], event: Mapping[str, Any]) -> None:
        output = self._make(event["output"])
        outputs.append(output)
        if event.get("display_id"):
            self._shown.setdefault(event["display_id"], []).append((event["cell"], output))

    def _print(self, outputs: list[Any], name: str, text: str) -> None:
        last = outputs[-1] if outputs else None
        if last is None or last.get("output_type") != "stream" or last.get("name") != name:
            last = self._make({"output_type": "stream", "name": name, "text": ""})
            outputs.append(last)
        before, mark, line = last["text"].rpartition("\n")
        joined = line + text
        last["text"] = before + mark + (_OVERWRITTEN.sub("", joined) if "\r" in joined else joined)
