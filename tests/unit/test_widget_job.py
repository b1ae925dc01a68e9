"""A job in a cell: what crosses to the page, and what stays in the notebook."""

from __future__ import annotations

import html.parser
import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipywidgets import Widget

from jupyter_aiinfra.logview import LogLine, LogSnapshot, LogView
from jupyter_aiinfra.model import (
    LAUNCHER,
    CaptureKind,
    Desired,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Manifest,
    ManifestItem,
    Observation,
    Origin,
    RankError,
    RankStatus,
    TrackingRun,
)
from jupyter_aiinfra.widgets.card import describe, duration_text, plural, size_text
from jupyter_aiinfra.widgets.job import JOB_MIME, JobView, render_html, render_text
from jupyter_aiinfra.widgets.wire import (
    RankFrame,
    frames,
    header_wire,
    rank_delta,
    ranks_wire,
    splices,
)

T = 1_700_000_000.0
TRACEBACK = 'Traceback (most recent call last):\n  File "cell.py", line 12\nValueError: <bad> batch'
MANIFEST = Manifest(
    items=(
        ManifestItem(
            name="X_train", kind=CaptureKind.ARRAY, type="ndarray", size_bytes=735_744, how="array"
        ),
        ManifestItem(name="torch", kind=CaptureKind.IMPORT, type="module", how="import <there>"),
    ),
    size_bytes=735_744,
)


def job(state: JobState = JobState.RUNNING, *, world: int = 2, **seen: Any) -> Job:
    spec = JobSpec(
        kind=JobKind.TRAIN,
        name="digits",
        argv=("python",),
        procs=world,
        manifest=MANIFEST,
        origin=Origin(code="train()"),
    )
    observation = None
    if state is not JobState.PENDING:
        seen.setdefault("started_at", T + 2)
        if state.final:
            seen.setdefault("ended_at", T + 43)
        observation = Observation(state=state, seen_at=T + 50, **seen)
    return Job(
        id="0abc", pool="here", spec=spec, state=state, seen=observation, created_at=T, updated_at=T
    )


def rank(number: int, **fields: Any) -> RankStatus:
    return RankStatus(rank=number, node="node-a", pid=100 + number, **fields)


def failed_job() -> Job:
    error = RankError(type="ValueError", message="<bad> batch", traceback=TRACEBACK, line=12)
    return job(
        JobState.FAILED,
        failed_rank=1,
        exit_code=1,
        reason="rank 1 raised ValueError",
        ranks=(rank(0, exit_code=-15, signal=15), rank(1, exit_code=1, error=error)),
    )


def logs(*ranks: tuple[int, str]) -> LogSnapshot:
    view = LogView()
    for number, text in ranks:
        view.feed(number, 0, text.encode())
    return view.snapshot()


# --- what is said -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (job(JobState.PENDING), "waiting for the pool to accept it"),
        (job(JobState.STARTING), "0 of 2 ranks reported"),
        (job(JobState.STARTING, ranks=(rank(0),)), "1 of 2 ranks reported"),
        (job(JobState.RUNNING), ""),
        (job(JobState.RUNNING, supervised=False), "its supervisor is gone; the job itself runs on"),
        (job(JobState.RUNNING, stopping=True), "stopping"),
        (replace(job(JobState.RUNNING), desired=Desired.STOP), "stopping"),
        (job(JobState.SUCCEEDED, results=("history", "state")), "results: history, state"),
        (job(JobState.CANCELLED, ended_by={"SIGINT": (0, 1)}), "SIGINT ended ranks 0, 1"),
        (
            job(JobState.CANCELLED, ended_by={"SIGINT": (0,), "SIGKILL": (1,)}, strays=1),
            "SIGINT ended rank 0, SIGKILL ended rank 1; 1 process was left behind and ended",
        ),
        (job(JobState.CANCELLED, reason="time limit"), "time limit"),
        (failed_job(), ""),
    ],
)
def test_each_state_has_its_sentence(subject: Job, said: str) -> None:
    assert describe(subject).message == said
    with_note = describe(subject, note="the pool does not answer").message
    assert with_note == "; ".join(filter(None, (said, "the pool does not answer")))


