"""What changed between two rows of small whole numbers, as a short text.

The text goes through the numbers in order, one sign or group each:

=========== ====================================================================================
``.``       as before; a number ``N`` is N of them, and what is left out at the end is, too
``a``-``z`` 1 to 26 more; ``A``-``Z`` 1 to 26 less
``+N;``     N more; ``-N;`` N less
``?``       unknown from now on; what is unknown counts as 0 for what comes next
``!N;``     N, where it was unknown
=========== ====================================================================================

It is the shortest of those that a browser reads with a loop of ten lines; the socket's compression
makes about three bits of each sign.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["apply_changes", "changes"]

_LETTERS: Final = 26
_LONGEST: Final = {
    **{number: chr(ord("a") + number - 1) for number in range(1, _LETTERS + 1)},
    **{-number: chr(ord("A") + number - 1) for number in range(1, _LETTERS + 1)},
}
_SIGNS: Final = re.compile(r"[0-9]+|[.?a-zA-Z]|[-+!][0-9]+;")
_RUN: Final = 4
"""So many of one sign are shorter as a number, compressed too."""


def changes(old: Sequence[int | None], new: Sequence[int | None]) -> str:
    """Return what makes `new` of `old`; both are as long."""
    parts: list[str] = []
    run = 0
    for before, now in zip(old, new, strict=True):
        if before == now:
            run += 1
            continue
        if run:
            parts.append(_same(run))
            run = 0
        if now is None:
            parts.append("?")
        elif before is None:
            parts.append(f"!{now};")
        else:
            change = now - before
            parts.append(_LONGEST.get(change) or f"{change:+};")
    return "".join(parts)


def _same(run: int) -> str:
    return "." * run if run < _RUN else str(run)


def apply_changes(old: Sequence[int | None], text: str) -> list[int | None]:
    """Return the numbers that :func:`changes` was given as `new`.

    Raises
    ------
    ValueError
        The text is damaged, or for a longer row.
    """
    made = list(old)
    at = position = 0
    for found in _SIGNS.finditer(text):
        if found.start() != position:
            break
        position = found.end()
        sign = found[0]
        if sign[0] in "0123456789":
            at += int(sign)
            continue
        if at >= len(made):
            raise ValueError(f"the changes are for more than {len(made)} numbers")
        made[at] = _changed(made[at], sign)
        at += 1
    if position != len(text) or at > len(made):
        raise ValueError(f"the changes cannot be read at {position}")
    return made


def _changed(before: int | None, sign: str) -> int | None:
    if sign == ".":
        return before
    if sign == "?":
        return None
    if sign[0] == "!":
        return int(sign[1:-1])
    if len(sign) > 1:
        return (before or 0) + int(sign[:-1])
    if sign.islower():
        return (before or 0) + ord(sign) - ord("a") + 1
    return (before or 0) - (ord(sign) - ord("A") + 1)
