"""Schedules that the cron of a pool fires, while no process of ours runs."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.drafting import Draft
from jupyter_aiinfra.errors import PoolError, UsageError
from jupyter_aiinfra.model import JobState
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.schedule import Policy, Run, RunState, Trigger
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store
from tests.support.notebooks import notebook_of
from tests.support.site import open_site
from tests.support.sshpool import open_cluster

OTHERS = "MAILTO=somebody\n17 * * * * /usr/bin/true # not ours\n"
POOL = "here"

# A crontab(1) that keeps its text in a file.
CRONTAB = """#!/bin/sh
case "$1" in
-l) [ -f {place} ] && cat {place} || {{ echo "no crontab for $(id -un)" >&2; exit 1; }} ;;
-) cat > {place}.new && mv {place}.new {place} ;;
*) echo "usage: crontab -l | -" >&2; exit 2 ;;
esac
"""


class Machine:
    """This machine with a crontab of the test's own, and nothing of ours that runs."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.settings = Settings(home=root / "home")
        self.crontab = root / "crontab"
        programs = root / "bin"
        programs.mkdir()
        (programs / "crontab").write_text(CRONTAB.format(place=self.crontab))
        (programs / "crontab").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        self.crontab.write_text(OTHERS)
        self.ran = root / "ran"

    def notebook(self, text: str = "as frozen") -> Path:
        path = self.root / "nb.ipynb"
        cell = f"with open({str(self.ran)!r}, 'a') as file:\n    file.write('once\\n')\n"
        path.write_text(json.dumps(notebook_of(cell, f"print({text!r})")))
        return path

    def draft(self, *times: float, **changes: Any) -> Draft:
        values: dict[str, Any] = {
            "notebook": self.notebook(),
            "pool": POOL,
            "timezone": "UTC",
            "triggers": (Trigger(kind="at", times=times),),
            "policy": Policy(overlap="queue"),
            "options": {"fired_by": "pool"},
        }
        return Draft(**{**values, **changes})

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Engine]:
        engine = Engine(open_store(self.settings), self.settings)
        try:
            if not engine.store.list_pools():
                await engine.attach(POOL, kind="local")
            yield engine
        finally:
            await engine.aclose()

    @property
    def lines(self) -> list[str]:
        """The lines of ours."""
        text = self.crontab.read_text()
        assert text.startswith(OTHERS)
        return text[len(OTHERS) :].splitlines()

    def wake(self, line: str) -> subprocess.Popen[bytes]:
        """Run a line as cron does."""
        return wake(line, home=self.root)

    def folder(self, schedule: str) -> Path:
        return self.settings.home / "fired" / schedule

    def jobs(self) -> list[str]:
        runs = self.settings.home / "runs"
        return sorted(each.name for each in runs.iterdir()) if runs.is_dir() else []


def wake(line: str, *, home: Path) -> subprocess.Popen[bytes]:
    """Run the command of a line of a crontab with what cron gives it, and no more."""
    times, command = line.split(" ", 5)[:5], line.split(" ", 5)[5]
    assert times == ["*"] * 5
    environ = {
        "HOME": str(home),
        "LOGNAME": pwd.getpwuid(os.getuid()).pw_name,
        "SHELL": "/bin/sh",
        "PATH": "/usr/bin:/bin",
    }
    return subprocess.Popen(
        ["/bin/sh", "-c", command.replace("\\%", "%")],
        cwd=home,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch)
    yield machine
    left = [who for job in machine.jobs() for who in supervise.tagged(job)]
    for who in left:
        supervise.send(who, 9)
    assert not left, "a test left processes of its job behind"


async def over(engine: Engine, name: str, count: int, *, seconds: float = 120.0) -> list[Run]:
    """Look until so many runs of a schedule are over, and return them, the oldest first."""
    deadline = time.monotonic() + seconds
    while True:
        # A node is asked every half minute; here at once.
        await engine.schedules.align(name)
        await engine.schedules.tick()
        await engine.schedules.firing.settled()
        runs = engine.schedules.runs(name)
        if len(runs) >= count and all(run.state.final for run in runs):
            return sorted(runs, key=lambda run: run.slot or 0.0)
        assert time.monotonic() < deadline, runs
        await asyncio.sleep(0.3)


