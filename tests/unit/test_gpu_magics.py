"""GPUs in a notebook: when they are read for a cell, and what becomes of many views."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_aiinfra import widgets
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.follow import News
from jupyter_aiinfra.magics import gpuscreen, surface
from jupyter_aiinfra.magics.gpuscreen import GpuScreens
from jupyter_aiinfra.magics.jobgpus import JobGpus
from jupyter_aiinfra.magics.surface import NotebookSurface
from jupyter_aiinfra.model import Job, JobState, Placement
from jupyter_aiinfra.telemetry import Scope
from jupyter_aiinfra.widgets.attention import Attention
from tests.support.bench import wait_until
from tests.support.engines import POOL, House, a_spec


@pytest.fixture
def session(house: House) -> Session:
    return house.session()


class Views:
    """Stands in for the widget of a job, and notes which GPUs it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpus: list[Any] = []
        views = self

        class View:
            def __init__(self, *_: Any, **__: Any) -> None:
                pass

            def show(self) -> None:
                pass

            def update(self, *_: Any, note: str, gpus: Any, cost: Any) -> None:
                views.gpus += [gpus] if gpus is not None else []

            def finish(self, *_: Any, note: str, cost: Any) -> None:
                pass

        monkeypatch.setattr(widgets, "JobView", View)


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> Views:
    return Views(monkeypatch)


def a_gpu_job(state: JobState, *gpus: str) -> Job:
    placement = (Placement(node="n0", gpus=gpus),) if gpus else ()
    return Job(id="0abcdefghjkm", pool=POOL, spec=a_spec(), state=state, placement=placement)


class Told:
    """Stands in for the telemetry of an engine: yields what it is given, then waits."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.asked: list[Scope] = []
        self.open = 0

    async def subscribe(self, scope: Scope) -> AsyncGenerator[Any, None]:
        self.asked.append(scope)
        self.open += 1
        try:
            while self.items:
                item = self.items.pop(0)
                if isinstance(item, Exception):
                    raise item
                yield item
            await asyncio.Event().wait()
        finally:
            self.open -= 1


@pytest.fixture
def told(session: Session, monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(session.engine, "telemetry", told)
    monkeypatch.setattr("jupyter_aiinfra.magics.jobgpus._FIRST_PAUSE_SECONDS", 0.0)
    return told


def frame(seq: int) -> Any:
    return SimpleNamespace(seq=seq, gpus=("one",))


def test_gpus_are_read_only_while_the_job_runs_on_some(session: Session, told: Told) -> None:
    told.items = [frame(1), SimpleNamespace(seq=2, gpus=())]
    gpus = JobGpus(session)
    for job in (
        a_gpu_job(JobState.QUEUED),
        a_gpu_job(JobState.STARTING, "GPU-0"),
        a_gpu_job(JobState.RUNNING),
    ):
        gpus.follow(job)
    assert told.asked == []
    running = a_gpu_job(JobState.RUNNING, "GPU-0")
    gpus.follow(running)
    gpus.follow(running)
    wait_until(lambda: not told.items)
    assert told.asked == [Scope(job=running.id)]
    assert gpus.newest is not None
    assert gpus.newest.seq == 1  # one that shows no GPU takes nothing away
    gpus.follow(a_gpu_job(JobState.SUCCEEDED, "GPU-0"))
    wait_until(lambda: told.open == 0)
    gpus.close()
    assert gpus.newest.seq == 1


def test_a_job_that_is_begun_elsewhere_is_read_there(session: Session, told: Told) -> None:
    gpus = JobGpus(session)
    gpus.follow(a_gpu_job(JobState.RUNNING, "GPU-0"))
    wait_until(lambda: len(told.asked) == 1)
    gpus.follow(a_gpu_job(JobState.RUNNING, "GPU-1"))
    wait_until(lambda: len(told.asked) == 2)
    wait_until(lambda: told.open == 1)
    gpus.close()
    wait_until(lambda: told.open == 0)


def test_reading_that_fails_is_tried_again_and_harms_nothing(
    session: Session, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.items = [Unreachable("no answer"), frame(5), RuntimeError("odd")]
    gpus = JobGpus(session)
    job = a_gpu_job(JobState.RUNNING, "GPU-0")
    gpus.follow(job)
    wait_until(lambda: "odd" in caplog.text)
    gpus.follow(job)
    assert gpus.newest is not None
    assert gpus.newest.seq == 5
    gpus.close()


def test_the_gpus_of_a_job_come_with_its_news(session: Session, told: Told, views: Views) -> None:
    told.items = [frame(1)]
    cell = surface._Cell(session, ())
    job = a_gpu_job(JobState.RUNNING, "GPU-0")
    news = News(job=job, chunks=[], complete=False)
    cell.show(news, "")
    wait_until(lambda: cell._gpus.newest)
    for _ in range(3):
        cell.show(news, "")
    cell.close()
    assert [each and each.seq for each in views.gpus] == [1]
    wait_until(lambda: told.open == 0)


def test_papermill_follows_nothing_and_a_page_does(session: Session) -> None:
    shell = SimpleNamespace(kernel=SimpleNamespace())
    here = NotebookSurface(shell, session)  # type: ignore[arg-type]
    assert not here.follows()
    for asked in (True, False):
        shell.kernel.get_parent = lambda _, asked=asked: {"content": {"allow_stdin": asked}}
        assert here.follows() is asked


# --- many views ----------------------------------------------------------------------------------


class Events:
    """The part of a shell that tells when cells run."""

    def __init__(self) -> None:
        self.known: dict[str, list[Callable[[Any], None]]] = {}

    def register(self, name: str, told: Callable[[Any], None]) -> None:
        self.known.setdefault(name, []).append(told)

    def unregister(self, name: str, told: Callable[[Any], None]) -> None:
        self.known[name].remove(told)

    def tell(self, name: str) -> None:
        for told in self.known.get(name, ()):
            told(None)


class View:
    def __init__(self, attention: Attention) -> None:
        self.attention = attention
        self.is_reading = True
        self.said: list[str] = []

    def end(self, why: str) -> None:
        self.said.append(why)

    def close(self) -> None:
        self.said.append("closed")


@pytest.fixture
def shell() -> Any:
    return SimpleNamespace(events=Events())


def test_views_are_told_when_cells_run(shell: Any) -> None:
    screens = GpuScreens.of(shell)
    assert GpuScreens.of(shell) is screens
    view = View(screens.attention())
    screens.add(view)  # type: ignore[arg-type]
    shell.events.tell("post_run_cell")
    assert not view.attention._busy
    shell.events.tell("pre_run_cell")
    assert view.attention._busy
    GpuScreens.forget(shell)
    assert view.said == ["the extension was unloaded"]
    assert not any(shell.events.known.values())
    GpuScreens.forget(shell)


def test_old_views_that_nobody_looks_at_make_room(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpuscreen, "_MOST", 3)
    screens = GpuScreens.of(shell)
    views = [View(screens.attention()) for _ in range(6)]
    for number, view in enumerate(views):
        view.is_reading = number in {0, 5}
        screens.add(view)  # type: ignore[arg-type]
    assert [bool(view.said) for view in views] == [False, True, True, True, False, False]
    GpuScreens.forget(shell)
