"""A network of one's own: network namespaces on a switch, whose links can be cut and slowed.

The switch is a bridge in a namespace that has nothing else, so that what is cut is cut there: both
ends see what they would see of a real cable, and nothing is changed on the machine itself but one
interface, which is port 0: the side the tests run on.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["HERE", "Network", "command", "open_network", "program"]

#: The port of the side that the tests run on.
HERE = 0
_LAST = 254  # our own address; nodes count from 1
_GONE_SECONDS = 30.0
_COUNTER = itertools.count()
# Names carry the process that made them: another run's are left alone, a dead one's swept away.
_NAMESPACE = re.compile(r"aiinfra-(\d+)-\d+-")


def program(name: str) -> str:
    """Return the path of a system program; its folder is not on everybody's PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise RuntimeError(f"{name} is not installed: `make system` installs it")
    return found


def command(*argv: str, stdin: str = "") -> str:
    """Run a system program to its end and return what it printed."""
    done = subprocess.run(
        [program(argv[0]), *argv[1:]], input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """A switch and the namespaces plugged into it, a number each; made by :func:`open_network`."""

    def __init__(self, identity: str, subnet: str) -> None:
        self._identity = identity
        self._subnet = subnet
        self._switch = f"aiinfra-{identity}-switch"
        self._namespaces: dict[int, str] = {}
        self._cut: set[frozenset[int]] = set()
        self._wires: dict[int, subprocess.Popen[str]] = {}

    @property
    def cidr(self) -> str:
        """The addresses of this network."""
        return f"{self._subnet}.0/24"

    def address(self, number: int) -> str:
        """Return the address behind a port."""
        return f"{self._subnet}.{number or _LAST}"

    def build(self) -> None:
        """Make the switch, and our own port."""
        command("ip", "netns", "add", self._switch)
        command("ip", "-n", self._switch, "link", "set", "lo", "up")
        command("ip", "-n", self._switch, "link", "add", "br0", "type", "bridge", "stp_state", "0")
        command("ip", "-n", self._switch, "link", "set", "br0", "up")
        outside = f"ai{self._identity}"
        self._wire_up(HERE, ["ip", "link"], outside)
        command("ip", "address", "add", f"{self.address(HERE)}/24", "dev", outside)
        command("ip", "link", "set", outside, "up")

    def add(self, name: str, number: int) -> str:
        """Make a namespace, plugged into the switch; return its full name."""
        namespace = f"aiinfra-{self._identity}-{name}"
        command("ip", "netns", "add", namespace)
        self._namespaces[number] = namespace
        self._wire_up(number, ["ip", "-n", namespace, "link"], "eth0")
        command("ip", "-n", namespace, "link", "set", "lo", "up")
        address = f"{self.address(number)}/24"
        command("ip", "-n", namespace, "address", "add", address, "dev", "eth0")
        command("ip", "-n", namespace, "link", "set", "eth0", "up")
        return namespace

    def _wire_up(self, number: int, link: Sequence[str], outside: str) -> None:
        port = f"p{number}"
        far_end = ["peer", "name", port, "netns", self._switch]
        command(*link, "add", outside, "type", "veth", *far_end)
        command("ip", "-n", self._switch, "link", "set", port, "master", "br0", "up")

    def pids(self, number: int) -> list[int]:
        """Return the processes of a namespace, numbered as outside."""
        return [
            int(pid) for pid in command("ip", "netns", "pids", self._namespaces[number]).split()
        ]

    def unplug(self, number: int) -> None:
        """Pull the cable: the far end's link goes down."""
        command("ip", "-n", self._switch, "link", "set", f"p{number}", "down")

    def plug(self, number: int) -> None:
        """Put the cable back."""
        command("ip", "-n", self._switch, "link", "set", f"p{number}", "up")

    def cut(self, one: int, other: int) -> None:
        """Let nothing pass between two ports; either keeps its links to the others."""
        self._cut.add(frozenset((one, other)))
        self._filter()

    def mend(self, one: int, other: int) -> None:
        """Undo :meth:`cut`."""
        self._cut.discard(frozenset((one, other)))
        self._filter()

    def heal(self) -> None:
        """Put every cable back, and undo every cut and every slowness."""
        if self._cut:
            self._cut.clear()
            self._filter()
        for number in self._namespaces:
            self.fast(number)
            self.plug(number)

    def _filter(self) -> None:
        rules = [
            f'iifname {{ "p{one}", "s{one}" }} oifname {{ "p{other}", "s{other}" }} drop'
            for pair in self._cut
            for one, other in itertools.permutations(pair)
        ]
        chain = "type filter hook forward priority 0; policy accept;"
        table = f"table bridge cut {{ chain forward {{ {chain}\n" + "\n".join(rules) + "\n}\n}\n"
        # All at once: a declaration first, so that deleting what may not be there is no error.
        script = f"table bridge cut {{ }}\ndelete table bridge cut\n{table}"
        command("ip", "netns", "exec", self._switch, program("nft"), "-f", "-", stdin=script)

    def slow(self, number: int, *, delay_seconds: float, loss: float = 0.0) -> None:
        """Delay every frame of a port, either way, and lose that share of them (0 to 1)."""
        self.fast(number)
        port, inner, outer = f"p{number}", f"w{number}", f"s{number}"
        link = ["ip", "-n", self._switch, "link"]
        command(*link, "add", inner, "type", "veth", "peer", "name", outer)
        command(*link, "set", outer, "master", "br0", "up")
        command(*link, "set", inner, "promisc", "on", "up")
        command(*link, "set", port, "nomaster", "promisc", "on", "up")
        script = Path(__file__).with_name("slow_wire.py")
        argv = [program("ip"), "netns", "exec", self._switch, sys.executable, "-S", str(script)]
        argv += [port, inner, str(delay_seconds), str(loss)]
        wire = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._wires[number] = wire
        assert wire.stdout is not None
        assert wire.stdout.readline() == "ready\n", "the slow wire did not come up"

    def fast(self, number: int) -> None:
        """Undo :meth:`slow`."""
        wire = self._wires.pop(number, None)
        if wire is None:
            return
        _end(wire)
        link = ["ip", "-n", self._switch, "link"]
        command(*link, "delete", f"w{number}")
        command(*link, "set", f"p{number}", "promisc", "off", "master", "br0")

    def connected(self) -> list[int]:
        """Return the processes on our side that hold a connection into this network."""
        listing = command("ss", "--tcp", "--no-header", "--processes", "dst", self.cidr)
        return sorted({int(pid) for pid in re.findall(r"pid=(\d+)", listing)})

    def close(self) -> None:
        """Take everything away, with the processes in it and those connected to it."""
        self.heal()
        # Peers see a connection reset while the links still stand, and end by themselves; a
        # client that does not is one that was left behind.
        for namespace in self._namespaces.values():
            _empty(namespace)
        deadline = time.monotonic() + 1.0
        while self.connected() and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in self.connected():
            if pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for namespace in (*self._namespaces.values(), self._switch):
            _empty(namespace)
            command("ip", "netns", "delete", namespace)
        self._namespaces.clear()
        _wait_for_link_to_go(f"ai{self._identity}")


@contextlib.contextmanager
def open_network() -> Iterator[Network]:
    """Make a network of random private addresses for the length of the block; root only."""
    if os.geteuid() != 0:
        raise RuntimeError(
            "test hosts are made of namespaces, which only root may make: run as root"
        )
    _sweep()
    identity = f"{os.getpid()}-{next(_COUNTER)}"
    network = Network(identity, _free_subnet())
    try:
        network.build()
        yield network
    finally:
        network.close()


def _free_subnet() -> str:
    taken = command("ip", "route") + command("ip", "address")
    while True:
        subnet = f"10.{random.randrange(128, 255)}.{random.randrange(256)}"  # noqa: S311
        if f"{subnet}." not in taken:
            return subnet


def _names_of_namespaces() -> list[str]:
    listing = command("ip", "-json", "netns", "list").strip()
    return [entry["name"] for entry in json.loads(listing or "[]")]


def _sweep() -> None:
    """Remove what runs left behind that were killed outright."""
    for name in _names_of_namespaces():
        found = _NAMESPACE.match(name)
        if found and not Path(f"/proc/{found[1]}").exists():
            _empty(name)
            command("ip", "netns", "delete", name)


def _empty(namespace: str) -> None:
    """Kill whatever runs in a namespace, and wait until it is gone."""
    deadline = time.monotonic() + _GONE_SECONDS
    while pids := command("ip", "netns", "pids", namespace).split():
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} of {namespace} do not die")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.01)


def _wait_for_link_to_go(name: str) -> None:
    # The kernel takes a namespace apart some time after its last user has left.
    deadline = time.monotonic() + _GONE_SECONDS
    while Path(f"/sys/class/net/{name}").exists():
        if time.monotonic() > deadline:
            command("ip", "link", "delete", name)
        time.sleep(0.01)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
