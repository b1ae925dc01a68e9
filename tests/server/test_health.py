"""``GET /aiinfra/health``, over a real server and a real database."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from tornado.httpclient import HTTPClientError

from jupyter_aiinfra import __version__
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Job, JobKind, JobSpec, JobState, PoolRecord, from_wire, to_wire
from jupyter_aiinfra.server.health import Health, check_health
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store, shown_url

Fetch = Callable[..., Awaitable[Any]]

SAMPLE = Path(__file__).parents[1] / "wire" / "health.json"


def _job(job_id: str, state: JobState) -> Job:
    spec = JobSpec(kind=JobKind.TRAIN, name="digits", argv=("true",))
    return Job(id=job_id, pool="here", spec=spec, state=state)


async def test_counts_what_is_there(jp_fetch: Fetch, aiinfra_home: Path) -> None:
    store = open_store(load_settings())
    store.add_pool(PoolRecord(name="here", kind="local"))
    store.add_job(_job("0aaaaaaaaaaa", JobState.PENDING))
    store.add_job(_job("0bbbbbbbbbbb", JobState.SUCCEEDED))
    store.close()

    response = await jp_fetch("aiinfra", "health")

    assert response.code == 200
    assert json.loads(response.body) == {
        "version": __version__,
        "status": "ok",
        "store": {
            "ok": True,
            "url": f"sqlite:///{aiinfra_home / 'aiinfra.db'}",
            "message": "",
            "hint": "",
        },
        "pools": 1,
        "jobs": {"active": 1},
    }


async def test_empty_is_zero_not_unknown(jp_fetch: Fetch) -> None:
    health = json.loads((await jp_fetch("aiinfra", "health")).body)

    assert (health["pools"], health["jobs"]["active"]) == (0, 0)


@pytest.fixture
def broken_database(tmp_path: Path) -> Path:
    """A path where no database can be: a folder is there."""
    folder = tmp_path / "folder.db"
    folder.mkdir()
    return folder


async def test_broken_database_is_an_answer_and_heals(
    jp_fetch: Fetch, broken_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_AIINFRA_DATABASE_URL", f"sqlite:///{broken_database}")

    health = json.loads((await jp_fetch("aiinfra", "health")).body)

    assert health["status"] == "degraded"
    assert health["store"]["ok"] is False
    assert health["store"]["url"] == f"sqlite:///{broken_database}"
    assert health["store"]["message"]
    assert health["pools"] is None
    assert health["jobs"] == {"active": None}

    broken_database.rmdir()
    health = json.loads((await jp_fetch("aiinfra", "health")).body)
    assert health["status"] == "ok"


async def test_bad_setting_is_answered_with_message_and_hint(
    jp_fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("grace_secnods = 3\n")
    monkeypatch.setenv("JUPYTER_AIINFRA_CONFIG", str(settings))

    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch("aiinfra", "health")

    assert refused.value.code == 400
    assert refused.value.response is not None
    assert json.loads(refused.value.response.body) == {
        "message": f"{settings}: unknown setting 'grace_secnods'",
        "hint": "did you mean grace_seconds?",
        "option": None,
        "command": "",
        "host_key": None,
    }


class SilentEngine:
    """An engine whose database that takes its time: until `answer` is set."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.store = self

    async def aclose(self) -> None:
        """Nothing is open."""

    def list_pools(self) -> Sequence[PoolRecord]:
        assert self.answer.wait(30), "the test ended without setting it"
        return []

    def list_jobs(self, *, active: bool) -> Sequence[Job]:
        assert active
        return []


async def test_silent_database_is_reported_in_time() -> None:
    silent = SilentEngine()
    shared = SharedEngine(lambda: cast("Engine", silent))
    try:
        health = await check_health(shared, url="postgresql://db/x", patience_seconds=0.01)
    finally:
        silent.answer.set()

    assert health.status == "degraded"
    assert health.store.message == "the database did not answer within 0.01 s"
    assert health.store.hint
    assert health.pools is None


def test_sample_of_the_wire_is_what_python_writes() -> None:
    sample = json.loads(SAMPLE.read_text())

    assert to_wire(from_wire(sample, Health)) == sample


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////home/me/x.db", "sqlite:////home/me/x.db"),
        ("postgresql://me:pw@db:5432/x", "postgresql://me:***@db:5432/x"),
        (
            "postgresql://me@db/x?password=pw&connect_timeout=3",
            "postgresql://me@db/x?connect_timeout=3",
        ),
        ("postgresql://db/x?sslkey=/k&sslpassword=pw", "postgresql://db/x"),
        ("no url: pw", "(not a database URL)"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown
