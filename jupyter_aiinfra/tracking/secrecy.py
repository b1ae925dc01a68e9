"""What looks like a secret, by its name or by its shape, and must not be recorded."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from urllib.parse import SplitResult

__all__ = ["host", "is_secret_value", "safe_environ"]

# Parts of a variable's name, between underscores or capitals.
_SECRET_WORDS = frozenset(
    (
        *("APIKEY", "BEARER", "COOKIE", "COOKIES", "CREDENTIAL", "CREDENTIALS", "CREDS", "JWT"),
        *("PASS", "PASSPHRASE", "PASSWD", "PASSWORD", "PASSWORDS", "PAT", "PSWD", "PWD"),
        *("SECRET", "SECRETS"),
    )
)
# These are in the names of switches and counters as well: USE_AUTH, MAX_TOKENS, EOS_TOKEN_ID.
_WEAK_WORDS = frozenset(
    ("AUTH", "AUTHORIZATION", "KEY", "KEYS", "SAS", "SIGNATURE", "TOKEN", "TOKENS")
)
_SECRET_ENDINGS = (
    *("ACCESSKEY", "APIKEY", "AUTHKEY", "PRIVATEKEY", "SECRETKEY", "SSHPASS"),
    *("COOKIE", "CREDENTIALS", "PASSPHRASE", "PASSWD", "PASSWORD", "SECRET", "TOKEN"),
)
_PLACES = frozenset(("DIR", "FILE", "HOME", "PATH", "SOCK", "SOCKET"))
_FOLDERS = frozenset({"PWD", "OLDPWD"})
_SWITCH = re.compile(r"|0|1|true|false|yes|no|on|off|none", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(\.\d+)?")

_SECRET_VALUES = tuple(
    re.compile(pattern)
    for pattern in (
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
        r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]*:[^/\s@]+@",  # scheme://user:password@
        r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]{16,}@",  # scheme://token@
        r"https://hooks\.slack\.com/services/\w+/\w+",
        # Connection strings and queries.
        r"(?i)(^|[;&?\s])(password|passwd|pwd|secret|token|access_token|api_?key)\s*=\s*[^\s;&]",
        r"(?i)(^|[;&?\s])(accountkey|sharedaccesskey|sharedaccesssignature|sig)\s*=\s*[^\s;&]",
        r"(?i)\b(bearer|basic)\s+[a-z0-9+/_.=-]{16,}",
        r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",  # a JSON web token
        r"\bgh[oprsu]_[A-Za-z0-9]{20,}",
        r"\bgithub_pat_\w{20,}",
        r"\bglpat-[\w-]{16,}",
        r"\bhf_[A-Za-z0-9]{20,}",
        r"\b(sk|rk|pk)[-_](live_|test_|proj-|ant-)?[\w-]{20,}",
        r"\bxox[abeoprs]-[\w-]{10,}",
        r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bAIza[\w-]{30,}",
        r"\bya29\.[\w-]{10,}",
        r"\bnpm_[A-Za-z0-9]{30,}",
        r"\bpypi-[\w-]{30,}",
        r"\bdckr_pat_[\w-]{10,}",
        r"\bdapi[0-9a-f]{32}\b",
        r"\bnvapi-[\w-]{20,}",
    )
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_RANDOM_LENGTH = 24
_RANDOM_SHARE = 0.35
_KINDS = (str.islower, str.isupper, str.isdigit)


def safe_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what looks like a secret, by its name or by its value.

    In doubt a variable is left out: what is recorded cannot be taken back.
    """
    return {
        name: value
        for name, value in environ.items()
        if not _is_secret_name(name, value) and not is_secret_value(value)
    }


def _is_secret_name(name: str, value: str) -> bool:
    if name in _FOLDERS:
        return False
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
    parts = [part.rstrip("0123456789") for part in re.split(r"[^A-Z0-9]+", words) if part]
    if parts and parts[-1] in _PLACES and value.startswith(("/", "~")):
        return False  # where a secret lies is none
    if not _SECRET_WORDS.isdisjoint(parts):
        return True
    endings = any(part.endswith(_SECRET_ENDINGS) for part in parts)
    if _WEAK_WORDS.isdisjoint(parts) and not endings:
        return False
    if _SWITCH.fullmatch(value):
        return endings and not _WEAK_WORDS.intersection(parts)
    counts = "TOKENS" in parts or parts[-2:] == ["TOKEN", "ID"]
    return not (counts and _NUMBER.fullmatch(value))


def is_secret_value(value: str) -> bool:
    """Whether `value` holds something shaped like a key, a token or a password."""
    if any(pattern.search(value) for pattern in _SECRET_VALUES):
        return True
    words = re.split(r"[^A-Za-z0-9+_.-]+", _UUID.sub("", value))
    return any(_looks_random(word) for word in words)


def _looks_random(word: str) -> bool:
    """Whether `word` changes between small, capital and digit as often as only keys do."""
    if len(word) < _RANDOM_LENGTH:
        return False
    kinds = [next((kind for kind in _KINDS if kind(c)), None) for c in word]
    if not {*_KINDS} <= {*kinds}:
        return False
    changes = sum(a is not b and None not in (a, b) for a, b in itertools.pairwise(kinds))
    return changes / len(word) >= _RANDOM_SHARE


def host(parts: SplitResult) -> str:
    """Return host and port of an address, without the user and password before them."""
    return parts.netloc.rpartition("@")[2]
