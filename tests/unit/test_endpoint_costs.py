"""What requests cost: what replicas did, by what the router counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.cost.money import Money, money
from jupyter_aiinfra.endpoint import Endpoint, EndpointVersion, Package, Replica, Share
from jupyter_aiinfra.engine.endpointcosts import EndpointCost, EndpointCosting
from jupyter_aiinfra.engine.endpointviews import EndpointView
from jupyter_aiinfra.routing.status import EndpointStatus, Tally
from jupyter_aiinfra.server.endpointmetrics import ENDPOINT_METRICS, endpoint_exposition
from jupyter_aiinfra.server.endpointwire import item_of
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from jupyter_aiinfra.store.endpoints import Whole
from tests.support.spending import DAY, HOUR, Spender

START = 1_790_000_000 // DAY * DAY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(Settings(home=tmp_path))
    yield made
    made.close()


@pytest.fixture
def spender(store: Store) -> Spender:
    made = Spender(store)
    made.attach("lab", at=START, gpus=2, amount="2.00")
    made.attach("free", at=START, gpus=2, amount=None)
    return made


def deployed(store: Store, replicas: dict[str, int], *, at: float = START) -> Whole:
    """Return an endpoint whose replicas were these jobs, each of a version."""
    package = Package(name="m", digest="d", size_bytes=1, files=())
    numbers = sorted(set(replicas.values()))
    versions = [
        EndpointVersion(endpoint="e1", number=number, package=package, pool="lab", created_at=at)
        for number in numbers
    ]
    endpoint = Endpoint(
        id="e1",
        name="digits",
        router="r",
        newest=max(numbers),
        traffic=(Share(version=1, weight=100.0),),
        created_at=at,
    )
    store.add_endpoint(endpoint, versions[0])
    rows = [Replica(id=job, endpoint="e1", version=number) for job, number in replicas.items()]
    assert store.change_endpoint(endpoint, versions=versions[1:], replicas=rows) is not None
    return store.whole_endpoint("e1")


def status(tallies: dict[str, Tally], *, since: float = START) -> EndpointStatus:
    return EndpointStatus(counted_since=since, tallies=tallies)


def tally(*hours: tuple[int, int]) -> Tally:
    return Tally(since=START, requests=sum(count for _, count in hours), hours=hours)


def costing(store: Store, now: float) -> EndpointCosting:
    return EndpointCosting(store, Ledger(store), clock=lambda: now)


def text(parts: tuple[Money, ...] | None) -> str | None:
    return None if parts is None else " + ".join(each.text for each in parts)


def test_a_thousand_requests_cost_what_all_replicas_did(store: Store, spender: Spender) -> None:
    one = spender.job("a", "lab", at=START, hours=3)
    two = spender.job("b", "lab", at=START + 3 * HOUR, hours=1)
    new = spender.job("c", "lab", at=START + 4 * HOUR, hours=1)
    # Of somebody else.
    spender.job("d", "lab", at=START + 5 * HOUR, hours=5)
    whole = deployed(store, {one: 1, two: 1, new: 2})
    told = status({"1": tally((START, 3000), (START + HOUR, 1000)), "2": tally((START, 500))})
    found = costing(store, START + 10 * HOUR).of(whole, told)
    assert found.whole.all.cost == (money("10", "USD"),)
    assert found.whole.all.requests == 4500
    first = found.versions[1].all
    assert (text(first.cost), first.requests, text(first.per_thousand)) == ("$8.00", 4000, "$2.00")
    assert text(found.versions[2].all.per_thousand) == "$4.00"
    assert found.whole.all.reason == ""


def test_lately_is_of_full_hours(store: Store, spender: Spender) -> None:
    job = spender.job("a", "lab", at=START, hours=10)
    whole = deployed(store, {job: 1})
    hours = tuple((START + n * HOUR, 100 * (n + 1)) for n in range(10))
    made = costing(store, START + 10 * HOUR - 60)
    found = made.of(whole, status({"1": tally(*hours)}), window_seconds=2 * HOUR)
    lately = found.whole.window
    assert lately.since == START + 7 * HOUR
    assert lately.requests == 800 + 900 + 1000
    # Three hours but for a minute, of $2.
    assert lately.cost == (money("2", "USD") * 3 - money("2", "USD") / 60,)
    assert found.whole.all.requests == 5500
    # A window before the deploy is the whole.
    found = made.of(whole, status({"1": tally(*hours)}), window_seconds=30 * DAY)
    assert found.whole.window == found.whole.all


def test_what_has_no_price_has_no_cost(store: Store, spender: Spender) -> None:
    one = spender.job("a", "lab", at=START, hours=1)
    two = spender.job("b", "free", at=START, hours=1)
    whole = deployed(store, {one: 1, two: 2})
    told = status({"1": tally((START, 10)), "2": tally((START, 10))})
    found = costing(store, START + 2 * HOUR).of(whole, told)
    assert text(found.versions[1].all.per_thousand) == "$200.00"
    assert found.versions[2].all.per_thousand is None
    assert "has no price" in found.versions[2].all.reason
    # A part of it is not the whole.
    assert found.whole.all.per_thousand is None
    assert "has no price" in found.whole.all.reason


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (None, "the router does not say"),
        (EndpointStatus(), "the router does not say"),
        (status({}), "there was no request"),
    ],
    ids=["no-router", "old-router", "none"],
)
def test_without_requests_none_has_a_cost(
    store: Store, spender: Spender, told: EndpointStatus | None, reason: str
) -> None:
    whole = deployed(store, {spender.job("a", "lab", at=START, hours=1): 1})
    found = costing(store, START + 2 * HOUR).of(whole, told)
    assert text(found.whole.all.cost) == "$2.00"
    assert found.whole.all.per_thousand is None
    assert reason in found.whole.all.reason


def test_what_never_ran_has_no_cost(store: Store, spender: Spender) -> None:
    whole = deployed(store, {"1never": 1})
    found = costing(store, START + 2 * HOUR).of(whole, status({"1": tally((START, 3))}))
    assert found.whole.all.per_thousand is None
    assert "nothing is known" in found.whole.all.reason


def test_who_lost_count_begins_anew(store: Store, spender: Spender) -> None:
    whole = deployed(store, {spender.job("a", "lab", at=START, hours=4): 1})
    since = START + 2 * HOUR
    told = status({"1": Tally(since=since, requests=2000)}, since=since)
    found = costing(store, START + 5 * HOUR).of(whole, told).whole.all
    assert (found.since, text(found.cost), text(found.per_thousand)) == (since, "$4.00", "$2.00")


def test_it_is_not_computed_with_each_look(
    store: Store, spender: Spender, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = deployed(store, {spender.job("a", "lab", at=START, hours=1): 1})
    now = [START + 2.0 * HOUR]
    made = EndpointCosting(store, Ledger(store), clock=lambda: now[0])
    asked: list[str] = []
    jobs = store.replica_jobs

    def counting(endpoint: str) -> object:
        asked.append(endpoint)
        return jobs(endpoint)

    monkeypatch.setattr(store, "replica_jobs", counting)
    for _ in range(3):
        made.of(whole, status({}))
    assert len(asked) == 1
    now[0] += 16.0
    made.of(whole, status({}))
    assert len(asked) == 2


def view(whole: Whole, cost: EndpointCost) -> EndpointView:
    return EndpointView(whole=whole, cost=cost)


def test_prometheus_and_pages_are_told(store: Store, spender: Spender) -> None:
    one = spender.job("a", "lab", at=START, hours=1)
    two = spender.job("b", "free", at=START, hours=1)
    whole = deployed(store, {one: 1, two: 2})
    told = status({"1": tally((START, 4000)), "2": tally((START, 1))})
    found = view(whole, costing(store, START + 2 * HOUR).of(whole, told))
    text = endpoint_exposition([found])
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    version = 'endpoint="digits",version="1"'
    assert f'aiinfra_endpoint_cost_total{{{version},currency="USD"}} 2' in lines
    assert f"aiinfra_endpoint_requests_total{{{version}}} 4000" in lines
    thousand = f"aiinfra_endpoint_cost_per_1000_requests{{{version},currency"
    assert f'{thousand}="USD",window="all"}} 0.5' in lines
    assert f'{thousand}="USD",window="1d"}} 0.5' in lines
    # What has no price has no line.
    assert [line for line in lines if 'version="2"' in line] == [
        'aiinfra_endpoint_requests_total{endpoint="digits",version="2"} 1'
    ]
    named = {line.split("{")[0] for line in lines}
    assert named == ENDPOINT_METRICS
    item = item_of(found)
    first, second = item.versions
    assert first.cost is not None
    assert first.cost.all.per_thousand is not None
    assert [each.amount for each in first.cost.all.per_thousand] == ["0.5"]
    assert second.cost is not None
    assert second.cost.all.per_thousand is None
    assert "has no price" in second.cost.all.reason
    assert item.cost is not None
    assert item.cost.all.cost == ()
    assert endpoint_exposition([EndpointView(whole=whole)]) == ""
