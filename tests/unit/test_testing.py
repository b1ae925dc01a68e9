from __future__ import annotations

import pytest

from jupyter_aiinfra.aio import collect
from jupyter_aiinfra.errors import SubmitError, Unreachable
from jupyter_aiinfra.model import JobState, Node, PoolRecord
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.shell import Shell
from jupyter_aiinfra.testing import FakeClock, FakeCluster, FakePool, FakeShell, Reply
from tests.support.engines import EMPTY, orphaned


def test_the_clock_moves_when_told_to() -> None:
    clock = FakeClock(now=5.0)
    assert clock() == clock() == 5.0
    clock.advance(2.5)
    assert clock() == 7.5


async def test_a_transcript_is_played_in_order() -> None:
    shell = FakeShell(
        [
            Reply(argv=("nvidia-smi",), stdout=b"2 GPUs", status=1, stderr=b"warning"),
            Reply(argv=("cat", "log"), stdout=b"lines"),
        ]
    )
    done = await shell.run(["nvidia-smi"], stdin=b"in")
    assert (done.argv, done.status, done.stdout, done.stderr) == (
        ("nvidia-smi",),
        1,
        b"2 GPUs",
        b"warning",
    )
    assert await collect(shell.stream(["cat", "log"])) == [b"lines"]
    assert shell.inputs == [b"in", b""]
    shell.finish()
    assert isinstance(shell, Shell)


async def test_an_open_program_says_its_reply_and_keeps_what_was_written() -> None:
    shell = FakeShell([Reply(argv=("cat",), stdout=b"abc", stderr=b"e", status=2)])
    pipe = await shell.open(["cat"])
    await pipe.write(b"in")
    await pipe.write(b"put")
    assert [await pipe.read(2), await pipe.read(2), await pipe.read(2)] == [b"ab", b"c", b""]
    assert (pipe.stderr_tail, await pipe.wait()) == (b"e", 2)
    await pipe.close()
    assert await pipe.read(1) == b""
    with pytest.raises(Unreachable, match="cat takes no more input"):
        await pipe.write(b"x")
    assert [bytes(each.written) for each in shell.pipes] == [b"input"]
    shell.finish()


async def test_what_a_transcript_does_not_have_is_an_assertion_error() -> None:
    shell = FakeShell([Reply(argv=("one",)), Reply(argv=("two",), error=Unreachable("gone"))])
    with pytest.raises(AssertionError, match="expected"):
        await shell.run(["other"])
    with pytest.raises(Unreachable, match="gone"):
        await shell.run(["two"])
    with pytest.raises(AssertionError, match="nothing more was expected"):
        await shell.run(["three"])
    with pytest.raises(AssertionError, match=r"never run: \[\['left'\]\]"):
        FakeShell([Reply(argv=("left",))]).finish()


async def begun() -> tuple[FakeCluster, FakePool, str]:
    cluster = FakeCluster()
    pool, job = FakePool(cluster), orphaned()
    await pool.submit(await pool.plan(job), EMPTY)
    return cluster, pool, job.id


async def test_jobs_move_when_told_to_and_never_from_their_end() -> None:
    cluster, pool, job_id = await begun()
    (handle,) = await pool.jobs()
    assert (await pool.observe(handle)).ranks == ()
    cluster.begin(job_id)
    assert len((await pool.observe(handle)).ranks) == 1
    cluster.end(job_id, JobState.FAILED)
    cluster.begin(job_id)
    cluster.end(job_id, JobState.SUCCEEDED)
    seen = await pool.observe(handle)
    assert (seen.state, seen.failed_rank, seen.ranks[0].exit_code) == (JobState.FAILED, 0, 1)


async def test_a_cancel_with_grace_waits_for_the_test() -> None:
    cluster, pool, job_id = await begun()
    (handle,) = await pool.jobs()
    await pool.cancel(handle, grace=5.0)
    assert (await pool.observe(handle)).stopping
    assert cluster.jobs[job_id].state is JobState.STARTING


async def test_a_cluster_can_be_cut_off_and_can_refuse() -> None:
    cluster, pool, _ = await begun()
    cluster.refuse = "quota"
    with pytest.raises(SubmitError, match="quota"):
        await pool.submit(await pool.plan(orphaned()), EMPTY)
    cluster.reachable = False
    for ask in (pool.nodes, pool.jobs, pool.shells):
        with pytest.raises(Unreachable, match="pool fake does not answer"):
            await ask()


async def test_nodes_are_given_or_one_is_made_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    node = Node(name="a100", address="10.0.0.9")
    record = PoolRecord(name="mine", kind="fake")
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    pool: Pool = FakeCluster([node]).opener(record, settings)
    assert isinstance(pool, FakePool)
    assert pool.name == "mine"
    assert await pool.nodes() == (node,)
    ((where, shell),) = await pool.shells()
    assert where is node
    assert isinstance(shell, FakeShell)
    (made_up,) = FakeCluster().nodes
    assert made_up.python is not None


async def test_a_fake_job_computes_nothing() -> None:
    _, pool, _ = await begun()
    (handle,) = await pool.jobs()
    assert await pool.results(handle) is None
