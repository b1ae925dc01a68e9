"""A terminal without a window: what a program's output leaves on screen, line by line.

It knows what programs that print to a log use: carriage return, backspace, colours, moving up and
down over lines drawn before, erasing. One code point is one cell, which is exact for everything
that redraws itself in practice. What it holds is bounded: the first lines, the last lines, and a
length for each.
"""

from __future__ import annotations

import re

from jupyter_aiinfra.logview.ansi import PLAIN, Style, apply_sgr

__all__ = ["MOVES", "Row", "Screen"]

MOVES = re.compile(rb"\x1b\[[0-9;]*[ABFJ]")
"""Sequences that reach lines other than the current one (as bytes, for a look ahead)."""

_TOKEN = re.compile(
    r"""
    (?P<text>[^\x00-\x1f\x7f-\x9f]+)
    | \x1b\[ (?P<csi>[0-?]*) [\x20-/]* (?P<final>[@-~])
    | \x1b[\]PX^_] [^\x07\x1b\n]* (?:\x07 | \x1b\\)?  # titles, links: dropped with what they hold
    | \x1b [\x20-/]* [0-~]?
    | (?P<control>[\x00-\x1f\x7f-\x9f])
    """,
    re.VERBOSE,
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[\x20-/]*|[\]PX^_][^\x07\x1b\n]*\x1b?|[\x20-/]*)\Z")
_MAX_UNFINISHED = 4096  # characters an escape sequence may take before it is given up
_PLAIN_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f]*\Z")
_REACH = 64  # lines a program can move up over: about the height of a real window


class Row:
    """One line on screen. ``repeat`` counts identical lines; a gap has a size and no text."""

    __slots__ = ("drawn", "id", "length", "lost_bytes", "missing_bytes", "repeat", "segments")

    def __init__(self, number: int, *, missing_bytes: int = 0) -> None:
        self.id = number
        self.segments: list[tuple[Style, str]] = []
        self.length = 0
        self.lost_bytes = 0
        self.missing_bytes = missing_bytes
        self.repeat = 0 if missing_bytes else 1
        self.drawn: object = None  # what a reader made of this row; forgotten when it changes

    def same_as(self, other: Row) -> bool:
        """Whether both look alike. A gap is like nothing."""
        return (
            self.segments == other.segments
            and self.lost_bytes == other.lost_bytes
            and not self.missing_bytes
            and not other.missing_bytes
        )

    def copy(self, number: int) -> Row:
        """Return a row that looks the same and stands for one line."""
        twin = Row(number)
        twin.segments = list(self.segments)
        twin.length, twin.lost_bytes = self.length, self.lost_bytes
        return twin

    def put(self, column: int, style: Style, text: str) -> None:
        """Write `text` at `column` over whatever is there."""
        self.drawn = None
        if column > self.length:
            self._append(PLAIN, " " * (column - self.length))
        if column < self.length:
            right = self._slice(column + len(text), self.length)
            self.segments = self._slice(0, column)
            self.length = column
            self._append(style, text)
            for piece in right:
                self._append(*piece)
        else:
            self._append(style, text)

    def erase(self, start: int, end: int | None) -> None:
        """Blank the cells from `start` to `end`, or cut the row at `start`."""
        self.drawn = None
        if end is None:
            self.segments = self._slice(0, start)
            self.length = min(self.length, start)
            self.lost_bytes = 0
        elif start < min(end, self.length):
            self.put(start, PLAIN, " " * (min(end, self.length) - start))

    def _append(self, style: Style, text: str) -> None:
        if not text:
            return
        self.length += len(text)
        if self.segments and self.segments[-1][0] == style:
            text = self.segments.pop()[1] + text
        self.segments.append((style, text))

    def _slice(self, start: int, end: int) -> list[tuple[Style, str]]:
        pieces, at = [], 0
        for style, text in self.segments:
            piece = text[max(0, start - at) : max(0, end - at)]
            if piece:
                pieces.append((style, piece))
            at += len(text)
        return pieces


