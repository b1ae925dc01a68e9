"""What crosses between server and browser; the OpenAPI file and its TypeScript are made of this.

``None`` means unknown. Times are seconds since the epoch (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from jupyter_aiinfra.model import Desired, JobKind, JobState, Lease, Node, Notice, Placement
from jupyter_aiinfra.server.costwire import JobCostItem, PriceItem
from jupyter_aiinfra.server.governwire import BudgetsNews
from jupyter_aiinfra.server.runwire import RunNotebookNews, RunsNews, SchedulesNews
from jupyter_aiinfra.telemetry import GpusDelta, GpusFrame, Range

__all__ = [
    "AttachRequest",
    "BudgetsNews",
    "CancelRequest",
    "EndedNews",
    "FileItem",
    "GoneNews",
    "GpuPast",
    "GpusDelta",
    "GpusFrame",
    "HelloNews",
    "HostKey",
    "JobDetail",
    "JobItem",
    "JobNews",
    "JobPage",
    "JobsNews",
    "LineProblem",
    "LineReport",
    "LineRequest",
    "LineWords",
    "LogNews",
    "LogRow",
    "LogRows",
    "LogSearch",
    "OptionItem",
    "PlanText",
    "PoolItem",
    "PoolKind",
    "PoolStatus",
    "PoolsNews",
    "Problem",
    "ProblemNews",
    "Range",
    "RunNotebookNews",
    "RunsNews",
    "SchedulesNews",
    "Silence",
    "TimelineEntry",
    "Topic",
    "WatchRequest",
]


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """The key that a host shows: what a person compares, and its line for known hosts."""

    host: str
    key_type: str
    fingerprint: str
    line: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The body of every refusal: what is wrong, and what to do about it (may be empty).

    ``option`` is the option of a pool that is wrong, ``command`` what to run in a terminal first,
    ``host_key`` a key that a person has to accept first; each where it is that.
    """

    message: str
    hint: str = ""
    option: str | None = None
    command: str = ""
    host_key: HostKey | None = None


# --- pools ---------------------------------------------------------------------------------------


class PoolStatus(str, Enum):
    """Whether a pool answered when it was last asked; ``UNKNOWN`` before the first time.

    ``DEGRADED`` is one of which some nodes do not answer, or did not until lately.
    """

    UNKNOWN = "unknown"
    LIVE = "live"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, kw_only=True)
class PoolKind:
    """A kind of pool, and its options as a JSON schema: what the attach form is drawn from."""

    kind: str
    title: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PoolItem:
    """A pool as attached, and as it was when last asked (at ``checked_at``).

    ``since`` is when it came to that status, as far as this server knows. ``nodes`` are as last
    known: of a pool that does not answer, none of them does. ``leases`` tell which jobs its GPUs
    are leased to; ``None`` where the pool gives them out itself. ``price`` is what it costs now,
    ``None`` where nobody has said.
    """

    name: str
    kind: str
    options: Mapping[str, Any]
    created_at: float
    active_jobs: int
    status: PoolStatus = PoolStatus.UNKNOWN
    problem: str = ""
    since: float | None = None
    checked_at: float | None = None
    nodes: tuple[Node, ...] | None = None
    leases: tuple[Lease, ...] | None = None
    price: PriceItem | None = None


@dataclass(frozen=True, kw_only=True)
class AttachRequest:
    """Attach a pool under a name.

    ``accept`` are keys of its hosts that a person has accepted, as an earlier refusal told of them:
    one that a host shows just so is known from then on.
    """

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    accept: tuple[HostKey, ...] = ()


# --- jobs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class JobItem:
    """One line of the list of jobs. ``message`` says what there is to say beside the state.

    ``notice`` is what a budget or the idle policy says of it; that is in the message too.
    """

    id: str
    name: str
    kind: JobKind
    pool: str
    state: JobState
    desired: Desired
    version: int
    nodes: int
    world: int
    message: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    notebook: str | None = None
    user: str | None = None
    notice: Notice | None = None


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """Jobs, newest first. ``more`` when older ones match; ``before`` the last id asks for them."""

    jobs: tuple[JobItem, ...]
    more: bool


@dataclass(frozen=True, kw_only=True)
class TimelineEntry:
    """Something that happened to a job."""

    at: float
    kind: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Why nothing is heard of a job just now, and when something was; its state is that of then."""

    message: str
    heard_at: float | None


@dataclass(frozen=True, kw_only=True)
class JobDetail:
    """One job, whole.

    ``header``, ``ranks`` and ``manifest`` are the traits of the cell's widget
    (``widgets/wire.py``), so that one component draws both. ``code`` is the cell's text without
    its magic, ``line`` the words after the magic. ``tracking_url`` is the page of the MLflow run,
    where MLflow has a web address. ``cost`` is as of when this was read; ``tags`` say who pays.
    ``silence`` is there while the job's pool does not answer this server. ``placement`` is which
    GPUs of which nodes are or were its own, each node's in the order of its ranks; empty where the
    pool gives them out itself.
    """

    item: JobItem
    header: Mapping[str, Any]
    ranks: tuple[Mapping[str, Any], ...]
    manifest: Mapping[str, Any]
    timeline: tuple[TimelineEntry, ...]
    code: str
    line: str
    fetch: tuple[str, ...]
    tracking_url: str | None = None
    silence: Silence | None = None
    cost: JobCostItem | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    placement: tuple[Placement, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CancelRequest:
    """How long the job may take to end by itself; without it, what it was launched with."""

    grace_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class PlanText:
    """What each node of a job is told to do, as text."""

    text: str


@dataclass(frozen=True, kw_only=True)
class FileItem:
    """One file of a job's run directory, by its path in there."""

    path: str
    size_bytes: int
    modified_at: float


