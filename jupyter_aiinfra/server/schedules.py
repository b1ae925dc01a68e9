"""``/aiinfra/schedules`` and ``/aiinfra/runs``: notebooks that run by themselves."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.drafting import Draft
from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.schedule import Run, RunState
from jupyter_aiinfra.server import queries
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Query, Route
from jupyter_aiinfra.server.schedulewire import (
    PauseRequest,
    PreviewItem,
    RollbackRequest,
    RunItem,
    RunRequest,
    RunsPage,
    ScheduleDetail,
    ScheduleItem,
    ScheduleRequest,
    SchedulesItem,
    run_item,
    schedule_item,
    slot_item,
    version_item,
)

__all__ = [
    "ROUTES",
    "PauseHandler",
    "PreviewHandler",
    "RestoreHandler",
    "ResumeHandler",
    "RollbackHandler",
    "RunCancelHandler",
    "RunHandler",
    "RunNowHandler",
    "RunRepeatHandler",
    "RunsHandler",
    "ScheduleHandler",
    "SchedulesHandler",
    "known_schedule",
    "recorded_run",
]

_MOST_RUNS = 1000
_RUNS = 200


class _Handler(AiInfraHandler):
    """What handlers of schedules share."""

    def draft(self) -> Draft:
        """Return what is asked for, with the notebook's path on this machine."""
        asked = self.body(ScheduleRequest)
        notebook = None
        if asked.notebook is not None:
            notebook = self.local_path(asked.notebook, option="notebook")
        return Draft(
            name=asked.name,
            notebook=notebook,
            pool=asked.pool,
            timezone=asked.timezone,
            triggers=asked.triggers,
            policy=asked.policy,
            parameters=asked.parameters,
            options=asked.options,
            note=asked.note,
            by=self.who,
        )


class SchedulesHandler(_Handler):
    """All schedules."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write them."""
        removed = queries.flag(self, "removed")

        def read(engine: Engine) -> SchedulesItem:
            views = engine.schedules.views(removed=removed)
            return SchedulesItem(schedules=tuple(schedule_item(view) for view in views))

        self.answer(await self.engine.call(read))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Make one."""
        draft = self.draft()

        async def add(engine: Engine) -> ScheduleItem:
            return schedule_item(await engine.schedules.add(draft))

        self.answer(await self.engine.run(add), status=201)


class PreviewHandler(_Handler):
    """Schedules that are not made yet."""

    asks_only = True

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Write the next slots, and the form of the notebook's parameters."""
        draft = self.draft()
        schedule = queries.text(self, "schedule")

        async def preview(engine: Engine) -> PreviewItem:
            if schedule is not None:
                known_schedule(engine, schedule)
            version, slots = await engine.schedules.preview(draft, name=schedule, partial=True)
            return PreviewItem(slots=tuple(slot_item(each) for each in slots), form=version.form)

        self.answer(await self.engine.run(preview))


class ScheduleHandler(_Handler):
    """One schedule."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002 - the parameter's name in the path
        """Write it, with its versions."""

        def read(engine: Engine) -> ScheduleDetail:
            known_schedule(engine, id)
            versions = engine.schedules.versions(id)
            return ScheduleDetail(
                item=schedule_item(engine.schedules.show(id)),
                versions=tuple(version_item(each) for each in versions),
            )

        self.answer(await self.engine.call(read))

    @web.authenticated
    @authorized
    async def put(self, id: str) -> None:  # noqa: A002
        """Make a new version."""
        draft = self.draft()

        async def edit(engine: Engine) -> ScheduleItem:
            known_schedule(engine, id)
            return schedule_item(await engine.schedules.edit(id, draft))

        self.answer(await self.engine.run(edit))

    @web.authenticated
    @authorized
    async def delete(self, id: str) -> None:  # noqa: A002
        """Run it no more; it can be put back."""

        def remove(engine: Engine) -> None:
            known_schedule(engine, id)
            engine.schedules.remove(id)

        await self.engine.call(remove)
        self.answer(None)


class PauseHandler(_Handler):
    """Rest for a schedule."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Run no more slots."""
        reason = self.body(PauseRequest).reason

        def pause(engine: Engine) -> ScheduleItem:
            known_schedule(engine, id)
            return schedule_item(engine.schedules.pause(id, reason=reason, by=self.who))

        self.answer(await self.engine.call(pause))


