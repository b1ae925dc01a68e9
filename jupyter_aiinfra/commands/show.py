"""How pools and jobs are put into words and rows, the same on every surface."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from jupyter_aiinfra.engine import PoolView
from jupyter_aiinfra.environments import BuiltEnvironment
from jupyter_aiinfra.leases import gpu_use, ordinal
from jupyter_aiinfra.model import Desired, Job, JobState, Lease, Node, RankStatus
from jupyter_aiinfra.progress import RankProgress, progress, seconds_text
from jupyter_aiinfra.widgets.card import describe, node_text, shape_text

__all__ = [
    "ENVIRONMENT_COLUMNS",
    "JOB_COLUMNS",
    "POOL_COLUMNS",
    "bytes_text",
    "duration_text",
    "environment_rows",
    "exit_status",
    "job_lines",
    "job_rows",
    "launched_text",
    "log_folder",
    "pool_lines",
    "pool_rows",
    "state_text",
    "waits_text",
]

POOL_COLUMNS = ("pool", "kind", "state", "nodes", "GPUs", "most ranks", "active jobs")
ENVIRONMENT_COLUMNS = ("digest", "node", "from", "Python", "packages", "size", "last used")
JOB_COLUMNS = ("job", "name", "pool", "state", "ranks", "started", "took")

_INTERRUPTED = 130
_LOST = 70  # EX_SOFTWARE of sysexits.h: nobody knows how it ended


def bytes_text(count: int | None) -> str:
    """Return ``1.5 MB`` for 1,500,000, and ``?`` for the unknown."""
    if count is None:
        return "?"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - the step between SI units
            return f"{size:.3g} {unit}" if unit != "B" else f"{count} B"
        size /= 1000
    return f"{size:.3g} TB"


def duration_text(seconds: float | None) -> str:
    """Return ``1:02:03`` or ``4.2 s``; ``-`` for the unknown."""
    if seconds is None:
        return "-"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def environment_rows(found: Iterable[tuple[str, BuiltEnvironment]]) -> list[tuple[str, ...]]:
    """Return one row an environment for :data:`ENVIRONMENT_COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for node, each in found:
        used = "unfinished"
        if each.used_at is not None:
            used = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.used_at))
        size = bytes_text(each.size_bytes)
        count = "-" if each.package_count is None else str(each.package_count)
        digest = each.digest[:12]
        rows.append((digest, node, each.source or "-", each.version or "-", count, size, used))
    return rows


def state_text(job: Job) -> str:
    """Return the state for a person: a job told to stop is ``stopping`` until it is over."""
    if not job.state.final and job.desired is Desired.STOP:
        return "stopping"
    if job.seen is not None and not job.seen.supervised and not job.state.final:
        return f"{job.state.value} (unsupervised)"
    return job.state.value


def log_folder(job: Job) -> str | None:
    """Return where the whole logs lie on this machine; ``None`` where they lie elsewhere."""
    run_dir = job.handle.data.get("run_dir") if job.handle else None
    return str(Path(run_dir) / "logs") if run_dir and Path(run_dir).is_dir() else None


def exit_status(job: Job) -> int:
    """Return the exit status that says how a job ended, for a command line.

    0 succeeded, 130 cancelled, 70 lost; a failed job gives the status of the rank that failed
    first (128 + N for signal N), or 1.
    """
    if job.state is JobState.SUCCEEDED:
        return 0
    if job.state is JobState.CANCELLED:
        return _INTERRUPTED
    if job.state is JobState.LOST:
        return _LOST
    if job.seen is not None:
        for rank in job.seen.ranks:
            if rank.rank == job.seen.failed_rank:
                return 128 + rank.signal if rank.signal else rank.exit_code or 1
    return 1


def pool_rows(views: Sequence[PoolView]) -> list[tuple[str, ...]]:
    """Return one row a pool for :data:`POOL_COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for view in views:
        nodes = view.nodes
        rows.append(
            (
                view.record.name,
                view.record.kind,
                "unreachable" if nodes is None else "live",
                "?" if nodes is None else str(len(nodes)),
                "?" if nodes is None else str(sum(len(node.gpus) for node in nodes)),
                "?" if nodes is None else _most_ranks(nodes),
                str(view.active_jobs),
            )
        )
    return rows


def _most_ranks(nodes: Sequence[Node]) -> str:
    limits = [node.max_procs for node in nodes]
    return "?" if None in limits else str(sum(limit or 0 for limit in limits))


def pool_lines(view: PoolView) -> list[str]:
    """Return everything known of one pool, as lines."""
    options = ", ".join(f"{k}={v}" for k, v in view.record.options.items() if v is not None)
    lines = [f"pool {view.record.name}: {view.record.kind}" + (f" ({options})" if options else "")]
    if view.nodes is None:
        return [*lines, f"  unreachable: {view.problem}"]
    for node in view.nodes:
        lines += _node_lines(node, view.leases)
    lines.append(f"  {view.active_jobs} active job{'' if view.active_jobs == 1 else 's'}")
    return lines


def _node_lines(node: Node, leases: Sequence[Lease] | None) -> list[str]:
    cpus = "?" if node.cpus is None else str(node.cpus)
    room = f"{bytes_text(node.memory_bytes)} memory, {bytes_text(node.disk_free_bytes)} disk free"
    lines = [f"  node {node.name}: {cpus} cores, {room}, at most {node.max_procs or '?'} ranks"]
    if node.python is not None:
        packages = ", ".join(
            f"{name} {node.python.packages[name]}"
            for name in ("torch", "accelerate", "mlflow")
            if name in node.python.packages
        )
        lines.append(f"    Python {node.python.version} ({node.python.executable})")
        lines.append(f"    {packages or 'neither torch nor accelerate installed'}")
    if not node.gpus:
        lines.append("    no GPU: ranks train on CPUs")
    for gpu in node.gpus:
        used = f"{bytes_text(gpu.memory_used_bytes)} of {bytes_text(gpu.memory_total_bytes)} used"
        use = "" if leases is None else f"  {gpu_use(gpu, leases)}"
        lines.append(f"    GPU {gpu.index}: {gpu.name}, {used}  {gpu.uuid}{use}")
    return lines


