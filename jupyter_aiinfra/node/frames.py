"""The frames of a channel, the same in both directions: one line of JSON, then bytes.

The JSON object's ``n`` is the number of bytes that follow its line (none where it is missing).
Nothing is put together: what came of a frame's bytes is handed on, so that also of a frame that was
cut off in the middle nothing is lost and nothing has to be sent again.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, Union

__all__ = [
    "CHUNK_BYTES",
    "PING_SECONDS",
    "PROTOCOL",
    "WINDOW_BYTES",
    "Decoder",
    "Header",
    "Piece",
    "encode",
]

Header = Dict[str, Any]
Piece = Union[bytes, memoryview]

PROTOCOL = 1
CHUNK_BYTES = 1 << 18
# What may be on its way of one stream, or wait at its reader's, before its writer waits.
WINDOW_BYTES = 1 << 20
PING_SECONDS = 5.0

_LONGEST_LINE = 1 << 26


def encode(header: Header, length: int = 0) -> bytes:
    """Return the line of a frame with `length` bytes after it."""
    if length:
        header = {**header, "n": length}
    return json.dumps(header, separators=(",", ":")).encode("ascii") + b"\n"


class Decoder:
    """Takes bytes as they come; gives headers, and pieces of what follows them."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._header: Header = {}
        self._left = 0

    @property
    def left(self) -> int:
        """How many bytes of the present frame are still to come."""
        return self._left

    def passed(self, piece: Piece) -> tuple[Header, Piece, int]:
        """Return what `feed` would yield for `piece`, which is no more than what is `left`."""
        self._left -= len(piece)
        return self._header, piece, self._left

    def feed(self, data: bytes) -> Iterator[tuple[Header, bytes, int]]:
        """Yield header, piece, and how many bytes of this frame are still to come.

        Raises
        ------
        ValueError
            This is no frame: what comes cannot be understood any more.
        """
        at, end = 0, len(data)
        while at < end:
            if self._left:
                piece = data[at : at + self._left] if at or self._left < end else data
                at += len(piece)
                self._left -= len(piece)
                yield self._header, piece, self._left
                continue
            cut = data.find(b"\n", at)
            if cut < 0:
                self._line += data[at:]
                if len(self._line) > _LONGEST_LINE:
                    raise ValueError("a line without end")
                return
            self._line += data[at:cut]
            at = cut + 1
            self._begin(bytes(self._line))
            self._line.clear()
            if not self._left:
                yield self._header, b"", 0

    def _begin(self, line: bytes) -> None:
        header = json.loads(line.decode("ascii"))
        if not isinstance(header, dict):
            raise ValueError(f"{header!r} is no header")  # noqa: TRY004 - not a type, but bad input
        length = header.pop("n", 0)
        if not isinstance(length, int) or length < 0:
            raise ValueError(f"{length!r} is no length")
        self._header, self._left = header, length
