"""What one cell of a notebook has shown so far, as a front end shows it, and of bounded size.

One file, standard library only, Python 3.8 or newer. Text that is printed on and on is folded: its
beginning and its end are kept, and how much was between them is said. What is written over on a
terminal is written over here too, so that a progress bar is one line after a week as well.
"""

from __future__ import annotations

import collections
import json
import re
from typing import Any, Dict, NamedTuple

__all__ = ["CellOutputs", "Limits", "size_text"]

_Json = Dict[str, Any]

_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n\r])")
_LONG_LINE = 1 << 16
_TRACEBACK_CHARACTERS = 200_000


class Limits(NamedTuple):
    """How much of what a cell shows is kept; characters of text, bytes of everything else."""

    head: int = 1 << 19
    tail: int = 1 << 19
    data: int = 16 << 20
    all_data: int = 64 << 20
    outputs: int = 1000


def size_text(size: float) -> str:
    """Return a size in words: ``37.2 MB``."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 - the next unit
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


class _Stream:
    """Text of one stream, with carriage returns followed as a terminal does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self._done: list[str] = []
        self._line = ""

    def add(self, text: str) -> None:
        line = self._line + text
        if "\r" in line:
            # Behind a return that ends what is here the line is written over by what comes next.
            line = _OVERWRITTEN.sub("", line)
        cut = line.rfind("\n") + 1
        if cut == 0 and len(line) > _LONG_LINE:
            cut = len(line)
        self.size += len(line) - len(self._line)
        if cut:
            self._done.append(line[:cut])
        self._line = line[cut:]

    def output(self) -> _Json:
        text = "".join(self._done) + self._line
        self._done = [text[: len(text) - len(self._line)]]
        return {"output_type": "stream", "name": self.name, "text": text}


class CellOutputs:
    """The outputs of one cell."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folded = 0
        self._items: list[Any] = []
        self._clear_next = False
        self._reset()

    def _reset(self) -> None:
        self._items = []
        self._shown: dict[str, list[_Json]] = {}
        self._head = 0
        self._late: collections.deque[tuple[str, str]] = collections.deque()
        self._late_size = 0
        self._data_size = 0
        self._left_out = 0
        self.folded = 0
        self._clear_next = False

    def clear(self, *, wait: bool) -> None:
        """Take everything away: now, or with the next output."""
        if wait:
            self._clear_next = True
        else:
            self._reset()

    def write(self, name: str, text: str) -> str:
        """Add text of stream `name`; return the part of it that was not folded away."""
        if self._clear_next:
            self._reset()
        room = self.limits.head - self._head
        kept, rest = text[: max(room, 0)], text[max(room, 0) :]
        if kept:
            last = self._items[-1] if self._items else None
            if not isinstance(last, _Stream) or last.name != name:
                last = _Stream(name)
                self._items.append(last)
            before = last.size
            last.add(kept)
            self._head += last.size - before
        if rest:
            self._fold(name, rest)
        return kept

    def _fold(self, name: str, text: str) -> None:
        tail = self.limits.tail
        if len(text) > tail:
            self.folded += len(text) - tail
            text = text[-tail:]
        self._late.append((name, text))
        self._late_size += len(text)
        while self._late_size > tail:
            first, old = self._late.popleft()
            over = self._late_size - tail
            self.folded += min(over, len(old))
            self._late_size -= min(over, len(old))
            if over < len(old):
                self._late.appendleft((first, old[over:]))

    def show(self, output: _Json, display_id: str | None = None) -> _Json | None:
        """Add something other than text of a stream; return what is kept of it, if anything is."""
        if self._clear_next:
            self._reset()
        if sum(not isinstance(each, _Stream) for each in self._items) >= self.limits.outputs and (
            output["output_type"] != "error"
        ):
            self._left_out += 1
            return None
        kept = self._bounded(output)
        self._items.append(kept)
        if display_id:
            self._shown.setdefault(display_id, []).append(kept)
        return kept

    def update(self, display_id: str, data: _Json, metadata: _Json) -> bool:
        """Show something else where `display_id` is shown; return whether it is shown here."""
        shown = self._shown.get(display_id, [])
        for output in shown:
            kept = self._bounded({**output, "data": data, "metadata": metadata})
            output["data"], output["metadata"] = kept["data"], kept["metadata"]
        return bool(shown)

    def _bounded(self, output: _Json) -> _Json:
        if output["output_type"] == "error":
            lines = [str(line) for line in output.get("traceback", [])]
            kept, size = [], 0
            for line in lines:
                kept.append(line[:_TRACEBACK_CHARACTERS])
                size += len(line)
                if size > _TRACEBACK_CHARACTERS:
                    kept.append(f"… {len(lines) - len(kept)} more frames left out")
                    break
            return {**output, "traceback": kept, "evalue": str(output["evalue"])[:_LONG_LINE]}
        data: _Json = {}
        for mime, value in output.get("data", {}).items():
            size = len(value) if isinstance(value, str) else len(json.dumps(value))
            if size > self.limits.data or self._data_size + size > self.limits.all_data:
                note = f"[{mime} of {size_text(size)} left out: it is too large to be kept]"
                data.setdefault("text/plain", note)
                continue
            self._data_size += size
            if mime == "text/plain" and mime in data:
                data[mime] = value
            else:
                data.setdefault(mime, value)
        return {**output, "data": data}

    def outputs(self) -> list[_Json]:
        """Return the outputs as they are kept in a notebook."""
        shown = [each.output() if isinstance(each, _Stream) else each for each in self._items]
        if self._late:
            note = ""
            if self.folded:
                note = f"\n… {size_text(self.folded)} of output folded away here …\n"
            ends: list[_Stream] = []
            for name, text in self._late:
                if not ends or ends[-1].name != name:
                    ends.append(_Stream(name))
                ends[-1].add(text)
            shown += [_stream("stderr", note)] if note else []
            shown += [each.output() for each in ends]
        if self._left_out:
            shown.append(_stream("stderr", f"… {self._left_out} more outputs left out\n"))
        return _joined(shown)


def _stream(name: str, text: str) -> _Json:
    return {"output_type": "stream", "name": name, "text": text}


def _joined(outputs: list[_Json]) -> list[_Json]:
    """Join neighbours of one stream, as a front end would."""
    joined: list[_Json] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if (
            last is not None
            and output["output_type"] == last["output_type"] == "stream"
            and output["name"] == last["name"]
        ):
            joined[-1] = _stream(output["name"], last["text"] + output["text"])
        else:
            joined.append(output)
    return joined
