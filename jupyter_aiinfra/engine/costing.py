"""From the record and the pools to what a job will cost, has cost, and would cost elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jupyter_aiinfra.cost.bill import JobCost, PoolPrice
from jupyter_aiinfra.cost.catalog import CatalogRow, bundled, find, imported
from jupyter_aiinfra.cost.estimate import (
    Before,
    Candidate,
    Estimate,
    Measured,
    Option,
    Projection,
    before_launch,
    hourly,
    projection,
    what_if,
)
from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.cost.money import Rate
from jupyter_aiinfra.engine.attached import Attached
from jupyter_aiinfra.errors import PoolError, PoolNotFound, UsageError
from jupyter_aiinfra.model import Health, Job, JobSpec, JobState, Node
from jupyter_aiinfra.progress import progress
from jupyter_aiinfra.store import Store

__all__ = ["CostNow", "Costing", "WhatIf"]

_RECENT_JOBS: Final = 200
_SIZES: Final = (1, 2, 4, 8)
_HALF: Final = ("bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class CostNow:
    """What a job has cost so far, and what can be said of the rest; ``reason`` why not more."""

    cost: JobCost
    projection: Projection
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """What a job would come to in other shapes; ``notes`` say what is missing."""

    job: str
    measured: Measured
    options: tuple[Option, ...]
    notes: tuple[str, ...] = ()


class Costing:
    """Puts ledger, record and pools together; keeps nothing."""

    def __init__(self, store: Store, ledger: Ledger, pools: Attached) -> None:
        self._store = store
        self._ledger = ledger
        self._pools = pools

    # --- before ------------------------------------------------------------------------------

    def estimate(self, pool: str, spec: JobSpec, nodes: Sequence[Node]) -> Estimate:
        """Return what is known of the cost of a launch, on nodes as they are."""
        price = self._ledger.price(pool)
        rate, reason = hourly(
            None if price is None else price.rate,
            nodes=spec.nodes,
            gpus=spec.gpus,
            node_gpus=_most_gpus(nodes),
        )
        before = self._before(pool, spec)
        return before_launch(rate, reason, limit_seconds=spec.time_limit_seconds, before=before)

    def _before(self, pool: str, spec: JobSpec) -> Before | None:
        """Return the newest run of the same code in the same shape that went well."""
        for job in self._alike(spec):
            shape = (job.pool, job.spec.nodes, job.spec.procs, job.spec.gpus)
            if shape != (pool, spec.nodes, spec.procs, spec.gpus):
                continue
            held = self._ledger.held_seconds([job.id])
            if held:
                return Before(job=job.id, seconds=held[job.id])
        return None

    def _alike(self, spec: JobSpec) -> list[Job]:
        """Return runs of the same code that went well, newest first."""
        if not spec.origin.code.strip():
            return []
        jobs = self._store.list_jobs(states=[JobState.SUCCEEDED], limit=_RECENT_JOBS)
        return [job for job in jobs if job.spec.origin.code == spec.origin.code]

    # --- now ---------------------------------------------------------------------------------

    def now(self, jobs: Sequence[Job]) -> Mapping[str, CostNow]:
        """Return what jobs have cost up to now."""
        costs = self._ledger.job_costs([job.id for job in jobs])
        prices = {pool: self._ledger.price(pool) for pool in {job.pool for job in jobs}}
        none = {job.id: self._nothing(job) for job in jobs if job.id not in costs}
        return {
            job.id: _cost_now(job, costs.get(job.id) or none[job.id], prices[job.pool])
            for job in jobs
        }

    def _nothing(self, job: Job) -> JobCost:
        return JobCost.none(job.id, at=time.time())

    # --- elsewhere ---------------------------------------------------------------------------

    async def what_if(self, job: Job, *, catalog: Sequence[CatalogRow] | None = None) -> WhatIf:
        """Return what a job would come to in other shapes, as spot, in bf16, on other pools.

        Raises
        ------
        UsageError
            It has made no steps that could be gone by.
        """
        rows = [*imported(self._store.catalog_rows()), *bundled()] if catalog is None else catalog
        notes: list[str] = []
        known: dict[str, Sequence[Node]] = {}
        for record in self._store.list_pools():
            try:
                known[record.name] = _answering(await self._pools.nodes(record.name))
            except (PoolError, PoolNotFound) as error:  # noqa: PERF203 - each for itself
                notes.append(f"pool {record.name} is left out: {error.message}")
        alike = [job, *(each for each in self._alike(job.spec) if each.id != job.id)]
        held = self._ledger.held_seconds([each.id for each in alike])
        measured = _measured(job, known.get(job.pool, ()), held.get(job.id))
        others = [
            found
            for each in alike[1:]
            if (found := _measured_or_none(each, known.get(each.pool, ()), held.get(each.id)))
        ]
        candidates: list[Candidate] = []
        names = sorted(known, key=lambda name: (name != job.pool, name))
        for name in names:
            price = self._ledger.price(name)
            candidates += _candidates(measured, name, known[name], price, rows)
        if any(price is None for price in map(self._ledger.price, names)):
            notes.append("a pool without a price has no cost: %pool price NAME says it")
        return WhatIf(
            job=job.id,
            measured=measured,
            options=tuple(what_if(measured, candidates, others=others)),
            notes=tuple(notes),
        )


def _cost_now(job: Job, cost: JobCost, price: PoolPrice | None) -> CostNow:
    far = progress(job.seen)
    running = not job.state.final and job.state is not JobState.QUEUED
    total = cost.cost[0] if len(cost.cost) == 1 and not cost.unpriced_seconds else None
    found = Projection()
    if far is not None and running:
        found = projection(
            cost=total,
            rate=cost.rate,
            step=far.step,
            of=far.of,
            step_seconds=far.step_seconds,
            now=cost.at,
        )
    elif far is not None and total is not None and far.step:
        found = Projection(step_cost=total / far.step, total=total)
    return CostNow(cost=cost, projection=found, reason=_reason(job, cost, price))


def _reason(job: Job, cost: JobCost, price: PoolPrice | None) -> str:
    """Return why the cost of a job is not known, where it is not."""
    if cost.known:
        return ""
    if job.state is JobState.QUEUED:
        return "it waits, and holds nothing yet"
    if price is None or price.rate is None:
        return f"pool {job.pool} has no price: %pool price {job.pool} --price 2.49/gpu-h"
    _, reason = hourly(price.rate, nodes=1, gpus=job.spec.gpus, node_gpus=None)
    if cost.unpriced_seconds and cost.cost:
        return "part of its time was before the pool had a price"
    return reason or "nothing is known of what it was given"


def _most_gpus(nodes: Sequence[Node]) -> int | None:
    counts = [len(node.gpus) for node in _answering(nodes)]
    return max(counts) if counts else None


def _answering(nodes: Sequence[Node]) -> Sequence[Node]:
    return [
        node
        for node in nodes
        if node.problem is None and node.health in (Health.LIVE, Health.DEGRADED)
    ]


def _measured(job: Job, nodes: Sequence[Node], held: float | None) -> Measured:
    far = progress(job.seen)
    if far is None or not far.step or far.step_seconds is None or job.started_at is None:
        raise UsageError(
            f"job {job.id} has reported no steps: there is nothing to go by",
            hint="have it call jupyter_aiinfra.step() once a step, and let it make some",
        )
    steps = far.of or (far.step if job.state.final else None)
    if steps is None:
        raise UsageError(
            f"job {job.id} runs, and how many steps it will make is not known",
            hint="have it say so, with step(of=1000), or ask again when it is over",
        )
    if held is None:
        held = (job.ended_at or time.time()) - job.started_at
    spent = [rank.step_cpu_seconds for rank in (job.seen.ranks if job.seen else ())]
    spent_known = [each for each in spent if each is not None]
    # To start, to save, to evaluate: all that it held GPUs for beside its steps.
    overhead = max(0.0, held - far.step * far.step_seconds)
    gpus = [gpu.name for node in nodes for gpu in node.gpus]
    cores = [node.cpus for node in nodes if node.cpus]
    on_cpus = job.spec.gpus == 0
    return Measured(
        job=job.id,
        pool=job.pool,
        ranks=job.spec.world,
        nodes=job.spec.nodes,
        step_seconds=far.step_seconds,
        steps=steps,
        overhead_seconds=overhead,
        cpu_seconds=max(spent_known) if on_cpus and spent_known else None,
        cores=min(cores) if on_cpus and cores else None,
        gpu=None if on_cpus else (gpus[0] if gpus else "GPU"),
        bf16=_half(job.spec),
    )


def _measured_or_none(job: Job, nodes: Sequence[Node], held: float | None) -> Measured | None:
    try:
        return _measured(job, nodes, held)
    except UsageError:
        return None


def _half(spec: JobSpec) -> bool:
    words = " ".join(spec.argv).replace("--mixed-precision", "--mixed_precision")
    return any(
        f"--mixed_precision {kind}" in words or f"--mixed_precision={kind}" in words
        for kind in _HALF
    )


def _candidates(
    measured: Measured,
    pool: str,
    nodes: Sequence[Node],
    price: PoolPrice | None,
    catalog: Sequence[CatalogRow],
) -> list[Candidate]:
    if not nodes:
        return []
    here = None if price is None else price.rate
    spot = price is not None and price.terms.spot
    on_gpus = measured.gpu is not None
    found = []
    for ranks, count in _shapes(nodes, on_gpus=on_gpus):
        kinds = [(here, spot, measured.bf16)]
        if on_gpus and not measured.bf16:
            kinds.append((here, spot, True))
        other = None if price is None else _other_rate(price, catalog)
        if other is not None:
            kinds.append((other, not spot, measured.bf16))
        for rate, as_spot, bf16 in kinds:
            gpus = ranks // count if on_gpus else 0
            hour, reason = hourly(rate, nodes=count, gpus=gpus, node_gpus=_most_gpus(nodes))
            found.append(
                Candidate(
                    pool=pool,
                    ranks=ranks,
                    nodes=count,
                    rate=hour,
                    reason=reason,
                    gpu=nodes[0].gpus[0].name if on_gpus else None,
                    cores=None if on_gpus else min((n.cpus for n in nodes if n.cpus), default=None),
                    spot=as_spot,
                    bf16=bf16,
                )
            )
    return found


def _shapes(nodes: Sequence[Node], *, on_gpus: bool) -> list[tuple[int, int]]:
    """Return ranks and nodes of what can be had: on as few nodes as possible."""
    rooms = [len(node.gpus) if on_gpus else (node.max_procs or 0) for node in nodes]
    most = max(rooms, default=0)
    found = []
    for ranks in _SIZES:
        if 0 < ranks <= most:
            found.append((ranks, 1))
        elif most and ranks % most == 0 and rooms.count(most) >= ranks // most:
            found.append((ranks, ranks // most))
    return found


def _other_rate(price: PoolPrice, catalog: Sequence[CatalogRow]) -> Rate | None:
    """Return the price of the same machines as spot, or on demand where they are spot now."""
    terms = price.terms
    if terms.sku is None or terms.confidence == "owner":
        return None
    try:
        row = find(catalog, terms.sku, region=terms.region, spot=not terms.spot)
    except UsageError:
        return None
    return row.rate
