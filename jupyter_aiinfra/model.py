"""The nouns that cross a layer: frozen dataclasses, and the one way to and from JSON.

``None`` means unknown; zero is a measurement. The unit of a number is in its name. Times are
seconds since the epoch (UTC) as ``float`` unless a name says otherwise.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, TypeVar

import msgspec

__all__ = [
    "ID_ALPHABET",
    "LAUNCHER",
    "Artifacts",
    "Budget",
    "CaptureKind",
    "Decision",
    "Desired",
    "EnvironmentSpec",
    "Event",
    "FileRef",
    "Finding",
    "Gpu",
    "GpuProcess",
    "Handle",
    "Health",
    "IdleRule",
    "Interpreter",
    "Job",
    "JobKind",
    "JobSpec",
    "JobState",
    "Lease",
    "LogChunk",
    "Manifest",
    "ManifestItem",
    "Node",
    "NodePlan",
    "NodeStatus",
    "Notice",
    "Observation",
    "Origin",
    "Placement",
    "Plan",
    "PoolRecord",
    "RankError",
    "RankStatus",
    "Restart",
    "Severity",
    "Submitter",
    "TrackingRun",
    "TrackingSpec",
    "from_json",
    "from_wire",
    "new_job_id",
    "short_id",
    "to_wire",
]

T = TypeVar("T")

ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""What ids are made of: base 32, lower case, without letters that look like others."""

LAUNCHER = -1
"""The pseudo-rank whose log is what the node's launcher itself printed."""


class JobKind(str, Enum):
    """What a job is for. All four take the same path through the engine."""

    TRAIN = "train"
    NOTEBOOK = "notebook"
    ENDPOINT = "endpoint"
    SESSION = "session"


class JobState(str, Enum):
    """What was last *observed* of a job; what is *desired* of it is :class:`Desired`.

    ``QUEUED`` is recorded and waits for GPUs, ``PENDING`` is recorded but not yet accepted by the
    pool, ``STARTING`` accepted with ranks still coming up, ``RUNNING`` the asked world size
    verified and user code running. The other four are final.
    """

    QUEUED = "queued"
    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """Whether no further state can follow."""
        return self in _FINAL


_FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST})


class Desired(str, Enum):
    """What the user wants of a job."""

    RUN = "run"
    STOP = "stop"


