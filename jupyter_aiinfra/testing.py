"""Fakes at the seams, shipped for authors of pools and for our own tests.

Nothing here starts a process, opens a socket or sleeps.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.errors import NotFound, SubmitError, Unreachable, UsageError
from jupyter_aiinfra.model import (
    Handle,
    Interpreter,
    Job,
    JobState,
    LogChunk,
    Node,
    NodePlan,
    Observation,
    Plan,
    PoolRecord,
    RankStatus,
)
from jupyter_aiinfra.pools.base import FileReader, Pool, RunFile
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.shell import Completed, Shell

__all__ = [
    "FakeClock",
    "FakeCluster",
    "FakeJob",
    "FakePipe",
    "FakePool",
    "FakeShell",
    "LeasedFakePool",
    "Reply",
]


class FakeClock:
    """A clock that moves when told to."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += seconds


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One line of a transcript: an argv that is expected, and how it ends."""

    argv: tuple[str, ...]
    stdout: bytes = b""
    stderr: bytes = b""
    status: int = 0
    error: Exception | None = None


class FakePipe:
    """A program that says one reply and ends; `written` has what was written to it."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._left = reply.stdout
        self.written = bytearray()
        self.closed = False

    @property
    def stderr_tail(self) -> bytes:
        """The reply's standard error."""
        return self._reply.stderr

    async def write(self, data: bytes | memoryview) -> None:
        """Take note of `data`."""
        if self.closed:
            raise Unreachable(f"{self._reply.argv[0]} takes no more input")
        self.written += data

    async def read(self, limit: int) -> bytes:
        """Return the next of the reply's output."""
        data, self._left = self._left[:limit], self._left[limit:]
        return b"" if self.closed else data

    async def wait(self) -> int:
        """Return the reply's status."""
        return self._reply.status

    async def close(self, *, grace: float = 1.0) -> None:
        """Be closed from now on."""
        del grace
        self.closed = True


class FakeShell:
    """Answers from a transcript, in order; an argv that is not next is an ``AssertionError``."""

    def __init__(self, transcript: Iterable[Reply]) -> None:
        self._transcript = deque(transcript)
        self.inputs: list[bytes] = []
        self.pipes: list[FakePipe] = []

    def _next(self, argv: Sequence[str], stdin: bytes) -> Reply:
        if not self._transcript:
            raise AssertionError(f"nothing more was expected, but {list(argv)} was run")
        reply = self._transcript.popleft()
        if tuple(argv) != reply.argv:
            raise AssertionError(f"expected {list(reply.argv)}, but {list(argv)} was run")
        self.inputs.append(stdin)
        if reply.error is not None:
            raise reply.error
        return reply

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0
    ) -> Completed:
        """Return the next reply; see :class:`~jupyter_aiinfra.shell.Shell`."""
        del timeout
        reply = self._next(argv, stdin)
        return Completed(
            argv=tuple(argv), status=reply.status, stdout=reply.stdout, stderr=reply.stderr
        )

    async def stream(self, argv: Sequence[str], *, stdin: bytes = b"") -> AsyncIterator[bytes]:
        """Yield the next reply's output in one piece."""
        yield self._next(argv, stdin).stdout

    async def open(self, argv: Sequence[str]) -> FakePipe:
        """Return a program that says the next reply's output and ends; it is kept in `pipes`."""
        pipe = FakePipe(self._next(argv, b""))
        self.pipes.append(pipe)
        return pipe

    def finish(self) -> None:
        """Fail if something expected was never run."""
        if self._transcript:
            raise AssertionError(f"never run: {[list(reply.argv) for reply in self._transcript]}")


