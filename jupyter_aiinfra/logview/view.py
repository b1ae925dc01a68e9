"""The logs of all ranks of a job as something to look at: bounded, exact in what it counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from jupyter_aiinfra.logview.ansi import strip_ansi
from jupyter_aiinfra.logview.rank import RankStream
from jupyter_aiinfra.logview.terminal import Row

__all__ = [
    "HIDDEN",
    "ByteRedactor",
    "LogLine",
    "LogSnapshot",
    "LogView",
    "RankLog",
    "Redactor",
    "drawn_text",
    "log_text",
    "secret_lines",
]

HIDDEN = "•••"
_SHORTEST_SECRET = 4  # hiding every "1" of a log would hide the log


def secret_lines(values: Iterable[str]) -> list[str]:
    """Return what to look for, longest first: a value that holds another is replaced as a whole."""
    lines = {line.strip() for value in values for line in value.splitlines()}
    return sorted((line for line in lines if len(line) >= _SHORTEST_SECRET), key=len, reverse=True)


class Redactor:
    """Replaces given values by ``•••``.

    A value of several lines is looked for line by line. Values shorter than 4 characters are not
    looked for. The values are not part of the ``repr``.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        secret = secret_lines(values)
        self.longest = len(secret[0]) if secret else 0
        pattern = "|".join(re.escape(line) for line in secret)
        self._pattern = re.compile(pattern) if secret else None

    def __call__(self, text: str) -> str:
        """Return `text` without the values."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text

    def finds(self, text: str) -> bool:
        """Whether a value is in `text`."""
        return self._pattern is not None and self._pattern.search(text) is not None


class ByteRedactor:
    """Replaces given values in a stream of bytes, also where one is cut between two pieces.

    Holds back as many bytes as may be the beginning of a value, and none without values.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        secret = sorted((line.encode() for line in secret_lines(values)), key=len, reverse=True)
        self._held_bytes = len(secret[0]) - 1 if secret else 0
        pattern = b"|".join(re.escape(line) for line in secret)
        self._pattern = re.compile(pattern) if secret else None
        self._pending = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """Return what can be shown after `data`; with `last`, everything held back as well."""
        if self._pattern is None:
            return data
        data = self._pending + data
        end = len(data) if last else max(0, len(data) - self._held_bytes)
        shown, at = [], 0
        for found in self._pattern.finditer(data):
            if found.start() >= end:
                break
            shown += [data[at : found.start()], HIDDEN.encode()]
            at = found.end()
        shown.append(data[at:end])
        self._pending = data[max(at, end) :]
        return b"".join(shown)


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line as shown; colours are SGR sequences in `text`, each line complete in itself.

    ``repeat`` identical lines stand here. ``left_out_bytes`` of an overlong line are not shown.
    A line with ``missing_bytes`` is no line but the mark of bytes that never arrived.
    ``id`` is stable while the line is on screen, and says nothing more.
    """

    text: str = ""
    repeat: int = 1
    left_out_bytes: int = 0
    missing_bytes: int = 0
    id: int = field(default=0, compare=False)


@dataclass(frozen=True, kw_only=True)
class RankLog:
    """What there is to see of one rank's log: `head`, then ``lines_left_out`` lines, then `tail`.

    ``lines_seen == lines_shown + lines_folded + lines_left_out``, always. Folded lines are those
    that a shown line stands for: repeats, and progress bars drawn over each other by moving the
    cursor up. Lines left out are in the log file only.

    ``lines_same`` counts the shown and folded lines that rank 0 shows too; ``same_as_first`` means
    that the whole log, byte by byte, is rank 0's (or the beginning of it, so far).
    """

    rank: int
    head: tuple[LogLine, ...] = ()
    tail: tuple[LogLine, ...] = ()
    bytes_seen: int = 0
    bytes_missing: int = 0
    lines_seen: int = 0
    lines_shown: int = 0
    lines_folded: int = 0
    lines_left_out: int = 0
    lines_same: int = 0
    same_as_first: bool = False

    @property
    def summary(self) -> str:
        """The log in a few words: ``240 lines, the same as rank 0``."""
        if not self.lines_seen:
            return "no output"
        text = f"{self.lines_seen:,} line{'' if self.lines_seen == 1 else 's'}"
        if self.rank == 0:
            return text
        if self.same_as_first:
            return f"{text}, the same as rank 0"
        if self.lines_same and not self.lines_left_out:
            return f"{text}, {self.lines_same:,} as on rank 0"
        return text


@dataclass(frozen=True, kw_only=True)
class LogSnapshot:
    """All ranks at one moment, rank 0 first and the launcher last. Grows a `version` by change."""

    ranks: tuple[RankLog, ...] = ()
    version: int = 0

    def rank(self, number: int) -> RankLog:
        """Return the log of one rank; an empty one if nothing of it has arrived."""
        for log in self.ranks:
            if log.rank == number:
                return log
        return RankLog(rank=number)


class LogView:
    """Turns the bytes of many ranks' logs into a bounded state to display. Not thread-safe.

    Parameters
    ----------
    tail_lines
        How many of the last lines of a rank are kept.
    head_lines
        How many of the first lines of a rank are kept.
    width
        How many characters of a line are kept.
    redact
        Values that never leave this object; see :class:`Redactor`.
    """

    def __init__(
        self,
        *,
        tail_lines: int = 200,
        head_lines: int = 20,
        width: int = 2000,
        redact: Iterable[str] = (),
    ) -> None:
        self.redactor = Redactor(redact)
        self._tail_lines = max(1, tail_lines)
        self._head_lines = max(0, head_lines)
        self._width = width
        self._streams: dict[int, RankStream] = {}
        self._made: dict[int, tuple[tuple[int, int], RankLog]] = {}
        self._shown: tuple[int, frozenset[str]] = (-1, frozenset())
        self._version = 0

    def feed(self, rank: int, offset: int, data: bytes) -> None:
        """Take bytes of `rank`'s log that begin at byte `offset` of it.

        Bytes seen before are ignored, so a chunk may come twice. Bytes passed over are recorded as
        missing and marked where they would be; when they come later they are ignored.
        """
        stream = self._streams.get(rank)
        if stream is None:
            # A secret that begins within the width must be seen whole to be recognised.
            width = self._width + self.redactor.longest
            stream = self._streams[rank] = RankStream(
                head_rows=self._head_lines, tail_rows=self._tail_lines, width=width
            )
        if stream.feed(offset, data):
            self._version += 1

    def offset(self, rank: int) -> int:
        """Return the byte offset from which `rank`'s log is to be read on."""
        stream = self._streams.get(rank)
        return stream.offset if stream else 0

    def snapshot(self) -> LogSnapshot:
        """Return what is to be seen now. Cheap when little has changed since the last one."""
        # The launchers come last; theirs are the numbers below 0, downwards.
        numbers = sorted(self._streams, key=lambda rank: (rank < 0, abs(rank)))
        return LogSnapshot(
            ranks=tuple(self._rank_log(number) for number in numbers), version=self._version
        )

    def text(self, rank: int) -> str:
        """Return what is shown of `rank` as plain text, with a line for each thing left out."""
        return log_text(self.snapshot().rank(rank))

    def _rank_log(self, number: int) -> RankLog:
        stream, first = self._streams[number], self._streams.get(0)
        state = (stream.version, first.version if first else -1)
        made = self._made.get(number)
        if made and made[0] == state:
            return made[1]
        stream.settle()
        screen = stream.screen
        rows = screen.rows if screen.open_row else screen.rows[:-1]
        head = tuple(map(self._line, screen.head))
        tail = _folded([self._line(row) for row in rows])
        lines = [line for line in (*head, *tail) if not line.missing_bytes]
        stands_for = sum(line.repeat for line in lines)
        same, same_as_first = self._likeness(number, lines)
        log = RankLog(
            rank=number,
            head=head,
            tail=tail,
            bytes_seen=stream.bytes_seen,
            bytes_missing=stream.bytes_missing,
            lines_seen=screen.newlines + screen.breaks + (1 if screen.open_row else 0),
            lines_shown=len(lines),
            lines_folded=stands_for - len(lines) + screen.redrawn,
            lines_left_out=screen.left_out,
            lines_same=same,
            same_as_first=same_as_first,
        )
        self._made[number] = (state, log)
        return log

    def _likeness(self, number: int, lines: list[LogLine]) -> tuple[int, bool]:
        first = self._streams.get(0)
        if number <= 0 or first is None:
            return 0, False
        if self._streams[number].trail.begins(first.trail):
            return sum(line.repeat for line in lines), True
        if self._shown[0] != first.version:
            log = self._rank_log(0)
            shown = frozenset(strip_ansi(line.text) for line in (*log.head, *log.tail))
            self._shown = (first.version, shown)
        same = sum(line.repeat for line in lines if strip_ansi(line.text) in self._shown[1])
        return same, False

    def _line(self, row: Row) -> LogLine:
        if isinstance(row.drawn, LogLine):
            return row.drawn
        text, left_out = drawn_text(row, width=self._width, redactor=self.redactor)
        line = LogLine(
            text=text,
            repeat=row.repeat,
            left_out_bytes=left_out,
            missing_bytes=row.missing_bytes,
            id=row.id,
        )
        row.drawn = line
        return line


