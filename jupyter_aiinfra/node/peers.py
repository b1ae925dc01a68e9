"""Who of a job's supervisors is there: the links between them, by the node's slot.

One file, standard library only, Python 3.8 or newer (and its neighbour ``link.py``). A slot is a
node's place in the job's first plan; it never changes. Who follows calls who leads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, Dict, Iterable, Mapping

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import link
else:  # its neighbours in the bundle
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import link

__all__ = ["Json", "Peers", "addresses", "interface_towards", "network_names"]

Json = Dict[str, Any]

_CALL_AGAIN_SECONDS = 1.0
_PROOF_SECONDS = 10.0
_MOST_UNPROVEN = 64
_SIOCGIFADDR = 0x8915


class Peers:
    """The other supervisors as far as they can be heard.

    Parameters
    ----------
    slot
        Our own.
    key
        The job's.
    listener
        Where the others call us.
    """

    def __init__(self, slot: int, key: bytes, listener: socket.socket) -> None:
        self.slot = slot
        self._key = key
        self._listener = listener
        self._links: dict[int, link.Link] = {}
        self._calls: dict[int, link.Link] = {}
        self._called_at: dict[int, float] = {}
        self._unproven: list[link.Link] = []
        self._inbox: list[tuple[int, Json]] = []
        self.heard_at: dict[int, float] = {}
        self.told: dict[int, str] = {}
        """Why a slot's link ended last."""

    def descriptors(self) -> list[Any]:
        """Return what to select on."""
        return [self._listener, *self._links.values(), *self._calls.values(), *self._unproven]

    def writers(self) -> list[Any]:
        """Return what waits to be written to."""
        return [each for each in self.descriptors()[1:] if each.wants_to_write]

    def silent_for(self, slot: int, now: float) -> float:
        """Return for how many seconds nothing was heard of `slot`."""
        return now - self.heard_at[slot] if slot in self.heard_at else float("inf")

    def linked(self, slot: int) -> bool:
        """Whether there is a link to `slot` just now."""
        return slot in self._links

    def call(self, slot: int, address: str, port: int, hello: Json) -> None:
        """Call `slot` unless it is linked, or was called a moment ago."""
        now = time.monotonic()
        if slot in self._links or now - self._called_at.get(slot, -1e9) < _CALL_AGAIN_SECONDS:
            return
        self._called_at[slot] = now
        old = self._calls.pop(slot, None)
        if old is not None:
            if now - old.begun_at < _PROOF_SECONDS:
                self._calls[slot] = old  # a slow network: it may still be answered
                return
            old.close()
        try:
            made = link.call(address, port, self._key)
            made.send(hello)
        except (link.Broken, OSError) as error:
            self.told[slot] = str(error)
            return
        self._calls[slot] = made

    def send(self, slot: int, message: Json) -> None:
        """Send to a linked slot; a link that breaks over it is let go of."""
        there = self._links.get(slot)
        if there is not None:
            try:
                there.send(message)
            except link.Broken as error:
                self._drop(slot, str(error))

    def send_all(self, slots: Iterable[int], message: Json) -> None:
        """Send to those of `slots` that are linked."""
        for slot in list(slots):
            self.send(slot, message)

    def flush(self) -> None:
        """Send what can be sent now; what comes meanwhile is kept for the next exchange."""
        self._inbox += self._work()

    def exchange(self) -> list[tuple[int, Json]]:
        """Accept, read and write; return what has come, with the slot that sent it."""
        kept, self._inbox = self._inbox, []
        return kept + self._work()

    def _work(self) -> list[tuple[int, Json]]:
        self._accept()
        found: list[tuple[int, Json]] = []
        for slot, there in list(self._links.items()):
            found += [(slot, message) for message in self._hear(slot, there)]
        for slot, there in list(self._calls.items()):
            messages = self._try(there, slot)
            if messages is None:
                self._calls.pop(slot, None)
            elif messages:
                self._calls.pop(slot, None)
                self._keep(slot, there)
                found += [(slot, message) for message in messages]
        found += self._newcomers()
        for slot, _ in found:
            self.heard_at[slot] = time.monotonic()
        return found

    def close(self) -> None:
        """Close everything."""
        for each in [*self._links.values(), *self._calls.values(), *self._unproven]:
            each.close()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # nobody waits, or who waited has gone
                return
            if len(self._unproven) >= _MOST_UNPROVEN:
                connection.close()
                continue
            self._unproven.append(link.Link(connection, self._key, calling=False))

    def _newcomers(self) -> list[tuple[int, Json]]:
        """Take in who has proven that it holds the key and says which slot it is."""
        found: list[tuple[int, Json]] = []
        for there in list(self._unproven):
            messages = self._try(there, None)
            if messages is None or time.monotonic() - there.begun_at > _PROOF_SECONDS:
                self._unproven.remove(there)
                there.close()
            elif messages:
                self._unproven.remove(there)
                slot = int(messages[0]["slot"])
                self._keep(slot, there)
                found += [(slot, message) for message in messages]
        return found

    def _keep(self, slot: int, there: link.Link) -> None:
        old = self._links.get(slot)
        if old is not None:
            old.close()  # it has called anew: the former connection is of no use to it
        self._links[slot] = there
        self.told.pop(slot, None)

    def _hear(self, slot: int, there: link.Link) -> list[Json]:
        try:
            return there.exchange()
        except link.Broken as error:
            if self._links.get(slot) is there:
                self._drop(slot, str(error))
            return []

    def _try(self, there: link.Link, slot: int | None) -> list[Json] | None:
        try:
            return there.exchange()
        except link.Broken as error:
            if slot is not None:
                self.told[slot] = str(error)
            there.close()
            return None

    def _drop(self, slot: int, why: str) -> None:
        self._links.pop(slot).close()
        self.told[slot] = why


