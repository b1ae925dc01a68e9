"""Hiding values in a file without moving a byte of it, so that any part of it can be asked for."""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_aiinfra.logview.view import secret_lines

__all__ = ["ByteMask"]


class ByteMask:
    """Writes an asterisk over each byte of the given values, overlapping ones too.

    Whether a byte is hidden depends on nothing but the ``reach`` bytes on either side of it: cut
    anywhere, with so much around it, a part of a log is the same as that part of the whole.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = [line.encode() for line in secret_lines(values)]
        self.reach = max(map(len, self._values), default=1) - 1

    def __call__(self, data: bytes) -> bytes:
        """Return `data` without the values, as long as it was."""
        masked = data
        for value in self._values:
            # Looked for in what was given: one value may begin within another.
            at = data.find(value)
            if at < 0:
                continue
            hidden = bytearray(masked)
            while at >= 0:
                hidden[at : at + len(value)] = b"*" * len(value)
                at = data.find(value, at + 1)
            masked = bytes(hidden)
        return masked