def drawn_text(
    row: Row, *, width: int, redactor: Redactor, unfinished: bool = False
) -> tuple[str, int]:
    """Return what is shown of `row`, and how many bytes of it are not.

    The text has at most `width` characters beside its colours, and no value of `redactor`; with
    `unfinished` the line goes on behind what `row` has of it.
    """
    segments = [(style.sgr, text) for style, text in row.segments]
    left_out = row.lost_bytes
    plain = "".join(text for _, text in segments)
    if redactor.finds(plain):
        # A secret may change colour within: then the line loses its colours, not the secret.
        segments = [(sgr, redactor(text)) for sgr, text in segments]
        hidden = redactor(plain)
        if "".join(text for _, text in segments) != hidden:
            segments = [("", hidden)]
    room = width
    if redactor.longest and (unfinished or row.lost_bytes):
        # The row may end within a value, and hiding others has moved that end to the left.
        length = sum(len(text) for _, text in segments)
        room = min(width, max(0, length - redactor.longest + 1))
    pieces = []
    for sgr, text in segments:
        kept = text[:room]
        room -= len(kept)
        left_out += len(text[len(kept) :].encode())
        if kept:
            pieces.append(f"\x1b[{sgr}m{kept}\x1b[0m" if sgr else kept)
    return "".join(pieces), left_out