@dataclass
class FakeJob:
    """The truth about one job of a :class:`FakeCluster`; tests move it."""

    job: Job
    state: JobState = JobState.STARTING
    told_to_stop: bool = False
    submits: int = 1
    logs: dict[int, bytes] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class FakeCluster:
    """What is really there: shared by any number of :class:`FakePool` objects, as machines are.

    Parameters
    ----------
    leased
        Whether its pools have no scheduler of their own: the engine then leases their GPUs.
    """

    def __init__(
        self, nodes: Sequence[Node] = (), *, clock: FakeClock | None = None, leased: bool = False
    ) -> None:
        self.nodes = tuple(nodes) or (_node(),)
        self.leased = leased
        self.clock = clock or FakeClock()
        self.jobs: dict[str, FakeJob] = {}
        self.reachable = True
        self.refuse: str | None = None
        self.probes: dict[str, list[_Readings]] = {}
        """The streams of readings that are open, by node."""
        self.printed: dict[str, bytes] = {}
        """What the probe of a node prints when it is started."""

    def opener(self, record: PoolRecord, settings: Settings) -> Pool:
        """Open a pool on this cluster; give it to an engine as its opener."""
        del settings
        kind = LeasedFakePool if self.leased else FakePool
        return kind(self, name=record.name)

    def begin(self, job_id: str) -> None:
        """Let a starting job's ranks begin."""
        job = self.jobs[job_id]
        if job.state is JobState.STARTING:
            job.state = JobState.RUNNING

    def end(self, job_id: str, state: JobState) -> None:
        """Let a job end in a final state; a job that ended stays as it is."""
        job = self.jobs[job_id]
        if not job.state.final:
            job.state = state

    def read(self, node: str, sample: Mapping[str, Any] | bytes) -> None:
        """Have the probe of a node print a sample (or bytes), now and whenever it is started.

        From any thread.
        """
        line = sample if isinstance(sample, bytes) else json.dumps(sample).encode() + b"\n"
        self.printed[node] = line
        for stream in self.probes.get(node, ()):
            stream.put(line)

    def end_probe(self, node: str) -> None:
        """End the streams of readings of a node, as a cut does."""
        for stream in self.probes.get(node, ()):
            stream.put(None)

    def write(self, job_id: str, data: bytes, *, rank: int = 0) -> None:
        """Append to a rank's log."""
        logs = self.jobs[job_id].logs
        logs[rank] = logs.get(rank, b"") + data


