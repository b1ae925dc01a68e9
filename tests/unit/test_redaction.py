"""Secrets in a stream of log bytes, however it is cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.logview import ByteRedactor

SECRET = "hush-hush"


@given(
    pieces=st.lists(st.sampled_from([SECRET, "hush", "-", "\n", "é", "plain text "]), max_size=20),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
def test_a_secret_is_hidden_wherever_the_stream_is_cut(pieces: list[str], cuts: list[int]) -> None:
    data = "".join(pieces).encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    redactor = ByteRedactor([SECRET])
    shown = [redactor.feed(data[a:b]) for a, b in itertools.pairwise(edges)]
    shown.append(redactor.feed(b"", last=True))
    assert b"".join(shown) == data.replace(SECRET.encode(), "•••".encode())


def test_without_secrets_nothing_is_held_back() -> None:
    assert ByteRedactor([]).feed(b"50%\r") == b"50%\r"
    assert ByteRedactor(["abc"]).feed(b"short values stay: abc") == b"short values stay: abc"


def test_little_is_held_back() -> None:
    redactor = ByteRedactor([SECRET])
    assert redactor.feed(b"x" * 100) == b"x" * (100 - len(SECRET) + 1)
    assert redactor.feed(b"", last=True) == b"x" * (len(SECRET) - 1)
