"""One rank's log on its way to the screen: bytes in, lines out, and the work put off till asked.

Most of what a fast job prints is never on screen: it is gone before the next look. So bytes are
gathered, and only those that can still be seen are interpreted; of the rest the lines are counted.
"""

from __future__ import annotations

import codecs
from collections import deque

from jupyter_aiinfra.logview.terminal import MOVES, Screen

__all__ = ["RankStream", "Trail"]

_PENDING_BYTES = 512 * 1024  # gathered before the head of it is given up
_BLOCK_BYTES = 64 * 1024
_RECENT_BLOCKS = 16


class Trail:
    """Tells whether one stream of bytes is the beginning of another, in little memory.

    Blocks of 64 KiB are compared by their hash; the last mebibyte is kept, so that a stream up to
    that far behind is compared to its last byte.
    """

    def __init__(self) -> None:
        self.broken = False
        self._hashes: list[int] = []
        self._recent: deque[bytes] = deque(maxlen=_RECENT_BLOCKS)
        self._block = bytearray()
        self._agreed = 0  # blocks known to be the same as the other's

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        at = 0
        while at < len(data):
            piece = data[at : at + _BLOCK_BYTES - len(self._block)]
            self._block += piece
            at += len(piece)
            if len(self._block) == _BLOCK_BYTES:
                block = bytes(self._block)
                self._hashes.append(hash(block))
                self._recent.append(block)
                self._block = bytearray()

    def begins(self, other: Trail) -> bool:
        """Whether all bytes so far are the first ones of `other`; false when it is not certain.

        Always ask about the same `other`: what was found equal is not compared again.
        """
        ours, theirs = self._hashes, other._hashes
        if self.broken or other.broken or len(ours) > len(theirs):
            return False
        if ours[self._agreed :] != theirs[self._agreed : len(ours)]:
            self.broken = True
            return False
        self._agreed = len(ours)
        behind = len(theirs) - len(ours)
        if behind > len(other._recent):
            return False
        block = other._recent[-behind] if behind else other._block
        return block.startswith(self._block)


class RankStream:
    """The bytes of one rank, and the :class:`Screen` they make."""

    def __init__(self, *, head_rows: int, tail_rows: int, width: int) -> None:
        self.screen = Screen(head_rows=head_rows, tail_rows=tail_rows, width=width)
        self.trail = Trail()
        self.offset = 0
        self.bytes_seen = 0
        self.bytes_missing = 0
        self.version = 0
        self._tail_rows = tail_rows
        self._head_rows = head_rows
        self._pending = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, offset: int, data: bytes) -> bool:
        """Take bytes at `offset`; return whether any of them were new."""
        if offset < self.offset:
            data = data[self.offset - offset :]
            offset = self.offset
        if not data:
            return False
        if offset > self.offset:
            self._gap(offset - self.offset)
        self.offset = offset + len(data)
        self.bytes_seen += len(data)
        self.version += 1
        self.trail.add(data)
        self._pending += data
        if len(self._pending) > _PENDING_BYTES:
            self.settle()
        return True

    def settle(self) -> None:
        """Interpret what can be on screen of the bytes gathered, and count the rest."""
        if self._pending:
            data, self._pending = bytes(self._pending), bytearray()
            self._interpret(data)
        self.screen.settle()

    def _gap(self, missing_bytes: int) -> None:
        self.settle()
        self.screen.write(self._decoder.decode(b"", final=True))
        self.screen.gap(missing_bytes)
        self.bytes_missing += missing_bytes
        self.trail.broken = True

    def _interpret(self, data: bytes) -> None:
        screen = self.screen
        end = data.rfind(b"\n") + 1
        escapes = b"\x1b" in data
        if not end or not screen.at_bottom or (escapes and MOVES.search(data)):
            self._write(data)
            return
        start = 0
        if not screen.at_start_of_new_line or self._decoder.getstate()[0]:
            start = data.find(b"\n") + 1
            self._write(data[:start])
        whole = data[start:end]
        if whole and screen.at_start_of_new_line:
            runs, unseen = _last_runs(whole, self._tail_rows)
            if unseen:
                self._pass_over(whole[:unseen], escapes=escapes)
            for line, count in runs:
                screen.write_line(line[:-1].decode("utf-8", "replace"), count=count)
        else:
            self._write(whole)
        self._write(data[end:])

    def _pass_over(self, whole: bytes, *, escapes: bool) -> None:
        """Count whole lines that cannot be on screen, but for the first ones of the log."""
        at = 0
        for _ in range(0 if self.screen.head_full else self._head_rows):
            end = whole.find(b"\n", at) + 1
            if not end:
                break
            self.screen.write_line(whole[at : end - 1].decode("utf-8", "replace"))
            at = end
        lines = whole.count(b"\n", at)
        if lines:
            last = max(at, whole.rfind(b"\x1b[") - 64) if escapes else len(whole)
            self.screen.skip(lines, style_from=whole[last:].decode("utf-8", "replace"))

    def _write(self, data: bytes) -> None:
        if data:
            self.screen.write(self._decoder.decode(data))


def _last_runs(whole: bytes, limit: int) -> tuple[list[tuple[bytes, int]], int]:
    """Return the last `limit` runs of identical lines, and how many bytes come before them.

    Lines keep their line break. A run is complete: the line before it is another one.
    """
    runs: list[tuple[bytes, int]] = []
    end = len(whole)
    while end and len(runs) < limit:
        start = whole.rfind(b"\n", 0, end - 1) + 1
        line = whole[start:end]
        more = _copies_before(whole, start, line)
        end = start - more * len(line)
        runs.append((line, 1 + more))
    runs.reverse()
    return runs, end


def _copies_before(whole: bytes, end: int, line: bytes) -> int:
    """Count the lines equal to `line` directly before `end`, in steps that double."""
    size, count, step = len(line), 0, 1
    while step:
        low = end - size * step
        if low >= 0 and whole[low:end] == line * step:
            count += step
            end = low
            step *= 2
        else:
            step //= 2
    # The first copy found may be only the end of a longer line.
    if count and end and whole[end - 1] != ord("\n"):
        count -= 1
    return count
