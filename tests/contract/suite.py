"""What every pool must hold, whatever it runs on. A pool's tests subclass :class:`PoolContract`."""

from __future__ import annotations

import abc
import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest

from jupyter_aiinfra.aio import collect
from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.errors import AiInfraError, NotFound, Unreachable, UsageError
from jupyter_aiinfra.model import (
    Handle,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Observation,
    from_wire,
    new_job_id,
    to_wire,
)
from jupyter_aiinfra.pools.base import Browsing, Pool


class Rig(abc.ABC):
    """How the suite moves the world behind a pool of one kind."""

    @abc.abstractmethod
    def open(self) -> Pool:
        """Open the pool anew, as another process would."""

    @abc.abstractmethod
    def spec(self, *, exit_code: int | None = 0, text: str = "") -> JobSpec:
        """Return a job that writes `text` and exits, or runs on where `exit_code` is ``None``."""

    @abc.abstractmethod
    async def settle(self, job: Job) -> None:
        """Let the job get as far as it gets without being told: up, or to its end."""

    @abc.abstractmethod
    def cut(self) -> bool:
        """Make the pool unreachable; return False where that cannot be."""


def make_job(spec: JobSpec) -> Job:
    return Job(id=new_job_id(), pool="tested", spec=spec)


def a_spec(*argv: str) -> JobSpec:
    return JobSpec(kind=JobKind.TRAIN, name="contract", argv=argv, verify_world=False)


async def until(look: Callable[[], Awaitable[Observation]], *states: JobState) -> Observation:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        seen = await look()
        if seen.state in states:
            return seen
        await asyncio.sleep(0.02)
    pytest.fail(f"never {' or '.join(state.value for state in states)}, but {seen.state.value}")


FINAL = tuple(state for state in JobState if state.final)


