from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.terminal import JsonSurface, TerminalSurface, _Scroll
from jupyter_aiinfra.commands.watch import check_outcome, watch
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import JobFailed
from jupyter_aiinfra.follow import News
from jupyter_aiinfra.model import (
    LAUNCHER,
    Desired,
    Gpu,
    Handle,
    Job,
    JobState,
    LogChunk,
    Node,
    Observation,
)
from jupyter_aiinfra.testing import FakeCluster, FakePool
from tests.support.engines import EMPTY, POOL, House, a_spec


@pytest.fixture
def session(house: House) -> Session:
    return house.session()


def launched(session: Session, cluster: FakeCluster, **changes: Any) -> Job:
    job = session.run(session.engine.launch(POOL, a_spec(**changes), EMPTY))
    cluster.begin(job.id)
    return job


def ended(
    session: Session, cluster: FakeCluster, state: JobState = JobState.SUCCEEDED, **changes: Any
) -> Job:
    job = launched(session, cluster, **changes)
    cluster.end(job.id, state)
    return job


# the terminal


def test_text_names_commands_as_they_are_typed(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    surface = TerminalSurface(session)
    surface.text("look at %jobs show 1")
    surface.table(("a",), [("b",)], empty="nothing")
    surface.table(("a",), [], empty="try %pool list")
    surface.value({"not": "shown"})
    assert capsys.readouterr().out.split("\n") == [
        "look at jupyter aiinfra jobs show 1",
        "a",
        "─",
        "b",
        "try jupyter aiinfra pool list",
        "",
    ]


def test_a_log_is_written_byte_by_byte(
    session: Session, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    TerminalSurface(session).log(b"50%\r\xff\x00")
    assert capsysbinary.readouterr().out == b"50%\r\xff\x00"


def test_a_stream_without_bytes_gets_text(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    TerminalSurface(session).log("é".encode() + b"\xff")
    assert stream.getvalue() == "é\ufffd"


def test_a_job_is_watched_to_its_end(
    session: Session, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ended(session, cluster, procs=2)
    cluster.write(job.id, b"epoch 1\nepoch 2\n", rank=0)
    cluster.write(job.id, b"epoch 1\nepoch 2\n", rank=1)
    cluster.write(job.id, b"launcher's own\n", rank=LAUNCHER)
    end = TerminalSurface(session).watch(job, fetch=True)
    assert end.state is JobState.SUCCEEDED
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1",
        "epoch 2",
        "rank 1: 2 lines, the same as rank 0",
        f"job {job.id} (digits) succeeded",
    ]


def test_what_we_say_of_the_end_begins_a_line_of_its_own(
    session: Session, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ended(session, cluster)
    cluster.write(job.id, b"done", rank=0)
    TerminalSurface(session).watch(job, fetch=False)
    assert capsys.readouterr().out.splitlines()[:2] == [
        "done",
        f"job {job.id} (digits) succeeded",
    ]


def test_the_log_of_the_rank_that_failed_is_shown(
    session: Session, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ended(session, cluster, JobState.FAILED, procs=2)
    cluster.write(job.id, b"fine\n", rank=0)
    cluster.write(job.id, b"also fine\n", rank=1)
    TerminalSurface(session).watch(job, fetch=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"job {job.id} (digits) failed: rank 0 failed"
    assert "rank 1: 1 line" in lines


def failed_elsewhere(
    monkeypatch: pytest.MonkeyPatch, *, failed_rank: int | None, results: tuple[str, ...] = ()
) -> None:
    observe = FakePool.observe

    async def other(self: FakePool, handle: Handle) -> Observation:
        seen = await observe(self, handle)
        return dataclasses.replace(seen, failed_rank=failed_rank, results=results)

    monkeypatch.setattr(FakePool, "observe", other)


@pytest.mark.parametrize(("failed", "shown"), [(1, "rank 1"), (None, "launcher")])
def test_who_failed_is_shown_in_full(
    session: Session,
    cluster: FakeCluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failed: int | None,
    shown: str,
) -> None:
    failed_elsewhere(monkeypatch, failed_rank=failed)
    job = ended(session, cluster, JobState.FAILED, procs=2)
    cluster.write(job.id, b"Traceback of 1\n", rank=1)
    cluster.write(job.id, b"Traceback of launcher\n", rank=LAUNCHER)
    TerminalSurface(session).watch(job, fetch=False)
    text = capsys.readouterr().out
    assert f"--- {shown} ---\nTraceback of {shown.removeprefix('rank ')}\n" in text
    assert text.count("---") == 2


def test_results_are_said_to_lie_somewhere(
    session: Session,
    cluster: FakeCluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed_elsewhere(monkeypatch, failed_rank=None, results=("history", "state"))

    async def results(_engine: Engine, _job_id: str) -> Path:
        return Path("/runs/1/results")

    monkeypatch.setattr(Engine, "results", results)
    job = ended(session, cluster)
    TerminalSurface(session).watch(job, fetch=True)
    assert "results: history, state in /runs/1/results\n" in capsys.readouterr().out
    TerminalSurface(session).watch(job, fetch=False)
    assert "results:" not in capsys.readouterr().out


def test_where_the_whole_logs_are_is_said(
    session: Session,
    cluster: FakeCluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jupyter_aiinfra.commands.terminal.log_folder", lambda _job: "/runs/1/logs")
    TerminalSurface(session).watch(ended(session, cluster), fetch=False)
    assert "whole logs: /runs/1/logs\n" in capsys.readouterr().out


def test_secrets_are_hidden_wherever_a_chunk_ends(
    session: Session, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ended(session, cluster, JobState.FAILED)
    cluster.write(job.id, b"token hf_very_secret here\nopen hf_very_secr")
    surface = TerminalSurface(session)
    surface.hide(["hf_very_secret"])
    surface.watch(job, fetch=False)
    assert "hf_very_secret" not in capsys.readouterr().out


# JSON for a program


def test_only_the_value_is_on_standard_output(
    session: Session, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    surface = JsonSurface(session)
    surface.text("hello")
    surface.table(("a",), [("b",)], empty="")
    surface.value({"b": 1, "a": None})
    surface.log(b"a log\n")
    said = capsys.readouterr()
    assert json.loads(said.out) == {"a": None, "b": 1}
    assert said.err == "a log\n"
    job = ended(session, cluster)
    cluster.write(job.id, b"epoch hf_very_secret\n")
    surface.hide(["hf_very_secret"])
    assert surface.watch(job, fetch=True).state is JobState.SUCCEEDED
    said = capsys.readouterr()
    assert said.out == ""
    assert "epoch" in said.err
    assert "hf_very_secret" not in said.err


# watching, and interrupts


class Interrupting:
    """A screen that is interrupted while it shows, as often as told."""

    def __init__(self, cluster: FakeCluster, *, times: int) -> None:
        self.cluster = cluster
        self.left = times
        self.notes: list[str] = []
        self.shown: dict[int, bytes] = {}

    def show(self, news: News, note: str) -> None:
        if self.left:
            self.left -= 1
            raise KeyboardInterrupt
        for chunk in news.chunks:
            known = self.shown.get(chunk.rank, b"")
            self.shown[chunk.rank] = known[: chunk.offset] + chunk.data
        self.notes.append(note)
        job = self.cluster.jobs[news.job.id]
        if job.told_to_stop or not note:
            self.cluster.end(news.job.id, JobState.CANCELLED)


def test_the_first_interrupt_asks_for_the_end_and_loses_nothing(
    session: Session, cluster: FakeCluster
) -> None:
    job = launched(session, cluster)
    cluster.write(job.id, b"epoch 1\n")
    screen = Interrupting(cluster, times=1)
    end = watch(session, job, screen)
    assert (end.state, end.desired) == (JobState.CANCELLED, Desired.STOP)
    assert screen.notes[0] == (
        "interrupted: SIGINT is sent, SIGTERM follows in 10 s; interrupt again to detach"
    )
    assert screen.shown == {0: b"epoch 1\n"}


def test_the_second_interrupt_detaches(session: Session, cluster: FakeCluster) -> None:
    job = launched(session, cluster)
    with pytest.raises(JobFailed, match=f"detached from job {job.id}") as caught:
        watch(session, job, Interrupting(cluster, times=2))
    assert f"%jobs attach {job.id}" in caught.value.hint
    assert cluster.jobs[job.id].told_to_stop
    assert cluster.jobs[job.id].state is JobState.RUNNING


def test_the_second_interrupt_detaches_while_the_first_one_is_looked_into(
    session: Session, cluster: FakeCluster
) -> None:
    job = launched(session, cluster)

    def second() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(JobFailed, match=f"detached from job {job.id}"):
        watch(session, job, Interrupting(cluster, times=1), is_ending=second)
    assert session.run(session.engine.refresh(job.id)).desired is Desired.STOP
    assert cluster.jobs[job.id].told_to_stop


def test_an_interrupt_while_watching_a_stopping_job_detaches(
    session: Session, cluster: FakeCluster
) -> None:
    job = launched(session, cluster)
    job = session.run(session.engine.cancel(job.id))
    with pytest.raises(JobFailed, match="detached"):
        watch(session, job, Interrupting(cluster, times=1))


def test_an_interrupt_while_the_stop_is_asked_for_detaches(
    session: Session, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = launched(session, cluster)
    submit = session.submit

    class Waited:
        def result(self) -> None:
            raise KeyboardInterrupt

    def second(work: Any) -> Any:
        if work.__name__ == "cancel":
            work.close()
            return Waited()
        return submit(work)

    monkeypatch.setattr(session, "submit", second)
    with pytest.raises(JobFailed, match="detached"):
        watch(session, job, Interrupting(cluster, times=1))


def test_an_interrupt_of_an_unreachable_pool_keeps_the_wish(
    session: Session, cluster: FakeCluster
) -> None:
    job = launched(session, cluster)

    class Away(Interrupting):
        def show(self, news: News, note: str) -> None:
            cluster.reachable = False
            if note.endswith("the wish to stop is kept until the pool answers"):
                cluster.reachable = True
            super().show(news, note)

    screen = Away(cluster, times=1)
    assert watch(session, job, screen).state is JobState.CANCELLED
    assert any("the wish to stop is kept" in note for note in screen.notes)
    assert session.engine.store.get_job(job.id).desired is Desired.STOP


def test_an_interrupt_while_a_poll_is_waited_for_loses_nothing(
    session: Session, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = launched(session, cluster)
    cluster.write(job.id, b"epoch 1\n")
    submit, waits = session.submit, [True]

    class Waited:
        """A poll whose first wait is interrupted; it goes on all the same."""

        def __init__(self, work: Any) -> None:
            self.future = submit(work)

        def result(self) -> Any:
            if waits:
                waits.clear()
                raise KeyboardInterrupt
            return self.future.result()

    monkeypatch.setattr(session, "submit", Waited)
    screen = Interrupting(cluster, times=0)
    assert watch(session, job, screen).state is JobState.CANCELLED
    assert cluster.jobs[job.id].told_to_stop
    assert screen.shown == {0: b"epoch 1\n"}


def test_a_note_is_printed_when_it_changes(
    session: Session, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    scroll = _Scroll(session, (), stream=sys.stdout)
    news = News(job=launched(session, cluster), chunks=[], complete=False)
    for note in ("", "away", "away", "", "away"):
        scroll.show(news, note)
    assert capsys.readouterr().out == "\naway\n\naway\n"


def test_news_that_come_twice_are_printed_once(
    session: Session, cluster: FakeCluster, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    job = launched(session, cluster)
    scroll = _Scroll(session, (), stream=sys.stdout)

    def news(offset: int, data: bytes) -> News:
        return News(job=job, chunks=[LogChunk(rank=0, offset=offset, data=data)], complete=False)

    scroll.show(news(5, b"abc"), "")
    scroll.show(news(5, b"abcdef"), "")
    scroll.show(news(11, b"ghi"), "")
    assert capsysbinary.readouterr().out == b"abcdefghi"


@pytest.mark.parametrize(
    ("state", "seen", "said"),
    [
        (JobState.FAILED, {"reason": "rank 0 raised"}, "failed: rank 0 raised"),
        (JobState.FAILED, None, "failed: no reason is known"),
        (JobState.LOST, {}, "is lost: no reason is known"),
        (
            JobState.CANCELLED,
            {"reason": "stopped", "ended_by": {"SIGINT": (0,), "SIGKILL": (1, 2)}},
            "was cancelled: stopped (SIGINT ended rank 0; SIGKILL ended ranks 1, 2)",
        ),
    ],
)
def test_how_a_job_ended_is_one_sentence(
    state: JobState, seen: dict[str, Any] | None, said: str
) -> None:
    observed = None if seen is None else Observation(state=state, seen_at=1.0, **seen)
    job = Job(id="1", pool=POOL, spec=a_spec(), state=state, seen=observed)
    with pytest.raises(JobFailed) as caught:
        check_outcome(job)
    assert caught.value.message == f"job 1 (digits) {said}"
    assert caught.value.job_id == "1"


def test_a_job_that_succeeded_is_no_error() -> None:
    check_outcome(Job(id="1", pool=POOL, spec=a_spec(), state=JobState.SUCCEEDED))


# the queue


GPU = Gpu(uuid="g0", name="H100", index=0)


def test_who_waits_in_the_queue_is_told_why_and_ended_by_an_interrupt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeCluster([Node(name="box", address="10.0.0.1", gpus=(GPU,))], leased=True)
    house = House(tmp_path / "queue", cluster)
    session = house.session()
    launched(session, cluster, gpus=1)
    job = session.run(session.engine.launch(POOL, a_spec(gpus=1), EMPTY))
    assert job.state is JobState.QUEUED
    show = _Scroll.show
    shown: list[str] = []

    def interrupted(screen: _Scroll, news: News, note: str) -> None:
        show(screen, news, note)
        shown.append(note)
        if len(shown) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(_Scroll, "show", interrupted)
    over = TerminalSurface(session).watch(job, fetch=False)
    assert over.state is JobState.CANCELLED
    said = capsys.readouterr().out
    assert said.count("queued: waits for 1 GPU; 1st in the queue\n") == 1
    assert "interrupted: it was still waiting for GPUs, and is cancelled\n" in said
    assert said.endswith(f"job {job.id} (digits) cancelled: it was still waiting for GPUs\n")
    house.close()