class ResumeHandler(_Handler):
    """The end of a rest."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Run slots again, from now on."""

        def resume(engine: Engine) -> ScheduleItem:
            known_schedule(engine, id)
            return schedule_item(engine.schedules.resume(id))

        self.answer(await self.engine.call(resume))


class RestoreHandler(_Handler):
    """A schedule that was removed."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Put it back."""

        def restore(engine: Engine) -> ScheduleItem:
            known_schedule(engine, id)
            return schedule_item(engine.schedules.restore(id))

        self.answer(await self.engine.call(restore))


class RollbackHandler(_Handler):
    """Earlier versions."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Run one of them once more, as a new one."""
        number = self.body(RollbackRequest).number

        def roll_back(engine: Engine) -> ScheduleItem:
            known_schedule(engine, id)
            return schedule_item(engine.schedules.roll_back(id, number))

        self.answer(await self.engine.call(roll_back))


class RunNowHandler(_Handler):
    """A run beside the slots."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Ask for one; it is started at once if there is room."""
        parameters = self.body(RunRequest).parameters

        def run(engine: Engine) -> RunItem:
            known_schedule(engine, id)
            return _item(engine, engine.schedules.run_now(id, parameters=parameters))

        self.answer(await self.engine.call(run), status=201)


class RunsHandler(_Handler):
    """Runs of all schedules, or of one."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write them, newest first."""
        schedule, text = queries.text(self, "schedule"), queries.text(self, "text")
        before = queries.text(self, "before")
        since = queries.number(self, "since", default=0.0)
        limit = queries.integer(self, "limit", default=_RUNS, least=1, most=_MOST_RUNS)
        states = _states(queries.text(self, "state"))

        def read(engine: Engine) -> RunsPage:
            if schedule is not None:
                known_schedule(engine, schedule)
            found = engine.schedules.runs(
                schedule,
                states=states,
                since=since or None,
                text=text,
                before=before,
                limit=limit + 1,
            )
            names = {each.id: each.name for each in engine.store.schedules(removed=True)}
            runs = [run_item(run, names.get(run.schedule, "")) for run in found[:limit]]
            return RunsPage(runs=tuple(runs), more=len(found) > limit)

        self.answer(await self.engine.call(read))


class RunHandler(_Handler):
    """One run."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002
        """Write it."""
        self.answer(await self.engine.call(lambda engine: _item(engine, recorded_run(engine, id))))

    @web.authenticated
    @authorized
    async def delete(self, id: str) -> None:  # noqa: A002
        """Delete it from the record, if it is over."""

        def remove(engine: Engine) -> None:
            engine.schedules.remove_run(recorded_run(engine, id).id)

        await self.engine.call(remove)
        self.answer(None)


class RunCancelHandler(_Handler):
    """The end of a run."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Have it end."""

        async def cancel(engine: Engine) -> RunItem:
            recorded_run(engine, id)
            return _item(engine, await engine.schedules.cancel_run(id, by=self.who))

        self.answer(await self.engine.run(cancel))


class RunRepeatHandler(_Handler):
    """A run once more."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Ask for a run of the same version with the same values."""

        def repeat(engine: Engine) -> RunItem:
            recorded_run(engine, id)
            return _item(engine, engine.schedules.rerun(id))

        self.answer(await self.engine.call(repeat), status=201)


def known_schedule(engine: Engine, schedule_id: str) -> None:
    """Refuse what is not exactly the id of a schedule: an address names one."""
    if engine.store.find_schedule(schedule_id) is None:
        raise NotFound(f"there is no schedule {schedule_id!r}", hint="it may have been forgotten")