def test_a_failure_names_the_rank_the_error_and_the_line() -> None:
    card = describe(failed_job())
    assert card.error is not None
    assert card.error.title == "rank 1 raised ValueError: <bad> batch"
    assert card.error.where == "line 12 of the cell"
    assert card.error.traceback == TRACEBACK
    assert [(one.rank, one.state, one.failed) for one in card.ranks] == [
        (1, "ValueError", True),
        (0, "ended by SIGTERM", False),
    ]


def test_a_rank_killed_without_a_traceback_is_the_reason() -> None:
    subject = job(
        JobState.FAILED,
        failed_rank=1,
        reason="rank 1 was killed by SIGKILL",
        ranks=(rank(1, exit_code=-9, signal=9),),
    )
    card = describe(subject)
    assert card.error is not None
    assert (card.error.title, card.error.traceback) == ("rank 1 was killed by SIGKILL", "")
    assert [(one.rank, one.state) for one in card.ranks] == [
        (1, "ended by SIGKILL"),
        (0, "never began"),
    ]


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        (rank(0), JobState.RUNNING, "running"),
        (rank(0), JobState.LOST, "end unknown"),
        (rank(0, exit_code=0), JobState.SUCCEEDED, "done"),
        (rank(0, exit_code=3), JobState.FAILED, "exit status 3"),
        (rank(0, signal=250), JobState.FAILED, "ended by signal 250"),
        (RankStatus(rank=0, node=""), JobState.STARTING, "not started yet"),
        (RankStatus(rank=0, node=""), JobState.FAILED, "never began"),
    ],
)
def test_each_rank_has_its_word(status: RankStatus, state: JobState, said: str) -> None:
    assert describe(job(state, world=1, ranks=(status,))).ranks[0].state == said


def test_time_runs_until_the_end_and_from_submission_before_the_start() -> None:
    assert describe(job(JobState.SUCCEEDED), now=T + 999).elapsed_seconds == 41
    assert describe(job(JobState.RUNNING), now=T + 12).elapsed_seconds == 10
    assert describe(job(JobState.PENDING), now=T + 12).elapsed_seconds == 12
    assert describe(job(JobState.RUNNING), now=T - 100).elapsed_seconds == 0


def a_slow_rank() -> Job:
    return job(
        ranks=(
            rank(0, step=1240, step_at=T, step_seconds=0.4213, metrics={"<loss>": 0.5}),
            rank(1, step=1236, step_at=T, step_seconds=0.71),
        )
    )


def test_progress_is_one_line_in_every_form_and_the_slow_rank_is_marked_in_words() -> None:
    line = "step 1,240 · <loss> 0.5 · 0.42 s a step · rank 1 is slowest: 0.71 s, 4 steps behind"
    subject = a_slow_rank()
    assert describe(subject).progress == line
    assert render_text(subject, LogSnapshot()).splitlines()[1] == line
    page = render_html(subject, logs((1, "a\n")))
    assert line.replace("<loss>", "&lt;loss&gt;") in page
    assert "step 1,236, 0.71 s a step (slow)" in page


def test_a_secret_in_the_progress_is_hidden() -> None:
    card = describe(a_slow_rank(), redact=lambda text: text.replace("loss", "•••"))
    assert "<•••> 0.5" in card.progress


def test_progress_crosses_with_three_digits_and_only_where_it_is_known() -> None:
    card = describe(a_slow_rank())
    assert header_wire(card)["progress"] == card.progress
    assert [one["progress"] for one in ranks_wire(card)] == [
        {"step": 1240, "step_seconds": 0.421, "behind": 0, "slow": False},
        {"step": 1236, "step_seconds": 0.71, "behind": 4, "slow": True},
    ]
    silent = describe(job(ranks=(rank(0),)))
    assert header_wire(silent)["progress"] == ""
    assert [one["progress"] for one in ranks_wire(silent)] == [None, None]


def test_tracking_is_told() -> None:
    run = TrackingRun(uri="sqlite://", run_id="8f14")
    assert describe(job(tracking=run)).tracking == "MLflow run 8f14"
    assert describe(job(tracking=replace(run, error="refused"))).tracking == "MLflow: refused"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7440, "2 h 04 min"),
        (108_000, "1 d 06 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2e8, "200 MB"), (3e15, "3000 TB")],
)
def test_sizes(size: float | None, text: str) -> None:
    assert size_text(size) == text


