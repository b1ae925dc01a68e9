"""The seam of the pools: one script on n nodes, watched and stopped.

A pool never hears of Accelerate, notebooks or cost. Every call may fail with
:class:`~jupyter_aiinfra.errors.Unreachable`, which says nothing about the jobs on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.environments import BuiltEnvironment, Report
from jupyter_aiinfra.errors import HostKeyUnknown
from jupyter_aiinfra.model import Handle, Job, LogChunk, Node, Observation, Plan
from jupyter_aiinfra.shell import Shell

__all__ = [
    "Adopting",
    "Browsing",
    "Building",
    "Collecting",
    "FileReader",
    "Holding",
    "Leased",
    "Pool",
    "Probing",
    "RankStacks",
    "RunFile",
    "StackDumping",
    "Trusting",
]


class Pool(ABC):
    """Where jobs run. An instance holds no truth: any process may open the same pool."""

    kind: ClassVar[str]

    @abstractmethod
    async def nodes(self) -> Sequence[Node]:
        """Return the nodes with GPUs, free memory, Python and package versions, as of now."""

    @abstractmethod
    async def plan(self, job: Job) -> Plan:
        """Lay `job` out on nodes. Changes nothing anywhere; the same job gives the same text."""

    @abstractmethod
    async def submit(
        self, plan: Plan, bundle: Bundle, *, secrets: Mapping[str, str] | None = None
    ) -> Handle:
        """Put the bundle in place and start the job; return once the pool has accepted it.

        Idempotent: a second submit of the same plan starts nothing and returns the same handle.
        `secrets` reach the ranks' environment and are written nowhere.

        Raises
        ------
        SubmitError, StorageFull
            Nothing is left running, and no half-made run directory is left.
        """

    @abstractmethod
    async def observe(self, handle: Handle) -> Observation:
        """Return what is there now; never wait. Raises Unreachable rather than guess."""

    @abstractmethod
    async def cancel(self, handle: Handle, *, grace: float) -> None:
        """Ask for the job's end: interrupt, after `grace` seconds terminate, then kill.

        Returns once the request is on its way and is kept there; :meth:`observe` tells the end.
        Idempotent; a job that is gone already is a success.
        """

    @abstractmethod
    def logs(
        self, handle: Handle, *, rank: int = 0, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[LogChunk]:
        """Yield `rank`'s log from byte `offset`; with `follow`, go on until the job has ended.

        Rank :data:`~jupyter_aiinfra.model.LAUNCHER` is what node 0's launcher printed.
        """

    @abstractmethod
    async def results(self, handle: Handle) -> Path | None:
        """Return a local folder with what the job left in ``results``, or ``None`` if nothing.

        Where the pool is elsewhere the files are brought here first.
        """

    @abstractmethod
    async def shells(self, handle: Handle | None = None) -> Sequence[tuple[Node, Shell]]:
        """Return a shell on each node (of the job, when given)."""

    @abstractmethod
    async def jobs(self) -> Sequence[Handle]:
        """Return a handle for each job of ours found there, known to our records or not."""

    @abstractmethod
    async def remove(self, handle: Handle) -> None:
        """Delete what an ended job left on the pool. Idempotent."""

    async def aclose(self) -> None:
        """Let go of connections. Idempotent; the pool can be used again after it."""


@runtime_checkable
class Leased(Protocol):
    """A pool without a scheduler of its own: the engine leases its GPUs, and queues who waits.

    Its plans take the nodes and GPUs of ``job.placement`` where there is one.
    """

    gpus_are_leased: bool
    """Always true; what tells such a pool from others is that it has this."""


@runtime_checkable
class Collecting(Protocol):
    """A pool whose jobs keep the files that they have declared as artifacts."""

    async def artifacts(self, handle: Handle) -> Path | None:
        """Return a local folder with them, or ``None`` if there are none.

        Where the pool is elsewhere the files are brought here first.
        """
        ...


@runtime_checkable
class Trusting(Protocol):
    """A pool of hosts whose keys a person has to accept before anything is sent there."""

    @property
    def untrusted(self) -> Sequence[HostKeyUnknown]:
        """The hosts whose key nobody has accepted, each with it, as :meth:`Pool.nodes` saw them."""
        ...

    async def trust(self, error: HostKeyUnknown) -> None:
        """Accept exactly that key for good. Idempotent.

        Should the host show another one by now, the next call that reaches for it is refused.

        Raises
        ------
        HostKeyChanged
            Another one of this host was accepted meanwhile.
        UsageError
            It is no host of this pool.
        """
        ...


@runtime_checkable
class Holding(Protocol):
    """A pool whose nodes hold the files of former jobs, which need not be here as well."""

    holds_files: bool
    """Always true; what tells such a pool from others is that it has this."""


@runtime_checkable
class Adopting(Protocol):
    """A pool that can put a new supervisor beside a job whose own was killed."""

    async def adopt(self, handle: Handle) -> None:
        """Start a supervisor for the running job; a no-op where one lives. Idempotent."""
        ...


@dataclass(frozen=True, kw_only=True)
class RankStacks:
    """Whether a rank's stacks are in its log now: ``how`` they were had, or which ``problem``."""

    rank: int
    how: str | None = None
    problem: str | None = None


