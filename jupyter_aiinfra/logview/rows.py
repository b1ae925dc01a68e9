"""A log of any length, by its rows: bytes in once, then any rows of it from a few bytes.

A row is a line, or a run of lines that are equal byte by byte. What is kept of a log is where some
of its rows begin, so that a million lines cost some tens of kilobytes.
"""

from __future__ import annotations

import codecs
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, compress
from operator import ne
from typing import NamedTuple

from jupyter_aiinfra.logview.terminal import Screen
from jupyter_aiinfra.logview.view import Redactor, drawn_text

__all__ = ["SHOWN_CHARACTERS", "LineDrawer", "RawRow", "RowIndex", "Span", "TextRow"]

SHOWN_CHARACTERS = 4000
"""How much of a line is shown."""

# A row of more bytes than this is passed over when its neighbours are read, and a line of more is
# equal to no other: neither is ever held as a whole.
_LONG_BYTES = 16 * 1024
_MARK_ROWS = 256
_MARK_BYTES = 64 * 1024
_BLOCK_BYTES = 1 << 20
_SPAN_BYTES = 1 << 20

_SPECIAL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_RETURN = re.compile(rb"\r|\x1b\[1?G")  # what takes the cursor back to the start of the line


class TextRow(NamedTuple):
    """A row as it is shown; see :class:`~jupyter_aiinfra.server.wire.LogRow`."""

    text: str
    left_out: int
    line: int
    repeat: int


class _Mark(NamedTuple):
    """Where a row begins: its number and that of its line, both from 0, and its first byte."""

    row: int
    offset: int
    line: int


class RawRow(NamedTuple):
    """A row as it was written: its first line, or both ends of a very long one.

    ``head`` is all `size` bytes of the line where there is no ``tail``.
    """

    row: int
    line: int
    repeat: int
    head: bytes
    tail: bytes
    size: int


class LineDrawer:
    """Makes the bytes of a line what a terminal would show of it: text and colours.

    A colour ends with its line. Invalid UTF-8 is replaced, every other control is obeyed if it
    concerns the line only, and gone in any case.

    Parameters
    ----------
    redactor
        What is hidden.
    width
        How many characters are shown.
    """

    def __init__(self, redactor: Redactor, *, width: int = SHOWN_CHARACTERS) -> None:
        self.redactor = redactor
        self._width = width

    def __call__(self, raw: RawRow) -> tuple[str, int]:
        """Return the text of a row, and how many bytes of its line are left out.

        Of a very long line, a progress bar that is drawn over and over is shown as it was in the
        end; of anything else the beginning is.
        """
        if not raw.tail:
            return self._draw(raw.head.decode("utf-8", "replace"))
        tail = raw.tail.rstrip(b"\r")
        returned = _RETURN.search(tail)
        if returned:
            return self._draw(tail[returned.end() :].decode("utf-8", "replace"))
        text, used = codecs.utf_8_decode(raw.head, "replace", False)  # noqa: FBT003 - no keyword
        text, left_out = self._draw(text, unfinished=True)
        return text, left_out + raw.size - used

    def _draw(self, text: str, *, unfinished: bool = False) -> tuple[str, int]:
        text = text.removesuffix("\r")
        redactor = self.redactor
        if len(text) <= self._width and not _SPECIAL.search(text) and not redactor.longest:
            return text, 0
        # A secret that begins within the width must be seen whole to be recognised.
        screen = Screen(head_rows=0, tail_rows=1, width=self._width + redactor.longest)
        screen.write(text)
        return drawn_text(
            screen.rows[-1], width=self._width, redactor=redactor, unfinished=unfinished
        )


