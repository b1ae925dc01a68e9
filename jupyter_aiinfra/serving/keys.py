"""Keys of callers: kept as digests, compared in constant time, with scopes and a rate each.

A key reads ``aii_NAME_SECRET``. The file holds its name and the SHA-256 of the whole: the secret
is 256 random bits, which nobody finds from a digest, so nothing slower is needed a request. Two
keys of one purpose live side by side while callers change from one to the other.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jupyter_aiinfra.serving.faults import Busy, Forbidden, Unauthorized
from jupyter_aiinfra.serving.model import CannotServe

__all__ = ["SCOPES", "Key", "Keys", "new_key"]

SCOPES = ("predict", "metrics")

_PREFIX = "aii"
_LOOK_SECONDS = 1.0
_REMEMBERED = 1024


@dataclass(frozen=True, kw_only=True)
class Key:
    """One caller.

    Parameters
    ----------
    per_second
        Requests it may make, on average; as many may come at once. ``None`` is any number.
    """

    name: str
    sha256: str
    scopes: tuple[str, ...] = ("predict",)
    per_second: float | None = None


def new_key(
    name: str, *, scopes: tuple[str, ...] = ("predict",), per_second: float | None = None
) -> tuple[str, Key]:
    """Return a new secret, which is nowhere else, and what goes into the file.

    Raises
    ------
    ValueError
        The name or a scope is not one.
    """
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"name {name!r}: small letters, digits and dashes")
    if unknown := set(scopes) - set(SCOPES):
        raise ValueError(f"no scope {min(unknown)!r}; there are {', '.join(SCOPES)}")
    secret = f"{_PREFIX}_{name}_{secrets.token_urlsafe(32)}"
    key = Key(name=name, sha256=_digest(secret), scopes=scopes, per_second=per_second)
    return secret, key


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Keys:
    """The keys in a file, read again when it has changed.

    Parameters
    ----------
    share
        Which part of a rate is granted here: one over the number of workers.
    """

    def __init__(
        self, path: Path, *, share: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._share = share
        self._clock = clock
        self._looked = clock()
        self._stamp = self._stamped()
        self._keys = self._read()
        self._buckets: dict[str, tuple[float, float]] = {}
        # By the digest of a header that was right: how long a look takes tells nothing of a secret.
        self._right: dict[bytes, Key] = {}

    def admit(self, authorization: bytes | None, scope: str) -> str:
        """Return the name of the key in a header, if it opens `scope` and has not asked too much.

        Raises
        ------
        Unauthorized
            No key, or one that is not in the file.
        Forbidden
            It lacks the scope.
        Busy
            It asks more often than it may.
        """
        now = self._clock()
        if now - self._looked > _LOOK_SECONDS:
            self._look(now)
        told = authorization or b""
        digest = hashlib.sha256(told).digest()
        key = self._right.get(digest)
        if key is None:
            key = self._checked(told)
            if len(self._right) >= _REMEMBERED:
                self._right.clear()
            self._right[digest] = key
        if scope not in key.scopes:
            raise Forbidden(f"key {key.name} is not for {scope}")
        if key.per_second is not None:
            self._spend(key.name, key.per_second * self._share, now)
        return key.name

    def _checked(self, told: bytes) -> Key:
        """Return the key in a header that was not seen before, or was wrong."""
        secret = told.decode("latin-1").removeprefix("Bearer ").strip()
        parts = secret.split("_", 2)
        key = self._keys.get(parts[1]) if parts[0] == _PREFIX and len(parts) > 1 else None
        # An unknown name costs what a wrong secret costs.
        right = hmac.compare_digest(_digest(secret), key.sha256 if key else "0" * 64)
        if key is None or not right:
            raise Unauthorized("a key is needed: `Authorization: Bearer …` or `X-API-Key: …`")
        return key

    def _spend(self, name: str, rate: float, now: float) -> None:
        most = max(1.0, rate)
        tokens, since = self._buckets.get(name, (most, now))
        tokens = min(most, tokens + (now - since) * rate)
        if tokens < 1:
            self._buckets[name] = (tokens, now)
            raise Busy(
                f"key {name} may ask {rate:g} times a second",
                retry_after_seconds=(1 - tokens) / rate,
            )
        self._buckets[name] = (tokens - 1, now)

    def _look(self, now: float) -> None:
        self._looked = now
        stamp = self._stamped()
        # A file that is being replaced may be away for a moment: the old keys hold.
        if stamp is not None and stamp != self._stamp:
            self._keys = self._read()
            self._right.clear()
            self._stamp = stamp

    def _stamped(self) -> tuple[int, int] | None:
        try:
            told = self._path.stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_ino

    def _read(self) -> Mapping[str, Key]:
        try:
            keys = msgspec.json.decode(self._path.read_bytes(), type=list[Key])
        except (OSError, msgspec.MsgspecError) as error:
            raise CannotServe(f"keys in {self._path}: {error}") from error
        return {key.name: key for key in keys}
