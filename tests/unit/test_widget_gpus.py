"""GPUs in a cell: what crosses to the page, who keeps them read, and what stays."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from ipywidgets import Widget

from jupyter_aiinfra.aio import LoopThread
from jupyter_aiinfra.logview import LogSnapshot
from jupyter_aiinfra.model import Job, JobKind, JobSpec, JobState
from jupyter_aiinfra.telemetry import Frame, NodeState, NodeView, Sample, Scope
from jupyter_aiinfra.telemetry.deltas import apply_changes
from jupyter_aiinfra.telemetry.frames import make_frame
from jupyter_aiinfra.telemetry.sample import parse_sample
from jupyter_aiinfra.widgets.attention import PATIENCE_SECONDS, Attention
from jupyter_aiinfra.widgets.gpus import GPUS_MIME, GpusView
from jupyter_aiinfra.widgets.gpuuse import GpuUse, UseOfGpus, memory_text, percent_text
from jupyter_aiinfra.widgets.gpuwire import MOST_ROWS, FrameWire, GpusSource, Reading, bounded
from jupyter_aiinfra.widgets.job import JOB_MIME, JobView
from jupyter_aiinfra.widgets.render import render_html, render_text
from tests.support.readings import GIB, a_gpu, a_sample

JOB = "0abcdefghjkm"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_frame(
    *gpus: dict[str, Any], seq: int = 1, scope: Scope | None = None, node: str = "n0"
) -> Frame:
    sample: Sample = parse_sample(json.dumps(a_sample(*gpus)).encode())
    view = NodeView(name=node, state=NodeState.LIVE, gpus=len(gpus))
    return make_frame(
        scope or Scope(pool="here"), seq=seq, at=1000.0 + seq, nodes=[(view, sample)], leases={}
    )


def of_rank(rank: int, *, memory: int = 3 * GIB, job: str = JOB) -> dict[str, Any]:
    return {"pid": 100 + rank, "mem": memory, "user": "ada", "job": job, "seat": rank}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Collect what widgets send to the page."""
    messages: list[dict[str, Any]] = []

    def keep(widget: Widget, message: dict[str, Any], **_: Any) -> None:
        if widget.comm is not None:
            messages.append(json.loads(json.dumps(message)))

    monkeypatch.setattr(Widget, "_send", keep)
    yield messages
    Widget.close_all()


# --- what crosses --------------------------------------------------------------------------------


class Page:
    """The other end, as the TypeScript does it."""

    def __init__(self) -> None:
        self.seq = -1
        self.frames: list[Any] = []

    def take(self, *, whole: Any = None, delta: Any = None) -> bool:
        fits = True
        if delta and delta["seq"] > self.seq:
            for change in delta["changes"]:
                frame = self.frames[change["key"]]["frame"]
                fits = fits and frame["seq"] == change["since"]
                frame["gpu_values"] = apply_changes(frame["gpu_values"], change["g"])
                frame["seq"] = change["seq"]
                for number, row in change["gpus"].items():
                    frame["gpus"][int(number)] = row
            self.seq = delta["seq"]
        if whole and whole["seq"] > self.seq:
            self.seq, self.frames = whole["seq"], json.loads(json.dumps(whole["pools"]))
        return fits


def test_all_of_it_comes_first_then_what_has_changed() -> None:
    clock = Clock()
    wire, page = FrameWire(clock=clock), Page()
    for seq in range(1, 20):
        clock.now += 1
        frame = a_frame(a_gpu(0, util=seq), a_gpu(1, procs=[of_rank(seq % 2)]), seq=seq)
        told = wire.take([("here", frame)])
        assert (told.whole is None) == (told.delta is not None) or seq in {6, 11, 16}
        assert page.take(whole=told.whole, delta=told.delta)
        assert page.frames == wire.whole()["pools"] or page.frames[0]["frame"]["at"]
    shown = page.frames[0]["frame"]
    assert shown["gpu_values"] == list(frame.gpu_values)
    assert shown["gpus"][1]["processes"][0]["rank"] == 1