class Span(NamedTuple):
    """Neighbouring rows, and where their bytes are.

    ``long`` is a single row of which only the ends are read: a very long line, or a long run.
    """

    first: _Mark
    end: _Mark
    long: bool

    @property
    def row(self) -> int:
        """The number of its first row."""
        return self.first.row

    @property
    def reads(self) -> tuple[tuple[int, int], ...]:
        """What to read for :meth:`rows`: offset and number of bytes of each piece."""
        first, end = self.first.offset, self.end.offset
        if not self.long:
            return ((first, end - first),)
        head = (first, _LONG_BYTES + 1)
        return (head, (end - _LONG_BYTES, _LONG_BYTES)) if self._one_line else (head,)

    @property
    def _one_line(self) -> bool:
        return self.end.line - self.first.line == 1

    def raw(
        self, pieces: Sequence[bytes], *, first: int = 0, end: int | None = None
    ) -> Iterator[RawRow]:
        """Yield those of its rows whose numbers are from `first` to before `end`.

        `pieces` are what was read of :attr:`reads`.
        """
        if self.long:
            if first <= self.row and (end is None or self.row < end):
                yield self._long_row(pieces)
            return
        lines = pieces[0].split(b"\n")
        unfinished = lines.pop()  # only where the log ends
        starts = _row_starts(lines, None)
        starts.append(len(lines))
        if unfinished:
            lines.append(unfinished)
            starts.append(len(lines))
        rows = len(starts) - 1
        high = rows if end is None else min(rows, end - self.row)
        for at in range(max(0, first - self.row), high):
            begin = starts[at]
            line = lines[begin]
            repeat = starts[at + 1] - begin
            yield RawRow(self.row + at, self.first.line + begin, repeat, line, b"", len(line))

    def _long_row(self, pieces: Sequence[bytes]) -> RawRow:
        if not self._one_line:
            line = pieces[0].partition(b"\n")[0]
            repeat = self.end.line - self.first.line
            return RawRow(self.row, self.first.line, repeat, line, b"", len(line))
        head, tail = pieces
        size = self.end.offset - self.first.offset - tail.endswith(b"\n")
        tail = tail.removesuffix(b"\n")
        return RawRow(self.row, self.first.line, 1, head[:size], tail, size)

    def rows(
        self,
        pieces: Sequence[bytes],
        draw: LineDrawer,
        *,
        first: int = 0,
        end: int | None = None,
    ) -> list[TextRow]:
        """Return the same rows as they are shown."""
        return [
            TextRow(*draw(raw), raw.line + 1, raw.repeat)
            for raw in self.raw(pieces, first=first, end=end)
        ]