class FakePool(Pool):
    """A pool on a :class:`FakeCluster`. ``cluster.reachable = False`` cuts the wire."""

    kind: ClassVar[str] = "fake"

    def __init__(self, cluster: FakeCluster, *, name: str = "fake") -> None:
        self.cluster = cluster
        self.name = name

    def _reach(self) -> FakeCluster:
        if not self.cluster.reachable:
            raise Unreachable(f"pool {self.name} does not answer")
        return self.cluster

    def _job(self, handle: Handle) -> FakeJob | None:
        return self._reach().jobs.get(handle.data["job"])

    async def nodes(self) -> Sequence[Node]:
        """Return the cluster's nodes."""
        return self._reach().nodes

    def probe_nodes(self) -> Sequence[str]:
        """Return the names of the cluster's nodes; see :class:`~.pools.base.Probing`."""
        return [node.name for node in self.cluster.nodes]

    async def probe(self, node: str) -> AsyncGenerator[bytes, None]:
        """Yield what the test has a node's probe print; see :class:`~.pools.base.Probing`."""
        self._reach()
        stream = _Readings()
        self.cluster.probes.setdefault(node, []).append(stream)
        try:
            if node in self.cluster.printed:
                yield self.cluster.printed[node]
            while (data := await stream.queue.get()) is not None:
                yield data
            raise Unreachable(f"{node}: its probe has ended")
        finally:
            self.cluster.probes[node].remove(stream)

    async def plan(self, job: Job) -> Plan:
        """Lay the job out over the cluster's nodes, in their order."""
        gpus = {place.node: place.gpus for place in job.placement}
        nodes = [node for node in self.cluster.nodes if not gpus or node.name in gpus]
        nodes = nodes[: job.spec.nodes]
        laid = [
            NodePlan(
                node_rank=rank,
                node=node.name,
                address=node.address,
                argv=job.spec.argv,
                env=dict(job.spec.env),
                cwd=job.spec.cwd or "/",
                run_dir=f"/runs/{job.id}",
                gpus=gpus.get(node.name, ()),
            )
            for rank, node in enumerate(nodes)
        ]
        return Plan(job=job, nodes=tuple(laid))

    async def submit(
        self, plan: Plan, bundle: Bundle, *, secrets: Mapping[str, str] | None = None
    ) -> Handle:
        """Start the job in the cluster, once."""
        del bundle
        cluster = self._reach()
        if cluster.refuse:
            raise SubmitError(cluster.refuse)
        known = cluster.jobs.get(plan.job.id)
        if known is None:
            cluster.jobs[plan.job.id] = FakeJob(job=plan.job, secrets=dict(secrets or {}))
        else:
            known.submits += 1
        return Handle(kind=self.kind, data={"job": plan.job.id})

    async def observe(self, handle: Handle) -> Observation:
        """Return the truth."""
        now = self.cluster.clock()
        job = self._job(handle)
        if job is None:
            return Observation(state=JobState.LOST, seen_at=now, reason="nothing is known of it")
        begun = job.state is not JobState.STARTING
        failed = job.state is JobState.FAILED
        return Observation(
            state=job.state,
            seen_at=now,
            started_at=now if begun else None,
            ended_at=now if job.state.final else None,
            reason="rank 0 failed" if failed else None,
            failed_rank=0 if failed else None,
            stopping=job.told_to_stop,
            ranks=tuple(
                RankStatus(rank=rank, node="fake", exit_code=1 if failed and rank == 0 else None)
                for rank in range(job.job.spec.world if begun else 0)
            ),
        )

    async def cancel(self, handle: Handle, *, grace: float) -> None:
        """Take note; the job ends when the test lets it, or at once with no grace."""
        job = self._job(handle)
        if job is not None and not job.state.final:
            job.told_to_stop = True
            if grace <= 0:
                job.state = JobState.CANCELLED

    async def logs(
        self, handle: Handle, *, rank: int = 0, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[LogChunk]:
        """Yield what was written so far; with `follow` too, since nothing moves by itself."""
        del follow
        job = self._job(handle)
        data = job.logs.get(rank, b"")[offset:] if job else b""
        if data:
            yield LogChunk(rank=rank, offset=offset, data=data)

    async def results(self, handle: Handle) -> Path | None:
        """Return nothing: a fake job computes nothing."""
        self._job(handle)
        return None

    async def files(self, handle: Handle, *, limit: int) -> Sequence[RunFile]:
        """Return what the test put into the job's files; see :class:`~.pools.base.Browsing`."""
        files = sorted(self._files(handle), key=lambda path: path.split("/"))
        return [self._file(handle, path) for path in files[:limit]]

    async def open_file(self, handle: Handle, path: str, *, offset: int = 0) -> FileReader:
        """Open one of them."""
        if not path or path.startswith("/") or {"", ".", ".."} & {*path.split("/")} or "\0" in path:
            raise UsageError(f"{path!r} is not a plain relative path")
        if path not in self._files(handle):
            raise NotFound(f"no file {path!r} in the run directory")
        data = self._files(handle)[path][offset:]
        return _FakeReader(self._file(handle, path), deque([data] if data else []))

    def _files(self, handle: Handle) -> Mapping[str, bytes]:
        job = self._job(handle)
        if job is None:
            raise NotFound("the run directory of this job is gone")
        return job.files

    def _file(self, handle: Handle, path: str) -> RunFile:
        size = len(self._files(handle)[path])
        return RunFile(path=path, size_bytes=size, modified_at=self.cluster.clock())

    async def shells(self, handle: Handle | None = None) -> Sequence[tuple[Node, Shell]]:
        """Return a shell without a transcript on each node."""
        del handle
        return [(node, FakeShell(())) for node in self._reach().nodes]

    async def jobs(self) -> Sequence[Handle]:
        """Return a handle for each job of the cluster."""
        return [Handle(kind=self.kind, data={"job": job_id}) for job_id in self._reach().jobs]

    async def remove(self, handle: Handle) -> None:
        """Forget an ended job."""
        job = self._job(handle)
        if job is not None and not job.state.final:
            raise SubmitError(f"job {job.job.id} is {job.state.value}")
        self.cluster.jobs.pop(handle.data["job"], None)


class LeasedFakePool(FakePool):
    """A fake pool whose GPUs the engine leases."""

    gpus_are_leased = True


class _Readings:
    """What the probe of one node prints to one who reads it, in the loop it was made in."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def put(self, data: bytes | None) -> None:
        """Have it print; ``None`` ends it."""
        self._loop.call_soon_threadsafe(self.queue.put_nowait, data)


@dataclass
class _FakeReader:
    file: RunFile
    pieces: deque[bytes]

    async def read(self) -> bytes:
        return self.pieces.popleft() if self.pieces else b""

    async def aclose(self) -> None:
        self.pieces.clear()


def _node() -> Node:
    python = Interpreter(
        executable="/usr/bin/python3",
        version="3.11.7",
        packages={"torch": "2.13.0", "accelerate": "1.15.0"},
    )
    return Node(
        name="fake0",
        address="10.0.0.1",
        cpus=8,
        memory_bytes=32 << 30,
        disk_free_bytes=100 << 30,
        python=python,
        max_procs=8,
    )
