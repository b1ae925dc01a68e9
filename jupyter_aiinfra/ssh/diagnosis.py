"""What ssh says when it fails, as errors of ours. Pure: text in, error out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jupyter_aiinfra.errors import (
    AuthenticationFailed,
    ConnectionLost,
    ConnectionRefused,
    ConnectionTimedOut,
    HostKeyChanged,
    LoginNeeded,
    NameNotResolved,
    NoRoute,
    PoolError,
    Unreachable,
)

__all__ = ["KEY_UNKNOWN", "Attempt", "diagnose"]

#: What ssh says of a host whose key it does not know.
KEY_UNKNOWN = re.compile(
    r"^No (?P<type>\S+) host key is known for (?P<name>.+?) and you have requested", re.MULTILINE
)
_MOST_SAID = 600


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A call of ssh that failed.

    Parameters
    ----------
    host
        The host, as a person named it.
    said
        Its standard error.
    login
        The command that opens a shared connection in a terminal.
    keys
        The key files that ssh would offer.
    """

    host: str
    said: str
    login: str
    keys: Sequence[str] = ()


def diagnose(attempt: Attempt) -> PoolError:
    """Return the error that fits what ssh said; the order of the tests is that of a connection."""
    for pattern, make in _CASES:
        found = pattern.search(attempt.said)
        if found:
            return make(attempt, found)
    said = attempt.said.strip()[-_MOST_SAID:]
    if not said:
        return ConnectionLost(
            f"ssh could not reach {attempt.host}, and did not say why",
            hint=f"try it in a terminal: {attempt.login}",
        )
    return PoolError(f"ssh failed for {attempt.host}: {said}", hint=f"try it: {attempt.login}")


def _name(attempt: Attempt, found: re.Match[str]) -> PoolError:
    return NameNotResolved(
        f"{attempt.host}: no address is known for the name {found['name']!r}",
        hint="check the spelling, its HostName in ~/.ssh/config, and the network (a VPN?)",
    )


def _refused(attempt: Attempt, found: re.Match[str]) -> PoolError:
    return ConnectionRefused(
        f"{attempt.host}: {found['address']} refused the connection to port {found['port']}",
        hint="is its sshd running, and on that port?",
    )


def _timed_out(attempt: Attempt, found: re.Match[str]) -> PoolError:
    del found
    return ConnectionTimedOut(
        f"{attempt.host} did not answer in time",
        hint="is it on, and does the network (a firewall, a VPN) let you through?",
    )


def _no_route(attempt: Attempt, found: re.Match[str]) -> PoolError:
    return NoRoute(
        f"{attempt.host}: {found['why'].lower()}", hint="check the network here, and a VPN"
    )


def _key_changed(attempt: Attempt, found: re.Match[str]) -> PoolError:
    del found
    said = attempt.said
    place = re.search(
        r"^Offending (?P<type>\S+) key in (?P<file>.+):(?P<line>\d+)", said, re.MULTILINE
    )
    shown = re.search(r"^(SHA256:[\w+/=]+)\.?$", said, re.MULTILINE)
    remove = re.search(r'^\s*(ssh-keygen -f ".+" -R ".+")\s*$', said, re.MULTILINE)
    where = f" in {place['file']}, line {place['line']}" if place else ""
    seen = f" It shows {shown[1]}." if shown else ""
    command = remove[1] if remove else f"ssh-keygen -R {attempt.host}"
    return HostKeyChanged(
        f"THE HOST KEY OF {attempt.host} HAS CHANGED. It is not the one known{where}.{seen}"
        " Somebody may be between you and the host, or it was installed anew. Nothing was sent.",
        hint=f"ask whoever runs it; only when they confirm the new key: {command}",
    )


def _key_revoked(attempt: Attempt, found: re.Match[str]) -> PoolError:
    del found
    return HostKeyChanged(
        f"the host key of {attempt.host} is marked as revoked; nothing was sent",
        hint="ask whoever runs the host for its present key",
    )


def _jump_key(attempt: Attempt, found: re.Match[str]) -> PoolError:
    del found
    return PoolError(
        f"the key of a host on the way to {attempt.host} was not accepted",
        hint=f"connect once in a terminal and look at each key: {attempt.login}",
    )