def until_started(machine: Machine, line: str, count: int, *, crons: int = 1) -> None:
    """Have cron come until so many jobs are there; several crons come together."""
    deadline = time.monotonic() + 150
    while len(machine.jobs()) < count:
        assert time.monotonic() < deadline, machine.jobs()
        for process in [machine.wake(line) for _ in range(crons)]:
            said, _ = process.communicate(timeout=90)
            assert (process.returncode, said) == (0, b"")


@pytest.mark.timeout(400)
async def test_slots_are_run_with_none_of_us_there_and_found_once(machine: Machine) -> None:
    async with machine.engine() as engine:
        slots = (time.time() + 20.0, time.time() + 21.0)
        made = await engine.schedules.add(machine.draft(*slots))
        await engine.schedules.align("nb")  # again is no error, and changes nothing
    (line,) = machine.lines
    assert line.endswith(f" # jupyter-aiinfra {made.schedule.id}")
    machine.notebook("edited since")

    # Two crons, as if a machine had two: each slot is started once all the same.
    until_started(machine, line, 2, crons=2)
    for job in machine.jobs():
        run_dir = str(machine.settings.home / "runs" / job)
        deadline = time.monotonic() + 120
        while supervise.status(run_dir)["state"] in ("starting", "running"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        if supervise.status(run_dir)["state"] != "succeeded":
            pytest.fail(str(supervise.status(run_dir)))

    # Now somebody of us looks; several at once.
    async with machine.engine() as engine, machine.engine() as another:
        await asyncio.gather(engine.schedules.align("nb"), another.schedules.align("nb"))
        runs = await over(engine, "nb", 2)
        assert [run.slot for run in runs] == list(slots)
        assert {run.state for run in runs} == {RunState.SUCCEEDED}, runs
        assert machine.ran.read_text() == "once\n" * 2
        assert sorted(run.job or "" for run in runs) == machine.jobs()
        for run in runs:
            (url,) = run.outputs["files"]["ipynb"]
            assert "as frozen" in Path(url.removeprefix("file://")).read_text()
            recorded = engine.store.get_job(run.job or "")
            assert recorded.state is JobState.SUCCEEDED
            assert recorded.spec.labels["schedule"] == made.schedule.id
        assert len(engine.store.list_jobs()) == 2
        again = await over(another, "nb", 2)
        assert again == runs


@pytest.mark.timeout(200)
async def test_pause_edit_and_remove_reach_the_node_and_no_other_line(machine: Machine) -> None:
    later = time.time() + 86400
    async with machine.engine() as engine:
        schedules = engine.schedules
        made = await schedules.add(machine.draft(later))
        await schedules.add(machine.draft(later, name="second"))
        assert len(machine.lines) == 2
        folder = machine.folder(made.schedule.id)

        schedules.pause("nb")
        # A server does that with one of its next looks.
        await schedules.tick()
        await schedules.firing.settled()
        (line,) = machine.lines
        assert made.schedule.id not in line
        assert not (folder / "current.json").exists()

        schedules.resume("nb")
        await schedules.tick()
        await schedules.firing.settled()
        assert len(machine.lines) == 2

        edited = await schedules.edit("nb", machine.draft(later, later + 60))
        orders = json.loads((folder / "current.json").read_text())
        assert orders["version"] == edited.version.number == 2
        assert orders["segments"] == [[later, 60.0, 2]]
        await schedules.align("nb")
        assert sorted(each.name for each in folder.glob("v*")) == ["v2"], "the old one is let go of"

        await schedules.edit("nb", machine.draft(later, options={"fired_by": "server"}))
        assert len(machine.lines) == 1
        with pytest.raises(UsageError, match="fired by another"):
            schedules.roll_back("nb", 1)

        schedules.remove("second")
        await schedules.align("second")
        assert machine.lines == []
        assert engine.schedules.runs() == []


@pytest.mark.timeout(200)
async def test_what_waits_when_it_is_paused_is_on_record(machine: Machine) -> None:
    async with machine.engine() as engine:
        slots = tuple(time.time() - 5 + number for number in range(2))
        gate = machine.root / "gate"
        notebook = machine.root / "waits.ipynb"
        cell = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)"
        notebook.write_text(json.dumps(notebook_of(cell)))
        draft = machine.draft(*slots, notebook=notebook)
        made = await engine.schedules.add(draft)
        # As if it had been brought there before the slots came.
        current = machine.folder(made.schedule.id) / "current.json"
        orders = json.loads(current.read_text())
        segments = [[slots[0], 1.0, 2]]
        current.write_text(json.dumps({**orders, "segments": segments}))
        state = machine.folder(made.schedule.id) / "state.json"
        state.write_text(json.dumps({"decided": slots[0] - 1, "waiting": [], "active": []}))
        until_started(machine, machine.lines[0], 1)

        engine.schedules.pause("waits")
        await engine.schedules.align("waits")
        newest, first = engine.schedules.runs("waits")
        assert (first.state, newest.state) == (RunState.RUNNING, RunState.SKIPPED)
        assert newest.reason == "the schedule was taken off the node before it began"
        gate.touch()
        (done, _) = await over(engine, "waits", 2)
        assert done.state is RunState.SUCCEEDED


