from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from sqlalchemy import event, make_url

from jupyter_aiinfra.errors import (
    Conflict,
    JobNotFound,
    MissingExtra,
    PoolNotFound,
    SchemaTooNew,
    StorageFull,
    StoreError,
)
from jupyter_aiinfra.model import Desired, Job, JobState, Lease, Placement, PoolRecord, Submitter
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, database, open_store, opening, rows
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.opening import migration_config
from jupyter_aiinfra.store.schema import HEAD, metadata
from tests.store_suite import HANDLE, StoreSuite, job, seen

STORES_AS_THEY_ARE = True
"""How they are made and migrated is asked here."""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database as migrated, to be copied: a hundred migrations take a while."""
    home = tmp_path_factory.mktemp("fresh")
    open_store(Settings(home=home)).close()
    return home / "aiinfra.db"


@pytest.fixture
def home(tmp_path: Path, fresh: Path) -> Path:
    """Return a home with an empty store that is up to date."""
    shutil.copy(fresh, tmp_path / "aiinfra.db")
    return tmp_path


class TestOnSqlite(StoreSuite):
    @pytest.fixture
    def open_again(self, home: Path) -> Callable[[], Store]:
        return lambda: open_store(Settings(home=home))


# opening


def test_a_folder_whose_name_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    home = tmp_path / os.fsdecode(b"h\xff")
    with pytest.raises(StoreError, match=r"h\\xff' is not UTF-8"):
        open_store(Settings(home=home))
    assert not home.exists()


def test_a_store_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    mask = os.umask(0)
    try:
        store = open_store(Settings(home=home))
        store.add_pool(PoolRecord(name="here", kind="local"))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "aiinfra.db").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["aiinfra.db"], "no journal is left"


def test_what_exists_keeps_its_modes(home: Path) -> None:
    home.chmod(0o750)
    (home / "aiinfra.db").chmod(0o640)
    open_store(Settings(home=home))
    assert stat.S_IMODE(home.stat().st_mode) == 0o750
    assert stat.S_IMODE((home / "aiinfra.db").stat().st_mode) == 0o640


def test_a_store_that_is_up_to_date_opens_without_alembic(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "alembic", None)
    assert open_store(Settings(home=home)).list_pools() == []
    with pytest.raises(ImportError, match="alembic"):
        open_store(Settings(home=tmp_path / "other"))


def test_a_home_may_have_any_name(tmp_path: Path) -> None:
    home = tmp_path / "what? 100%d #1 ünï"
    open_store(Settings(home=home)).add_pool(PoolRecord(name="here", kind="local"))
    assert (home / "aiinfra.db").is_file()


def test_a_file_given_by_url_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(Settings(home=tmp_path / "home", database_url="sqlite:///sub/team.db"))
    monkeypatch.chdir("/")
    store.add_pool(PoolRecord(name="here", kind="local"))
    assert stat.S_IMODE((tmp_path / "sub" / "team.db").stat().st_mode) == 0o600
    assert store.url_shown == f"sqlite:///{tmp_path}/sub/team.db"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("no url, but hunter2", "not a URL"),
        ("postgresql://me:hunter2@host:port/db", "not a URL"),
        ("mysql://me:hunter2@host/db", "'mysql'"),
        ("postgresql+psycopg2://me:hunter2@host/db", r"'postgresql\+psycopg2'"),
        ("sqlite://", "plain file"),
        ("sqlite:///:memory:", "plain file"),
        ("sqlite:///file:x?mode=memory&uri=true", "plain file"),
    ],
)
def test_a_wrong_url_is_refused_without_repeating_a_password(
    tmp_path: Path, url: str, words: str
) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        open_store(Settings(home=tmp_path, database_url=url))
    assert "JUPYTER_AIINFRA_DATABASE_URL" in caught.value.hint
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_no_spelling_of_a_password_is_shown() -> None:
    url = make_url("postgresql+psycopg://me:p%40ss%2Fw+rd@host/db?sslpassword=t%20op&x=1")
    kept = Database(url)
    assert kept.shown == "postgresql+psycopg://me:***@host/db?x=1"
    spoken = ValueError("p@ss/w+rd, p%40ss%2Fw%2Brd, t op, t%20op and t+op")
    message = str(kept._explain(spoken))
    assert message.endswith("***, ***, ***, *** and ***")


def test_a_newer_schema_is_left_alone(home: Path) -> None:
    with closing(sqlite3.connect(home / "aiinfra.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = (home / "aiinfra.db").read_bytes()
    with pytest.raises(SchemaTooNew, match=f"9999.*{HEAD}") as caught:
        open_store(Settings(home=home))
    assert "upgrade" in caught.value.hint
    assert (home / "aiinfra.db").read_bytes() == before


def test_the_database_of_another_program_is_left_alone(home: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home / "aiinfra.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '1b5f0d9ad7c1'")
    with pytest.raises(StoreError, match=r"another program.*1b5f0d9ad7c1"):
        open_store(Settings(home=home))
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE jobs (theirs TEXT)")
    with pytest.raises(StoreError, match="already exists") as caught:
        open_store(Settings(home=home, database_url=f"sqlite:///{tmp_path}/other.db"))
    assert "database of its own" in caught.value.hint
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("jobs",)], "what was begun is undone"


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "aiinfra.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match=r"aiinfra\.db.*not a database") as caught:
        open_store(Settings(home=tmp_path))
    assert "move it away" in caught.value.hint


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "aiinfra.db").mkdir()
    with pytest.raises(StoreError, match=r"aiinfra\.db.*unable to open") as caught:
        open_store(Settings(home=tmp_path))
    assert "read and write the file" in caught.value.hint


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/home.*Not a directory") as caught:
        open_store(Settings(home=tmp_path / "file" / "home"))
    assert "JUPYTER_AIINFRA_HOME" in caught.value.hint


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(StorageFull, match=r"aiinfra\.db"):
        open_store(Settings(home=tmp_path))


def test_a_write_that_does_not_fit_changes_nothing(home: Path) -> None:
    store = open_store(Settings(home=home))
    # One page more than there is now: SQLite itself says that the disk is full.
    with store._database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(store._database._engine, "connect", limit)
    store.close()  # the next use connects again
    with pytest.raises(StorageFull, match=r"aiinfra\.db") as caught:
        store.add_pool(PoolRecord(name="big", kind="local", options={"x": "x" * 100_000}))
    assert "free some space" in caught.value.hint
    assert store.list_pools() == []
    assert store.version() == 0


def test_a_database_kept_busy_is_said_to_be_busy(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0)
    store = open_store(Settings(home=home))
    with closing(sqlite3.connect(home / "aiinfra.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert store.version() == 0, "readers do not wait for a writer"
        with pytest.raises(StoreError, match="locked") as caught:
            store.add_event("note", "a", {})
        assert "try again" in caught.value.hint
    store.add_event("note", "a", {})


def test_a_writer_waits_for_another(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(Settings(home=home))
    pauses: list[float] = []
    with closing(sqlite3.connect(home / "aiinfra.db", isolation_level=None)) as holder:

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 9:
                holder.rollback()

        holder.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(time, "sleep", pause)
        store.add_event("note", "a", {})
    assert len(pauses) == 9
    assert max(pauses) < 0.02, "a lock that is free for a moment is not missed for long"
    assert store.version() == 1


def test_a_file_that_may_not_be_written_is_not_waited_for(home: Path) -> None:
    store = open_store(Settings(home=home))

    def forbid(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_authorizer(
            lambda action, *_: (
                sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK
            )
        )

    event.listen(store._database._engine, "connect", forbid)
    store.close()  # the next use connects again
    with pytest.raises(StoreError, match="not authorized"):
        store.add_event("note", "a", {})


def test_a_write_ahead_log_is_given_up(home: Path) -> None:
    with closing(sqlite3.connect(home / "aiinfra.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    store = open_store(Settings(home=home))
    store.add_event("note", "a", {})
    with closing(sqlite3.connect(home / "aiinfra.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_connections_enforce_foreign_keys(home: Path) -> None:
    with open_store(Settings(home=home))._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_connection_to_a_file_is_used_again_by_other_threads(home: Path) -> None:
    store = open_store(Settings(home=home))

    def driver() -> object:
        with store._database.read() as connection:
            return connection.connection.driver_connection

    with ThreadPoolExecutor(1) as other:
        assert other.submit(driver).result() is driver()


def test_a_file_that_was_put_in_place_of_the_old_one_is_seen(home: Path, tmp_path: Path) -> None:
    store = open_store(Settings(home=home))
    backup = tmp_path / "backup.db"
    shutil.copy(home / "aiinfra.db", backup)
    store.add_event("note", "lost", {})
    backup.replace(home / "aiinfra.db")
    assert [event.subject for event in store.events()] == []
    store.add_event("note", "kept", {})
    with closing(sqlite3.connect(home / "aiinfra.db")) as connection:
        assert connection.execute("SELECT subject FROM events").fetchall() == [("kept",)]


def test_a_child_has_no_connection_to_a_file_of_its_parent(home: Path) -> None:
    store = open_store(Settings(home=home))
    store.add_event("note", "parent", {})
    pid = os.fork()
    if pid == 0:
        database_file = home / "aiinfra.db"
        opened = [each for each in Path("/proc/self/fd").iterdir() if each.exists()]
        same = [each for each in opened if each.samefile(database_file)]
        store.add_event("note", "child", {})
        os._exit(len(same))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert [event.subject for event in store.events()] == ["parent", "child"]


def test_a_child_leaves_its_parents_connections_alone() -> None:
    kept = Database(make_url("postgresql+psycopg://me@host/db"))
    parents = kept._engine.pool
    database._gate.acquire()  # as before a fork
    database._in_child()
    assert kept._engine.pool is not parents
    assert parents in database._inherited, "collected, it would end the parent's conversation"


def test_a_missing_driver_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match="psycopg") as caught:
        open_store(Settings(home=tmp_path, database_url="postgresql://me@host/db"))
    assert "[postgres]" in caught.value.hint


def test_a_change_behind_our_back_is_not_written_over(home: Path) -> None:
    store = open_store(Settings(home=home))
    store.add_pool(PoolRecord(name="here", kind="local"))
    store.add_job(job())

    def change_twice() -> None:
        with store._database.write() as connection:
            row = rows.job_row(connection, "job1")
            rows.change(connection, row, {"desired": "stop"})
            rows.change(connection, row, {"desired": "run"})

    with pytest.raises(StoreError, match="another program"):
        change_twice()
    assert store.get_job("job1").version == 0, "the transaction is undone"


def test_an_event_id_is_never_used_twice(home: Path) -> None:
    store = open_store(Settings(home=home))
    first = store.add_event("note", "a", {})
    with closing(sqlite3.connect(home / "aiinfra.db")) as connection, connection:
        connection.execute("DELETE FROM events")
    assert store.add_event("note", "a", {}) > first


def test_a_record_that_cannot_be_read_is_named(home: Path) -> None:
    store = open_store(Settings(home=home))
    store.add_pool(PoolRecord(name="here", kind="local"))
    store.add_job(job())
    with closing(sqlite3.connect(home / "aiinfra.db")) as connection, connection:
        connection.execute("UPDATE jobs SET desired = 'dance'")
    with pytest.raises(StoreError, match=r"job 'job1'.*dance") as caught:
        store.get_job("job1")
    assert "upgrade" in caught.value.hint


# migrations


def test_the_code_is_written_for_the_newest_migration(home: Path) -> None:
    with open_store(Settings(home=home))._database.read() as connection:
        scripts = ScriptDirectory.from_config(migration_config(connection))
    assert scripts.get_current_head() == HEAD


def test_an_older_schema_is_migrated_by_the_first_who_comes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def upgrade(config: Config, revision: str) -> None:
        asked.append(revision)
        config.attributes["connection"].exec_driver_sql(
            "UPDATE alembic_version SET version_num = '9998'"
        )

    monkeypatch.setattr(opening, "HEAD", "9998")
    monkeypatch.setattr(command, "upgrade", upgrade)
    open_store(Settings(home=home))
    open_store(Settings(home=home))
    assert asked == ["9998"]


def test_who_waited_for_another_to_migrate_does_not_migrate_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])  # as if the other had been done in between
    monkeypatch.setattr(opening, "_is_current", lambda *_: next(answers))
    monkeypatch.setitem(sys.modules, "alembic", None)
    open_store(Settings(home=home))
    assert list(answers) == []


def test_migrations_lead_to_the_tables_of_the_code(home: Path, tmp_path: Path) -> None:
    made = Database(make_url(f"sqlite:///{tmp_path}/made.db"))
    with made.write() as connection:
        metadata.create_all(connection)
    migrated = open_store(Settings(home=home))._database
    assert _schema(migrated) == _schema(made)
    with migrated.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrations_go_down_and_up_again(home: Path) -> None:
    kept = open_store(Settings(home=home))._database
    before = _schema(kept)
    with kept.write() as connection:
        command.downgrade(migration_config(connection), "base")
    assert _schema(kept) == {}
    open_store(Settings(home=home)).add_pool(PoolRecord(name="here", kind="local"))
    assert _schema(kept) == before


def _schema(kept: Database) -> dict[str, str]:
    """Return the normalised SQL of every table and index but Alembic's own."""
    with kept.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            " AND tbl_name NOT IN ('alembic_version', 'sqlite_sequence')"
        ).all()
    return {name: " ".join(sql.split()) for name, sql in rows}


