"""``/aiinfra/jobs/ID/logs``, over a fake cluster and over the file of a local pool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import Conflict, JobNotFound, NotFound, Unreachable, UsageError
from jupyter_aiinfra.logview.rows import RowIndex
from jupyter_aiinfra.model import LAUNCHER, Handle, Job, JobState, LogChunk, PoolRecord
from jupyter_aiinfra.pools import open_pool
from jupyter_aiinfra.server import logbook
from jupyter_aiinfra.server.logbook import LogBook
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import LogRows
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store
from jupyter_aiinfra.testing import FakeCluster, FakePool
from tests.support.engines import EMPTY, POOL, a_spec, orphaned
from tests.support.served import Api, beside, opener_of


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    return {"pool_opener": opener_of(cluster)}


@pytest.fixture
def engine(aiinfra_home: Path, cluster: FakeCluster) -> Iterator[Engine]:
    engine = beside(cluster)
    yield engine
    engine.store.close()


@pytest.fixture
def shared(engine: Engine, cluster: FakeCluster) -> SharedEngine:
    settings = load_settings()
    return SharedEngine(lambda: Engine(open_store(settings), settings, opener=cluster.opener))


@pytest.fixture
def book(shared: SharedEngine, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[LogBook]:
    yield LogBook(shared)
    jp_asyncio_loop.run_until_complete(shared.close())


@pytest.fixture
def job(engine: Engine, cluster: FakeCluster, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Job:
    launched = engine.launch(POOL, a_spec(secrets=("API_KEY",)), EMPTY)
    job = jp_asyncio_loop.run_until_complete(launched)
    cluster.begin(job.id)
    return job


async def _end(engine: Engine, cluster: FakeCluster, job: Job) -> None:
    cluster.end(job.id, JobState.SUCCEEDED)
    await engine.refresh(job.id)


def _texts(rows: LogRows) -> list[str]:
    return [row.text for row in rows.rows]


def _forget_the_record(book: LogBook) -> None:
    """Have the record of every job be read anew, as it is after half a second."""
    for log in book._logs.values():
        if log.look:
            log.look.at = float("-inf")


class TestBook:
    async def test_tells_a_log_as_it_grows(
        self, book: LogBook, engine: Engine, cluster: FakeCluster, job: Job
    ) -> None:
        assert (await book.rows(job.id, 0, -10, 10)).rows == ()
        cluster.write(job.id, b"one\ntwo\ntwo\nthr")
        rows = await book.rows(job.id, 0, -10, 10)
        assert [(row.text, row.line, row.repeat) for row in rows.rows] == [
            ("one", 1, 1),
            ("two", 2, 2),
            ("thr", 4, 1),
        ]
        assert (rows.first, rows.total_rows, rows.total_lines, rows.total_bytes) == (0, 3, 4, 15)
        assert not rows.complete

        cluster.write(job.id, b"ee\n")
        await _end(engine, cluster, job)
        _forget_the_record(book)
        rows = await book.rows(job.id, 0, -2, 10)
        assert (rows.first, _texts(rows), rows.complete) == (1, ["two", "three"], True)
        assert (await book.rows(job.id, 0, 3, 10)).rows == ()
        assert (await book.rows(job.id, LAUNCHER, 0, 10)).rank == -1

    async def test_nothing_new_is_the_same_answer(
        self, book: LogBook, cluster: FakeCluster, job: Job
    ) -> None:
        cluster.write(job.id, b"one\n")
        assert await book.rows(job.id, 0, -9, 9) is await book.rows(job.id, 0, -9, 9)

    async def test_a_log_that_was_replaced_begins_anew(
        self, book: LogBook, cluster: FakeCluster, job: Job
    ) -> None:
        cluster.write(job.id, b"one\ntwo\n")
        await book.rows(job.id, 0, 0, 10)
        for other in (b"other\n", b"one\nTWO\nthree\n", b""):
            cluster.jobs[job.id].logs[0] = other
            rows = await book.rows(job.id, 0, 0, 10)
            assert _texts(rows) == other.decode().splitlines()
            assert rows.total_bytes == len(other)

    async def test_a_million_lines_are_indexed_piece_by_piece(
        self, book: LogBook, engine: Engine, cluster: FakeCluster, job: Job
    ) -> None:
        lines = [f"line {number} of the log" for number in range(1_000_000)]
        cluster.jobs[job.id].logs[0] = "\n".join(lines).encode()
        await _end(engine, cluster, job)
        rows = await book.rows(job.id, 0, -200, 200)
        for _ in range(100):
            if rows.complete:
                break
            rows = await book.rows(job.id, 0, -200, 200)
        assert (rows.complete, rows.total_rows) == (True, 1_000_000)
        assert _texts(rows) == lines[-200:]
        assert _texts(await book.rows(job.id, 0, 654_321, 2000)) == lines[654_321:656_321]

    async def test_many_at_once_read_it_once(
        self, book: LogBook, cluster: FakeCluster, job: Job
    ) -> None:
        cluster.write(job.id, b"".join(b"%d\n" % number for number in range(200_000)))
        answers = await asyncio.gather(
            *(book.rows(job.id, 0, first, 7) for first in (0, -7, 1000, 199_990, -7))
        )
        assert _texts(answers[2]) == [str(number) for number in range(1000, 1007)]
        last = await book.rows(job.id, 0, -7, 7)
        assert _texts(last) == [str(number) for number in range(199_993, 200_000)]
        assert last.total_lines == 200_000

    async def test_secrets_are_in_none_of_it(
        self,
        book: LogBook,
        cluster: FakeCluster,
        job: Job,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("API_KEY", "hunter22")
        cluster.write(job.id, b"key hunter22\nother\n")
        assert _texts(await book.rows(job.id, 0, 0, 9)) == ["key •••", "other"]
        found = await book.search(job.id, 0, "hunter", first=0, limit=9, match_case=False)
        assert found.rows == ()
        for begin in range(19):
            pieces = [piece async for piece in book.pieces(job.id, 0, begin, begin + 6)]
            assert b"".join(pieces) == b"key ********\nother\n"[begin : begin + 6]

    async def test_searches_from_a_row_on(
        self, book: LogBook, cluster: FakeCluster, job: Job
    ) -> None:
        cluster.write(job.id, b"".join(b"Epoch %d\nother\n" % number for number in range(300_000)))

        async def search(**options: Any) -> tuple[tuple[int, ...], bool]:
            asked = {"first": 0, "limit": 3, "match_case": False, **options}
            found = await book.search(job.id, 0, asked.pop("query", "epoch"), **asked)
            return found.rows, found.more

        assert await search() == ((0, 2, 4), True)
        assert await search(first=1) == ((2, 4, 6), True)
        assert await search(first=599_995) == ((599_996, 599_998), False)
        assert await search(match_case=True) == ((), False)
        assert await search(query="epoch 299999", limit=1) == ((599_998,), False)
        assert await search(first=10**9) == ((), False)
        for query in ("", "x" * 1001):
            with pytest.raises(UsageError):
                await search(query=query)

    async def test_knows_what_is_not_there(
        self, book: LogBook, engine: Engine, cluster: FakeCluster, job: Job
    ) -> None:
        with pytest.raises(NotFound, match="no rank 1"):
            await book.rows(job.id, 1, 0, 9)
        with pytest.raises(JobNotFound):
            await book.rows("0nosuchjob", 0, 0, 9)
        with pytest.raises(UsageError):
            await book.rows(job.id, 0, 0, 2001)
        pending = orphaned()
        engine.store.add_job(pending)
        assert not (await book.rows(pending.id, 0, 0, 9)).complete
        engine.store.fail_pending(pending.id, reason="given up")
        _forget_the_record(book)
        assert (await book.rows(pending.id, 0, 0, 9)).complete
        cluster.reachable = False
        with pytest.raises(Unreachable):
            await book.rows(job.id, 0, 0, 9)
        cluster.reachable = True

        await _end(engine, cluster, job)
        await book.rows(job.id, 0, 0, 9)
        await engine.remove(job.id)
        _forget_the_record(book)
        with pytest.raises(JobNotFound):
            await book.rows(job.id, 0, 0, 9)

    async def test_remembers_a_bounded_number_of_logs(
        self, book: LogBook, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch(POOL, a_spec(procs=100), EMPTY)
        for rank in range(100):
            cluster.write(job.id, b"rank %d\n" % rank, rank=rank)
            assert _texts(await book.rows(job.id, rank, 0, 9)) == [f"rank {rank}"]
        assert len(book._logs) == 64
        assert _texts(await book.rows(job.id, 0, 0, 9)) == ["rank 0"]

    async def test_who_goes_away_leaves_a_log_that_others_can_read(
        self,
        book: LogBook,
        cluster: FakeCluster,
        job: Job,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cluster.write(job.id, b"".join(b"%d\n" % number for number in range(100_000)))
        begun, go = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        feed = RowIndex.feed

        def slowly(index: RowIndex, data: bytes) -> None:
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(20)
            feed(index, data)

        monkeypatch.setattr(RowIndex, "feed", slowly)
        asking = asyncio.create_task(book.rows(job.id, 0, -5, 5))
        await begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        monkeypatch.undo()
        other = asyncio.create_task(book.rows(job.id, 0, -5, 5))
        go.set()
        rows = await other
        assert (_texts(rows)[-1], rows.total_lines) == ("99999", 100_000)
        assert rows.total_bytes == len(cluster.jobs[job.id].logs[0])

    @pytest.mark.parametrize("times", [1, 2])
    async def test_a_log_replaced_while_it_is_read(
        self,
        book: LogBook,
        cluster: FakeCluster,
        job: Job,
        monkeypatch: pytest.MonkeyPatch,
        times: int,
    ) -> None:
        catch_up = LogBook._catch_up
        logs = [b"one\ntwo\nthree\n", b"a\nb\n", b"c\n"]

        async def replaced(book: LogBook, log: Any, seconds: float) -> bool:
            more = await catch_up(book, log, seconds)
            if logs:
                cluster.jobs[job.id].logs[0] = logs.pop(0)
            return more

        cluster.write(job.id, b"long ago there was more in it\n" * 3)
        monkeypatch.setattr(LogBook, "_catch_up", replaced)
        del logs[times:]
        if times == 1:
            assert _texts(await book.rows(job.id, 0, 0, 9)) == ["one", "two", "three"]
        else:
            with pytest.raises(Conflict, match="become another"):
                await book.rows(job.id, 0, 0, 9)
        assert len(_texts(await book.rows(job.id, 0, 0, 9))) == (3 if times == 1 else 2)

    async def test_what_takes_long_is_answered_in_part(
        self,
        book: LogBook,
        cluster: FakeCluster,
        job: Job,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        lines = [b"%d %s\n" % (number, b"x" * 20_000) for number in range(300)]
        cluster.write(job.id, b"".join(lines))
        while (await book.rows(job.id, 0, -1, 1)).total_rows < 300:
            pass
        monkeypatch.setattr(logbook, "_DRAW_SECONDS", -1)
        monkeypatch.setattr(logbook, "_SEARCH_SECONDS", -1)
        rows = await book.rows(job.id, 0, 0, 300)
        assert 0 < len(rows.rows) < 300
        assert [row.line for row in rows.rows] == list(range(1, len(rows.rows) + 1))
        found = await book.search(job.id, 0, "x", first=0, limit=1000, match_case=False)
        assert 0 < len(found.rows) < 300
        assert found.more
        assert found.next == found.rows[-1] + 1
        rest = await book.search(job.id, 0, "x", first=found.next, limit=1000, match_case=False)
        assert rest.rows[0] == found.next

    async def test_a_search_that_finds_nothing_for_long_can_be_gone_on_with(
        self,
        book: LogBook,
        cluster: FakeCluster,
        job: Job,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        lines = [b"%d %s\n" % (number, b"\xc3\xa9" * 10_000) for number in range(600)]
        cluster.write(job.id, b"".join([*lines, b"here\n"]))
        while (await book.rows(job.id, 0, -1, 1)).total_rows < 601:
            pass
        monkeypatch.setattr(logbook, "_FRUITLESS_SECONDS", -1)
        monkeypatch.setattr(logbook, "_STEP_BYTES", 1 << 20)
        first: int | None = 0
        begins, rows = [], list[int]()
        while first is not None and first <= 601:
            begins.append(first)
            found = await book.search(job.id, 0, "here", first=first, limit=9, match_case=True)
            rows += found.rows
            first = found.next
        assert rows == [600]
        assert (found.more, found.next) == (False, None)
        assert begins == sorted(set(begins))
        assert len(begins) > 3

    async def test_a_search_reads_on_in_a_log_that_is_not_indexed_yet(
        self,
        book: LogBook,
        cluster: FakeCluster,
        job: Job,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(logbook, "_CATCH_UP_SECONDS", 0)
        monkeypatch.setattr(logbook, "_STEP_BYTES", 100_000)
        cluster.write(job.id, b"".join(b"line %d\n" % number for number in range(100_000)))
        asked: dict[str, Any] = {"first": 0, "limit": 5, "match_case": False}
        for pool in (FakePool.logs, _in_pieces):
            monkeypatch.setattr(FakePool, "logs", pool)
            fresh = LogBook(book._engine)
            found = await fresh.search(job.id, 0, "line 99999", **asked)
            assert (found.rows, found.more) == ((99_999,), False)
            assert (await fresh.size(job.id, 0))[1] == len(cluster.jobs[job.id].logs[0])


async def _in_pieces(
    pool: FakePool, handle: Handle, *, rank: int = 0, offset: int = 0, follow: bool = False
) -> AsyncIterator[LogChunk]:
    del follow
    data = pool.cluster.jobs[handle.data["job"]].logs[rank]
    for at in range(offset, len(data), 1000):
        yield LogChunk(rank=rank, offset=at, data=data[at : at + 1000])


class TestEndpoints:
    @pytest.fixture
    def api(
        self, http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str], job: Job
    ) -> Api:
        return Api(http_server_client, base_url=jp_base_url, headers=jp_auth_header)

    async def test_rows_and_search(self, api: Api, cluster: FakeCluster, job: Job) -> None:
        cluster.write(job.id, b"<b>a</b>\n\x1b[31mb\x1b[0m\n")
        cluster.write(job.id, b"told\n", rank=LAUNCHER)
        path = f"jobs/{job.id}/logs"
        rows = await api.get(f"{path}/0/rows", first=-5, count=2)
        assert rows == {
            "rank": 0,
            "first": 0,
            "rows": [
                {"text": "<b>a</b>", "line": 1, "repeat": 1, "left_out": 0},
                {"text": "\x1b[31mb\x1b[0m", "line": 2, "repeat": 1, "left_out": 0},
            ],
            "total_rows": 2,
            "total_lines": 2,
            "total_bytes": 20,
            "complete": False,
        }
        assert (await api.get(f"{path}/launcher/rows"))["rank"] == -1
        assert await api.get(f"{path}/0/search", query="B") == {
            "rows": [0, 1],
            "more": False,
            "next": None,
        }
        assert (await api.get(f"{path}/0/search", query="B", case="true"))["rows"] == []
        assert (await api.get(f"{path}/0/search", query="b", **{"from": 1, "limit": 1})) == {
            "rows": [1],
            "more": False,
            "next": None,
        }

    @pytest.mark.parametrize(
        ("path", "query", "status"),
        [
            ("0/rows", {"count": 2001}, 400),
            ("0/rows", {"first": "x"}, 400),
            ("0/search", {}, 400),
            ("0/search", {"query": "a", "limit": 10_001}, 400),
            ("7/rows", {}, 404),
            ("7", {}, 404),
            ("9" * 5000, {}, 404),
        ],
    )
    async def test_says_what_is_wrong(
        self, api: Api, job: Job, path: str, query: dict[str, Any], status: int
    ) -> None:
        assert (await api.refused("GET", f"jobs/{job.id}/logs/{path}", **query))[0] == status

    async def test_download(self, api: Api, cluster: FakeCluster, job: Job) -> None:
        log = b"".join(b"<script>line %d</script>\n" % number for number in range(100_000))
        cluster.write(job.id, log)
        answer = await api.fetch("GET", f"jobs/{job.id}/logs/0")
        assert answer.code == 200
        assert answer.body == log
        assert answer.headers["Content-Length"] == str(len(log))
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"] == (
            f'attachment; filename="digits-{job.id}-rank0.log"'
        )
        empty = await api.fetch("GET", f"jobs/{job.id}/logs/launcher")
        assert (empty.code, empty.body) == (200, b"")
        assert empty.headers["Content-Type"] == "text/plain; charset=utf-8"

    async def test_a_download_that_cannot_be_whole_is_cut_off(
        self,
        api: Api,
        jp_fetch: Any,
        cluster: FakeCluster,
        job: Job,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cluster.write(job.id, b"x" * 3_000_000)

        async def size(*_: Any) -> tuple[Job, int]:
            return job, 4_000_000

        monkeypatch.setattr(LogBook, "size", size)
        with pytest.raises(HTTPClientError, match="closed"):
            await jp_fetch("aiinfra", "jobs", job.id, "logs", "0")

    async def test_ranges_with_a_secret_are_right(
        self, jp_fetch: Any, cluster: FakeCluster, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("API_KEY", "hunter22")
        cluster.write(job.id, b"-" * ((1 << 20) - 4) + b"hunter22 and on")
        answer = await jp_fetch("aiinfra", "jobs", job.id, "logs", "0")
        assert answer.body == b"-" * ((1 << 20) - 4) + b"******** and on"
        headers = {"Range": "bytes=-10"}
        answer = await jp_fetch("aiinfra", "jobs", job.id, "logs", "0", headers=headers)
        assert answer.body == b"*** and on"[-10:]

    async def test_ranges_are_those_of_the_file(
        self, jp_fetch: Any, cluster: FakeCluster, job: Job
    ) -> None:
        log = bytes(range(256)) * 20
        size = len(log)
        cluster.write(job.id, log)

        async def fetch(asked: str, **headers: str) -> Any:
            sent = {"Range": asked, **headers}
            return await jp_fetch("aiinfra", "jobs", job.id, "logs", "0", headers=sent)

        for asked, begin, end in (
            ("bytes=0-0", 0, 1),
            ("bytes=10-99", 10, 100),
            ("bytes=5000-", 5000, size),
            ("bytes=5000-999999", 5000, size),
            ("bytes=-7", size - 7, size),
            ("bytes=-999999", 0, size),
        ):
            answer = await fetch(asked)
            assert answer.code == 206
            assert answer.body == log[begin:end]
            assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
        for asked in ("bytes=9-3", "bytes=0-1,5-6", "lines=0-1", "bytes=x-"):
            answer = await fetch(asked)
            assert (answer.code, answer.body) == (200, log)
        assert (await fetch("bytes=0-1", **{"If-Range": '"x"'})).code == 200
        for asked in (f"bytes={size}-", "bytes=-0"):
            with pytest.raises(HTTPClientError) as refused:
                await fetch(asked)
            assert refused.value.code == 416
            assert refused.value.response is not None
            assert refused.value.response.headers["Content-Range"] == f"bytes */{size}"


class TestLocal:
    """A run directory as a job of the local pool leaves it."""

    @pytest.fixture
    def local(self, engine: Engine, aiinfra_home: Path) -> tuple[Job, Path]:
        engine.store.add_pool(PoolRecord(name="here", kind="local"))
        run_dir = aiinfra_home / "runs" / "0local"
        (run_dir / "logs").mkdir(parents=True)
        job = Job(id="0local", pool="here", spec=a_spec())
        engine.store.add_job(job)
        handle = Handle(kind="local", data={"job": job.id, "run_dir": str(run_dir)})
        assert engine.store.bind(job.id, handle=handle)
        return job, run_dir / "logs" / "rank-0.log"

    @pytest.fixture
    def shared(self, engine: Engine) -> SharedEngine:
        settings = load_settings()
        return SharedEngine(lambda: Engine(open_store(settings), settings, opener=open_pool))

    async def test_reads_a_file_larger_than_a_step(
        self, book: LogBook, local: tuple[Job, Path]
    ) -> None:
        job, path = local
        assert (await book.rows(job.id, 0, 0, 9)).rows == ()
        with path.open("wb") as file:
            for number in range(0, 400_000, 10):
                file.write(
                    b"".join(b"line %d of the log\n" % each for each in range(number, number + 10))
                )
        size = path.stat().st_size
        fresh = LogBook(book._engine)
        assert (await fresh.size(job.id, 0))[1] == size
        while (rows := await book.rows(job.id, 0, -1, 1)).total_bytes < size:
            pass
        assert (rows.total_rows, _texts(rows)) == (400_000, ["line 399999 of the log"])
        pieces = [piece async for piece in book.pieces(job.id, 0, 1000, size - 1000)]
        assert b"".join(pieces) == path.read_bytes()[1000:-1000]
        assert max(map(len, pieces)) <= 1 << 20
        found = await book.search(job.id, 0, "line 399998", first=0, limit=9, match_case=True)
        assert found.rows == (399_998,)
        with path.open("ab") as file:
            file.write(b"and on\n")
        assert _texts(await book.rows(job.id, 0, -1, 1)) == ["and on"]
        path.unlink()
        assert (await book.rows(job.id, 0, -1, 1)).total_rows == 0
