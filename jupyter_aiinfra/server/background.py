"""What the server does by itself: watch the record, refresh jobs, ask pools, read logs and GPUs.

While nobody is connected and no job runs, nothing is done but a look at the record every few
seconds. What fails is said once, with its stack, and tried again with growing pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from traitlets import Enum, Float
from traitlets.config import LoggingConfigurable

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import AiInfraError, JobNotFound, PoolError, PoolNotFound
from jupyter_aiinfra.model import Desired, JobState
from jupyter_aiinfra.server.budgets import all_budgets
from jupyter_aiinfra.server.events import EventBus
from jupyter_aiinfra.server.gpuwatch import GpuWatch
from jupyter_aiinfra.server.hub import BUDGETS, POOLS, Hub
from jupyter_aiinfra.server.jobs import job_item
from jupyter_aiinfra.server.pace import Alarm, Pace, Paces
from jupyter_aiinfra.server.record import RecordWatch, StoreFile
from jupyter_aiinfra.server.runwatch import RunWatch
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import (
    GoneNews,
    JobItem,
    LogNews,
    LogRows,
    PoolItem,
    PoolsNews,
    PoolStatus,
    ProblemNews,
    Topic,
)
from jupyter_aiinfra.settings import load_settings

__all__ = ["BACKGROUND_SETTING", "Background", "Board", "Book"]

BACKGROUND_SETTING = "jupyter_aiinfra_background"

_FAILED_PAUSE_SECONDS = 1.0  # doubled with each failure in a row
_LONGEST_PAUSE_SECONDS = 60.0
_REST_SECONDS = 3600.0  # until woken
_REFRESH_SHARE = 0.01
_LOG_ROWS = 200
_LEAKS = "! leaks"  # no name of a pool begins so
_GPUS_SECONDS = 1.0
_GOVERN_SECONDS = 1.0
_BUDGETS_SECONDS = 60.0
_LOOPS = (
    *("record", "jobs", "pools", "logs", "gpus", "cost", "budgets", "schedules"),
    *("runs", "notebooks", "notices", "endpoints"),
)
_ON_NODES = (JobState.STARTING, JobState.RUNNING)


class Board(Protocol):
    """What this needs of :class:`~jupyter_aiinfra.server.pools.PoolBoard`."""

    changed: list[Callable[[], None]]

    async def items(self) -> tuple[PoolItem, ...]:
        """Return every attached pool, as it was when last asked."""
        ...

    async def check(self, name: str) -> PoolItem:
        """Ask the pool itself."""
        ...


class Book(Protocol):
    """What this needs of :class:`~jupyter_aiinfra.server.logs.LogBook`."""

    async def rows(self, job_id: str, rank: int, first: int, count: int) -> LogRows:
        """Return rows of a log; a negative `first` counts from the end."""
        ...


class Background(LoggingConfigurable):
    """The loops, all in the server's event loop; what takes long is awaited elsewhere.

    ``start`` and ``stop`` may be called more than once.

    Parameters
    ----------
    engine
        The server's.
    hub
        Who watches what.
    bus
        Where what the record says is told, whether anybody watches or not.
    board, book
        What is known of the pools, and of the logs.
    """

    watch_seconds = Float(0.5, help="How often the record is looked at while jobs are active.").tag(
        config=True
    )
    calm_seconds = Float(
        1.0, help="How often the record is looked at while somebody watches and no job is active."
    ).tag(config=True)
    sure_seconds = Float(
        5.0,
        help="How long to rely on the times of the database's file before asking it, after it "
        "changed; longer and longer while nothing is new.",
    ).tag(config=True)
    sure_longest_seconds = Float(
        30.0, help="How long to rely on the times of the database's file at most."
    ).tag(config=True)
    idle_seconds = Float(
        5.0, help="How often the record is looked at while nobody watches and no job is active."
    ).tag(config=True)
    refresh_seconds = Float(
        1.0, help="How often a young job is observed; an old one is observed less often."
    ).tag(config=True)
    refresh_longest_seconds = Float(
        10.0, help="How often a job is observed at least, while its pool answers."
    ).tag(config=True)
    pool_seconds = Float(
        30.0, help="How often a pool is asked while somebody watches the pools."
    ).tag(config=True)
    pool_degraded_seconds = Float(
        10.0, help="How soon a pool is asked again of which some nodes do not answer, at first."
    ).tag(config=True)
    pool_longest_seconds = Float(
        300.0, help="How often a pool is asked at least that does not answer, while watched."
    ).tag(config=True)
    budget_seconds = Float(
        5.0, help="How often who watches budgets is told how far they are spent."
    ).tag(config=True)
    cost_seconds = Float(
        60.0, help="How often what jobs cost is brought up to date, while jobs are active."
    ).tag(config=True)
    log_seconds = Float(0.125, help="How often at most a watched log is told of.").tag(config=True)
    log_longest_seconds = Float(
        0.5, help="How often a watched log is looked at that has not grown for long."
    ).tag(config=True)

    record_gpus = Enum(
        ("never", "jobs", "always"),
        "jobs",
        help="""When GPUs are read that nobody looks at, so that charts of last week have them:
        while jobs run on their pool, always (which keeps a connection to each node), or never.
        What somebody looks at is kept in any case.""",
    ).tag(config=True)

    def __init__(
        self,
        engine: SharedEngine,
        *,
        hub: Hub,
        bus: EventBus,
        board: Board,
        book: Book,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hub = hub
        self.record = RecordWatch(engine, hub, bus)
        self._engine = engine
        self._bus = bus
        self._board = board
        self._book = book
        self._file: StoreFile | None = None
        self._looked_at = float("-inf")
        self._leaks_told = False
        self._governed_at = float("-inf")
        self._sure_pause = 0.0
        self._stale_pools = False
        self._jobs = Paces()
        self._pools = Paces()
        self._logs = Paces()
        self._visits: dict[str, asyncio.Task[None]] = {}
        self._failing: dict[str, set[str]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gpus = GpuWatch(engine, hub, fails=self._fails)
        self._runs = RunWatch(engine, hub, ring=self._on_runs, fails=self._fails)
        self._recorded: frozenset[str] = frozenset()
        self._alarms = {name: Alarm() for name in _LOOPS}

    # --- its life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, in the running event loop."""
        if self._tasks:
            return
        self._loop = asyncio.get_running_loop()
        self.hub.on_watch = self.poke
        self.record.on_change = self._on_record
        self.record.on_events = self._runs.note
        self._board.changed.append(self._on_pools)
        # The server answers its first requests first.
        steps = {
            "record": (self._watch_record, self.idle_seconds),
            "jobs": (self._refresh_jobs, _REST_SECONDS),
            "pools": (self._ask_pools, _REST_SECONDS),
            "logs": (self._read_logs, _REST_SECONDS),
            "gpus": (self._read_gpus, self.idle_seconds),
            "cost": (self._settle_cost, self.idle_seconds),
            "budgets": (self._govern, self.idle_seconds),
            "schedules": (self._fire, self.idle_seconds),
            "runs": (self._tell_runs, _REST_SECONDS),
            "notebooks": (self._read_notebooks, _REST_SECONDS),
            "notices": (self._notify, self.idle_seconds),
            "endpoints": (self._keep_endpoints, self.idle_seconds),
        }
        self._tasks = [
            asyncio.create_task(self._repeat(name, step, pause), name=f"aiinfra-{name}")
            for name, (step, pause) in steps.items()
        ]

    async def stop(self) -> None:
        """End all that is going on; return once it has ended."""
        tasks, self._tasks = [*self._tasks, *self._visits.values()], []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._gpus.stop()
        await self._runs.stop()
        self._recorded = frozenset()
        if self._on_pools in self._board.changed:
            self._board.changed.remove(self._on_pools)

    def poke(self) -> None:
        """Look at everything now: somebody watches anew, or has changed something."""
        self._stale_pools = True
        for alarm in self._alarms.values():
            alarm.ring()

    def _on_record(self) -> None:
        self._stale_pools = True
        self._alarms["pools"].ring()
        self._alarms["jobs"].ring()
        self._alarms["gpus"].ring()
        self._alarms["cost"].ring()
        self._alarms["budgets"].ring()
        self._alarms["schedules"].ring()
        self._alarms["notices"].ring()
        self._alarms["endpoints"].ring()

    def _on_pools(self) -> None:
        self._stale_pools = True
        self._alarms["pools"].ring()

    async def _repeat(
        self, name: str, step: Callable[[bool], Awaitable[float]], pause: float
    ) -> None:
        """Do `step` for ever; it returns how long to wait until it is due again."""
        alarm = self._alarms[name]
        failures = 0
        while True:
            rung = await alarm.wait(pause)
            try:
                pause = await step(rung)
                failures = 0
                self._works(name)
            except Exception as error:  # noqa: BLE001 - nothing may end a loop
                self._fails(name, error)
                failures += 1
                pause = min(_FAILED_PAUSE_SECONDS * 2.0 ** (failures - 1), _LONGEST_PAUSE_SECONDS)

    def _fails(self, name: str, error: Exception) -> None:
        """Log a failure, with its stack; the same again is not worth a second line."""
        kind = f"{type(error).__name__}: {error}"
        known = self._failing.setdefault(name, set())
        if kind not in known:
            known.add(kind)
            self.log.error("aiinfra: %s failed, and is tried again", name, exc_info=error)

    def _works(self, name: str) -> None:
        if self._failing.pop(name, None):
            self.log.info("aiinfra: %s works again", name)

    # --- the record ----------------------------------------------------------------------------

    async def _watch_record(self, rung: bool) -> float:  # noqa: FBT001 - see _repeat
        if self._file is None:
            self._file = StoreFile(load_settings().database)
        if self._file.missing and not self.hub.topics:
            # Nobody has used any of this yet: no folder is made for it.
            return self.idle_seconds
        now = time.monotonic()
        # A change that comes with another, in one tick of the file system's clock, shows only here.
        sure = now - self._looked_at >= self._sure_pause
        moved = self._file.moved() or rung
        if moved or sure:
            longest = max(self.sure_seconds, self.sure_longest_seconds)
            self._sure_pause = self.sure_seconds if moved else min(2 * self._sure_pause, longest)
            await self.record.look()
            self._looked_at = now
            if not self._leaks_told:
                self._leaks_told = True
                self._visits[_LEAKS] = asyncio.create_task(self._tell_leaks())
        if self.record.active:
            return self.watch_seconds
        return self.calm_seconds if self.hub.topics else self.idle_seconds

    async def _tell_leaks(self) -> None:
        """Log once what runs on the pools that nobody records."""
        try:
            leaks = await self._engine.run(lambda e: e.leaks(everywhere=True))
            for name, found in leaks.items():
                jobs = ", ".join(found.orphans)
                self.log.warning("aiinfra: on %s runs what nobody records: %s", name, jobs)
        except Exception as error:  # noqa: BLE001 - nothing else is to suffer from it
            self._fails("looking for what nobody records", error)
        finally:
            del self._visits[_LEAKS]

    # --- jobs ----------------------------------------------------------------------------------

    async def _refresh_jobs(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Start a visit to each pool with jobs that are due; a slow pool holds up no other."""
        self._jobs.keep(self.record.active)
        now = time.monotonic()
        due: dict[str, list[str]] = {}
        for job in self.record.active.values():
            pace = self._jobs.of(job.id)
            # What is wanted of it has changed: its end may be near.
            asked, pace.seen = pace.seen is not job.desired, job.desired
            if asked or pace.due_at <= now:
                due.setdefault(job.pool, []).append(job.id)
        for pool, ids in due.items():
            if pool not in self._visits:
                self._visits[pool] = asyncio.create_task(self._visit(pool, ids))
        return self.refresh_seconds if self.record.active else _REST_SECONDS

    async def _visit(self, pool: str, ids: list[str]) -> None:
        begun_at = time.monotonic()
        seen: list[JobItem] = []
        news = False
        try:
            for job_id in ids:
                pause = self._refresh_pause(job_id)
                try:
                    seen.append(await self._engine.run(lambda e: _refresh(e, job_id)))  # noqa: B023
                    news |= self.record.heard(job_id, at=time.time())
                except JobNotFound:
                    self.record.forget(job_id)
                except (PoolError, PoolNotFound) as error:
                    # It may be that it does not answer: whoever watches the pools is told.
                    pause = self._longer(job_id)
                    news |= self.record.silent(job_id, error.message)
                    self._check_soon(pool)
                self._jobs.rest(job_id, pause)
            self._works(f"refreshing {pool}")
        except Exception as error:  # noqa: BLE001 - one of the loops
            self._fails(f"refreshing {pool}", error)
            for job_id in ids:
                self._jobs.rest(job_id, self._longer(job_id))
        finally:
            del self._visits[pool]
        news |= self.record.note(seen)
        if news and self.hub.of("job"):
            self._alarms["record"].ring()
        # Of many jobs, or slow ones, each is seen less often: this takes a small part of the time.
        # Not without bound: a host that is waited for costs nothing, and may soon be back.
        spent = time.monotonic() - begun_at
        rest = min(9 * spent, 3 * self.refresh_longest_seconds)
        for job_id in ids:
            pace = self._jobs.of(job_id)
            pace.due_at = max(pace.due_at, time.monotonic() + rest)

    def _refresh_pause(self, job_id: str) -> float:
        job = self.record.active.get(job_id)
        if job is None or job.desired is Desired.STOP:
            return self.refresh_seconds
        age = time.time() - job.created_at
        return min(max(_REFRESH_SHARE * age, self.refresh_seconds), self.refresh_longest_seconds)

    def _longer(self, job_id: str) -> float:
        before = self._jobs.of(job_id).pause or self.refresh_seconds
        return min(2 * before, _LONGEST_PAUSE_SECONDS)

    # --- pools ---------------------------------------------------------------------------------

    async def _ask_pools(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Tell how the pools are, and ask those that are due while somebody watches."""
        watched = self.hub.watches(POOLS)
        if not watched and not self._stale_pools:
            return _REST_SECONDS
        if self._file is None or (self._file.missing and not watched):
            return _REST_SECONDS
        self._stale_pools = False
        try:
            pools = await self._board.items()
        except AiInfraError as error:
            self._stale_pools = True
            self.hub.fail(POOLS, _problem(error, POOLS))
            raise
        self.hub.tell(POOLS, PoolsNews(pools=pools))
        self._bus.tell_reachability(pools)
        self._pools.keep({pool.name for pool in pools})
        if not watched:
            return _REST_SECONDS
        now = time.time()
        for pool in pools:
            if pool.checked_at is not None and now >= self._pool_due(pool):
                self._check_soon(pool.name)
        waits = [self._pool_due(pool) - now for pool in pools if pool.checked_at is not None]
        return max(min(waits, default=_REST_SECONDS), 1.0)

    def _pool_due(self, pool: PoolItem) -> float:
        """When to ask `pool` again, by the wall clock; later and later where it does not answer."""
        pace = self._pools.of(pool.name)
        if (pool.checked_at, pool.status) != pace.seen:
            before = pace.seen[1] if pace.seen else None
            pace.seen = (pool.checked_at, pool.status)
            again = 2 * pace.pause if pool.status is before else 0.0
            if pool.status is PoolStatus.UNREACHABLE:
                longer = min(2 * pace.pause, self.pool_longest_seconds)
                pace.pause = max(self.pool_seconds, longer)
            elif pool.status is PoolStatus.DEGRADED:
                # Its jobs may wait for the nodes that are missing.
                soon = min(self.pool_degraded_seconds, self.pool_seconds)
                pace.pause = max(soon, min(again, self.pool_seconds))
            else:
                pace.pause = self.pool_seconds
        return (pool.checked_at or 0.0) + pace.pause

    def _check_soon(self, name: str) -> None:
        """Ask the pool itself, without waiting for what it says."""
        if f"? {name}" not in self._visits:
            self._visits[f"? {name}"] = asyncio.create_task(self._check(name))

    async def _check(self, name: str) -> None:
        try:
            await self._board.check(name)
        except PoolNotFound:
            self.log.debug("aiinfra: pool %s was detached while it was asked", name)
            self._on_pools()
        except Exception as error:  # noqa: BLE001 - one of the loops
            self._fails(f"asking {name}", error)
            self._on_pools()
        finally:
            # That there is an answer is told by the board itself.
            del self._visits[f"? {name}"]

    # --- logs ----------------------------------------------------------------------------------

    async def _read_logs(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Tell of each watched log that is due; a log that rests is looked at less often."""
        begun_at = time.monotonic()
        topics = self.hub.of("log")
        self._logs.keep(topics)
        for topic in topics:
            pace = self._logs.of(topic)
            if pace.due_at <= time.monotonic() or not self.hub.has_state(topic):
                await self._read_log(topic, pace)
        now = time.monotonic()
        waits = [self._logs.of(topic).due_at - now for topic in self.hub.of("log")]
        # However many are watched, and however fast they grow, this leaves time for the others.
        return max(min(waits, default=_REST_SECONDS), 2 * (now - begun_at), 0.01)

    async def _read_log(self, topic: Topic, pace: Pace) -> None:
        job_id, rank = topic.id or "", topic.rank or 0
        try:
            rows = await self._book.rows(job_id, rank, -_LOG_ROWS, _LOG_ROWS)
        except JobNotFound:
            self.hub.tell(topic, GoneNews(id=job_id))
            self._logs.rest(topic, _LONGEST_PAUSE_SECONDS)
            return
        except AiInfraError as error:
            self.hub.fail(topic, _problem(error, topic))
            pace.seen = None
            self._logs.rest(topic, min(max(2 * pace.pause, 1.0), _LONGEST_PAUSE_SECONDS))
            return
        seen = (rows.total_rows, rows.total_bytes, rows.complete)
        grown = seen != pace.seen or not self.hub.has_state(topic)
        if grown:
            pace.seen = seen
            self.hub.tell(topic, LogNews(id=job_id, log=rows))
        longer = min(max(2 * pace.pause, self.log_seconds), self.log_longest_seconds)
        pause = self.log_seconds if grown else longer
        self._logs.rest(topic, _REST_SECONDS if rows.complete else pause)

    # --- GPUs ----------------------------------------------------------------------------------

    async def _read_gpus(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Follow what is watched, and record what is to be kept."""
        follows = self._gpus.follow()
        await self._record_gpus()
        return _GPUS_SECONDS if follows else _REST_SECONDS

    async def _record_gpus(self) -> None:
        if self._file is None or self._file.missing:
            return
        pools: frozenset[str] = frozenset()
        if self.record_gpus == "jobs":
            running = (job for job in self.record.active.values() if job.state in _ON_NODES)
            pools = frozenset(job.pool for job in running)
        elif self.record_gpus == "always":
            pools = await self._engine.call(_pool_names)
        if pools != self._recorded:
            refused = await self._engine.run(lambda engine: engine.telemetry.record(pools))
            # One that could not be opened is tried again with the next look.
            self._recorded = pools - frozenset(refused)

    # --- cost ----------------------------------------------------------------------------------

    async def _settle_cost(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Bring the ledger up to date; while no job is active, only when there is news."""
        if self._file is None or self._file.missing:
            return _REST_SECONDS
        await self._engine.run(lambda engine: engine.settle(older_than=self.cost_seconds / 2))
        return self.cost_seconds if self.record.active else _REST_SECONDS

    # --- budgets -------------------------------------------------------------------------------

    async def _govern(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Have budgets and the idle policy act, and tell how far budgets are spent."""
        watched = self.hub.watches(BUDGETS)
        if self._file is None or (self._file.missing and not watched):
            return _REST_SECONDS
        # The record may change often, and each look takes a moment.
        early = self._governed_at + _GOVERN_SECONDS - time.monotonic()
        if early > 0:
            return early
        self._governed_at = time.monotonic()
        pause = _REST_SECONDS
        if self.record.active:
            pause = await self._engine.run(lambda engine: engine.govern())
        if watched:
            try:
                self.hub.tell(BUDGETS, await self._engine.call(all_budgets))
            except AiInfraError as error:
                self.hub.fail(BUDGETS, _problem(error, BUDGETS))
                raise
            # Days and months begin anew, and a snooze ends, also while nothing runs.
            pause = min(pause, self.budget_seconds if self.record.active else _BUDGETS_SECONDS)
        return pause

    # --- schedules -----------------------------------------------------------------------------

    async def _fire(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Have slots that are due run, and runs come to their ends; rest until the next is due."""
        if self._file is None or self._file.missing:
            return _REST_SECONDS
        return await self._engine.run(self._tick)

    async def _tick(self, engine: Engine) -> float:
        """Tick, on the engine's thread, from where the next look is rung for."""
        engine.schedules.firing.bell = self._ring_to_fire
        engine.runs.keeps_warm = True
        return await engine.schedules.tick()

    def _ring_to_fire(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                self._loop.call_soon_threadsafe(self._alarms["schedules"].ring)

    def _on_runs(self, name: str) -> None:
        self._alarms[name].ring()

    async def _tell_runs(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Tell what is new of schedules and runs."""
        return await self._runs.tell()

    async def _notify(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Tell people elsewhere what they want to know; it holds up nothing."""
        if self._file is None or self._file.missing:
            return _REST_SECONDS
        return await self._engine.run(lambda engine: engine.notifying.tick())

    async def _read_notebooks(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Tell of the notebooks of runs that are watched."""
        return await self._runs.read()

    # --- endpoints -----------------------------------------------------------------------------

    async def _keep_endpoints(self, _rung: bool) -> float:  # noqa: FBT001 - see _repeat
        """Have endpoints be as they are wanted; rest for as long as nothing moves."""
        if self._file is None or self._file.missing:
            return _REST_SECONDS
        return await self._engine.run(lambda engine: engine.endpoints.tick())


def _pool_names(engine: Engine) -> frozenset[str]:
    return frozenset(record.name for record in engine.store.list_pools())


def _problem(error: AiInfraError, topic: Topic) -> ProblemNews:
    return ProblemNews(message=error.message, hint=error.hint, topic=topic)


async def _refresh(engine: Engine, job_id: str) -> JobItem:
    return job_item(await engine.refresh(job_id))
