"""Who may have which GPUs: a pure decision over nodes, leases and an ordered queue.

For pools without a scheduler of their own. A job wants so many GPUs on each of so many nodes; it
gets all of them at once or waits. The queue is strict: a higher priority first, then who came
first, and nobody starts before one that is ahead and only waits for GPUs. Who could not start even
if every GPU were free holds up nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jupyter_aiinfra.model import Gpu, Health, Job, Lease, Node, Placement

__all__ = [
    "IDLE_BYTES",
    "Grant",
    "Turn",
    "decide",
    "gpu_use",
    "in_order",
    "ordinal",
    "outside_use",
    "outsiders",
    "place_on_nodes",
    "positions",
]

IDLE_BYTES: Final = 1 << 30
"""Memory in use on a GPU above which somebody uses it, also where no process is to be seen.

What a driver or a desktop takes by itself stays below.
"""

_GONE: Final = (Health.UNREACHABLE, Health.LOST)
_MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A job that waits: its place in the queue, from 1, and in one sentence what it waits for."""

    job: str
    position: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A job that may start now, and where."""

    job: str
    placement: tuple[Placement, ...]


def in_order(jobs: Collection[Job]) -> list[Job]:
    """Return jobs in the order of their turns."""
    return sorted(jobs, key=lambda job: (-job.spec.priority, job.created_at, job.id))


def positions(queued: Collection[Job]) -> Mapping[str, int]:
    """Return each waiting job's place in the queue of its pool, from 1."""
    places: Counter[str] = Counter()
    found = {}
    for job in in_order(queued):
        places[job.pool] += 1
        found[job.id] = places[job.pool]
    return found


def decide(
    nodes: Sequence[Node], leases: Collection[Lease], queue: Collection[Job]
) -> tuple[tuple[Grant, ...], tuple[Turn, ...]]:
    """Return who of `queue` may start now, and why the others wait, both in order of their turns.

    Parameters
    ----------
    nodes
        Those of the pool; one that does not answer counts for nothing. GPUs that outsiders use are
        given to nobody.
    leases
        Every lease there is, of other pools as well: two pools may share a machine.
    queue
        The jobs that wait, in any order.
    """
    nodes = [node for node in nodes if node.health not in _GONE]
    grants: list[Grant] = []
    turns: list[Turn] = []
    held = list(leases)
    blocked = False
    for job in in_order(queue):
        position = len(turns) + 1
        if job.spec.gpus == 0:
            placement = place_on_nodes(nodes, job, held)
            grants.append(Grant(job=job.id, placement=placement))
            continue
        impossible = _impossible(nodes, job)
        if impossible:
            turns.append(Turn(job=job.id, position=position, reason=impossible))
            continue
        found = None if blocked else _place(nodes, job, held)
        if found is None:
            reason = _waits(nodes, job, held, position)
            turns.append(Turn(job=job.id, position=position, reason=reason))
            blocked = True
            continue
        grants.append(Grant(job=job.id, placement=found))
        held += [
            Lease(
                pool=job.pool,
                node=place.node,
                gpu=gpu,
                job=job.id,
                shared=job.spec.share,
                since=0.0,
            )
            for place in found
            for gpu in place.gpus
        ]
    return tuple(grants), tuple(turns)


def outside_use(gpu: Gpu) -> str | None:
    """Return who uses a GPU that is leased to nobody, in words; ``None`` where nobody does."""
    used = gpu.memory_used_bytes or 0
    if not gpu.used_by and used < IDLE_BYTES:
        return None
    if not gpu.used_by:
        return f"used by a process that cannot be seen from here, {_gib(used)}"
    first, *more = gpu.used_by
    words = f"used by PID {first.pid}"
    words += f" of {first.user}" if first.user else ""
    words += f" ({first.command})" if first.command else ""
    if first.memory_bytes is not None:
        words += f", {_gib(first.memory_bytes)}"
    return words + (f", and {len(more)} more" if more else "")


def gpu_use(gpu: Gpu, leases: Collection[Lease]) -> str:
    """Return in words whether a GPU is free, leased, and to whom, or used by outsiders."""
    mine = [lease for lease in leases if lease.gpu == gpu.uuid]
    if mine:
        shared = " (shared)" if mine[0].shared else ""
        return f"leased to {', '.join(lease.job for lease in mine)}{shared}"
    return outside_use(gpu) or "free"


