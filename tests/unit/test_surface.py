from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_aiinfra import widgets
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.terminal import table_text
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import JobFailed, ResultError
from jupyter_aiinfra.logview import LogSnapshot
from jupyter_aiinfra.magics.jobcost import JobCosts
from jupyter_aiinfra.magics.surface import (
    NotebookSurface,
    ShellSurface,
    bring_results,
    surface_for,
)
from jupyter_aiinfra.model import Desired, Job, JobState
from jupyter_aiinfra.node import parcel
from tests.support.engines import EMPTY, POOL, House, a_spec


@pytest.fixture
def session(house: House) -> Session:
    return house.session()


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which every job leaves its results."""
    folder = tmp_path / "results"

    async def there(_engine: Engine, _job_id: str) -> Path | None:
        return folder if folder.exists() else None

    monkeypatch.setattr(Engine, "results", there)
    return folder


def a_shell(*, kernel: bool = False) -> Any:
    shell = SimpleNamespace(user_ns={"before": 1})
    if kernel:
        shell.kernel = object()
    return shell


def ended(house: House, session: Session, state: JobState = JobState.SUCCEEDED, **spec: Any) -> Job:
    job = session.run(session.engine.launch(POOL, a_spec(**spec), EMPTY))
    house.cluster.begin(job.id)
    house.cluster.end(job.id, state)
    return job


class Views:
    """Stands in for the widget and notes what each is asked to draw."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drawn: list[tuple[str, JobState, str]] = []
        self.finished: list[JobState] = []
        self.log_path: str | None = None
        self.threads: list[int] = []
        self.hide: Any = str
        self.gpus: list[Any] = []
        self.costs: list[Any] = []
        views = self

        class View:
            def __init__(
                self, job: Job, snapshot: LogSnapshot, *, log_path: str | None, redact: Any
            ) -> None:
                views.log_path = log_path
                views.hide = redact or str
                views.draw("open", job, snapshot)

            def show(self) -> None:
                views.threads.append(threading.get_ident())
                views.drawn.append(("show", JobState.PENDING, ""))

            def update(
                self, job: Job, snapshot: LogSnapshot, *, note: str, gpus: Any, cost: Any
            ) -> None:
                views.gpus.append(gpus)
                views.costs.append(cost)
                views.draw(f"update {note}", job, snapshot)

            def finish(self, job: Job, snapshot: LogSnapshot, *, note: str, cost: Any) -> None:
                del snapshot, note
                views.costs.append(cost)
                views.threads.append(threading.get_ident())
                views.finished.append(job.state)

        monkeypatch.setattr(widgets, "JobView", View)

    def draw(self, what: str, job: Job, snapshot: LogSnapshot) -> None:
        self.threads.append(threading.get_ident())
        lines = [str(line) for line in snapshot.rank(0).tail]
        self.drawn.append((what, job.state, self.hide(" ".join(lines))))


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> Views:
    return Views(monkeypatch)


def test_a_kernel_gets_cells_and_a_terminal_gets_text(session: Session) -> None:
    assert isinstance(surface_for(a_shell(kernel=True), session), NotebookSurface)
    assert isinstance(surface_for(a_shell(), session), ShellSurface)


# results


def test_names_asked_for_are_brought_into_the_notebook(
    house: House, session: Session, results: Path
) -> None:
    parcel.write_results(str(results), {"history": [1, 2], "other": 3})
    shell = a_shell()
    job = ended(house, session, fetch=("history",))
    assert bring_results(shell, session, job) == "fetched history"
    assert shell.user_ns == {"before": 1, "history": [1, 2]}


def test_nothing_asked_for_is_nothing_brought(
    house: House, session: Session, results: Path
) -> None:
    parcel.write_results(str(results), {"history": [1, 2]})
    shell = a_shell()
    assert bring_results(shell, session, ended(house, session)) == ""
    assert shell.user_ns == {"before": 1}


