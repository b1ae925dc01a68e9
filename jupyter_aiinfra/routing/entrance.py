"""What is looked at when the head of a request is there: path, caller, size, protocol."""

from __future__ import annotations

import time
from collections.abc import Mapping

import httptools

from jupyter_aiinfra.routing.counts import prometheus
from jupyter_aiinfra.routing.endpoint import Served
from jupyter_aiinfra.routing.faults import (
    BadRequest,
    Fault,
    NoSuchMethod,
    NoSuchPath,
    TooLarge,
    Unsupported,
)
from jupyter_aiinfra.routing.relay import Relay
from jupyter_aiinfra.routing.seen import Way
from jupyter_aiinfra.routing.wire import HOP, Reply, connection_names

__all__ = ["accept"]

# They say nothing that has to be kept secret, and monitors that have no key ask them.
_OPEN = frozenset(
    {
        b"/docs",
        b"/healthz",
        b"/openapi.json",
        b"/ping",
        b"/readyz",
        b"/v2/health/live",
        b"/v2/health/ready",
        b"/version",
    }
)
_LOOKING = frozenset({b"GET", b"HEAD"})
_PREFLIGHT = b"access-control-request-method"
# Keys are the router's: no replica, and nobody's log, has to see them.
_SECRETS = frozenset({b"authorization", b"x-api-key"})
# A longer body has a connection to the replica of its own, as has who asks for a stream.
_SHARED_BYTES = 16 * 1024
_EVENTS = b"text/event-stream"
_FRAMING = HOP | {b"content-length", b"x-forwarded-prefix"}
_PLAIN = b"text/plain; version=0.0.4; charset=utf-8"


def accept(endpoints: Mapping[bytes, Served], relay: Relay) -> None:
    """Find the endpoint of `relay`, and see whether it may ask; else give it a reply."""
    try:
        reply = _looked_at(endpoints, relay)
    except Fault as fault:
        relay.refuse(fault)
        return
    if reply is not None:
        relay.answered_by(reply)


def _looked_at(endpoints: Mapping[bytes, Served], relay: Relay) -> Reply | None:
    known = relay.known
    if known is not None and (way := known.way) is not None:
        served = endpoints.get(way.name)
        if served is not None:
            _again(served, relay, way)
            return None
    path, query = _target(relay)
    name, _, rest = path[1:].partition(b"/")
    served = endpoints.get(name)
    if served is None:
        if path == b"/healthz" and relay.method in _LOOKING:
            return Reply(200, b'{"status":"alive"}')
        raise NoSuchPath(f"{path[:200].decode('latin-1')}: there is no such endpoint")
    relay.endpoint = served
    relay.path = b"/" + rest
    relay.limit_bytes = served.config.max_body
    _allow_origin(served, relay)
    if relay.method == b"OPTIONS" and _PREFLIGHT in relay.headers:
        return Reply(204)
    _check_protocol(relay)
    relay.counted = not (relay.method in _LOOKING and relay.path in _OPEN)
    if relay.path == b"/metrics":
        if relay.method not in _LOOKING:
            raise NoSuchMethod(f"{relay.method.decode('latin-1')}: metrics are only looked at")
        _admit(served, relay, "metrics")
        return Reply(200, prometheus({served.name: served.status()}), kind=_PLAIN)
    if relay.counted:
        _admit(served, relay, "predict")
        served.last_request = time.time()
    _check_length(relay)
    relay.request.target = relay.path + b"?" + query if query else relay.path
    if known is None:
        relay.request.lines = _lines_on(served, relay)
    else:
        known.way = _way(relay, name)
        _send_on(served, relay, known.way)
    return None


def _again(served: Served, relay: Relay, way: Way) -> None:
    """Look at a request whose head is known as far as that may have changed."""
    relay.endpoint = served
    relay.path = way.path
    relay.limit_bytes = served.config.max_body
    if way.origin:
        _allow_origin(served, relay)
    relay.counted = way.counted
    if way.counted:
        if served.keys is not None:
            _admit(served, relay, "predict")
        served.last_request = time.time()
    _check_length(relay)
    relay.request.target = way.target
    relay.shares = way.shares and served.config.idempotent
    _send_on(served, relay, way)


