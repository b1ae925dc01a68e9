"""Tokens and keys in what notebooks show: found by their shape, and hidden.

One file, standard library only, Python 3.8 or newer: the runner hides them before anything is
written, and :mod:`jupyter_aiinfra.promote.hygiene` looks at whole notebooks with the same eyes.
Only what has a shape of its own is taken for a secret. Long random words are not: digests, ids and
pictures in base64 are full of them.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Iterable, Mapping

__all__ = ["HIDDEN", "Scrubber", "open_end"]

HIDDEN = "•••"
_SHORTEST_SECRET = 4  # hiding every "1" of a text would hide the text

# What is hidden is the group `secret`, or all of it.
_SHAPES = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            "private key",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-(?!----END))*(?:-----END [A-Z ]*-----)?",
        ),
        ("password in a URL", r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@'\"]*:(?P<secret>[^/\s@'\"]+)@"),
        (
            "Slack webhook",
            r"https://hooks\.slack\.com/(?:services|workflows)/(?P<secret>[\w/]{16,})",
        ),
        ("bearer token", r"(?i)\bbearer\s+(?P<secret>[a-z0-9+/_.~=-]{16,})"),
        ("JSON web token", r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
        ("GitHub token", r"\b(?:gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,})"),
        ("GitLab token", r"\bglpat-[\w-]{16,}"),
        ("Hugging Face token", r"\bhf_[A-Za-z0-9]{20,}"),
        ("Anthropic key", r"\bsk-ant-[\w-]{20,}"),
        ("OpenAI key", r"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{20,}"),
        ("Stripe key", r"\b[rps]k_(?:live|test)_[A-Za-z0-9]{16,}"),
        ("Slack token", r"\bxox[abeoprs]-[\w-]{10,}"),
        ("AWS access key", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
        (
            "AWS secret key",
            r"(?i)\baws_?secret_?access_?key\b['\"]?\s*[:=]\s*['\"]?(?P<secret>[A-Za-z0-9/+=]{40})",
        ),
        ("Azure storage key", r"(?i)\baccountkey\s*=\s*(?P<secret>[A-Za-z0-9+/=]{20,})"),
        ("Google key", r"\b(?:AIza[\w-]{30,}|ya29\.[\w-]{20,})"),
        ("npm token", r"\bnpm_[A-Za-z0-9]{30,}"),
        ("PyPI token", r"\bpypi-[\w-]{30,}"),
        ("Docker token", r"\bdckr_pat_[\w-]{10,}"),
        ("Databricks token", r"\bdapi[0-9a-f]{32}\b"),
        ("NVIDIA key", r"\bnvapi-[\w-]{20,}"),
        ("endpoint key", r"\baii_[0-9a-z-]{1,63}_[\w-]{40,}"),
    )
)
# A shape is looked for only where one of these is: most texts have none, and are read once.
_HINTS = re.compile(
    r"(?i)://|-----BEGIN|bearer|eyJ|gh[oprsu]_|github_pat|glpat|hf_|sk-|[rps]k_|xox|AKIA|ASIA"
    r"|secret_?access|accountkey|AIza|ya29|npm_|pypi-|dckr_pat|dapi|nvapi|aii_"
)
# The end of a text that may go on as a token in the next one.
_OPEN_END = re.compile(r"[\w+/=.:@~-]{6,256}\Z")
# What is text in an output; pictures and the like are not looked at.
_TEXT = re.compile(r"text/|application/(?:.*\+)?(?:json|javascript|xml)|image/svg\+xml")


def open_end(text: str) -> int:
    """Return where in `text` a word begins that the next piece of it may go on with."""
    found = _OPEN_END.search(text)
    return found.start() if found else len(text)


class Scrubber:
    """Hides secrets, and counts what it has hidden by cell and kind; it keeps no value.

    Parameters
    ----------
    values
        Secrets that are known: they are hidden whatever they look like.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        lines = {line.strip() for value in values for line in value.splitlines()}
        kept = [line for line in lines if len(line) >= _SHORTEST_SECRET]
        self._known = sorted(kept, key=len, reverse=True)

    def text(self, text: str) -> tuple[str, dict[str, int]]:
        """Return `text` without its secrets, and how many of which kind there were."""
        found: dict[str, int] = {}
        for value in self._known:
            count = text.count(value)
            if count:
                found["secret of the job"] = found.get("secret of the job", 0) + count
                text = text.replace(value, HIDDEN)
        if _HINTS.search(text) is None:
            return text, found
        for kind, pattern in _SHAPES:
            hidden = [0]
            text = pattern.sub(functools.partial(_hide, hidden), text)
            if hidden[0]:
                found[kind] = found.get(kind, 0) + hidden[0]
        return text, found

    def output(self, output: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
        """Return one output of a cell without secrets, and how many of which kind it had."""
        found: dict[str, int] = {}

        def clean(value: Any) -> Any:
            if isinstance(value, str):
                value, new = self.text(value)
                _add(found, new)
                return value
            if isinstance(value, list):
                if value and all(isinstance(each, str) for each in value):
                    # A text in lines: a key may go over several.
                    whole = clean("".join(value))
                    joined: list[str] = whole.splitlines(keepends=True)
                    return value if "".join(value) == whole else joined
                return [clean(each) for each in value]
            if isinstance(value, dict):
                return {key: clean(each) for key, each in value.items()}
            return value

        kept = dict(output)
        if "text" in kept:
            kept["text"] = clean(kept["text"])
        if "data" in kept:
            data = kept["data"].items()
            kept["data"] = {mime: clean(v) if _TEXT.match(mime) else v for mime, v in data}
        if kept.get("output_type") == "error":
            kept["evalue"] = clean(kept.get("evalue", ""))
            kept["traceback"] = [clean(line) for line in kept.get("traceback", [])]
        return kept, found


def _hide(hidden: list[int], match: re.Match[str]) -> str:
    secret = match.groupdict().get("secret")
    if secret == HIDDEN or (secret is None and match[0] == HIDDEN):
        return match[0]
    hidden[0] += 1
    if secret is None:
        return HIDDEN
    start, end = match.span("secret")
    return match[0][: start - match.start()] + HIDDEN + match[0][end - match.start() :]


def _add(total: dict[str, int], new: Mapping[str, int]) -> None:
    for kind, count in new.items():
        total[kind] = total.get(kind, 0) + count
