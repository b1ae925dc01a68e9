"""What is found of idle GPUs: which jobs do not use theirs, and which kernels hold one.

Reads the record and the readings in the store, and decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from jupyter_aiinfra.cost.bill import JobCost, PoolPrice
from jupyter_aiinfra.cost.money import Money, Unit
from jupyter_aiinfra.governance.idle import IDLE_PERCENT, Heartbeat, IdleVerdict, judge_idle
from jupyter_aiinfra.governance.readings import idle_since, read_pulses
from jupyter_aiinfra.governance.views import IdleKernel
from jupyter_aiinfra.model import IdleRule, Job, JobState, Observation
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.telemetry import Frame, GpuReading
from jupyter_aiinfra.telemetry.sample import ProcessReading

__all__ = ["Watched", "heartbeat_of", "idle_kernels", "rule_of", "wasted", "watch_jobs"]

_BASELINE_SECONDS: Final = 3600.0
_HOUR: Final = 3600
_DAY_SECONDS: Final = 86400.0
_KERNEL: Final = re.compile(r"\b(ipykernel\w*|xpython|colab_kernel_launcher)\b")
_HELD_BYTES: Final = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A job with GPUs, its rule, and what the windows of warning and of stopping show."""

    job: Job
    rule: IdleRule
    warn_seconds: float
    verdict: IdleVerdict
    stop: IdleVerdict


def rule_of(job: Job, rules: Mapping[str, IdleRule], settings: Settings) -> IdleRule:
    """Return what is done about a job that does not use its GPUs.

    What was said of the job since it was launched goes first, then what it was launched with, its
    pool, and the settings.
    """
    found = rules.get(job.id) or job.spec.idle or rules.get(job.pool)
    if found is not None:
        return found
    return IdleRule(
        stop_seconds=settings.idle_stop_seconds or None, watch=settings.idle_warn_seconds > 0
    )


def watch_jobs(
    store: Store, jobs: Iterable[Job], *, settings: Settings, now: float
) -> list[Watched]:
    """Return what the GPUs of running jobs show; those that are not to be watched are left out."""
    rules = store.idle_rules()
    found = []
    for job in jobs:
        rule = rule_of(job, rules, settings)
        gpus = [gpu for place in job.placement for gpu in place.gpus]
        if job.state is not JobState.RUNNING or not gpus or not rule.watch or job.seen is None:
            continue
        warn = rule.warn_seconds or settings.idle_warn_seconds or _DAY_SECONDS
        if rule.stop_seconds is not None:
            warn = min(warn, rule.stop_seconds / 2)
        longest = max(warn, rule.stop_seconds or 0.0)
        pulses = read_pulses(
            store, pool=job.pool, gpus=gpus, start=now - longest - _BASELINE_SECONDS, now=now
        )
        beat = heartbeat_of(job, job.seen)
        verdict = judge_idle(pulses, beat, seconds=warn, now=now)
        stop = IdleVerdict(state="unknown")
        if rule.stop_seconds is not None and verdict.wasteful:
            stop = judge_idle(pulses, beat, seconds=rule.stop_seconds, now=now)
        found.append(Watched(job=job, rule=rule, warn_seconds=warn, verdict=verdict, stop=stop))
    return found


def heartbeat_of(job: Job, seen: Observation) -> Heartbeat:
    """Return what a job says of itself, as its pool last saw it.

    A pool that is silent, or whose supervisor is gone, does not make a job look dead.
    """
    if not seen.supervised:
        return Heartbeat()
    steps = [rank for rank in seen.ranks if rank.step_at is not None]
    took = [rank.step_seconds for rank in steps if rank.step_seconds is not None]
    return Heartbeat(
        began_at=job.started_at,
        said_at=seen.said_at,
        worked_at=seen.worked_at,
        step_at=max((rank.step_at for rank in steps if rank.step_at is not None), default=None),
        step_seconds=max(took, default=None),
    )


def wasted(cost: JobCost | None, since: float | None, now: float) -> Money | None:
    """Return what a job has cost since a time, at what it costs now."""
    if cost is None or cost.rate is None or since is None:
        return None
    return cost.rate * Fraction(max(0, round(now - since)), _HOUR)


# --- kernels -------------------------------------------------------------------------------------


def idle_kernels(
    store: Store, frame: Frame, *, pool: str, price: PoolPrice | None, now: float
) -> list[IdleKernel]:
    """Return the kernels that hold memory of a GPU which computes nothing just now."""
    found = []
    for node, sample in frame.samples.items():
        slots = sum(gpu.parent is None for gpu in sample.gpus)
        for gpu in sample.gpus:
            held = _kernels_on(gpu)
            if not held:
                continue
            since = idle_since(store, pool=pool, gpu=gpu.uuid, now=now, back=_DAY_SECONDS)
            rate = _slot_rate(price, slots)
            cost = None
            if rate is not None and since is not None:
                cost = rate * Fraction(max(0, round(now - since)), _HOUR)
            found += [
                IdleKernel(
                    pool=pool,
                    node=node,
                    gpu=gpu.uuid,
                    index=gpu.index,
                    pid=each.pid,
                    user=each.user,
                    command=each.command or "",
                    memory_bytes=each.memory_bytes,
                    since=since,
                    rate=rate,
                    cost=cost,
                )
                for each in held
            ]
    return found


def _kernels_on(gpu: GpuReading) -> list[ProcessReading]:
    """Return the kernels that hold memory of a GPU, if it computes nothing."""
    used = gpu.utilization_percent
    if used is None or used >= IDLE_PERCENT:
        return []
    return [
        each
        for each in gpu.processes or ()
        if each.job is None
        and _KERNEL.search(each.command or "")
        and (each.memory_bytes is None or each.memory_bytes >= _HELD_BYTES)
    ]


def _slot_rate(price: PoolPrice | None, slots: int) -> Money | None:
    """Return what an hour of one GPU costs."""
    if price is None or price.rate is None:
        return None
    rate = price.rate
    return rate.money if rate.unit is Unit.GPU else rate.money * Fraction(1, max(1, slots))
