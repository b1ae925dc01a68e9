"""Who can reach whom: ports and interfaces, as one node sees them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node.channel import Call, Refusal
else:  # its neighbour in the payload
    from channel import Call, Refusal

__all__ = ["connect", "interface", "listen"]

_LONGEST_SECONDS = 600.0
_SIOCGIFADDR = 0x8915


def listen(call: Call) -> None:
    """Listen on a port for some seconds, and greet who comes with a token.

    Arguments: ``host`` (all addresses), ``port`` (a free one), ``seconds`` (10), ``token``. The
    head has ``port``; the end has ``peers``, the addresses that came.
    """
    host, port = call.argument("host", str, ""), call.argument("port", int, 0)
    seconds = min(float(call.argument("seconds", (int, float), 10.0)), _LONGEST_SECONDS)
    token = call.argument("token", str, "").encode()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    peers = []
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as server:
        # Not SO_REUSEADDR: whether the launcher could have this port is what is asked.
        try:
            server.bind((host, port))
        except (OSError, OverflowError) as error:
            text = f"cannot listen on port {port} of {host or 'this node'}: {error}"
            raise Refusal("pool", text) from error
        server.listen(128)
        server.settimeout(0.05)
        call.head({"port": server.getsockname()[1]})
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not call.cancelled:
            try:
                peer, address = server.accept()
            except socket.timeout:
                continue
            with contextlib.closing(peer):
                peers.append(address[0])
                with contextlib.suppress(OSError):
                    peer.settimeout(1.0)
                    peer.sendall(token + b"\n")
    call.end({"peers": peers})


def connect(call: Call) -> dict[str, Any]:
    """Try to reach a port; not getting there is an answer, no error.

    Arguments: ``host``, ``port``, ``seconds`` (5), ``token`` (what the listener must say, if
    given). The answer has ``reached``, ``reason`` if not, ``local`` address if so, and how many
    ``seconds`` it took.
    """
    host, port = call.argument("host", str), call.argument("port", int)
    seconds = min(float(call.argument("seconds", (int, float), 5.0)), _LONGEST_SECONDS)
    token = call.argument("token", str, "").encode()
    begun = time.monotonic()
    answer: dict[str, Any] = {"reached": False, "reason": None, "local": None}
    try:
        with contextlib.closing(socket.create_connection((host, port), seconds)) as peer:
            answer["local"] = peer.getsockname()[0]
            answer["reached"] = not token or _hear(peer, len(token) + 1) == token + b"\n"
            if not answer["reached"]:
                answer["reason"] = "somebody else listens there"
    except socket.timeout:
        answer["reason"] = f"no answer within {seconds:g} s"
    except (OSError, OverflowError, UnicodeError) as error:
        answer["reason"] = getattr(error, "strerror", None) or str(error)
    answer["seconds"] = time.monotonic() - begun
    return answer


def _hear(peer: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        chunk = peer.recv(length - len(data))
        if not chunk:
            break
        data += chunk
    return data


def interface(call: Call) -> dict[str, Any]:
    """Return the local ``address`` and ``interface`` that lead to argument ``to``.

    No packet is sent: connecting a datagram socket only looks up the route.
    """
    target = call.argument("to", str)
    try:
        family, kind, _, _, where = socket.getaddrinfo(target, 9, type=socket.SOCK_DGRAM)[0]
        with contextlib.closing(socket.socket(family, kind)) as probe:
            probe.connect(where)
            address = str(probe.getsockname()[0])
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refusal("pool", f"no way from this node to {target!r}: {reason}") from error
    return {"address": address, "interface": _interface_of(address)}


def _interface_of(address: str) -> str | None:
    for _, name in socket.if_nameindex():
        if address in _addresses(name):
            return name
    return None


def _addresses(name: str) -> set[str]:
    """Return the addresses of an interface; of IPv4 the first (the kernel names aliases apart)."""
    found = set()
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        request = struct.pack("256s", os.fsencode(name)[:15])
        with contextlib.suppress(OSError):  # it has none
            found.add(socket.inet_ntoa(fcntl.ioctl(probe, _SIOCGIFADDR, request)[20:24]))
    with contextlib.suppress(OSError), open("/proc/net/if_inet6", encoding="ascii") as file:
        for line in file:
            digits, *_, owner = line.split()
            if owner == name:
                found.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)))
    return found
