"""What a job will cost: before it starts, while it runs, and what it would in another shape; pure.

Every number that is not measured is an assumption, and is said to be one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from jupyter_aiinfra.cost.money import Money, Rate, Unit

__all__ = [
    "Before",
    "Candidate",
    "Estimate",
    "Measured",
    "Option",
    "Projection",
    "before_launch",
    "hourly",
    "projection",
    "what_if",
]

_HOUR: Final = 3600
_NO_PRICE: Final = "the pool has no price: %pool price NAME --price 2.49/gpu-h says it"
# Of two ranks on a node that wait for each other at every step; for each doubling of the ranks.
_SHARED_NODE: Final = 0.97
_OTHER_NODE: Final = 0.90
_BF16: Final = 1.5
_INTERRUPTIONS_A_DAY: Final = 1.0
_LOST_SECONDS: Final = 600.0
_DAY: Final = 86400.0
_SATURATED: Final = 0.85


def _money(rate: Money, seconds: float) -> Money:
    return rate * Fraction(seconds) / _HOUR


def hourly(  # noqa: PLR0911 - each return is a case, with its reason
    rate: Rate | None, *, nodes: int, gpus: int, node_gpus: int | None
) -> tuple[Money | None, str]:
    """Return what an hour of a job costs, and why it is not known where it is not.

    Parameters
    ----------
    gpus
        How many it has on each node.
    node_gpus
        How many a node has in all; ``None`` is not known.
    """
    if rate is None:
        return None, _NO_PRICE
    if rate.unit is Unit.GPU:
        if gpus:
            return rate.money * (nodes * gpus), ""
        return None, "it uses no GPU, and the price of the pool is for GPUs"
    if not gpus and not node_gpus:
        return rate.money * nodes, ""
    if not gpus:
        return None, "it uses no GPU of nodes whose price is shared by their GPUs"
    if not node_gpus:
        return None, "it is not known how many GPUs a node has"
    return rate.money * Fraction(nodes * gpus, node_gpus), ""


# --- before it starts --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Before:
    """An earlier run of the same code, in the same shape: which, and how long it took."""

    job: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a launch will cost; what is not known is ``None``, and ``reason`` says why.

    ``most`` is for all of the time that it may take, ``likely`` what an earlier run took.
    """

    hourly: Money | None
    reason: str = ""
    most: Money | None = None
    most_seconds: float | None = None
    likely: Money | None = None
    before: Before | None = None

    @property
    def text(self) -> str:
        """Say it in one line."""
        if self.hourly is None:
            return f"unknown: {self.reason}"
        parts = [f"{self.hourly.text} an hour"]
        if self.likely is not None and self.before is not None:
            took = _duration(self.before.seconds)
            parts.append(f"about {self.likely.text}, as job {self.before.job} took {took}")
        if self.most is not None:
            parts.append(
                f"{self.most.text} at most, for the {_duration(self.most_seconds or 0)} it may take"
            )
        return "; ".join(parts)


def before_launch(
    rate: Money | None, reason: str, *, limit_seconds: float | None, before: Before | None
) -> Estimate:
    """Return what is known of the cost of a job that has not been started."""
    if rate is None:
        return Estimate(hourly=None, reason=reason, most_seconds=limit_seconds, before=before)
    return Estimate(
        hourly=rate,
        most=None if limit_seconds is None else _money(rate, limit_seconds),
        most_seconds=limit_seconds,
        likely=None if before is None else _money(rate, before.seconds),
        before=before,
    )