class Severity(str, Enum):
    """How much a preflight finding matters: an ``ERROR`` stops the launch."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class CaptureKind(str, Enum):
    """How a name of the notebook travels to the ranks."""

    IMPORT = "import"
    SOURCE = "source"
    MODULE = "module"
    DATA = "data"
    TENSOR = "tensor"
    ARRAY = "array"
    REFUSED = "refused"
    MISSING = "missing"


class Health(str, Enum):
    """How well a node answers: ``DEGRADED`` says less than asked, or only now and then."""

    LIVE = "live"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class GpuProcess:
    """A process that computes on a GPU, as far as its node lets itself be asked."""

    pid: int
    user: str | None = None
    command: str | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU, known by its UUID: an index means nothing to another process."""

    uuid: str
    name: str
    index: int
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    used_by: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """The Python a node runs jobs with, and the versions of the packages that matter."""

    executable: str
    version: str
    implementation: str = "CPython"
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def minor(self) -> tuple[int, int]:
        """``(major, minor)``, the part that bytecode and pickled code depend on."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine of a pool as last seen. ``max_procs`` is the most ranks of a job on it.

    Of a node that does not answer, ``problem`` says why, and the facts are unknown.
    """

    name: str
    address: str
    cpus: int | None = None
    memory_bytes: int | None = None
    disk_free_bytes: int | None = None
    gpus: tuple[Gpu, ...] = ()
    python: Interpreter | None = None
    driver: str | None = None
    platform: str = "linux"
    max_procs: int | None = None
    health: Health = Health.LIVE
    since: float | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class PoolRecord:
    """A pool as attached: its name, its kind and the options of that kind. Holds no secret."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class FileRef:
    """One content-addressed file of a bundle.

    ``path`` is where it is placed in the run directory; ``None`` leaves it in the node's blob
    store, where ranks read it by digest.
    """

    digest: str
    size_bytes: int
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class ManifestItem:
    """One name the code needs: what it is and how it travels."""

    name: str
    kind: CaptureKind
    type: str
    size_bytes: int | None = None
    how: str = ""
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that leaves the notebook with a job, by name, sorted as shown."""

    items: tuple[ManifestItem, ...] = ()
    size_bytes: int = 0

    @property
    def refused(self) -> tuple[ManifestItem, ...]:
        """The items that cannot travel, each with its reason."""
        return tuple(item for item in self.items if item.kind is CaptureKind.REFUSED)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a job came from, for the record and for "insert as cell".

    ``process`` identifies the launching process (see ``node/supervise.py``): once it is gone, a
    job it left pending is nobody's.
    """

    code: str = ""
    line: str = ""
    notebook: str | None = None
    user: str | None = None
    host: str | None = None
    process: Mapping[str, Any] = field(default_factory=dict)
    git: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrackingSpec:
    """The MLflow run to keep around a job. The URI must not carry a password.

    ``experiment_id`` goes before ``experiment``, its name; with neither it is MLflow's default.
    ``hourly`` is what an hour of the job costs, a decimal number in text, in ``currency``; without
    it no cost is logged.
    """

    uri: str
    experiment: str | None = None
    experiment_id: str | None = None
    run_name: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    hourly: str | None = None
    currency: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrackingRun:
    """The MLflow run that was made for a job, once it is known."""

    uri: str
    run_id: str | None = None
    experiment_id: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """The Python environment that a job's ranks run in, built once a digest on each node.

    ``digest`` names the folder it is built in; ``files`` are the lock or requirements file, and
    what it refers to, as they lie in the run directory.
    """

    kind: str
    digest: str
    source: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One node that was chosen for a job, with the GPUs (UUIDs) that are leased to it there."""

    node: str
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A GPU (by UUID) that is a job's until its end is known; ``shared`` with those who ask too."""

    pool: str
    node: str
    gpu: str
    job: str
    shared: bool = False
    since: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Submitter:
    """The process that took a job out of the queue, and when: it starts the job, or has died."""

    host: str
    process: Mapping[str, Any] = field(default_factory=dict)
    since: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class IdleRule:
    """What is done about GPUs that a job holds and does not use.

    It is said after ``warn_seconds``, and the job is stopped after ``stop_seconds``; ``None`` never
    stops it. ``watch`` false never even looks.
    """

    stop_seconds: float | None = None
    warn_seconds: float | None = None
    watch: bool = True


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """Everything a pool needs to run a job, and nothing that only one pool understands.

    ``argv`` is what each node runs; ``${AIINFRA_…}`` names of the rank contract in it are filled
    in on the node. ``env`` is recorded and holds no secret; ``secrets`` are names whose values
    are taken from the launching process and never written down. ``companion`` is a program that
    runs beside the ranks of node 0 and outlives them by what it needs to note their end; on other
    nodes it is told ``meter`` as well, and only reads them.

    A job begins on ``nodes`` nodes. When one is lost, or a rank fails, it is begun again at most
    ``max_restarts`` times, on at least ``min_nodes`` of them (``None``: on all). A node that is
    silent for ``dead_peer_seconds`` is taken for lost by the others, one that was not there
    ``join_seconds`` after the first for absent. ``argv_alone`` runs instead of
    ``argv`` where only one rank is left. ``gpus`` is the number of GPUs
    that the job wants on each node; 0 computes on CPUs. When no rank of a node has reported a step
    for ``stall_seconds``, their stacks are put into their logs; ``None`` never does. ``tags`` say
    who pays: ``project``, ``team``, ``cost-centre``, and what else reports are to be made by.
    ``budget`` is an amount of money, such as ``20 USD``, at which the job is stopped; ``idle`` is
    what is done when it does not use its GPUs (``None``: what its pool says).
    """

    kind: JobKind
    name: str
    argv: tuple[str, ...]
    argv_alone: tuple[str, ...] = ()
    nodes: int = 1
    min_nodes: int | None = None
    procs: int = 1
    gpus: int = 0
    share: bool = False
    priority: int = 0
    max_restarts: int = 0
    dead_peer_seconds: float = 10.0
    join_seconds: float = 60.0
    stall_seconds: float | None = None
    environment: EnvironmentSpec | None = None
    artifacts: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    cwd: str | None = None
    port: int | None = None
    files: tuple[FileRef, ...] = ()
    fetch: tuple[str, ...] = ()
    verify_world: bool = True
    grace_seconds: float = 10.0
    start_timeout_seconds: float = 600.0
    time_limit_seconds: float | None = None
    tracking: TrackingSpec | None = None
    companion: tuple[str, ...] = ()
    manifest: Manifest = field(default_factory=Manifest)
    origin: Origin = field(default_factory=Origin)
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    budget: str | None = None
    idle: IdleRule | None = None

    @property
    def world(self) -> int:
        """The number of ranks asked for, over all nodes."""
        return self.nodes * self.procs


