"""Two notebooks cell by cell: which belong together, and what differs in each."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from jupyter_aiinfra.promote.comparing import essence

__all__ = ["CellPair", "diff_lines", "pairs", "shown", "unified"]

_MOST_LINES: Final = 4000
_CONTEXT: Final = 3
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True, kw_only=True)
class CellPair:
    """A cell of the first notebook and the one of the second that has come of it.

    ``before`` and ``after`` are their places (from 0); of a cell that is in one only, the other is
    ``None``, as is its text then. ``outputs`` are what they show, in lines.
    """

    before: int | None
    after: int | None
    sources: tuple[str, str]
    outputs: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def index(self) -> int:
        """Its place in the second notebook, or of a removed one in the first."""
        at = self.before if self.after is None else self.after
        assert at is not None  # noqa: S101 - one of them is there
        return at

    @property
    def kind(self) -> Literal["same", "changed", "added", "removed"]:
        """What has become of the cell, what it shows included."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        same = self.sources[0] == self.sources[1] and self.outputs[0] == self.outputs[1]
        return "same" if same else "changed"


def pairs(old: Mapping[str, Any], new: Mapping[str, Any], *, outputs: bool) -> list[CellPair]:
    """Match the cells of two notebooks as nbdime does; with `outputs` also what they show.

    Takes seconds at first.
    """
    from nbdime import diff_notebooks  # noqa: PLC0415 - seconds to import

    diff = diff_notebooks(*(essence(each, outputs=False) for each in (old, new)))
    changes: Sequence[Mapping[str, Any]] = next(
        (each["diff"] for each in diff if each["key"] == "cells"), []
    )
    cells = (old.get("cells", []), new.get("cells", []))
    return [
        _pair(cells, before, after, outputs=outputs)
        for before, after in _matched(changes, len(cells[0]))
    ]


def _matched(
    changes: Sequence[Mapping[str, Any]], count: int
) -> Iterator[tuple[int | None, int | None]]:
    before = after = 0
    for change in changes:
        while before < change["key"]:
            yield before, after
            before, after = before + 1, after + 1
        if change["op"] == "addrange":
            for _ in change["valuelist"]:
                yield None, after
                after += 1
        elif change["op"] == "removerange":
            for _ in range(change["length"]):
                yield before, None
                before += 1
        else:
            yield before, after
            before, after = before + 1, after + 1
    while before < count:
        yield before, after
        before, after = before + 1, after + 1


def _pair(
    cells: tuple[Sequence[Any], Sequence[Any]],
    before: int | None,
    after: int | None,
    *,
    outputs: bool,
) -> CellPair:
    found = [
        {} if at is None else some[at] for some, at in zip(cells, (before, after), strict=True)
    ]
    said = [tuple(shown(cell)) if outputs else () for cell in found]
    return CellPair(
        before=before,
        after=after,
        sources=(_text(found[0].get("source")), _text(found[1].get("source"))),
        outputs=(said[0], said[1]),
    )


def shown(cell: Mapping[str, Any]) -> list[str]:
    """Return what a cell shows, in lines; of what is no text its kind, size and digest."""
    lines: list[str] = []
    for output in cell.get("outputs") or ():
        kind = output.get("output_type")
        if kind == "stream":
            lines += _text(output.get("text")).splitlines()
        elif kind == "error":
            lines.append(f"{output.get('ename')}: {output.get('evalue')}")
        else:
            lines += _displayed(output.get("data") or {})
    return [_ANSI.sub("", line) for line in lines]


def _displayed(data: Mapping[str, Any]) -> list[str]:
    lines = _text(data.get("text/plain")).splitlines()
    for mime in sorted(data):
        if mime == "text/plain":
            continue
        value = data[mime]
        plain = (
            _text(value) if isinstance(value, (str, list)) else json.dumps(value, sort_keys=True)
        )
        raw = plain.encode("utf-8", "backslashreplace")
        digest = hashlib.sha256(raw).hexdigest()[:8]
        lines.append(f"[{mime}, {len(raw):,} bytes, {digest}]")
    return lines


def unified(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    """Return a unified diff in lines, without its header; none where nothing differs."""
    if before == after:
        return ()
    found = difflib.unified_diff(_cut(before), _cut(after), lineterm="", n=_CONTEXT)
    return tuple(line for number, line in enumerate(found) if number >= 2)  # noqa: PLR2004 - header


def diff_lines(before: str, after: str) -> Iterator[tuple[Literal[" ", "+", "-"], str]]:
    """Yield the lines of both texts, each with where it is: in both, or in one of them."""
    old, new = (_cut(text.splitlines()) for text in (before, after))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, first, last, begin, end in matcher.get_opcodes():
        if tag == "equal":
            yield from ((" ", line) for line in old[first:last])
            continue
        yield from (("-", line) for line in old[first:last])
        yield from (("+", line) for line in new[begin:end])


def _cut(lines: Sequence[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return list(lines)
    return [*lines[:_MOST_LINES], f"… {len(lines) - _MOST_LINES:,} more lines are not compared"]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "".join(str(each) for each in value)
    return value if isinstance(value, str) else ""