def test_plurals() -> None:
    assert [plural(count, "rank") for count in (0, 1, 2048)] == ["0 ranks", "1 rank", "2,048 ranks"]


# --- what crosses -----------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


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


class Page:
    """The other end, as the TypeScript does it."""

    def __init__(self, view: JobView) -> None:
        self.seq, self.ranks = -1, {}  # type: ignore[var-annotated]
        self.load(view.get_state()["log"])

    def load(self, frame: dict[str, Any]) -> None:
        if frame["seq"] > self.seq:
            self.seq, self.ranks = frame["seq"], json.loads(json.dumps(frame["ranks"]))

    def take(self, state: dict[str, Any]) -> None:
        delta = state.get("delta")
        if delta and delta["base"] == self.seq:
            self.seq = delta["seq"]
            for name, change in json.loads(json.dumps(delta["ranks"])).items():
                if "tail" in change:
                    self.ranks[name] = change
                    continue
                log = self.ranks[name]
                for start, gone, lines in change.pop("splices", ()):
                    log["tail"][start : start + gone] = lines
                log.update(change)
        if "log" in state:
            self.load(state["log"])


def test_an_update_sends_one_message_with_what_changed_only(sent: list[dict[str, Any]]) -> None:
    clock, logview = Clock(), LogView()
    view = JobView(job(JobState.STARTING), clock=clock)
    page = Page(view)
    logview.feed(0, 0, b"one\ntwo\n")
    view.update(job(JobState.RUNNING), logview.snapshot())
    assert len(sent) == 1
    assert set(sent[0]["state"]) == {"header", "log", "delta"}
    page.take(sent[0]["state"])
    view.update(job(JobState.RUNNING), logview.snapshot())
    assert len(sent) == 1
    logview.feed(0, 8, b"three\n")
    clock.now += 0.1
    view.update(job(JobState.RUNNING), logview.snapshot())
    assert set(sent[1]["state"]) == {"delta"}
    assert sent[1]["state"]["delta"]["ranks"]["0"]["splices"] == [[2, 0, [["three"]]]]
    page.take(sent[1]["state"])
    assert page.ranks["0"]["tail"] == [["one"], ["two"], ["three"]]
    view.update(job(JobState.RUNNING, stopping=True), logview.snapshot())
    assert sent[2]["state"]["header"]["message"] == "stopping"
    assert set(sent[2]["state"]) == {"header"}


def test_a_page_follows_a_long_log_by_deltas_alone(sent: list[dict[str, Any]]) -> None:
    clock, logview = Clock(), LogView(tail_lines=50)
    view = JobView(job(), clock=clock)
    page = Page(view)
    offset = 0
    for step in range(120):
        data = f"\repoch {step // 3}{'!' * (step % 7)}".encode() + b"\n" * (step % 4)
        logview.feed(0, offset, data)
        logview.feed(1, offset, data if step < 100 else data.upper())
        offset += len(data)
        view.update(job(), logview.snapshot())
    keyframes = [message for message in sent if "log" in message["state"]]
    assert len(keyframes) == 1
    for message in sent:
        page.take(message["state"])
    assert {"seq": page.seq, "ranks": page.ranks} == view.get_state()["log"]


def test_keyframes_come_often_at_first_then_seldom_and_only_when_needed(
    sent: list[dict[str, Any]],
) -> None:
    clock, logview = Clock(), LogView()
    view = JobView(job(), clock=clock)
    at = []
    for step in range(300):
        clock.now = 100 + step / 10
        logview.feed(0, step * 2, b"%d\n" % (step % 10))
        view.update(job(), logview.snapshot())
        if "log" in sent[-1]["state"]:
            at.append(step / 10)
    assert at == [0, 1, 2, 3, 4, 5, 10, 15, 20, 25]
    count = len(sent)
    clock.now += 100
    view.update(job(), logview.snapshot())  # the last delta has not been repeated yet
    view.update(job(), logview.snapshot())
    assert len(sent) == count + 1
    view.update(job(JobState.SUCCEEDED), logview.snapshot())
    assert "log" not in sent[-1]["state"]


