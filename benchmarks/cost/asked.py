"""How soon `%cost` answers over a million rows of usage."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from benchmarks.asking import asked_in_turn
from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run
from jupyter_aiinfra.cost.bill import Scope
from jupyter_aiinfra.cost.catalog import Terms
from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store

__all__ = ["asked"]

_JOBS, _HOURS = 1000, 1000
_HOUR, _DAY = 3600, 86400


def asked(run: Run) -> Sequence[Figure]:
    """Fill a SQLite file with six weeks of a thousand jobs, and ask what they came to."""
    store = open_store(Settings(home=run.folder))
    store.add_pool(PoolRecord(name="lab", kind="ssh"))
    ledger = Ledger(store)
    now = int(time.time()) // _HOUR * _HOUR
    ledger.set_price("lab", Terms(amount="2.49"))
    _fill(store, now)
    questions: dict[str, Callable[[], object]] = {
        "by job": lambda: ledger.bill(start=now - _HOURS * _HOUR, end=now, by="job"),
        "by user": lambda: ledger.bill(start=now - _HOURS * _HOUR, end=now, by="user"),
        "a month by project": lambda: ledger.bill(
            start=now - 30 * _DAY - 5 * _HOUR, end=now - 7 * _HOUR, by="project"
        ),
        "one user's by notebook": lambda: ledger.bill(
            start=now - 30 * _DAY, end=now, by="notebook", scope=Scope(user="user3")
        ),
        "what a project has spent": lambda: ledger.spend(Scope(project="project4"), start=1.0),
    }
    took = asked_in_turn(run, "asked", questions)
    store.close()
    return tuple(
        Figure(
            name=f"%cost over a million rows, {name}",
            unit="ms",
            ours=rounds,
            judged=Judged.OURS,
            goal=Goal(limit=300),
            note=f"{_JOBS:,} jobs of {_HOURS:,} hours each in a SQLite file; days are added up "
            "beside the hours.",
        )
        for name, rounds in took.items()
    )


def _fill(store: Store, now: int) -> None:
    """Write a million rows at once: metering them one day after the other is measured elsewhere."""
    with store._database.write() as connection:  # noqa: SLF001 - nobody else could
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.executemany(
            "INSERT INTO charged_jobs (job, pool, name, kind, created_at, notebook, user, project,"
            " tags) VALUES (?, 'lab', 'digits', 'train', 0, ?, ?, ?, '{}')",
            [
                (f"job{job}", f"n{job % 50}.ipynb", f"user{job % 20}", f"project{job % 10}")
                for job in range(_JOBS)
            ],
        )
        raw.executemany(
            "INSERT INTO usage VALUES (?, 'lab', 'n1', ?, 1, 1, 3600000000, 1800000000, 900000000)",
            (
                (now - hour * _HOUR, f"job{job}")
                for hour in range(_HOURS, 0, -1)
                for job in range(_JOBS)
            ),
        )
        raw.execute(
            "INSERT INTO usage_days SELECT start - start % 86400, pool, job, price, parts,"
            " SUM(allocated), SUM(used), SUM(idle) FROM usage GROUP BY 1, 2, 3, 4, 5"
        )
        (count,) = raw.execute("SELECT COUNT(*) FROM usage").fetchone()
        assert count == _JOBS * _HOURS