@dataclass(frozen=True, kw_only=True)
class Handle:
    """A pool's own name for a job: plain JSON, so that any process can pick the job up."""

    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RankError:
    """The exception that ended a rank. ``line`` counts from 1 in the cell or script."""

    type: str
    message: str
    traceback: str = ""
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """One node of a job, or of a pool: how it answers, since when, and why it does not.

    ``LOST`` is what the other nodes of the job have given up, whatever it does itself.
    """

    name: str
    health: Health
    since: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Restart:
    """Why attempt number ``attempt`` of a job was begun (2 is the first restart), and when."""

    attempt: int
    at: float
    reason: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RankStatus:
    """One rank as its node knows it. ``signal`` is set when a signal ended it.

    ``step`` is the last step the script reported (``jupyter_aiinfra.step``), ``step_at`` when, and
    ``step_seconds`` how long the latest ones took, at the median, ``step_cpu_seconds`` what
    processor time, and ``step_of`` how many there will be. ``metrics`` are the numbers it
    reported beside it; ``None`` is one that is not finite.
    """

    rank: int
    node: str
    pid: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    max_memory_bytes: int | None = None
    error: RankError | None = None
    step: int | None = None
    step_at: float | None = None
    step_seconds: float | None = None
    step_cpu_seconds: float | None = None
    step_of: int | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """What a job has left of the files that it had declared, and what could not be had of them."""

    files: int
    size_bytes: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a pool saw of a job at ``seen_at``; it never guesses.

    ``reason`` says in one sentence why a job is in a final state other than succeeded.
    ``supervised`` is false when the node's supervisor is gone while the job still runs.
    ``stopping`` is true once the node knows that the job is to end.
    ``ended_by`` tells, for a stopped job, which signal ended which ranks.
    ``attempt`` counts from 1; ``restarts`` says why there was more than one.
    ``nodes`` tells, for a job on several nodes, how each is seen, ``waiting`` what the next attempt
    waits for.
    ``stalled_since`` is set while no rank has reported a step for longer than it should.
    ``ended_ago_seconds`` is how long ago it ended, and ``lasted_seconds`` how long it was the
    node's until then, by the node's clock alone, which may be off; neither changes when a clock is
    set.
    ``said_at`` is when a rank last reported a step or wrote to its log, ``worked_at`` when its
    processes last computed, read or wrote; both by the clock of ``seen_at``.
    """

    state: JobState
    seen_at: float
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    reason: str | None = None
    failed_rank: int | None = None
    ranks: tuple[RankStatus, ...] = ()
    supervised: bool = True
    stopping: bool = False
    ended_by: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    strays: int = 0
    tracking: TrackingRun | None = None
    results: tuple[str, ...] = ()
    attempt: int = 1
    restarts: tuple[Restart, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    waiting: str | None = None
    artifacts: Artifacts | None = None
    stalled_since: float | None = None
    ended_ago_seconds: float | None = None
    lasted_seconds: float | None = None
    said_at: float | None = None
    worked_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """So much money for a scope and a period, and what is done once it is spent.

    Parameters
    ----------
    scope, subject
        Whose cost counts: that of one job, notebook, user, pool, project, team or cost centre, by
        its name; of ``all`` the subject is empty.
    period
        Over a day or a month (UTC), or over all time.
    amount, currency
        The limit: an exact number in text, a fraction perhaps, and a code of three letters.
    action
        At the limit. ``warn`` says so. ``refuse`` lets no more jobs begin. ``ask`` does that too
        and asks whether those that run may go on; without an answer in time they are stopped.
        ``stop`` stops them: a signal, a grace period to save in, and the end.
    warn_share
        The part of it at which is warned.
    grace_seconds
        How long jobs may take to save when they are stopped.
    ask_seconds
        How long an answer is waited for.
    revision
        Grows when it is changed or snoozed; what was decided before counts no longer.
    snoozed_until
        It does nothing until then.
    """

    id: str
    scope: Literal["job", "notebook", "user", "pool", "project", "team", "cost-centre", "all"]
    subject: str
    period: Literal["day", "month", "total"]
    amount: str
    currency: str
    action: Literal["warn", "refuse", "ask", "stop"] = "stop"
    warn_share: float = 0.8
    grace_seconds: float | None = None
    ask_seconds: float = 900.0
    revision: int = 1
    created_at: float = field(default_factory=time.time)
    created_by: str | None = None
    snoozed_until: float | None = None
    snoozed_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What a budget (``by`` its id) or the idle policy (``by`` ``idle``) says of a job, the newest.

    A ``stop`` ends the job, with ``grace_seconds`` to save in. A ``question`` waits for an answer
    up to ``until``.
    """

    kind: Literal["warning", "question", "stop"]
    text: str
    by: str
    at: float
    until: float | None = None
    grace_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Something decided once, by one process of many: whoever writes down its ``key`` acts on it.

    ``by`` is as in :class:`Notice`; ``job`` whom it is about, if it is about one. ``kind`` of
    ``refusal`` kept a job from being launched.
    """

    key: str
    by: str
    kind: Literal["warning", "question", "stop", "refusal"]
    text: str
    at: float
    job: str | None = None
    until: float | None = None
    grace_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """The record of a job. ``version`` grows with each change and guards compare-and-set.

    ``placement`` is where it was decided to run; empty leaves that to the pool. ``submitter`` is
    set once a job that was queued is started, perhaps by another process than launched it.
    ``notice`` is what a budget or the idle policy has to say of it.
    """

    id: str
    pool: str
    spec: JobSpec
    state: JobState = JobState.PENDING
    desired: Desired = Desired.RUN
    version: int = 0
    handle: Handle | None = None
    seen: Observation | None = None
    placement: tuple[Placement, ...] = ()
    submitter: Submitter | None = None
    notice: Notice | None = None
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)

    @property
    def started_at(self) -> float | None:
        """When user code began on all ranks, by the node's clock."""
        return self.seen.started_at if self.seen else None

    @property
    def ended_at(self) -> float | None:
        """When the job ended, by the node's clock."""
        return self.seen.ended_at if self.seen else None


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """What one node will be told to do: exactly, before it is done."""

    node_rank: int
    node: str
    address: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    run_dir: str
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A job laid out on the nodes of a pool: text a person can read, then data for ``submit``."""

    job: Job
    nodes: tuple[NodePlan, ...]

    @property
    def text(self) -> str:
        """The plan as lines: what runs where, with which variables."""
        lines: list[str] = []
        for node in self.nodes:
            lines.append(f"node {node.node_rank}  {node.node} ({node.address})")
            lines.append(f"  in   {node.cwd}")
            lines.append(f"  run  {_shown(node.argv)}")
            lines.extend(f"  gpu  {uuid}" for uuid in node.gpus)
            lines.extend(f"  env  {name}={value}" for name, value in sorted(node.env.items()))
            lines.append(f"  logs {node.run_dir}/logs")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class LogChunk:
    """Bytes of one rank's log. ``offset`` is the position of the first byte in that log."""

    rank: int
    offset: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of a preflight: what was checked, what is wrong, and how to mend it."""

    check: str
    severity: Severity
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One entry of a job's timeline, or of a pool's."""

    id: int
    at: float
    kind: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def new_job_id() -> str:
    """Return a fresh job id: sortable by time to the second, unguessable in its tail.

    Seven characters of time and five of randomness in base 32, lower case, safe as a file name
    and as a DNS label.
    """
    seconds = int(time.time())
    head = "".join(ID_ALPHABET[(seconds >> shift) & 31] for shift in range(30, -1, -5))
    return short_id(head, 5)


