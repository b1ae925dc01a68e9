"""What acts: budgets and the idle policy over the record, from any process, each decision once.

Nothing has to run for it but somebody who looks: a server does by itself, a kernel while it
watches a job, the command line with each list of jobs. Who comes first writes the decision down;
that, and not the process, is what ends a job: should it die right after, the next who observes the
job sees its end desired, and asks for it with the grace that the record says.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from jupyter_aiinfra.cost.ledger import JobCost, Ledger
from jupyter_aiinfra.cost.money import Money
from jupyter_aiinfra.errors import AiInfraError, StorageFull, StoreError
from jupyter_aiinfra.governance.admission import Admission
from jupyter_aiinfra.governance.budget import (
    Spend,
    Target,
    covers,
    judge,
    limit_of,
    name_of,
    steps,
    window_of,
)
from jupyter_aiinfra.governance.views import BudgetView, IdleJob, IdleReport
from jupyter_aiinfra.governance.watching import Watched, idle_kernels, wasted, watch_jobs
from jupyter_aiinfra.model import Budget, Decision, Desired, IdleRule, Job
from jupyter_aiinfra.progress import seconds_text
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.telemetry import Scope, Telemetry

__all__ = ["Governor"]

_SOONEST: Final = 1.0
_LATEST: Final = 30.0
_IDLE_SECONDS: Final = 60.0
_HOUR: Final = 3600

_Stopping = Callable[[str, float | None], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What is to be decided, with the revision of the budget it is decided by; and what is over."""

    decisions: Sequence[tuple[Decision, int | None]]
    over: Sequence[tuple[str, str]]
    due: float


