"""Schedules that the cron of a pool fires, with none of us there: brought to its node, and read.

Slots are started there by ``node/cronstart.py``. Whoever of us looks next learns of them: each is
recorded once, under the key that its slot has for all, and its job is found by its id.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from jupyter_aiinfra.bundle import Bundle, stored
from jupyter_aiinfra.errors import Conflict, PoolError, Unreachable, UsageError
from jupyter_aiinfra.model import (
    ID_ALPHABET,
    Job,
    JobKind,
    JobSpec,
    Node,
    Placement,
    Submitter,
    from_wire,
    new_job_id,
    to_wire,
)
from jupyter_aiinfra.node import cronstart
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.pools.files import orders
from jupyter_aiinfra.promote.crontab import ahead, places
from jupyter_aiinfra.promote.notebookjob import NotebookOptions, compose_notebook
from jupyter_aiinfra.promote.policy import moment_text, slot_key
from jupyter_aiinfra.promote.snapshot import Snapshot
from jupyter_aiinfra.promote.zones import zone_of
from jupyter_aiinfra.schedule import Run, RunState, Schedule, Version
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.shell import Shell
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.schedules import ON_NODE

__all__ = ["LOOK_SECONDS", "PoolFired"]

LOOK_SECONDS: Final = 30.0
"""How often somebody of us looks what a node's cron has done."""