def test_a_name_that_is_missing_is_named_and_the_others_are_set(
    house: House, session: Session, results: Path
) -> None:
    parcel.write_results(str(results), {"history": [1, 2]}, missing=["absent"])
    shell = a_shell()
    job = ended(house, session, fetch=("history", "absent"))
    with pytest.raises(ResultError, match=f"not fetched from job {job.id}: absent") as caught:
        bring_results(shell, session, job)
    assert "fetched were history" in caught.value.hint
    assert str(results) in caught.value.hint
    assert shell.user_ns["history"] == [1, 2]


def test_a_job_without_results_says_so(house: House, session: Session, results: Path) -> None:
    assert not results.exists()
    job = ended(house, session, fetch=("history",))
    with pytest.raises(ResultError, match="left no results") as caught:
        bring_results(a_shell(), session, job)
    assert f"%jobs show {job.id}" in caught.value.hint


# IPython in a terminal


def test_a_shell_prints_the_log_and_brings_the_results(
    house: House, session: Session, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parcel.write_results(str(results), {"history": [1, 2]})
    shell = a_shell()
    job = ended(house, session, fetch=("history",))
    house.cluster.write(job.id, b"epoch 1\n")
    surface = ShellSurface(shell, session)
    surface.text("see %jobs")
    surface.watch(job, fetch=False)
    assert "history" not in shell.user_ns
    surface.watch(job, fetch=True)
    said = capsys.readouterr().out
    assert said.startswith("see %jobs\nepoch 1\n")
    assert said.endswith("fetched history\n")
    assert shell.user_ns["history"] == [1, 2]


def test_a_shell_raises_where_the_job_failed(house: House, session: Session) -> None:
    shell = a_shell()
    job = ended(house, session, JobState.FAILED, fetch=("history",))
    with pytest.raises(JobFailed, match="rank 0 failed"):
        ShellSurface(shell, session).watch(job, fetch=True)


# a cell


def test_a_cell_shows_text_tables_and_logs(
    session: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, str]] = []

    def display(data: dict[str, str], *, raw: bool) -> None:
        assert raw
        shown.append(data)

    monkeypatch.setattr("IPython.display.display", display)
    surface = NotebookSurface(a_shell(kernel=True), session)
    surface.text("hello %jobs")
    surface.log(b"50%\r\xff")
    surface.value({"not": "shown"})
    surface.table(("name",), [], empty="none yet")
    surface.table(("name", "what"), [("<x>", "a & b")], empty="none")
    assert capsys.readouterr().out == "hello %jobs\n50%\r\ufffdnone yet\n"
    (data,) = shown
    assert data["text/plain"] == table_text(("name", "what"), [("<x>", "a & b")])
    assert "&lt;x&gt;" in data["text/html"]
    assert "a &amp; b" in data["text/html"]
    assert "<x>" not in data["text/html"]


