"""Engines over a fake cluster: the record is a real SQLite file, the machines are pretended."""

from __future__ import annotations

import dataclasses
import socket
import time
from pathlib import Path
from typing import Any

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Job, JobKind, JobSpec, Origin, PoolRecord, new_job_id
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from jupyter_aiinfra.testing import FakeClock, FakeCluster

__all__ = ["EMPTY", "POOL", "House", "WallClock", "a_spec", "orphaned"]

EMPTY = Bundle(files=())
POOL = "fake"

# A process that is gone: no boot of any machine has this id.
_GONE = {"pid": 1, "start": 1, "boot": "never", "pidns": "nowhere"}


def a_spec(name: str = "digits", **changes: Any) -> JobSpec:
    """Return the spec of a small training job."""
    return JobSpec(kind=JobKind.TRAIN, name=name, argv=("python", "cell.py"), **changes)


def orphaned(spec: JobSpec | None = None, *, host: str | None = None, **changes: Any) -> Job:
    """Return a job whose launching process is gone."""
    origin = Origin(host=host or socket.gethostname(), user="somebody", process=_GONE)
    kept = dataclasses.replace(spec or a_spec(), origin=origin)
    return Job(id=new_job_id(), pool=POOL, spec=kept, **changes)


class WallClock(FakeClock):
    """The time as it is, for what is held against other clocks."""

    def __call__(self) -> float:
        return time.time()


class House:
    """One home, one cluster, and any number of engines on them, as in different processes."""

    def __init__(self, home: Path, cluster: FakeCluster | None = None) -> None:
        self.settings = Settings(home=home)
        self.cluster = cluster or FakeCluster()
        self._stores: list[Store] = []
        self._sessions: list[Session] = []

    def engine(self) -> Engine:
        """Open another engine, with a store object of its own."""
        store = open_store(self.settings)
        self._stores.append(store)
        return Engine(store, self.settings, opener=self.cluster.opener)

    def attached(self) -> Engine:
        """Open an engine, with the pool attached if it is not yet."""
        engine = self.engine()
        if not engine.store.list_pools():
            engine.store.add_pool(PoolRecord(name=POOL, kind="fake"))
        return engine

    def session(self) -> Session:
        """Open a session whose engine is on the cluster."""
        session = Session(self.settings)
        session._engine = self.attached()
        self._sessions.append(session)
        return session

    def close(self) -> None:
        """Close what was opened."""
        for session in self._sessions:
            session.close()
        for store in self._stores:
            store.close()