_ASLEEP_SECONDS: Final = 180.0
_CALL_SECONDS: Final = 120.0
_MOST_BYTES: Final = 32 << 20
_OFF_NODE: Final = "off:"
_STATES: Final[Mapping[str, RunState]] = {
    "started": RunState.RUNNING,
    "skipped": RunState.SKIPPED,
    "missed": RunState.MISSED,
    "failed": RunState.FAILED,
}
# Reads a program from its input and puts it, whole, into a folder.
_PUT: Final = (
    'umask 077; mkdir -p "$1" && cat >"$1/cronstart.py.$$" '
    '&& mv "$1/cronstart.py.$$" "$1/cronstart.py"'
)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a schedule lies on its node."""

    node: Node
    shell: Shell
    python: str
    root: str
    folder: str


class PoolFired:
    """Keeps schedules on the nodes whose cron fires them, and records what that has done.

    Parameters
    ----------
    pool
        That of the engine.
    """

    def __init__(self, store: Store, settings: Settings, *, pool: Callable[[str], Pool]) -> None:
        self._store = store
        self._settings = settings
        self._pool = pool

    async def look(self, schedule: Schedule, version: Version) -> str:
        """Record what cron has done since the last look; return what is wrong, or nothing.

        What the node has of another version, or not for long any more, is brought anew.

        Raises
        ------
        Unreachable, PoolError
            The node does not answer, or has no cron.
        """
        place = await self._place(version.pool, schedule.id)
        answer = await self._report(place, schedule)
        problem = ""
        if answer is None or self._is_stale(answer, version):
            answer = await self._install(place, schedule, version)
        elif answer["now"] - (answer["woke_at"] or answer["installed_at"]) > _ASLEEP_SECONDS:
            since = answer["woke_at"] or answer["installed_at"]
            problem = (
                f"cron of {place.node.name} has not come since "
                f"{moment_text(since, zone_of(version.timezone))}: is its daemon running?"
            )
            await self._install(place, schedule, version)
        self._record(schedule, answer)
        return problem

    @staticmethod
    def _is_stale(answer: Mapping[str, Any], version: Version) -> bool:
        if answer["version"] != version.number:
            return True
        left, whole = answer["until"] - answer["now"], answer["until"] - answer["since"]
        return bool(left < whole / 2)

    async def install(self, schedule: Schedule, version: Version) -> None:
        """Bring a version to its node, and have cron there fire it; again is no error.

        Raises
        ------
        UsageError
            It is too large.
        Unreachable, PoolError
            The node does not answer, or has no cron.
        """
        place = await self._place(version.pool, schedule.id)
        self._record(schedule, await self._install(place, schedule, version))

    async def remove(self, schedule: Schedule, version: Version) -> None:
        """Have cron fire it no more, and record what it has done up to now; again is no error."""
        place = await self._place(version.pool, schedule.id)
        if await self._report(place, schedule) is not None:
            given = {"schedule": schedule.id, "after": _told(schedule)}
            answer = await self._ask(place, "remove", given)
            self._record(schedule, answer, there=_OFF_NODE)
        else:
            self._remember(schedule, f"{_OFF_NODE}{_told(schedule)}")

    async def align(self, schedule: Schedule, version: Version) -> None:
        """Have the node fire a schedule that lives, and no other."""
        if schedule.live:
            await self.install(schedule, version)
        else:
            await self.remove(schedule, version)

    async def ask(self, schedule: Schedule, version: Version) -> None:
        """Look; raise PoolError where something is wrong."""
        problem = await self.look(schedule, version)
        if problem:
            raise PoolError(problem)

    async def clear(self, schedule: Schedule) -> None:
        """Take a schedule off its node that is paused or removed."""
        version = self._store.schedule_version(schedule.id, schedule.version)
        await self.remove(schedule, version)

    # --- the node ------------------------------------------------------------------------------

    async def _place(self, pool_name: str, schedule_id: str) -> _Place:
        """Return where a schedule lies: on the first node of its pool, whoever looks."""
        pool = self._pool(pool_name)
        node = (await pool.nodes())[0]
        if node.problem is not None:
            raise Unreachable(f"{node.name}: {node.problem}", hint=f"%pool check {pool_name}")
        shells = {each.name: shell for each, shell in await pool.shells()}
        if node.python is None or node.name not in shells:
            raise PoolError(
                f"pool {pool_name} has no node whose cron could be used",
                hint="leave it to servers: --fired-by server",
            )
        plan = await pool.plan(
            Job(
                id=new_job_id(),
                pool=pool_name,
                spec=JobSpec(kind=JobKind.NOTEBOOK, name="cron", argv=("true",)),
                placement=(Placement(node=node.name),),
            )
        )
        root = PurePosixPath(plan.nodes[0].run_dir).parent.parent
        return _Place(
            node=node,
            shell=shells[node.name],
            python=node.python.executable,
            root=str(root),
            folder=str(root / "fired" / schedule_id),
        )

    async def _ask(self, place: _Place, verb: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        argv = (place.python, "-I", "-S", f"{place.folder}/cronstart.py", verb)
        done = await place.shell.run(argv, stdin=json.dumps(given).encode(), timeout=_CALL_SECONDS)
        try:
            answer: Mapping[str, Any] = json.loads(done.stdout)
        except ValueError:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            answer = {"error": said[-1] if said else f"no answer, status {done.status}"}
        if "error" in answer:
            raise PoolError(f"{place.node.name}: {answer['error']}", hint="%pool check tells more")
        return answer

    async def _report(self, place: _Place, schedule: Schedule) -> Mapping[str, Any] | None:
        """Return what cron has done; ``None``: nothing of the schedule is on the node."""
        there = await place.shell.run(("test", "-f", f"{place.folder}/cronstart.py"))
        if not there.ok:
            return None
        return await self._ask(place, "report", {"after": _told(schedule)})

    async def _install(
        self, place: _Place, schedule: Schedule, version: Version
    ) -> Mapping[str, Any]:
        program = await asyncio.to_thread(Path(cronstart.__file__).read_bytes)
        put = await place.shell.run(("sh", "-c", _PUT, "sh", place.folder), stdin=program)
        if not put.ok:
            said = put.stderr.decode(errors="replace").strip()
            raise PoolError(f"{place.node.name}: {place.folder} cannot be written: {said}")
        given = await self._orders(place, schedule, version)
        return await self._ask(place, "install", {**given, "after": _told(schedule)})

    async def _orders(
        self, place: _Place, schedule: Schedule, version: Version
    ) -> Mapping[str, Any]:
        options = from_wire(dict(version.options), NotebookOptions)
        snapshot = from_wire(dict(version.snapshot), Snapshot)
        spec, bundle = compose_notebook(
            snapshot,
            stored(snapshot.files, blobs=self._settings.blobs),
            version.parameters,
            options,
            node=place.node,
            settings=self._settings,
            notebook=version.notebook,
            labels={"schedule": schedule.id, "version": str(version.number)},
        )
        # The same each time: the files of a version are brought once, its orders again and again.
        placeholder = cronstart.job_id(f"{schedule.id}/{version.number}", 0.0)
        job = Job(
            id=placeholder,
            pool=version.pool,
            spec=spec,
            placement=(Placement(node=place.node.name),),
        )
        (node,) = (await self._pool(version.pool).plan(job)).nodes
        stretches, until = await asyncio.to_thread(ahead, version, schedule.decided)
        policy = version.policy
        return {
            "orders": {
                "format": 1,
                "schedule": schedule.id,
                "revision": schedule.revision,
                "version": version.number,
                "placeholder": placeholder,
                "run_dir": node.run_dir,
                "segments": stretches,
                "since": schedule.decided,
                "until": until,
                "overlap": policy.overlap,
                "places": places(policy),
                "catch_up": policy.catch_up,
                "window_seconds": policy.window_seconds,
            },
            "files": await asyncio.to_thread(_contents, bundle),
            "spec": orders(placeholder, spec, node, head=node.address, blobs=f"{place.root}/blobs"),
            "job": to_wire(spec),
        }

    # --- the record ----------------------------------------------------------------------------

    def _record(
        self, schedule: Schedule, answer: Mapping[str, Any], *, there: str = ON_NODE
    ) -> None:
        """Write down what a node has told; what is known already stays as it is."""
        jobs = answer["jobs"]
        # Of what is told once more, and has been on record, the node has let go of the files.
        known = [e for e in answer["events"] if "job" not in e or jobs.get(str(e["version"]))]
        runs = [self._run(schedule, event, jobs) for event in known]
        if runs:
            self._store.add_runs(runs)
        told = max((event["n"] for event in answer["events"]), default=_told(schedule))
        self._remember(schedule, f"{there}{told}")

    def _remember(self, schedule: Schedule, seen: str) -> None:
        while schedule.seen != seen:
            if self._store.change_schedule(schedule, event="schedule.told", seen=seen) is not None:
                return
            now = self._store.find_schedule(schedule.id)
            if now is None or now.version != schedule.version:
                return  # it was edited meanwhile: with the next look
            schedule = now

    def _run(self, schedule: Schedule, event: Mapping[str, Any], jobs: Mapping[str, Any]) -> Run:
        """Return the run of a slot; its job is on record before it is."""
        slot, number = event["slot"], event.get("version", schedule.version)
        state = _STATES[event["what"]]
        job = event.get("job")
        pool = self._store.schedule_version(schedule.id, number).pool
        if job is not None:
            with contextlib.suppress(Conflict):
                self._store.add_job(
                    Job(
                        id=job,
                        pool=pool,
                        spec=from_wire(jobs[str(number)], JobSpec),
                        created_at=event["at"],
                        # It began on its node: who looks at it first finds and binds it there.
                        submitter=Submitter(host=socket.gethostname(), since=0.0),
                    )
                )
        return Run(
            id=_run_id(schedule.id, slot),
            schedule=schedule.id,
            version=number,
            key=slot_key(slot),
            trigger="clock",
            state=state,
            slot=slot,
            reason=event.get("reason"),
            created_at=event["at"],
            start_at=slot,
            started_at=event["at"] if job is not None else None,
            ended_at=event["at"] if state.final else None,
            job=job,
            slots=event.get("slots", 1),
            last_slot=event.get("last_slot"),
        )


def _told(schedule: Schedule) -> int:
    """Return the number of the last event of its node that is on record."""
    where, _, number = (schedule.seen or "").partition(":")
    return int(number) if f"{where}:" in (ON_NODE, _OFF_NODE) else 0


def _run_id(schedule: str, slot: float) -> str:
    """Return the id of the run of a slot: the same for whoever records it."""
    digest = hashlib.sha256(f"{schedule}/{slot!r}".encode()).digest()
    return "r" + "".join(ID_ALPHABET[byte & 31] for byte in digest[5:14])


def _contents(bundle: Bundle) -> dict[str, str]:
    size = sum(file.size_bytes for file in bundle.files)
    if size > _MOST_BYTES:
        raise UsageError(
            f"a schedule that its pool fires can have files of {_MOST_BYTES >> 20} MiB, and these "
            f"are {size / (1 << 20):.0f} MiB",
            hint="let the notebook read them from where the node sees them, or "
            "leave it to servers: --fired-by server",
        )
    return {
        file.path: base64.b64encode(b"".join(bytes(part) for part in file.read())).decode()
        for file in bundle.files
        if file.path is not None
    }
