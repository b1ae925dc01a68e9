"""Connections and transactions: what differs between SQLite and PostgreSQL, and every failure.

Writers are one at a time in both: ``BEGIN IMMEDIATE`` here, an advisory lock there. So the ids of
events grow in the order of their commits, and a watcher that asks for what came after the last id
it saw misses nothing.
"""

from __future__ import annotations

import functools
import json
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Connection, Engine, Pool, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, SQLAlchemyError

from jupyter_aiinfra.errors import MissingExtra, StorageFull, StoreError

__all__ = ["BUSY_SECONDS", "Database", "shown_url"]

BUSY_SECONDS: Final = 30
"""How long a transaction waits for those of others before it gives up."""

_SHORTEST_PAUSE_SECONDS: Final = 0.001
_LONGEST_PAUSE_SECONDS: Final = 0.016
_WRITE: Final = "aiinfra_write"
_FILE: Final = "aiinfra_file"
# Any constant will do, so long as no other program takes the same lock in the same database.
_ADVISORY_LOCK: Final = 0x6A61_6969_6E66
_SECRET_PARTS: Final = ("password", "passwd", "pwd", "secret", "token", "key")

# Held while a thread of this process uses a connection to an SQLite file, and across a fork. SQLite
# keeps its locks in process memory: a child forked in mid-transaction would believe that it holds
# its parent's, and roll back its parent's transaction under it. So whoever forks waits for the
# transactions of others, and closes the idle connections: the child inherits none.
_gate = threading.RLock()
_databases: weakref.WeakSet[Database] = weakref.WeakSet()
# A parent's idle connections to a server: as long as they are referred to, none is closed here.
_inherited: list[Pool] = []


class Database:
    """An SQLite file or a PostgreSQL database; connects when asked, from any thread.

    May be used on both sides of a fork: a child never uses a connection of its parent.

    Parameters
    ----------
    url
        ``sqlite`` with an absolute path, or ``postgresql+psycopg``.
    """

    def __init__(self, url: URL) -> None:
        self.shown = shown_url(url)
        self.is_file = url.get_backend_name() == "sqlite"
        self._secrets = _secrets(url)
        self._engine = _file_engine(url) if self.is_file else _server_engine(url)
        self._readers = (
            self._engine
            if self.is_file
            # A read is one statement: three round trips of BEGIN, SELECT, ROLLBACK become one.
            else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._writers = self._engine.execution_options(**{_WRITE: True})
        _watch_forks()
        with _gate:
            _databases.add(self)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Connect for statements that each see what is committed when they begin."""
        with self._explained(), self._guard(), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run one transaction, alone in the whole database; committed when the block ends well.

        Raises
        ------
        StoreError, StorageFull
            Nothing was changed.
        """
        with self._explained(), self._guard(), self._writers.begin() as connection:
            yield connection

    def close(self) -> None:
        """Let go of idle connections. Idempotent; the next use connects again."""
        self._engine.dispose()

    def before_fork(self) -> None:
        """Leave a child no connection to a file; those to a server it would leave alone."""
        if self.is_file:
            self._engine.dispose()

    def forget(self) -> None:
        """Leave a parent's connections alone, in a child just forked."""
        _inherited.append(self._engine.pool)
        self._engine.dispose(close=False)

    def _guard(self) -> AbstractContextManager[Any]:
        return _gate if self.is_file else nullcontext()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        # ValueError: what a driver says of a value that it cannot write, before it tries to.
        except (SQLAlchemyError, sqlite3.Error, ValueError) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> StoreError | StorageFull:
        cause = getattr(error, "orig", None) or error
        text = " ".join(str(cause).split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        where = f"the database {self.shown}"
        symptom = f"{getattr(cause, 'sqlstate', None) or ''} {text}".lower()
        if any(words in symptom for words in ("disk is full", "53100", "no space left")):
            return StorageFull(f"no room left for {where}: {text}", hint="free some space there")
        for needles, hint in _HINTS:
            if any(needle in symptom for needle in needles):
                return StoreError(f"{where} cannot be used: {text}", hint=hint)
        hint = _FILE_HINT if self.is_file else _SERVER_HINT
        return StoreError(f"{where} cannot be used: {text}", hint=hint)


_FILE_HINT: Final = "check that you may read and write the file and the folder it is in"
_SERVER_HINT: Final = (
    "check that the server is up, and host, port, user, password and database name in the setting "
    "database_url (JUPYTER_AIINFRA_DATABASE_URL)"
)
# What the message or the SQLSTATE holds, and what helps then.
_HINTS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (
        ("database is locked", "55p03"),
        f"another process has kept it busy for {BUSY_SECONDS} s; try again once that one is done",
    ),
    (
        ("not a database", "malformed"),
        "it is damaged, or no SQLite file: put back a copy, or move it away to begin a new one",
    ),
    (
        ("already exists", "42p07"),
        "another program keeps its tables there: give jupyter-aiinfra a database of its own",
    ),
    (("not json compliant",), "a number that is not finite is no JSON: leave it out"),
    (("42501",), "its owner must grant this user CREATE and USAGE on the schema"),
)


def _file_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        # The driver's own transaction control begins too late (at the first write) and DEFERRED.
        # One thread at a time uses a connection (`_gate`), but not always the same.
        connect_args={
            "isolation_level": None,
            "timeout": BUSY_SECONDS,
            "check_same_thread": False,
        },
        # Kept: most of what a read costs is opening the file and reading its schema. Between its
        # transactions a connection holds no lock.
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=-1,
        hide_parameters=True,
        json_serializer=_to_json,
    )
    event.listen(engine, "connect", _foreign_keys_on)
    path = Path(str(url.database))
    event.listen(engine, "connect", functools.partial(_remember_file, path))
    event.listen(engine, "checkout", functools.partial(_same_file, path))
    event.listen(engine, "begin", _begin_in_file)
    return engine