@runtime_checkable
class StackDumping(Protocol):
    """A pool whose ranks can be asked where they are."""

    async def dump_stacks(self, handle: Handle) -> Sequence[RankStacks]:
        """Put the stacks of all ranks that run into their logs; they go on."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A file of a job's run directory; ``path`` is relative to it, with slashes."""

    path: str
    size_bytes: int
    modified_at: float


class FileReader(Protocol):
    """A file of a job, open for reading."""

    @property
    def file(self) -> RunFile:
        """The file as it was when it was opened."""
        ...

    async def read(self) -> bytes:
        """Return what comes next, 1 MiB at most; nothing at the end."""
        ...

    async def aclose(self) -> None:
        """Let go of the file. Idempotent."""
        ...


@runtime_checkable
class Building(Protocol):
    """A pool that builds environments on its nodes, each once, for jobs that come with one."""

    async def prepare(self, plan: Plan, bundle: Bundle, report: Report) -> None:
        """Build what the job needs before it is submitted; nothing where that is there already.

        `report` is told how far that is. Idempotent, and cancelled without harm: the next who asks
        finds it made, or begins again.

        Raises
        ------
        SubmitError, StorageFull
            It cannot be built; nothing half-done is left.
        """
        ...

    async def environments(self) -> Sequence[tuple[str, BuiltEnvironment]]:
        """Return the environments on each node, with the node's name."""
        ...

    async def remove_environment(self, digest: str) -> Sequence[tuple[str, BuiltEnvironment]]:
        """Remove those whose digest begins so from every node; return what they were.

        Raises
        ------
        NotFound
            No node has one.
        PoolError
            A process uses it.
        """
        ...


@runtime_checkable
class Browsing(Protocol):
    """A pool that lets the files of a job be looked at, also while it runs.

    Raises NotFound where the run directory, or the file, is not there; Unreachable as ever.
    """

    async def files(self, handle: Handle, *, limit: int) -> Sequence[RunFile]:
        """Return the files a person may want, by path: the first `limit` of them.

        What only the pool's own machinery needs is left out.
        """
        ...

    async def open_file(self, handle: Handle, path: str, *, offset: int = 0) -> FileReader:
        """Open a file from byte `offset` on, one that :meth:`files` tells of; the caller closes it.

        No path leads out of the run directory: not by its parts, and not by links in there.

        Raises
        ------
        UsageError
            A path that cannot be one of a file in there.
        """
        ...


@runtime_checkable
class Probing(Protocol):
    """A pool whose nodes can be watched: ``node/probe.py`` runs there while somebody does."""

    def probe_nodes(self) -> Sequence[str]:
        """Return the names of the nodes, as :meth:`Pool.nodes` has them; asks none of them."""
        ...

    def probe(self, node: str) -> AsyncGenerator[bytes, None]:
        """Yield what the node's probe prints, as it comes: a line a sample, a sample a second.

        Nothing is left on the node once the generator is closed. It never ends by itself.

        Raises
        ------
        Unreachable, PoolError
            The node does not answer, or no longer; its probe cannot be started, or has ended.
        """
        ...
