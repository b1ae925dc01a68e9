"""Names of hosts: as a user lists them, and as an ssh configuration file has them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from jupyter_aiinfra.errors import UsageError

__all__ = ["HostSpec", "hosts_from", "matches", "parse_hosts"]

_EXAMPLE = "for example --hosts gpu1,me@gpu2:2222,[fd00::3]"
# What ssh is given is never read by a shell of ours, but a ProxyCommand of the user's may be: the
# characters of names and addresses, and no others.
_NAME = re.compile(r"[^\W_][\w.+-]*|_[\w.+-]+")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?")
_USER = re.compile(r"[\w.+][\w.+@\\-]*")
_LAST_PORT = 65535
_MOST_INCLUDES = 16


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """A host as ssh is told of it; what is ``None`` is left to the user's configuration."""

    name: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        user = "" if self.user is None else f"{self.user}@"
        port = "" if self.port is None else f":{self.port}"
        return f"{user}{name}{port}"


def parse_hosts(text: str) -> tuple[HostSpec, ...]:
    """Read a list such as ``gpu1,me@gpu2:2222,[fd00::3]``.

    Raises
    ------
    UsageError
        Nothing in it, a host twice, or what is no name of a host; names it.
    """
    if not text.strip():
        raise UsageError("no host is named", hint=_EXAMPLE)
    parts = [part.strip(" ") for part in text.split(",")]
    if "" in parts:
        raise UsageError(f"a name is missing between the commas of {text!r}", hint=_EXAMPLE)
    return _distinct([_parse_host(part) for part in parts], text)


def hosts_from(text: str) -> tuple[HostSpec, ...]:
    """Return the hosts of an ssh configuration file: ``~/.ssh/config:gpu*,node?``.

    Patterns are ssh's own (``*``, ``?``, and ``!`` before one for what not to take); without any,
    all hosts are taken. An entry that is itself a pattern is no host. Files that it includes are
    read.

    Raises
    ------
    UsageError
        There is no such file, or no host in it fits.
    """
    file, _, patterns = text.partition(":")
    path = Path(file).expanduser()
    if not file or not path.is_file():
        raise UsageError(
            f"{file or text!r} is not a file", hint="for example --hosts-from '~/.ssh/config:gpu*'"
        )
    wanted = [part.strip() for part in patterns.split(",") if part.strip()] or ["*"]
    known = list(dict.fromkeys(_names(path, depth=0)))
    names = [name for name in known if _fits(name, wanted)]
    if not names:
        hint = f"its hosts: {', '.join(known[:20])}" if known else "it names no hosts"
        raise UsageError(f"no host of {file} fits {','.join(wanted)}", hint=hint)
    return tuple(HostSpec(name=_checked(name, name)) for name in names)


def _parse_host(text: str) -> HostSpec:
    user, at, rest = text.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise UsageError(f"{text!r} is not a host: {user!r} is no user name", hint=_EXAMPLE)
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", rest)
    if bracketed:
        name, port = bracketed[1], bracketed[2]
        if not _IPV6.fullmatch(name):
            raise UsageError(f"{text!r} is not a host: {name!r} is no IPv6 address", hint=_EXAMPLE)
    else:
        if rest.count(":") > 1:
            raise UsageError(
                f"{text!r} is not a host",
                hint=f"an IPv6 address goes in brackets: [{rest}]",
            )
        name, colon, after = rest.partition(":")
        port = after if colon else None
        name = _checked(name, text)
    return HostSpec(name=name, user=user or None, port=_parse_port(port, text))


def _checked(name: str, text: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{text!r} is not a host",
            hint=f"letters, digits and . _ - + make a name; {_EXAMPLE}",
        )
    return name


def _parse_port(text: str | None, whole: str) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= _LAST_PORT:
        raise UsageError(f"{whole!r} is not a host: {text!r} is no port from 1 to {_LAST_PORT}")
    return int(text)


def _distinct(hosts: Sequence[HostSpec], text: str) -> tuple[HostSpec, ...]:
    seen: set[tuple[str, int | None]] = set()
    for host in hosts:
        if (host.name, host.port) in seen:
            raise UsageError(f"{host.name!r} is named twice in {text!r}", hint="once is enough")
        seen.add((host.name, host.port))
    return tuple(hosts)


def _fits(name: str, patterns: Iterable[str]) -> bool:
    wanted = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if matches(name, pattern[1:]):
                return False
        else:
            wanted = wanted or matches(name, pattern)
    return wanted


def matches(name: str, pattern: str) -> bool:
    """Say whether a name fits one of ssh's patterns."""
    # Not fnmatch: brackets mean nothing to ssh.
    parts = [{"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern]
    return re.fullmatch("".join(parts), name) is not None


def _names(path: Path, *, depth: int) -> Iterator[str]:
    """Yield the names of all `Host` entries, in order."""
    if depth > _MOST_INCLUDES:
        raise UsageError(f"{path} is included within more than {_MOST_INCLUDES} files")
    always = True
    for number, line in enumerate(_lines(path), start=1):
        keyword, values = _split(line, where=f"{path}, line {number}")
        if keyword == "host":
            always = values == ["*"]
            yield from (value for value in values if not re.search(r"[*?]|^!", value))
        elif keyword == "match":
            always = [value.lower() for value in values] == ["all"]
        # Within an entry for some hosts, an included file counts for these only.
        elif keyword == "include" and always:
            for value in values:
                for included in _included(value):
                    yield from _names(included, depth=depth + 1)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _split(line: str, *, where: str) -> tuple[str, list[str]]:
    found = re.match(r"\s*([A-Za-z]\w*)\s*(?:=|\s)\s*(.*)", line)
    if found is None or found[1].lower() not in {"host", "match", "include"}:
        return "", []
    try:
        return found[1].lower(), shlex.split(found[2], comments=True)
    except ValueError as error:
        raise UsageError(f"{where} cannot be read: {error}") from error


def _included(pattern: str) -> list[Path]:
    # As ssh does it: what is not absolute lies in the user's own folder.
    path = Path.home() / ".ssh" / Path(pattern).expanduser()
    return [Path(name) for name in sorted(glob(str(path))) if Path(name).is_file()]  # noqa: PTH207
