"""Requests and answers as bytes."""

from __future__ import annotations

import pytest

from jupyter_aiinfra.routing.counts import Counts, prometheus
from jupyter_aiinfra.routing.faults import TooOften
from jupyter_aiinfra.routing.status import BUCKETS_MS, EndpointStatus, VersionStatus
from jupyter_aiinfra.routing.wire import (
    KEPT_BYTES,
    Reply,
    Request,
    connection_names,
    framed,
    reply_of,
    status_line,
)


def request(method: bytes = b"POST", length: int | None = 0, *parts: bytes) -> Request:
    one = Request(method, b"/x", b"a: 1\r\n", length)
    for part in parts:
        one.add(part)
    return one


def test_a_whole_request_has_a_length() -> None:
    one = request(b"POST", None, b"ab", b"c")
    one.complete = True
    assert one.sent() == b"POST /x HTTP/1.1\r\na: 1\r\ncontent-length: 3\r\n\r\nabc"
    assert one.body() == b"abc"


def test_one_that_is_still_coming() -> None:
    assert request(b"POST", 9, b"ab").sent().endswith(b"content-length: 9\r\n\r\nab")
    told = request(b"POST", None, b"ab", b"").sent()
    # An empty chunk would be the last.
    assert told.endswith(b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n")


@pytest.mark.parametrize(
    ("method", "told"), [(b"GET", b""), (b"POST", b"content-length: 0\r\n")], ids=["get", "post"]
)
def test_one_without_a_body(method: bytes, told: bytes) -> None:
    one = request(method)
    one.complete = True
    assert one.sent() == method + b" /x HTTP/1.1\r\na: 1\r\n" + told + b"\r\n"


def test_what_is_large_is_not_kept() -> None:
    one = request(b"POST", None, b"x" * KEPT_BYTES)
    one.forget()
    assert one.parts is not None
    one.add(b"x")
    one.forget()
    one.complete = True
    assert one.body() is None


def test_replies() -> None:
    reply = reply_of(TooOften("slowly", retry_after_seconds=2.5))
    told = reply.written(close=True)
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n")
    assert b"retry-after: 3\r\n" in told
    assert head.endswith(b"content-length: %d\r\nconnection: close" % len(body))
    assert reply.written(close=False, head_only=True).endswith(b"\r\n\r\n")
    assert Reply(204).written(close=False) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert status_line(799) == b"HTTP/1.1 799 \r\n"
    assert framed(b"x" * 20) == b"14\r\n" + b"x" * 20 + b"\r\n"


def test_what_a_connection_names() -> None:
    names = connection_names(
        [(b"connection", b"X-a, close"), (b"connection", b"x-b"), (b"c", b"d")]
    )
    assert {b"x-a", b"x-b", b"te"} <= names
    assert b"c" not in names


def test_counts_and_their_text() -> None:
    counts = Counts()
    for status, seconds in ((200, 0.0005), (200, 0.003), (500, 20), (429, 0.001)):
        counts.answered(status, seconds)
    counts.compared(same=True)
    counts.compared(same=False)
    told = counts.status()
    assert (told.requests, told.errors, told.rejected) == (4, 1, 1)
    assert sum(told.latency.counts) == 4
    # A bound is within its bucket.
    assert told.latency.counts[BUCKETS_MS.index(0.5)] == 1
    assert told.latency.counts[-1] == 1
    text = prometheus({"a": EndpointStatus(versions={"1": told, "2": VersionStatus()})}).decode()
    lines = text.splitlines()
    assert 'aiinfra_router_requests_total{endpoint="a",version="1"} 4' in lines
    assert 'aiinfra_router_latency_seconds_bucket{endpoint="a",version="1",le="0.0005"} 1' in lines
    assert 'aiinfra_router_latency_seconds_bucket{endpoint="a",version="1",le="10"} 3' in lines
    assert 'aiinfra_router_latency_seconds_bucket{endpoint="a",version="1",le="+Inf"} 4' in lines
    assert 'aiinfra_router_compared_total{endpoint="a",version="1",result="same"} 1' in lines
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named))
