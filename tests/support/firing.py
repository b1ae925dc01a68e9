"""Processes that fire schedules, in a world whose time is made up and whose jobs are rows only."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection

from jupyter_aiinfra.engine.firing import Firing
from jupyter_aiinfra.errors import Conflict
from jupyter_aiinfra.model import (
    Handle,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Observation,
    Submitter,
)
from jupyter_aiinfra.schedule import Outcome, Run, RunState, Version
from jupyter_aiinfra.store import Store

__all__ = ["Died", "Process", "Simulation", "World"]

_STATES = {
    JobState.SUCCEEDED: RunState.SUCCEEDED,
    JobState.FAILED: RunState.FAILED,
    JobState.CANCELLED: RunState.CANCELLED,
    JobState.LOST: RunState.LOST,
}


_STEP_SECONDS = 25.0


class Died(BaseException):
    """The process is gone: nothing of it catches this."""


@dataclass
class World:
    """What is true whoever looks: the time, the processes that live, the jobs that began.

    Parameters
    ----------
    lasts
        How long the notebook of a run takes, in seconds.
    ends
        How it ends.
    """

    now: float
    lasts: Callable[[Run], float] = lambda _: 20.0
    ends: Callable[[Run], JobState] = lambda _: JobState.SUCCEEDED
    alive: set[str] = field(default_factory=set)
    began: dict[str, Run] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)
    finished: Counter[str] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)

    def begins(self) -> Counter[str]:
        """How often each run's notebook really began."""
        return Counter(run.id for run in self.began.values())


class Process:
    """One server: its own connections, its own clock, and a death at any write or call.

    Parameters
    ----------
    dies
        The probability to die at each write to the database and each call of the runner.
    skew
        How far its clock is off.
    """

    def __init__(
        self,
        world: World,
        store: Store,
        name: str,
        *,
        dies: float = 0.0,
        rng: random.Random | None = None,
        skew: float = 0.0,
        room: int = 1000,
    ) -> None:
        self.world = world
        self.store = store
        self.name = name
        self.dies = dies
        self.skew = skew
        self._rng = rng or random.Random(name)  # noqa: S311 - no secret
        world.alive.add(name)
        if dies:
            self._make_mortal()
        self.firing = Firing(
            store,
            runner=self,
            refresh=self.refresh,
            cancel=self.cancel,
            room_of=lambda _: room,
            longest_seconds=86400.0,
            clock=lambda: world.now + self.skew,
            claimant={"name": name},
            lives=lambda claim: claim.process["name"] in world.alive,
        )

    async def tick(self) -> float:
        """Look, and let what began come to its end; return how long until the next look."""
        tasks = self.firing._tasks
        try:
            pause = await self.firing.tick()
        finally:
            # Of one that is dead each comes to its end at its next write.
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        await self.firing.settled()
        return pause

    def die(self) -> None:
        """Be gone."""
        self.world.alive.discard(self.name)

    def _may_die(self) -> None:
        if self.name not in self.world.alive:
            raise Died
        if self.dies and self._rng.random() < self.dies:
            self.die()
            raise Died

    def _make_mortal(self) -> None:
        database = self.store._database
        write = database.write

        @contextmanager
        def mortal() -> Iterator[Connection]:
            self._may_die()
            with write() as connection:
                yield connection
            self._may_die()

        database.write = mortal  # type: ignore[method-assign]

    # --- the runner ----------------------------------------------------------------------------

    async def launch_run(self, run: Run, version: Version) -> str:
        """Begin the job of a run: recorded, then bound, as the engine does it."""
        assert run.job is not None
        self._may_die()
        spec = JobSpec(kind=JobKind.NOTEBOOK, name="nightly", argv=("python",))
        submitter = Submitter(host="here", process={"name": self.name}, since=self.world.now)
        job = Job(id=run.job, pool=version.pool, spec=spec, submitter=submitter)
        try:
            self.store.add_job(job)
        except Conflict:
            return run.job
        self._may_die()
        assert run.job not in self.world.began, "a job began twice"
        self.world.began[run.job] = run
        self.world.until[run.job] = self.world.now + self.world.lasts(run)
        self.store.bind(run.job, handle=Handle(kind="made-up", data={"job": run.job}))
        self._may_die()
        return run.job

    async def finish_run(self, run: Run, _version: Version, job: Job) -> Outcome:
        """Count it; the state is the job's."""
        self._may_die()
        self.world.finished[run.id] += 1
        return Outcome(state=_STATES[job.state], outputs={"ipynb": f"file:///{job.id}"})

    async def expire(self, _schedule: str, _version: Version) -> Sequence[str]:
        """Remove nothing."""
        return ()

    # --- the engine ----------------------------------------------------------------------------

    async def refresh(self, job_id: str) -> Job:
        """See how far a job is; one that was not bound by who launched it is bound, or failed."""
        job = self.store.get_job(job_id)
        if job.state.final:
            return job
        if job.handle is None:
            assert job.submitter is not None
            if job.submitter.process["name"] not in self.world.alive:
                if job_id in self.world.began:
                    self.store.bind(job_id, handle=Handle(kind="made-up", data={"job": job_id}))
                else:
                    self.store.fail_pending(job_id, reason="its launcher died")
            return self.store.get_job(job_id)
        state = JobState.RUNNING
        if job_id in self.world.cancelled:
            state = JobState.CANCELLED
        elif self.world.now >= self.world.until[job_id]:
            state = self.world.ends(self.world.began[job_id])
        if state is not job.state:
            seen = Observation(state=state, seen_at=self.world.now)
            self.store.advance(job_id, expected=job.version, seen=seen)
        return self.store.get_job(job_id)

    async def cancel(self, job_id: str) -> Job:
        """End a job."""
        self.world.cancelled.add(job_id)
        return await self.refresh(job_id)


