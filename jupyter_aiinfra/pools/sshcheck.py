"""Whether nodes that are elsewhere can do what jobs of several nodes need, and what to mend."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_aiinfra.errors import HostKeyUnknown, PoolError
from jupyter_aiinfra.model import Finding, Node, Severity
from jupyter_aiinfra.pools.abilities import NodeCheck, Tell
from jupyter_aiinfra.pools.facts import node_from_facts
from jupyter_aiinfra.pools.remote import Ground, RemoteNode

__all__ = ["Checkup"]

_PINGS = 5
_DESCRIBE_SECONDS = 60.0
_LOGIN_SECONDS = 20.0
_CONNECT_SECONDS = 3.0
_LISTEN_SECONDS = 60.0
_AT_ONCE = 32
# A slower login delays whatever is not asked through the open channel.
_SLOW_LOGIN_SECONDS = 3.0
_MOST_SKEW_SECONDS = 1.0
_FEW_DISK_BYTES = 5 << 30
_NOISE_CHARACTERS = 80


@dataclass
class _Draft:
    """What is known so far of one node."""

    node: RemoteNode
    ground: Ground | None = None
    described: Node | None = None
    latency_seconds: float | None = None
    skew_seconds: float | None = None
    interface: str | None = None
    unreached: dict[str, str] = field(default_factory=dict)
    noise: str = ""
    unknown: HostKeyUnknown | None = None
    findings: list[Finding] = field(default_factory=list)

    def find(self, severity: Severity, check: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(check=check, severity=severity, message=message, hint=hint))

    def refused(self, check: str, error: PoolError) -> None:
        if isinstance(error, HostKeyUnknown):
            self.unknown = error
            hint = f"add --accept-key {error.fingerprint}, if the host's administrator says so too"
            self.find(Severity.ERROR, "host key", error.message, hint)
            return
        self.find(Severity.ERROR, check, error.message, error.hint)

    def made(self) -> NodeCheck:
        ground = self.ground
        return NodeCheck(
            name=self.node.name,
            reachable=ground is not None,
            latency_seconds=self.latency_seconds,
            node=self.described,
            skew_seconds=self.skew_seconds,
            address=None if ground is None else ground.address,
            interface=self.interface,
            unreached=dict(self.unreached),
            noise=self.noise,
            findings=tuple(self.findings),
        )


class Checkup:
    """One look at all nodes of a pool.

    Parameters
    ----------
    nodes
        All of them, whether they answer or not.
    ground
        Meets a node.
    max_procs
        Most ranks of a job on a node.
    """

    def __init__(
        self,
        nodes: Sequence[RemoteNode],
        ground: Callable[[RemoteNode], Awaitable[Ground]],
        *,
        max_procs: int | None,
    ) -> None:
        self._drafts = [_Draft(node=node) for node in nodes]
        self._ground = ground
        self._max_procs = max_procs
        self._limit = asyncio.Semaphore(_AT_ONCE)

    @property
    def unknown(self) -> Mapping[str, HostKeyUnknown]:
        """The keys that nobody has accepted, by node."""
        return {each.node.name: each.unknown for each in self._drafts if each.unknown is not None}

    async def run(self, tell: Tell) -> Sequence[NodeCheck]:
        """Return what was found, a node each, in their order."""
        count = len(self._drafts)
        met = 0

        async def meet(draft: _Draft) -> None:
            nonlocal met
            await self._meet(draft)
            met += 1
            tell(f"{met} of {count} nodes have answered or given up")

        tell(f"connecting to {count} node{'' if count == 1 else 's'}")
        await asyncio.gather(*(meet(draft) for draft in self._drafts))
        there = [draft for draft in self._drafts if draft.ground is not None]
        if len(there) > 1:
            tell("trying the ports between the nodes")
            await self._try_ports(there)
        _compare(there)
        return [draft.made() for draft in self._drafts]

    # --- a node by itself ------------------------------------------------------------------------

    async def _meet(self, draft: _Draft) -> None:
        try:
            ground = await self._ground(draft.node)
            await self._time(draft)  # before anything else keeps it busy
        except PoolError as error:
            draft.refused("reachable", error)
            return
        draft.ground = ground
        await asyncio.gather(self._describe(draft, ground), self._look(draft, ground))

    async def _time(self, draft: _Draft) -> None:
        took, skews = [], []
        for _ in range(_PINGS):
            begun, clock = time.perf_counter(), time.time()
            said = await draft.node.call("hello")
            took.append(time.perf_counter() - begun)
            skews.append((took[-1], said["time"] - clock - took[-1] / 2))
        draft.latency_seconds = statistics.median(took)
        # The quickest answer leaves the least room for error.
        draft.skew_seconds = min(skews)[1]
        if abs(draft.skew_seconds) > _MOST_SKEW_SECONDS:
            way = "ahead of" if draft.skew_seconds > 0 else "behind"
            draft.find(
                Severity.WARNING,
                "clock",
                f"its clock is {abs(draft.skew_seconds):.1f} s {way} this machine's",
                "let it keep time by NTP: timedatectl set-ntp true",
            )

    async def _describe(self, draft: _Draft, ground: Ground) -> None:
        try:
            facts = await draft.node.call(
                "describe", folder=ground.folder, python=ground.python, timeout=_DESCRIBE_SECONDS
            )
        except PoolError as error:
            draft.refused("python", error)
            return
        draft.described = node_from_facts(
            facts, name=draft.node.name, address=ground.address, max_procs=self._max_procs
        )
        problem = facts.get("gpu_problem")
        if problem:
            draft.find(Severity.WARNING, "gpus", f"its GPUs cannot be used: {problem}")
        _judge(draft, draft.described)

    async def _look(self, draft: _Draft, ground: Ground) -> None:
        """Log in once more, for what a login itself does, and look at the place of the jobs."""
        try:
            begun = time.perf_counter()
            await draft.node.shell.run(["true"], timeout=_LOGIN_SECONDS)
            took = time.perf_counter() - begun
            found = await draft.node.call("footing", folder=ground.folder)
        except PoolError as error:
            draft.refused("folder", error)
            return
        draft.noise = str(getattr(draft.node.shell, "noise", ""))
        if draft.noise:
            said = " ".join(draft.noise.split())[:_NOISE_CHARACTERS]
            draft.find(
                Severity.OK,
                "login",
                f"its login shell prints {said!r}; that is dropped",
                "print in the shell's start-up files only in terminals",
            )
        if took > _SLOW_LOGIN_SECONDS:
            draft.find(
                Severity.WARNING,
                "login",
                f"starting a program there took {took:.1f} s",
                "make its shell's start-up files quicker",
            )
        if found["unwritable"]:
            draft.find(
                Severity.ERROR,
                "folder",
                f"nothing can be written where jobs are to live: {found['unwritable']}",
                "make room, or name another place with --folder",
            )
        if found["kills"] and not found["lingers"]:
            draft.find(
                Severity.WARNING,
                "logout",
                "it ends all processes of a user who logs out (KillUserProcesses=yes)",
                "loginctl enable-linger lets yours live on",
            )

    # --- the nodes among each other --------------------------------------------------------------

    async def _try_ports(self, there: Sequence[_Draft]) -> None:
        """Let each node in turn be the head, and all others reach for a port of it."""
        await asyncio.gather(*(self._try_head(head, there) for head in there))

    async def _try_head(self, head: _Draft, there: Sequence[_Draft]) -> None:
        ground = head.ground
        assert ground is not None  # noqa: S101 - only who answered is tried
        token = secrets.token_hex(8)
        try:
            stream = head.node.stream(
                "listen", host=ground.address, seconds=_LISTEN_SECONDS, token=token
            )
        except PoolError as error:
            head.refused("address", error)
            return
        async with stream:
            try:
                port = (await stream.head())["port"]
            except PoolError as error:
                head.find(
                    Severity.ERROR,
                    "address",
                    f"{ground.address} cannot be listened on: {error.message}",
                    "name the nodes' own addresses, one a host, with --addresses",
                )
                return
            others = [draft for draft in there if draft is not head]
            await asyncio.gather(
                *(self._try_port(draft, head, ground.address, port, token) for draft in others)
            )

    async def _try_port(
        self, draft: _Draft, head: _Draft, address: str, port: int, token: str
    ) -> None:
        try:
            async with self._limit:
                way = await draft.node.call("interface", to=address)
                answer = await draft.node.call(
                    "connect", host=address, port=port, token=token, seconds=_CONNECT_SECONDS
                )
        except PoolError as error:
            draft.unreached[head.node.name] = error.message
            return
        draft.interface = draft.interface or way["interface"]
        if not answer["reached"]:
            draft.unreached[head.node.name] = answer["reason"] or "no answer"


def _judge(draft: _Draft, node: Node) -> None:
    python = node.python
    missing = [name for name in ("torch", "accelerate") if python and name not in python.packages]
    if missing and python is not None:
        draft.find(
            Severity.WARNING,
            "python",
            f"{python.executable} has no {' and no '.join(missing)}",
            "name another interpreter with --python, or bring one with --env requirements.txt",
        )
    free = node.disk_free_bytes
    if free is not None and free < _FEW_DISK_BYTES:
        draft.find(
            Severity.WARNING,
            "disk",
            f"only {free / 1e9:.1f} GB are free where jobs live",
            "make room, or name another place with --folder",
        )


def _compare(there: Sequence[_Draft]) -> None:
    """Find what differs between nodes that will run one job together, and who cannot reach whom."""
    for check, of in _COMPARED.items():
        said = {draft.node.name: of(draft.described) for draft in there if draft.described}
        known = {name: value for name, value in said.items() if value}
        if len(set(known.values())) > 1:
            first = next(iter(known))
            for draft in there:
                name = draft.node.name
                if name in known and known[name] != known[first]:
                    draft.find(
                        Severity.WARNING,
                        check,
                        f"it has {check} {known[name]}, {first} has {known[first]}",
                        "one environment for all of them: --env requirements.txt",
                    )
    for draft in there:
        for head, why in draft.unreached.items():
            draft.find(
                Severity.ERROR,
                "ports",
                f"it does not reach {head}: {why}",
                "let the firewall of both pass TCP between them; nodes of a job use free ports",
            )


def _version(name: str) -> Callable[[Node], str | None]:
    return lambda node: node.python.packages.get(name) if node.python else None


_COMPARED: Mapping[str, Callable[[Node], Any]] = {
    "Python": lambda node: ".".join(map(str, node.python.minor)) if node.python else None,
    "torch": _version("torch"),
    "accelerate": _version("accelerate"),
    "driver": lambda node: node.driver,
}
