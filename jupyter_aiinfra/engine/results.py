"""What runs and versions hold, to be looked at: frozen and stored notebooks, and differences."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from jupyter_aiinfra.bundle import stored
from jupyter_aiinfra.engine.running import Left
from jupyter_aiinfra.errors import JobNotFound, NotFound
from jupyter_aiinfra.model import Job, from_wire, to_wire
from jupyter_aiinfra.promote import hygiene, outputs
from jupyter_aiinfra.promote.celldiff import CellPair, pairs
from jupyter_aiinfra.promote.snapshot import INPUT, WORK, Snapshot
from jupyter_aiinfra.schedule import Run, Version
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store

__all__ = ["Change", "FileChange", "Found", "Results", "RunDifference", "VersionDifference"]

_MISSING: Final = object()


@dataclass(frozen=True, kw_only=True)
class Found:
    """A notebook and what was masked in it, or why there is none."""

    notebook: Mapping[str, Any] | None = None
    leaks: tuple[hygiene.Leak, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A value that differs; ``None`` where there was, or is, none."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A frozen file that differs."""

    path: str
    kind: Literal["added", "removed", "changed"]


@dataclass(frozen=True, kw_only=True)
class RunDifference:
    """What two runs have shown, cell by cell, and the parameters in which they differ."""

    cells: tuple[CellPair, ...]
    parameters: tuple[Change, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs, but perhaps parameters."""
        return all(cell.kind == "same" for cell in self.cells)


@dataclass(frozen=True, kw_only=True)
class VersionDifference:
    """What differs between two versions; of the cells those that do."""

    before: int
    after: int
    cells: tuple[CellPair, ...]
    fields: tuple[Change, ...]
    files: tuple[FileChange, ...]


class Results:
    """Reads what is kept of runs and versions; changes nothing.

    Parameters
    ----------
    left
        What a job has left on its pool: that of :class:`~.running.Running`.
    """

    def __init__(
        self, store: Store, settings: Settings, *, left: Callable[[Job], Awaitable[Left]]
    ) -> None:
        self._store = store
        self._settings = settings
        self._left = left

    # --- notebooks -----------------------------------------------------------------------------

    def frozen(self, version: Version) -> Mapping[str, Any]:
        """Return the notebook that a version runs, as it was frozen.

        Raises
        ------
        NotFound
            It is not on this machine.
        """
        snapshot = from_wire(dict(version.snapshot), Snapshot)
        ref = snapshot.file(INPUT)
        if ref is None:
            raise NotFound(f"version {version.number} has no notebook frozen")
        (file,) = stored([ref], blobs=self._settings.blobs).files
        notebook: Mapping[str, Any] = json.loads(b"".join(file.read()))
        return notebook

    async def notebook(self, run: Run) -> Found:
        """Return what a run has made: as it was stored, else as its job has left it, masked."""
        problem = None
        for url in (run.outputs.get("files") or {}).get("ipynb", ()):
            try:
                data = await asyncio.to_thread(outputs.fetched, url)
                return Found(notebook=json.loads(data))
            except (outputs.NotRead, ValueError) as error:  # noqa: PERF203 - another may do
                problem = str(error)
        left = await self._left_of(run)
        if left.notebook is None:
            removed = run.outputs.get("removed_at") is not None
            gone = "its results were kept long enough, and removed" if removed else left.problem
            return Found(problem=problem or gone)
        clean, leaks = await asyncio.to_thread(hygiene.clean, left.notebook)
        return Found(notebook=clean, leaks=leaks, problem=problem)

    async def _left_of(self, run: Run) -> Left:
        for job_id in (run.job, *reversed(run.jobs)):
            if job_id is None:
                continue
            try:
                return await self._left(self._store.get_job(job_id))
            except JobNotFound:
                return Left(problem=f"its job {job_id} was removed")
        return Left(problem=f"it has not run: {run.reason or run.state.value}")

    def stored_at(self, run: Run, form: str) -> str:
        """Return where the result of a run lies in one form.

        Raises
        ------
        NotFound
            It was not stored so; says in which forms it was.
        """
        files = {form: urls for form, urls in (run.outputs.get("files") or {}).items() if urls}
        if form in files:
            return str(files[form][0])
        had = f"there is {', '.join(sorted(files))}" if files else "nothing of it is stored"
        raise NotFound(
            f"run {run.id} has no result as {form!r}: {had}",
            hint="the forms that runs are stored in are an option of the schedule (--form)",
        )

    # --- differences ---------------------------------------------------------------------------

    async def compare(self, before: Run, after: Run) -> RunDifference:
        """Compare what two runs have shown. Takes seconds at first.

        Raises
        ------
        NotFound
            There is no notebook of one of them; says why.
        """
        found = []
        for run in (before, after):
            each = await self.notebook(run)
            if each.notebook is None:
                raise NotFound(f"there is no notebook of run {run.id}: {each.problem}")
            found.append(each.notebook)
        cells = await asyncio.to_thread(pairs, *found, outputs=True)
        values = []
        for run in (before, after):
            version = self._store.schedule_version(run.schedule, run.version)
            values.append(_effective(version, run.values(version)))
        return RunDifference(cells=tuple(cells), parameters=_changes(*values))

    async def diff(self, schedule: str, before: int, after: int) -> VersionDifference:
        """Say what differs between two versions of a schedule, by its id. Takes seconds at first.

        Raises
        ------
        NotFound
            There is no such version, or its notebook is not on this machine.
        """
        versions = [self._store.schedule_version(schedule, number) for number in (before, after)]
        notebooks = [self.frozen(each) for each in versions]
        cells = await asyncio.to_thread(pairs, *notebooks, outputs=False)
        snapshots = [from_wire(dict(each.snapshot), Snapshot) for each in versions]
        said = [_said(each, frozen) for each, frozen in zip(versions, snapshots, strict=True)]
        return VersionDifference(
            before=before,
            after=after,
            cells=tuple(cell for cell in cells if cell.kind != "same"),
            fields=_changes(*said),
            files=_files(*snapshots),
        )


def _said(version: Version, snapshot: Snapshot) -> dict[str, Any]:
    """Return all that is set in a version, by dotted names."""
    found: dict[str, Any] = {
        "notebook": version.notebook,
        "pool": version.pool,
        "timezone": version.timezone,
        "triggers": [_set(each) for each in to_wire(version.triggers)],
        "kernel": snapshot.kernel,
        "commit": snapshot.git.get("commit"),
    }
    groups: Mapping[str, Mapping[str, Any]] = {
        "policy": to_wire(version.policy),
        "parameters": _effective(version, version.parameters),
        "options": version.options,
    }
    for group, values in groups.items():
        found |= {f"{group}.{name}": value for name, value in to_wire(dict(values)).items()}
    return found


def _effective(version: Version, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all parameters: the notebook's own where none is given."""
    form = version.form.get("properties", {})
    usual = {name: each["default"] for name, each in form.items() if "default" in each}
    return {**usual, **given}


def _set(trigger: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a trigger what is set."""
    return {name: value for name, value in trigger.items() if value not in (None, [], "")}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    names = dict.fromkeys([*before, *after])
    return tuple(
        Change(name=name, before=before.get(name), after=after.get(name))
        for name in names
        if before.get(name, _MISSING) != after.get(name, _MISSING)
    )


def _files(before: Snapshot, after: Snapshot) -> tuple[FileChange, ...]:
    """Return which frozen files differ, beside the notebook itself."""
    old, new = (
        {each.path: each.digest for each in some.files if each.path and each.path != INPUT}
        for some in (before, after)
    )
    kinds: list[tuple[str, Literal["added", "removed", "changed"]]] = []
    for path in sorted(old.keys() | new.keys()):
        if path not in old:
            kinds.append((path, "added"))
        elif path not in new:
            kinds.append((path, "removed"))
        elif old[path] != new[path]:
            kinds.append((path, "changed"))
    return tuple(FileChange(path=_named(path), kind=kind) for path, kind in kinds)


def _named(path: str) -> str:
    return path.removeprefix(f"{WORK}/").removeprefix("notebook/")