# --- while it runs -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What a step costs, when the last one will be done, and what all of it will have cost.

    ``step_cost`` is that of the latest steps. ``finish_at`` and ``total`` need to be told how many
    steps there will be: ``step(of=1000)``.
    """

    step_cost: Money | None = None
    remaining_seconds: float | None = None
    finish_at: float | None = None
    total: Money | None = None


def projection(
    *,
    cost: Money | None,
    rate: Money | None,
    step: int | None,
    of: int | None,
    step_seconds: float | None,
    now: float,
) -> Projection:
    """Return what can be said of the rest of a job that runs."""
    if step is None or step_seconds is None:
        return Projection()
    step_cost = None if rate is None else _money(rate, step_seconds)
    if of is None:
        return Projection(step_cost=step_cost)
    left = max(0, of - step) * step_seconds
    total = None if rate is None or cost is None else cost + _money(rate, left)
    return Projection(
        step_cost=step_cost, remaining_seconds=left, finish_at=now + left, total=total
    )


# --- in another shape --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a job was seen to do.

    Parameters
    ----------
    ranks, nodes
        Its shape.
    step_seconds
        Of a step, at the median.
    steps
        How many it made, or will make: as it said, or as it did once it is over.
    overhead_seconds
        What it took beside its steps: to start, to save.
    cpu_seconds
        Processor time of a step of a rank; ``None`` where it computes on GPUs, or nobody knows.
    cores
        Of each node; ``None`` where it computes on GPUs, or nobody knows.
    gpu
        The model of its GPUs; ``None`` where it has none.
    bf16
        Whether it computes in half precision already.
    """

    job: str
    pool: str
    ranks: int
    nodes: int
    step_seconds: float
    steps: int
    overhead_seconds: float
    cpu_seconds: float | None = None
    cores: int | None = None
    gpu: str | None = None
    bf16: bool = False


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Another shape, somewhere: ``rate`` is an hour of all of it, ``None`` where not known."""

    pool: str
    ranks: int
    nodes: int
    rate: Money | None
    reason: str = ""
    gpu: str | None = None
    cores: int | None = None
    spot: bool = False
    bf16: bool = False


@dataclass(frozen=True, kw_only=True)
class Option:
    """What a candidate would come to, and what that rests on."""

    candidate: Candidate
    step_seconds: float | None
    seconds: float | None
    cost: Money | None
    assumes: tuple[str, ...] = field(default=())
    problem: str = ""


def what_if(
    measured: Measured, candidates: Sequence[Candidate], *, others: Sequence[Measured] = ()
) -> list[Option]:
    """Return what each candidate would come to; `others` are runs of the same code elsewhere.

    The same data goes through in all: with twice the ranks there are half as many steps.
    """
    known = {(run.ranks, run.nodes, run.gpu, run.bf16): run for run in others}
    known[measured.ranks, measured.nodes, measured.gpu, measured.bf16] = measured
    return [_option(measured, each, known) for each in candidates]


def _option(
    measured: Measured,
    candidate: Candidate,
    known: Mapping[tuple[int, int, str | None, bool], Measured],
) -> Option:
    assumes: list[str] = []
    seen = known.get((candidate.ranks, candidate.nodes, candidate.gpu, candidate.bf16))
    if seen is not None:
        step, overhead = seen.step_seconds, seen.overhead_seconds
        if seen is not measured:
            assumes.append(f"measured in job {seen.job}")
    elif candidate.gpu != measured.gpu:
        base = [run for run in known.values() if run.gpu == candidate.gpu]
        if not base:
            return Option(
                candidate=candidate,
                step_seconds=None,
                seconds=None,
                cost=None,
                problem=f"it has never run on {candidate.gpu or 'CPUs'}: there is nothing to go by",
            )
        return _option(base[0], candidate, known)
    else:
        step = _step_seconds(measured, candidate, assumes)
        overhead = measured.overhead_seconds
    steps = measured.steps * measured.ranks / candidate.ranks
    if candidate.ranks != measured.ranks:
        assumes.append("the same data in all, shared among the ranks")
    seconds = overhead + steps * step
    if candidate.spot:
        lost = seconds / _DAY * _INTERRUPTIONS_A_DAY * (overhead + _LOST_SECONDS)
        seconds += lost
        assumes.append(
            f"interrupted {_INTERRUPTIONS_A_DAY:g} times a day, each time losing "
            f"{_duration(overhead + _LOST_SECONDS)}"
        )
    cost = None if candidate.rate is None else _money(candidate.rate, seconds)
    return Option(
        candidate=candidate,
        step_seconds=step,
        seconds=seconds,
        cost=cost,
        assumes=tuple(dict.fromkeys(assumes)),
        problem=candidate.reason if cost is None else "",
    )


def _step_seconds(measured: Measured, candidate: Candidate, assumes: list[str]) -> float:
    step = measured.step_seconds
    if measured.gpu is None:
        step = _on_cpus(measured, candidate, assumes)
    waits = _efficiency(measured.ranks, measured.nodes)
    would = _efficiency(candidate.ranks, candidate.nodes)
    if would != waits:
        step *= waits / would
        assumes.append(
            f"ranks wait for each other {(1 - would) * 100:.0f} % of the time"
            + (f" ({(1 - waits) * 100:.0f} % as measured)" if waits != 1 else "")
        )
    if candidate.bf16 and not measured.bf16:
        step /= _BF16
        assumes.append(f"bf16 makes a step {_BF16:g} times as fast")
    return step


def _on_cpus(measured: Measured, candidate: Candidate, assumes: list[str]) -> float:
    """Return a step on CPUs: ranks of a node share its cores."""
    cores = candidate.cores or measured.cores
    if measured.cpu_seconds is None or not cores:
        assumes.append("every rank finds as many free cores as it had")
        return measured.step_seconds
    had = (measured.cores or cores) * measured.nodes / measured.ranks
    has = cores * candidate.nodes / candidate.ranks
    used = measured.cpu_seconds / measured.step_seconds
    packed = measured.cpu_seconds / max(has, 1e-9)
    if has < used:
        assumes.append(f"a rank has {has:g} cores instead of the {used:.1f} that it used")
        return max(measured.step_seconds, packed)
    if used >= _SATURATED * had and has > had:
        assumes.append("a rank uses all cores that it has")
        return packed
    return measured.step_seconds


def _efficiency(ranks: int, nodes: int) -> float:
    """Return which part of the time ranks work that wait for each other at every step."""
    here, efficiency = 1, 1.0
    while here < ranks:
        here *= 2
        efficiency *= _OTHER_NODE if here > -(-ranks // nodes) else _SHARED_NODE
    return efficiency


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 2 * 60:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // _HOUR:,} h {whole % _HOUR // 60:02d} min"
