"""A head that was looked at before is taken as it was then, except for what may have changed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from jupyter_aiinfra.routing.config import ApiKey, Endpoint
from jupyter_aiinfra.routing.entrance import accept
from jupyter_aiinfra.routing.keys import Keys, new_key
from jupyter_aiinfra.routing.relay import Relay
from jupyter_aiinfra.routing.seen import Asked
from jupyter_aiinfra.routing.wire import Fields

JSON = (b"content-type", b"application/json")


class Front:
    """Takes what the router answers by itself."""

    def __init__(self, *, trusted: bool = False) -> None:
        self.trusted = trusted

    def replied(self, relay: Relay) -> None:
        assert relay.reply is not None


def served(*, keys: tuple[ApiKey, ...] | None = None, **told: Any) -> Any:
    return SimpleNamespace(
        name="a",
        config=Endpoint(**told),
        keys=None if keys is None else Keys(keys),
        refused=0,
        last_request=None,
        waiting={},
    )


def head(*fields: tuple[bytes, bytes], method: bytes = b"POST", length: int = 3) -> Asked:
    told: Fields = [(b"host", b"e"), *fields, (b"content-length", b"%d" % length)]
    return Asked(method, b"/a/predict?b=c", told, length)


def asked(endpoint: Any, known: Asked, *, trusted: bool = False) -> Relay:
    relay = Relay(
        cast("Any", Front(trusted=trusted)),
        known.method,
        known.target,
        known.fields,
        persistent=True,
        known=known,
    )
    relay.request.add(b"x" * known.length)
    relay.request.complete = True
    accept({} if endpoint is None else {b"a": endpoint}, relay)
    return relay


@pytest.mark.parametrize(
    ("known", "shares"),
    [
        (head(JSON), True),
        (head(JSON, (b"accept", b"application/json, */*")), True),
        (head(JSON, (b"accept", b"Text/Event-Stream")), False),
        (head(JSON, (b"content-encoding", b"gzip")), False),
        (head(JSON, length=16 * 1024), True),
        (head(JSON, length=16 * 1024 + 1), False),
        (head(JSON, method=b"PUT"), False),
        (head(method=b"GET", length=0), False),
    ],
    ids=["json", "accepts", "events", "packed", "16 KiB", "more", "put", "get"],
)
def test_what_shares_a_connection(known: Asked, shares: bool) -> None:
    endpoint = served()
    first, again = (asked(endpoint, known) for _ in range(2))
    assert (first.shares, again.shares) == (False, shares)
    assert first.request.sent() == again.request.sent()
    assert (again.path, again.counted, again.endpoint) == (b"/predict", True, endpoint)
    endpoint.config = Endpoint(idempotent=False)
    assert asked(endpoint, known).shares is False


def test_what_changes_is_looked_at_each_time() -> None:
    endpoint, known = served(), head(JSON, (b"origin", b"https://one.example"))
    for _ in range(2):
        assert asked(endpoint, known).reply is None
    _, key = new_key("k")
    endpoint.keys = Keys((key,))
    refused = asked(endpoint, known)
    assert refused.reply is not None
    assert (refused.reply.status, endpoint.refused) == (401, 1)
    assert asked(endpoint, known, trusted=True).reply is None
    endpoint.keys = None
    endpoint.config = Endpoint(max_body=2)
    too_large = asked(endpoint, known).reply
    assert too_large is not None
    assert too_large.status == 413
    endpoint.config = Endpoint(cors=("https://one.example",))
    assert b"access-control-allow-origin: https://one.example" in asked(endpoint, known).extra
    gone = asked(None, known).reply
    assert gone is not None
    assert gone.status == 404


def test_keys_go_to_a_replica_only_where_they_are_its_own() -> None:
    secret, key = new_key("k")
    known = head(JSON, (b"x-api-key", secret.encode()))
    for _ in range(2):
        assert secret.encode() in asked(served(), known).request.sent()
        assert secret.encode() not in asked(served(keys=(key,)), known).request.sent()
