"""Keys of hosts that nobody has trusted yet: seen without trusting, and trusted when told to."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_aiinfra.errors import HostKeyChanged, HostKeyUnknown, PoolError
from jupyter_aiinfra.ssh.client import SshClient, watching
from jupyter_aiinfra.ssh.hosts import matches

__all__ = ["offered_key", "surely_unknown", "trust"]


async def surely_unknown(client: SshClient) -> bool:
    """Say whether no file of known hosts can have a key of the host, without asking the host."""
    configuration = await client.configuration()
    for other_way in ("knownhostscommand", "verifyhostkeydns", "nohostauthenticationforlocalhost"):
        if await client.configured(other_way) is not None:
            return False
    port = configuration.get("port", ("22",))[0]
    name = await client.configured("hostkeyalias") or configuration.get("hostname", ("",))[0]
    wanted = name.lower() if port == "22" else f"[{name.lower()}]:{port}"
    words = ("userknownhostsfile", "globalknownhostsfile")
    files = _paths(" ".join(" ".join(configuration.get(word, ())) for word in words))
    return not any(_may_name(path, wanted) for path in files)


def _may_name(path: Path, name: str) -> bool:
    try:
        lines = path.read_bytes().decode(errors="surrogateescape").splitlines()
    except OSError:
        return False  # as ssh does: a file that is not there names nobody
    return any(_is_for(word, name) for line in lines for word in line.split()[:2])


async def offered_key(client: SshClient) -> tuple[HostKeyUnknown | None, bytes]:
    """Return the key of a host, as the error that asks for trust in it, and what ssh said.

    ssh goes the user's own way there (ProxyJump, HostKeyAlias), authenticates as nobody, and writes
    the key into a file that is thrown away. ``None``: it saw none.
    """
    # An older ssh does not know the option, and one that does need not be told without cause.
    asked = await client.configured("knownhostscommand")
    others = ["KnownHostsCommand=none"] if asked else []
    with _nowhere() as file:
        done = await client.call(
            "-T",
            "StrictHostKeyChecking=accept-new",
            f"UserKnownHostsFile={file}",
            "GlobalKnownHostsFile=/dev/null",
            *others,
            "HashKnownHosts=no",
            "CheckHostIP=no",
            "UpdateHostKeys=no",
            "PreferredAuthentications=none",
            "ControlMaster=no",
            "ControlPath=none",
            *watching(client.options),
            seconds=client.options.login_seconds,
            command=["true"],
        )
        entry = _first_entry(file)
    if entry is None:
        return None, done.stderr
    name, key_type, key = entry
    host = str(client.host)
    fingerprint = _fingerprint(key)
    kind = _short(key_type)
    unknown = HostKeyUnknown(
        f"the host key of {host} is not known; it shows {kind} {fingerprint}",
        host=host,
        fingerprint=fingerprint,
        key_type=kind,
        line=f"{name} {key_type} {key}",
        hint="compare it with what the host's administrator says, then accept it",
    )
    return unknown, done.stderr


async def trust(client: SshClient, key: HostKeyUnknown) -> Path:
    """Write exactly that key into the user's file of known hosts, once, and return the file.

    Raises
    ------
    HostKeyChanged
        Another key of this host has been written there since it was asked for.
    PoolError
        The user has no such file, or it cannot be written.
    """
    configuration = await client.configuration()
    named = " ".join(configuration.get("userknownhostsfile", ()))
    files = _paths(named)
    if not files or files[0] == Path("/dev/null"):
        raise PoolError(
            f"ssh is configured to know no hosts for {key.host}",
            hint="remove UserKnownHostsFile from its configuration",
        )
    hashed = configuration.get("hashknownhosts", ("no",))[0] == "yes"
    try:
        _append(files[0], key, hashed=hashed)
    except OSError as error:
        raise PoolError(f"cannot write {files[0]}: {error.strerror}") from error
    return files[0]


def _append(path: Path, key: HostKeyUnknown, *, hashed: bool) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    name, key_type, value = key.line.split()
    with _locked(path) as descriptor:
        text = path.read_bytes().decode(errors="surrogateescape")
        known = set(_keys(text, name, key_type))
        if value in known:
            return
        if known:
            raise HostKeyChanged(
                f"THE HOST KEY OF {key.host} HAS CHANGED: {path} has another one by now",
                hint=f"ask whoever runs the host; ssh-keygen -f {path} -R '{name}' forgets it",
            )
        line = f"{_hashed(name) if hashed else name} {key_type} {value}\n"
        begin = "" if not text or text.endswith("\n") else "\n"
        # One write at the end of the file: ssh itself appends too, and knows of no lock.
        os.write(descriptor, f"{begin}{line}".encode())


def _paths(named: str) -> list[Path]:
    return [Path(name).expanduser() for name in shlex.split(named) if name != "none"]


@contextmanager
def _nowhere() -> Iterator[Path]:
    """Give the name of a file that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="aiinfra-key-") as folder:
        yield Path(folder) / "known_hosts"


def _first_entry(path: Path) -> tuple[str, str, str] | None:
    text = path.read_text() if path.exists() else ""
    for line in text.splitlines():
        match line.split():
            case [name, key_type, key, *_]:
                return name, key_type, key
    return None


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _keys(text: str, name: str, key_type: str) -> Iterator[str]:
    """Yield the keys of that type which the text has for exactly that name."""
    for line in text.splitlines():
        parts = line.split()
        if len(parts) >= 3 and parts[1] == key_type and _is_for(parts[0], name):  # noqa: PLR2004
            yield parts[2]


def _is_for(names: str, name: str) -> bool:
    if not names.startswith("|1|"):
        return any(matches(name, pattern) for pattern in names.split(","))
    salt, _, found = names[3:].partition("|")
    try:
        return hmac.compare_digest(_digest(name, base64.b64decode(salt)), found)
    except ValueError:
        return False  # not base64: no entry of ssh's


def _hashed(name: str) -> str:
    salt = secrets.token_bytes(20)
    return f"|1|{base64.b64encode(salt).decode()}|{_digest(name, salt)}"


def _digest(name: str, salt: bytes) -> str:
    # The format of the file knows no other hash.
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def _fingerprint(key: str) -> str:
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _short(key_type: str) -> str:
    """Return what ssh calls a type of key when it speaks to people."""
    found = re.search(r"(ed25519|ecdsa|rsa|dss)", key_type)
    return {"dss": "DSA"}.get(found[1], found[1].upper()) if found else key_type