def test_a_change_is_small_and_all_of_it_is_repeated_by_its_size() -> None:
    clock = Clock()
    wire = FrameWire(clock=clock)
    wholes, deltas = [], []
    for seq in range(1, 61):
        clock.now += 1
        rows = [a_gpu(number, util=(seq * 7 + number) % 100) for number in range(MOST_ROWS)]
        told = wire.take([("here", a_frame(*rows, seq=seq))])
        if told.whole:
            wholes.append(len(json.dumps(told.whole)))
        if told.delta:
            deltas.append(len(json.dumps(told.delta)))
    assert max(deltas) < 2_000
    assert sum(wholes[1:]) / 60 < 8_000
    assert len(wholes) > 5


def test_other_gpus_are_told_whole_but_not_each_second_where_that_is_much() -> None:
    clock = Clock()
    wire = FrameWire(clock=clock)
    told = []
    for seq in range(1, 31):
        clock.now += 1
        rows = [a_gpu(number + seq) for number in range(MOST_ROWS)]
        told.append(wire.take([("here", a_frame(*rows, seq=seq))]))
    assert all(each.delta is None for each in told)
    assert 5 < sum(each.whole is not None for each in told) < 30


def test_a_pool_that_cannot_be_read_says_why_beside_the_others() -> None:
    wire, page = FrameWire(clock=Clock()), Page()
    frame = a_frame(a_gpu(0))
    page.take(whole=wire.take([("here", frame), ("lab", "pool lab does not answer")]).whole)
    assert [each["problem"] for each in page.frames] == ["", "pool lab does not answer"]
    wire._whole_bytes = 0
    back = wire.take([("here", frame), ("lab", a_frame(a_gpu(5)))])
    assert back.delta is None
    page.take(whole=back.whole)
    assert page.frames[1]["frame"]["gpus"][0]["index"] == 5


def test_of_very_many_gpus_the_first_are_told_and_of_pools_an_overview() -> None:
    many = a_frame(*(a_gpu(number, util=number % 100) for number in range(MOST_ROWS + 40)))
    (pool,) = FrameWire().take([("here", many)]).whole["pools"]  # type: ignore[index]
    assert len(pool["frame"]["gpus"]) == MOST_ROWS
    assert list(pool["frame"]["gpu_values"][:3]) == [0, 1, 2]
    assert pool["frame"]["gpu_values"][MOST_ROWS] == many.gpu_values[MOST_ROWS + 40]
    scopes = [("here", Scope(pool="here"))]
    assert bounded(scopes, MOST_ROWS) == scopes
    assert bounded(scopes, MOST_ROWS + 1)[0][1].detail == "nodes"


# --- who looks -----------------------------------------------------------------------------------


def test_it_is_wanted_while_pages_say_so() -> None:
    clock = Clock()
    looks = Attention(busy=True, clock=clock)
    looks.end()
    assert looks.is_wanted
    clock.now += PATIENCE_SECONDS + 1
    assert not looks.is_wanted
    looks.look("a", 1)
    assert looks.is_wanted
    assert looks.heard == {"a": 1}


def test_a_running_cell_is_no_silence() -> None:
    clock = Clock()
    looks = Attention(busy=True, clock=clock)
    clock.now += 10_000
    assert looks.is_wanted
    looks.end()
    # Between two cells pages have had no time to say so.
    assert looks.is_wanted
    clock.now += PATIENCE_SECONDS + 1
    assert not looks.is_wanted
    looks.begin()
    assert looks.is_wanted


def test_when_the_last_view_has_gone_nobody_looks() -> None:
    clock = Clock()
    looks = Attention(busy=False, clock=clock)
    looks.look("a", 1)
    looks.look("b", 1)
    looks.leave("a")
    assert looks.is_wanted
    looks.leave("b")
    assert not looks.is_wanted
    looks.begin()
    looks.end()
    assert not looks.is_wanted
    looks.look("c", 1)
    assert looks.is_wanted


