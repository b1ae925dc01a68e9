"""Credentials: values that look like secrets, so that none is written into a run directory."""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

__all__ = ["find_credential"]

_DEPTH = 4
_ITEMS = 1000
_SEARCHED = 5000
_LONGEST = 8192

_LAST = frozenset(
    ("accesstoken", "apikey", "authtoken", "credential", "credentials", "passphrase", "passwd")
) | frozenset(("password", "pwd", "secret", "secrets"))
_KEYS = frozenset(
    ("access", "account", "api", "auth", "encryption", "master", "private", "secret", "signing")
)
# What stands before "token" where it is a login, and not a piece of text.
_TOKENS = (
    frozenset(
        ("access", "api", "auth", "bearer", "bot", "csrf", "deploy", "gh", "github", "gitlab", "hf")
    )
    | frozenset(
        ("hub", "huggingface", "id", "jwt", "login", "mlflow", "my", "npm", "oauth", "openai")
    )
    | frozenset(("personal", "pypi", "refresh", "secret", "session", "slack", "user", "wandb"))
)
_TOKEN_LENGTH = 8
_LONE_TOKEN_LENGTH = 16
_SHAPES = (
    ("a Hugging Face token", r"hf_[A-Za-z0-9]{30,}"),
    ("an API key", r"sk-(?=\S*[0-9])(?=\S*[a-z])(?=\S*[A-Z])[A-Za-z0-9_-]{20,}"),
    ("a GitHub token", r"gh[opsur]_[A-Za-z0-9]{36,}"),
    ("a GitHub token", r"github_pat_[A-Za-z0-9_]{22,}"),
    ("an AWS access key", r"(AKIA|ASIA)[0-9A-Z]{16}"),
    ("a Slack token", r"xox[abeoprs]-[0-9A-Za-z-]{10,}"),
    ("a GitLab token", r"glpat-[0-9A-Za-z_-]{20,}"),
    ("a Google API key", r"AIza[0-9A-Za-z_-]{35}"),
    ("a PyPI token", r"pypi-[0-9A-Za-z_-]{50,}"),
    ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*"),
    ("a JSON web token", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    ("an address with a password", r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@\S+"),
)
_EXACT = tuple(re.compile(shape) for _, shape in _SHAPES)
# Most texts are none of these, and are seen to be none by this alone.
_BEGINNING = re.compile(
    r"(?i:bearer\s|basic\s|token\s)|hf_|sk-|gh[opsur]_|github_pat_|AKIA|ASIA|xox|glpat-|AIza|pypi-"
    r"|-----BEGIN|eyJ|[a-z][a-z0-9+.-]*://"
)
_HEADER = re.compile(r"(?:bearer|basic|token)\s+\S{8,}", re.IGNORECASE)
_PATH = re.compile(
    r"(~|\.{0,2}/|[A-Za-z]:\\|file://)\S*|[\w./\\-]+\.(json|pem|toml|ya?ml|txt|key|env|ini)"
)


def find_credential(name: str, value: Any) -> tuple[str, str] | None:
    """Return where in `value`, held by variable `name`, a secret seems to be, and why it seems so.

    Looks at texts, and into dicts, lists and objects with attributes, to a small depth. Names
    alone do not suffice: a number, an empty text, a path or a word is no secret.
    """
    queue = deque([(name, name, value, _DEPTH)])
    seen = 0
    while queue and seen < _SEARCHED:
        seen += 1
        path, label, part, depth = queue.popleft()
        if isinstance(part, (str, bytes)):
            reason = _judge(label, part)
            if reason:
                return path, reason
        elif depth:
            queue.extend(
                (path + suffix, key or label, item, depth - 1) for suffix, key, item in _parts(part)
            )
    return None


def _parts(value: Any) -> list[tuple[str, str, Any]]:
    """Return what `value` holds: what to append to reach it, its name, and the part."""
    if isinstance(value, Mapping):
        pairs = value.items() if len(value) <= _ITEMS and type(value).__module__ != "os" else ()
        return [(f"[{key!r}]", key, item) for key, item in list(pairs) if isinstance(key, str)]
    if isinstance(value, (list, tuple)):
        names = getattr(value, "_fields", None)
        if names and len(names) == len(value):
            return [(f".{key}", key, item) for key, item in zip(names, value, strict=True)]
        return [(f"[{number}]", "", item) for number, item in enumerate(value[:_ITEMS])]
    attributes = getattr(value, "__dict__", None)
    if type(attributes) is dict and not isinstance(value, type) and len(attributes) <= _ITEMS:
        return [(f".{key}", key, item) for key, item in attributes.items() if isinstance(key, str)]
    return []


def _judge(name: str, value: str | bytes) -> str:
    if not value or len(value) > _LONGEST:
        return ""
    text = value if isinstance(value, str) else value.decode("latin-1")
    text = text.strip()
    if _BEGINNING.match(text):
        bare = text.partition(" ")[2] if _HEADER.fullmatch(text) else text
        for (what, _), shape in zip(_SHAPES, _EXACT, strict=True):
            if shape.fullmatch(bare):
                return f"its value looks like {what}"
    words = _words(name)
    if words[-1:] == ["authorization"] and _HEADER.fullmatch(text):
        return "its value looks like a login"
    if _named_like_secret(words, text):
        return "its name says that it is a secret"
    return ""


@functools.lru_cache(maxsize=4096)
def _words(name: str) -> list[str]:
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    words = [word for word in re.split(r"[^A-Za-z]+", split.lower()) if word]
    while len(words) > 1 and words[-1] in ("value", "str", "text", "id"):
        words.pop()
    return words


def _named_like_secret(words: list[str], text: str) -> bool:
    if not words or not text or any(character.isspace() for character in text):
        return False
    if _PATH.fullmatch(text):
        return False
    if words[-1] in _LAST or (words[-1] == "key" and _KEYS.intersection(words[-2:-1])):
        return True
    if words[-1] not in ("token", "tokens"):
        return False
    # In language models a token is a piece of text: "pad_token", "next_token", `for token in …`.
    mixed = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    if len(words) > 1:
        return words[-2] in _TOKENS and len(text) >= _TOKEN_LENGTH
    return mixed and len(text) >= _LONE_TOKEN_LENGTH
