"""Notebooks in kernels that were up before: as in any other, and what becomes of those who wait."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine.running import Running
from jupyter_aiinfra.model import Job, JobState
from jupyter_aiinfra.node import supervise, warm
from jupyter_aiinfra.pools.local import LocalPool, _clean_environment
from jupyter_aiinfra.pools.warmth import Warmth
from jupyter_aiinfra.settings import Settings
from tests.integration.test_notebook_run import (  # noqa: F401 - run here, by another fixture
    test_a_cell_may_not_take_longer_than_it_may,
    test_a_cell_that_raises_fails_the_run,
    test_a_flood_is_folded,
    test_a_kernel_that_is_killed_from_outside_fails_the_run,
    test_a_long_cell_is_seen_and_saved_while_it_runs,
    test_a_name_that_is_code_is_refused,
    test_a_run_may_not_take_longer_than_it_may,
    test_a_run_that_is_cancelled_saves_what_it_has,
    test_a_runner_that_is_killed_fails_the_run_and_its_kernel_goes,
    test_an_error_that_is_allowed_is_none,
    test_cells_are_run_in_order_and_what_they_show_is_kept,
    test_ends_of_the_kernel,
    test_secrets_and_tokens_are_nowhere,
    test_values_stay_what_they_are,
)
from tests.support.notebooks import POOL, Notebooks, Ran, code, open_notebooks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels wait on Linux only")

SECONDS = 60.0


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not true within a minute"
        await asyncio.sleep(0.02)


class Mothers:
    """A folder in which kernels wait, for tests one after the other."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.settings = Settings(home=root, warm_seconds=600.0, **settings)
        self.warmth = Warmth(self.settings)
        run_dir = root / "runs" / "example"
        run_dir.mkdir(parents=True)
        spec = {"kind": "notebook", "argv": [sys.executable], "env": {}}
        (run_dir / "spec.json").write_text(json.dumps(spec))
        self.run_dir = run_dir

    @property
    def folder(self) -> Path:
        return self.warmth.folder / warm.key_of(sys.executable, _clean_environment())

    @property
    def mother(self) -> supervise.Json | None:
        return supervise.read_json(str(self.folder / "mother.json"))

    async def up(self) -> None:
        """Have a mother wait, if there is none any more."""
        await self.warmth.keep(self.run_dir, _clean_environment())
        await until(lambda: supervise.alive(self.mother))

    def waiting(self) -> list[Path]:
        """Return the connection files of the kernels that wait."""
        return list(self.folder.glob("*-*/kernel.json"))

    async def end(self) -> None:
        mother = self.mother
        self.warmth.end()
        await until(lambda: not supervise.alive(mother) and not self.waiting())
        shutil.rmtree(self.warmth.folder)


class Warm(Notebooks):
    """Notebooks that find a kernel waiting."""

    mothers: Mothers

    async def launch(self, *cells: Any, **how: Any) -> Job:
        await self.mothers.up()
        here = Warmth(self.settings).folder
        if not here.is_symlink():
            here.symlink_to(self.mothers.warmth.folder)
        return await super().launch(*cells, **how)

    async def ended(self, job: Job) -> Ran:
        ran = await super().ended(job)
        told = ran.state.get("kernel") if (ran.folder / "notebook/state.json").exists() else None
        assert told is None or told["waited"], "it was to find a kernel waiting"
        return ran


@pytest.fixture(scope="module")
def mothers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mothers]:
    found = Mothers(tmp_path_factory.mktemp("warm"))
    yield found
    asyncio.run(found.end())


@pytest.fixture
async def place(tmp_path: Path, mothers: Mothers) -> AsyncIterator[Warm]:
    async with open_notebooks(tmp_path, Warm) as place:
        place.mothers = mothers
        yield place
        Warmth(place.settings).folder.unlink(missing_ok=True)


SURROUNDINGS = """\
import os, sys
print(sorted(name for name in os.environ if name.startswith('AIINFRA_')))
print(os.getcwd(), sys.path[0] == '', os.environ['MINE'], 'rank' in sys.modules)
print({name: name in sys.modules for name in ('nbclient', 'warm', 'supervise', 'kernels')})
print(get_ipython().execution_count, __name__, _dh == [os.getcwd()])
"""


