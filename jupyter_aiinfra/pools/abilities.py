"""What pools that are elsewhere can do beyond running jobs: each a type asked with isinstance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jupyter_aiinfra.endpoint import Reach
from jupyter_aiinfra.errors import HostKeyUnknown
from jupyter_aiinfra.model import Finding, Handle, Node, Severity

__all__ = [
    "Checking",
    "Confirm",
    "NodeCheck",
    "NodeSurvey",
    "ProcessTrace",
    "Reaching",
    "Reclaimed",
    "RunTrace",
    "Surveying",
    "Tell",
    "Telling",
    "TransferStep",
    "Transferred",
    "Transferring",
    "Warming",
]

Confirm = Callable[[HostKeyUnknown], Awaitable[bool]]
"""Asks a person whether a host's key is the right one."""

Tell = Callable[[str], None]
"""Is told, in a few words, what is being done."""


@dataclass(frozen=True, kw_only=True)
class NodeCheck:
    """What a check found out about one node; ``None`` is what could not be told.

    ``latency_seconds`` is a request's way there and back, ``skew_seconds`` how far the node's clock
    is ahead of ours. ``address`` is by which the other nodes are to reach it, and ``interface``
    that by which it reaches them. ``unreached`` are the nodes whose port it did not reach, and why
    not. ``noise`` is what its login shell prints before it runs a command.
    """

    name: str
    reachable: bool
    latency_seconds: float | None = None
    node: Node | None = None
    skew_seconds: float | None = None
    address: str | None = None
    interface: str | None = None
    unreached: Mapping[str, str] = field(default_factory=dict)
    noise: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Severity:
        """The worst of its findings."""
        known = {each.severity for each in self.findings}
        for severity in (Severity.ERROR, Severity.WARNING):
            if severity in known:
                return severity
        return Severity.OK


@runtime_checkable
class Checking(Protocol):
    """A pool that can look into all that jobs of several nodes need."""

    async def check(self, tell: Tell) -> Sequence[NodeCheck]:
        """Look at every node, those that do not answer too; changes nothing there."""
        ...


@dataclass(frozen=True, kw_only=True)
class TransferStep:
    """How far the files to or from a node are; ``path`` is the one that moves just now."""

    node: str
    done_bytes: int
    total_bytes: int
    path: str


@dataclass(frozen=True, kw_only=True)
class Transferred:
    """What was copied to or from a node.

    Of ``files`` with ``size_bytes``, ``unchanged`` were there already. ``problem`` says why it is
    not all there, ``hint`` what to do.
    """

    node: str
    path: str
    files: int = 0
    size_bytes: int = 0
    unchanged: int = 0
    moved_bytes: int = 0
    problem: str | None = None
    hint: str = ""


@runtime_checkable
class Transferring(Protocol):
    """A pool whose nodes have files of their own. Only what differs is copied, cuts gone on with.

    A path of a node is meant from the home folder there unless it is absolute. Of a folder, what is
    in it is copied; nothing is deleted. No link leads out of the folders on either side.
    """

    async def put_files(
        self,
        source: Path,
        target: str,
        *,
        nodes: Sequence[str],
        report: Callable[[TransferStep], None],
    ) -> Sequence[Transferred]:
        """Copy a file or a folder to `nodes` (none: to all); what fails is in the answers.

        Raises
        ------
        NotFound, UsageError
            There is no `source`, or links in it lead out of it; no such node.
        """
        ...

    async def get_files(
        self,
        source: str,
        target: Path,
        *,
        node: str | None,
        report: Callable[[TransferStep], None],
    ) -> Transferred:
        """Copy a file or a folder of a node (the first that answers) to here.

        Raises
        ------
        NotFound, UsageError, Unreachable, StorageFull, PoolError
            It is not there, or cannot be had.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RunTrace:
    """A run directory of a node. ``orders`` is its ``spec.json``, ``fetch`` what its task names.

    ``over`` says that its job has ended there, or never began.
    """

    job: str
    node: str
    slot: int
    run_dir: str
    state: str
    over: bool
    nodes: tuple[str, ...]
    orders: Mapping[str, Any] = field(default_factory=dict)
    fetch: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProcessTrace:
    """A living process of a job, or its supervisor, by our own tag."""

    job: str
    node: str
    pid: int
    name: str
    role: str
    run_dir: str


@dataclass(frozen=True, kw_only=True)
class NodeSurvey:
    """Everything of ours on one node; ``problem`` says why it cannot be told."""

    node: str
    problem: str | None = None
    runs: tuple[RunTrace, ...] = ()
    processes: tuple[ProcessTrace, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reclaimed:
    """What was ended and removed of a job on one node, or why not."""

    job: str
    node: str
    ended: int = 0
    removed: bool = False
    problem: str | None = None


@runtime_checkable
class Telling(Protocol):
    """A pool that tells at once when a job may be over, so that nobody need look again.

    What it tells is no state: whoever hears it observes the job.
    """

    async def until_gone(self, handle: Handle) -> None:
        """Return once no supervisor is beside the job: it is over, or wants a look."""
        ...


@runtime_checkable
class Warming(Protocol):
    """A pool that keeps kernels up for notebook runs that nobody has asked for yet."""

    async def keep_warm(self, handle: Handle) -> None:
        """Have a kernel wait for another run like this job's. Never fails; may do nothing."""
        ...


@runtime_checkable
class Surveying(Protocol):
    """A pool that can tell what of ours is on its nodes, whether recorded or not."""

    async def survey(self) -> Sequence[NodeSurvey]:
        """Look at every node; those that do not answer say so. Changes nothing."""
        ...

    def handle_of(self, trace: RunTrace) -> Handle:
        """Return the handle of the job that a run directory belongs to."""
        ...

    async def reclaim(self, job: str, *, grace: float) -> Sequence[Reclaimed]:
        """End a job that nobody records on every node that has something of it, and its files.

        First as a cancel with `grace` does. Only processes of this user, with our tag, that name
        a run directory in our folder. Its checkpoints stay. Idempotent.
        """
        ...


@runtime_checkable
class Reaching(Protocol):
    """A pool whose jobs can be called: what listens on a socket of a run directory."""

    async def reach(self, handle: Handle, path: str) -> Reach:
        """Return how a socket at `path` of the run directory of a job is reached from here.

        Changes nothing there, and starts nothing; whether anybody listens is not looked at.
        """
        ...
