"""What a job costs, in its cell: when it is read, what crosses to the page, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ipywidgets import Widget

from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.engine.costing import Costing
from jupyter_aiinfra.errors import StoreError
from jupyter_aiinfra.logview import LogSnapshot
from jupyter_aiinfra.magics.jobcost import JobCosts
from jupyter_aiinfra.model import Job, JobState, Notice, Observation
from jupyter_aiinfra.widgets.card import describe
from jupyter_aiinfra.widgets.costtext import cost_text
from jupyter_aiinfra.widgets.costwire import Amount, JobCostItem, PriceItem
from jupyter_aiinfra.widgets.job import JobView, render_html, render_text
from jupyter_aiinfra.widgets.wire import header_wire
from tests.support.bench import wait_until
from tests.support.engines import EMPTY, POOL, House, a_spec

T = 1_700_000_000.0


def dollars(text: str, amount: str = "") -> Amount:
    return Amount(amount=amount or text.lstrip("$"), currency="USD", text=text)


PRICE = PriceItem(
    price=dollars("$2.49"), unit="gpu-hour", text="$2.49 a GPU-hour, 12 days old", since=None
)


def an_item(**changes: Any) -> JobCostItem:
    values: dict[str, Any] = {
        "job": "0abc",
        "at": T,
        "cost": (dollars("$2.49"),),
        "hourly": dollars("$4.98"),
        "step_cost": None,
        "projected": None,
        "finish_at": None,
        "allocated_seconds": 3600.0,
        "used_seconds": 0.0,
        "idle_seconds": 0.0,
        "node_seconds": 0.0,
        "unpriced_seconds": 0.0,
        "price": PRICE,
        **changes,
    }
    return JobCostItem(**values)


def a_job(state: JobState = JobState.RUNNING, **changes: Any) -> Job:
    seen = Observation(state=state, seen_at=T, started_at=T)
    return Job(id="0abc", pool=POOL, spec=a_spec(), state=state, seen=seen, **changes)


# --- when it is read -----------------------------------------------------------------------------


@pytest.fixture
def session(house: House) -> Session:
    return house.session()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Reads:
    """Counts how often the cost is asked for, and may have that fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.fails: list[Exception] = []
        real = Costing.now

        def now(costing: Costing, jobs: Any) -> Any:
            self.count += 1
            if self.fails:
                raise self.fails.pop(0)
            return real(costing, jobs)

        monkeypatch.setattr(Costing, "now", now)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def settled(costs: JobCosts) -> None:
    wait_until(lambda: costs._reading is None or costs._reading.done())


def test_it_is_read_with_each_state_and_now_and_then(
    house: House, session: Session, reads: Reads
) -> None:
    session.engine.set_price(POOL, PriceOptions(price="3600/node-h"))
    job = session.run(session.engine.launch(POOL, a_spec(), EMPTY))
    house.cluster.begin(job.id)
    clock = Clock()
    costs = JobCosts(session, clock=clock)
    assert costs.newest is None
    for _ in range(5):
        costs.follow(job)
        settled(costs)
    assert reads.count == 1
    assert costs.newest is not None
    assert costs.newest.job == job.id
    clock.now += 20
    for _ in range(3):
        costs.follow(job)
        settled(costs)
    assert reads.count == 2
    house.cluster.end(job.id, JobState.SUCCEEDED)
    over = session.run(session.engine.refresh(job.id))
    for _ in range(3):
        clock.now += 100
        costs.follow(over)
        settled(costs)
    assert reads.count == 3
    costs.last(over)
    assert costs.newest is not None
    assert costs.newest.hourly is None


def test_what_goes_wrong_with_it_is_no_trouble_of_the_job(
    session: Session, reads: Reads, caplog: pytest.LogCaptureFixture
) -> None:
    job = session.run(session.engine.launch(POOL, a_spec(), EMPTY))
    costs = JobCosts(session)
    reads.fails = [StoreError("the database is away"), RuntimeError("odd")]
    costs.last(job)
    assert costs.newest is None
    assert caplog.text == ""
    costs.last(job)
    assert "odd" in caplog.text
    costs.last(job)
    assert costs.newest is not None