def test_what_is_kept_of_views_is_bounded() -> None:
    looks = Attention()
    for number in range(1000):
        looks.look(str(number), number)
    assert len(looks.heard) == 32


# --- the view ------------------------------------------------------------------------------------


class Station:
    """A source whose readings a test sends; it notes how many listen."""

    def __init__(self) -> None:
        self.loop = LoopThread()
        self.listeners = 0
        self.opened = 0
        self._queue: asyncio.Queue[list[Reading] | Exception] = self.loop.run(self._new())
        self.futures: list[Future[None]] = []

    async def _new(self) -> asyncio.Queue[list[Reading] | Exception]:
        return asyncio.Queue()

    async def stream(self) -> AsyncGenerator[list[Reading], None]:
        self.listeners += 1
        self.opened += 1
        try:
            while True:
                item = await self._queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                self._queue.task_done()
        finally:
            self.listeners -= 1
            self._queue.task_done()

    def submit(self, work: Coroutine[Any, Any, None]) -> object:
        self.futures.append(self.loop.submit(work))
        return self.futures[-1]

    def say(self, item: Frame | Exception) -> None:
        """Send one reading, and wait until it was taken."""

        async def put() -> None:
            await self._queue.put(item if isinstance(item, Exception) else [("here", item)])
            await self._queue.join()

        self.loop.run(put())

    def source(self, **changes: Any) -> GpusSource:
        return GpusSource(
            **{"title": "pool here", "stream": self.stream, "submit": self.submit, **changes}
        )

    def settle(self) -> None:
        """Wait until the last stream is over."""
        self.futures[-1].result(20)


@pytest.fixture
def station() -> Iterator[Station]:
    station = Station()
    yield station
    station.loop.close()


def a_view(station: Station, looks: Attention | None = None, **changes: Any) -> GpusView:
    static = {"text/plain": "a table", "text/html": "<table></table>"}
    first: list[Reading] = [("here", a_frame(a_gpu(0)))]
    return GpusView(station.source(**changes), first, static=static, attention=looks)


def test_the_view_goes_on_from_the_loop_by_changes(
    station: Station, sent: list[dict[str, Any]]
) -> None:
    view = a_view(station)
    view.begin()
    view.begin()
    for seq in (2, 3):
        station.say(a_frame(a_gpu(0, util=seq), seq=seq))
    assert station.opened == 1
    assert [set(message["state"]) for message in sent] == [{"delta"}, {"delta"}]
    assert sent[-1]["state"]["delta"]["changes"][0]["since"] == 2
    assert len(json.dumps(sent[-1])) < 300
    state = view.get_state()
    assert state["gpus"]["pools"][0]["frame"]["gpu_values"][0] == 3
    assert state["delta"] == {}
    assert state["about"] == {"title": "pool here", "job": None}


def test_nobody_looks_so_it_rests_until_somebody_does(
    station: Station, sent: list[dict[str, Any]]
) -> None:
    clock = Clock()
    looks = Attention(busy=True, clock=clock)
    view = a_view(station, looks)
    view.begin()
    station.say(a_frame(a_gpu(0), seq=2))
    looks.end()
    clock.now += PATIENCE_SECONDS + 1
    station.say(a_frame(a_gpu(0), seq=3))
    station.settle()
    assert (station.listeners, view.is_reading) == (0, False)
    assert sent[-1]["state"] == {"life": {"state": "paused"}}
    view._handle_custom_msg({"type": "look", "view": "a", "number": 1}, [])
    assert sent[-1]["state"] == {"life": {"state": "live"}}
    station.say(a_frame(a_gpu(0), seq=9))
    assert station.listeners == 1
    assert sent[-1]["state"]["delta"]["heard"] == {"a": 1}
    view._handle_custom_msg({"type": "leave", "view": "a"}, [])
    station.say(a_frame(a_gpu(0), seq=10))
    station.settle()
    assert not view.is_reading