@pytest.mark.timeout(300)
def test_from_the_command_line(machine: Machine, tmp_path: Path) -> None:
    with open_site(tmp_path / "site") as site:
        site.attach()
        path = machine.notebook()
        words = ("--pool", POOL, "--cron", "0 2 * * *", "--timezone", "Europe/Berlin")

        def verb(*given: str) -> str:
            done = site.command("schedule", *given, env={"PATH": os.environ["PATH"]})
            assert done.returncode == 0, done.stderr
            return done.stdout

        said = verb("add", str(path), *words, "--fired-by", "pool")
        assert f"fired by    cron on the first node of {POOL}" in said
        (line,) = machine.lines
        assert str(site.home / "fired") in line
        verb("pause", "nb")
        assert machine.lines == []
        verb("resume", "nb")
        assert machine.lines == [line]
        verb("edit", "nb", "--note", "another")
        assert machine.lines == [line]
        verb("remove", "nb")
        assert machine.lines == []


async def test_a_machine_without_a_crontab_is_told_and_nothing_is_recorded(
    machine: Machine,
) -> None:
    (machine.root / "bin" / "crontab").write_text("#!/bin/sh\necho 'you may not' >&2\nexit 1\n")
    async with machine.engine() as engine:
        with pytest.raises(PoolError, match="crontab: you may not"):
            await engine.schedules.add(machine.draft(time.time() + 900))
        assert engine.schedules.views() == []


@pytest.mark.timeout(200)
async def test_a_cron_that_does_not_come_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_aiinfra.engine.poolfired._ASLEEP_SECONDS", -1.0)
    async with machine.engine() as engine:
        await engine.schedules.add(machine.draft(time.time() + 900))
        await engine.schedules.tick()
        await engine.schedules.firing.settled()
        assert "cron of localhost has not come since" in engine.schedules.show("nb").problem


@contextmanager
def own_lines(program: str) -> Iterator[None]:
    """Leave the real crontab of this user as it was, whatever the test does."""
    before = _listed(program)
    try:
        yield
    finally:
        kept = [line for line in _listed(program) if line in before]
        subprocess.run([program, "-"], input="".join(kept), text=True, check=True)