def interface_towards(address: str) -> str | None:
    """Return the network interface by which this node reaches `address`, or ``None``.

    The kernel is asked for the route by a datagram socket; nothing is sent.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            probe.connect((address, 9))
            ours = probe.getsockname()[0]
    except OSError:
        return None
    return next((name for name, address in addresses() if address == ours), None)


def addresses() -> list[tuple[str, str]]:
    """Return the addresses of this node with their interfaces, IPv4 before IPv6."""
    names = [name for _, name in socket.if_nameindex()]
    return [
        (name, address)
        for family in (socket.AF_INET, socket.AF_INET6)
        for name in names
        for address in _addresses_of(name, family)
    ]


def _addresses_of(name: str, family: int) -> list[str]:
    if family == socket.AF_INET6:
        try:
            with open("/proc/net/if_inet6", encoding="ascii") as file:
                rows = [line.split() for line in file]
        except OSError:
            return []
        packed = [bytes.fromhex(row[0]) for row in rows if row[5] == name]
        return [socket.inet_ntop(family, each) for each in packed]
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        request = struct.pack("256s", name[:15].encode())
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError:  # an interface without an address
            return []
    return [socket.inet_ntoa(answer[20:24])]


def network_names(
    addresses: Mapping[int, str], *, slot: int, head: int, taken: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that lead gloo and NCCL to the right interface of this node.

    Left alone, gloo binds to whatever the host's own name resolves to, often a loopback address.
    What the user has set in `taken` stands.
    """
    others = [address for other, address in addresses.items() if other != slot]
    if not others:
        return {}
    name = interface_towards(addresses[head] if head != slot else others[0])
    wanted = {
        # c10d looks up each caller's name: without a name server that takes ten seconds a time.
        "RES_OPTIONS": "timeout:1 attempts:1"
    }
    if name is not None:
        wanted.update(GLOO_SOCKET_IFNAME=name, NCCL_SOCKET_IFNAME=name, TP_SOCKET_IFNAME=name)
    return {key: value for key, value in wanted.items() if key not in taken}
