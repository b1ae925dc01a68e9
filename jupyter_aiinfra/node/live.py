"""What a notebook run tells while it runs: its state, its events, and the notebook itself.

One file, standard library only, Python 3.8 or newer. All of it lies below ``notebook/`` in the run
directory (see ``docs/run-directory.md``); whoever reads there needs nothing of ours. Nothing is
written before secrets are hidden.
"""

from __future__ import annotations

import errno
import json
import os
import time
from typing import TYPE_CHECKING, Any, Dict, Mapping

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import outputs, scrub, supervise
else:  # its neighbours in the bundle
    import outputs
    import scrub
    import supervise

__all__ = ["EVENTS", "OUTPUT", "STATE", "Live", "is_full"]

_Json = Dict[str, Any]

STATE = "notebook/state.json"
OUTPUT = "notebook/output.ipynb"
EVENTS = "notebook/events-{}.jsonl"

_EVENTS_BYTES = 16 << 20
# A word that may go on with the next piece is held back for as long, so that it is seen whole.
_HELD_SECONDS = 1.0
_FOLDED_SECONDS = 1.0
_LOGGED_CHARACTERS = 20_000


def is_full(error: OSError) -> bool:
    """Whether `error` says that the disk is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class Live:
    """Writes events, state and notebook of one run. ``findings`` counts what was hidden, by cell.

    A full disk stops nobody from computing: what cannot be written is left out, and said at the
    end. Events then begin anew in another file, with all that the running cell shows.
    """

    def __init__(self, run: supervise.Run, scrubber: scrub.Scrubber) -> None:
        self.run = run
        self.scrubber = scrubber
        self.findings: dict[tuple[int, str], int] = {}
        self.state: _Json = {"state": "starting", "cell": None, "cells": None}
        self.full = False
        self._number = 1
        self._size = 0
        self._lost = False
        self._pending: list[tuple[int, str, str]] = []
        self._held_since: float | None = None
        self._folded: dict[int, int] = {}
        self._folded_at = 0.0
        self._shown: dict[int, outputs.CellOutputs] = {}
        os.makedirs(run.path("notebook"), 0o700, exist_ok=True)
        self._file = self._open()

    def _open(self) -> int:
        path = self.run.path(*EVENTS.format(self._number).split("/"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)

    # --- state ---------------------------------------------------------------------------------

    def tell(self, **values: Any) -> None:
        """Change the state, and write it down."""
        self.state.update(values)
        self.state["at"] = time.time()
        self.state["events"] = EVENTS.format(self._number)
        self.state["findings"] = [
            {"cell": cell, "kind": kind, "count": count}
            for (cell, kind), count in sorted(self.findings.items())
        ]
        try:
            self.run.write(STATE, self.state, durable=False)
        except OSError as error:
            if not is_full(error):
                raise
            self.full = True

    def log(self, text: str) -> None:
        """Print to the rank's log, as far as there is room."""
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while data:
                data = data[os.write(1, data) :]
        except OSError as error:
            if not is_full(error):
                raise
            self.full = True

    # --- events --------------------------------------------------------------------------------

    def event(self, kind: str, **values: Any) -> None:
        """Append an event; text that waits goes before it."""
        self.flush(whole=True)
        self._append({"event": kind, "at": time.time(), **values})

    def show(self, cell: int, output: Mapping[str, Any], *, display_id: str | None = None) -> None:
        """Append an output of a cell that is no stream."""
        clean, _ = self.scrubber.output(output)
        self.event("output", cell=cell, output=clean, display_id=display_id)
        if clean["output_type"] == "error":
            self.log("\n".join(clean["traceback"]) + "\n")
        elif "text/plain" in clean["data"]:
            text = "".join(clean["data"]["text/plain"])
            self.log(text[:_LOGGED_CHARACTERS] + "\n")

    def write(self, cell: int, name: str, text: str) -> None:
        """Let text of a stream be seen, a little later together with what follows it."""
        last = self._pending[-1] if self._pending else None
        if last is not None and last[:2] == (cell, name):
            self._pending[-1] = (cell, name, last[2] + text)
        else:
            self._pending.append((cell, name, text))

    def fold(self, cell: int, characters: int) -> None:
        """Say now and then how much is folded away."""
        if self._folded.get(cell) != characters:
            self._folded[cell] = characters
            if time.monotonic() - self._folded_at >= _FOLDED_SECONDS:
                self._folded_at = time.monotonic()
                self.event("folded", cell=cell, characters=characters)

    def flush(self, *, whole: bool = False) -> None:
        """Append the text that waits; a word that may go on waits a little longer."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        cell, name, text = pending.pop()
        now = time.monotonic()
        held = self._held_since is not None and now - self._held_since >= _HELD_SECONDS
        cut = len(text) if whole or held else scrub.open_end(text)
        if cut < len(text):
            self._pending = [(cell, name, text[cut:])]
            self._held_since = self._held_since or now
        else:
            self._held_since = None
        begun = self._number
        for number, stream, said in (*pending, (cell, name, text[:cut])):
            clean, _ = self.scrubber.text(said)
            self.log(clean)
            if clean and self._number == begun:
                values = {"cell": number, "name": stream, "text": clean}
                self._append({"event": "stream", "at": time.time(), **values})
        if self._number != begun:
            self._pending = []  # the new file begins with all that was printed

    def _append(self, event: _Json) -> None:
        anew = (self._size > _EVENTS_BYTES or self._lost) and self._begin_anew()
        if not (anew and event["event"] in ("stream", "output")):
            self._put(event)

    def _put(self, event: _Json) -> None:
        data = (json.dumps(event, ensure_ascii=False, default=str) + "\n").encode(
            "utf-8", "backslashreplace"
        )
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            if not is_full(error):
                raise
            self.full = self._lost = True  # half a line may stand there: nothing is put behind it
        self._size += len(data)

    def _begin_anew(self) -> bool:
        """Go on in another file, which begins with all that the running cell shows by now."""
        old = self.run.path(*EVENTS.format(self._number).split("/"))
        self._number += 1
        try:
            file = self._open()
        except OSError as error:
            if not is_full(error):
                raise
            self._number -= 1
            return False
        os.close(self._file)
        self._file, self._size, self._lost = file, 0, False
        for cell, shown in self._shown.items():
            clean = [self.scrubber.output(output)[0] for output in shown.outputs()]
            self._put({"event": "outputs", "at": time.time(), "cell": cell, "outputs": clean})
        self._size = 0  # of what comes now
        self.tell()
        os.unlink(old)
        return True

    def running(self, cell: int, shown: outputs.CellOutputs) -> None:
        """Know what the running cell shows."""
        self._shown = {cell: shown}

    # --- the notebook --------------------------------------------------------------------------

    def outputs_of(self, cell: int, shown: outputs.CellOutputs) -> list[_Json]:
        """Return what is kept of a cell's outputs, without secrets; those are counted."""
        clean = []
        found: dict[str, int] = {}
        for output in shown.outputs():
            kept, new = self.scrubber.output(output)
            clean.append(kept)
            for kind, count in new.items():
                found[kind] = found.get(kind, 0) + count
        for key in [key for key in self.findings if key[0] == cell]:
            del self.findings[key]
        self.findings.update({(cell, kind): count for kind, count in found.items()})
        return clean

    def save(self, text: str) -> bool:
        """Write the output notebook, whole or not at all; return whether there was room."""
        path = self.run.path(*OUTPUT.split("/"))
        new = os.path.join(os.path.dirname(path), ".output.ipynb.new")
        try:
            with open(new, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            os.chmod(new, 0o600)
            os.replace(new, path)
        except OSError as error:
            if not is_full(error):
                raise
            self.full = True
            if os.path.exists(new):
                os.unlink(new)
            return False
        self.full = False
        return True

    def close(self) -> None:
        """Write what waits, and let go of the file. Idempotent."""
        if self._file >= 0:
            self.flush(whole=True)
            os.close(self._file)
            self._file = -1