def test_a_cell_draws_the_job_and_leaves_its_last_state(
    house: House,
    session: Session,
    views: Views,
    results: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parcel.write_results(str(results), {"history": [1, 2]})
    shell = a_shell(kernel=True)
    job = ended(house, session, fetch=("history",))
    house.cluster.write(job.id, b"epoch 1 hf_very_secret\n")
    surface = NotebookSurface(shell, session)
    surface.hide(["hf_very_secret"])
    end = surface.watch(job, fetch=True)
    assert end.state is JobState.SUCCEEDED
    assert [what for what, _, _ in views.drawn][:2] == ["open", "show"]
    assert "hf_very_secret" not in str(views.drawn)
    assert views.finished == [JobState.SUCCEEDED]
    assert views.costs[-1].reason.startswith(f"pool {POOL} has no price")
    assert shell.user_ns["history"] == [1, 2]
    assert capsys.readouterr().out == "fetched history\n"


def test_a_cell_is_closed_and_raises_where_the_job_failed(
    house: House, session: Session, views: Views
) -> None:
    job = ended(house, session, JobState.FAILED, fetch=("history",))
    with pytest.raises(JobFailed, match="rank 0 failed"):
        NotebookSurface(a_shell(kernel=True), session).watch(job, fetch=True)
    assert views.finished == [JobState.FAILED]


def test_results_that_cannot_be_brought_leave_a_closed_cell(
    house: House, session: Session, views: Views, results: Path
) -> None:
    assert not results.exists()
    job = ended(house, session, fetch=("history",))
    with pytest.raises(ResultError):
        NotebookSurface(a_shell(kernel=True), session).watch(job, fetch=True)
    assert views.finished == [JobState.SUCCEEDED]


@pytest.fixture
def cost_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the cost be known only at the end: else it is news at a moment of its own."""
    monkeypatch.setattr(JobCosts, "follow", lambda _self, _job: None)


@pytest.mark.usefixtures("cost_comes_late")
def test_a_cell_draws_again_only_what_is_new(
    house: House, session: Session, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_aiinfra.commands.watch._pause", lambda *_, **__: 0.0)
    monkeypatch.setattr("jupyter_aiinfra.follow._OBSERVE_SECONDS", 0.0)
    job = session.run(session.engine.launch(POOL, a_spec(), EMPTY))
    house.cluster.begin(job.id)
    looks = iter(range(100))
    refresh = Engine.refresh

    async def look(engine: Engine, job_id: str) -> Job:
        number = next(looks)
        if number == 5:
            house.cluster.write(job_id, b"epoch 1\n")
        if number == 10:
            house.cluster.end(job_id, JobState.SUCCEEDED)
        return await refresh(engine, job_id)

    monkeypatch.setattr(Engine, "refresh", look)
    NotebookSurface(a_shell(kernel=True), session).watch(job, fetch=False)
    assert [what for what, _, _ in views.drawn] == ["open", "show", "update ", "update "]
    assert views.drawn[-1][1] is JobState.SUCCEEDED


@pytest.mark.usefixtures("cost_comes_late")
def test_a_cell_is_drawn_from_its_own_thread(house: House, session: Session, views: Views) -> None:
    # From ipykernel 7 on, what another thread displays is not sure to land in this cell.
    job = ended(house, session)
    house.cluster.write(job.id, b"epoch 1\n")
    NotebookSurface(a_shell(kernel=True), session).watch(job, fetch=False)
    assert views.threads == [threading.get_ident()] * 3
    assert views.finished == [JobState.SUCCEEDED]


@pytest.fixture
def interrupted(house: House, session: Session, views: Views) -> Job:
    """Return a job that runs, and whose cell is interrupted as it is drawn first."""
    job = session.run(session.engine.launch(POOL, a_spec(), EMPTY))
    house.cluster.begin(job.id)
    draw = views.draw

    def interrupt(what: str, job: Job, snapshot: LogSnapshot) -> None:
        views.draw = draw  # type: ignore[method-assign]
        raise KeyboardInterrupt

    views.draw = interrupt  # type: ignore[method-assign]
    return job


def test_a_kernel_that_is_restarted_leaves_the_job_alone(
    session: Session, interrupted: Job
) -> None:
    shell = a_shell(kernel=True)
    # As the kernel does in its control thread, a little after the interrupt.
    threading.Timer(0.1, setattr, (shell, "exit_now", True)).start()
    with pytest.raises(JobFailed, match="goes on without this kernel") as caught:
        NotebookSurface(shell, session).watch(interrupted, fetch=True)
    assert f"%jobs attach {interrupted.id}" in caught.value.hint
    job = session.run(session.engine.refresh(interrupted.id))
    assert (job.state, job.desired) == (JobState.RUNNING, Desired.RUN)


def test_an_interrupt_of_a_kernel_that_stays_stops_the_job(
    house: House, session: Session, interrupted: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_aiinfra.magics.surface._ENDING_SECONDS", 0.05)
    cancel = Engine.cancel

    async def end(engine: Engine, job_id: str, **how: Any) -> Job:
        job = await cancel(engine, job_id, **how)
        house.cluster.end(job_id, JobState.CANCELLED)
        return job

    monkeypatch.setattr(Engine, "cancel", end)
    with pytest.raises(JobFailed, match="was cancelled"):
        NotebookSurface(a_shell(kernel=True), session).watch(interrupted, fetch=True)
