"""``/aiinfra/jobs``: the jobs on record, one of them whole, and what may be done with one."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import JobNotFound, UsageError, did_you_mean
from jupyter_aiinfra.logview import Redactor
from jupyter_aiinfra.model import (
    Event,
    Job,
    JobSpec,
    JobState,
    Observation,
)
from jupyter_aiinfra.server import queries
from jupyter_aiinfra.server.costwire import JobCostItem, job_cost_item
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Query, Route
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import (
    CancelRequest,
    JobDetail,
    JobItem,
    JobPage,
    TimelineEntry,
)
from jupyter_aiinfra.training import check_secrets
from jupyter_aiinfra.widgets.card import Card, describe
from jupyter_aiinfra.widgets.wire import header_wire, manifest_wire, ranks_wire

__all__ = [
    "ROUTES",
    "CancelHandler",
    "JobHandler",
    "JobQuery",
    "JobsHandler",
    "RerunHandler",
    "find_jobs",
    "job_detail",
    "job_item",
    "recorded_job",
    "secret_values",
]

_MESSAGE_LENGTH = 300
_PAGE, _MOST = 100, 500
_SEARCHED_AT_ONCE = 200

_STATES: Mapping[str, Collection[JobState]] = {
    "active": [state for state in JobState if not state.final],
    "ended": [state for state in JobState if state.final],
    **{state.value: [state] for state in JobState},
}
"""What the list may be narrowed to by state."""


def job_item(job: Job) -> JobItem:
    """Return a job as one line of a list."""
    return _item(job, describe(job, redact=secret_values(job.spec)))


def job_detail(job: Job, events: Sequence[Event], *, cost: JobCostItem | None = None) -> JobDetail:
    """Return a job whole; `events` are those about it, oldest first.

    Values of its secrets, as far as this process's environment has them, are in none of it.
    """
    redact = secret_values(job.spec)
    card = describe(job, redact=redact)
    return JobDetail(
        item=_item(job, card),
        header=header_wire(card),
        ranks=tuple(ranks_wire(card)),
        manifest=_hidden(manifest_wire(job.spec), redact),
        timeline=tuple(
            TimelineEntry(at=event.at, kind=event.kind, detail=_hidden(event.detail, redact))
            for event in events
        ),
        code=_hidden(job.spec.origin.code, redact),
        line=_hidden(job.spec.origin.line, redact),
        fetch=_hidden(job.spec.fetch, redact),
        tracking_url=_tracking_url(job.seen),
        cost=cost,
        tags=job.spec.tags,
        placement=job.placement,
    )


def secret_values(spec: JobSpec) -> Redactor:
    """Return what hides the values of a job's secrets that this process's environment has."""
    return Redactor(os.environ[name] for name in spec.secrets if name in os.environ)


def _hidden(value: Any, redact: Redactor) -> Any:
    """Return `value` with the texts in it redacted, however deep; the keys are ours."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: _hidden(each, redact) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_hidden(each, redact) for each in value)
    return value


def _item(job: Job, card: Card) -> JobItem:
    title = card.error.title if card.error else ""
    return JobItem(
        id=job.id,
        name=job.spec.name,
        kind=job.spec.kind,
        pool=job.pool,
        state=job.state,
        desired=job.desired,
        version=job.version,
        nodes=job.spec.nodes,
        world=job.spec.world,
        message=_one_line("; ".join(filter(None, (title, card.said)))),
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        notebook=job.spec.origin.notebook,
        user=job.spec.origin.user,
        notice=job.notice,
    )


def _one_line(text: str) -> str:
    line, _, rest = text.strip().partition("\n")
    return f"{line[:_MESSAGE_LENGTH]} …" if rest or len(line) > _MESSAGE_LENGTH else line


def _tracking_url(seen: Observation | None) -> str | None:
    run = seen.tracking if seen else None
    if run is None or run.run_id is None or run.experiment_id is None:
        return None
    try:
        uri = urlsplit(run.uri)
    except ValueError:
        return None
    host = uri.netloc.rpartition("@")[2]  # without a name and password that may stand before it
    if uri.scheme not in {"http", "https"} or not host:
        return None
    page = f"/experiments/{quote(run.experiment_id, safe='')}/runs/{quote(run.run_id, safe='')}"
    return urlunsplit((uri.scheme, host, uri.path.rstrip("/") + "/", "", page))


# --- looking for jobs ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class JobQuery:
    """Which jobs are asked for; ``before`` is the last job of the page before this one."""

    pool: str | None = None
    states: Collection[JobState] | None = None
    search: str = ""
    before: str | None = None
    limit: int = _PAGE


async def find_jobs(engine: SharedEngine, asked: JobQuery) -> JobPage:
    """Return a page of jobs, newest first.

    A search reads the record from the newest job on, a part at a time, so that others get at the
    engine in between, until the page is full.
    """
    needle = asked.search.casefold()
    size = max(_SEARCHED_AT_ONCE, asked.limit + 1) if needle else asked.limit + 1
    found: list[JobItem] = []
    before = asked.before
    while True:
        part = functools.partial(_part, asked=asked, before=before, size=size)
        read, before = await engine.call(part)
        found += read
        if len(found) > asked.limit or before is None:
            return JobPage(jobs=tuple(found[: asked.limit]), more=len(found) > asked.limit)