def _listed(program: str) -> list[str]:
    done = subprocess.run([program, "-l"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines(keepends=True)


@contextmanager
def cron_daemon() -> Iterator[None]:
    """Have cron run: the machine's own, or one for this test."""
    if subprocess.run(["pgrep", "-x", "cron"], capture_output=True, check=False).returncode == 0:
        yield
        return
    process = subprocess.Popen(["/usr/sbin/cron", "-f"], start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.skipif(
    not os.access("/usr/sbin/cron", os.X_OK) or os.getuid() != 0,
    reason="there is no cron, or it may not be started here",
)
@pytest.mark.timeout(300)
async def test_a_real_cron_starts_a_slot(tmp_path: Path) -> None:
    with own_lines("/usr/bin/crontab"):
        settings = Settings(home=tmp_path / "home")
        engine = Engine(open_store(settings), settings)
        await engine.attach(POOL, kind="local")
        notebook = tmp_path / "nb.ipynb"
        notebook.write_text(json.dumps(notebook_of("print('by cron')")))
        draft = Draft(
            notebook=notebook,
            pool=POOL,
            timezone="UTC",
            # Cron comes at each full minute, this slot some time after the first of them.
            triggers=(Trigger(kind="at", times=(time.time() + 20.0,)),),
            policy=Policy(catch_up="last"),
            options={"fired_by": "pool"},
        )
        made = await engine.schedules.add(draft)
        await engine.aclose()
        runs = settings.home / "runs"
        with cron_daemon():
            deadline = time.monotonic() + 180
            while not (runs.is_dir() and any(runs.glob("*/exit.json"))):
                assert time.monotonic() < deadline, "cron has not come, or the job does not end"
                await asyncio.sleep(0.2)
        engine = Engine(open_store(settings), settings)
        (run,) = await over(engine, "nb", 1)
        assert run.state is RunState.SUCCEEDED, run.reason
        (url,) = run.outputs["files"]["ipynb"]
        assert "by cron" in Path(url.removeprefix("file://")).read_text()
        engine.schedules.remove("nb")
        await engine.schedules.align(made.schedule.id)
        listed = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
        assert made.schedule.id not in listed.stdout
        await engine.aclose()


@pytest.mark.skipif(shutil.which("crontab") is None, reason="there is no crontab here")
@pytest.mark.timeout(300)
async def test_on_a_host_that_ssh_reaches(tmp_path: Path) -> None:
    program = shutil.which("crontab") or ""
    with own_lines(program), open_cluster(tmp_path / "ssh", ("gpu1",)) as cluster:
        engine = Engine(open_store(cluster.settings), cluster.settings)
        await engine.attach("lab", kind="ssh", options=cluster.record().options)
        notebook = tmp_path / "nb.ipynb"
        notebook.write_text(json.dumps(notebook_of("import socket\nprint(socket.gethostname())")))
        draft = Draft(
            notebook=notebook,
            pool="lab",
            timezone="UTC",
            triggers=(Trigger(kind="at", times=(time.time() + 25.0,)),),
            options={"fired_by": "pool"},
        )
        made = await engine.schedules.add(draft)
        ((_, shell),) = await engine.pool("lab").shells()
        text = (await shell.run(("crontab", "-l"))).stdout.decode()
        (line,) = [each for each in text.splitlines() if each.endswith(made.schedule.id)]
        deadline = time.monotonic() + 150
        while not engine.schedules.runs("nb"):
            assert time.monotonic() < deadline
            done = await shell.run(("/bin/sh", "-c", line.split(" ", 5)[5]), timeout=90)
            assert (done.status, done.stdout, done.stderr) == (0, b"", b"")
            await engine.schedules.align("nb")
        (run,) = await over(engine, "nb", 1)
        assert run.state is RunState.SUCCEEDED, run.reason
        (url,) = run.outputs["files"]["ipynb"]
        assert "gpu1" in Path(url.removeprefix("file://")).read_text()
        engine.schedules.remove("nb")
        await engine.schedules.align(made.schedule.id)
        text = (await shell.run(("crontab", "-l"))).stdout.decode()
        assert made.schedule.id not in text
        await engine.remove(run.job or "")
        await engine.aclose()
