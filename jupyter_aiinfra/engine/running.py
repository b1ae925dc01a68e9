"""A run of a schedule as a job: frozen, launched, and what its end means for the run."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from jupyter_aiinfra import preflight
from jupyter_aiinfra.bundle import Bundle, keep, stored
from jupyter_aiinfra.errors import (
    AiInfraError,
    Conflict,
    JobNotFound,
    NotFound,
    UsageError,
)
from jupyter_aiinfra.model import Desired, Job, JobSpec, JobState, Node, from_wire, to_wire
from jupyter_aiinfra.pools.abilities import Warming
from jupyter_aiinfra.pools.base import Browsing, Pool
from jupyter_aiinfra.promote import hygiene, outputs
from jupyter_aiinfra.promote.notebookjob import (
    NotebookOptions,
    Resume,
    compose_notebook,
    preflight_notebook,
    secret_names,
)
from jupyter_aiinfra.promote.resume import plan_resume
from jupyter_aiinfra.promote.snapshot import Snapshot, freeze
from jupyter_aiinfra.promote.values import is_secret
from jupyter_aiinfra.schedule import Outcome, Run, RunState, Version
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.training import check_secrets

__all__ = ["OUTPUT", "STATE", "Launch", "Left", "Running"]

OUTPUT: Final = "notebook/output.ipynb"
STATE: Final = "notebook/state.json"

_MOST_BYTES: Final = 256 << 20
_CHECKPOINTS: Final = "AIINFRA_CHECKPOINT_DIR"
_STATES: Final[Mapping[JobState, RunState]] = {
    JobState.SUCCEEDED: RunState.SUCCEEDED,
    JobState.FAILED: RunState.FAILED,
    JobState.CANCELLED: RunState.CANCELLED,
    JobState.LOST: RunState.LOST,
}


class Launch(Protocol):
    """What launches a job: :meth:`.Engine.launch`."""

    def __call__(
        self,
        pool: str,
        spec: JobSpec,
        bundle: Bundle,
        *,
        secrets: Mapping[str, str] | None = None,
        job_id: str | None = None,
    ) -> Awaitable[Job]:
        """Record a job, and start it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a notebook job has left: its output notebook and its state, as far as they are there."""

    notebook: Mapping[str, Any] | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


class Running:
    """Freezes notebooks, launches runs of them, and stores what they leave.

    Parameters
    ----------
    launch, pool
        Those of the engine.
    environ
        Where the values of secrets are looked up; ``None``: this process's environment.

    Attributes
    ----------
    keeps_warm
        Whether kernels are to wait for the next runs: as long as this process lives.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        launch: Launch,
        pool: Callable[[str], Pool],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._launch = launch
        self._pool = pool
        self._environ = environ
        self.keeps_warm = False
        self._warming: set[asyncio.Task[None]] = set()

    # --- freeze --------------------------------------------------------------------------------

    async def freeze(self, notebook: Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep a notebook with all it needs in the blob store; return the snapshot as JSON.

        Raises
        ------
        UsageError
            An option, the notebook or a file that cannot be; names it.
        """
        asked = from_wire(dict(options), NotebookOptions)
        outputs.check_forms(asked.forms)
        for url in asked.outputs:
            outputs.check_target(url)

        def read() -> Snapshot:
            snapshot, bundle = freeze(
                notebook,
                files=asked.files,
                kernel=asked.kernel,
                environment=asked.environment,
                modules=asked.modules,
            )
            keep(bundle, blobs=self._settings.blobs)
            return snapshot

        frozen: Mapping[str, Any] = to_wire(await asyncio.to_thread(read))
        return frozen

    # --- launch --------------------------------------------------------------------------------

    async def launch_run(self, run: Run, version: Version) -> str:
        """Launch the job of `run` under the id that it has; return that id.

        A job of that id on record is taken for the one: nothing is launched then, so that any
        number of processes may call this for one run.

        Raises
        ------
        AiInfraError
            It cannot be started. A job may be on record all the same, as failed.
        """
        if run.job is None:
            raise UsageError(f"run {run.id} has no id for its job")
        if self._store.jobs_by_id([run.job]):
            return run.job
        options = from_wire(dict(version.options), NotebookOptions)
        snapshot = from_wire(dict(version.snapshot), Snapshot)
        values = _values(run, version)
        frozen = stored(snapshot.files, blobs=self._settings.blobs)
        nodes = sorted(
            await self._pool(version.pool).nodes(), key=lambda node: node.problem is not None
        )
        preflight.verdict(preflight_notebook(snapshot, values, nodes[:1]))
        environ = os.environ if self._environ is None else self._environ
        secrets = check_secrets(secret_names(options, values), environ)
        labels = {"schedule": run.schedule, "run": run.id, "version": str(version.number)}
        spec, bundle = compose_notebook(
            snapshot,
            frozen,
            values,
            options,
            node=nodes[0],
            settings=self._settings,
            notebook=version.notebook,
            labels=labels,
            resume=await self._resume(run, version, options, nodes),
        )
        try:
            job = await self._launch(version.pool, spec, bundle, secrets=secrets, job_id=run.job)
        except Conflict:
            # Another process was quicker, or a budget is spent.
            if self._store.jobs_by_id([run.job]):
                return run.job
            raise
        return job.id

    async def _resume(
        self, run: Run, version: Version, options: NotebookOptions, nodes: Sequence[Node]
    ) -> Resume | None:
        """Return where another attempt begins, if it need not begin at the beginning."""
        if not options.resume or not run.jobs:
            return None
        try:
            job = self._store.get_job(run.jobs[-1])
        except JobNotFound:
            return None
        shared = options.env.get(_CHECKPOINTS)
        place = job.spec.env.get(_CHECKPOINTS) or self._checkpoints(job)
        if job.pool != version.pool or (shared is None and (place is None or len(nodes) > 1)):
            return None  # its checkpoints lie on a node that need not be the one it runs on
        left = await self.left(job)
        failed = (left.state.get("failed") or {}).get("cell")
        if left.notebook is None or failed is None:
            return None
        plan = plan_resume(left.notebook, int(failed) - 1)
        if plan.checkpoint is None:
            return None
        previous = outputs.rendered(left.notebook, "ipynb")
        return Resume(previous=previous, again=plan.again, checkpoints=shared or place)

    @staticmethod
    def _checkpoints(job: Job) -> str | None:
        run_dir = job.handle.data.get("run_dir") if job.handle is not None else None
        return f"{run_dir}/checkpoints" if isinstance(run_dir, str) else None

    # --- what is left --------------------------------------------------------------------------

    async def left(self, job: Job) -> Left:
        """Read what a notebook job has left so far. Never fails: what is missing is said."""
        if job.handle is None:
            return Left(problem="it never reached its pool")
        try:
            pool = self._pool(job.pool)
            if not isinstance(pool, Browsing):
                return Left(problem=f"pool {job.pool} does not let files of jobs be read")
            state = await _read(pool, job, STATE)
            notebook = await _read(pool, job, OUTPUT)
        except (AiInfraError, ValueError) as error:
            return Left(problem=str(error))
        return Left(
            notebook=json.loads(notebook) if notebook else None,
            state=json.loads(state) if state else {},
            problem=None if notebook else "there is no output notebook",
        )

    # --- the end -------------------------------------------------------------------------------

    async def finish_run(self, run: Run, version: Version, job: Job) -> Outcome:
        """Say what the end of `job` means for `run`, and store what it has left.

        May be called again, by any process: what is stored is there once. Where results cannot be
        stored the outcome says so; the run is what it was.
        """
        left = await self.left(job)
        self._keep_warm(job)
        state, reason, retry = _meaning(job, left)
        options = from_wire(dict(version.options), NotebookOptions)
        told: dict[str, Any] = {"files": {}, "problems": []}
        if left.state.get("failed"):
            told["failed"] = dict(left.state["failed"])
        if left.notebook is None:
            if left.problem and state is RunState.SUCCEEDED:
                told["problems"].append(f"its results could not be read: {left.problem}")
        else:
            await self._store_results(run, version, options, left, told)
        failed = state in (RunState.FAILED, RunState.LOST)
        newest = outputs.Kept(run=run.id, ended_at=time.time(), failed=failed, urls=())
        told["problems"] += await self.expire(run.schedule, version, newest=newest)
        if state is RunState.SUCCEEDED and told["problems"]:
            reason = "; ".join(told["problems"])
        return Outcome(state=state, reason=reason, retry=retry, outputs=told)

    def _keep_warm(self, job: Job) -> None:
        """Have a kernel wait for the next run, beside all else."""
        pool = self._pool(job.pool) if self.keeps_warm and job.handle is not None else None
        if job.handle is not None and isinstance(pool, Warming):
            task = asyncio.ensure_future(pool.keep_warm(job.handle))
            self._warming.add(task)
            task.add_done_callback(self._warming.discard)

    async def aclose(self) -> None:
        """Wait for what was begun beside."""
        await asyncio.gather(*self._warming, return_exceptions=True)

    async def _store_results(
        self, run: Run, version: Version, options: NotebookOptions, left: Left, told: dict[str, Any]
    ) -> None:
        assert left.notebook is not None  # noqa: S101 - the caller looked
        environ = os.environ if self._environ is None else self._environ
        names = secret_names(options, _values(run, version))
        clean, leaks = hygiene.clean(
            left.notebook, values=[environ[name] for name in names if name in environ]
        )
        leaks = (*hygiene.told(left.state.get("findings", ())), *leaks)
        told["findings"] = [to_wire(leak) for leak in leaks]
        told["cells"] = len(clean.get("cells", []))
        moment = run.slot if run.slot is not None else run.created_at
        base = outputs.base_name(version.notebook, moment=moment, run=run.id)
        files = await _forms(clean, options.forms, told)
        for url in options.outputs or (self.folder(run.schedule),):
            named = {f"{base}.{form}": data for form, data in files.items()}
            try:
                placed = await asyncio.to_thread(outputs.store, url, named)
            except outputs.NotStored as error:
                told["problems"].append(error.message)
                continue
            for form in files:
                told["files"].setdefault(form, []).append(placed[f"{base}.{form}"])

    def folder(self, schedule: str) -> str:
        """Return the folder of results that were to go nowhere else."""
        return str(self._settings.home / "outputs" / schedule)

    # --- retention -----------------------------------------------------------------------------

    async def expire(
        self, schedule: str, version: Version, *, newest: outputs.Kept | None = None
    ) -> Sequence[str]:
        """Remove the results of runs that are not to be kept; return what could not be removed.

        The record of a run stays, without its files. `newest` is a run whose end is not on record
        yet: it counts as one.
        """
        options = from_wire(dict(version.options), NotebookOptions)
        if options.keep_count is None and options.keep_seconds is None:
            return ()
        runs = [run for run in self._store.runs(schedule=schedule, limit=None) if _files(run)]
        kept = {
            run.id: outputs.Kept(
                run=run.id,
                ended_at=run.created_at if run.ended_at is None else run.ended_at,
                failed=run.state in (RunState.FAILED, RunState.LOST),
                urls=_files(run),
            )
            for run in runs
            if run.state.final and (newest is None or run.id != newest.run)
        }
        gone = outputs.expired(
            [*kept.values(), *([newest] if newest is not None else [])],
            count=options.keep_count,
            seconds=options.keep_seconds,
            keep_failures=options.keep_failures,
            now=time.time(),
        )
        problems = []
        by_id = {run.id: run for run in runs}
        for each in (one for one in gone if one.run in by_id):
            try:
                await asyncio.to_thread(outputs.remove, each.urls)
            except outputs.NotStored as error:
                problems.append(error.message)
                continue
            run = by_id[each.run]
            told = {**run.outputs, "files": {}, "removed_at": time.time()}
            self._store.change_run(run, outputs=told)
        return tuple(problems)


def _values(run: Run, version: Version) -> Mapping[str, Any]:
    """Return the values that a run is given: also secrets that the notebook itself names."""
    form = version.form.get("properties", {})
    named = {name: each.get("default") for name, each in form.items()}
    secrets = {name: value for name, value in named.items() if is_secret(value)}
    return {**secrets, **run.values(version)}


async def _forms(
    notebook: Mapping[str, Any], forms: Sequence[str], told: dict[str, Any]
) -> dict[str, bytes]:
    """Return a notebook in the forms that can be made; of the others it is told why not."""
    files: dict[str, bytes] = {}
    for form in forms:
        try:
            files[form] = await asyncio.to_thread(outputs.rendered, notebook, form)
        except Exception as error:  # noqa: BLE001, PERF203 - a converter may raise anything
            said = error.message if isinstance(error, AiInfraError) else str(error)
            told["problems"].append(f"the results could not be made as {form}: {said}")
    return files or {"ipynb": outputs.rendered(notebook, "ipynb")}


def _files(run: Run) -> tuple[str, ...]:
    return tuple(url for urls in (run.outputs.get("files") or {}).values() for url in urls)


async def _read(pool: Browsing, job: Job, path: str) -> bytes | None:
    assert job.handle is not None  # noqa: S101 - the caller looked
    try:
        reader = await pool.open_file(job.handle, path)
    except NotFound:
        return None
    try:
        if reader.file.size_bytes > _MOST_BYTES:
            raise ValueError(f"{path} is too large: {reader.file.size_bytes} bytes")
        pieces = []
        while piece := await reader.read():
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        await reader.aclose()


def _meaning(job: Job, left: Left) -> tuple[RunState, str | None, bool]:
    """Return the state of the run, why it is in it, and whether another attempt may help."""
    reason = job.seen.reason if job.seen is not None else None
    if job.state is JobState.CANCELLED and job.desired is not Desired.STOP:
        # Nobody wanted it to end: a time limit did, or the node.
        return RunState.FAILED, reason, True
    state = _STATES[job.state]
    refused = bool(left.state.get("refused"))
    return state, reason, state is not RunState.CANCELLED and not refused
