"""Heads are found again by exactly their bytes, and never where the message is another."""

from __future__ import annotations

import pytest

from jupyter_aiinfra.routing import seen
from jupyter_aiinfra.routing.seen import Answered, Asked, Seen

HEAD = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n"


def asked(length: int = 3) -> Asked:
    return Asked(b"POST", b"/a", [(b"content-length", b"3")], length)


def test_found_with_any_body_of_the_length() -> None:
    heads: Seen[Asked] = Seen()
    known = asked()
    heads.keep(HEAD + b"abc", known)
    assert heads.find(HEAD + b"xyz") == (known, b"xyz")
    assert heads.find(HEAD + b"\r\n\r") == (known, b"\r\n\r")


@pytest.mark.parametrize(
    "data",
    [
        HEAD,
        HEAD + b"ab",
        HEAD + b"abcd",
        HEAD + b"abc" + HEAD + b"abc",
        HEAD[:-1],
        b"",
        b"\r\n\r\n",
        HEAD.lower() + b"abc",
    ],
)
def test_not_found_where_it_is_not_one_message(data: bytes) -> None:
    heads: Seen[Asked] = Seen()
    heads.keep(HEAD + b"abc", asked())
    assert heads.find(data) is None


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (HEAD + b"abc", 2),
        (HEAD + HEAD + b"abc", 3),
        (HEAD[:-2] + b"X: " + b"a" * 5000 + b"\r\n\r\nabc", 3),
        (b"abc", 3),
    ],
)
def test_not_kept_where_the_head_is_not_all_before_the_body(data: bytes, length: int) -> None:
    heads: Seen[Asked] = Seen()
    heads.keep(data, asked(length))
    assert heads.find(data) is None


def test_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_MOST", 4)
    heads: Seen[Answered] = Seen()
    for number in range(20):
        data = b"HTTP/1.1 200 OK\r\nX: %d\r\nContent-Length: 0\r\n\r\n" % number
        heads.keep(data, Answered(200, b"", 0))
        assert heads.find(data) is not None
        assert len(heads._heads) <= 4