def log_text(log: RankLog) -> str:
    """Return a rank's log as plain text; what is not shown is said where it would be."""
    lines = [_plain_line(line) for line in log.head]
    if log.lines_left_out:
        plural = "" if log.lines_left_out == 1 else "s"
        lines.append(f"⋯ {log.lines_left_out:,} line{plural} left out (all in the log) ⋯")
    lines.extend(_plain_line(line) for line in log.tail)
    return "\n".join(lines)


def _plain_line(line: LogLine) -> str:
    if line.missing_bytes:
        return f"⋯ {line.missing_bytes:,} bytes are missing here ⋯"
    text = strip_ansi(line.text)
    if line.left_out_bytes:
        text += f" … {line.left_out_bytes:,} more bytes"
    return f"{text}  × {line.repeat:,}" if line.repeat > 1 else text  # noqa: RUF001


def _folded(lines: list[LogLine]) -> tuple[LogLine, ...]:
    """Fold neighbours that became alike after they were written."""
    folded: list[LogLine] = []
    for line in lines:
        last = folded[-1] if folded else None
        if (
            last
            and last.text == line.text
            and last.left_out_bytes == line.left_out_bytes
            and not (last.missing_bytes or line.missing_bytes)
        ):
            folded[-1] = LogLine(
                text=last.text,
                repeat=last.repeat + line.repeat,
                left_out_bytes=last.left_out_bytes,
                id=last.id,
            )
        else:
            folded.append(line)
    return tuple(folded)
