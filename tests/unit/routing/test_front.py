"""A client's bytes may come in any pieces: what is answered is the same."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_aiinfra.routing.front import Front
from jupyter_aiinfra.routing.relay import Relay
from jupyter_aiinfra.routing.wire import Reply


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        return

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


class Reception:
    """Answers each request with its path, and remembers its size."""

    def __init__(self) -> None:
        self.draining = False
        self.most = 1
        self.fronts: set[Front] = set()
        self.relays: list[Relay] = []

    def accept(self, relay: Relay) -> None:
        self.relays.append(relay)
        relay.answered_by(Reply(200, relay.path, kind=b"text/plain"))


def asked(pieces: list[bytes]) -> tuple[bytes, bool, list[tuple[bytes, int, bool]]]:
    reception = Reception()
    front = Front(reception)
    transport = Transport()
    front.connection_made(cast("asyncio.BaseTransport", cast("Any", transport)))
    for piece in pieces:
        front.data_received(piece)
    told = [(one.path, one.request.size, one.request.complete) for one in reception.relays]
    front.connection_lost(None)
    assert reception.fronts == set()
    return transport.written, transport.closed, told


ONES = st.sampled_from(
    [
        b"GET /a HTTP/1.1\r\nHost: e\r\n\r\n",
        b"POST /b HTTP/1.1\r\nHost: e\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HEAD /d HTTP/1.1\r\nHost: e\r\n\r\n",
        b"GET /e HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"PUT /f HTTP/1.0\r\nContent-Length: 2\r\n\r\nxy",
        b"nonsense\r\n\r\n",
        b"GET /g HTTP/1.1\r\nbroken header\r\n\r\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(requests=st.lists(ONES, min_size=1, max_size=6), cuts=st.lists(st.integers(0, 400)))
def test_pieces_make_no_difference(requests: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(requests)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(places)]
    whole, in_pieces = asked([stream]), asked(pieces)
    assert _statuses(in_pieces[0]) == _statuses(whole[0])
    assert _statuses(whole[0])
    answers = len(_statuses(whole[0]))
    assert answers <= len(requests)


def _statuses(written: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", written)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    written, _, _ = asked([data])
    assert not written or written.startswith(b"HTTP/1.1 400 ") or b" HTTP/1." in data


def test_more_connections_than_may_be() -> None:
    reception = Reception()
    fronts, transports = [Front(reception) for _ in range(2)], [Transport() for _ in range(2)]
    for front, transport in zip(fronts, transports, strict=True):
        front.connection_made(cast("asyncio.BaseTransport", cast("Any", transport)))
    assert [transport.closed for transport in transports] == [False, True]
    for front in fronts:
        front.connection_lost(None)
    assert reception.fronts == set()


def test_requests_in_order_and_no_more_after_the_last() -> None:
    close = b"GET /e HTTP/1.1\r\nConnection: close\r\n\r\n"
    stream = b"GET /a HTTP/1.1\r\n\r\n" + close + b"GET /never HTTP/1.1\r\n\r\n"
    written, closed, _ = asked([stream])
    assert closed
    assert written.count(b"HTTP/1.1 200") == 2
    assert b"/a" in written.partition(b"/e")[0]
    assert b"/never" not in written
