"""What is said about a job, once, for every surface: widget, static HTML and plain text."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from jupyter_aiinfra.model import (
    Desired,
    Health,
    Job,
    JobState,
    NodeStatus,
    Notice,
    Observation,
    RankStatus,
)
from jupyter_aiinfra.progress import Progress, RankProgress, progress

__all__ = [
    "Card",
    "ErrorBox",
    "RankCard",
    "attempts_text",
    "describe",
    "duration_text",
    "node_text",
    "plural",
    "shape_text",
    "size_text",
]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_THOUSAND = 1000


@dataclass(frozen=True, kw_only=True)
class ErrorBox:
    """Why a job did not end well: one line, and the traceback where there is one."""

    title: str
    where: str = ""
    traceback: str = ""
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class RankCard:
    """One rank in a few words. ``failed`` only where the rank itself failed.

    ``progress`` is how far it is, where it says so.
    """

    rank: int
    state: str
    node: str = ""
    failed: bool = False
    progress: RankProgress | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """The head of a job's display. ``ranks`` are in the order to show: failing ones first.

    ``elapsed_seconds`` counts from the start of user code, or from submission before that;
    ``ticking`` while it goes on. ``progress`` is how far it is, in one line; empty when unknown.
    ``shape`` says on how much it runs. ``attempts`` says which attempt this is and why there is
    more than one, ``trouble`` what is waited for and which nodes are not well; both are empty where
    there is nothing to say.
    ``nodes`` are those of a job on several, in the order of their slots, each with ``procs`` ranks.
    ``notice`` is what a budget or the idle policy says, as long as that matters; it is not in the
    ``message``, but in what is :attr:`said`.
    """

    id: str
    name: str
    pool: str
    state: JobState
    world: int
    elapsed_seconds: float
    ticking: bool
    message: str = ""
    progress: str = ""
    log: str = ""
    tracking: str = ""
    error: ErrorBox | None = None
    ranks: tuple[RankCard, ...] = ()
    shape: str = ""
    attempts: str = ""
    trouble: str = ""
    nodes: tuple[NodeStatus, ...] = ()
    procs: int = 1
    notice: Notice | None = None

    @property
    def said(self) -> str:
        """The message, and what the notice says."""
        return "; ".join(filter(None, (self.message, self.notice.text if self.notice else "")))


def describe(
    job: Job,
    *,
    note: str = "",
    log_path: str | None = None,
    redact: Callable[[str], str] = str,
    now: float | None = None,
) -> Card:
    """Put a job into words.

    Parameters
    ----------
    job
        The job as last recorded.
    note
        What else is to be said now, after the sentence about the state.
    log_path
        Where the whole log is; without it, the command that prints it.
    redact
        Applied to everything a program of the user's wrote.
    now
        Seconds since the epoch, for jobs that are not over.
    """
    seen = job.seen
    ended = job.ended_at or (job.updated_at if job.state.final else None)
    until = ended or (time.time() if now is None else now)
    error = _error(job, seen)
    far = progress(seen, stall_seconds=job.spec.stall_seconds, now=now)
    nodes = _nodes(job, seen)
    return Card(
        id=job.id,
        name=job.spec.name,
        pool=job.pool,
        state=job.state,
        world=job.spec.world,
        elapsed_seconds=max(0.0, until - (job.started_at or job.created_at)),
        ticking=not job.state.final,
        message=redact("; ".join(filter(None, (_message(job, seen), note)))),
        progress=redact(far.text) if far else "",
        log=log_path or f"%jobs logs {job.id}",
        tracking=_tracking(seen),
        error=error and _redacted(error, redact),
        ranks=_ranks(job, seen, far, nodes),
        shape=shape_text(job),
        attempts=redact(attempts_text(job)),
        trouble="" if job.state.final else _trouble(seen, nodes),
        nodes=nodes,
        procs=job.spec.procs,
        notice=_notice(job),
    )


def shape_text(job: Job) -> str:
    """Return ``4 ranks``, or ``2 nodes x 4 ranks`` for a job on several nodes."""
    if job.spec.nodes == 1:
        return plural(job.spec.world, "rank")
    # An elastic job may have begun on fewer nodes than it may use.
    count = len(job.seen.nodes) if job.seen and job.seen.nodes else job.spec.nodes
    return f"{plural(count, 'node')} x {plural(job.spec.procs, 'rank')}"


def attempts_text(job: Job) -> str:
    """Return ``attempt 2 of 4: node gpu2 was lost``; nothing for a first attempt."""
    seen = job.seen
    if seen is None or seen.attempt < 2:  # noqa: PLR2004 - the first restart is the second attempt
        return ""
    why = f": {seen.restarts[-1].reason}" if seen.restarts else ""
    return f"attempt {seen.attempt} of {1 + job.spec.max_restarts}{why}"


def node_text(node: NodeStatus) -> str:
    """Return what is wrong with a node; nothing where it is well."""
    why = f" ({node.reason})" if node.reason else ""
    said = {
        Health.LIVE: "",
        Health.DEGRADED: f"{node.name} answers now and then{why}",
        Health.UNREACHABLE: f"{node.name} does not answer{why}",
        Health.LOST: f"{node.name} was given up by the others{why}",
    }
    return said[node.health]


def _trouble(seen: Observation | None, nodes: Sequence[NodeStatus]) -> str:
    """Return what the next attempt waits for, and which nodes are not well."""
    waiting = (seen.waiting if seen else None) or ""
    return "; ".join(filter(None, (waiting, *map(node_text, nodes))))


def _unnamed(node: NodeStatus) -> NodeStatus:
    """Return the node with its name taken from the beginning of the reason, which stands by it."""
    why = node.reason or ""
    for begin in (f"{node.name}: ", f"{node.name} "):
        why = why.removeprefix(begin)
    return replace(node, reason=why or None)


def _nodes(job: Job, seen: Observation | None) -> tuple[NodeStatus, ...]:
    """Return the nodes of a job on several, as far as they are known."""
    if job.spec.nodes == 1:
        return ()
    if seen is not None and seen.nodes:
        return tuple(map(_unnamed, seen.nodes))
    named = job.handle.data.get("nodes") if job.handle else None
    names = named or [place.node for place in job.placement]
    return tuple(NodeStatus(name=name, health=Health.LIVE) for name in names)


def plural(count: int, word: str) -> str:
    """Return ``1 rank``, ``2 ranks``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def duration_text(seconds: float) -> str:
    """Return a duration as people say it: ``0.8 s``, ``41 s``, ``3 min 05 s``, ``2 h 04 min``."""
    if seconds < 9.95:  # noqa: PLR2004 - from here on tenths are noise
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02d} h"