def _check_length(relay: Relay) -> None:
    length = relay.request.length
    if length is not None and length > relay.limit_bytes:
        raise TooLarge(f"the body is {length:,} bytes; at most {relay.limit_bytes:,} are accepted")


def _way(relay: Relay, name: bytes) -> Way:
    headers = relay.headers
    length = relay.request.length
    return Way(
        name,
        path=relay.path,
        target=relay.request.target,
        counted=relay.counted,
        shares=(
            relay.method == b"POST"
            and relay.counted
            and length is not None
            and length <= _SHARED_BYTES
            # One that grows when it is unpacked is refused by closing the connection.
            and b"content-encoding" not in headers
            and _EVENTS not in headers.get(b"accept", b"").lower()
        ),
        origin=b"origin" in headers,
    )


def _target(relay: Relay) -> tuple[bytes, bytes]:
    """Return path and query of what is asked for, in any form that HTTP has for it."""
    if relay.method == b"CONNECT":
        raise Unsupported("CONNECT: this is no proxy")
    target = relay.path
    if not target.startswith(b"/"):
        try:
            url = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError:
            raise BadRequest("what is asked for is no path") from None
        return url.path or b"/", url.query or b""
    path, _, query = target.partition(b"?")
    return path, query


def _check_protocol(relay: Relay) -> None:
    headers = relay.headers
    coding = headers.get(b"transfer-encoding")
    if coding is not None and coding.strip().lower() != b"chunked":
        raise Unsupported("the only transfer coding that is read is chunked")
    if headers.get(b"upgrade", b"").lower() == b"websocket":
        raise Unsupported("websockets are not spoken here: ask by POST, or for an event stream")


def _admit(served: Served, relay: Relay, scope: str) -> None:
    if served.keys is None or relay.front.trusted:
        return
    headers = relay.headers
    told = headers.get(b"authorization") or headers.get(b"x-api-key")
    relay.key = served.keys.admit(told, scope).id


def _allow_origin(served: Served, relay: Relay) -> None:
    origins = served.config.cors
    origin = relay.headers.get(b"origin")
    if not origins or origin is None:
        return
    if "*" in origins or origin.decode("latin-1") in origins:
        relay.extra = (
            b"access-control-allow-origin: %b\r\n"
            b"access-control-allow-methods: GET, POST\r\n"
            b"access-control-allow-headers: authorization, content-type, x-api-key\r\n"
            b"access-control-expose-headers: retry-after, x-endpoint-version\r\n"
            b"access-control-max-age: 600\r\n" % origin
        )
    relay.extra += b"vary: origin\r\n"


def _send_on(served: Served, relay: Relay, way: Way) -> None:
    """Say what of a known head goes on."""
    request = relay.request
    # All else that it depends on is in the head.
    key = served.keys is None, relay.front.trusted
    told = way.heads.get(key)
    if told is None:
        request.lines = _lines_on(served, relay)
        told = way.heads[key] = request.lines, request.begun()
    request.lines, request.head = told


def _lines_on(served: Served, relay: Relay) -> bytes:
    skipped = _FRAMING
    if served.keys is not None:
        skipped |= _SECRETS
    if b"connection" in relay.headers:
        skipped |= connection_names(relay.fields)
    lines = [b"%b: %b\r\n" % field for field in relay.fields if field[0] not in skipped]
    prefix = b"/" + served.name.encode()
    if relay.front.trusted:
        # A program of the user's that is itself asked under a path.
        prefix = relay.headers.get(b"x-forwarded-prefix", prefix)
    lines.append(b"x-forwarded-prefix: %b\r\n" % prefix)
    return b"".join(lines)