def _denied(attempt: Attempt, found: re.Match[str]) -> PoolError:
    account, methods = found["account"], [m for m in found["methods"].split(",") if m]
    if methods and "publickey" not in methods:
        return LoginNeeded(
            f"{attempt.host} wants more than a key of {account}: {', '.join(methods)}",
            hint=f"log in once in a terminal; the connection is then shared: {attempt.login}",
            command=attempt.login,
        )
    tried = f"tried: {', '.join(attempt.keys)}" if attempt.keys else "no key file is there"
    hint = f"{tried}, and what ssh-agent holds (ssh-add -l); a key with a passphrase needs ssh-add"
    if set(methods) & {"password", "keyboard-interactive"}:
        hint += f"; for a password log in once in a terminal: {attempt.login}"
    if re.search(r"UNPROTECTED PRIVATE KEY FILE|bad permissions", attempt.said):
        hint = f"a private key is readable by others, and ssh ignores it: chmod 600; {hint}"
    return AuthenticationFailed(
        f"{attempt.host} did not let {account} in; it accepts {', '.join(methods) or 'nothing'}",
        hint=hint,
    )


def _too_many(attempt: Attempt, found: re.Match[str]) -> PoolError:
    del found
    return AuthenticationFailed(
        f"{attempt.host} was offered too many keys and hung up",
        hint="name the right one in ~/.ssh/config: IdentityFile, with IdentitiesOnly yes",
    )


def _negotiation(attempt: Attempt, found: re.Match[str]) -> PoolError:
    return PoolError(
        f"{attempt.host} and the ssh client here have nothing in common: {found['why']}",
        hint="see https://www.openssh.com/legacy.html",
    )


def _not_ssh(attempt: Attempt, found: re.Match[str]) -> PoolError:
    return PoolError(
        f"what answers at {attempt.host} is not an ssh server: {found[0].strip()}",
        hint="check the port",
    )


def _closed(attempt: Attempt, found: re.Match[str]) -> PoolError:
    return Unreachable(
        f"{attempt.host} closed the connection before anybody was let in: {found[0].strip()}",
        hint="it may be starting, shutting down or overloaded: try again; or see its sshd's log",
    )


def _lost(attempt: Attempt, found: re.Match[str]) -> PoolError:
    return ConnectionLost(
        f"the connection to {attempt.host} broke: {found[0].strip()}", hint="try again"
    )


def _socket(attempt: Attempt, found: re.Match[str]) -> PoolError:
    return PoolError(
        f"no shared connection to {attempt.host} can be kept: {found[0].strip()}",
        hint="set XDG_RUNTIME_DIR to a short path, or ControlPath in ~/.ssh/config",
    )


_CASES: tuple[tuple[re.Pattern[str], Callable[[Attempt, re.Match[str]], PoolError]], ...] = tuple(
    (re.compile(pattern, re.MULTILINE), make)
    for pattern, make in (
        (r"REMOTE HOST IDENTIFICATION HAS CHANGED|^Host key for .+ has changed", _key_changed),
        (r"REVOKED HOST KEY|^Host key .* marked as revoked", _key_revoked),
        (r"Could not resolve hostname (?P<name>[^:]*(?::[^: ]+)*?): ", _name),
        (
            r"connect to host (?P<address>\S+) port (?P<port>\d+): Connection refused",
            _refused,
        ),
        (
            (
                r"connect to host .*: (?:Connection|Operation) timed out"
                r"|timed out during banner exchange|^Connection to .* timed out$"
            ),
            _timed_out,
        ),
        (
            (
                r"connect to host \S+ port \d+: "
                r"(?P<why>No route to host|Network is unreachable|Host is down|Permission denied"
                r"|Cannot assign requested address|Network is down)"
            ),
            _no_route,
        ),
        (r"Too many authentication failures", _too_many),
        (r"^(?:(?P<account>\S+): )Permission denied \((?P<methods>[^)]*)\)", _denied),
        (r"^Unable to negotiate with .*?: (?P<why>.*)$", _negotiation),
        (
            r"banner line contains invalid|Bad remote protocol version.*|banner line .* too long",
            _not_ssh,
        ),
        (r"^Host key verification failed", _jump_key),
        (r"^.*(?:path too long for Unix domain socket|ControlPath.*too long).*$", _socket),
        (r"^unix_listener: .*$|^.*cannot bind to path.*$", _socket),
        (r"^Timeout, server .* not responding.*$|Broken pipe|^client_loop: .*$", _lost),
        (
            r"^.*(?:Connection (?:closed|reset) by .*|Connection reset|closed by remote host).*$",
            _closed,
        ),
    )
)
