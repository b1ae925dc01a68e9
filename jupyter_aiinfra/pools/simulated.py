"""A pool of GPUs that are not there, recorded or made up: all can be looked at, and nothing run.

A trace, or what is made up, begins when the pool is attached, and goes on from there by the clock:
every process that opens the pool sees the same at the same time.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.errors import SubmitError, Unreachable, UsageError
from jupyter_aiinfra.model import (
    GpuProcess,
    Handle,
    Job,
    JobState,
    LogChunk,
    Node,
    Observation,
    Plan,
    PoolRecord,
)
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.pools.made import MadeCluster
from jupyter_aiinfra.pools.options import options_of
from jupyter_aiinfra.pools.probing import INTERVAL_SECONDS
from jupyter_aiinfra.pools.traces import read_head, read_trace
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.shell import Shell

__all__ = ["SimulatedOptions", "SimulatedPool"]

_NODES, _GPUS, _SEED, _SPEED = 2, 4, 1, 1.0
_MOST_NODES, _MOST_GPUS, _MOST_SPEED = 256, 16, 1000.0
_REACH: Final = 1.5  # intervals: how old what is told may be
_SHORTEST_SLEEP, _LONGEST_SLEEP = 0.001, 1.0
_HINT: Final = "attach a pool that runs jobs: %pool attach here --kind local"


@dataclass(frozen=True, kw_only=True)
class SimulatedOptions:
    """Options of ``%pool attach NAME --kind simulated``: a trace, or what is to be made up."""

    trace: str | None = field(
        default=None,
        metadata={
            "help": "a file that %gpus POOL --record has made; without one it is made up",
            "path": True,
        },
    )
    nodes: int | None = field(default=None, metadata={"help": f"nodes to make up ({_NODES})"})
    gpus: int | None = field(
        default=None, metadata={"help": f"GPUs of each node ({_GPUS})", "title": "GPUs"}
    )
    seed: int | None = field(default=None, metadata={"help": f"what it is made up by ({_SEED})"})
    mig: int | None = field(
        default=None,
        metadata={"help": "how many of the nodes have a GPU in MIG slices (0)", "title": "MIG"},
    )
    speed: float | None = field(
        default=None, metadata={"help": f"seconds that go by in one of the clock's ({_SPEED:g})"}
    )


class _Source(Protocol):
    """Where readings come from."""

    @property
    def nodes(self) -> Sequence[Node]:
        """The facts of the nodes."""
        ...

    @property
    def interval(self) -> float:
        """Seconds from one reading to the next."""
        ...

    def members(self, node: str, at: float, *, reach: float) -> str | None:
        """Return what a node's probe says, as :meth:`.traces.Trace.members`."""
        ...


class _Made:
    """What is made up, told as a trace is."""

    interval = INTERVAL_SECONDS

    def __init__(self, cluster: MadeCluster) -> None:
        self._cluster = cluster
        self.nodes = cluster.nodes

    def members(self, node: str, at: float, *, reach: float) -> str | None:
        del reach
        return json.dumps(self._cluster.reading(node, at), separators=(",", ":"))[1:]


