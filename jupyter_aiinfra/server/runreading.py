"""The notebook of a run as it grows: read on the engine's thread, told cell by cell."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.running import OUTPUT, STATE
from jupyter_aiinfra.errors import AiInfraError, JobNotFound, NotFound
from jupyter_aiinfra.model import Handle, Job, to_wire
from jupyter_aiinfra.pools.base import Browsing
from jupyter_aiinfra.promote import hygiene
from jupyter_aiinfra.promote.following import EventReader, Picture, read_file
from jupyter_aiinfra.schedule import Run, RunState
from jupyter_aiinfra.server.runwire import FindingItem, NotebookState, RunNotebook
from jupyter_aiinfra.server.schedulewire import RunItem, run_item

__all__ = ["NotebookReading", "RunReader"]

_FINDINGS_SECONDS: Final = 2.0

_Cell = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class NotebookReading:
    """What one look at a run has found.

    ``notebook`` is there where all of it is to be told anew; else ``changes`` are the cells that
    are others since the look before, by their places.
    """

    run: RunItem
    live: bool
    state: NotebookState
    cell: int | None
    cells: int | None
    findings: tuple[FindingItem, ...]
    problem: str | None
    notebook: Mapping[str, Any] | None = None
    changes: Mapping[int, _Cell] | None = None


class _Following:
    """A job at work, and the notebook that it makes."""

    def __init__(self, job: str, pool: Browsing, handle: Handle) -> None:
        self.job = job
        self.pool = pool
        self.handle = handle
        self.reader: EventReader | None = None
        self.picture: Picture | None = None
        self.cell: int | None = None
        self.state: Mapping[str, Any] = {}
        self.state_at = 0.0

    async def look_at_state(self) -> None:
        text = await read_file(self.pool, self.handle, STATE)
        self.state = json.loads(text) if text else {}
        self.state_at = time.monotonic()

    async def begin(self) -> bool:
        """Begin with the notebook as it was saved last; whether there is one already."""
        await self.look_at_state()
        text = await read_file(self.pool, self.handle, OUTPUT) if self.state else None
        if not text:
            return False
        self.picture = Picture(_joined(json.loads(text)))
        self.reader = EventReader(self.pool, self.handle, file=str(self.state["events"]))
        self.cell = None
        return True

    async def poll(self) -> set[int] | None:
        """Take in what is new; return which cells are others now, or ``None``: begin anew."""
        assert self.reader is not None  # noqa: S101 - it has begun
        assert self.picture is not None  # noqa: S101
        file = self.reader.file
        events = await self.reader.poll()
        if self.reader.file != file:
            return None  # what was between the two files is in the notebook that is saved
        changed: set[int] = set()
        for event in events:
            changed |= self.picture.apply(event)
            if event["event"] == "cell":
                self.cell = int(event["cell"])
        if events and time.monotonic() - self.state_at >= _FINDINGS_SECONDS:
            await self.look_at_state()
        return changed


class RunReader:
    """Looks at one run again and again. Used on the engine's thread only."""

    def __init__(self, run_id: str) -> None:
        self._id = run_id
        self._following: _Following | None = None
        self._told: tuple[object, ...] | None = None
        self._still: NotebookReading | None = None

    async def whole(self, engine: Engine) -> RunNotebook:
        """Return the notebook as it is, whole."""
        self.begin_anew()
        seen = await self.look(engine)
        return RunNotebook(
            run=seen.run,
            live=seen.live,
            state=seen.state,
            cell=seen.cell,
            cells=seen.cells,
            notebook=seen.notebook,
            findings=seen.findings,
            problem=seen.problem,
        )

    def begin_anew(self) -> None:
        """Have the next look tell all of it."""
        self._following = self._told = None

    async def look(self, engine: Engine) -> NotebookReading:
        """Return what is new.

        Raises
        ------
        NotFound
            There is no such run.
        AiInfraError
            Its pool does not answer, or the record cannot be read.
        """
        run = engine.store.get_run(self._id)
        if run.id != self._id:
            raise NotFound(f"there is no run {self._id!r}", hint="it may have been deleted")
        job = _job(engine, run) if run.state is RunState.RUNNING else None
        if job is not None and job.handle is not None and not job.state.final:
            pool = engine.pool(job.pool)
            if isinstance(pool, Browsing):
                return await self._live(engine, run, job, pool)
        self._following = None
        if run.state.final:
            return await self._over(engine, run)
        state: NotebookState = "starting" if run.state is RunState.RUNNING else "waiting"
        return await self._before(engine, run, state, live=run.state is RunState.RUNNING)

    # --- before and after ----------------------------------------------------------------------

    async def _before(
        self, engine: Engine, run: Run, state: NotebookState, *, live: bool
    ) -> NotebookReading:
        if not self._is_news(run, state):
            return self._as_before(engine, run)
        notebook, problem = None, None
        if run.jobs and state == "waiting":  # for another attempt
            notebook = (await engine.notebooks.notebook(run)).notebook
        try:
            if notebook is None:
                version = engine.store.schedule_version(run.schedule, run.version)
                notebook = hygiene.clean(engine.notebooks.frozen(version))[0]
        except AiInfraError as error:
            problem = error.message
        self._still = self._reading(
            engine,
            run,
            state,
            live=live,
            notebook=None if notebook is None else _joined(notebook),
            problem=problem,
        )
        return self._still

    async def _over(self, engine: Engine, run: Run) -> NotebookReading:
        if not self._is_news(run, "over"):
            return self._as_before(engine, run)
        found = await engine.notebooks.notebook(run)
        told = [*(run.outputs.get("findings") or ()), *map(to_wire, found.leaks)]
        self._still = self._reading(
            engine,
            run,
            "over",
            live=False,
            notebook=None if found.notebook is None else _joined(found.notebook),
            problem=found.problem,
            findings=told,
        )
        return self._still

    def _as_before(self, engine: Engine, run: Run) -> NotebookReading:
        """Return what was read before, as it is told to who knows the notebook."""
        assert self._still is not None  # noqa: S101 - what is no news was read once
        return replace(self._still, run=_item(engine, run), notebook=None)

    def _is_news(self, run: Run, state: NotebookState) -> bool:
        """Whether the notebook has to be told, that does not change in this state."""
        now = (state, run.version, run.job, run.jobs, run.outputs.get("removed_at"))
        before, self._told = self._told, now
        return before != now

    # --- while it runs -------------------------------------------------------------------------

    async def _live(self, engine: Engine, run: Run, job: Job, pool: Browsing) -> NotebookReading:
        assert job.handle is not None  # noqa: S101 - the caller looked
        known = self._following
        if known is None or known.job != job.id:
            known = self._following = _Following(job.id, pool, job.handle)
        reset = known.picture is None
        if reset and not await known.begin():
            return await self._before(engine, run, "starting", live=True)
        changed = await known.poll()
        if changed is None:
            reset = await known.begin()
            changed = await known.poll() or set()
        self._told = None
        assert known.picture is not None  # noqa: S101 - it has begun
        notebook = known.picture.notebook
        cells = notebook["cells"]
        over = known.reader is not None and known.reader.ended
        return self._reading(
            engine,
            run,
            "running",
            live=True,
            notebook=_copy(notebook) if reset else None,
            changes=None if reset else {at: _copy(cells[at]) for at in sorted(changed)},
            cell=None if over or known.cell is None else known.cell + 1,
            cells=len(cells),
            findings=[
                {**each, "cell": int(each["cell"]) + 1} for each in known.state.get("findings", ())
            ],
        )

    def _reading(
        self,
        engine: Engine,
        run: Run,
        state: NotebookState,
        *,
        live: bool,
        notebook: Mapping[str, Any] | None = None,
        changes: Mapping[int, _Cell] | None = None,
        cell: int | None = None,
        cells: int | None = None,
        findings: Iterable[Mapping[str, Any]] = (),
        problem: str | None = None,
    ) -> NotebookReading:
        if cells is None and notebook is not None:
            cells = len(notebook.get("cells", []))
        return NotebookReading(
            run=_item(engine, run),
            live=live,
            state=state,
            cell=cell,
            cells=cells,
            findings=tuple(
                FindingItem(
                    cell=int(each["cell"]),
                    kind=str(each["kind"]),
                    count=int(each["count"]),
                    where=each.get("where", "output"),
                )
                for each in findings
            ),
            problem=problem,
            notebook=notebook,
            changes=changes,
        )


def _item(engine: Engine, run: Run) -> RunItem:
    schedule = engine.store.find_schedule(run.schedule)
    return run_item(run, "" if schedule is None else schedule.name)


def _job(engine: Engine, run: Run) -> Job | None:
    try:
        return engine.store.get_job(run.job or "")
    except JobNotFound:
        return None


def _copy(value: Any) -> Any:
    """Return a copy that nothing changes any more: it goes to another thread."""
    return json.loads(json.dumps(value))


def _joined(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notebook with every text in one piece, as a file may hold it in lines."""
    joined = {**notebook, "cells": [dict(cell) for cell in notebook.get("cells", ())]}
    for cell in joined["cells"]:
        cell["source"] = _text(cell.get("source", ""))
        if "outputs" in cell:
            cell["outputs"] = [_output(each) for each in cell["outputs"]]
    return joined


def _output(output: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(output)
    if "text" in kept:
        kept["text"] = _text(kept["text"])
    if isinstance(kept.get("data"), dict):
        kept["data"] = {
            mime: value if mime.endswith("json") else _text(value)
            for mime, value in kept["data"].items()
        }
    return kept


def _text(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "".join(value)
    return value