# any interleaving


@dataclass
class Expected:
    """The reference: what a store must say of one job."""

    pool: str
    state: JobState = JobState.PENDING
    desired: Desired = Desired.RUN
    version: int = 0
    bound: bool = False
    leases: dict[str, bool] = field(default_factory=dict)


ORDER = [JobState.QUEUED, JobState.PENDING, JobState.STARTING, JobState.RUNNING]
WHICH = st.integers(0, 1)
STALE = st.integers(-1, 1)
GPUS = st.sets(st.sampled_from(["g0", "g1", "g2"]))


class Interleavings(RuleBasedStateMachine):
    """Two stores over one file, against a dictionary. `fresh_file` is set before each run."""

    fresh_file: Path
    jobs = Bundle("jobs")
    removed = Bundle("removed")

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        home = Path(self.folder.name)
        shutil.copy(self.fresh_file, home / "aiinfra.db")
        self.stores = [open_store(Settings(home=home)) for _ in range(2)]
        for store in self.stores:  # what a power cut would leave is not asked here
            event.listen(store._database._engine, "connect", _do_not_sync)
            store.close()  # the next use connects again
        self.expected: dict[str, Expected] = {}
        self.pools: set[str] = set()
        self.changes = 0
        self.last_event = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(which=WHICH, name=st.sampled_from("pq"))
    def attach(self, which: int, name: str) -> None:
        try:
            self.stores[which].add_pool(PoolRecord(name=name, kind="local"))
        except Conflict:
            assert name in self.pools
        else:
            assert name not in self.pools
            self.pools.add(name)
            self.changes += 1

    @rule(which=WHICH, name=st.sampled_from("pq"))
    def detach(self, which: int, name: str) -> None:
        if name not in self.pools:
            with pytest.raises(PoolNotFound):
                self.stores[which].remove_pool(name)
            return
        self.stores[which].remove_pool(name)
        self.pools.remove(name)
        self.changes += 1

    @rule(target=jobs, which=WHICH, name=st.sampled_from("pq"))
    def launch(self, which: int, name: str) -> object:
        if name not in self.pools:
            return multiple()
        job_id = f"j{self.changes}"
        self.stores[which].add_job(job(job_id, pool=name, created_at=float(self.changes)))
        self.expected[job_id] = Expected(name)
        self.changes += 1
        return job_id

    @rule(target=jobs, which=WHICH, name=st.sampled_from("pq"))
    def queue(self, which: int, name: str) -> object:
        if name not in self.pools:
            return multiple()
        job_id = f"j{self.changes}"
        queued = job(job_id, pool=name, created_at=float(self.changes), state=JobState.QUEUED)
        self.stores[which].add_job(queued)
        self.expected[job_id] = Expected(name, JobState.QUEUED)
        self.changes += 1
        return job_id

    @rule(target=jobs, which=WHICH, name=st.sampled_from("pq"), gpus=GPUS, shared=st.booleans())
    def launch_placed(self, which: int, name: str, gpus: set[str], shared: bool) -> object:
        if name not in self.pools:
            return multiple()
        job_id = f"j{self.changes}"
        placed = job(job_id, pool=name, created_at=float(self.changes), placement=places(gpus))
        placed = replace(placed, spec=replace(placed.spec, share=shared))
        if not self.stores[which].add_placed(placed):
            assert not self._free(gpus, shared)
            return multiple()
        assert self._free(gpus, shared)
        self.expected[job_id] = Expected(name, leases=dict.fromkeys(gpus, shared))
        self.changes += 1
        return job_id

    @rule(which=WHICH, job_id=jobs, gpus=GPUS, shared=st.booleans(), stale=STALE)
    def claim(self, which: int, job_id: str, gpus: set[str], shared: bool, stale: int) -> None:
        now = self.expected[job_id]
        waits = now.state is JobState.QUEUED and now.desired is Desired.RUN
        may = waits and stale == 0 and self._free(gpus, shared)
        won = self.stores[which].claim(
            job_id,
            expected=now.version + stale,
            placement=places(gpus),
            shared=shared,
            submitter=Submitter(host="here"),
        )
        assert won is may
        if may:
            now.state, now.leases = JobState.PENDING, dict.fromkeys(gpus, shared)
            self._changed(now)

    @rule(which=WHICH, job_id=jobs)
    def end_queued(self, which: int, job_id: str) -> None:
        now = self.expected[job_id]
        may = now.state is JobState.QUEUED
        state = JobState.CANCELLED
        assert self.stores[which].end_queued(job_id, state=state, reason="unwanted") is may
        if may:
            now.state = state
            self._changed(now)

    @rule(which=WHICH, job_id=jobs)
    def release(self, which: int, job_id: str) -> None:
        # Of a job that is not over nothing is let go, and of one that is nothing is left to.
        assert not self.stores[which].release(job_id)

    def _free(self, gpus: set[str], shared: bool) -> bool:
        held = [now.leases[gpu] for now in self.expected.values() for gpu in gpus & {*now.leases}]
        return not held or (shared and all(held))

    @rule(which=WHICH, job_id=jobs)
    def bind(self, which: int, job_id: str) -> None:
        now = self.expected[job_id]
        may = now.state is JobState.PENDING and not now.bound
        assert self.stores[which].bind(job_id, handle=HANDLE) is may
        if may:
            now.bound, now.state = True, JobState.STARTING
            self._changed(now)

    @rule(which=WHICH, job_id=jobs, state=st.sampled_from(JobState), stale=STALE)
    def advance(self, which: int, job_id: str, state: JobState, stale: int) -> None:
        now = self.expected[job_id]
        onward = state.final or (
            now.state in ORDER and ORDER.index(state) >= ORDER.index(now.state)
        )
        may = stale == 0 and not now.state.final and onward
        won = self.stores[which].advance(job_id, expected=now.version + stale, seen=seen(state))
        assert won is may
        if may:
            self._changed(now, events=int(state is not now.state))
            now.state = state
            now.leases = {} if state.final else now.leases

    @rule(which=WHICH, job_id=jobs, desired=st.sampled_from(Desired), stale=STALE)
    def request(self, which: int, job_id: str, desired: Desired, stale: int) -> None:
        now = self.expected[job_id]
        may = stale == 0 and not now.state.final
        store = self.stores[which]
        assert store.request(job_id, expected=now.version + stale, desired=desired) is may
        if may:
            now.desired = desired
            self._changed(now)

    @rule(which=WHICH, job_id=jobs)
    def fail(self, which: int, job_id: str) -> None:
        now = self.expected[job_id]
        may = now.state is JobState.PENDING and not now.bound
        assert self.stores[which].fail_pending(job_id, reason="gone") is may
        if may:
            now.state, now.leases = JobState.FAILED, {}
            self._changed(now)

    @rule(target=removed, which=WHICH, job_id=consumes(jobs))
    def finish_and_remove(self, which: int, job_id: str) -> str:
        now = self.expected.pop(job_id)
        if not now.state.final:
            with pytest.raises(Conflict):
                self.stores[which].remove_job(job_id)
            last = seen(JobState.LOST)
            assert self.stores[1 - which].advance(job_id, expected=now.version, seen=last)
            self.changes += 1
        self.stores[which].remove_job(job_id)
        self.changes += 1
        return job_id

    @rule(which=WHICH, job_id=removed)
    def gone(self, which: int, job_id: str) -> None:
        with pytest.raises(JobNotFound):
            self.stores[which].bind(job_id, handle=HANDLE)

    @invariant()
    def both_stores_say_what_is_expected(self) -> None:
        for store in getattr(self, "stores", []):
            assert {pool.name for pool in store.list_pools()} == self.pools
            listed = store.list_jobs()
            assert [found.id for found in listed] == list(reversed(self.expected))
            leases = store.leases()
            assert {found.id: _expected(found, leases) for found in listed} == self.expected
            active = {name for name, now in self.expected.items() if not now.state.final}
            assert {found.id for found in store.list_jobs(active=True)} == active
            new = store.events(since=self.last_event)
            assert [event.id for event in new] == list(range(self.last_event + 1, self.changes + 1))
            assert store.version() == self.changes
            exclusive = [lease.gpu for lease in leases if not lease.shared]
            assert len({lease.gpu for lease in leases}) >= len(exclusive) == len({*exclusive})
            assert not {lease.gpu for lease in leases if lease.shared} & {*exclusive}
        self.last_event = self.changes

    def _changed(self, now: Expected, *, events: int = 1) -> None:
        now.version += 1
        self.changes += events


def _do_not_sync(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def places(gpus: set[str]) -> tuple[Placement, ...]:
    return (Placement(node="n", gpus=tuple(sorted(gpus))),)


def _expected(found: Job, leases: Sequence[Lease]) -> Expected:
    return Expected(
        found.pool,
        found.state,
        found.desired,
        found.version,
        bound=found.handle is not None,
        leases={lease.gpu: lease.shared for lease in leases if lease.job == found.id},
    )


@pytest.mark.timeout(600)
def test_any_interleaving_of_two_stores_is_as_if_there_were_one(fresh: Path) -> None:
    Interleavings.fresh_file = fresh
    machine = Interleavings.TestCase
    machine.settings = settings(
        max_examples=25,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine("runTest").runTest()