class Screen:
    """The lines that are kept: `head_rows` first ones, `tail_rows` last ones, each up to `width`.

    Every line break is accounted for: ``newlines + breaks`` (and an unfinished last line) equals
    the lines in `head` and `rows`, plus ``left_out``, plus ``redrawn`` (breaks that only moved the
    cursor down over lines drawn before).
    """

    def __init__(self, *, head_rows: int, tail_rows: int, width: int) -> None:
        self.head: list[Row] = []
        self.rows: list[Row] = [Row(0)]
        self.newlines = 0
        self.breaks = 0
        self.redrawn = 0
        self.left_out = 0
        self._head_rows = head_rows
        self._tail_rows = tail_rows
        self._width = width
        self._made = 1
        self._y = 0
        self._x = 0
        self._style = PLAIN
        self._rest = ""  # an escape sequence that has not fully arrived

    @property
    def head_full(self) -> bool:
        """Whether no further line can join the first ones."""
        return self.left_out > 0 or len(self.head) >= self._head_rows

    @property
    def at_start_of_new_line(self) -> bool:
        """Whether the next character begins a line that nothing was written on."""
        return self.at_bottom and not self._x and not self.rows[-1].length and not self._rest

    @property
    def at_bottom(self) -> bool:
        """Whether no line is below the cursor."""
        return self._y == len(self.rows) - 1

    @property
    def open_row(self) -> Row | None:
        """The last row when something is on it, which no line break has ended yet."""
        last = self.rows[-1]
        return last if last.length or last.lost_bytes else None

    def write(self, text: str) -> None:
        """Take in output as a terminal would."""
        if self._rest:
            text, self._rest = self._rest + text, ""
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _MAX_UNFINISHED))
        if unfinished:
            self._rest = unfinished[0]
            text = text[: unfinished.start()]
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup
            if kind == "text":
                self._put(match[0])
            elif kind == "control":
                self._control(match[0])
            elif kind == "final":
                self._sequence(match["final"], match["csi"])

    def write_line(self, text: str, *, count: int = 1) -> None:
        """Take in the same whole line `count` times, at the cost of one or two.

        `text` has no line break and no sequence of :data:`MOVES`; the cursor must be at the start
        of a new line.
        """
        text = text.removesuffix("\r")
        if self._style == PLAIN and _PLAIN_TEXT.match(text):
            self._put(text)
            self._newline()
        else:
            # A first line may inherit a colour; from the second on each is like the one before.
            for _ in range(min(count, 2)):
                self.write(text + "\n")
            count = max(1, count - 1)
        if count > 1:
            self._last_whole_row().repeat += count - 1
            self._last_whole_row().drawn = None
            self.newlines += count - 1

    def skip(self, lines: int, *, style_from: str = "") -> None:
        """Count `lines` whole lines as left out, with every line on screen but the first ones.

        `style_from` is text of the skipped part whose last colours stay in force.
        """
        self._drop(len(self.rows) - 1)
        self.left_out += lines
        self.newlines += lines
        self.rows = [self._new_row()]
        self._x = self._y = 0
        self._rest = ""
        for match in re.finditer(r"\x1b\[([0-9;:]*)m", style_from):
            self._style = apply_sgr(self._style, match[1])

    def gap(self, missing_bytes: int) -> None:
        """Mark that bytes are missing here; what follows begins a new line."""
        self._y = len(self.rows) - 1
        if self.open_row:
            self.breaks += 1
            self._push_row()
        self.rows.insert(self._y, Row(self._made, missing_bytes=missing_bytes))
        self._made += 1
        self._y += 1
        self._x = 0
        self._style, self._rest = PLAIN, ""
        self._trim(slack=self._tail_rows)

    def settle(self) -> None:
        """Let go of every row beyond the last `tail_rows`."""
        self._trim(slack=0)

    # --- moving and writing ----------------------------------------------------------------

    def _put(self, text: str) -> None:
        row, start = self.rows[self._y], self._x
        self._x += len(text)
        if self._x > self._width:
            kept = text[: max(0, self._width - start)]
            lost = len(text[len(kept) :].encode())
            row.lost_bytes = lost if start <= self._width else row.lost_bytes + lost
            row.drawn = None
            text = kept
        if text:
            row.put(start, self._style, text)

    def _newline(self) -> None:
        self.newlines += 1
        self._x = 0
        if not self.at_bottom:
            self._y += 1
            self.redrawn += 1
            return
        last = self.rows[-1]
        if self._y and last.same_as(self.rows[-2]):
            self.rows[-2].repeat += last.repeat
            self.rows[-2].drawn = None
            self.rows[-1] = self._new_row()
        else:
            self._push_row()
            self._trim(slack=self._tail_rows)

    def _control(self, character: str) -> None:
        if character == "\n":
            self._newline()
        elif character == "\r":
            self._x = 0
        elif character == "\b":
            self._x = max(0, self._x - 1)
        elif character == "\t":
            self._x += 8 - self._x % 8

    def _up(self, count: int) -> None:
        """Move up; a line that stands for several is unfolded as far as the cursor goes."""
        highest = max(0, len(self.rows) - min(self._tail_rows, _REACH))
        for _ in range(min(count, _REACH)):
            above = self.rows[self._y - 1] if self._y > highest else None
            if above is None or above.missing_bytes:
                return
            if above.repeat > 1:
                above.repeat -= 1
                above.drawn = None
                self.rows.insert(self._y, above.copy(self._made))
                self._made += 1
                highest += 1
            else:
                self._y -= 1

    def _sequence(self, final: str, parameters: str) -> None:
        if final == "m":
            if not parameters or parameters[0] in "0123456789;:":
                self._style = apply_sgr(self._style, parameters)
            return
        first = parameters.split(";", maxsplit=1)[0]
        number = int(first) if first.isdecimal() and len(first) < 6 else 0  # noqa: PLR2004
        count = max(1, number)
        if final in "AF":
            self._up(count)
        elif final in "BE":
            self._y = min(len(self.rows) - 1, self._y + count)
        elif final == "C":
            self._x = min(self._width, self._x + count)
        elif final == "D":
            self._x = max(0, self._x - count)
        elif final == "G":
            self._x = min(self._width, count - 1)
        elif final in "KJ":
            self._erase(final, number)
        if final in "EF":
            self._x = 0

    def _erase(self, final: str, mode: int) -> None:
        row = self.rows[self._y]
        if mode == 0:
            row.erase(self._x, None)
            for below in self.rows[self._y + 1 :] if final == "J" else ():
                below.erase(0, None)
        elif mode == 1:
            row.erase(0, self._x + 1)
        elif final == "K":
            row.erase(0, None)

    # --- rows ------------------------------------------------------------------------------

    def _new_row(self) -> Row:
        self._made += 1
        return Row(self._made - 1)

    def _push_row(self) -> None:
        self.rows.append(self._new_row())
        self._y = len(self.rows) - 1

    def _last_whole_row(self) -> Row:
        return self.rows[-2]

    def _trim(self, *, slack: int) -> None:
        # The last row is unfinished: it takes no other line's place before it is one itself, and
        # then it may turn out to be a repeat of the line before.
        beyond = len(self.rows) - self._tail_rows - 1
        if beyond > slack:
            self._drop(beyond)

    def _drop(self, count: int) -> None:
        for row in self.rows[:count]:
            if not self.left_out and self.head and row.same_as(self.head[-1]):
                self.head[-1].repeat += row.repeat
                self.head[-1].drawn = None
            elif not self.head_full:
                self.head.append(row)
            else:
                self.left_out += row.repeat
        del self.rows[:count]
        self._y = max(0, self._y - count)
