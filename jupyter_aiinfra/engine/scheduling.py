"""The verbs on schedules: add, edit, pause, run now, preview; who fires is in ``firing.py``."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec

from jupyter_aiinfra.engine.attached import check_name
from jupyter_aiinfra.engine.drafting import Draft, Drafting
from jupyter_aiinfra.engine.ends import Runner
from jupyter_aiinfra.engine.firing import Firing, UntilGone
from jupyter_aiinfra.engine.poolfired import PoolFired
from jupyter_aiinfra.errors import Conflict, NotFound, UsageError
from jupyter_aiinfra.model import Job
from jupyter_aiinfra.promote.crontab import check_pool_fires, pool_fires
from jupyter_aiinfra.promote.notify import check_notify, read_notify
from jupyter_aiinfra.promote.policy import moment_text
from jupyter_aiinfra.promote.triggers import delay_of, timetable_of
from jupyter_aiinfra.promote.values import read_values, validate
from jupyter_aiinfra.promote.zones import zone_of
from jupyter_aiinfra.schedule import Run, RunState, Schedule, Version, new_run_id, new_schedule_id
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.schedules import ON_NODE

__all__ = ["PREVIEWED", "FreezingRunner", "ScheduleView", "Scheduling", "Slot"]

PREVIEWED: Final = 10
"""How many slots are shown before a schedule is saved."""

_SHOWN_RUNS: Final = 20
_ELSEWHERE_AT_ONCE: Final = 32


class FreezingRunner(Runner, Protocol):
    """What also freezes what a version runs; see ``engine/running.py``."""

    async def freeze(self, notebook: Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the snapshot of a version: the notebook, and all that its runs need."""
        ...


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A moment that a schedule is due at, and when its run begins; as text in its zone."""

    slot: float
    start_at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class ScheduleView:
    """A schedule with what it runs, when it runs next, and how its last runs ended."""

    schedule: Schedule
    version: Version
    next_slots: tuple[Slot, ...] = ()
    last_runs: tuple[Run, ...] = ()
    problem: str = ""

    @property
    def state(self) -> Literal["active", "paused", "removed", "ended"]:
        """How it stands; ``ended``: no slot comes, and no event is waited for."""
        if self.schedule.removed_at is not None:
            return "removed"
        if self.schedule.paused_at is not None:
            return "paused"
        events = self.schedule.upstream is not None or self.schedule.watched is not None
        return "active" if self.schedule.next_due is not None or events else "ended"


class Scheduling:
    """What runs when, and is recorded.

    Parameters
    ----------
    runner
        Freezes, starts and finishes runs.
    refresh, cancel, until_gone
        Those of the engine, of jobs.
    nodes
        The schedules that cron of a pool fires.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        runner: FreezingRunner,
        refresh: Callable[[str], Awaitable[Job]],
        cancel: Callable[[str], Awaitable[Job]],
        until_gone: UntilGone | None = None,
        nodes: PoolFired | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._runner = runner
        self._clock = clock
        self._drafting = Drafting(store, clock=clock)
        self._cancel = cancel
        self._nodes = nodes
        self.firing = Firing(
            store,
            runner=runner,
            refresh=refresh,
            cancel=cancel,
            until_gone=until_gone,
            nodes=nodes,
            room_of=self._room_of,
            clock=clock,
        )

    async def tick(self) -> float:
        """Do all that is due; see :meth:`~.firing.Firing.tick`."""
        return await self.firing.tick()

    def _room_of(self, pool: str) -> int:
        """Return how many runs may be at work at once on a pool."""
        if self._settings.runs_at_once is not None:
            return self._settings.runs_at_once
        # Another machine's cores are not known here; what runs there waits there.
        return max(os.cpu_count() or 1, 2) if self._is_local(pool) else _ELSEWHERE_AT_ONCE

    def _is_local(self, pool: str) -> bool:
        try:
            return self._store.get_pool(pool).kind == "local"
        except NotFound:
            return True

    # --- what there is -------------------------------------------------------------------------

    def views(self, *, removed: bool = False, slots: int = 1) -> Sequence[ScheduleView]:
        """Return all schedules, by name."""
        found = self._store.schedules(removed=removed)
        versions = self._store.current_versions(removed=removed)
        last = self._store.last_runs(_SHOWN_RUNS)
        return [
            self._view(each, versions[each.id], last.get(each.id, ()), slots)
            for each in found
            if each.id in versions
        ]

    def show(self, name: str) -> ScheduleView:
        """Return one schedule, by name or id; also one that was removed."""
        schedule = self._store.get_schedule(name, removed=True)
        version = self._store.schedule_version(schedule.id, schedule.version)
        runs = self._store.runs(schedule=schedule.id, limit=_SHOWN_RUNS)
        return self._view(schedule, version, runs, PREVIEWED)

    def _view(
        self, schedule: Schedule, version: Version, runs: Sequence[Run], slots: int
    ) -> ScheduleView:
        problem = self.firing.problems.get(schedule.id, "")
        if schedule.paused_at is not None and schedule.pause_reason:
            problem = schedule.pause_reason
        coming: tuple[Slot, ...] = ()
        if schedule.live and slots:
            try:
                coming = tuple(self.slots(version, slots))
            except UsageError as error:
                problem = error.message
        return ScheduleView(
            schedule=schedule,
            version=version,
            next_slots=coming,
            last_runs=tuple(runs),
            problem=problem,
        )

    def view(self, schedule_id: str) -> ScheduleView | None:
        """Return one as :meth:`views` does; ``None``: it was removed, or there is none."""
        schedule = self._store.find_schedule(schedule_id)
        if schedule is None or schedule.removed_at is not None:
            return None
        version = self._store.schedule_version(schedule.id, schedule.version)
        runs = self._store.runs(schedule=schedule.id, limit=_SHOWN_RUNS)
        return self._view(schedule, version, runs, 1)

    def versions(self, name: str) -> Sequence[Version]:
        """Return all versions of a schedule, the newest first."""
        return self._store.schedule_versions(self._store.get_schedule(name, removed=True).id)

    def runs(
        self,
        name: str | None = None,
        *,
        states: Collection[RunState] | None = None,
        since: float | None = None,
        text: str | None = None,
        before: str | None = None,
        limit: int | None = 200,
    ) -> Sequence[Run]:
        """Return runs, newest first; of one schedule where one is named."""
        schedule = None if name is None else self._store.get_schedule(name, removed=True).id
        return self._store.runs(
            schedule=schedule, states=states, since=since, text=text, before=before, limit=limit
        )

    def slots(self, version: Version, count: int = PREVIEWED) -> list[Slot]:
        """Return when a version is due next by the clock, as of now."""
        zone = zone_of(version.timezone)
        found = timetable_of(version).next_slots(self._clock(), count)
        return [
            Slot(
                slot=each,
                start_at=each + delay_of(version.schedule, each, version.policy),
                text=moment_text(each, zone),
            )
            for each in found
        ]

    async def preview(
        self, draft: Draft, *, name: str | None = None, partial: bool = False
    ) -> tuple[Version, list[Slot]]:
        """Return what would run, and at which ten slots next. Records and freezes nothing.

        Of a `partial` draft nothing has to be there yet that can be given later.

        Raises
        ------
        UsageError
            Something of it cannot be; names it.
        """
        base = None if name is None else self.show(name)
        version = await self._drafting.compose(
            draft, base.version if base else None, partial=partial
        )
        if not partial:
            self._fired_by(version)
        return version, self.slots(version)

    # --- changing ------------------------------------------------------------------------------

    async def add(self, draft: Draft) -> ScheduleView:
        """Record a schedule: its first version is frozen, and its next slot is the first to run.

        Raises
        ------
        UsageError
            Something of it cannot be; names it. Nothing is recorded.
        PoolNotFound, Conflict
            Its pool is not attached; its name is taken.
        """
        now = self._clock()  # to freeze takes a while: what comes meanwhile is run
        version = await self._drafting.compose(draft, None)
        nodes = self._fired_by(version)
        name = draft.name or Path(version.notebook).stem
        check_name("schedule", name)
        frozen = await self._freeze(version)
        version = replace(version, snapshot=frozen, created_at=now)
        schedule = Schedule(
            id=version.schedule,
            name=name,
            decided=now,
            created_at=now,
            created_by=version.created_by,
            **self._followed(version, now),
        )
        if nodes is not None:
            await nodes.install(schedule, version)
        try:
            self._store.add_schedule(schedule, version)
        except BaseException:
            if nodes is not None:
                await nodes.remove(schedule, version)
            raise
        return self.show(schedule.id)

    async def edit(self, name: str, draft: Draft) -> ScheduleView:
        """Have a schedule run another version from now on; runs that wait keep theirs.

        The notebook and what it needs are frozen anew: what was changed in it takes effect.
        """
        while True:
            base = self.show(self._store.get_schedule(name).id)
            version = await self._drafting.compose(draft, base.version)
            nodes = self._fired_by(version)
            frozen = await self._freeze(version)
            version = replace(version, snapshot=frozen)
            if not await self._leaves(base, version):
                continue
            if self._become(base, version, name=draft.name):
                made = self.show(base.schedule.id)
                if nodes is not None:
                    await nodes.align(made.schedule, made.version)
                return made

    async def align(self, name: str) -> ScheduleView:
        """Have the node whose cron fires a schedule know how it stands; a tick does so as well."""
        view = self.show(name)
        if pool_fires(view.version) and self._nodes is not None:
            await self._nodes.align(view.schedule, view.version)
        return view

    async def _leaves(self, base: ScheduleView, version: Version) -> bool:
        """Take it off a node that is not to fire it any more; whether it is as in `base` still."""
        old = base.version
        stays = pool_fires(version) and version.pool == old.pool
        if self._nodes is None or not pool_fires(old) or stays:
            return True
        await self._nodes.remove(base.schedule, old)
        return self._store.get_schedule(base.schedule.id).revision == base.schedule.revision

    def _fired_by(self, version: Version) -> PoolFired | None:
        """Return what has a pool fire this version; ``None``: servers of ours do."""
        if not pool_fires(version):
            return None
        check_pool_fires(version)
        if self._nodes is None:
            raise UsageError("no pool fires schedules here", option="fired_by")
        return self._nodes

    def roll_back(self, name: str, number: int) -> ScheduleView:
        """Have a schedule run an earlier version once more, as a new one."""
        while True:
            base = self.show(self._store.get_schedule(name).id)
            old = self._store.schedule_version(base.schedule.id, number)
            if pool_fires(old) or pool_fires(base.version):
                self._check_same_place(base.version, old)
            version = replace(
                old,
                number=self._drafting.next_number(old.schedule),
                created_at=self._clock(),
                created_by=getpass.getuser(),
                note=f"as version {number}",
            )
            if self._become(base, version):
                return self.show(base.schedule.id)

    def duplicate(self, name: str, new_name: str, *, by: str | None = None) -> ScheduleView:
        """Make another schedule of what one runs now, with the same frozen files.

        Raises
        ------
        UsageError, Conflict
            The new name cannot be, or is taken.
        """
        base = self.show(name)
        check_name("schedule", new_name)
        now = self._clock()
        version = replace(
            base.version,
            schedule=new_schedule_id(),
            number=1,
            created_at=now,
            created_by=by or getpass.getuser(),
            note=f"a copy of {base.schedule.name}, version {base.version.number}",
        )
        schedule = Schedule(
            id=version.schedule,
            name=new_name,
            decided=now,
            created_at=now,
            created_by=version.created_by,
            **self._followed(version, now),
        )
        self._store.add_schedule(schedule, version)
        return self.show(schedule.id)

    @staticmethod
    def _check_same_place(now: Version, old: Version) -> None:
        if pool_fires(now) != pool_fires(old) or now.pool != old.pool:
            raise UsageError(
                f"version {old.number} was fired by another, or ran on another pool",
                hint="edit the schedule first: --fired-by, --pool; then roll it back",
                option="number",
            )

    async def _freeze(self, version: Version) -> Mapping[str, Any]:
        try:
            told = read_notify(version.options.get("notify") or {})
            check_notify(told.targets, self._settings.notify_targets)
            return await self._runner.freeze(Path(version.notebook), version.options)
        except msgspec.ValidationError as error:
            raise UsageError(f"of the options of its runs: {error}", option="options") from error

    def _become(self, base: ScheduleView, version: Version, *, name: str | None = None) -> bool:
        now = self._clock()
        values = self._followed(version, now)
        if values["watched"] == base.schedule.watched:
            del values["seen"]
        if name is not None:
            check_name("schedule", name)
            values["name"] = name
        due = base.schedule.next_due
        if base.schedule.paused_at is not None:
            values["next_due"] = None
        elif due is not None and due <= now:
            values["next_due"] = now  # a slot has come that nobody has decided on yet
        if values["next_due"] != now:
            values["decided"] = now
        changed = self._store.change_schedule(
            base.schedule, event="schedule.changed", version=version, **values
        )
        return changed is not None

    def pause(self, name: str, *, reason: str = "", by: str | None = None) -> ScheduleView:
        """Have a schedule run no more slots; runs that are not over go on."""
        return self._change(
            name,
            "schedule.paused",
            lambda _: {
                "paused_at": self._clock(),
                "paused_by": by or getpass.getuser(),
                "pause_reason": reason,
                "next_due": None,
            },
        )

    def resume(self, name: str) -> ScheduleView:
        """Have a schedule run again, from now on: what came while it was paused is not run."""
        return self._change(name, "schedule.resumed", self._live_again)

    def remove(self, name: str) -> ScheduleView:
        """Have a schedule run no more, and free its name; :meth:`restore` undoes it."""
        return self._change(
            name,
            "schedule.removed",
            lambda _: {"removed_at": self._clock(), "next_due": None},
        )

    def restore(self, name: str) -> ScheduleView:
        """Put a schedule back that was removed; Conflict where its name is taken by now."""

        def back(schedule: Schedule) -> dict[str, Any]:
            if schedule.removed_at is None:
                raise Conflict(f"schedule {schedule.name} was not removed")
            return {"removed_at": None, **self._live_again(schedule)}

        return self._change(name, "schedule.restored", back, removed=True)

    def _live_again(self, schedule: Schedule) -> dict[str, Any]:
        version = self._store.schedule_version(schedule.id, schedule.version)
        now = self._clock()
        again = {"paused_at": None, "paused_by": None, "pause_reason": "", "decided": now}
        return {**again, "next_due": self._followed(version, now)["next_due"]}

    def _change(
        self,
        name: str,
        event: str,
        values: Callable[[Schedule], dict[str, Any]],
        *,
        removed: bool = False,
    ) -> ScheduleView:
        while True:
            schedule = self._store.get_schedule(name, removed=removed)
            if self._store.change_schedule(schedule, event=event, **values(schedule)) is not None:
                return self.show(schedule.id)

    def _followed(self, version: Version, now: float) -> dict[str, Any]:
        """Return what is kept beside a version so that it can be found when it is due."""
        after = [each.schedule for each in version.triggers if each.kind == "after"]
        watched = [each.path for each in version.triggers if each.kind == "file"]
        due = timetable_of(version).next_after(now)
        return {
            "upstream": after[0] if after else None,
            "watched": watched[0] if watched else None,
            "seen": f"{ON_NODE}0" if pool_fires(version) else None,
            # A file that is watched is looked at now, so that what changes from now on is news.
            # Nor does anybody know yet what a node's cron has done.
            "next_due": now if watched or pool_fires(version) else due,
        }

    # --- runs ----------------------------------------------------------------------------------

    def run_now(
        self,
        name: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        words: Mapping[str, str] | None = None,
    ) -> Run:
        """Ask for a run beside the slots, also of a schedule that is paused; returns at once.

        It takes its place among the runs of the schedule as its overlap policy says, except that
        it is never skipped: it waits.
        """
        schedule = self._store.get_schedule(name)
        version = self._store.schedule_version(schedule.id, schedule.version)
        values = None
        if parameters or words:
            read = read_values(version.form, words or {})
            values = validate(version.form, {**version.parameters, **(parameters or {}), **read})
        return self._add_run(schedule, version, trigger="now", values=values)

    def rerun(self, run_id: str) -> Run:
        """Ask for a run like an earlier one: the same version, the same values."""
        old = self._store.get_run(run_id)
        schedule = self._store.get_schedule(old.schedule)
        version = self._store.schedule_version(old.schedule, old.version)
        return self._add_run(schedule, version, trigger="rerun", values=old.parameters)

    def _add_run(
        self,
        schedule: Schedule,
        version: Version,
        *,
        trigger: str,
        values: Mapping[str, Any] | None,
    ) -> Run:
        now = self._clock()
        run_id = new_run_id()
        run = Run(
            id=run_id,
            schedule=schedule.id,
            version=version.number,
            key=f"now:{run_id}",
            trigger=trigger,
            state=RunState.QUEUED,
            created_at=now,
            start_at=now,
            parameters=values,
        )
        self._store.add_runs([run])
        return run

    async def cancel_run(self, run_id: str, *, by: str | None = None) -> Run:
        """Want the end of a run: what waits is over at once, a job is cancelled."""
        run = self._store.get_run(run_id)
        if run.state.final:
            return run
        run = self._store.stop_run(run.id, reason=f"cancelled by {by or getpass.getuser()}")
        if run.state is RunState.RUNNING and run.job is not None:
            await self._cancel(run.job)
        return self._store.get_run(run.id)

    def remove_run(self, run_id: str) -> None:
        """Delete a run that is over from the record; its job and what is stored of it stay.

        Raises
        ------
        Conflict
            It is not over.
        """
        run = self._store.get_run(run_id)
        if not run.state.final:
            raise Conflict(
                f"run {run.id} is {run.state.value}", hint="cancel it first, or wait for its end"
            )
        self._store.remove_run(run.id)

    def purge(
        self,
        name: str | None = None,
        *,
        older_than: float | None = None,
        keep: int | None = None,
        keep_failures: bool = False,
    ) -> Sequence[Run]:
        """Delete runs that are over from the record, and return them; their jobs stay.

        Raises
        ------
        UsageError
            Neither an age nor a number is given.
        """
        if older_than is None and keep is None:
            raise UsageError(
                "purge which runs?",
                hint="--older-than 30d, or --keep 100 for all but the newest",
                option="older_than",
            )
        schedule = None if name is None else self._store.get_schedule(name, removed=True).id
        before = None if older_than is None else self._clock() - older_than
        return self._store.purge_runs(
            schedule=schedule, before=before, keep=keep, keep_failures=keep_failures
        )
