from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, make_url

from jupyter_aiinfra.errors import SchemaTooNew, StoreError
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, database, open_store
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.opening import migration_config
from jupyter_aiinfra.store.schema import HEAD, metadata
from tests.cost_suite import CostSuite
from tests.postgres_server import PostgresServer, postgres_server
from tests.schedule_suite import ScheduleSuite
from tests.store_suite import StoreSuite

__all__ = ["postgres_server"]


@pytest.fixture
def where(postgres_server: PostgresServer, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, database_url=postgres_server.new_database())


@pytest.fixture
def open_again(where: Settings) -> Iterator[Callable[[], Store]]:
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(open_store(where))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


class TestOnPostgres(StoreSuite):
    pass


class TestCostOnPostgres(CostSuite):
    pass


class TestSchedulesOnPostgres(ScheduleSuite):
    pass


def sql(where: Settings, server: PostgresServer, statement: bytes) -> None:
    with server.connect(str(make_url(where.database).database)) as connection:
        connection.execute(statement)


def test_the_password_is_not_shown(
    open_again: Callable[[], Store], postgres_server: PostgresServer
) -> None:
    shown = open_again().url_shown
    assert shown.startswith("postgresql+psycopg://tester:***@/test_")
    assert postgres_server.password not in shown


def test_what_keeps_a_server_from_being_used_is_said_without_the_password(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    def failure(url: str) -> str:
        with pytest.raises(StoreError) as caught:
            open_store(Settings(home=tmp_path, database_url=url))
        assert "JUPYTER_AIINFRA_DATABASE_URL" in caught.value.hint
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"
        assert postgres_server.password not in f"{caught.value} {caught.value.__cause__}"
        return str(caught.value)

    assert "password authentication failed" in failure(
        postgres_server.url("postgres", password="hunter2")
    )
    assert '"nowhere" does not exist' in failure(postgres_server.url("nowhere"))
    assert "No such file or directory" in failure(f"postgresql://u:hunter2@/db?host={tmp_path}")


def test_a_newer_schema_is_left_alone(
    where: Settings, open_again: Callable[[], Store], postgres_server: PostgresServer
) -> None:
    open_again()
    sql(where, postgres_server, b"UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match=f"9999.*{HEAD}"):
        open_again()


def test_the_tables_of_another_program_are_left_alone(
    where: Settings, open_again: Callable[[], Store], postgres_server: PostgresServer
) -> None:
    sql(where, postgres_server, b"CREATE TABLE jobs (theirs text)")
    with pytest.raises(StoreError, match="already exists") as caught:
        open_again()
    assert "database of its own" in caught.value.hint
    sql(where, postgres_server, b"SELECT theirs FROM jobs")
    with pytest.raises(psycopg.errors.UndefinedTable):
        sql(where, postgres_server, b"SELECT * FROM pools")


def test_a_user_without_rights_is_told_which(
    where: Settings, postgres_server: PostgresServer
) -> None:
    sql(where, postgres_server, b"CREATE ROLE guest LOGIN PASSWORD 'hunter2'")
    url = make_url(where.database).set(username="guest", password="hunter2")
    text = url.render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="permission denied") as caught:
        open_store(Settings(home=where.home, database_url=text))
    assert "grant" in caught.value.hint


def test_a_store_outlives_the_connections_that_a_server_cuts(
    where: Settings, open_again: Callable[[], Store], postgres_server: PostgresServer
) -> None:
    store = open_again()
    store.add_pool(PoolRecord(name="here", kind="local"))
    sql(
        where,
        postgres_server,
        b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        b" WHERE pid <> pg_backend_pid() AND datname = current_database()",
    )
    assert [pool.name for pool in store.list_pools()] == ["here"]


def test_a_database_kept_busy_is_said_to_be_busy(
    open_again: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_again(), open_again()
    with store._database.write():
        # Read when a transaction begins: the one above waits for nobody.
        monkeypatch.setattr(database, "BUSY_SECONDS", 1)
        assert other.version() == 0, "readers do not wait for a writer"
        with pytest.raises(StoreError, match="lock timeout") as caught:
            other.add_event("note", "a", {})
        assert "try again" in caught.value.hint
    other.add_event("note", "a", {})


def test_events_become_visible_in_the_order_of_their_ids(open_again: Callable[[], Store]) -> None:
    store, other = open_again(), open_again()
    added = threading.Event()

    def add() -> None:
        other.add_event("note", "late", {})
        added.set()

    late = threading.Thread(target=add)
    with store._database.write() as connection:
        # A sequence hands out ids before anything is committed: were the other one let in here,
        # a watcher could see its id, go on from it, and never see the smaller one.
        late.start()
        assert not added.wait(0.3)
        connection.exec_driver_sql(
            "INSERT INTO events (at, kind, subject, detail) VALUES (0, 'note', 'early', '{}')"
        )
        assert store.events() == []
    late.join(30)
    assert [event.subject for event in store.events()] == ["early", "late"]


def test_migrations_lead_to_the_tables_of_the_code(
    open_again: Callable[[], Store], postgres_server: PostgresServer
) -> None:
    url = make_url(postgres_server.new_database()).set(drivername="postgresql+psycopg")
    made = Database(url)
    with made.write() as connection:
        metadata.create_all(connection)
    migrated = open_again()._database
    assert schema(migrated) == schema(made)
    made.close()
    with migrated.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrations_go_down_and_up_again(open_again: Callable[[], Store]) -> None:
    kept = open_again()._database
    before = schema(kept)
    assert sorted(before) == sorted(metadata.tables)
    with kept.write() as connection:
        command.downgrade(migration_config(connection), "base")
    assert schema(kept) == {}
    open_again().add_pool(PoolRecord(name="here", kind="local"))
    assert schema(kept) == before


def schema(kept: Database) -> dict[str, list[str]]:
    """Return every table but Alembic's own as the server describes it."""
    with kept.read() as connection:
        seen = inspect(connection)
        return {
            table: [
                *(repr(sorted(column.items(), key=str)) for column in seen.get_columns(table)),
                repr(sorted(seen.get_indexes(table), key=str)),
                repr(seen.get_pk_constraint(table)),
                repr(seen.get_foreign_keys(table)),
            ]
            for table in seen.get_table_names()
            if table != "alembic_version"
        }
