from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import jupyter_aiinfra
from jupyter_aiinfra import preflight
from jupyter_aiinfra.commands import launch as launching
from jupyter_aiinfra.errors import CaptureError, JobFailed, UsageError
from jupyter_aiinfra.magics import AiInfraMagics, load, unload
from jupyter_aiinfra.magics.core import split
from jupyter_aiinfra.model import Job, JobState
from jupyter_aiinfra.testing import FakePool
from tests.support.engines import POOL, House


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(launching, "git_state", lambda _folder: {})
    monkeypatch.setattr(preflight, "check", lambda *_, **__: ())
    for name in ("JPY_SESSION_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    house = House(tmp_path / "home")
    yield house
    house.close()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return an IPython of our own: what it keeps, it keeps in the test's folder."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    config = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
    make: Any = InteractiveShell
    return make(config=config, user_module=module)


@pytest.fixture
def magics(shell: Any, house: House) -> Iterator[AiInfraMagics]:
    load(shell)
    magics = shell.magics_manager.registry["AiInfraMagics"]
    assert isinstance(magics, AiInfraMagics)
    magics.session = house.session()
    yield magics
    unload(shell)


def ends_at_once(monkeypatch: pytest.MonkeyPatch, state: JobState) -> None:
    submit = FakePool.submit

    async def quick(self: FakePool, *args: Any, **options: Any) -> Any:
        handle = await submit(self, *args, **options)
        self.cluster.write(handle.data["job"], b"epoch 1\n")
        self.cluster.begin(handle.data["job"])
        self.cluster.end(handle.data["job"], state)
        return handle

    monkeypatch.setattr(FakePool, "submit", quick)


def newest(magics: AiInfraMagics) -> Job:
    return magics.session.engine.store.list_jobs()[0]


# loading


def test_loading_twice_changes_nothing_and_unloading_leaves_nothing(
    shell: Any,
) -> None:
    before = len(shell.Completer.custom_matchers)
    jupyter_aiinfra.load_ipython_extension(shell)
    jupyter_aiinfra.load_ipython_extension(shell)
    assert len(shell.Completer.custom_matchers) == before + 1
    for kind, name in (
        ("line", "pool"),
        ("line", "jobs"),
        ("line", "accelerate"),
        ("cell", "accelerate"),
    ):
        assert shell.find_magic(name, kind) is not None
    jupyter_aiinfra.unload_ipython_extension(shell)
    jupyter_aiinfra.unload_ipython_extension(shell)
    assert len(shell.Completer.custom_matchers) == before
    assert shell.find_magic("pool", "line") is None
    assert shell.find_magic("accelerate", "cell") is None


def test_a_shell_without_completer_gets_the_magics_all_the_same(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "Completer", None)
    load(shell)
    assert shell.find_magic("pool", "line") is not None
    unload(shell)


# lines


def test_verbs_are_run(
    shell: Any, magics: AiInfraMagics, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_line_magic("pool", "list")
    assert POOL in capsys.readouterr().out
    shell.run_line_magic("jobs", "")
    assert capsys.readouterr().out == "no jobs yet\n"


def test_with_json_a_verb_returns_its_value_and_shows_nothing(
    shell: Any, magics: AiInfraMagics, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = shell.run_line_magic("pool", "list --json")
    assert found["record"]["name"] == POOL
    assert shell.run_line_magic("jobs", "--json") == []
    assert capsys.readouterr().out == ""
    assert shell.run_line_magic("jobs", "") is None


@pytest.mark.parametrize(
    ("magic", "line", "said"),
    [
        ("jobs", "show 'open", "No closing quotation"),
        ("jobs", "shw", "No such command 'shw'"),
        ("accelerate", "here", "%accelerate needs a cell"),
    ],
)
def test_lines_that_cannot_be_understood(
    shell: Any, magics: AiInfraMagics, magic: str, line: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        shell.run_line_magic(magic, line)
    assert caught.value.hint


def test_help_of_a_launch(
    shell: Any, magics: AiInfraMagics, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell_magic("accelerate", "--help", "print(1)")
    assert capsys.readouterr().out.startswith("Usage: %%accelerate [POOL]")


def test_split_is_a_shells() -> None:
    assert split("here --env 'A=b c' --name \"x\"") == ["here", "--env", "A=b c", "--name", "x"]


# cells


def test_a_cell_is_trained_with_what_it_needs_of_the_notebook(
    shell: Any,
    magics: AiInfraMagics,
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ends_at_once(monkeypatch, JobState.SUCCEEDED)
    shell.user_ns.update(limit=3, TOKEN="hf_very_secret", unused=object())
    cell = "print(limit)\n"
    shell.run_cell_magic("accelerate", f"{POOL} --procs 2 --secret TOKEN --no-mlflow", cell)
    job = newest(magics)
    assert (job.state, job.spec.procs) == (JobState.SUCCEEDED, 2)
    assert [item.name for item in job.spec.manifest.items] == ["limit"]
    assert (job.spec.origin.code, job.spec.origin.line.split()[0]) == (cell, POOL)
    assert {"cell.py", "manifest.json", "task.json"} <= {file.path for file in job.spec.files}
    assert house.cluster.jobs[job.id].secrets == {"TOKEN": "hf_very_secret"}
    assert "epoch 1\n" in capsys.readouterr().out


def test_a_failed_job_is_an_error_of_the_cell(
    shell: Any, magics: AiInfraMagics, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_at_once(monkeypatch, JobState.FAILED)
    with pytest.raises(JobFailed, match="rank 0 failed"):
        shell.run_cell_magic("accelerate", f"{POOL} --no-mlflow", "print(1)\n")
    assert newest(magics).state is JobState.FAILED


def test_what_cannot_travel_is_refused_before_anything_starts(
    shell: Any, magics: AiInfraMagics, house: House, tmp_path: Path
) -> None:
    with (tmp_path / "open.txt").open("w") as file:
        shell.user_ns["log"] = file
        with pytest.raises(CaptureError, match="log"):
            shell.run_cell_magic("accelerate", f"{POOL} --no-mlflow", "print(log)\n")
    assert house.cluster.jobs == {}
    assert magics.session.engine.store.list_jobs() == []


def test_a_dry_run_shows_manifest_and_plan(
    shell: Any,
    magics: AiInfraMagics,
    house: House,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shell.user_ns["limit"] = 3
    shell.run_cell_magic("accelerate", f"{POOL} --dry-run --no-mlflow", "print(limit)\n")
    said = capsys.readouterr().out
    assert "limit" in said
    assert "node 0  fake0" in said
    assert said.endswith("dry run: nothing was started\n")
    assert house.cluster.jobs == {}


def test_a_detached_cell_returns_at_once(
    shell: Any, magics: AiInfraMagics, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell_magic("accelerate", f"{POOL} --detach --no-mlflow --fetch stat", "state = 1\n")
    job = newest(magics)
    note, said = capsys.readouterr().out.splitlines()
    assert note.startswith("note: `stat` is to be fetched, but the cell never binds it; did you")
    assert said == f"job {job.id} runs on {POOL}; %jobs attach {job.id} shows its output"


def test_definitions_of_cells_run_before_and_after_loading_are_known(
    shell: Any, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_at_once(monkeypatch, JobState.SUCCEEDED)
    shell.run_cell("def early():\n    return 1\n", store_history=True)
    load(shell)
    magics = shell.magics_manager.registry["AiInfraMagics"]
    magics.session = house.session()
    shell.run_cell("def late():\n    return early()\n", store_history=True)
    shell.run_cell("", store_history=True)
    shell.run_cell_magic("accelerate", f"{POOL} --no-mlflow", "print(late())\n")
    (context,) = [file for file in newest(magics).spec.files if file.path == "context.py"]
    assert context.size_bytes > len("def early(): return 1 def late(): return early()")
    assert magics.index is magics.index
    unload(shell)


def test_the_notebook_is_known_where_somebody_tells(
    shell: Any, magics: AiInfraMagics, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert magics.notebook is None
    monkeypatch.setenv("JPY_SESSION_NAME", "/nb/digits.ipynb")
    assert magics.notebook == "/nb/digits.ipynb"
    shell.user_ns["__vsc_ipynb_file__"] = "/nb/other.ipynb"
    assert magics.notebook == "/nb/other.ipynb"
    assert magics.folder == Path.cwd()
