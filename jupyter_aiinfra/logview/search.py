"""Looking for a text in the rows of a log: in what is shown of them, and drawing as few as can be.

Most lines are plain ASCII. There the bytes tell whether the text can be in them, a mebibyte at a
time; only where they cannot tell is a row made into what is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from jupyter_aiinfra.logview.ansi import strip_ansi
from jupyter_aiinfra.logview.rows import LineDrawer, RawRow, Span
from jupyter_aiinfra.logview.view import HIDDEN

__all__ = ["RowFinder"]

_SGR = re.compile(rb"\x1b\[[0-9;:]*m")
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")


class RowFinder:
    """Finds the rows whose shown text, without its colours, holds `query`.

    Parameters
    ----------
    match_case
        Whether capital and small letters differ.
    draw
        What the text of a row is.
    """

    def __init__(self, query: str, draw: LineDrawer, *, match_case: bool) -> None:
        self._query = query if match_case else query.lower()
        self._match_case = match_case
        self._draw = draw
        # What stands in place of a secret is in no bytes.
        self._guess = not (draw.redactor.longest and HIDDEN[0] in query)
        self._bytes = self._query.encode("utf-8", "replace")

    def find(self, span: Span, pieces: Sequence[bytes], *, first: int) -> list[int]:
        """Return the rows of `span` that match, from row `first` on."""
        if not span.long and not self._may_hold(pieces[0]):
            return []
        return [raw.row for raw in span.raw(pieces, first=first) if self._matches(raw)]

    def _matches(self, raw: RawRow) -> bool:
        if not (raw.tail or self._may_hold(raw.head)):
            return False
        text = strip_ansi(self._draw(raw)[0])
        return self._query in (text if self._match_case else text.lower())

    def _may_hold(self, data: bytes) -> bool:
        """Whether a line in `data` can match; false is certain."""
        if not self._guess or not data.isascii():
            return True
        if b"\x1b" in data:
            data = _SGR.sub(b"", data)
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
        if _CONTROL.search(data):
            return True
        return self._bytes in (data if self._match_case else data.lower())
