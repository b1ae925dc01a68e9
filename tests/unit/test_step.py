"""What a script says of its progress, in a rank and outside of one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import jupyter_aiinfra
from jupyter_aiinfra.capture import capture_script
from jupyter_aiinfra.model import CaptureKind
from jupyter_aiinfra.node import step as step_file
from jupyter_aiinfra.node.step import VARIABLE, read_steps
from tests.support.notebook import Notebook

SOURCE = Path(str(step_file.__file__))


class Clock:
    """Stands in for ``time`` in one copy of the module."""

    def __init__(self) -> None:
        self.now = 100.0

    def process_time(self) -> float:
        return 2 * self.now  # two threads of it compute

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + 1e9


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "ranks").mkdir()
    return tmp_path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rank(run_dir: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A copy of the module as rank 3 has it: nothing of it is in another test."""
    monkeypatch.setenv(VARIABLE, str(run_dir / "ranks" / "3.step"))
    module = _copy()
    module.__dict__["time"] = clock
    yield module
    reporter = getattr(module._note, "__self__", None)
    if reporter is not None:
        module.atexit.unregister(reporter.flush)
        os.close(reporter._file)


def _copy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("a_copy_of_step", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def only(run_dir: Path) -> dict[str, Any]:
    (record,) = read_steps(str(run_dir)).values()
    return record


def test_a_rank_notes_its_step_with_the_time_and_the_metrics(
    rank: ModuleType, run_dir: Path
) -> None:
    rank.step(7, loss=0.5, epoch=1)
    assert read_steps(str(run_dir)) == {
        3: {
            "step": 7,
            "step_at": 1e9 + 100.0,
            "step_seconds": None,
            "step_cpu_seconds": None,
            "step_of": None,
            "metrics": {"loss": 0.5, "epoch": 1.0},
        }
    }


def test_how_many_there_will_be_is_kept_once_it_was_said(
    rank: ModuleType, run_dir: Path, clock: Clock
) -> None:
    rank.step(of=100)
    clock.now += 1.0
    rank.step()
    assert (only(run_dir)["step"], only(run_dir)["step_of"]) == (2, 100)


def test_the_processor_time_of_a_step_is_that_of_all_threads(
    rank: ModuleType, run_dir: Path, clock: Clock
) -> None:
    for number in (10, 20, 30):
        rank.step(number)
        clock.now += 5.0
    assert only(run_dir)["step_cpu_seconds"] == 1.0
    rank.step(1)  # counted anew
    assert only(run_dir)["step_cpu_seconds"] is None


def test_it_counts_by_itself(rank: ModuleType, run_dir: Path, clock: Clock) -> None:
    for _ in range(3):
        rank.step()
        clock.now += 1.0
    assert only(run_dir)["step"] == 3


def test_a_step_takes_what_the_latest_took_at_the_median(
    rank: ModuleType, run_dir: Path, clock: Clock
) -> None:
    for seconds in (0.0, 0.5, 60.0, 0.5, 0.5):  # one of them saved a checkpoint
        clock.now += seconds
        rank.step()
    assert only(run_dir)["step_seconds"] == 0.5


def test_who_reports_every_tenth_step_tells_of_ten(
    rank: ModuleType, run_dir: Path, clock: Clock
) -> None:
    for number in (10, 20, 30):
        rank.step(number)
        clock.now += 5.0
    assert only(run_dir)["step_seconds"] == 0.5


def test_who_begins_anew_tells_of_one(rank: ModuleType, run_dir: Path, clock: Clock) -> None:
    for number in (100, 1, 2):
        rank.step(number)
        clock.now += 0.25
    assert (only(run_dir)["step"], only(run_dir)["step_seconds"]) == (2, 0.25)


def test_seconds_that_are_given_count_instead_of_the_clock(
    rank: ModuleType, run_dir: Path, clock: Clock
) -> None:
    for _ in range(3):
        rank.step(seconds=0.125)
        clock.now += 9.0
    assert only(run_dir)["step_seconds"] == 0.125


def test_many_fast_steps_are_few_writes_and_the_last_is_not_lost(
    rank: ModuleType, run_dir: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    real = os.pwrite

    def pwrite(file: int, data: bytes, offset: int) -> int:
        written.append(data)
        return real(file, data, offset)

    monkeypatch.setattr(rank.os, "pwrite", pwrite)
    for _ in range(10_000):
        rank.step()
        clock.now += 1e-5
    assert len(written) <= 0.1 / 0.01 + 1
    assert {len(data) for data in written} == {1024}
    assert only(run_dir)["step"] < 10_000
    rank._note.__self__.flush()
    assert only(run_dir)["step"] == 10_000


def test_a_disk_that_is_full_for_a_while_is_no_error(
    rank: ModuleType, run_dir: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    rank.step()
    with monkeypatch.context() as patch:
        patch.setattr(rank.os, "pwrite", full)
        clock.now += 1.0
        rank.step()
    assert only(run_dir)["step"] == 1
    rank._note.__self__.flush()
    assert only(run_dir)["step"] == 2


def test_only_plain_numbers_are_kept_and_nothing_else_is_held(
    rank: ModuleType, run_dir: Path
) -> None:
    rank.step(loss=float("nan"), tensor=object(), name="x", best=float("inf"), accuracy=1)
    assert only(run_dir)["metrics"] == {"loss": None, "best": None, "accuracy": 1.0}
    assert set(rank._note.__self__._metrics) == {"loss", "best", "accuracy"}


def test_too_many_metrics_are_cut_and_the_record_stays_whole(
    rank: ModuleType, run_dir: Path, clock: Clock
) -> None:
    rank.step(**{f"metric{number}": 1.0 for number in range(50)})
    assert len(only(run_dir)["metrics"]) == 8
    clock.now += 1.0
    rank.step(5, **{"\N{SNOWMAN}" * 100 + str(number): 1.0 for number in range(50)})
    assert only(run_dir)["step"] == 5


def test_outside_of_a_job_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    module = _copy()
    module.step(1, loss=0.5)
    module.step()
    assert module._note is module._tell_nobody


def test_a_run_directory_out_of_reach_stops_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone" / "0.step"))
    module = _copy()
    module.step()
    assert module._note is module._tell_nobody


def test_a_number_that_is_none_is_said_at_once(rank: ModuleType) -> None:
    with pytest.raises(ValueError, match="seven"):
        rank.step("seven")


def test_the_last_step_of_a_process_is_written_at_its_end(run_dir: Path) -> None:
    program = "from jupyter_aiinfra import step\nfor _ in range(1000): step()"
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, VARIABLE: str(run_dir / "ranks" / "0.step")},
        check=True,
        timeout=60,
    )
    assert only(run_dir)["step"] == 1000


class TestReading:
    def test_no_ranks_yet(self, tmp_path: Path) -> None:
        assert read_steps(str(tmp_path)) == {}

    @pytest.mark.parametrize("text", ["", "   ", '{"step": 1', "7"])
    def test_a_record_that_is_not_whole_is_none(self, run_dir: Path, text: str) -> None:
        (run_dir / "ranks" / "0.step").write_text(text)
        assert read_steps(str(run_dir)) == {}

    def test_other_files_are_left_alone(self, run_dir: Path) -> None:
        for name in ("0.json", "x.step", "1.step.new"):
            (run_dir / "ranks" / name).write_text('{"step": 1}')
        assert read_steps(str(run_dir)) == {}

    def test_what_two_looks_do_not_agree_on_is_read_again(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = iter([b'{"step": 19}', b'{"step": 20}', b'{"step": 20}'])
        (run_dir / "ranks" / "0.step").touch()
        monkeypatch.setattr(step_file, "_bytes", lambda _: next(texts))
        assert only(run_dir) == {"step": 20}


class TestImport:
    def test_the_package_has_it_by_its_public_name(self) -> None:
        from jupyter_aiinfra import step

        assert step is step_file.step
        assert (step.__module__, step.__qualname__) == ("jupyter_aiinfra", "step")
        assert vars(jupyter_aiinfra)["step"] is step

    def test_importing_the_package_does_not_read_it(self) -> None:
        program = "import jupyter_aiinfra, sys; print('jupyter_aiinfra.node.step' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True
        )
        assert done.stdout == "False\n"

    def test_it_is_found_where_the_package_is_not_installed(self, tmp_path: Path) -> None:
        from jupyter_aiinfra.pools.nodeside import node_files

        (file,) = [file for file in node_files() if file.path == "aiinfra/jupyter_aiinfra.py"]
        (tmp_path / "jupyter_aiinfra.py").write_bytes(b"".join(file.read()))
        (tmp_path / "ranks").mkdir()
        program = "\n".join(
            (
                f"import sys; sys.path.append({str(tmp_path)!r})",
                "from jupyter_aiinfra import step",
                "import jupyter_aiinfra",
                "step(4, loss=0.5); jupyter_aiinfra.step()",
            )
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program],
            env={VARIABLE: str(tmp_path / "ranks" / "0.step")},
            check=False,
            timeout=60,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert only(tmp_path)["step"] == 5

    def test_a_wrong_name_is_a_usual_error(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'stepp'"):
            _ = jupyter_aiinfra.stepp

    @pytest.mark.parametrize(
        ("line", "call"),
        [
            ("from jupyter_aiinfra import step", "step(1)"),
            ("from jupyter_aiinfra import step as report", "report(1)"),
            ("import jupyter_aiinfra", "jupyter_aiinfra.step(1)"),
            ("import jupyter_aiinfra as jx\nstep = jx.step", "step(1)"),
        ],
    )
    def test_a_cell_takes_it_along_as_an_import_and_no_file_of_ours(
        self, tmp_path: Path, line: str, call: str
    ) -> None:
        notebook = Notebook(tmp_path)
        notebook.run(line)
        capture = notebook.capture(call)
        (item,) = capture.manifest.items
        assert item.kind is CaptureKind.IMPORT
        assert "jupyter_aiinfra.node" not in item.how
        assert not capture.sources

    def test_a_script_takes_no_file_of_ours_along(self, tmp_path: Path) -> None:
        script = tmp_path / "train.py"
        script.write_text("from jupyter_aiinfra import step\nstep()\n")
        assert not capture_script(script, root=tmp_path).sources
