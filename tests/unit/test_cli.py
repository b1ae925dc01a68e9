from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from jupyter_aiinfra import preflight
from jupyter_aiinfra.cli import main
from jupyter_aiinfra.cli.main import cli
from jupyter_aiinfra.commands import launch as launching
from jupyter_aiinfra.model import Desired, Finding, Job, JobState, Severity
from jupyter_aiinfra.testing import FakePool
from tests.support.engines import EMPTY, POOL, House, a_spec


@pytest.fixture(autouse=True)
def _pipe_signal() -> Iterator[None]:
    before = signal.getsignal(signal.SIGPIPE)
    yield
    signal.signal(signal.SIGPIPE, before)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Return a house on whose cluster the command line works."""
    house = House(tmp_path / "home")
    monkeypatch.setattr(sys.modules[main.__module__], "Session", house.session)
    monkeypatch.setattr(launching, "git_state", lambda _folder: {})
    monkeypatch.setattr(launching, "_tracking", lambda *_: None)
    monkeypatch.setattr(preflight, "check", lambda *_, **__: ())
    monkeypatch.chdir(tmp_path)
    yield house
    house.close()


@pytest.fixture
def script(tmp_path: Path) -> str:
    (tmp_path / "helper.py").write_text("RATE = 0.1\n")
    (tmp_path / "train.py").write_text("import helper\nprint(helper.RATE)\n")
    return "train.py"


class Said:
    def __init__(self, capsys: pytest.CaptureFixture[str], line: str) -> None:
        capsys.readouterr()
        self.status = main(line.split())
        self.out, self.err = capsys.readouterr()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def newest(house: House) -> Job:
    return house.attached().store.list_jobs()[0]


def ends_at_once(monkeypatch: pytest.MonkeyPatch, state: JobState) -> None:
    """Let every job end as soon as it was started."""
    submit = FakePool.submit

    async def quick(self: FakePool, *args: Any, **options: Any) -> Any:
        handle = await submit(self, *args, **options)
        self.cluster.write(handle.data["job"], b"0.1\n")
        self.cluster.begin(handle.data["job"])
        self.cluster.end(handle.data["job"], state)
        return handle

    monkeypatch.setattr(FakePool, "submit", quick)


def test_a_verb_prints_a_table_or_json(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.attached()
    assert POOL in Said(capsys, "pool list").out
    said = Said(capsys, "--json pool list")
    assert said.json[0]["record"]["name"] == POOL
    assert (said.status, said.err) == (0, "")
    assert Said(capsys, "pool --json list").json == said.json


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("pool show nope", 1, "PoolNotFound: no pool named 'nope'"),
        ("pool shw", 2, "UsageError: No such command 'shw'"),
        ("jobs --limt 3", 2, "UnknownOption: unknown option --limt"),
        ("run", 2, "UsageError: no script was named"),
        ("run nowhere.py --pool fake", 2, "UsageError: there is no script nowhere.py"),
        ("run train.py --proc 2", 2, "UnknownOption: unknown option --proc"),
    ],
)
def test_errors_go_to_standard_error_and_into_the_status(
    house: House, capsys: pytest.CaptureFixture[str], line: str, status: int, said: str
) -> None:
    house.attached()
    answer = Said(capsys, line)
    assert answer.status == status
    assert answer.out == ""
    assert answer.err.startswith(said)


def test_help_and_version(capsys: pytest.CaptureFixture[str], house: House) -> None:
    assert "jupyter aiinfra run train.py" in Said(capsys, "--help").out
    assert "attach other --kind local" in Said(capsys, "pool --help").out
    text = Said(capsys, "run --help").out
    assert "--pool POOL" in text
    assert "--mixed-precision" in text
    assert house.cluster.jobs == {}


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (JobState.SUCCEEDED, 0),
        (JobState.FAILED, 1),
        (JobState.CANCELLED, 130),
        (JobState.LOST, 70),
    ],
)
def test_a_script_is_run_and_its_end_is_the_status(
    house: House,
    script: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    state: JobState,
    status: int,
) -> None:
    ends_at_once(monkeypatch, state)
    house.attached()
    said = Said(capsys, f"run {script} --pool {POOL} --procs 2 --name mine -- --lr 0.1 --json")
    assert said.status == status
    assert said.out.startswith("0.1\n")
    job = newest(house)
    assert (job.spec.name, job.spec.procs, job.state) == ("mine", 2, state)
    assert job.spec.argv[-3:] == ("--lr", "0.1", "--json")
    assert {"src/train.py", "src/helper.py"} <= {file.path for file in job.spec.files}
    assert (
        job.spec.origin.line == f"{script} --pool {POOL} --procs 2 --name mine -- --lr 0.1 --json"
    )


def test_a_run_in_json(
    house: House,
    script: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends_at_once(monkeypatch, JobState.SUCCEEDED)
    house.attached()
    said = Said(capsys, f"run {script} --pool {POOL} --json")
    assert said.json["state"] == "succeeded"
    assert said.err.startswith("0.1\n")


def test_a_detached_run_returns_at_once(
    house: House, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    house.attached()
    said = Said(capsys, f"run {script} --detach")
    job = newest(house)
    assert said.status == 0
    assert (
        said.out
        == f"job {job.id} runs on {POOL}; jupyter aiinfra jobs attach {job.id} shows its output\n"
    )
    assert Said(capsys, f"run {script} --detach --json").json["state"] == "starting"


def test_a_dry_run_starts_nothing(
    house: House, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    house.attached()
    said = Said(capsys, f"run {script} --pool {POOL} --dry-run")
    assert said.status == 0
    assert "helper" in said.out
    assert said.out.endswith("dry run: nothing was started\n")
    value = Said(capsys, f"run {script} --pool {POOL} --dry-run --json").json
    assert set(value) == {"manifest", "plan", "findings", "bundle_bytes", "cost", "tags"}
    assert house.cluster.jobs == {}
    assert house.attached().store.list_jobs() == []


def test_preflight_stops_a_launch(
    house: House,
    script: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finding = Finding(check="disk", severity=Severity.ERROR, message="the disk is full", hint="rm")
    monkeypatch.setattr(preflight, "check", lambda *_, **__: (finding,))
    house.attached()
    said = Said(capsys, f"run {script} --pool {POOL}")
    assert said.status == 1
    assert "the disk is full" in said.err
    assert house.cluster.jobs == {}


def test_an_interrupted_wait_detaches(
    house: House, script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jupyter_aiinfra.commands.terminal._Scroll.show", twice)
    house.attached()
    said = Said(capsys, f"run {script} --pool {POOL}")
    job = newest(house)
    assert said.status == 130
    assert said.err.startswith(f"JobFailed: detached from job {job.id}")
    assert f"jupyter aiinfra jobs attach {job.id}" in said.err
    assert job.desired is Desired.STOP


def test_an_interrupt_before_anything_is_130(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[main.__module__], "invoke", interrupted)
    assert Said(capsys, "pool list").status == 130
    assert house.cluster.jobs == {}


def test_attach_gives_the_status_of_the_job(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    session = house.session()
    job = session.run(session.engine.launch(POOL, a_spec(), EMPTY))
    house.cluster.end(job.id, JobState.FAILED)
    assert Said(capsys, f"jobs attach {job.id}").status == 1


def test_a_shell_that_completes_runs_no_verb(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_JUPYTER_AIINFRA_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "jupyter-aiinfra po")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "plain,pool\n"
    assert house.cluster.jobs == {}


def test_scripts_are_completed_by_the_shell() -> None:
    run = cli.commands["run"]
    (item,) = run.shell_complete(click.Context(run), "tra")
    assert (item.value, item.type) == ("tra", "file")