def _server_engine(url: URL) -> Engine:
    defaults = {"connect_timeout": "10", "application_name": "jupyter-aiinfra"}
    missing = {name: value for name, value in defaults.items() if name not in url.query}
    try:
        engine = create_engine(
            url.update_query_dict(missing),
            pool_size=2,
            max_overflow=8,
            pool_pre_ping=True,  # servers restart, and firewalls drop what is idle
            hide_parameters=True,
            json_serializer=_to_json,
        )
    except ModuleNotFoundError as error:
        raise MissingExtra("psycopg", "postgres") from error
    event.listen(engine, "begin", _begin_on_server)
    return engine


def _to_json(value: object) -> str:
    # NaN is no JSON: PostgreSQL would refuse what SQLite would keep and others could not read.
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _foreign_keys_on(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")


def _remember_file(path: Path, _connection: object, record: Any) -> None:
    record.info[_FILE] = _identity(path)


def _same_file(path: Path, _connection: object, record: Any, _proxy: object) -> None:
    # A backup may have been put in its place, which who keeps the old file open would not see.
    if record.info.get(_FILE) != _identity(path):
        raise DisconnectionError(f"{path} is another file than before")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin_in_file(connection: Connection) -> None:
    if not connection.get_execution_options().get(_WRITE):
        return
    # A lock taken on reading and raised on writing is how two writers block each other for good,
    # which SQLite answers with "database is locked" at once, however long one is ready to wait.
    # SQLite's own waiting for this lock looks ten times a second in the end, and starves beside a
    # process that writes without a pause; this looks more often, and can be interrupted.
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout=0")
    deadline = time.monotonic() + BUSY_SECONDS
    pause = _SHORTEST_PAUSE_SECONDS
    while not _locked_for_writing(driver, last=time.monotonic() >= deadline):
        time.sleep(random.uniform(0, pause))  # noqa: S311 - out of step with the others
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    driver.execute(f"PRAGMA busy_timeout={1000 * BUSY_SECONDS}")


def _locked_for_writing(driver: sqlite3.Connection, *, last: bool) -> bool:
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if last or "locked" not in str(error):
            raise
        return False
    return True


def _begin_on_server(connection: Connection) -> None:
    if connection.get_execution_options().get(_WRITE):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")


def _secrets(url: URL) -> tuple[str, ...]:
    values = [url.password, *(url.query.get(name) for name in _secret_parameters(url))]
    plain = {str(value) for value in values if value}
    spelt = plain | {quote(value, safe="") for value in plain} | {quote_plus(v) for v in plain}
    return tuple(sorted(spelt, key=len, reverse=True))


def shown_url(url: URL | str) -> str:
    """Return a database URL without what must not be shown."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return "(not a database URL)"
    shown = parsed.difference_update_query(_secret_parameters(parsed))
    return shown.render_as_string(hide_password=True)


def _secret_parameters(url: URL) -> tuple[str, ...]:
    return tuple(name for name in url.query if any(part in name for part in _SECRET_PARTS))


@functools.cache
def _watch_forks() -> None:
    os.register_at_fork(
        before=_before_fork, after_in_parent=_gate.release, after_in_child=_in_child
    )


def _before_fork() -> None:
    _gate.acquire()
    for database in list(_databases):
        database.before_fork()


def _in_child() -> None:
    for database in list(_databases):
        database.forget()
    _gate.release()
