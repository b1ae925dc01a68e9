"""The words of a line, as a shell would split it, with where each one stands."""

from __future__ import annotations

import io
import shlex
from dataclasses import dataclass

from jupyter_aiinfra.errors import UsageError

__all__ = ["OpenQuote", "Word", "split_words"]


@dataclass(frozen=True)
class Word:
    """One word without its quotes. It stands at the characters from `start` up to `end`."""

    text: str
    start: int
    end: int


class OpenQuote(UsageError):
    """A quote without its fellow, or a backslash at the end. Begins at the character `start`."""

    def __init__(self, line: str, start: int, reason: str) -> None:
        super().__init__(f"{line[start:]!r}: {reason}", hint="close the quote")
        self.start = start


def split_words(line: str) -> list[Word]:
    """Split `line` into the words that :func:`shlex.split` gives.

    Raises
    ------
    OpenQuote
        The line ends within a quote.
    """
    source = _Source(line)
    lexer = shlex.shlex(source, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[Word] = []
    at = 0
    while True:
        while at < len(line) and line[at] in lexer.whitespace:
            at += 1
        try:
            text = lexer.get_token()
        except ValueError as error:
            raise OpenQuote(line, at, str(error)) from None
        if text is None:
            return words
        # A word ends with the line, or before the blank that has just been read.
        end = len(line) if source.exhausted else source.tell() - 1
        words.append(Word(text, at, end))
        at = end


class _Source(io.StringIO):
    """Text that knows whether it has been read beyond its last character."""

    exhausted = False

    def read(self, size: int | None = -1, /) -> str:
        text = super().read(size)
        self.exhausted = self.exhausted or not text
        return text