def test_a_page_that_missed_something_gets_all_of_it(
    station: Station, sent: list[dict[str, Any]]
) -> None:
    view = a_view(station)
    view._handle_custom_msg({"type": "resync"}, [])
    assert sent[0]["state"]["gpus"] == json.loads(json.dumps(view.get_state()["gpus"]))
    for odd in ("text", {"type": "other"}, {"type": "look", "view": ["x"], "number": "1"}):
        view._handle_custom_msg(odd, [])
    assert len(view.attention.heard) == 1


def test_a_late_page_gets_the_minute_before(station: Station, sent: list[dict[str, Any]]) -> None:
    past = [{"node": "n0", "at": [998.0, 999.0], "rows": {"GPU-0": [[1, 2]]}}]
    view = a_view(station, past=lambda: past)
    assert view.get_state()["past"] == past
    assert view.get_state("past")["past"] == []
    view.end("done")
    assert view.get_state()["past"] == []
    assert sent[-1]["state"]["life"] == {"state": "ended", "why": "done"}


@pytest.mark.parametrize("how", ["fails", "closes", "goes"])
def test_it_ends_for_good_and_says_so(
    station: Station,
    sent: list[dict[str, Any]],
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    view = a_view(station)
    view.begin()
    station.say(a_frame(a_gpu(0), seq=2))
    if how == "fails":
        station.say(RuntimeError("odd"))
        station.settle()
        assert "odd" in caplog.text
    elif how == "closes":
        view.close()
        view.close()
    else:
        station.loop.run(station.loop._cancel_all())
    lives = [message["state"]["life"] for message in sent if "life" in message["state"]]
    assert [life["state"] for life in lives] == ["ended"]
    view._handle_custom_msg({"type": "look", "view": "a", "number": 1}, [])
    assert not view.is_reading
    if how == "closes":
        station.say(a_frame(a_gpu(0), seq=3))
        station.settle()
    assert station.listeners == 0


def test_the_output_keeps_a_table(station: Station, sent: list[dict[str, Any]]) -> None:
    data, _ = a_view(station)._repr_mimebundle_()
    assert data["text/plain"] == "a table"
    assert data["text/html"] == "<table></table>"
    assert data[GPUS_MIME] == {"title": "pool here"}
    assert "application/vnd.jupyter.widget-view+json" in data


class Session:
    """The part of a kernel's session that sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def send(self, *words: Any, **options: Any) -> None:
        self.sent.append((threading.current_thread(), words, options))


class Kernel:
    def __init__(self) -> None:
        self.session = Session()
        self.iopub_socket = object()


def test_messages_from_the_loop_belong_to_the_cell_that_made_the_view(station: Station) -> None:
    kernel = Kernel()
    view = a_view(station)
    asked = {"header": {"msg_id": "of the cell"}}
    view._parent = asked
    view.comm.kernel = kernel
    view.begin()
    station.say(a_frame(a_gpu(0), seq=2))
    (one,) = kernel.session.sent
    thread, (socket, kind, content), options = one
    assert thread is not threading.current_thread()
    assert (socket, kind) == (kernel.iopub_socket, "comm_msg")
    assert content["comm_id"] == view.comm.comm_id
    assert set(content["data"]["state"]) == {"delta"}
    assert options["parent"] is asked
    Widget.close_all()


# --- what a job's ranks did ----------------------------------------------------------------------


def a_job(state: JobState = JobState.RUNNING) -> Job:
    spec = JobSpec(kind=JobKind.TRAIN, name="digits", argv=("python",), procs=2)
    return Job(id=JOB, pool="here", spec=spec, state=state, created_at=1.0, updated_at=2.0)


def frames_of_job(count: int) -> list[Frame]:
    return [
        a_frame(
            a_gpu(0, util=20.0 * seq, procs=[of_rank(1, memory=seq * GIB)]),
            a_gpu(1, util=None, procs=[of_rank(0), of_rank(0, job="another")]),
            a_gpu(2, util=99.0),
            seq=seq,
            scope=Scope(job=JOB),
        )
        for seq in range(1, count + 1)
    ]


def test_use_is_added_up_rank_by_rank() -> None:
    use = UseOfGpus(JOB)
    for frame in frames_of_job(3):
        use.take(frame)
    first, second = use.ranks
    assert first == GpuUse(
        rank=0, gpus=("n0:1",), peak_memory_bytes=3 * GIB, memory_total_bytes=80 * GIB
    )
    assert second == GpuUse(
        rank=1,
        gpus=("n0:0",),
        mean_percent=40.0,
        peak_percent=60.0,
        peak_memory_bytes=3 * GIB,
        memory_total_bytes=80 * GIB,
    )
    assert (percent_text(first.mean_percent), memory_text(second)) == ("n/a", "3 of 80 GiB")


def test_a_rank_on_two_gpus_has_their_mean_and_their_sum() -> None:
    use = UseOfGpus(JOB)
    rows = [a_gpu(0, util=10, procs=[of_rank(0)]), a_gpu(1, util=90, procs=[of_rank(0)])]
    use.take(a_frame(*rows, scope=Scope(job=JOB)))
    unknown = {**of_rank(0), "mem": None}
    use.take(a_frame(*({**row, "procs": [unknown]} for row in rows), scope=Scope(job=JOB)))
    (one,) = use.ranks
    assert (one.mean_percent, one.gpus) == (50.0, ("n0:0", "n0:1"))
    # Where a process does not tell its own, it is all that is in use.
    assert one.peak_memory_bytes == 80 * GIB
    assert one.memory_total_bytes == 160 * GIB


def test_a_lost_gpu_and_a_silent_node_are_unknown_and_not_zero() -> None:
    use = UseOfGpus(JOB)
    good, *_ = frames_of_job(1)
    silent = replace(good.nodes[0], state=NodeState.STALE)
    use.take(replace(good, nodes=(silent,), samples={}))
    assert [one.mean_percent for one in use.ranks] == [None, None]
    assert [one.peak_memory_bytes for one in use.ranks] == [None, None]


def test_the_view_of_a_job_tells_of_its_gpus_and_keeps_what_they_came_to(
    sent: list[dict[str, Any]],
) -> None:
    clock = Clock()
    view = JobView(a_job(), clock=clock)
    assert view.get_state()["gpus"] == {}
    for frame in frames_of_job(3):
        clock.now += 1
        for _ in range(3):
            view.update(a_job(), LogSnapshot(), gpus=frame)
    assert [sorted(message["state"]) for message in sent] == [
        ["gpus"],
        ["gpus_delta"],
        ["gpus_delta"],
    ]
    assert view.get_state()["gpus"]["pools"][0]["frame"]["seq"] == 3
    view.finish(a_job(JobState.SUCCEEDED), LogSnapshot())
    bundle = view.static_bundle()
    assert "rank 1 on n0:0: 40 % busy on average, 60 % at most; 3 of 80 GiB" in bundle["text/plain"]
    assert "<b>GPUs</b> · 2 ranks, 40 % busy on average, 3 of 80 GiB at most" in bundle["text/html"]
    assert bundle[JOB_MIME]["gpus"][1]["mean_percent"] == 40.0


def test_a_job_without_gpus_says_nothing_of_them() -> None:
    view = JobView(a_job())
    bundle = view.static_bundle()
    assert "GPU" not in bundle["text/plain"]
    assert "<b>GPU" not in bundle["text/html"]
    assert "gpus" not in bundle[JOB_MIME]


def test_of_many_ranks_some_are_listed() -> None:
    uses = [GpuUse(rank=rank, gpus=(f"<n>:{rank}",)) for rank in range(100)]
    text = render_text(a_job(), LogSnapshot(), gpus=uses)
    assert "rank 63" in text
    assert "rank 64" not in text
    assert "and 36 more ranks" in text
    page = render_html(a_job(), LogSnapshot(), gpus=uses)
    assert "and 36 more ranks" in page
    assert "&lt;n&gt;:63" in page
