"""The embedded pool: this machine, no server to start, no account."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from jupyter_aiinfra.bundle import Bundle, place
from jupyter_aiinfra.endpoint import Reach
from jupyter_aiinfra.environments import BuiltEnvironment, Report, remove, survey
from jupyter_aiinfra.errors import (
    NotFound,
    StorageFull,
    SubmitError,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.model import (
    LAUNCHER,
    Handle,
    Job,
    LogChunk,
    Node,
    NodePlan,
    Observation,
    Plan,
    PoolRecord,
)
from jupyter_aiinfra.node import describe, probe, stall, supervise
from jupyter_aiinfra.pools import browsing
from jupyter_aiinfra.pools.base import FileReader, Pool, RankStacks, RunFile
from jupyter_aiinfra.pools.building import build_for
from jupyter_aiinfra.pools.ended import until_ended
from jupyter_aiinfra.pools.facts import node_from_facts
from jupyter_aiinfra.pools.files import observation_from_status, orders
from jupyter_aiinfra.pools.options import options_of
from jupyter_aiinfra.pools.probing import INTERVAL_SECONDS, probe_through
from jupyter_aiinfra.pools.sockets import short_path
from jupyter_aiinfra.pools.stacks import DUMP_SECONDS, stacks_from_answer
from jupyter_aiinfra.pools.warmth import Warmth
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.shell import LocalShell, Shell

__all__ = ["LocalOptions", "LocalPool"]

_ADDRESS = "127.0.0.1"
_NODE = "localhost"
_CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16
_FOLLOW_SECONDS = 0.05
_STATUS_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """Options of ``%pool attach NAME --kind local``.

    Parameters
    ----------
    python
        Interpreter the ranks run with; ``None`` is the one the pool is used from.
    max_procs
        Most ranks of a job; ``None`` is the largest of 8, the number of cores and that of GPUs.
    """

    python: str | None = field(default=None, metadata={"help": "interpreter the ranks run with"})
    max_procs: int | None = field(default=None, metadata={"help": "most ranks a job may have"})


class LocalPool(Pool):
    """Runs jobs on this machine, in run directories below `settings.home`."""

    kind: ClassVar[str] = "local"
    options_type: ClassVar[type] = LocalOptions
    gpus_are_leased = True

    def __init__(self, options: LocalOptions, settings: Settings) -> None:
        self.options = options
        self._runs = settings.runs
        self._blobs = settings.blobs
        self._envs = settings.envs
        self._warmth = Warmth(settings)
        self._known: Mapping[str, Any] | None = None
        self._max_procs = options.max_procs or settings.max_local_procs

    @property
    def _shell(self) -> LocalShell:
        # Made anew: the user may set variables at any time, and a job is to see them.
        return LocalShell(env=_clean_environment())

    @classmethod
    def from_record(cls, record: PoolRecord, settings: Settings) -> LocalPool:
        """Open the pool that `record` describes.

        Raises
        ------
        UsageError
            An option that is unknown to this kind or of the wrong type; names it.
        """
        options = options_of(record, LocalOptions)
        if options.python is not None and not os.access(options.python, os.X_OK):
            raise UsageError(
                f"pool {record.name}: {options.python} is not a program that can be run",
                hint="--python takes the path of a Python interpreter",
            )
        if options.max_procs is not None and options.max_procs < 1:
            raise UsageError(
                f"pool {record.name}: --max-procs {options.max_procs} leaves no rank",
                hint="give a number from 1 on",
            )
        return cls(options, settings)

    @property
    def python(self) -> str:
        """The interpreter the ranks run with."""
        return self.options.python or sys.executable

    async def nodes(self) -> Sequence[Node]:
        """Return this machine."""
        facts = await self._describe()
        node = node_from_facts(facts, name=_NODE, address=_ADDRESS, max_procs=self._max_procs)
        return (node,)

    async def _describe(self) -> Mapping[str, Any]:
        folder = str(_existing(self._runs))
        if self.options.python in (None, sys.executable):
            return await asyncio.to_thread(self._describe_here, folder)
        done = await self._shell.run([self.python, "-I", str(describe.__file__), folder])
        if not done.ok:
            detail = done.stderr.decode(errors="replace").strip().splitlines()
            raise Unreachable(
                f"{self.python} cannot describe its machine: {detail[-1] if detail else 'no word'}",
                hint="--python takes the path of a Python interpreter, 3.8 or newer",
            )
        description: Mapping[str, Any] = json.loads(done.stdout)
        return description

    def _describe_here(self, folder: str) -> Mapping[str, Any]:
        """Describe this machine; what this Python has is read again where that has changed."""
        places = [*describe.stamps(sys.path).items()]  # the first that has a package counts
        known = self._known
        if known is None or places != [*known["places"].items()]:
            known = self._known = describe.python()
        return {**describe.machine(describe.gpus(), folder), "python": known}

    def probe_nodes(self) -> Sequence[str]:
        """Return this machine's name; see :class:`~.base.Probing`."""
        return (_NODE,)

    def probe(self, node: str) -> AsyncGenerator[bytes, None]:
        """Yield what this machine's probe prints; see :class:`~.base.Probing`."""
        del node
        argv = [self.python, "-I", "-S", str(probe.__file__), repr(INTERVAL_SECONDS)]
        return probe_through(self._shell, argv)

    async def plan(self, job: Job) -> Plan:
        """Lay the job out: everything on this machine."""
        node = NodePlan(
            node_rank=0,
            node=_NODE,
            address=_ADDRESS,
            argv=job.spec.argv,
            env=dict(job.spec.env),
            cwd=job.spec.cwd or str(self._runs / job.id),
            run_dir=str(self._runs / job.id),
            gpus=job.placement[0].gpus if job.placement else (),
        )
        return Plan(job=job, nodes=(node,))

    async def prepare(self, plan: Plan, bundle: Bundle, report: Report) -> None:
        """Build the job's environment, if it has one; see :class:`~.base.Building`."""
        await self._interpreter(plan, bundle, report)

    async def _interpreter(
        self, plan: Plan, bundle: Bundle, report: Report | None = None
    ) -> str | None:
        """Return the Python of the job's own environment, building that if need be."""
        if plan.job.spec.environment is None:
            return None
        made = await build_for(
            plan.job.spec,
            bundle,
            node=Node(name=_NODE, address=_ADDRESS),
            shell=self._shell,
            python=self.python,
            envs=str(self._envs),
            report=report,
        )
        return made.python

    async def environments(self) -> Sequence[tuple[str, BuiltEnvironment]]:
        """Return what was built here; see :class:`~.base.Building`."""
        found = await survey(self._shell, python=self.python, envs=str(self._envs))
        return [(_NODE, each) for each in found]

    async def remove_environment(self, digest: str) -> Sequence[tuple[str, BuiltEnvironment]]:
        """Remove environments by the beginning of their digest; see :class:`~.base.Building`."""
        gone = await remove(self._shell, python=self.python, envs=str(self._envs), digest=digest)
        return [(_NODE, each) for each in gone]

    async def submit(
        self, plan: Plan, bundle: Bundle, *, secrets: Mapping[str, str] | None = None
    ) -> Handle:
        """Place the bundle, start the supervisor; see :class:`~.base.Pool`."""
        node = plan.nodes[0]
        run_dir = Path(node.run_dir)
        handle = Handle(kind=self.kind, data={"job": plan.job.id, "run_dir": node.run_dir})
        python = await self._interpreter(plan, bundle)
        await asyncio.to_thread(self._lay_out, plan, node, run_dir, bundle, python)
        answer = await self._warmth.start(run_dir, _clean_environment(), secrets or {})
        if answer is None:
            await self._start(run_dir, secrets or {})
        elif not answer.get("started"):
            _undo(run_dir)
            raise _submit_error(answer["errno"], answer["error"], run_dir)
        return handle

    async def keep_warm(self, handle: Handle) -> None:
        """Have a kernel wait for the next such run; see :class:`~.abilities.Warming`."""
        await self._warmth.keep(Path(handle.data["run_dir"]), _clean_environment())

    async def aclose(self) -> None:
        """Let go of kernels that wait. Idempotent."""
        self._warmth.end()

    def _lay_out(
        self, plan: Plan, node: NodePlan, run_dir: Path, bundle: Bundle, python: str | None
    ) -> None:
        """Make the run directory, whole or not at all; leave one that is there as it is."""
        if (run_dir / "spec.json").exists():
            return
        if not Path(node.cwd).is_dir() and Path(node.cwd) != run_dir:
            raise SubmitError(
                f"the working directory {node.cwd} does not exist",
                hint="make it, or name another with --cwd",
            )
        for folder in (self._runs, run_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            place(bundle, blobs=self._blobs, run_dir=run_dir)
            spec = orders(plan.job.id, plan.job.spec, node, head=_ADDRESS, blobs=str(self._blobs))
            if python is not None:
                spec["python"] = python
            supervise.write_json(str(run_dir / "spec.json"), spec)
        except OSError as error:
            _undo(run_dir)
            raise _submit_error(error.errno, error.strerror, run_dir) from error
        except BaseException:
            _undo(run_dir)
            raise

    async def _start(self, run_dir: Path, secrets: Mapping[str, str]) -> None:
        # -S: the supervisor needs no site-packages, and starts in a third of the time without.
        argv = [self.python, "-I", "-S", str(supervise.__file__), "start", str(run_dir)]
        done = await self._shell.run(argv, stdin=json.dumps(dict(secrets)).encode())
        if done.ok:
            return
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            text = done.stderr.decode(errors="replace").strip()
            answer = {"errno": None, "error": text.splitlines()[-1] if text else "no answer"}
        _undo(run_dir)
        raise _submit_error(answer["errno"], answer["error"], run_dir)

    async def observe(self, handle: Handle) -> Observation:
        """Look at the run directory and the processes, without waiting."""
        status = await asyncio.to_thread(supervise.status, handle.data["run_dir"])
        return observation_from_status(status, seen_at=time.time())

    async def until_gone(self, handle: Handle) -> None:
        """Wait for the end of the supervisor, without looking; see :class:`~.base.Telling`."""
        await until_ended(supervise.Run(handle.data["run_dir"]).json("supervisor.json"))

    async def cancel(self, handle: Handle, *, grace: float) -> None:
        """Leave the request in the run directory and wake the supervisor."""
        argv = [self.python, "-I", "-S", str(supervise.__file__), "kill"]
        await self._shell.run([*argv, handle.data["run_dir"], repr(float(grace))])

    async def adopt(self, handle: Handle) -> None:
        """Put a new supervisor beside the job; see :class:`~.base.Adopting`."""
        argv = [self.python, "-I", "-S", str(supervise.__file__), "adopt"]
        await self._shell.run([*argv, handle.data["run_dir"]])

    async def logs(
        self, handle: Handle, *, rank: int = 0, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[LogChunk]:
        """Read the rank's log file from `offset`; see :class:`~.base.Pool`."""
        name = "launcher.log" if rank == LAUNCHER else f"rank-{rank}.log"
        path = Path(handle.data["run_dir"]) / "logs" / name
        looked_at, over = 0.0, False
        while True:
            data = await _new_bytes(path, offset)
            if data:
                yield LogChunk(rank=rank, offset=offset, data=data)
                offset += len(data)
            elif over or not follow:
                return
            elif time.monotonic() - looked_at >= _STATUS_SECONDS:
                # One more read follows: what was written before the end is there by then.
                looked_at = time.monotonic()
                over = (await self.observe(handle)).state.final
            else:
                await asyncio.sleep(_FOLLOW_SECONDS)

    async def dump_stacks(self, handle: Handle) -> Sequence[RankStacks]:
        """Ask all ranks where they are; see :class:`~.base.StackDumping`."""
        argv = [self.python, "-I", "-S", str(stall.__file__), "dump", handle.data["run_dir"]]
        return stacks_from_answer(await self._shell.run(argv, timeout=DUMP_SECONDS))

    async def results(self, handle: Handle) -> Path | None:
        """Return the results folder in place."""
        folder = Path(handle.data["run_dir"]) / "results"
        return folder if (folder / "manifest.json").exists() else None

    async def artifacts(self, handle: Handle) -> Path | None:
        """Return the folder of artifacts in place; see :class:`~.base.Collecting`."""
        folder = Path(handle.data["run_dir"]) / "artifacts"
        return folder if folder.is_dir() else None

    async def files(self, handle: Handle, *, limit: int) -> Sequence[RunFile]:
        """Return the files of the run directory; see :class:`~.base.Browsing`."""
        run_dir = Path(handle.data["run_dir"])
        return await asyncio.to_thread(browsing.list_files, run_dir, limit=limit)

    async def open_file(self, handle: Handle, path: str, *, offset: int = 0) -> FileReader:
        """Open a file of the run directory; see :class:`~.base.Browsing`."""
        run_dir = Path(handle.data["run_dir"])
        return await asyncio.to_thread(browsing.open_file, run_dir, path, offset=offset)

    async def reach(self, handle: Handle, path: str) -> Reach:
        """Return the socket in place; see :class:`~.abilities.Reaching`."""
        run_dir = Path(handle.data["run_dir"])
        return Reach(address=f"unix:{await asyncio.to_thread(short_path, run_dir, path)}")

    async def shells(self, handle: Handle | None = None) -> Sequence[tuple[Node, Shell]]:
        """Return a shell on this machine."""
        del handle
        return [(node, self._shell) for node in await self.nodes()]

    async def jobs(self) -> Sequence[Handle]:
        """Return every run directory with orders in it."""
        if not self._runs.is_dir():
            return ()
        return tuple(
            Handle(kind=self.kind, data={"job": folder.name, "run_dir": str(folder)})
            for folder in sorted(self._runs.iterdir())
            if (folder / "spec.json").exists()
        )

    async def remove(self, handle: Handle) -> None:
        """Delete the run directory of an ended job."""
        state = (await self.observe(handle)).state
        if not state.final:
            raise SubmitError(f"job {handle.data['job']} is {state.value}", hint="cancel it first")
        await asyncio.to_thread(_undo, Path(handle.data["run_dir"]))


# What belongs to the kernel and is wrong in a job: another job's tag, the notebook's plotting
# backend, the kernel's debugger and its line to the Jupyter server.
_NOT_INHERITED = ("AIINFRA_", "JPY_", "JUPYTER_TOKEN", "MPLBACKEND", "PYDEVD_")


def _clean_environment() -> dict[str, str]:
    environ = os.environ.items()
    return {name: value for name, value in environ if not name.startswith(_NOT_INHERITED)}


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _undo(run_dir: Path) -> None:
    shutil.rmtree(run_dir, ignore_errors=True)


def _submit_error(number: int | None, text: str | None, run_dir: Path) -> StorageFull | SubmitError:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(
            f"no room for the job in {run_dir.parent}: {text}",
            hint="free some space, or set JUPYTER_AIINFRA_HOME to a larger disk; "
            "nothing was started",
        )
    return SubmitError(f"the job could not be started in {run_dir}: {text}")


async def _new_bytes(path: Path, offset: int) -> bytes:
    """Return what was written beyond `offset`, up to a chunk.

    Most of the time that is nothing or a few lines, in memory anyway: a thread is worth its price
    only for more. What watching costs is taken from the ranks, which share this machine.
    """
    waiting = _size(path) - offset
    if waiting <= 0:
        return b""
    if waiting <= _SMALL_BYTES:
        return _read(path, offset)
    return await asyncio.to_thread(_read, path, offset)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, offset: int) -> bytes:
    try:
        descriptor = browsing.open_plain(path)
    except (FileNotFoundError, NotFound):
        return b""
    try:
        return os.pread(descriptor, _CHUNK_BYTES, offset)
    finally:
        os.close(descriptor)