class RowIndex:
    """Where the rows of a log are. Feed it the log's bytes in order, cut anywhere.

    The last line, as long as nothing has ended it, is a row of its own: when it ends, it may turn
    out to be one more of the row before. Not thread-safe.
    """

    def __init__(self) -> None:
        self.total_bytes = 0
        self._rows = 0  # of lines that have ended, as everything up to _open
        self._lines = 0
        self._bytes = 0
        self._run = _Mark(0, 0, 0)  # the last of these rows
        self._run_line: bytes | None = None  # nothing equals it
        self._open = bytearray()  # the line that has not ended, unless it is too long
        self._open_bytes = 0
        self._mark_rows = array("Q", [0])
        self._mark_offsets = array("Q", [0])
        self._mark_lines = array("Q", [0])

    @property
    def total_rows(self) -> int:
        """The number of rows."""
        return self._rows + (self._open_bytes > 0)

    @property
    def total_lines(self) -> int:
        """The number of lines; an unfinished one counts."""
        return self._lines + (self._open_bytes > 0)

    @property
    def marks(self) -> int:
        """How many places are remembered."""
        return len(self._mark_rows)

    # --- bytes in ------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take the next bytes; about 5 ms for each MiB of lines of usual length."""
        for at in range(0, len(data), _BLOCK_BYTES):
            self._take(data[at : at + _BLOCK_BYTES])

    def _take(self, block: bytes) -> None:
        self.total_bytes += len(block)
        end = block.rfind(b"\n")
        if end >= 0:
            lines = block[:end].split(b"\n")
            if self._open_bytes:
                size = self._open_bytes + len(lines[0])
                if size > _LONG_BYTES:
                    self._add_long(size)
                    del lines[0]
                else:
                    lines[0] = bytes(self._open) + lines[0]
                self._open.clear()
                self._open_bytes = 0
            self._add(lines)
        rest = block[end + 1 :]
        self._open_bytes += len(rest)
        if self._open_bytes <= _LONG_BYTES:
            self._open += rest
        else:
            self._open.clear()

    def _add(self, lines: list[bytes]) -> None:
        """Take whole lines, without their breaks."""
        begin = 0
        if max(map(len, lines), default=0) > _LONG_BYTES:
            for at, line in enumerate(lines):
                if len(line) > _LONG_BYTES:
                    self._add_short(lines[begin:at])
                    self._add_long(len(line))
                    begin = at + 1
        self._add_short(lines[begin:] if begin else lines)

    def _add_long(self, size: int) -> None:
        self._begin_row(self._bytes, self._lines)
        self._run_line = None
        self._lines += 1
        self._bytes += size + 1

    def _add_short(self, lines: list[bytes]) -> None:
        """Take whole lines, none of them long: nothing here is done line by line but in C."""
        if not lines:
            return
        starts = _row_starts(lines, self._run_line)
        at, offset, low = 0, self._bytes, 0
        while low < len(starts):
            # As many rows as there are to the next one that is marked anyway.
            high = min(low + _MARK_ROWS - self._rows % _MARK_ROWS, len(starts))
            end = starts[high] if high < len(starts) else starts[-1]
            offset += _size(lines, at, starts[low])
            at = starts[low]
            self._begin_row(offset, self._lines + at)
            size = _size(lines, at, end)
            begun = high - low if high < len(starts) else high - low - 1  # rows of these lines
            folded = end - at > begun
            each = range(low + 1, high)
            if size <= (_LONG_BYTES if folded else _MARK_BYTES):
                last = each[-1:] if high == len(starts) else each[:0]
                self._rows += len(each) - len(last)
                each = last
            for start in (starts[number] for number in each):
                offset += _size(lines, at, start)
                at = start
                self._begin_row(offset, self._lines + at)
            low = high
        self._run_line = lines[-1]
        self._bytes = offset + _size(lines, at, len(lines))
        self._lines += len(lines)

    def _begin_row(self, offset: int, line: int) -> None:
        """Note where a row begins, and with it that the one before has ended."""
        mark = _Mark(self._rows, offset, line)
        if offset - self._run.offset > _LONG_BYTES:
            self._mark(self._run)
            self._mark(mark)
        elif self._rows % _MARK_ROWS == 0 or offset - self._mark_offsets[-1] > _MARK_BYTES:
            self._mark(mark)
        self._run = mark
        self._rows += 1

    def _mark(self, mark: _Mark) -> None:
        if mark.row > self._mark_rows[-1]:
            self._mark_rows.append(mark.row)
            self._mark_offsets.append(mark.offset)
            self._mark_lines.append(mark.line)

    # --- rows out ------------------------------------------------------------------------------

    def spans(self, first: int, count: int) -> Iterator[Span]:
        """Yield where the rows `first` to ``first + count`` are, in order, as far as they are.

        A span may begin before and end after them. Use it up before the next :meth:`feed`.
        """
        end = min(first + count, self.total_rows)
        if not 0 <= first < end:
            return
        marks = self._marks_from(bisect_right(self._mark_rows, first) - 1)
        begin = pending = next(marks)
        for mark in marks:
            if begin.row >= end:
                break
            if mark.row == begin.row:
                continue
            size = mark.offset - begin.offset
            long = mark.row - begin.row == 1 and size > _LONG_BYTES
            if pending.row < begin.row and (long or mark.offset - pending.offset > _SPAN_BYTES):
                yield Span(pending, begin, long=False)
                pending = begin
            if long:
                yield Span(begin, mark, long=True)
                pending = mark
            begin = mark
        if pending.row < begin.row:
            yield Span(pending, begin, long=False)

    def _marks_from(self, at: int) -> Iterator[_Mark]:
        while at < len(self._mark_rows):
            yield _Mark(self._mark_rows[at], self._mark_offsets[at], self._mark_lines[at])
            at += 1
        opened = _Mark(self._rows, self._bytes, self._lines)
        if self._bytes - self._run.offset > _LONG_BYTES:
            yield self._run
            yield opened
        elif self._open_bytes > _LONG_BYTES:
            yield opened
        yield _Mark(self.total_rows, self.total_bytes, self.total_lines)

    def rows(
        self, first: int, count: int, read: Callable[[int, int], bytes], draw: LineDrawer
    ) -> list[TextRow]:
        """Return the rows from `first` on; ``read(offset, n)`` gives `n` bytes of the log."""
        found: list[TextRow] = []
        for span in self.spans(first, count):
            pieces = [read(offset, size) for offset, size in span.reads]
            found += span.rows(pieces, draw, first=first, end=first + count)
        return found


def _row_starts(lines: list[bytes], before: bytes | None) -> list[int]:
    """Return which of `lines` differ from the line before them."""
    return list(compress(range(len(lines)), map(ne, lines, chain((before,), lines))))


def _size(lines: list[bytes], begin: int, end: int) -> int:
    """Return the bytes of these lines with their breaks."""
    if begin == end:
        return 0
    return sum(map(len, lines[begin:end])) + end - begin