# --- logs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LogRow:
    """One row of a log: a line, or a run of equal lines.

    Parameters
    ----------
    text
        The line with its colours (SGR sequences only), as a terminal would have left it.
    line
        Its number in the log, from 1.
    repeat
        How many equal lines stand here.
    left_out
        Bytes of a very long line that are not in `text`.
    """

    text: str
    line: int
    repeat: int = 1
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class LogRows:
    """Rows of one rank's log from row ``first`` (from 0), and how much there is in all.

    ``complete`` once the job is over and everything has been read.
    """

    rank: int
    first: int
    rows: tuple[LogRow, ...]
    total_rows: int
    total_lines: int
    total_bytes: int
    complete: bool


@dataclass(frozen=True, kw_only=True)
class LogSearch:
    """Rows that hold the text looked for, ascending.

    ``next`` is the row to go on from where there may be more of them, and None when all rows there
    were have been searched. A search that takes long is cut too, perhaps before it found any.
    """

    rows: tuple[int, ...]
    more: bool
    next: int | None


# --- the launch line -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LineRequest:
    """The words after ``%%accelerate``."""

    line: str


@dataclass(frozen=True, kw_only=True)
class LineProblem:
    """What is wrong with the characters from ``start`` to ``end`` of a launch line.

    They are counted as code points; where both are the same it is the line as a whole.
    """

    start: int
    end: int
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class LineReport:
    """Everything found wrong with a launch line; nothing when it may be run."""

    pool: str | None
    problems: tuple[LineProblem, ...]


@dataclass(frozen=True, kw_only=True)
class OptionItem:
    """One option, ours or accelerate's, for completion. ``values`` says what its value is."""

    name: str
    metavar: str = ""
    help: str = ""
    values: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LineWords:
    """What may stand in a line of each magic (``accelerate``, ``pool``, ``jobs``).

    ``options`` go by the magic, or by magic and verb (``jobs logs``). A name without dashes is a
    word that stands by itself.
    """

    options: Mapping[str, tuple[OptionItem, ...]]
    verbs: Mapping[str, tuple[str, ...]]


# --- GPUs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class GpuPast:
    """What a node was sampled at lately, by the second: ``at``, and each row's series, in steps.

    The rows go by the UUID of the GPU, and each series has a number a sample; the row with an empty
    name is the node itself. The series are those of :class:`GpusFrame`, in their order.
    """

    node: str
    at: tuple[float, ...]
    rows: Mapping[str, tuple[tuple[int | None, ...], ...]]


# --- the socket ----------------------------------------------------------------------------------
#
# A browser has one socket. It says which topics it watches, always all of them at once, so that
# saying it again after a reconnect is the same; the server answers each with its state as it is,
# then with what is new. A page that is hidden watches nothing.


@dataclass(frozen=True, kw_only=True)
class Topic:
    """Something to be watched: pools, jobs, one job, a rank's log of a job, GPUs, or budgets.

    ``schedules`` are all of them, ``runs`` those of the schedule ``id`` or of all, ``notebook`` is
    that of the run ``id``.

    ``gpus`` are those of ``pool``, of its ``node`` alone, or of the job ``id``; with ``detail``
    ``nodes`` it is an overview with a row a node.
    """

    topic: Literal[
        "pools", "jobs", "job", "log", "gpus", "budgets", "schedules", "runs", "notebook"
    ]
    id: str | None = None
    rank: int | None = None
    pool: str | None = None
    node: str | None = None
    detail: Literal["gpus", "nodes"] | None = None


@dataclass(frozen=True, kw_only=True)
class WatchRequest:
    """From the browser: watch exactly these topics from now on."""

    topics: tuple[Topic, ...]


@dataclass(frozen=True, kw_only=True)
class HelloNews:
    """The first message. ``instance`` differs after a restart of the server."""

    version: str
    instance: str
    type: Literal["hello"] = "hello"


@dataclass(frozen=True, kw_only=True)
class PoolsNews:
    """All pools, as they are now."""

    pools: tuple[PoolItem, ...]
    type: Literal["pools"] = "pools"


@dataclass(frozen=True, kw_only=True)
class JobsNews:
    """Jobs that are new or have changed, and ids of those removed.

    With ``reset`` it is the newest jobs instead, and what was known before counts no longer.
    ``active`` is how many jobs are not over.
    """

    changed: tuple[JobItem, ...]
    removed: tuple[str, ...]
    active: int
    reset: bool = False
    more: bool = False
    type: Literal["jobs"] = "jobs"


@dataclass(frozen=True, kw_only=True)
class JobNews:
    """A watched job, as it is now."""

    detail: JobDetail
    type: Literal["job"] = "job"


@dataclass(frozen=True, kw_only=True)
class GoneNews:
    """A watched job is not in the record, or no longer."""

    id: str
    type: Literal["gone"] = "gone"


@dataclass(frozen=True, kw_only=True)
class LogNews:
    """A watched log has grown, or is complete: its last rows, and how much there is in all."""

    id: str
    log: LogRows
    type: Literal["log"] = "log"


@dataclass(frozen=True, kw_only=True)
class EndedNews:
    """A job has come to its end just now; said to whoever watches the jobs."""

    job: JobItem
    type: Literal["ended"] = "ended"


@dataclass(frozen=True, kw_only=True)
class ProblemNews:
    """Something watched cannot be told of just now, or what the browser sent is not understood."""

    message: str
    hint: str = ""
    topic: Topic | None = None
    type: Literal["problem"] = "problem"