# --- in words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "running", "expected"),
    [
        (None, True, ""),
        (
            an_item(step_cost=dollars("$0.0021")),
            True,
            "$2.49 so far · $4.98/h · $0.0021 a step · price $2.49 a GPU-hour, 12 days old",
        ),
        (
            an_item(hourly=None, used_seconds=2700.0, idle_seconds=900.0, price=None),
            False,
            "$2.49 in all · 25 % idle, about $0.62",
        ),
        (
            an_item(cost=(Amount(amount="1", currency="EUR", text="€1.00"), dollars("$2.00"))),
            False,
            "€1.00 + $2.00 in all · price $2.49 a GPU-hour, 12 days old",
        ),
        (
            an_item(cost=(), hourly=None, price=None, reason="pool here has no price"),
            True,
            "cost n/a: pool here has no price",
        ),
        (an_item(cost=(), hourly=None), True, ""),
        (
            an_item(unpriced_seconds=9.0, reason="no price before noon", price=None),
            False,
            "$2.49 in all, without what has no price (no price before noon)",
        ),
    ],
)
def test_a_line_says_what_is_known_and_no_more(
    item: JobCostItem | None, running: bool, expected: str
) -> None:
    assert cost_text(item, running=running) == expected


# --- in the cell ---------------------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    messages: list[dict[str, Any]] = []

    def send(_widget: Widget, msg: dict[str, Any], buffers: Any = None) -> None:
        messages.append(msg)

    monkeypatch.setattr(Widget, "_send", send)
    yield messages
    Widget.close_all()


def test_the_cost_crosses_when_it_is_new(sent: list[dict[str, Any]]) -> None:
    view = JobView(a_job(), LogSnapshot())
    assert view.get_state()["cost"] == {}
    item = an_item()
    for _ in range(2):
        view.update(a_job(), LogSnapshot(), cost=item)
    view.update(a_job(), LogSnapshot())
    told = [each["state"]["cost"] for each in sent if "cost" in each.get("state", {})]
    assert len(told) == 1
    (cost,) = told[0]["cost"]
    assert cost == {"amount": "2.49", "currency": "USD", "text": "$2.49"}
    assert told[0]["hourly"]["amount"] == "4.98"


def test_the_last_cost_stays_as_text_in_the_notebook() -> None:
    view = JobView(a_job(), LogSnapshot())
    view.update(a_job(), LogSnapshot(), cost=an_item())
    view.finish(a_job(JobState.SUCCEEDED), LogSnapshot(), cost=an_item(at=T + 5, hourly=None))
    kept = view.static_bundle()
    assert "$2.49 in all" in kept["text/plain"]
    assert '<div class="aiinfra-cost">$2.49 in all · price' in kept["text/html"]
    view.finish(a_job(JobState.SUCCEEDED), LogSnapshot())
    assert "$2.49 in all" in view.static_bundle()["text/plain"]


def test_nothing_is_said_of_a_cost_that_nobody_has_read() -> None:
    for form in (render_html, render_text):
        assert "cost" not in form(a_job(), LogSnapshot()).partition("</style>")[2]


# --- what a budget says --------------------------------------------------------------------------


def a_notice(kind: Any = "warning") -> Notice:
    return Notice(kind=kind, text="80 % of <budget> is spent", by="b1", at=T)


def test_a_notice_is_told_by_itself_and_stays_in_the_notebook() -> None:
    job = a_job(notice=a_notice())
    card = describe(job, note="interrupted")
    assert (card.message, card.said) == ("interrupted", "interrupted; 80 % of <budget> is spent")
    header = header_wire(card)
    assert header["message"] == "interrupted"
    assert header["notice"] == {
        "kind": "warning",
        "text": "80 % of <budget> is spent",
        "by": "b1",
        "at": T,
        "until": None,
        "grace_seconds": None,
    }
    page = render_html(job, LogSnapshot())
    assert '<div class="aiinfra-notice">80 % of &lt;budget&gt; is spent</div>' in page
    assert "80 % of <budget> is spent" in render_text(job, LogSnapshot())


@pytest.mark.parametrize(
    ("state", "kind", "told"),
    [
        (JobState.RUNNING, "question", True),
        (JobState.SUCCEEDED, "warning", False),
        (JobState.CANCELLED, "stop", True),
    ],
)
def test_of_a_job_that_is_over_only_its_stop_is_told(
    state: JobState, kind: str, told: bool
) -> None:
    header = header_wire(describe(a_job(state, notice=a_notice(kind))))
    assert (header["notice"] is not None) is told


def test_why_a_job_was_stopped_is_said_once() -> None:
    notice = a_notice("stop")
    seen = Observation(state=JobState.CANCELLED, seen_at=T, started_at=T, reason=notice.text)
    job = Job(
        id="0abc",
        pool=POOL,
        spec=a_spec(),
        state=JobState.CANCELLED,
        seen=seen,
        notice=notice,
    )
    assert describe(job).said == notice.text
    assert render_text(job, LogSnapshot()).count(notice.text) == 1