async def test_all_around_it_is_as_in_a_kernel_that_was_started_for_the_run(place: Warm) -> None:
    how: dict[str, Any] = {"env": {"MINE": "my own"}, "values": {"x": 2}}
    cells = (code("x = 1", "parameters"), SURROUNDINGS, "print(x, In[-1] != '', len(Out))")
    warmed = await place.run(*cells, **how)
    cold = await Notebooks.ended(place, await Notebooks.launch(place, *cells, **how))
    assert not cold.state["kernel"]["waited"] or warmed.state["kernel"]["waited"]
    folders = (str(warmed.folder), str(cold.folder))
    assert [warmed.text(at).replace(folders[0], "R") for at in range(4)] == [
        cold.text(at).replace(folders[1], "R") for at in range(4)
    ]
    assert warmed.statuses() == cold.statuses()


async def test_each_run_has_a_kernel_of_its_own_and_none_is_used_twice(place: Warm) -> None:
    told = []
    for _ in range(3):
        ran = await place.run(
            "import os\nprint(os.getpid())\nleft = globals().get('left', 0) + 1", "left"
        )
        assert ran.job.state is JobState.SUCCEEDED, ran.reason
        told.append((ran.text(0), ran.text(1)))
    assert len({pid for pid, _ in told}) == 3
    assert {left for _, left in told} == {"1"}


async def test_what_is_to_be_done_at_the_end_is_done(place: Warm, tmp_path: Path) -> None:
    path = tmp_path / "said"
    ran = await place.run(
        f"import atexit\natexit.register(lambda: open({str(path)!r}, 'a').write('at exit'))",
        f"unclosed = open({str(tmp_path / 'unclosed')!r}, 'w')\nunclosed.write('all of it')",
        "import os\nif os.fork() == 0:\n    os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))",
    )
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    assert path.read_text() == "at exit"
    assert (tmp_path / "unclosed").read_text() == "all of it"
    assert ran.text(2) == "7\n"


async def test_a_child_that_is_left_running_ends_with_its_kernel(place: Warm) -> None:
    ran = await place.run("import subprocess\nprint(subprocess.Popen(['sleep', '1000']).pid)")
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    assert supervise.identity(int(ran.text(0))) is None


async def test_what_is_in_the_namespace_is_let_go_of_at_the_end(
    place: Warm, tmp_path: Path
) -> None:
    path = tmp_path / "let go"
    ran = await place.run(
        "class Held:\n    def __del__(self):\n"
        f"        with open({str(path)!r}, 'a') as file:\n            file.write(self.name)",
        "held, ring = Held(), Held()\nheld.name, ring.name, ring.self = 'held ', 'ring ', ring\n"
        "del ring",
    )
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    assert sorted(path.read_text().split()) == ["held", "ring"]