def test_a_late_page_gets_everything_as_of_now(sent: list[dict[str, Any]]) -> None:
    clock, logview = Clock(), LogView()
    view = JobView(job(), clock=clock)
    for step in range(5):
        logview.feed(0, step * 2, b"%d\n" % step)
        view.update(job(), logview.snapshot())
    state = view.get_state()
    assert [line[0] for line in state["log"]["ranks"]["0"]["tail"]] == list("01234")
    assert state["log"]["seq"] == 5
    del sent[:]
    view._handle_custom_msg({"type": "resync"}, [])
    assert sent[0]["state"]["log"] == state["log"]
    view._handle_custom_msg({"type": "other"}, [])
    assert len(sent) == 1


def test_messages_are_bounded_however_many_ranks_and_however_long_their_lines(
    sent: list[dict[str, Any]],
) -> None:
    logview = LogView()
    noise = "é" * 1990
    for number in range(64):
        lines = "".join(f"{number} {line} {noise}\n" for line in range(400))
        logview.feed(number, 0, lines.encode())
    snapshot = logview.snapshot()
    view = JobView(job(world=64), clock=Clock())
    view.update(job(world=64), snapshot)
    assert len(sent) == 1
    assert len(json.dumps(sent[0]["state"]["log"])) < 300_000
    assert len(json.dumps(sent[0]["state"]["delta"])) < 300_000
    for log in view.get_state()["log"]["ranks"].values():
        counts = log["counts"]
        assert counts["seen"] == 400 == counts["shown"] + counts["folded"] + counts["left_out"]
        assert counts["shown"] == len(log["head"]) + len(log["tail"])
        assert log["tail"][-1][0].split()[1] == "399"


def test_of_many_ranks_the_others_are_sent_once_a_second(sent: list[dict[str, Any]]) -> None:
    clock, logview = Clock(), LogView()
    view = JobView(job(world=16), clock=clock)
    for step in range(9):
        for number in range(16):
            logview.feed(number, step * 4, f"{number:x}{step:2}\n".encode())
        view.update(job(world=16), logview.snapshot())
        clock.now += 0.125
    changed = [len(message["state"]["delta"]["ranks"]) for message in sent]
    assert changed == [16, *[1] * 7, 16]
    logview.feed(3, 36, b"end")
    view.update(job(JobState.SUCCEEDED, world=16), logview.snapshot())
    assert list(sent[-1]["state"]["delta"]["ranks"]) == ["3"]


def test_a_rank_like_rank_0_sends_no_lines_and_the_failing_one_all() -> None:
    snapshot = logs((0, "same\n" * 3 + "end\n"), (1, "same\n" * 3 + "end\n"), (2, "a\nb\n"))
    cut = frames(snapshot, in_full=(2, 0))
    assert cut[1].tail == ()
    assert cut[1].counts["summary"] == "4 lines, the same as rank 0"
    assert [line.text for line in cut[2].tail] == ["a", "b"]


def test_an_overlong_traceback_is_cut_in_the_middle() -> None:
    error = RankError(type="E", message="m", traceback="first\n" + "x" * 200_000 + "\nlast")
    subject = job(JobState.FAILED, failed_rank=0, ranks=(rank(0, exit_code=1, error=error),))
    sent_error = JobView(subject).get_state()["header"]["error"]
    assert len(sent_error["traceback"]) < 40_000
    assert sent_error["traceback"].startswith("first")
    assert sent_error["traceback"].endswith("last")
    assert "characters left out" in sent_error["traceback"]


def test_a_view_may_be_made_before_its_job(sent: list[dict[str, Any]]) -> None:
    view = JobView()
    assert view.get_state()["header"] == {}
    assert view.static_bundle() == {}
    view.update(job(), logs((0, "x\n")))
    assert {"header", "ranks", "manifest", "delta"} <= set(sent[0]["state"])
    assert sent[0]["state"]["manifest"]["items"][0] == {
        "name": "X_train",
        "kind": "array",
        "type": "ndarray",
        "size_bytes": 735_744,
        "how": "array",
    }