def short_id(head: str, length: int) -> str:
    """Return a new id: `head`, then `length` characters of chance; short enough to be typed."""
    return head + "".join(secrets.choice(ID_ALPHABET) for _ in range(length))


def to_wire(value: Any) -> Any:
    """Return `value` as plain JSON types (dicts, lists, strings, numbers, ``None``)."""
    return msgspec.to_builtins(value)


def from_wire(
    data: Any,
    kind: type[T],
    *,
    strict: bool = True,
    decode: Callable[[type[Any], Any], Any] | None = None,
) -> T:
    """Build a `kind` from plain JSON types; any thread may.

    Parameters
    ----------
    strict
        Whether a number or a truth value may not be given as text.
    decode
        Makes, from the type and what was given, what msgspec does not know how to make.

    Raises
    ------
    msgspec.ValidationError
        When a field is missing or of the wrong type; the message holds its path.
    """
    _learn(kind)
    return msgspec.convert(data, kind, strict=strict, dec_hook=decode)


def from_json(text: bytes, kind: type[T]) -> T:
    """Build a `kind` from JSON; any thread may. Takes no ``NaN`` and no half a character.

    Raises
    ------
    ValueError
        When it is not JSON, or not of that type; the message holds the path of what is wrong.
    RecursionError
        When it is nested too deep.
    """
    _learn(kind)
    return msgspec.json.decode(text, type=kind)


def _learn(kind: type[Any]) -> None:
    """Have msgspec know `kind`; from then on any thread may convert to it.

    It builds what it knows of a type when it first meets it, and ends the whole process with a
    segmentation fault where two threads have it build the same at once (0.22).
    """
    if kind in _learnt:
        return
    with _learning:
        with contextlib.suppress(msgspec.ValidationError):
            msgspec.convert(None, kind)
        _learnt.add(kind)


_learnt: set[type[Any]] = set()
_learning = threading.RLock()
# A child that is forked meanwhile must not wait for a thread that it does not have.
os.register_at_fork(
    before=_learning.acquire,
    after_in_parent=_learning.release,
    after_in_child=_learning.release,
)


def _shown(argv: tuple[str, ...]) -> str:
    import shlex  # noqa: PLC0415 - only a plan's text needs it

    return shlex.join(argv)