def size_text(size_bytes: float | None) -> str:
    """Return ``12 B``, ``3.4 kB``, ``200 MB``; empty when unknown."""
    if size_bytes is None:
        return ""
    size, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < _THOUSAND:
            break
        size, unit = size / _THOUSAND, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"  # noqa: PLR2004


def _message(job: Job, seen: Observation | None) -> str:
    if job.state is JobState.PENDING:
        return "waiting for the pool to accept it"
    if job.state is JobState.QUEUED:
        return (seen.reason if seen else None) or "waits for GPUs"
    if seen is None:
        return ""
    said: list[str] = []
    if (seen.stopping or job.desired is Desired.STOP) and not job.state.final:
        said.append("stopping")
    if job.state is JobState.STARTING:
        reported = sum(rank.pid is not None for rank in seen.ranks)
        said.append(f"{reported} of {plural(job.spec.world, 'rank')} reported")
    if job.state is JobState.RUNNING and not seen.supervised:
        said.append("its supervisor is gone; the job itself runs on")
    if job.state is JobState.SUCCEEDED and seen.results:
        said.append(f"results: {', '.join(seen.results)}")
    if job.state is JobState.CANCELLED:
        said.append(_ended_by(seen.ended_by) or _reason(job, seen))
    if seen.strays:
        left = "1 process was" if seen.strays == 1 else f"{seen.strays:,} processes were"
        said.append(f"{left} left behind and ended")
    return "; ".join(filter(None, said))


def _reason(job: Job, seen: Observation) -> str:
    """Return why a job ended, unless that is what its notice says."""
    notice = _notice(job)
    return "" if notice and notice.text == seen.reason else (seen.reason or "")