async def test_the_run_outlives_its_supervisor_and_the_mother(place: Warm, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = await place.launch(
        f"print('here', flush=True)\nimport os, time\nwhile not os.path.exists({str(gate)!r}):\n"
        "    time.sleep(0.02)\nprint('through')"
    )
    job = await place.until_said(job, "here")
    assert job.handle is not None
    run = supervise.Run(job.handle.data["run_dir"])
    for who in (place.mothers.mother, run.json("supervisor.json")):
        assert supervise.send(who, signal.SIGKILL)
        await until(lambda: not supervise.alive(who))  # noqa: B023 - looked at before the next
    await place.until(job, lambda now: now.seen is not None and now.seen.supervised)
    gate.touch()
    ran = await place.ended(job)
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    assert ran.text(0) == "here\nthrough\n"
    assert len(place.left()) == 0
    await until(lambda: not place.mothers.waiting())  # who waited has gone with the mother


async def test_variables_that_act_at_a_start_are_not_given_to_one_that_is_up(place: Warm) -> None:
    await place.mothers.up()
    job = await place.launch(
        "import os\nprint(os.environ['PYTHONHASHSEED'])", env={"PYTHONHASHSEED": "7"}
    )
    ran = await Notebooks.ended(place, job)
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    assert not ran.state["kernel"]["waited"]
    assert ran.text(0) == "7\n"


async def test_whoever_asks_in_vain_starts_one(
    place: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.mothers.up()
    monkeypatch.setattr(warm, "_ANSWER_SECONDS", 0.2)
    mother = place.mothers.mother
    assert supervise.send(mother, signal.SIGSTOP)  # it listens, and says nothing
    try:
        ran = await Notebooks.ended(place, await place.launch("print(1)"))
    finally:
        supervise.send(mother, signal.SIGCONT)
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    assert not ran.state["kernel"]["waited"]
    assert len(list((place.settings.home / "runs").iterdir())) == 1


async def test_code_of_another_release_is_not_run_by_who_waits(place: Warm, tmp_path: Path) -> None:
    await place.mothers.up()
    (tmp_path / "aiinfra").mkdir()
    for name in warm._CODE:
        (tmp_path / "aiinfra" / f"{name}.py").write_text("# other\n")
    how: dict[str, Any] = {"environ": {}, "secrets": {}}
    assert warm.claim(str(place.mothers.folder), str(tmp_path), **how) is None
    assert [each.name for each in tmp_path.iterdir() if each.name == "logs"] == []


@pytest.mark.parametrize("why", ["nobody comes", "no memory", "packages"])
async def test_those_who_wait_end_by_themselves(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this process, where all of it can be had; what is forked ends for real.
    mothers = Mothers(tmp_path)
    folder = mothers.folder
    folder.mkdir(parents=True)
    monkeypatch.setattr(warm, "_LOOK_SECONDS", 0.05)
    mother = warm._Mother(
        str(folder), {"count": 0, "seconds": 0.0 if why == "nobody comes" else 1e6, "tag": "0" * 12}
    )
    mother.stamps = [1] if why == "packages" else warm._stamps()
    if why == "no memory":
        monkeypatch.setattr(warm, "room", lambda: False)
    await asyncio.to_thread(mother.main)
    assert (folder / "mother.json").exists()
    mother.end()
    assert not (folder / "sock").exists()
    assert not warm.waits(str(folder))
    shutil.rmtree(mothers.warmth.folder)


async def test_only_a_process_that_stays_keeps_kernels_for_the_next_run(tmp_path: Path) -> None:
    place = Notebooks(tmp_path)
    await place.engine.attach(POOL, kind="local")
    try:
        ran = await place.run("1")
        pool = place.engine.pool(POOL)
        assert isinstance(pool, LocalPool)
        runs = Running(
            place.engine.store, place.settings, launch=place.engine.launch, pool=place.engine.pool
        )
        folder = Warmth(place.settings).folder
        runs._keep_warm(ran.job)
        await runs.aclose()
        assert not folder.exists()
        runs.keeps_warm = True
        runs._keep_warm(ran.job)
        await runs.aclose()
        (key,) = folder.iterdir()
        await until((key / "sock").exists)
        mother = supervise.read_json(str(key / "mother.json"))
        ran = await place.run("1")
        assert ran.state["kernel"]["waited"]
    finally:
        await place.engine.aclose()
    await until(lambda: not supervise.alive(mother) and not list(folder.glob("*/*-*")))
    assert not place.left()
    shutil.rmtree(folder)


async def test_nothing_is_said_where_another_may_listen(place: Warm) -> None:
    await place.mothers.up()
    place.mothers.warmth.folder.chmod(0o755)
    try:
        ran = await Notebooks.ended(place, await place.launch("print(1)"))
    finally:
        place.mothers.warmth.folder.chmod(0o700)
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    assert not ran.state["kernel"]["waited"]


def test_no_kernel_waits_where_none_is_to(tmp_path: Path) -> None:
    assert not Warmth(Settings(home=tmp_path, warm_kernels=0)).on
    assert os.environ.get("AIINFRA_WRM") is None