class PoolContract:
    """The suite. ``rig`` is a fixture of the subclass's module."""

    async def start(self, rig: Rig, spec: JobSpec) -> tuple[Job, Pool, Handle]:
        pool, job = rig.open(), make_job(spec)
        handle = await pool.submit(await pool.plan(job), Bundle(files=()))
        await rig.settle(job)
        return job, pool, handle

    async def end(self, pool: Pool, handle: Handle) -> Observation:
        return await until(lambda: pool.observe(handle), *FINAL)

    async def test_the_inventory_names_every_node_once(self, rig: Rig) -> None:
        nodes = await rig.open().nodes()
        assert nodes
        assert len({node.name for node in nodes}) == len(nodes)
        for node in nodes:
            assert node.python is not None
            assert len({gpu.uuid for gpu in node.gpus}) == len(node.gpus)

    async def test_a_plan_is_stable_text_and_changes_nothing(self, rig: Rig) -> None:
        pool, job = rig.open(), make_job(rig.spec())
        text = (await pool.plan(job)).text
        assert text == (await rig.open().plan(job)).text
        assert job.spec.argv[0] in text
        assert job.id not in {handle.data["job"] for handle in await pool.jobs()}

    async def test_a_handle_is_json_and_any_process_can_pick_the_job_up(self, rig: Rig) -> None:
        job, pool, handle = await self.start(rig, rig.spec())
        again = from_wire(json.loads(json.dumps(to_wire(handle))), Handle)
        assert again == handle
        assert again.data["job"] == job.id
        end = await self.end(pool, handle)
        assert end.state is JobState.SUCCEEDED
        assert (await rig.open().observe(again)).state is JobState.SUCCEEDED

    async def test_a_second_submit_starts_nothing(self, rig: Rig) -> None:
        job, pool, handle = await self.start(rig, rig.spec(text="once\n"))
        assert await rig.open().submit(await pool.plan(job), Bundle(files=())) == handle
        await self.end(pool, handle)
        assert [h.data["job"] for h in await pool.jobs()].count(job.id) == 1
        assert await self.log(pool, handle) == b"once\n"

    async def test_a_failed_rank_fails_the_job(self, rig: Rig) -> None:
        _, pool, handle = await self.start(rig, rig.spec(exit_code=3))
        end = await self.end(pool, handle)
        assert end.state is JobState.FAILED
        assert end.reason
        assert end.ended_at is not None

    async def test_a_job_is_not_over_before_its_end(self, rig: Rig) -> None:
        _, pool, handle = await self.start(rig, rig.spec(exit_code=None))
        assert not (await pool.observe(handle)).state.final
        await pool.cancel(handle, grace=0.0)
        await self.end(pool, handle)

    async def test_cancel_ends_a_job_and_may_come_twice_and_late(self, rig: Rig) -> None:
        _, pool, handle = await self.start(rig, rig.spec(exit_code=None))
        await pool.cancel(handle, grace=0.0)
        await rig.open().cancel(handle, grace=0.0)
        assert (await self.end(pool, handle)).state is JobState.CANCELLED
        await pool.cancel(handle, grace=0.0)
        assert (await pool.observe(handle)).state is JobState.CANCELLED

    async def test_cancel_of_what_is_over_leaves_its_outcome(self, rig: Rig) -> None:
        _, pool, handle = await self.start(rig, rig.spec())
        await self.end(pool, handle)
        await pool.cancel(handle, grace=0.0)
        assert (await pool.observe(handle)).state is JobState.SUCCEEDED

    async def log(self, pool: Pool, handle: Handle, **where: int) -> bytes:
        offset = where.get("offset", 0)
        data = b""
        for chunk in await collect(pool.logs(handle, rank=-1, offset=offset)):
            assert chunk.offset == offset + len(data)
            data += chunk.data
        return data

    async def test_logs_continue_from_any_byte_offset(self, rig: Rig) -> None:
        text = "first line\nsecond line\n"
        _, pool, handle = await self.start(rig, rig.spec(text=text))
        await self.end(pool, handle)
        for offset in range(0, len(text) + 2, 3):
            assert await self.log(rig.open(), handle, offset=offset) == text.encode()[offset:]

    async def test_logs_of_a_rank_that_is_not_there_are_empty(self, rig: Rig) -> None:
        _, pool, handle = await self.start(rig, rig.spec())
        await self.end(pool, handle)
        assert await collect(pool.logs(handle, rank=77)) == []

    async def test_a_removed_job_is_gone_and_a_running_one_is_not_removed(self, rig: Rig) -> None:
        job, pool, handle = await self.start(rig, rig.spec(exit_code=None))
        with pytest.raises(AiInfraError):
            await pool.remove(handle)
        await pool.cancel(handle, grace=0.0)
        await self.end(pool, handle)
        await pool.remove(handle)
        await pool.remove(handle)
        assert job.id not in {h.data["job"] for h in await pool.jobs()}
        assert (await pool.observe(handle)).state is JobState.LOST

    async def test_files_are_listed_and_read_by_path_and_no_path_leads_out(self, rig: Rig) -> None:
        _, pool, handle = await self.start(rig, rig.spec(text="written\n"))
        await self.end(pool, handle)
        if not isinstance(pool, Browsing):
            pytest.skip("this pool does not show files")
        files = await pool.files(handle, limit=100)
        assert [file.path.split("/") for file in files] == sorted(f.path.split("/") for f in files)
        assert await pool.files(handle, limit=1) == files[:1]
        for file in files:
            whole = await self.content(pool, handle, file.path)
            assert len(whole) == file.size_bytes
            assert await self.content(pool, handle, file.path, offset=1) == whole[1:]
        for path in ("", "/etc/passwd", "..", "../x", "a/../..", "./a", "a//b", "a\0"):
            with pytest.raises(UsageError):
                await pool.open_file(handle, path)
        with pytest.raises(NotFound):
            await pool.open_file(handle, "not/there")
        await pool.remove(handle)
        with pytest.raises(NotFound):
            await pool.files(handle, limit=1)

    async def content(self, pool: Browsing, handle: Handle, path: str, *, offset: int = 0) -> bytes:
        reader = await pool.open_file(handle, path, offset=offset)
        assert reader.file.path == path
        data = b""
        while piece := await reader.read():
            data += piece
        await reader.aclose()
        await reader.aclose()
        return data

    async def test_an_unreachable_pool_says_nothing_about_its_jobs(self, rig: Rig) -> None:
        _, pool, handle = await self.start(rig, rig.spec(exit_code=None))
        if not rig.cut():
            await pool.cancel(handle, grace=0.0)
            await self.end(pool, handle)
            return
        with pytest.raises(Unreachable):
            await pool.observe(handle)
        with pytest.raises(Unreachable):
            await pool.cancel(handle, grace=0.0)

    async def test_close_may_come_twice_and_the_pool_opens_again(self, rig: Rig) -> None:
        pool = rig.open()
        await pool.aclose()
        await pool.aclose()
        assert await pool.nodes()