def _notice(job: Job) -> Notice | None:
    """Return what a budget or the idle policy has to say of a job, as long as that matters."""
    matters = job.notice is not None and (not job.state.final or job.notice.kind == "stop")
    return job.notice if matters else None


def _ended_by(ended_by: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(
        f"{name} ended rank{'' if len(ranks) == 1 else 's'} {', '.join(map(str, ranks))}"
        for name, ranks in ended_by.items()
        if ranks
    )


def _error(job: Job, seen: Observation | None) -> ErrorBox | None:
    if job.state not in {JobState.FAILED, JobState.LOST}:
        return None
    reason = (seen.reason if seen else None) or "no reason is known"
    for rank in seen.ranks if seen else ():
        # An exit with a status is no exception to a reader; the reason says it better.
        raised = rank.error is not None and rank.error.type != "SystemExit"
        if seen and rank.rank == seen.failed_rank and rank.error and raised:
            unit = "cell" if job.spec.origin.code else "script"
            line = rank.error.line
            said = f": {rank.error.message}" if rank.error.message else ""
            return ErrorBox(
                title=f"rank {rank.rank} raised {rank.error.type}{said}",
                where="" if line is None else f"line {line} of the {unit}",
                traceback=rank.error.traceback.strip("\n"),
                rank=rank.rank,
            )
    return ErrorBox(title=reason, rank=seen.failed_rank if seen else None)


def _redacted(error: ErrorBox, redact: Callable[[str], str]) -> ErrorBox:
    return ErrorBox(
        title=redact(error.title),
        where=error.where,
        traceback=redact(error.traceback),
        rank=error.rank,
    )


def _tracking(seen: Observation | None) -> str:
    run = seen.tracking if seen else None
    if run is None:
        return ""
    return f"MLflow: {run.error}" if run.error else f"MLflow run {run.run_id or 'not made yet'}"


def _ranks(
    job: Job, seen: Observation | None, far: Progress | None, nodes: Sequence[NodeStatus]
) -> tuple[RankCard, ...]:
    known = {rank.rank: rank for rank in seen.ranks} if seen else {}
    failed_rank = seen.failed_rank if seen else None
    numbers = sorted({*range(job.spec.world), *known})
    steps = {rank.rank: rank for rank in far.ranks} if far else {}
    cards = [
        replace(
            _rank(number, known.get(number), job.state, failed_rank), progress=steps.get(number)
        )
        for number in numbers
    ]
    if nodes:
        # One that has not begun is already known to be somewhere.
        slots = [min(card.rank // job.spec.procs, len(nodes) - 1) for card in cards]
        cards = [
            card if card.node else _elsewhere(card, nodes[slot], final=job.state.final)
            for card, slot in zip(cards, slots, strict=True)
        ]
    return tuple(sorted(cards, key=lambda card: (card.rank != failed_rank, not card.failed)))


def _elsewhere(card: RankCard, node: NodeStatus, *, final: bool) -> RankCard:
    """Return the card of a rank that nobody has told of, which may be due to its node."""
    silent = node.health is Health.UNREACHABLE and not final
    return replace(card, node=node.name, state="not heard of" if silent else card.state)


def _rank(
    number: int, rank: RankStatus | None, state: JobState, failed_rank: int | None
) -> RankCard:
    if rank is None:
        said = "never began" if state.final else "not started yet"
        return RankCard(rank=number, state=said)
    # The launcher ends the other ranks with a signal once one has failed: not a failure of theirs.
    by_itself = rank.error is not None or (rank.signal is None and bool(rank.exit_code))
    failed = state is JobState.FAILED and (number == failed_rank or by_itself)
    return RankCard(
        rank=number, state=_rank_state(rank, final=state.final), node=rank.node, failed=failed
    )


def _rank_state(rank: RankStatus, *, final: bool) -> str:
    if rank.signal is not None:
        return f"ended by {_signal_name(rank.signal)}"
    if rank.exit_code == 0:
        return "done"
    if rank.exit_code is not None:
        return rank.error.type if rank.error else f"exit status {rank.exit_code}"
    if rank.pid is None:
        return "never began" if final else "not started yet"
    return "end unknown" if final else "running"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