def recorded_run(engine: Engine, run_id: str) -> Run:
    """Return the run of exactly that id, or refuse: an address names one."""
    run = engine.store.get_run(run_id)
    if run.id != run_id:
        raise NotFound(f"there is no run {run_id!r}", hint="it may have been deleted")
    return run


def _item(engine: Engine, run: Run) -> RunItem:
    schedule = engine.store.find_schedule(run.schedule)
    return run_item(run, "" if schedule is None else schedule.name)


def _states(given: str | None) -> list[RunState] | None:
    if given is None:
        return None
    known = {state.value: state for state in RunState}
    wrong = [word for word in given.split(",") if word not in known]
    if wrong:
        raise UsageError(f"state={wrong[0]!r}: expected of {', '.join(known)}", option="state")
    return [known[word] for word in given.split(",")]


def _post(path: str, handler: Any, summary: str, answer: Any, **more: Any) -> Route:
    operation = Operation(summary=summary, answer=answer, **more)
    return Route(path=path, handler=handler, operations={"post": operation})


ROUTES = (
    Route(
        path="schedules",
        handler=SchedulesHandler,
        operations={
            "get": Operation(
                summary="All schedules, when they run next, and how their last runs ended",
                answer=SchedulesItem,
                query=(Query(name="removed", type="boolean", description="also those removed"),),
            ),
            "post": Operation(
                summary="Schedule a notebook, as it is now",
                answer=ScheduleItem,
                body=ScheduleRequest,
                status=201,
            ),
        },
    ),
    _post(
        "schedule-preview",
        PreviewHandler,
        "The next slots of a schedule before it is made, and the form of its parameters",
        PreviewItem,
        body=ScheduleRequest,
        query=(Query(name="schedule", type="string", description="the one that is to be changed"),),
    ),
    Route(
        path="schedules/{id}",
        handler=ScheduleHandler,
        operations={
            "get": Operation(summary="A schedule and its versions", answer=ScheduleDetail),
            "put": Operation(
                summary="Make a new version: the notebook as it is now, and what is given",
                answer=ScheduleItem,
                body=ScheduleRequest,
            ),
            "delete": Operation(
                summary="Run a schedule no more; it can be put back", answer=None, status=204
            ),
        },
    ),
    _post(
        "schedules/{id}/pause",
        PauseHandler,
        "Run no more slots of a schedule",
        ScheduleItem,
        body=PauseRequest,
    ),
    _post("schedules/{id}/resume", ResumeHandler, "Run its slots again", ScheduleItem),
    _post("schedules/{id}/restore", RestoreHandler, "Put a removed one back", ScheduleItem),
    _post(
        "schedules/{id}/rollback",
        RollbackHandler,
        "Run an earlier version once more, as a new one",
        ScheduleItem,
        body=RollbackRequest,
    ),
    _post(
        "schedules/{id}/run",
        RunNowHandler,
        "Run a schedule now, beside its slots",
        RunItem,
        body=RunRequest,
        status=201,
    ),
    Route(
        path="runs",
        handler=RunsHandler,
        operations={
            "get": Operation(
                summary="Runs of schedules, the newest first",
                answer=RunsPage,
                query=(
                    Query(name="schedule", type="string", description="of the one of this id"),
                    Query(name="state", type="string", description="in these states, with commas"),
                    Query(name="text", type="string", description="with it in id, job or reason"),
                    Query(name="since", type="number", description="recorded then or later"),
                    Query(name="before", type="string", description="after this run's id"),
                    Query(name="limit", type="integer", description="at most so many, of 1000"),
                ),
            )
        },
    ),
    Route(
        path="runs/{id}",
        handler=RunHandler,
        operations={
            "get": Operation(summary="A run of a schedule", answer=RunItem),
            "delete": Operation(
                summary="Delete a run that is over from the record", answer=None, status=204
            ),
        },
    ),
    _post("runs/{id}/cancel", RunCancelHandler, "Have a run end", RunItem),
    _post("runs/{id}/rerun", RunRepeatHandler, "Run it once more", RunItem, status=201),
)
