"""Who fires: decides on slots that are due, starts runs, and sees to their ends.

Any number of processes may do this on one store at once, and any of them may die at any moment.
What is decided is written once, by whoever comes first; a run's job has its id before it is
launched, so that who goes on with a run after another's death cannot launch it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from jupyter_aiinfra.engine.ends import Ends, Runner, run_of
from jupyter_aiinfra.engine.poolfired import LOOK_SECONDS, PoolFired
from jupyter_aiinfra.engine.watched import fingerprint, look_seconds
from jupyter_aiinfra.errors import AiInfraError, NotFound, StoreError, Unreachable, UsageError
from jupyter_aiinfra.model import Desired, Job, Submitter, new_job_id
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.promote.crontab import pool_fires
from jupyter_aiinfra.promote.policy import SET_BACK_SECONDS, Ruling, Verdict, room, rule, rule_event
from jupyter_aiinfra.promote.triggers import Timetable, timetable_of
from jupyter_aiinfra.schedule import Outcome, Run, RunState, Version
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.runs import Decided
from jupyter_aiinfra.store.schedules import DueSchedule

__all__ = ["CLAIM_SECONDS", "Firing", "UntilGone"]

UntilGone = Callable[[str], Awaitable[bool]]
"""Waits until a job may be over; ``False`` at once where nobody tells that."""

CLAIM_SECONDS: Final = 300.0
"""How long a claim is honoured of a process of which it cannot be seen whether it lives."""

_REST_SECONDS: Final = 3600.0
_SETTLE_SECONDS: Final = 0.5
_SETTLE_LONGEST_SECONDS: Final = 5.0
_DECIDE_SECONDS: Final = 0.25
_DECIDED_AT_ONCE: Final = 100
_FILE_SECONDS: Final = 30.0
_CLEAR_SECONDS: Final = 10.0


class Firing:
    """Looks at the schedules when they are due; keeps nothing that another could not go on with.

    Parameters
    ----------
    runner
        Starts and finishes runs.
    refresh, cancel, until_gone
        Those of the engine, of jobs.
    room_of
        How many runs may be at work at once on a pool.
    longest_seconds
        How long at most until the next look: others may have changed something meanwhile.
    clock
        The time; tests have their own.
    claimant, lives
        Who this is, and whether another is there still.
    nodes
        The schedules that cron of a pool fires; they are only looked at here.

    Attributes
    ----------
    bell
        Called, in the loop that ticks, when there is something to do before the pause is over.
    """

    def __init__(
        self,
        store: Store,
        *,
        runner: Runner,
        refresh: Callable[[str], Awaitable[Job]],
        cancel: Callable[[str], Awaitable[Job]],
        room_of: Callable[[str], int],
        until_gone: UntilGone | None = None,
        longest_seconds: float = 10.0,
        clock: Callable[[], float] = time.time,
        claimant: Mapping[str, Any] | None = None,
        lives: Callable[[Submitter], bool] | None = None,
        nodes: PoolFired | None = None,
    ) -> None:
        self._store = store
        self._runner = runner
        self._refresh = refresh
        self._cancel = cancel
        self._room_of = room_of
        self._until_gone = until_gone
        self._nodes = nodes
        self._cleared = -_CLEAR_SECONDS
        self._clock = clock
        self._longest_seconds = longest_seconds
        self._ends = Ends(store, runner=runner, clock=clock)
        token = {"engine": secrets.token_hex(8)}
        identity = supervise.identity(os.getpid()) or {}
        self._me = dict(claimant) if claimant is not None else {**identity, **token}
        self._lives = lives or _lives
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._heard: dict[str, asyncio.Task[None]] = {}
        self._rung = asyncio.Event()
        self.bell: Callable[[], None] = _nobody
        self._looked: dict[str, float] = {}
        self._versions: dict[tuple[str, int], tuple[Version, Timetable]] = {}
        self.problems: dict[str, str] = {}

    # --- the tick ------------------------------------------------------------------------------

    async def tick(self) -> float:
        """Do all that is due; return how many seconds later something will be, as far as known.

        Launches and ends go on beside it. A schedule that cannot be decided on is paused, with the
        reason; everything else that fails is tried again with the next tick.
        """
        now = self._clock()
        more = await self._decide(now)
        self._clear_nodes(now)
        active = self._store.active_runs()
        self._take_over(active, now)
        started = self._start(active, now)
        self._settle(active, now)
        # From now on, not from when we began: to look takes a while beside thousands.
        return 0.0 if more else self._pause(active, self._clock(), started=started)

    async def settled(self) -> None:
        """Wait until what this process starts and ends just now is started and ended."""
        while self._tasks:
            await asyncio.wait([*self._tasks.values()])
            await asyncio.sleep(0)  # what is done says so in the loop's next turn

    async def rest(self, seconds: float) -> None:
        """Wait so long, or until there is something to do."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._rung.wait(), seconds)
        self._rung.clear()

    def _ring(self) -> None:
        self._rung.set()
        self.bell()

    async def aclose(self) -> None:
        """Let what is being started get to its pool; the rest is left to other processes."""
        await self.settled()
        for task in self._heard.values():
            task.cancel()
        await asyncio.gather(*self._heard.values(), return_exceptions=True)

    def _pause(self, active: Sequence[Run], now: float, *, started: bool) -> float:
        due = self._store.next_due()
        if due is None and not active:
            return _REST_SECONDS  # nothing comes by the clock; who changes that rings
        waits = [_SETTLE_SECONDS if started else self._longest_seconds]
        if due is not None:
            waits.append(due - now)
        for run in active:
            if run.state is not RunState.QUEUED:
                age = abs(now - (run.started_at or now))
                waits.append(min(max(0.01 * age, _SETTLE_SECONDS), _SETTLE_LONGEST_SECONDS))
            elif run.start_at > now:
                waits.append(run.start_at - now)
        return max(min(waits), 0.0)

    def _claim(self, now: float) -> Submitter:
        return Submitter(host=socket.gethostname(), process=self._me, since=now)

    def _is_held(self, run: Run, now: float) -> bool:
        """Whether some process is at work on a run just now, as far as can be told here."""
        claim = run.claim
        if claim is None:
            return False
        if dict(claim.process) == self._me:
            return run.id in self._tasks
        # A clock that was put back makes a claim no older than it is.
        return abs(now - claim.since) < CLAIM_SECONDS and self._lives(claim)

    def _of(self, schedule: str, number: int) -> tuple[Version, Timetable]:
        """Return a version, which never changes, and its timetable."""
        known = self._versions.get((schedule, number))
        if known is None:
            version = self._store.schedule_version(schedule, number)
            known = self._versions[schedule, number] = (version, timetable_of(version))
            while len(self._versions) > _KEPT:
                del self._versions[next(iter(self._versions))]
        return known

    # --- slots ---------------------------------------------------------------------------------

    async def _decide(self, now: float) -> bool:
        """Decide on the slots that are due; whether there are more that wait."""
        until = time.monotonic() + _DECIDE_SECONDS
        while True:
            due = self._store.due_schedules(
                now, ahead_seconds=SET_BACK_SECONDS, limit=_DECIDED_AT_ONCE
            )
            if not due:
                return False
            decided = [found for each in due if (found := await self._decided(each, now))]
            if decided:
                self._store.decide_schedules(decided)
            if any(each.next_due is not None and each.next_due <= now for each in decided):
                return True  # more of the same is caught up after the others
            if len(due) < _DECIDED_AT_ONCE:
                return False  # there were no others
            if time.monotonic() >= until:
                return True

    async def _decided(self, due: DueSchedule, now: float) -> Decided | None:
        if self._nodes is not None and pool_fires(due.version):
            # Asked beside it all: a node takes its time. Who writes that down first is who asks.
            if due.schedule.id not in self._tasks:
                self._begin(due.schedule.id, self._nodes.ask(due.schedule, due.version))
            return Decided(schedule=due.schedule, decided=now, next_due=now + LOOK_SECONDS)
        try:
            times = self._times(due.version)
            ruling = rule(due.schedule, due.version, due.active, now=now, timetable=times)
        except UsageError as error:
            # Such as a zone that is known no more. It must not keep the others from their slots.
            self._store.change_schedule(
                due.schedule,
                event="schedule.paused",
                paused_at=now,
                pause_reason=error.message,
                next_due=None,
            )
            return None
        verdicts, seen, next_due = ruling.verdicts, None, ruling.next_due
        if due.schedule.watched is not None:
            seen, news = await self._watched(due, ruling, now)
            verdicts = (*verdicts, *news)
            look = now + look_seconds(due.version)
            next_due = look if next_due is None else min(next_due, look)
        return Decided(
            schedule=due.schedule,
            decided=ruling.decided,
            next_due=next_due,
            seen=seen,
            runs=tuple(run_of(due.schedule, due.version, each, now=now) for each in verdicts),
            cancel=tuple(name for each in verdicts for name in each.cancel),
        )

    def _times(self, version: Version) -> Timetable:
        known = self._versions.get((version.schedule, version.number))
        return timetable_of(version) if known is None else known[1]

    async def _watched(
        self, due: DueSchedule, ruling: Ruling, now: float
    ) -> tuple[str | None, list[Verdict]]:
        """Look at the file that a schedule watches; return what it looks like, and what follows."""
        path = due.schedule.watched
        assert path is not None  # noqa: S101 - the caller looked
        try:
            seen = await asyncio.wait_for(asyncio.to_thread(fingerprint, path), _FILE_SECONDS)
        except (OSError, AiInfraError, asyncio.TimeoutError, ValueError, ImportError) as error:
            self.problems[due.schedule.id] = f"{path}: {str(error) or 'no answer'}"
            return None, []
        self.problems.pop(due.schedule.id, None)
        if due.schedule.seen is None or seen in ("", due.schedule.seen):
            return seen, []
        others = [run_of(due.schedule, due.version, each, now=now) for each in ruling.verdicts]
        active = [*due.active, *(run for run in others if not run.state.final)]
        verdict = rule_event(
            due.schedule, due.version, active, key=f"file:{seen}", trigger="file", now=now
        )
        return seen, [] if verdict is None else [verdict]

    def _clear_nodes(self, now: float) -> None:
        """Have nodes fire nothing any more that was paused or removed meanwhile."""
        if self._nodes is None or abs(now - self._cleared) < _CLEAR_SECONDS:
            return
        self._cleared = now
        for schedule in self._store.left_on_nodes():
            if schedule.id not in self._tasks:
                self._begin(schedule.id, self._nodes.clear(schedule))

    # --- starting ------------------------------------------------------------------------------

    def _start(self, active: Sequence[Run], now: float) -> bool:
        """Start the waiting runs that there is room for; whether there are any."""
        if not any(run.state is RunState.QUEUED and run.start_at <= now for run in active):
            return False
        by_schedule: dict[str, list[Run]] = {}
        busy: dict[str, int] = {}
        for run in active:
            by_schedule.setdefault(run.schedule, []).append(run)
            if run.state is not RunState.QUEUED:
                pool = self._of(run.schedule, run.version)[0].pool
                busy[pool] = busy.get(pool, 0) + 1
        ready: list[Run] = []
        for runs in by_schedule.values():
            ready += room(self._of(runs[-1].schedule, runs[-1].version)[0].policy, runs, now=now)
        wanted = []
        for run in sorted(ready, key=lambda run: (run.start_at, run.created_at, run.id)):
            pool = self._of(run.schedule, run.version)[0].pool
            if busy.get(pool, 0) < self._room_of(pool):
                busy[pool] = busy.get(pool, 0) + 1
                wanted.append((run, new_job_id()))
        if wanted:
            for run in self._store.claim_runs(wanted, claim=self._claim(now)):
                self._begin(run.id, self._launch(run))
        return bool(wanted)

    def _take_over(self, active: Sequence[Run], now: float) -> None:
        """Go on with the runs whose starter has died on the way."""
        for run in active:
            if run.state is RunState.DUE and not self._is_held(run, now):
                mine = self._store.change_run(run, claim=self._claim(now))
                if mine is not None:
                    self._begin(run.id, self._launch(mine))

    async def _launch(self, run: Run) -> None:
        """Launch a run that this process has claimed. How that ends is in the record."""
        version = self._of(run.schedule, run.version)[0]
        if run.stop:
            self._ends.end(
                run, version, Outcome(state=RunState.CANCELLED, reason=run.reason), run.job
            )
            return
        try:
            job_id = await self._runner.launch_run(run, version)
        except StoreError:
            raise  # nothing can be written down; the claim is taken over
        except (UsageError, NotFound) as error:
            failed = Outcome(state=RunState.FAILED, reason=error.message, retry=False)
            self._ends.end(run, version, failed, run.job)
        except AiInfraError as error:
            self._ends.end(
                run, version, Outcome(state=RunState.FAILED, reason=error.message), run.job
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the run must not hang for ever
            said = f"{type(error).__name__}: {error}"
            self._ends.end(run, version, Outcome(state=RunState.FAILED, reason=said), run.job)
        else:
            values = {"state": RunState.RUNNING, "job": job_id, "claim": None}
            self._ends.change(run, **values, started_at=run.started_at or self._clock())
            self._looked[run.id] = self._clock()  # nothing is news of it yet
            self._listen(run.id, job_id)

    def _listen(self, run_id: str, job_id: str) -> None:
        """Hear of the end of a job at once, where that can be; else it is seen in a while."""
        if self._until_gone is None:
            return
        hearing = self._hear(self._until_gone, run_id, job_id)
        task = self._heard[run_id] = asyncio.ensure_future(hearing)
        task.add_done_callback(lambda _: self._heard.pop(run_id, None))

    async def _hear(self, until_gone: UntilGone, run_id: str, job_id: str) -> None:
        # What cannot be told so, or goes wrong, is found out by looking.
        with contextlib.suppress(AiInfraError, OSError):
            if not await until_gone(job_id):
                return
            job = await self._refresh(job_id)
            run = self._store.get_run(run_id)
            if not job.state.final or run.state is not RunState.RUNNING or run.job != job_id:
                return
            if run_id in self._tasks or self._is_held(run, self._clock()):
                return
            mine = self._store.change_run(run, claim=self._claim(self._clock()))
            if mine is not None:
                version = self._of(mine.schedule, mine.version)[0]
                self._begin(run_id, self._finish(mine, version, job))

    # --- ending --------------------------------------------------------------------------------

    def _settle(self, active: Sequence[Run], now: float) -> None:
        """See to the runs that have a job: observe it, end it where that is wanted, finish it."""
        running = [run for run in active if run.state is RunState.RUNNING]
        if not running:
            return
        jobs = {job.id: job for job in self._store.jobs_by_id([run.job or "" for run in running])}
        self._looked = {run.id: self._looked.get(run.id, 0.0) for run in running}
        for run in running:
            if run.id in self._tasks or self._is_held(run, now):
                continue
            job = jobs.get(run.job or "")
            if job is None or job.state.final:
                mine = self._store.change_run(run, claim=self._claim(now))
                if mine is not None:
                    version = self._of(mine.schedule, mine.version)[0]
                    self._begin(run.id, self._finish(mine, version, job))
            elif run.stop and job.desired is not Desired.STOP:
                self._begin(run.id, self._stop(job.id))
            elif abs(now - self._looked[run.id]) >= _observed_every(run, now):
                self._looked[run.id] = now
                self._begin(run.id, self._observe(job.id))

    async def _finish(self, run: Run, version: Version, job: Job | None) -> None:
        await self._ends.finish(run, version, job)
        self._ring()  # another may have waited for its place

    async def _stop(self, job_id: str) -> None:
        with contextlib.suppress(Unreachable):  # the wish is on record, and asked for again
            await self._cancel(job_id)

    async def _observe(self, job_id: str) -> None:
        # Of a pool that does not answer nothing is known; who looks at it is told.
        with contextlib.suppress(AiInfraError):
            if (await self._refresh(job_id)).state.final:
                self._ring()

    def _begin(self, run_id: str, work: Coroutine[Any, Any, None]) -> None:
        async def go() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - one run; said, and tried again
                self.problems[run_id] = f"{type(error).__name__}: {error}"
            else:
                self.problems.pop(run_id, None)

        task = self._tasks[run_id] = asyncio.ensure_future(go())
        # Not by `finally`: of a task that is cancelled before its first step nothing is run.
        task.add_done_callback(lambda _: self._tasks.pop(run_id, None))


_KEPT: Final = 20_000


def _nobody() -> None:
    """Tell nobody."""


def _lives(claim: Submitter) -> bool:
    if claim.host != socket.gethostname():
        return True  # it cannot be seen from here: the claim holds until it is old
    return bool(claim.process) and supervise.alive(dict(claim.process))


def _observed_every(run: Run, now: float) -> float:
    """Return how often a job is observed: a young one once a second, an old one less often."""
    age = now - (run.started_at or now)
    return min(max(0.01 * age, 1.0), 10.0)
