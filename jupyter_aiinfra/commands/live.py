"""A table in a terminal that is drawn over once a second, without flicker."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from jupyter_aiinfra.commands.context import Live

__all__ = ["live_table", "table_lines"]

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_TO_LINE_END, _TO_SCREEN_END, _CLEAR = "\x1b[K", "\x1b[J", "\x1b[H\x1b[2J"
_GAP: Final = "  "
_FEWEST_CELLS: Final = 3
_PLAIN_WIDTH: Final = 120


@contextmanager
def live_table(typed: Callable[[str], str]) -> Iterator[Live]:
    """Yield a table in the terminal; where there is none, each one is printed below the last.

    Parameters
    ----------
    typed
        Writes the names of commands as they are typed here.
    """
    stream = sys.stdout
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield _Pages(stream, typed)
        return
    stream.write(_HIDE)
    try:
        yield _Drawn(stream, typed)
    finally:
        stream.write(_SHOW)
        stream.flush()


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> list[str]:
    """Return a table of lines no wider than `width`; what is widest is cut off first."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - costs more than the rest

    lines = [columns, *rows]
    widths = [max(cell_len(line[number]) for line in lines) for number in range(len(columns))]
    room = width - len(_GAP) * (len(columns) - 1)
    while sum(widths) > room and max(widths) > _FEWEST_CELLS:
        widths[widths.index(max(widths))] -= 1

    def cell(text: str, size: int) -> str:
        cut = set_cell_size(text, size - 1) + "…" if cell_len(text) > size else text
        return set_cell_size(cut, size)

    return [_GAP.join(map(cell, line, widths)).rstrip() for line in lines]


class _Drawn:
    """Lines that are written over: none is blank between, and what is equal is not touched."""

    def __init__(self, stream: TextIO, typed: Callable[[str], str]) -> None:
        self._stream = stream
        self._typed = typed
        self._lines: list[str] = []
        self._size = os.terminal_size((0, 0))

    def show(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, below: str, value: Any
    ) -> None:
        """Draw the table; see Live."""
        del value
        size = os.get_terminal_size(self._stream.fileno())
        # The first column is left free: a full line would wrap in some terminals.
        head, *body = table_lines(columns, rows, width=max(size.columns - 1, 1))
        room = max(size.lines - 3, 1)
        more = f"{len(body) - room} more do not fit; " if len(body) > room else ""
        note = self._typed(more + below)[: max(size.columns - 1, 1)]
        self._draw([f"{_BOLD}{head}{_PLAIN}", *body[:room], note], size)

    def _draw(self, lines: list[str], size: os.terminal_size) -> None:
        if self._size not in (size, (0, 0)):
            # Lines may have been wrapped anew: where they are now cannot be known.
            written, self._lines = _CLEAR, []
        else:
            written = f"\x1b[{len(self._lines)}A\r" if self._lines else "\r"
        for number, line in enumerate(lines):
            known = self._lines[number] if number < len(self._lines) else None
            written += "\n" if line == known else f"{line}{_TO_LINE_END}\n"
        self._stream.write(written + _TO_SCREEN_END)
        self._stream.flush()
        self._lines, self._size = lines, size


class _Pages:
    """One table after the other, for a file or a pipe."""

    def __init__(self, stream: TextIO, typed: Callable[[str], str]) -> None:
        self._stream = stream
        self._typed = typed

    def show(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, below: str, value: Any
    ) -> None:
        """Print the table; see Live."""
        del value
        lines = table_lines(columns, rows, width=_PLAIN_WIDTH)
        self._stream.write("\n".join([*lines, self._typed(below), "", ""]))
        self._stream.flush()
