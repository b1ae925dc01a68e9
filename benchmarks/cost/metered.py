"""How long it takes to meter a day of a thousand jobs that run."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import update

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run
from jupyter_aiinfra.cost.catalog import Terms
from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.model import Job, JobKind, JobSpec, JobState, Placement, PoolRecord
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from jupyter_aiinfra.store.charging import Held
from jupyter_aiinfra.store.readings import ChunkKey
from jupyter_aiinfra.store.schema import allocations, meters
from jupyter_aiinfra.telemetry.packing import Bucket, Chunk, pack

__all__ = ["metered"]

_NODES, _GPUS = 125, 8
_DAY = 86400


def metered(run: Run) -> Sequence[Figure]:
    """Let a thousand jobs run for a day that nobody looked at, and look."""
    whole: list[float] = []
    again: list[float] = []
    one: list[float] = []
    for number in range(1, run.rounds + 1):
        store = open_store(Settings(home=run.folder / str(number)))
        now = time.time()
        _run_jobs(store, since=now - _DAY)
        ledger = Ledger(store, wall=lambda: now)  # noqa: B023 - used within the round
        begun = time.process_time()
        ledger.settle()
        whole.append(time.process_time() - begun)
        begun = time.perf_counter()
        ledger.settle(now=now + 60)
        again.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        ledger.job_cost("job7")
        one.append(1000 * (time.perf_counter() - begun))
        store.close()
        run.say(f"metered {number}/{run.rounds}: {whole[-1]:.2f} s, again {again[-1]:.2f} s")
    return (
        Figure(
            name="metering 1,000 jobs that ran for a day",
            unit="s",
            ours=tuple(whole),
            judged=Judged.OURS,
            goal=Goal(limit=5),
            note="1,000 GPUs of 125 nodes with readings of every minute, into 24,000 rows of a "
            "SQLite file; nobody had looked for the whole day. Processor time, which all of it is.",
        ),
        Figure(
            name="metering them again a minute later",
            unit="s",
            ours=tuple(again),
            judged=Judged.OURS,
            note="the hour under way, which is what the server does once a minute.",
        ),
        Figure(
            name="the cost of one of them, to the second",
            unit="ms",
            ours=tuple(one),
            judged=Judged.OURS,
            note="computed of the facts, as the page of the job asks for it.",
        ),
    )


def _run_jobs(store: Store, *, since: float) -> None:
    store.add_pool(PoolRecord(name="lab", kind="ssh"))
    nodes = {
        f"n{node}": [Held(f"GPU-{node}-{gpu}", "H100") for gpu in range(_GPUS)]
        for node in range(_NODES)
    }
    store.note_capacity("lab", nodes, at=since)
    Ledger(store).set_price("lab", Terms(amount="2.49"), since=since)
    for number in range(_NODES * _GPUS):
        node, gpu = divmod(number, _GPUS)
        place = Placement(node=f"n{node}", gpus=(f"GPU-{node}-{gpu}",))
        spec = JobSpec(kind=JobKind.TRAIN, name="digits", argv=("python",), gpus=1)
        job = Job(id=f"job{number}", pool="lab", spec=spec, placement=(place,))
        store.add_job(job)
    _backdate(store, since)
    _read(store, since)
    assert len(store.list_jobs(states=[JobState.PENDING])) == _NODES * _GPUS


def _backdate(store: Store, since: float) -> None:
    """Have everything begin a day ago: facts are written as of now."""
    with store._database.write() as connection:  # noqa: SLF001 - nobody else could
        connection.execute(update(allocations).values(since=round(since * 1e6)))
        connection.execute(update(meters).values(settled=int(since) // 3600 * 3600, dirty=None))


def _read(store: Store, since: float) -> None:
    """Keep readings of every minute of the day, on every node."""
    chunk = Chunk()
    for node in range(1):
        for gpu in range(_GPUS):
            column = chunk.column(f"GPU-{node}-{gpu}", "utilization")
            for minute in range(60):
                column[minute] = Bucket(min(100, 60 + (minute * 7 + gpu) % 40), 0, 100, 60)
    hours = range(int(since) // 3600 * 3600, int(since) + _DAY + 3600, 3600)
    for node in range(_NODES):
        mine = Chunk()
        mine.columns = {
            uuid.replace("GPU-0-", f"GPU-{node}-"): columns
            for uuid, columns in chunk.columns.items()
        }
        data = pack(mine)
        made = {ChunkKey("lab", f"n{node}", 60, hour): data for hour in hours}
        store.change_chunks(list(made), lambda _, made=made: made)  # type: ignore[misc]