class SimulatedPool(Pool):
    """GPUs that can be looked at in every place, and run nothing.

    Parameters
    ----------
    began
        When it was attached, in seconds since the epoch.
    clock
        Seconds since the epoch.
    """

    kind: ClassVar[str] = "simulated"
    title: ClassVar[str] = "Simulated GPUs"
    options_type: ClassVar[type] = SimulatedOptions

    def __init__(
        self,
        options: SimulatedOptions,
        *,
        began: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self._began = began
        self._clock = clock
        self._speed = options.speed or _SPEED
        self._path = Path(options.trace).expanduser() if options.trace else None
        self._source: _Source | None = None
        if self._path is None:
            cluster = MadeCluster(
                nodes=_NODES if options.nodes is None else options.nodes,
                gpus=_GPUS if options.gpus is None else options.gpus,
                seed=_SEED if options.seed is None else options.seed,
                mig=options.mig or 0,
                began=began,
            )
            self._source = _Made(cluster)
            self._names = tuple(node.name for node in cluster.nodes)
        else:
            self._names = tuple(node.name for node in read_head(self._path)[0])

    @classmethod
    def from_record(cls, record: PoolRecord, settings: Settings) -> SimulatedPool:
        """Open the pool that `record` describes.

        Raises
        ------
        UsageError
            An option that cannot be, or a trace that cannot be read; names it.
        """
        del settings
        options = options_of(record, SimulatedOptions)
        bounds: Mapping[str, tuple[float, float]] = {
            "nodes": (1, _MOST_NODES),
            "gpus": (0, _MOST_GPUS),
            "mig": (0, _NODES if options.nodes is None else options.nodes),
            "speed": (1 / _MOST_SPEED, _MOST_SPEED),
        }
        for name, (least, most) in bounds.items():
            value = getattr(options, name)
            if value is not None and not least <= value <= most:
                raise UsageError(
                    f"pool {record.name}: --{name} {value:g} is not from {least:g} to {most:g}",
                    option=name,
                )
        asked = ("nodes", "gpus", "seed", "mig")
        made = [name for name in asked if getattr(options, name) is not None]
        if options.trace is not None and made:
            raise UsageError(
                f"pool {record.name}: --{made[0]} is for what is made up, and there is a trace",
                hint="leave out the one or the other",
                option=made[0],
            )
        if options.trace is not None and not Path(options.trace).expanduser().is_absolute():
            raise UsageError(
                f"pool {record.name}: --trace {options.trace} is no whole path",
                hint="begin it with / or ~: others open the pool from other folders",
                option="trace",
            )
        return cls(options, began=record.created_at)

    # --- what is there ---

    async def nodes(self) -> Sequence[Node]:
        """Return the nodes that are simulated, with the memory of their GPUs in use just now."""
        source = await self._open()
        return tuple(self._as_of_now(source, node) for node in source.nodes)

    def probe_nodes(self) -> Sequence[str]:
        """Return their names; see :class:`~.base.Probing`."""
        return self._names

    async def probe(self, node: str) -> AsyncGenerator[bytes, None]:
        """Yield what the node's probe would say; see :class:`~.base.Probing`.

        Where the trace has nothing of the node, nothing comes.
        """
        if node not in self._names:
            raise Unreachable(f"{node} is no node of it")
        source = await self._open()
        number = self._second()
        while True:
            members = self._members(source, node, number)
            if members is not None:
                at = round(self._clock(), 3)
                yield f'{{"v":1,"seq":{number},"at":{at},"up":{number},{members}\n'.encode()
            number = await self._after(number)

    def _second(self) -> int:
        """Return how many seconds have passed since it was attached."""
        return max(0, math.floor(self._clock() - self._began))

    async def _after(self, second: int) -> int:
        """Wait until it is another second than this, also where the clock is set; return it."""
        while (now := self._second()) == second:
            left = self._began + second + 1 - self._clock()
            await asyncio.sleep(min(max(left, _SHORTEST_SLEEP), _LONGEST_SLEEP))
        return now

    def _members(self, source: _Source, node: str, second: int) -> str | None:
        # What lies between two seconds of ours is passed over, if time runs faster there.
        reach = _REACH * max(source.interval, self._speed * INTERVAL_SECONDS)
        return source.members(node, second * self._speed, reach=reach)

    def _as_of_now(self, source: _Source, node: Node) -> Node:
        """Return a node with what is used of its GPUs."""
        members = self._members(source, node.name, self._second())
        rows = {} if members is None else {gpu["uuid"]: gpu for gpu in _gpus(members)}
        gpus = []
        for gpu in node.gpus:
            said = rows.get(gpu.uuid, {})
            used_by = tuple(
                GpuProcess(
                    pid=each["pid"],
                    user=each.get("user"),
                    command=each.get("cmd"),
                    memory_bytes=each.get("mem"),
                )
                for each in said.get("procs") or ()
            )
            gpus.append(
                dataclasses.replace(gpu, memory_used_bytes=said.get("mem_used"), used_by=used_by)
            )
        return dataclasses.replace(node, gpus=tuple(gpus))

    async def _open(self) -> _Source:
        """Return where readings come from; a trace is read once, whoever asks."""
        if self._source is None:
            assert self._path is not None  # noqa: S101 - else it is made up
            self._source = await asyncio.to_thread(read_trace, self._path)
        return self._source

    # --- jobs: none ---

    async def plan(self, job: Job) -> Plan:
        """Refuse: nothing runs on GPUs that are not there."""
        del job
        raise _refusal()

    async def submit(
        self, plan: Plan, bundle: Bundle, *, secrets: Mapping[str, str] | None = None
    ) -> Handle:
        """Refuse, as :meth:`plan`."""
        del plan, bundle, secrets
        raise _refusal()

    async def observe(self, handle: Handle) -> Observation:
        """Return that it is not there."""
        del handle
        return Observation(state=JobState.LOST, seen_at=self._clock(), reason="it is not there")

    async def cancel(self, handle: Handle, *, grace: float) -> None:
        """Do nothing: it is gone already."""
        del handle, grace

    async def logs(
        self, handle: Handle, *, rank: int = 0, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[LogChunk]:
        """Yield nothing."""
        del handle, follow
        return
        yield LogChunk(rank=rank, offset=offset, data=b"")

    async def results(self, handle: Handle) -> Path | None:
        """Return nothing."""
        del handle
        return None

    async def shells(self, handle: Handle | None = None) -> Sequence[tuple[Node, Shell]]:
        """Return none: there is no machine."""
        del handle
        return ()

    async def jobs(self) -> Sequence[Handle]:
        """Return none."""
        return ()

    async def remove(self, handle: Handle) -> None:
        """Do nothing: there is nothing of it."""
        del handle


def _refusal() -> SubmitError:
    return SubmitError("the pool is simulated: nothing runs on GPUs that are not there", hint=_HINT)


def _gpus(members: str) -> Sequence[Mapping[str, Any]]:
    gpus: Sequence[Mapping[str, Any]] = json.loads("{" + members).get("gpus", ())
    return gpus
