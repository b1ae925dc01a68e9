"""From settings to a store whose schema is the one this code is written for."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, inspect, make_url
from sqlalchemy.exc import ArgumentError

from jupyter_aiinfra.errors import SchemaTooNew, StorageFull, StoreError
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.records import Store
from jupyter_aiinfra.store.schema import HEAD, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["migration_config", "open_store"]

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_URL_HINT = (
    "the setting database_url (JUPYTER_AIINFRA_DATABASE_URL) is sqlite:////path/to/file or "
    "postgresql://user@host/database"
)


def open_store(settings: Settings) -> Store:
    """Return the store of `settings`, made and migrated when needed.

    Any number of processes may open a store that is not there yet: one makes it, the others wait.
    A folder made for it has mode 0700, the file 0600; what exists keeps its modes.

    Raises
    ------
    SchemaTooNew
        A newer version of this package has migrated the database.
    StoreError, StorageFull
        It cannot be made, reached or read. No password is in the message.
    MissingExtra
        The driver for PostgreSQL is not installed.
    """
    _hold_to_utf8(settings.home)
    _make_folder(settings.home)
    url = _url(settings)
    if url.database and url.get_backend_name() == "sqlite":
        _make_file(Path(url.database))
    database = Database(url)
    try:
        _bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return Store(database)


def _hold_to_utf8(home: Path) -> None:
    try:
        str(home).encode()
    except UnicodeEncodeError as error:
        raise StoreError(
            f"the path {os.fsencode(home)!r} is not UTF-8, and the database's has to be",
            hint="the setting home (JUPYTER_AIINFRA_HOME) names another folder; in a locale other "
            "than UTF-8, PYTHONUTF8=1 has Python read names as what they are",
        ) from error


def migration_config(connection: Connection) -> Config:
    """Return what Alembic's commands need to work on `connection`, in its transaction.

    Alembic costs more to import than everything else here, and is needed once in a database's
    life: only who is about to migrate calls this.
    """
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    folder = Path(__file__).parents[1] / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _url(settings: Settings) -> URL:
    if settings.database_url is None:
        # Not parsed as a URL: a "?" in the path of the home would end it.
        return URL.create("sqlite", database=settings.database.removeprefix("sqlite:///"))
    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError) as error:
        # The value is not shown: where it cannot be parsed, neither can the password in it.
        raise StoreError("the setting database_url is not a URL", hint=_URL_HINT) from error
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise StoreError(f"no store is kept in {url.drivername!r}", hint=_URL_HINT)
    if driver != "sqlite":
        return url.set(drivername=driver)
    if not url.database or url.database == ":memory:" or url.query:
        raise StoreError("a store must be a plain file, to be shared", hint=_URL_HINT)
    # Absolute: a notebook may change its working folder while the store is open.
    path = Path(url.database).expanduser().absolute()
    return URL.create("sqlite", database=str(path))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unmade(folder, error) from error


def _make_file(path: Path) -> None:
    _make_folder(path.parent)
    try:
        # Only ever made, never opened, when it is there: closing a descriptor of a file drops the
        # locks that SQLite holds on it in this process.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise _unmade(path, error) from error


def _unmade(path: Path, error: OSError) -> StoreError | StorageFull:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"no room left to make {path}", hint="free some space there")
    return StoreError(
        f"{path} cannot be made: {error.strerror}",
        hint="the setting home (JUPYTER_AIINFRA_HOME) names a folder that you may write to",
    )


def _bring_up_to_date(database: Database) -> None:
    with database.read() as connection:
        if database.is_file:
            _leave_wal(connection)
        if _is_current(connection, database.shown):
            return
    with database.write() as connection:
        # Asked again, now that nobody else can be migrating.
        if not _is_current(connection, database.shown):
            from alembic import command  # noqa: PLC0415 - see migration_config

            command.upgrade(migration_config(connection), HEAD)


def _leave_wal(connection: Connection) -> None:
    # A write-ahead log needs memory shared by all who use the file: homes on NFS have none.
    if connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal":
        connection.exec_driver_sql("PRAGMA journal_mode=DELETE")


def _is_current(connection: Connection, shown: str) -> bool:
    """Return whether the schema is at ``HEAD``; false when it is older or not there at all."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return False
    found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608
    if found is None or found == HEAD:
        return found is not None
    if not re.fullmatch(r"\d{4}", found):
        raise StoreError(
            f"the database {shown} belongs to another program (its revision is {found!r})",
            hint="give jupyter-aiinfra a database of its own",
        )
    if found > HEAD:
        raise SchemaTooNew(
            f"the database {shown} has schema {found}; this version knows up to {HEAD}",
            hint="pip install --upgrade jupyter_aiinfra, then restart the kernel and the server",
        )
    return False
