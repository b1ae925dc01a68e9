"""A real PostgreSQL server of one's own, on a Unix socket, gone when the tests are over.

from tests.postgres_server import postgres_server  # noqa: F401 - a fixture, of the session

def test_it(postgres_server): settings = Settings(database_url=postgres_server.new_database(), …)
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

__all__ = ["PostgresServer", "postgres_server", "running_postgres"]

_READY_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A running server. Its user needs `password`, which needs quoting in a URL on purpose."""

    socket_dir: Path
    user: str = "tester"
    password: str = "s3cr:et/word"
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def url(self, database: str, *, password: str | None = None) -> str:
        """Return the URL of a database that may or may not exist."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{self.user}:{secret}@/{database}?host={quote(str(self.socket_dir))}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Connect to it without going through the store."""
        return psycopg.connect(
            host=str(self.socket_dir),
            user=self.user,
            password=self.password,
            dbname=database,
            autocommit=True,
        )


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server for the length of the block; `make test` has installed one."""
    programs = _programs()
    if programs is None:
        pytest.fail("no PostgreSQL server is installed: `make integration` installs it")
    owner = _owner()
    # Not below pytest's own folder: that one is closed to the user the server runs as, and its
    # name may be too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        server = PostgresServer(socket_dir=folder)
        _initialize(programs, folder, server, owner)
        with _process(programs, folder, server, owner):
            yield server
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server a session; each test makes a database of its own."""
    with running_postgres() as server:
        yield server


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    packaged = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(packaged, key=lambda path: float(path.parts[-3]), default=None)
    return None if newest is None else newest.parent


def _owner() -> pwd.struct_passwd | None:
    """Who the server runs as; ``None`` is ourselves. It refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.fail("PostgreSQL does not run as root, and there is neither postgres nor nobody")


def _start(
    argv: list[str], folder: Path, *, owner: pwd.struct_passwd | None
) -> subprocess.Popen[bytes]:
    """Start a program of the server as its owner; what it prints goes to ``folder/log``."""
    with (folder / "log").open("ab") as output:
        return subprocess.Popen(
            argv,
            cwd=folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=None if owner is None else owner.pw_uid,
            group=None if owner is None else owner.pw_gid,
            extra_groups=None if owner is None else [],
        )


def _initialize(
    programs: Path, folder: Path, server: PostgresServer, owner: pwd.struct_passwd | None
) -> None:
    secret = folder / "password"
    secret.write_text(server.password)
    if owner is not None:
        os.chown(secret, owner.pw_uid, owner.pw_gid)
    argv = [str(programs / "initdb"), "--pgdata", str(folder / "data"), "--no-sync"]
    argv += ["--username", server.user, "--pwfile", str(secret), "--auth", "scram-sha-256"]
    argv += ["--encoding", "UTF8", "--no-locale"]
    status = _start(argv, folder, owner=owner).wait(_READY_SECONDS)
    assert status == 0, f"initdb failed:\n{(folder / 'log').read_text()}"


@contextlib.contextmanager
def _process(
    programs: Path, folder: Path, server: PostgresServer, owner: pwd.struct_passwd | None
) -> Iterator[None]:
    argv = [str(programs / "postgres"), "-D", str(folder / "data"), "-k", str(folder)]
    argv += ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"]
    process = _start(argv, folder, owner=owner)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers(server):
            alive = process.poll() is None and time.monotonic() < deadline
            assert alive, f"no server came up:\n{(folder / 'log').read_text()}"
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # fast shutdown: open connections are cut
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(_STOP_SECONDS)


def _answers(server: PostgresServer) -> bool:
    try:
        server.connect().close()
    except psycopg.OperationalError:
        return False
    return True