def outsiders(nodes: Sequence[Node], leases: Collection[Lease]) -> Mapping[str, str]:
    """Return, by UUID, in words who uses the GPUs that are leased to nobody."""
    leased = {lease.gpu for lease in leases}
    used = {gpu.uuid: outside_use(gpu) for node in nodes for gpu in node.gpus}
    return {uuid: words for uuid, words in used.items() if words and uuid not in leased}


def place_on_nodes(
    nodes: Sequence[Node], job: Job, leases: Collection[Lease] = ()
) -> tuple[Placement, ...]:
    """Place a job that wants no GPU: on nodes that hold the fewest leases.

    Nothing where there are not enough nodes: that is for the pool to say, not to be waited for.
    """
    busy = Counter(lease.node for lease in leases)
    order = {node.name: number for number, node in enumerate(nodes)}
    chosen = sorted(nodes, key=lambda node: busy[node.name])[: job.spec.nodes]
    if len(chosen) < _fewest(job):
        return ()
    chosen.sort(key=lambda node: order[node.name])
    return tuple(Placement(node=node.name) for node in chosen)


def _fewest(job: Job) -> int:
    return job.spec.nodes if job.spec.min_nodes is None else job.spec.min_nodes


def _free(node: Node, held: Collection[Lease], *, shared: bool) -> list[Gpu]:
    """Return the GPUs of a node that may be had, those first that leave most to the others."""
    by_gpu: dict[str, list[Lease]] = {}
    for lease in held:
        by_gpu.setdefault(lease.gpu, []).append(lease)
    free = []
    for gpu in node.gpus:
        mine = by_gpu.get(gpu.uuid, [])
        if (shared and all(lease.shared for lease in mine)) if mine else outside_use(gpu) is None:
            free.append(gpu)
    # Of those that are shared the least used, rather than one that nobody has yet: what is free
    # is left for those who share nothing.
    return sorted(free, key=lambda gpu: (len(by_gpu.get(gpu.uuid, ())) or 1 << 20, gpu.index))


def _place(
    nodes: Sequence[Node], job: Job, held: Collection[Lease]
) -> tuple[Placement, ...] | None:
    """Return where a job can go: on the fullest nodes that have room, as many as it may have."""
    order = {node.name: number for number, node in enumerate(nodes)}
    room = [(node, _free(node, held, shared=job.spec.share)) for node in nodes]
    fits = [(node, free) for node, free in room if len(free) >= job.spec.gpus]
    if len(fits) < _fewest(job):
        return None
    # The nodes with the least to spare: the emptier ones are left whole for larger jobs.
    fits.sort(key=lambda each: (len(each[1]), order[each[0].name]))
    chosen = sorted(fits[: job.spec.nodes], key=lambda each: order[each[0].name])
    return tuple(
        Placement(
            node=node.name,
            gpus=tuple(
                gpu.uuid for gpu in sorted(free[: job.spec.gpus], key=lambda gpu: gpu.index)
            ),
        )
        for node, free in chosen
    )


def _impossible(nodes: Sequence[Node], job: Job) -> str | None:
    """Return why a job could not start even if every GPU were free."""
    enough = [node for node in nodes if len(node.gpus) >= job.spec.gpus]
    if len(enough) >= _fewest(job):
        return None
    most = max((len(node.gpus) for node in nodes), default=0)
    if most < job.spec.gpus:
        return f"wants {_gpus(job.spec.gpus)} on a node, and none that answers has more than {most}"
    return (
        f"wants {_gpus(job.spec.gpus)} on each of {_fewest(job)} nodes, and {len(enough)} of those "
        "that answer have as many"
    )


def _waits(nodes: Sequence[Node], job: Job, held: Collection[Lease], position: int) -> str:
    wanted = job.spec.gpus * _fewest(job)
    words = f"waits for {_gpus(wanted)}"
    if job.spec.nodes > 1:
        words += f" on {_fewest(job)} nodes"
    words += f"; {ordinal(position)} in the queue"
    used = outsiders(nodes, held)
    named = [
        f"gpu{gpu.index}: {gpu.uuid} is {used[gpu.uuid]}"
        if len(nodes) == 1
        else f"{node.name} gpu{gpu.index}: {gpu.uuid} is {used[gpu.uuid]}"
        for node in nodes
        for gpu in node.gpus
        if gpu.uuid in used
    ]
    return "; ".join([words, *named])


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``4th`` and so on."""
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count // _MIB} MiB"