@dataclass(order=True)
class _Turn:
    at: float
    number: int
    process: Process | None = field(compare=False, default=None)


class Simulation:
    """Processes that come, look when they said that they would, die, and come again."""

    def __init__(
        self,
        world: World,
        open_store: Callable[[], Store],
        *,
        rng: random.Random,
        dies: float,
        away: Callable[[], float],
        skew: float = 0.0,
        step_seconds: float = _STEP_SECONDS,
    ) -> None:
        self.world = world
        self.looks: list[float] = []
        self.deaths = 0
        self.ticks = 0
        self._open = open_store
        self._rng = rng
        self._dies = dies
        self._away = away
        self._skew = skew
        self._step_seconds = step_seconds
        self._count = 0
        self._turns: list[_Turn] = []

    def add(self, at: float) -> None:
        """Have another process come at a time."""
        self._count += 1
        heapq.heappush(self._turns, _Turn(at, self._count))

    def spare(self) -> None:
        """Let nobody die from now on."""
        self._dies = 0.0
        for turn in self._turns:
            if turn.process is not None:
                turn.process.dies = 0.0

    def strike(self, away: float) -> None:
        """Have all processes that there are die at once, and come again so much later."""
        for turn in self._turns:
            if turn.process is not None:
                turn.process.die()
                turn.process.store.close()
                self.deaths += 1
        count, self._turns = len(self._turns), []
        for _ in range(count):
            self.add(self.world.now + away)

    def jump(self, skew: float) -> int:
        """Have the clock of one process be wrong by so much; with 0 all are right again."""
        living = [turn for turn in self._turns if turn.process is not None]
        for turn in living if not skew else self._rng.sample(living, 1):
            assert turn.process is not None
            turn.process.skew = skew
            turn.at = self.world.now  # a wrong clock is noticed, and looked at anew
        heapq.heapify(self._turns)
        return int(bool(skew))

    async def run(self, until: float) -> None:
        """Let time pass."""
        while self._turns and self._turns[0].at <= until:
            turn = heapq.heappop(self._turns)
            self.world.now = max(turn.at, self.world.now)
            process = turn.process or Process(
                self.world,
                self._open(),
                f"p{turn.number}",
                dies=self._dies,
                rng=self._rng,
                skew=self._rng.uniform(-self._skew, self._skew),
            )
            self.ticks += 1
            try:
                pause = await process.tick()
            except Died:
                pause = 0.0
            else:
                self.looks.append(self.world.now)
            if process.name not in self.world.alive:
                self.deaths += 1
                process.store.close()
                self.add(self.world.now + self._away())
                continue
            # While something runs one looks all the time: the world takes larger steps.
            pause = max(pause, self._step_seconds)
            heapq.heappush(self._turns, _Turn(self.world.now + pause, turn.number, process))
