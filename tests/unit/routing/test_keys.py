"""Keys open what they are for, as often as they may, and nothing else does."""

from __future__ import annotations

import pytest

from jupyter_aiinfra.routing.faults import Fault, Forbidden, TooOften, Unauthorized
from jupyter_aiinfra.routing.keys import Keys, new_key


def test_a_key_opens() -> None:
    secret, key = new_key("anna")
    keys = Keys([key, new_key("anna")[1]])
    for told in (f"Bearer {secret}", f"bearer  {secret} ", secret):
        assert keys.admit(told.encode()) is key
    assert secret not in repr(key)


@pytest.mark.parametrize("told", [None, b"", b"Bearer", b"Bearer x", b"aii_", b"\xff\xfe", b"aii"])
def test_what_is_no_key(told: bytes | None) -> None:
    with pytest.raises(Unauthorized):
        Keys([new_key("anna")[1]]).admit(told)


def test_a_wrong_secret() -> None:
    secret, key = new_key("anna")
    with pytest.raises(Unauthorized):
        Keys([key]).admit(f"{secret}x".encode())
    with pytest.raises(Unauthorized):
        Keys([]).admit(secret.encode())


def test_scopes() -> None:
    secret, key = new_key("prometheus", scopes=("metrics",))
    keys = Keys([key])
    keys.admit(secret.encode(), "metrics")
    with pytest.raises(Forbidden, match="prometheus is not for predict"):
        keys.admit(secret.encode())
    with pytest.raises(ValueError, match="no scope 'all'"):
        new_key("a", scopes=("all",))


def test_rates() -> None:
    now = [0.0]
    secret, key = new_key("anna", per_second=2)
    keys = Keys([key], clock=lambda: now[0])
    for _ in range(2):
        keys.admit(secret.encode())
    with pytest.raises(TooOften) as told:
        keys.admit(secret.encode())
    assert told.value.retry_after_seconds == 0.5
    # A new configuration forgives nothing.
    keys = keys.replaced([key])
    with pytest.raises(TooOften):
        keys.admit(secret.encode())
    now[0] = 0.5
    keys.admit(secret.encode())
    with pytest.raises(TooOften):
        keys.admit(secret.encode())


def test_faults_are_told_as_replicas_tell_them() -> None:
    assert b'"error_code":"BAD_REQUEST"' in Unauthorized("no").body()
    assert b'"error_code":"INTERNAL_ERROR"' in Fault("no").body()
    assert TooOften("no", retry_after_seconds=0.1).headers() == b"retry-after: 1\r\n"
    assert Fault("no").headers() == b""
    assert Unauthorized("no").headers().startswith(b"www-authenticate")
