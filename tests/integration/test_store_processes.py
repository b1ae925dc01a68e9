from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.model import JobState, PoolRecord
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from tests.postgres_server import PostgresServer, postgres_server
from tests.store_suite import job

__all__ = ["postgres_server"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROCESSES = 6
TURNS = 40


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Return the settings of a store that nobody has opened yet."""
    if request.param == "sqlite":
        return Settings(home=tmp_path / "home")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return Settings(home=tmp_path / "home", database_url=server.new_database())


@pytest.fixture
def store(where: Settings) -> Iterator[Store]:
    store = open_store(where)
    store.add_pool(PoolRecord(name="here", kind="local"))
    yield store
    store.close()


@contextmanager
def started(script: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """Start one of the programs beside this file; it is gone when the block ends."""
    argv = [sys.executable, "-W", "error", str(HERE / script), *map(str, words)]
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def result(process: subprocess.Popen[str]) -> Any:
    """Wait for the end of a program and return what it printed; it must not have complained."""
    out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    return json.loads(out)


def contend(
    where: Settings, *, turns: int, script: str = "store_worker.py"
) -> list[dict[str, Any]]:
    """Let processes that are all ready loose on the store; return what each won."""
    words = (where.home, where.database_url or "-")
    with ExitStack() as stack:
        workers = [
            stack.enter_context(started(script, *words, seed, turns)) for seed in range(PROCESSES)
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        return [result(worker) for worker in workers]


def test_each_version_has_one_winner_and_no_update_is_lost(where: Settings, store: Store) -> None:
    store.add_job(job())
    won = contend(where, turns=TURNS)
    final = store.get_job("job1")

    versions = [version for each in won for bases in each.values() for version in bases]
    assert sorted(versions) == list(range(final.version))
    assert sum(len(each["bind"]) for each in won) <= 1
    assert final.seen is not None
    names = Counter(final.seen.results)
    assert names == {
        str(number): len(each["advance"]) for number, each in enumerate(won) if each["advance"]
    }
    assert len([each for each in won if any(each.values())]) > 1, "they did contend"
    ids = [event.id for event in store.events()]
    assert ids == sorted(set(ids))


def test_one_process_binds(where: Settings, store: Store) -> None:
    store.add_job(job())
    won = contend(where, turns=1)
    assert [version for each in won for version in each["bind"]] == [0]
    bound = store.get_job("job1")
    assert bound.handle is not None
    assert won[int(bound.handle.data["by"])]["bind"] == [0]


def test_no_gpu_is_leased_twice_however_many_processes_want_it(
    where: Settings, store: Store
) -> None:
    for number in range(3 * PROCESSES):
        queued = job(f"job{number}", state=JobState.QUEUED)
        spec = replace(queued.spec, gpus=1 + number % 2, share=number % 3 == 0)
        store.add_job(replace(queued, spec=spec))
    found = contend(where, turns=400, script="store_claimer.py")
    won = [job_id for each in found for job_id in each["won"]]
    assert sorted(won) == sorted(job.id for job in store.list_jobs())
    assert len([each for each in found if each["won"]]) > 1, "they did contend"
    assert [each["wrong"] for each in found] == [[]] * PROCESSES
    assert store.leases() == []


def test_processes_that_open_a_new_store_at_once_all_get_it(where: Settings) -> None:
    assert contend(where, turns=0) == [{"bind": [], "request": [], "advance": []}] * PROCESSES
    store = open_store(where)
    assert store.list_pools() == []
    store.close()


def test_a_store_is_used_on_both_sides_of_a_fork(where: Settings, store: Store) -> None:
    children = 8
    with started("store_forker.py", where.home, where.database_url or "-", children) as forker:
        done = result(forker)
    assert done["statuses"] == [0] * children
    found = Counter(event.subject for event in store.events(limit=1_000_000))
    assert found["child"] == children * done["per_child"]
    assert found["between"] == children
    assert found["parent"] == done["parent"] > 0


def test_opening_a_store_that_is_up_to_date_loads_no_alembic(where: Settings, store: Store) -> None:
    program = (
        "import sys; from pathlib import Path; from jupyter_aiinfra.settings import Settings; "
        "from jupyter_aiinfra.store import open_store; home, url = sys.argv[1:]; "
        "store = open_store(Settings(home=Path(home), database_url=None if url == '-' else url)); "
        "store.list_pools(); store.close(); "
        "print(sorted({name.split('.')[0] for name in sys.modules}))"
    )
    argv = [sys.executable, "-W", "error", "-c", program]
    argv += [str(where.home), where.database_url or "-"]
    loaded = subprocess.run(
        argv, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT
    ).stdout
    assert "'sqlalchemy'" in loaded
    assert "'alembic'" not in loaded
    assert "'mako'" not in loaded
