"""``/aiinfra/jobs/ID/files``, over a fake cluster and over the run directory of a real job."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tornado.httpclient import HTTPClientError
from tornado.httputil import HTTPHeaders

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Handle, Job, JobKind, JobSpec, PoolRecord
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools.base import Pool, RunFile
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store
from jupyter_aiinfra.testing import FakeCluster, FakePool
from tests.support.engines import EMPTY, POOL, a_spec, orphaned
from tests.support.served import Api, beside, eventually, opener_of


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    return {"pool_opener": opener_of(cluster)}


@pytest.fixture
def engine(jp_serverapp: Any, cluster: FakeCluster) -> Iterator[Engine]:
    engine = beside(cluster)
    yield engine
    engine.store.close()


class TestFake:
    async def test_lists_and_serves_what_is_there(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        assert await api.get(f"jobs/{job.id}/files") == []
        cluster.jobs[job.id].files.update({"cell.py": b"x = 1", "results/history": b"[]"})
        now = cluster.clock()
        assert await api.get(f"jobs/{job.id}/files") == [
            {"path": "cell.py", "size_bytes": 5, "modified_at": now},
            {"path": "results/history", "size_bytes": 2, "modified_at": now},
        ]
        answer = await api.fetch("GET", f"jobs/{job.id}/files/results/history")
        assert answer.body == b"[]"

    async def test_a_page_that_a_job_wrote_is_a_download(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        page = b"<script>alert(1)</script>"
        cluster.jobs[job.id].files['results/a "ü"\r\nX: y.html'] = page
        path = "results/a%20%22%C3%BC%22%0D%0AX%3A%20y.html"
        answer = await api.fetch("GET", f"jobs/{job.id}/files/{path}")
        headers: HTTPHeaders = answer.headers
        assert answer.body == page
        assert headers["Content-Type"] == "application/octet-stream"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Length"] == str(len(page))
        assert headers.get_list("Content-Disposition") == [
            "attachment; filename*=UTF-8''a%20%22%C3%BC%22%0D%0AX%3A%20y.html"
        ]
        assert "Content-Encoding" not in headers
        assert "X" not in headers

    async def test_a_file_that_becomes_shorter_is_cut_off(
        self,
        api: Api,
        engine: Engine,
        cluster: FakeCluster,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        cluster.jobs[job.id].files["results/x"] = b"12345"

        def longer(pool: FakePool, handle: Handle, path: str) -> RunFile:
            return RunFile(path=path, size_bytes=9, modified_at=1.0)

        monkeypatch.setattr(FakePool, "_file", longer)
        with pytest.raises(HTTPClientError, match="closed"):
            await api.fetch("GET", f"jobs/{job.id}/files/results/x")
        assert not [record for record in caplog.records if record.exc_info]

    async def test_an_empty_file_is_one_too(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        cluster.jobs[job.id].files["empty.html"] = b""
        answer = await api.fetch("GET", f"jobs/{job.id}/files/empty.html")
        assert answer.body == b""
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Length"] == "0"

    async def test_a_job_no_pool_has_accepted_has_none(self, api: Api, engine: Engine) -> None:
        job = orphaned()
        engine.store.add_job(job)
        assert await api.get(f"jobs/{job.id}/files") == []
        status, message, _ = await api.refused("GET", f"jobs/{job.id}/files/cell.py")
        assert (status, message) == (404, f"job {job.id} has no files yet")

    async def test_a_silent_pool_is_unreachable(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        cluster.reachable = False
        for path in ("files", "files/cell.py"):
            assert (await api.refused("GET", f"jobs/{job.id}/{path}"))[0] == 503


class TestPoolWithoutFiles:
    @pytest.fixture
    def aiinfra_config(self, cluster: FakeCluster) -> dict[str, Any]:
        def opener(record: PoolRecord, _: Any) -> Pool:
            return cast("Pool", _Plain(FakePool(cluster, name=record.name)))

        return {"pool_opener": opener}

    async def test_says_so(self, api: Api, engine: Engine) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        for path in ("files", "files/cell.py"):
            status, message, hint = await api.refused("GET", f"jobs/{job.id}/{path}")
            assert (status, message) == (502, "pool 'fake' does not show the files of its jobs")
            assert "--fetch" in hint
        assert "run  python cell.py" in (await api.get(f"jobs/{job.id}/plan"))["text"]


class _Plain:
    """Passes on what every pool has, and no ability."""

    def __init__(self, pool: FakePool) -> None:
        self._pool = pool
        for name in Pool.__abstractmethods__ | {"aclose"}:
            setattr(self, name, getattr(pool, name))


class TestLocal:
    """A job that really ran on this machine."""

    @pytest.fixture
    def aiinfra_config(self) -> dict[str, Any]:
        return {}

    @pytest.fixture
    def here(self, jp_serverapp: Any) -> Iterator[Engine]:
        settings = load_settings()
        engine = Engine(open_store(settings), settings)
        engine.store.add_pool(PoolRecord(name="here", kind="local"))
        yield engine
        for job in engine.store.list_jobs():
            for who in supervise.tagged(job.id):
                supervise.send(who, signal.SIGKILL)
        engine.store.close()

    async def ran(self, engine: Engine, script: str) -> Job:
        spec = JobSpec(
            kind=JobKind.TRAIN,
            name="writes",
            argv=("/bin/sh", "-c", script),
            env={"GREETING": "hello"},
            cwd=str(engine.settings.home),
            verify_world=False,
        )
        job = await engine.launch("here", spec, EMPTY)

        async def over() -> bool:
            return (await engine.refresh(job.id)).state.final

        await eventually(over)
        return engine.store.get_job(job.id)

    async def test_everything_worth_a_look_and_nothing_else(self, api: Api, here: Engine) -> None:
        job = await self.ran(
            here,
            'mkdir -p "${AIINFRA_RUN_DIR}/results" && cd "${AIINFRA_RUN_DIR}/results" && '
            "head -c 3000000 /dev/zero > weights && ln -s /etc/passwd out && echo told",
        )
        assert job.handle is not None
        run_dir = Path(job.handle.data["run_dir"])
        files = {each["path"]: each["size_bytes"] for each in await api.get(f"jobs/{job.id}/files")}
        assert files["results/weights"] == 3_000_000
        assert files["logs/launcher.log"] == len("told\n")
        assert not {path for path in files if path.startswith(("supervisor.", "ranks/", "rc"))}
        assert "results/out" not in files
        answer = await api.fetch("GET", f"jobs/{job.id}/files/results/weights")
        assert answer.body == bytes(3_000_000)

        outside = run_dir.parent / "0other"
        outside.mkdir()
        (outside / "secret").write_text("of another job")
        for path in (
            "../0other/secret",
            "..%2F0other%2Fsecret",
            "%2E%2E/0other/secret",
            "results/../../0other/secret",
            "results/out",
            "%2Fetc%2Fpasswd",
            "/etc/passwd",
            "a%00b",
            "results",
            "supervisor.json",
        ):
            status, message, _ = await api.refused("GET", f"jobs/{job.id}/files/{path}")
            assert status in {400, 404}, path
            assert "another job" not in message
            assert "root:" not in message

    async def test_the_plan_is_what_was_written_for_the_node(self, api: Api, here: Engine) -> None:
        job = await self.ran(here, "true")
        text = (await api.get(f"jobs/{job.id}/plan"))["text"]
        assert "  run  /bin/sh -c true" in text
        assert "  env  GREETING=hello" in text

    async def test_a_removed_job_takes_its_files_along(self, api: Api, here: Engine) -> None:
        job = await self.ran(here, "true")
        assert job.handle is not None
        assert await api.ask("DELETE", f"jobs/{job.id}") == (204, None)
        assert not Path(job.handle.data["run_dir"]).exists()

    async def test_a_run_directory_that_is_gone_says_so(self, api: Api, here: Engine) -> None:
        job = await self.ran(here, "true")
        assert job.handle is not None
        Path(job.handle.data["run_dir"]).rename(here.settings.home / "moved")
        status, message, hint = await api.refused("GET", f"jobs/{job.id}/files")
        assert (status, message) == (404, "the run directory of this job is gone")
        assert hint
        assert "/bin/sh" in (await api.get(f"jobs/{job.id}/plan"))["text"]

    async def test_a_reader_who_goes_away_leaves_nothing_open(
        self,
        here: Engine,
        jp_base_url: str,
        jp_auth_header: Any,
        jp_http_port: int,
        http_server: Any,
    ) -> None:
        job = await self.ran(here, 'head -c 60000000 /dev/zero > "${AIINFRA_RUN_DIR}/big"')
        reader, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
        request = (
            f"GET {jp_base_url}aiinfra/jobs/{job.id}/files/big HTTP/1.1\r\nHost: localhost\r\n"
        )
        request += "".join(f"{name}: {value}\r\n" for name, value in jp_auth_header.items())
        writer.write(f"{request}\r\n".encode())
        assert b"200" in await reader.readline()
        assert job.handle is not None
        big = Path(job.handle.data["run_dir"]) / "big"
        assert big in _open_files()
        writer.close()

        async def closed() -> bool:
            return big not in _open_files()

        await eventually(closed)


def _open_files() -> set[Path]:
    links = [str(each) for each in Path("/proc/self/fd").iterdir()]
    # What looks is open itself while it does, and gone when it is looked at.
    return {Path(link).readlink() for link in links if Path(link).is_symlink()}