LINES = st.lists(
    st.builds(LogLine, text=st.sampled_from("abc"), repeat=st.integers(1, 2), id=st.integers(0, 9)),
    max_size=12,
)


@given(before=LINES, after=LINES)
def test_splices_turn_any_lines_into_any_others(
    before: list[LogLine], after: list[LogLine]
) -> None:
    one, other = (RankFrame(head=(), tail=tuple(lines), counts={}) for lines in (before, after))
    page = one.wire()["tail"]
    steps = splices(before, after)
    for start, gone, lines in steps:
        page[start : start + gone] = lines
    assert page == other.wire()["tail"]
    assert len(steps) <= 2
    assert (rank_delta(one, other) is None) == (before == after)


def test_scrolling_sends_only_what_is_new() -> None:
    lines = [LogLine(text=str(number), id=number) for number in range(30)]
    assert splices(lines[:20], lines[3:23]) == [[0, 3, []], [17, 0, [["20"], ["21"], ["22"]]]]


# --- what stays -------------------------------------------------------------------------------


class Checker(html.parser.HTMLParser):
    """Knows the text and the elements of a piece of HTML, and that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        self.text += " "

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def test_html_says_it_all_without_styles() -> None:
    snapshot = logs(
        (0, "one <i>\n" + "again\n" * 412), (1, "\x1b[31mred\x1b[0m\nmine\n"), (LAUNCHER, "hello\n")
    )
    page = Checker(render_html(failed_job(), snapshot, log_path="/runs/0abc/logs"))
    words = " ".join(page.text.split())
    for said in (
        "failed digits · pool here · 2 ranks · 41 s · job 0abc",
        "rank 1 raised ValueError: <bad> batch (line 12 of the cell) Traceback",
        "one <i> again × 412",  # noqa: RUF001
        "rank 0 · 413 lines · ended by SIGTERM",
        "rank 1 · 2 lines · ValueError",
        "launcher · 1 line",
        "sent · 2 names, 736 kB",
        "X_train ndarray 736 kB array",
        "import <there>",
        "log: /runs/0abc/logs",
    ):
        assert said in words
    assert words.index("Traceback") < words.index("one <i>")
    assert page.tags.count("details") == 3
    assert not {"i", "script", "bad", "there"} & set(page.tags)


def test_the_static_forms_come_without_the_widget_library() -> None:
    package = importlib.import_module("jupyter_aiinfra.widgets")
    assert package.render_html is render_html
    assert package.JobView is JobView
    with pytest.raises(AttributeError, match="Jobview"):
        _ = package.Jobview


def test_html_has_no_blank_line_and_loads_nothing() -> None:
    text = render_html(job(JobState.SUCCEEDED), logs((0, "a\n")))
    assert "\n\n" not in text.split("<pre")[0]
    assert "http" not in text
    assert "url(" not in text
    assert text == render_html(job(JobState.SUCCEEDED), logs((0, "a\n")))


def test_html_tells_what_is_not_shown() -> None:
    logview = LogView(tail_lines=5, head_lines=2, width=10)
    logview.feed(0, 0, b"".join(b"%d\n" % number for number in range(100)) + b"x" * 50 + b"\n")
    logview.feed(0, 1000, b"end\n")
    logview.feed(1, 0, b"".join(b"own %d\n" % number for number in range(100)))
    words = " ".join(Checker(render_html(job(), logview.snapshot())).text.split())
    for said in ("left out (all in the log)", "… 40 more bytes", "bytes are missing here"):
        assert said in words


def test_text_says_it_all() -> None:
    snapshot = logs((0, "one\n" + "again\n" * 412), (1, "mine\n"))
    text = render_text(failed_job(), snapshot)
    assert text == (
        "[failed] digits · pool here · 2 ranks · 41 s · job 0abc\n"
        "\n"
        "rank 1 raised ValueError: <bad> batch (line 12 of the cell)\n"
        "  Traceback (most recent call last):\n"
        '    File "cell.py", line 12\n'
        "  ValueError: <bad> batch\n"
        "\n"
        "one\n"
        "again  × 412\n"  # noqa: RUF001
        "\n"
        "rank 1: 1 line · ValueError\n"
        "  mine\n"
        "\n"
        "log: %jobs logs 0abc"
    )


def test_text_leaves_out_what_the_launcher_says_of_a_rank_that_failed() -> None:
    snapshot = logs((0, "one\n"), (LAUNCHER, "Traceback\nCalledProcessError\n"))
    text = render_text(failed_job(), snapshot)
    assert "launcher: 2 lines\n\nlog: " in text
    assert "CalledProcessError" not in text
    by_itself = job(JobState.FAILED, reason="the launcher ended with status 1")
    assert "  CalledProcessError" in render_text(by_itself, snapshot)


def test_text_of_a_job_without_output_is_short() -> None:
    assert render_text(job(JobState.PENDING), LogSnapshot(), now=T + 3).splitlines() == [
        "[pending] digits · pool here · 2 ranks · 3.0 s · job 0abc",
        "waiting for the pool to accept it",
        "",
        "log: %jobs logs 0abc",
    ]


def test_many_ranks_stay_small_in_the_notebook() -> None:
    logview = LogView()
    for number in range(64):
        lines = "".join(f"{number} {line}\n" for line in range(400))
        logview.feed(number, 0, lines.encode())
    text = render_text(failed_job(), logview.snapshot())
    assert "rank 63: 400 lines" in text
    assert "63 399" not in text
    assert "1 399" in text  # the failing rank is shown whatever the number of ranks
    page = render_html(failed_job(), logview.snapshot())
    assert "63 399" in page
    assert "63 330\n" not in page


def test_secrets_are_hidden_in_errors_too() -> None:
    redact = LogView(redact=["<bad> batch"]).redactor
    view = JobView(failed_job(), redact=redact)
    assert "<bad> batch" not in json.dumps(view.get_state()["header"])
    assert "&lt;bad&gt; batch" not in view.static_bundle()["text/html"]
    assert "<bad> batch" not in view.static_bundle()["text/plain"]


def test_the_widget_brings_its_static_forms_along() -> None:
    view = JobView(job(), logs((0, "hello\n")))
    data, _ = view._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == view.model_id
    assert "hello" in data["text/plain"]
    assert "hello" in data["text/html"]
    assert data[JOB_MIME] == {"id": "0abc", "name": "digits", "pool": "here", "state": "running"}


def test_the_output_says_where_the_kernel_hides_what_the_server_may_not_know() -> None:
    view = JobView(job(), redact=LogView(redact=["hf_very_secret"]).redactor)
    assert view.static_bundle()[JOB_MIME]["hides"] is True
    assert "hf_very_secret" not in json.dumps(view.static_bundle())


def test_when_it_is_over_the_static_form_takes_the_place_of_the_widget(
    sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[tuple[str, dict[str, Any], bool]] = []

    class Publisher:
        def publish(self, data: dict[str, Any], *_: Any, **how: Any) -> None:
            place = how["transient"]["display_id"]
            published.append((place, data, how.get("update", False)))

    class Shell:
        display_pub = Publisher()

        @staticmethod
        def format(obj: Any, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
            data, metadata = obj._repr_mimebundle_()
            return data, metadata

    shell = Shell()
    shell.display_formatter = shell  # type: ignore[attr-defined]
    monkeypatch.setattr("IPython.core.interactiveshell.InteractiveShell.initialized", lambda: True)
    monkeypatch.setattr("IPython.core.interactiveshell.InteractiveShell.instance", lambda: shell)
    view = JobView(job(), logs((0, "one\n")))
    view.show()
    over = job(JobState.SUCCEEDED)
    view.finish(over, logs((0, "one\ntwo\n")))
    view.finish(over, logs((0, "one\ntwo\n")))
    first, last, again = published
    assert "application/vnd.jupyter.widget-view+json" in first[1]
    assert (first[0], first[2]) == (last[0], False)
    assert last[2]
    assert set(last[1]) == {JOB_MIME, "text/plain", "text/html"}
    assert first[1][JOB_MIME]["state"] == "running"
    assert last[1][JOB_MIME]["state"] == "succeeded"
    assert last[1]["text/plain"].startswith("[succeeded]")
    assert "two" in last[1]["text/html"]
    assert again[1] == last[1]
    assert view.comm is None
    assert sent[-1]["state"]["header"]["state"] == "succeeded"