def launched_text(job: Job) -> str:
    """Return what to say of a job that was launched and is not waited for."""
    text = f"job {job.id} runs on {job.pool}; %jobs attach {job.id} shows its output"
    if job.state is JobState.QUEUED:
        text = f"job {job.id} is queued on {job.pool}: {waits_text(job)}; %jobs attach {job.id}"
        if job.spec.secrets:
            text += "\nits secrets are known to this process alone: it starts while this one lives"
    return text


def waits_text(job: Job) -> str:
    """Return what a queued job waits for, and where it is in the queue."""
    return (job.seen.reason if job.seen else None) or "waits for GPUs"


def job_rows(
    jobs: Sequence[Job], *, places: Mapping[str, int] | None = None
) -> list[tuple[str, ...]]:
    """Return one row a job for :data:`JOB_COLUMNS`; `places` are those of the queued ones."""
    known = places or {}
    return [
        (
            job.id,
            job.spec.name,
            job.pool,
            f"queued ({ordinal(known[job.id])})" if job.id in known else state_text(job),
            str(job.spec.world),
            _clock(job.started_at or job.created_at),
            duration_text(_took(job)),
        )
        for job in jobs
    ]


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _took(job: Job) -> float | None:
    if job.started_at is None:
        return None
    if job.ended_at is not None:
        return job.ended_at - job.started_at
    return None if job.state.final else time.time() - job.started_at


def job_lines(job: Job) -> list[str]:
    """Return everything of one job that a person asks for, as lines."""
    seen = job.seen
    lines = [
        f"job {job.id}: {job.spec.name}, {state_text(job)}",
        f"  on      {job.pool}, {shape_text(job)}",
        f"  created {_clock(job.created_at)}, ran {duration_text(_took(job))}",
    ]
    if job.state is JobState.QUEUED:
        lines.append(f"  queue   {waits_text(job)}")
    elif seen is not None and seen.reason:
        lines.append(f"  because {seen.reason}")
    if job.notice is not None and not (seen is not None and seen.reason == job.notice.text):
        lines.append(f"  {job.notice.kind:<7} {job.notice.text}")
    lines += _attempt_lines(job)
    lines += [f"  gpus    {', '.join(on.gpus)} on {on.node}" for on in job.placement if on.gpus]
    if seen is not None and seen.ended_by:
        ended = "; ".join(f"{name} ended ranks {list(r)}" for name, r in seen.ended_by.items())
        lines.append(f"  ended   {ended}")
    far = progress(seen, stall_seconds=job.spec.stall_seconds)
    if far is not None:
        lines.append(f"  far     {far.text}")
    steps = {rank.rank: rank for rank in far.ranks} if far else {}
    for rank in seen.ranks if seen else ():
        said = _rank_text(rank, over=job.state.final)
        lines.append(f"  rank {rank.rank}  {said}{_step_text(steps.get(rank.rank))}")
    if seen is not None and seen.tracking is not None:
        run = seen.tracking.run_id or f"none ({seen.tracking.error})"
        lines.append(f"  mlflow  run {run} at {seen.tracking.uri}")
    if seen is not None and seen.results:
        lines.append(f"  results {', '.join(seen.results)}")
    folder = log_folder(job)
    if folder is not None:
        lines.append(f"  logs    {folder}")
    return lines


def _attempt_lines(job: Job) -> list[str]:
    """Return how the nodes are, and why there was more than one attempt."""
    seen = job.seen
    if seen is None:
        return []
    lines = []
    if seen.attempt > 1:
        lines.append(f"  attempt {seen.attempt} of {1 + job.spec.max_restarts}")
    for restart in seen.restarts:
        on = f", on {', '.join(restart.nodes)}" if restart.nodes else ""
        began = f"attempt {restart.attempt} at {_clock(restart.at)}{on}"
        lines.append(f"  again   {began}: {restart.reason}")
    if seen.waiting and not job.state.final:
        lines.append(f"  waits   {seen.waiting}")
    if job.spec.nodes > 1:
        for node in describe(job).nodes:
            since = f", since {_clock(node.since)}" if node.since else ""
            lines.append(f"  node    {node_text(node) or f'{node.name} is well'}{since}")
    return lines


def _step_text(rank: RankProgress | None) -> str:
    if rank is None:
        return ""
    took = "" if rank.step_seconds is None else f", {seconds_text(rank.step_seconds)} a step"
    behind = f", {rank.behind:,} behind" if rank.behind else ""
    return f", step {rank.step:,}{took}{behind}{' (slow)' if rank.slow else ''}"


def _rank_text(rank: RankStatus, *, over: bool) -> str:
    where = f"{rank.node}, pid {rank.pid}"
    memory = f", {bytes_text(rank.max_memory_bytes)} at most" if rank.max_memory_bytes else ""
    if rank.signal:
        return f"{where}: ended by signal {rank.signal}{memory}"
    if rank.exit_code is None:
        return f"{where}: {'no word of its end' if over else 'running'}"
    error = f" ({rank.error.type}: {rank.error.message})" if rank.error else ""
    return f"{where}: exit status {rank.exit_code}{error}{memory}"