def _part(
    engine: Engine, *, asked: JobQuery, before: str | None, size: int
) -> tuple[list[JobItem], str | None]:
    """Return what matches among the next `size` jobs, and after which job the next ones come."""
    needle = asked.search.casefold()
    jobs = engine.store.list_jobs(
        pool=asked.pool, states=asked.states, before=before, limit=size, hint=needle or None
    )
    found = [job_item(job) for job in jobs if not needle or _matches(job, needle)]
    return found, jobs[-1].id if len(jobs) == size else None


def _matches(job: Job, needle: str) -> bool:
    origin = job.spec.origin
    texts = (
        job.id,
        job.spec.name,
        job.pool,
        origin.notebook,
        origin.user,
        origin.line,
        origin.code,
    )
    return any(text is not None and needle in text.casefold() for text in texts)


def recorded_job(engine: Engine, job_id: str) -> Job:
    """Return the job of exactly that id, or raise JobNotFound: an address names one job for ever.

    The store would also take the beginning of an id, which is for people who type.
    """
    try:
        job = engine.store.get_job(job_id)
    except UsageError as error:
        raise JobNotFound(job_id) from error
    if job.id != job_id:
        raise JobNotFound(job_id)
    return job


# --- endpoints -----------------------------------------------------------------------------------


class JobsHandler(AiInfraHandler):
    """The jobs on record."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write a page of them, newest first."""
        asked = JobQuery(
            pool=queries.text(self, "pool"),
            states=_states(queries.text(self, "state")),
            search=queries.text(self, "search") or "",
            before=_before(queries.text(self, "before")),
            limit=queries.integer(self, "limit", default=_PAGE, least=1, most=_MOST),
        )
        self.answer(await find_jobs(self.engine, asked))


class JobHandler(AiInfraHandler):
    """One job."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002 - the parameter's name in the path
        """Write it, whole."""

        def read(engine: Engine) -> JobDetail:
            job = recorded_job(engine, id)
            cost = job_cost_item(engine.costing.now([job])[job.id])
            return job_detail(job, engine.store.events(subject=id), cost=cost)

        self.answer(await self.engine.call(read))

    @web.authenticated
    @authorized
    async def delete(self, id: str) -> None:  # noqa: A002
        """Forget it and delete its run directory; only once it is over."""

        async def remove(engine: Engine) -> None:
            await engine.remove(recorded_job(engine, id).id)

        await self.engine.run(remove)
        self.answer(None)


class CancelHandler(AiInfraHandler):
    """The end of a job."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Ask for it; a job that is over is left as it is."""
        grace = self.body(CancelRequest).grace_seconds
        if grace is not None and grace < 0:
            raise UsageError(f"grace_seconds={grace}: expected a number of seconds from 0 on")

        async def cancel(engine: Engine) -> JobItem:
            await engine.cancel(recorded_job(engine, id).id, grace=grace)
            return job_item(engine.store.get_job(id))

        self.answer(await self.engine.run(cancel))


class RerunHandler(AiInfraHandler):
    """The same job again."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Launch it as a new job, and write that."""

        async def rerun(engine: Engine) -> JobItem:
            names = recorded_job(engine, id).spec.secrets
            return job_item(await engine.rerun(id, secrets=_secrets(names, id)))

        self.answer(await self.engine.run(rerun), status=201)


def _secrets(names: Sequence[str], job_id: str) -> Mapping[str, str]:
    try:
        return check_secrets(names, os.environ)
    except UsageError as error:
        raise UsageError(
            f"{error.message} of the Jupyter server",
            hint=f"start the server with it, or run %jobs rerun {job_id} in a notebook that has it",
        ) from error


def _states(given: str | None) -> Collection[JobState] | None:
    if given is None:
        return None
    if given not in _STATES:
        known = ", ".join(_STATES)
        hint = did_you_mean(given, _STATES) or f"it is one of {known}"
        raise UsageError(f"state={given!r} is no state of jobs", hint=hint)
    return _STATES[given]


def _before(given: str | None) -> str | None:
    if given is not None and not (given.isascii() and given.isalnum()):
        raise UsageError(
            f"before={given!r} is no id of a job", hint="give the last id of the page before"
        )
    return given


_FILTERS = (
    Query(name="pool", type="string", description="jobs on this pool, attached or not"),
    Query(name="state", type="string", description="active, ended, or one state"),
    Query(
        name="search",
        type="string",
        description="in id, name, pool, notebook, user, launch line or code, in either case",
    ),
    Query(name="before", type="string", description="jobs that come after this one, newest first"),
    Query(name="limit", type="integer", description=f"at most so many: 1 to {_MOST}, or {_PAGE}"),
)

ROUTES = (
    Route(
        path="jobs",
        handler=JobsHandler,
        operations={"get": Operation(summary="Jobs, newest first", answer=JobPage, query=_FILTERS)},
    ),
    Route(
        path="jobs/{id}",
        handler=JobHandler,
        operations={
            "get": Operation(summary="A job, whole", answer=JobDetail),
            "delete": Operation(
                summary="Forget a job that is over, and delete its files", answer=None, status=204
            ),
        },
    ),
    Route(
        path="jobs/{id}/cancel",
        handler=CancelHandler,
        operations={"post": Operation(summary="End a job", answer=JobItem, body=CancelRequest)},
    ),
    Route(
        path="jobs/{id}/rerun",
        handler=RerunHandler,
        operations={
            "post": Operation(summary="Launch the same job again", answer=JobItem, status=201)
        },
    ),
)
