"""Keys of callers: kept as digests, compared in constant time, with scopes and a rate each.

A key reads ``aii_ID_SECRET``. The configuration holds the SHA-256 of the whole: the secret is 256
random bits, which nobody finds from a digest, so nothing slower is needed a request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable

from jupyter_aiinfra.routing.config import ApiKey
from jupyter_aiinfra.routing.faults import Forbidden, TooOften, Unauthorized

__all__ = ["SCOPES", "Keys", "digest_of", "new_key", "new_secret"]

SCOPES = ("predict", "metrics")
"""What a key may be for."""

_PREFIX = "aii"


def new_key(
    name: str, *, scopes: tuple[str, ...] = ("predict",), per_second: float | None = None
) -> tuple[str, ApiKey]:
    """Return a new secret, which is nowhere else, and what goes into the configuration.

    Raises
    ------
    ValueError
        A scope is none.
    """
    if unknown := set(scopes) - set(SCOPES):
        raise ValueError(f"no scope {min(unknown)!r}; there are {', '.join(SCOPES)}")
    number = secrets.token_hex(6)
    secret = new_secret(number)
    digest = digest_of(secret)
    return secret, ApiKey(id=number, name=name, digest=digest, scopes=scopes, per_second=per_second)


def new_secret(key_id: str) -> str:
    """Return what a caller shows, for the key of that id."""
    return f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """Return what is kept of a key, in the configuration and wherever that is made from."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Keys:
    """Who may call an endpoint."""

    def __init__(
        self, keys: Iterable[ApiKey], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = {key.id: key for key in keys}
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def replaced(self, keys: Iterable[ApiKey]) -> Keys:
        """Return other keys, where who has spent a rate has still spent it."""
        other = Keys(keys, clock=self._clock)
        other._buckets = {
            number: spent for number, spent in self._buckets.items() if number in other._keys
        }
        return other

    def admit(self, header: bytes | None, scope: str = "predict") -> ApiKey:
        """Return the key in an ``Authorization`` or ``X-API-Key`` header, if it opens `scope`.

        Raises
        ------
        Unauthorized
            No key, or one that is not known.
        Forbidden
            It lacks the scope.
        TooOften
            It asks more often than it may.
        """
        told = (header or b"").decode("latin-1").strip()
        if told[:7].lower() == "bearer ":
            told = told[7:].strip()
        parts = told.split("_", 2)
        key = self._keys.get(parts[1]) if parts[0] == _PREFIX and len(parts) > 1 else None
        # An unknown name costs what a wrong secret costs.
        right = hmac.compare_digest(digest_of(told), key.digest if key else "0" * 64)
        if key is None or not right:
            raise Unauthorized("a key is needed: `Authorization: Bearer …` or `X-API-Key: …`")
        if scope not in key.scopes:
            raise Forbidden(f"key {key.name} is not for {scope}")
        if key.per_second is not None:
            self._spend(key, key.per_second)
        return key

    def _spend(self, key: ApiKey, rate: float) -> None:
        now = self._clock()
        most = max(1.0, rate)
        tokens, since = self._buckets.get(key.id, (most, now))
        tokens = min(most, tokens + (now - since) * rate)
        if tokens < 1:
            self._buckets[key.id] = (tokens, now)
            raise TooOften(
                f"key {key.name} may ask {rate:g} times a second",
                retry_after_seconds=(1 - tokens) / rate,
            )
        self._buckets[key.id] = (tokens - 1, now)