class Governor(Admission):
    """Budgets and idle GPUs of one engine.

    Parameters
    ----------
    stop
        Asks for the end of a job, with so many seconds of grace.
    wall
        Seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        ledger: Ledger,
        telemetry: Telemetry,
        stop: _Stopping,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, ledger, wall=wall)
        self._settings = settings
        self._telemetry = telemetry
        self._stop = stop
        self._looking: asyncio.Task[float] | None = None
        self._due_at = float("-inf")
        self._idle_at = float("-inf")

    # --- acting --------------------------------------------------------------------------------

    async def look(self, *, now: float | None = None) -> float:
        """Decide what is to be decided, and act on it; return how soon to look again.

        What fails for want of room, or of an answer, is done with the next look.
        """
        if self._looking is not None and not self._looking.done():
            return await asyncio.shield(self._looking)
        self._looking = asyncio.ensure_future(self._look(now))
        return await asyncio.shield(self._looking)

    async def glance(self) -> None:
        """Look, if it is time: for who is at it anyway."""
        if time.monotonic() >= self._due_at:
            # Whoever observes a job is told of that, and not of what else is wrong.
            with contextlib.suppress(AiInfraError):
                await self.look()

    async def _look(self, asked: float | None) -> float:
        now = self._wall() if asked is None else asked
        idle = time.monotonic() - self._idle_at >= _IDLE_SECONDS or asked is not None
        if idle:
            self._idle_at = time.monotonic()
        # Not again at once, should it fail.
        self._due_at = time.monotonic() + _SOONEST
        found = await asyncio.to_thread(self._find, now, idle=idle)
        for job_id, by in found.over:
            with contextlib.suppress(StorageFull):
                await asyncio.to_thread(self._store.take_notice_back, job_id, by=by)
        for decision, revision in found.decisions:
            await self._act(decision, revision)
        self._due_at = time.monotonic() + found.due
        return found.due

    async def _act(self, decision: Decision, revision: int | None) -> None:
        try:
            won = await asyncio.to_thread(
                self._store.decide, decision, revision=revision, tell=self._settings.notify_budgets
            )
        except StorageFull:
            if decision.kind != "stop":
                return
            won = True  # the disk may be full of what it writes; to stop it twice is no harm
        if won and decision.kind == "stop" and decision.job is not None:
            # A pool that is silent now is asked again by who observes the job next.
            with contextlib.suppress(AiInfraError):
                await self._stop(decision.job, decision.grace_seconds)

    def _find(self, now: float, *, idle: bool) -> _Found:
        jobs = self._store.list_jobs(active=True)
        if not jobs:
            return _Found(decisions=(), over=(), due=_LATEST)
        found = [self._by_budget(each, now) for each in self._views(now, jobs) if each.jobs]
        if idle:
            found.append(self._by_use(jobs, now))
        return _Found(
            decisions=[each for one in found for each in one.decisions],
            over=[each for one in found for each in one.over],
            due=min((each.due for each in found), default=_LATEST),
        )

    # --- budgets -------------------------------------------------------------------------------

    def views(self) -> Sequence[BudgetView]:
        """Return all budgets as of now; those of jobs that are over are left out."""
        jobs = self._store.list_jobs(active=True)
        return [
            each
            for each in self._views(self._wall(), jobs)
            if each.budget.scope != "job" or each.jobs
        ]

    def view(self, name: str) -> BudgetView:
        """Return one budget as of now, by its id, the beginning of one, or its subject."""
        budget = self._store.get_budget(name)
        jobs = self._store.list_jobs(active=True)
        return next(iter(self._views(self._wall(), jobs, [budget])))

    def _views(
        self, now: float, jobs: Sequence[Job], budgets: Sequence[Budget] | None = None
    ) -> list[BudgetView]:
        budgets = self._store.budgets() if budgets is None else budgets
        counted = {
            each.id: [job for job in jobs if covers(each, job.spec, pool=job.pool, job=job.id)]
            for each in budgets
        }
        wanted = {job.id for some in counted.values() for job in some}
        costs = self._ledger.job_costs(wanted, now=now) if wanted else {}
        decided = self._store.last_decided() if budgets else {}
        views = (self._view(each, counted[each.id], costs, now) for each in budgets)
        return [replace(each, decided_at=decided.get(each.budget.id)) for each in views]

    def _view(
        self, budget: Budget, jobs: Sequence[Job], costs: Mapping[str, JobCost], now: float
    ) -> BudgetView:
        window = window_of(budget, now)
        verdict = judge(budget, self._spend(budget, jobs, costs, now), now=now)
        rates = [costs[job.id].rate for job in jobs if job.id in costs]
        known = [each for each in rates if each is not None]
        rate = sum((each.amount for each in known if each.currency == budget.currency), Fraction(0))
        spent_at = None
        if rate and verdict.spent is not None and verdict.reach != "spent":
            left = verdict.limit - verdict.spent
            spent_at = now + float(left.amount / rate) * _HOUR
            if window.end is not None and spent_at > window.end:
                spent_at = None
        asks_until = None
        if budget.action == "ask" and verdict.reach == "spent" and not verdict.snoozed and jobs:
            key = f"{budget.id}/{budget.revision}/{window.name}/asked"
            asked = self._store.claimed([key]).get(key)
            asks_until = None if asked is None else asked.until
        return BudgetView(
            budget=budget,
            name=name_of(budget),
            window=window,
            verdict=verdict,
            jobs=tuple(job.id for job in jobs),
            rate=Money(rate, budget.currency) if len(known) == len(jobs) else None,
            spent_at=spent_at,
            asks_until=asks_until,
        )

    def _spend(
        self, budget: Budget, jobs: Sequence[Job], costs: Mapping[str, JobCost], now: float
    ) -> Spend:
        """Return what is spent of a budget; what a job alone has cost is known already."""
        # A pool whose price was said later has one: what was before that has none, and is told of.
        unpriced = {
            job.pool
            for job in jobs
            if job.id in costs and costs[job.id].unpriced_seconds > 0 and costs[job.id].rate is None
        }
        if budget.scope == "job" and budget.subject in costs:
            cost = costs[budget.subject]
            return Spend(
                amounts=cost.cost,
                unpriced=tuple(sorted(unpriced)),
                unpriced_seconds=cost.unpriced_seconds,
            )
        return self.spend_of(budget, now, unpriced=unpriced)

    def _by_budget(self, view: BudgetView, now: float) -> _Found:
        budget = view.budget
        jobs = [self._store.get_job(job_id) for job_id in view.jobs]
        targets = [
            Target(
                job=job.id,
                grace_seconds=job.spec.grace_seconds,
                stopping=job.desired is Desired.STOP,
            )
            for job in jobs
        ]
        begin = f"{budget.id}/{budget.revision}/{view.window.name}"
        ends = ["asked", "spent", "warned"]
        ends += [
            f"{what}/{job.id}" for job in jobs for what in ("asked", "spent", "stop", "warned")
        ]
        claimed = self._store.claimed([f"{begin}/{end}" for end in ends])
        found = steps(
            budget,
            view.verdict,
            targets,
            now=now,
            claimed=claimed,
            grace_seconds=self._settings.save_seconds,
        )
        over = []
        if view.verdict.reach == "within":
            mine = (job for job in jobs if job.notice is not None and job.notice.by == budget.id)
            over = [(job.id, budget.id) for job in mine]
        return _Found(
            decisions=[(each, budget.revision) for each in found],
            over=over,
            due=_due(view, now),
        )

    async def stop_jobs(self, name: str, *, by: str) -> Sequence[str]:
        """Stop the jobs that a budget counts, as it would itself; return which.

        What somebody answers who is asked whether they may go on.
        """
        view = self.view(name)
        budget, now = view.budget, self._wall()
        stopped = []
        for job in [self._store.get_job(job_id) for job_id in view.jobs]:
            allowed = max(job.spec.grace_seconds, self._settings.save_seconds)
            decision = Decision(
                key=f"{budget.id}/{budget.revision}/{view.window.name}/stop/{job.id}",
                by=budget.id,
                kind="stop",
                text=f"budget of {view.name}: {by} had its jobs stopped",
                at=now,
                job=job.id,
                grace_seconds=allowed if budget.grace_seconds is None else budget.grace_seconds,
            )
            await self._act(decision, budget.revision)
            stopped.append(job.id)
        return stopped

    # --- idle GPUs -----------------------------------------------------------------------------

    def _by_use(self, jobs: Sequence[Job], now: float) -> _Found:
        watched = watch_jobs(self._store, jobs, settings=self._settings, now=now)
        wasting = [each.job.id for each in watched if each.verdict.state not in ("busy", "unknown")]
        costs = self._ledger.job_costs(wasting, now=now) if wasting else {}
        decisions = []
        over = []
        for each in watched:
            decision = self._on_use(each, costs.get(each.job.id), now)
            if decision is not None:
                decisions.append((decision, None))
            notice = each.job.notice
            if each.verdict.state == "busy" and notice is not None and notice.by == "idle":
                over.append((each.job.id, "idle"))
        return _Found(decisions=decisions, over=over, due=_LATEST)

    def _on_use(self, watched: Watched, cost: JobCost | None, now: float) -> Decision | None:
        """Return what is to be said or done about a job that does not use its GPUs."""
        job, verdict = watched.job, watched.verdict
        if verdict.state in ("busy", "unknown") or job.desired is Desired.STOP:
            return None
        if watched.stop.wasteful:
            grace = max(job.spec.grace_seconds, self._settings.save_seconds)
            text = f"{_used(watched, cost, now)}; stopped, with {grace:g} s to save"
            return Decision(
                key=f"idle/{job.id}/stop",
                by="idle",
                kind="stop",
                text=text,
                at=now,
                job=job.id,
                grace_seconds=grace,
            )
        if job.notice is not None and job.notice.by == "idle":
            return None  # it has been said
        before = self._store.decisions(by="idle", job=job.id)
        text = f"{_used(watched, cost, now)}; {_comes(watched, now)}"
        key = f"idle/{job.id}/{len(before) + 1}"
        return Decision(key=key, by="idle", kind="warning", text=text, at=now, job=job.id)

    def set_idle(self, name: str, rule: IdleRule | None) -> None:
        """Say what is done about idle GPUs of a pool, or of a job, from now on.

        Raises
        ------
        PoolNotFound, JobNotFound
            There is no such thing.
        """
        if not any(pool.name == name for pool in self._store.list_pools()):
            name = self._store.get_job(name).id
            self._store.take_notice_back(name, by="idle")
        self._store.set_idle_rule(name, rule)
        self._due_at = self._idle_at = float("-inf")

    async def idle(self, *, pool: str | None = None) -> IdleReport:
        """Return who holds GPUs without using them, on one pool or on all, as of now."""
        now = self._wall()
        jobs = self._store.list_jobs(active=True, pool=pool)
        watched = await asyncio.to_thread(
            watch_jobs, self._store, jobs, settings=self._settings, now=now
        )
        idle = [each for each in watched if each.verdict.state not in ("busy", "unknown")]
        costs = self._ledger.job_costs([each.job.id for each in idle], now=now) if idle else {}
        names = [each.name for each in self._store.list_pools() if pool in (None, each.name)]
        looked = await asyncio.gather(*(self._kernels(name, now) for name in names))
        return IdleReport(
            at=now,
            jobs=tuple(_idle_job(each, costs.get(each.job.id), now) for each in idle),
            kernels=tuple(each for some, _ in looked for each in some),
            silent=tuple((name, why) for name, (_, why) in zip(names, looked, strict=True) if why),
        )

    async def _kernels(self, name: str, now: float):  # type: ignore[no-untyped-def]  # noqa: ANN202
        try:
            frame = await self._telemetry.latest(Scope(pool=name), linger=_IDLE_SECONDS)
        except StoreError:
            raise
        except AiInfraError as error:
            return [], error.message
        price = self._ledger.price(name)
        found = await asyncio.to_thread(
            idle_kernels, self._store, frame, pool=name, price=price, now=now
        )
        return found, ""


def _due(view: BudgetView, now: float) -> float:
    """Return how soon the next limit of a budget may be reached."""
    times = [] if view.asks_until is None else [view.asks_until]
    spent, rate = view.verdict.spent, view.rate
    if spent is not None and view.spent_at is not None:
        times.append(view.spent_at)
        warn = limit_of(view.budget) * Fraction(view.budget.warn_share).limit_denominator(10**6)
        if rate is not None and rate.amount and spent < warn:
            times.append(now + float((warn - spent).amount / rate.amount) * _HOUR)
    soonest = min((each - now for each in times), default=_LATEST)
    return min(max(soonest, _SOONEST), _LATEST)


def _idle_job(watched: Watched, cost: JobCost | None, now: float) -> IdleJob:
    job, verdict = watched.job, watched.verdict
    stops_at = None
    if verdict.wasteful and watched.rule.stop_seconds is not None and verdict.since is not None:
        stops_at = verdict.since + watched.rule.stop_seconds
    assert verdict.state != "busy" and verdict.state != "unknown"  # noqa: S101, PT018, PLR1714
    return IdleJob(
        job=job.id,
        name=job.spec.name,
        pool=job.pool,
        gpus=sum(len(place.gpus) for place in job.placement),
        state=verdict.state,
        since=verdict.since,
        why=verdict.why,
        rule=watched.rule,
        stops_at=stops_at,
        rate=None if cost is None else cost.rate,
        cost=wasted(cost, verdict.since, now),
    )


def _used(watched: Watched, cost: JobCost | None, now: float) -> str:
    """Return how long a job has not used its GPUs, why that is known, and what it has cost."""
    verdict = watched.verdict
    since = now - watched.warn_seconds if verdict.since is None else verdict.since
    count = sum(len(place.gpus) for place in watched.job.placement)
    what = f"its {count} GPUs" if count > 1 else "its GPU"
    spent = wasted(cost, since, now)
    paid = f" ({spent.text} since then)" if spent is not None else ""
    if verdict.state == "hung":
        return f"hung: {verdict.why}{paid}"
    return f"idle: {what} computed nothing for {seconds_text(now - since)}{paid}: {verdict.why}"


def _comes(watched: Watched, now: float) -> str:
    rule, verdict = watched.rule, watched.verdict
    if rule.stop_seconds is None:
        return "it is not stopped for it"
    if not verdict.wasteful:
        return "so it is not stopped"
    since = now - watched.warn_seconds if verdict.since is None else verdict.since
    left = max(0.0, since + rule.stop_seconds - now)
    return f"it is stopped in {seconds_text(left)}"
