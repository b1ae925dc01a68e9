"""The local pool against the contract, with real processes, and what is its own."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.aio import collect
from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.errors import StorageFull, SubmitError, Unreachable, UsageError
from jupyter_aiinfra.model import Job, JobSpec, JobState, PoolRecord
from jupyter_aiinfra.node import describe, supervise
from jupyter_aiinfra.pools import open_pool
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.pools.local import LocalOptions, LocalPool
from jupyter_aiinfra.settings import Settings
from tests.contract.suite import FINAL, PoolContract, Rig, a_spec, make_job, until
from tests.support.bench import wait_until


class LocalRig(Rig):
    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)

    def open(self) -> Pool:
        return LocalPool(LocalOptions(), self.settings)

    def spec(self, *, exit_code: int | None = 0, text: str = "") -> JobSpec:
        end = "sleep 300" if exit_code is None else f"exit {exit_code}"
        return a_spec("/bin/sh", "-c", f'printf %s "$0"; {end}', text)

    async def settle(self, job: Job) -> None:
        del job  # real processes move by themselves

    def cut(self) -> bool:
        return False


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    yield LocalRig(tmp_path / "home")
    runs = tmp_path / "home/runs"
    left = (
        [job.name for job in runs.iterdir() if supervise.tagged(job.name)] if runs.exists() else []
    )
    for job in left:
        for who in supervise.tagged(job):
            supervise.send(who, signal.SIGKILL)
    assert not left


class TestLocalPool(PoolContract):
    async def test_the_bundle_is_in_place_before_the_job_begins(self, rig: Rig) -> None:
        pool = rig.open()
        job = make_job(a_spec("/bin/cat", "${AIINFRA_RUN_DIR}/src/a.txt"))
        bundle = Bundle(files=(bundle_file("src/a.txt", b"carried"), bundle_file(None, b"blob")))
        handle = await pool.submit(await pool.plan(job), bundle)
        await self.end(pool, handle)
        assert await self.log(pool, handle) == b"carried"

    async def test_followed_logs_end_with_the_job_and_miss_nothing(self, rig: Rig) -> None:
        pool = rig.open()
        script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.05; done"
        job = make_job(a_spec("/bin/sh", "-c", script))
        handle = await pool.submit(await pool.plan(job), Bundle(files=()))
        chunks = await collect(pool.logs(handle, rank=-1, follow=True))
        assert b"".join(c.data for c in chunks) == b"".join(b"line %d\n" % i for i in range(1, 6))

    async def test_run_directories_are_private(self, rig: Rig) -> None:
        _, pool, handle = await self.start(rig, rig.spec())
        await self.end(pool, handle)
        folder = Path(handle.data["run_dir"])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "spec.json").stat().st_mode) == 0o600

    async def test_a_full_disk_leaves_nothing_half_made(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        pool = rig.open()
        job = make_job(rig.spec())
        plan = await pool.plan(job)
        monkeypatch.setattr("jupyter_aiinfra.node.supervise.write_json", full)
        with pytest.raises(StorageFull, match="No space left"):
            await pool.submit(plan, Bundle(files=()))
        assert not Path(plan.nodes[0].run_dir).exists()

    async def test_a_program_that_is_not_there_fails_the_job(self, rig: Rig) -> None:
        pool = rig.open()
        job = make_job(a_spec("/nowhere/python"))
        handle = await pool.submit(await pool.plan(job), Bundle(files=()))
        end = await until(lambda: pool.observe(handle), *FINAL)
        assert (end.state, end.exit_code) == (JobState.FAILED, 127)

    async def test_a_missing_working_directory_is_refused(self, rig: Rig) -> None:
        pool = rig.open()
        spec = dataclasses.replace(rig.spec(), cwd="/nowhere/at/all")
        with pytest.raises(SubmitError, match="/nowhere/at/all"):
            await pool.submit(await pool.plan(make_job(spec)), Bundle(files=()))

    async def test_a_killed_supervisor_is_replaced(self, rig: Rig) -> None:
        _, pool, handle = await self.start(rig, rig.spec(exit_code=None))
        assert isinstance(pool, LocalPool)
        record = supervise.Run(handle.data["run_dir"]).json("supervisor.json")
        assert record is not None
        supervise.send(record, signal.SIGKILL)
        wait_until(lambda: not supervise.alive(record))
        assert not (await pool.observe(handle)).supervised
        await asyncio.gather(pool.adopt(handle), pool.adopt(handle))
        assert (await pool.observe(handle)).supervised
        await pool.cancel(handle, grace=0.0)
        assert (await self.end(pool, handle)).state is JobState.CANCELLED

    async def test_a_job_does_not_inherit_the_tag_of_the_job_it_was_launched_from(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIINFRA_JOB", "outer")
        monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        job, pool, handle = await self.start(rig, a_spec("/usr/bin/env"))
        await self.end(pool, handle)
        environment = (await self.log(pool, handle)).decode().splitlines()
        assert f"AIINFRA_JOB={job.id}" in environment
        assert not any(line.startswith("MPLBACKEND=") for line in environment)
        assert supervise.tagged("outer") == []

    async def test_another_interpreter_describes_itself(self, rig: Rig, tmp_path: Path) -> None:
        assert isinstance(rig, LocalRig)
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        pool = LocalPool(LocalOptions(python=str(python)), rig.settings)
        (node,) = await pool.nodes()
        assert node.python is not None
        assert node.python.version.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")

    async def test_an_interpreter_that_is_none_is_unreachable(self, rig: Rig) -> None:
        assert isinstance(rig, LocalRig)
        pool = LocalPool(LocalOptions(python="/bin/false"), rig.settings)
        with pytest.raises(Unreachable, match="/bin/false"):
            await pool.nodes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"python": "/nowhere/python"}, "/nowhere/python"),
        ({"max_procs": "many"}, "max_procs"),
        ({"max_procs": 0}, "--max-procs 0"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], said: str, tmp_path: Path) -> None:
    record = PoolRecord(name="p", kind="local", options=options)
    with pytest.raises(UsageError, match=said):
        open_pool(record, Settings(home=tmp_path))


def test_the_folder_is_not_made_by_looking(tmp_path: Path) -> None:
    pool = LocalPool(LocalOptions(), Settings(home=tmp_path / "home"))
    assert asyncio.run(pool.jobs()) == ()
    assert asyncio.run(pool.nodes())
    assert not os.path.lexists(tmp_path / "home")


async def test_a_job_is_begun_again_from_its_checkpoint(tmp_path: Path) -> None:
    pool = LocalPool(LocalOptions(), Settings(home=tmp_path / "home"))
    script = (
        'mkdir -p "$AIINFRA_CHECKPOINT_DIR"; cd "$AIINFRA_CHECKPOINT_DIR"; '
        "step=$(cat step 2>/dev/null || echo 0); "
        'while [ "$step" -lt 6 ]; do step=$((step+1)); echo $step >step; '
        'echo "attempt $AIINFRA_ATTEMPT step $step"; '
        '[ "$step" = 3 ] && [ "$AIINFRA_ATTEMPT" = 1 ] && kill -9 $$; done; exit 0'
    )
    spec = dataclasses.replace(a_spec("/bin/sh", "-c", script), max_restarts=1)
    handle = await pool.submit(await pool.plan(make_job(spec)), Bundle(files=()))
    seen = await until(lambda: pool.observe(handle), *FINAL)
    assert (seen.state, seen.attempt) == (JobState.SUCCEEDED, 2)
    assert "status 137" in seen.restarts[0].reason
    data = b"".join(c.data for c in await collect(pool.logs(handle, rank=-1)))
    said = [line for line in data.decode().splitlines() if line.startswith("attempt")]
    assert said == [
        *(f"attempt 1 step {step}" for step in (1, 2, 3)),
        *(f"attempt 2 step {step}" for step in (4, 5, 6)),
    ]


@pytest.mark.parametrize("restarts", [0, 1])
async def test_declared_files_are_kept_with_the_job(tmp_path: Path, restarts: int) -> None:
    pool = LocalPool(LocalOptions(), Settings(home=tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    script = (
        "mkdir -p out/deep; echo weights >out/deep/model.bin; echo other >other; ln -s / out/up"
    )
    spec = dataclasses.replace(
        a_spec("/bin/sh", "-c", script),
        cwd=str(work),
        artifacts=("out/**",),
        max_restarts=restarts,
    )
    handle = await pool.submit(await pool.plan(make_job(spec)), Bundle(files=()))
    seen = await until(lambda: pool.observe(handle), *FINAL)
    assert seen.state is JobState.SUCCEEDED
    assert seen.artifacts is not None
    assert (seen.artifacts.files, seen.artifacts.size_bytes) == (1, 8)
    folder = await pool.artifacts(handle)
    assert folder is not None
    assert (folder / "out/deep/model.bin").read_text() == "weights\n"
    assert not (folder / "other").exists()
    assert "artifacts/out/deep/model.bin" in [f.path for f in await pool.files(handle, limit=99)]


async def test_what_a_python_has_is_read_again_only_where_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    python = describe.python

    def count() -> dict[str, Any]:
        read.append(1)
        return python()

    async def packages() -> Mapping[str, str]:
        (node,) = await pool.nodes()
        assert node.python is not None
        return node.python.packages

    monkeypatch.setattr(describe, "python", count)
    site = tmp_path / "site"
    (site / "thing-1.0.dist-info").mkdir(parents=True)
    os.utime(site, ns=(1, 1))
    monkeypatch.syspath_prepend(str(site))
    pool = LocalPool(LocalOptions(), Settings(home=tmp_path))
    assert (await packages())["thing"] == "1.0"
    assert (await packages())["thing"] == "1.0"
    assert len(read) == 1
    (site / "other-2.0.dist-info").mkdir()
    os.utime(site, ns=(2, 2))
    assert (await packages())["other"] == "2.0"
    monkeypatch.setattr("sys.path", [each for each in sys.path if each != str(site)])
    assert "thing" not in await packages(), "another path has other packages"
    assert len(read) == 3
