"""What the ledger does, whatever the store is kept in: the unit tests run it on SQLite, the
integration tests on PostgreSQL. Time is pretended.
"""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import pytest

from jupyter_aiinfra.cost.bill import Scope
from jupyter_aiinfra.cost.catalog import Terms
from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.cost.meter import HOUR, SECOND_US
from jupyter_aiinfra.cost.money import Money, money
from jupyter_aiinfra.model import (
    Handle,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Observation,
    Origin,
    Placement,
    PoolRecord,
    Submitter,
)
from jupyter_aiinfra.store import Store, charging, leasing, records, rows
from jupyter_aiinfra.store.charging import Held
from jupyter_aiinfra.store.readings import ChunkKey
from jupyter_aiinfra.telemetry.packing import Bucket, Chunk, pack

__all__ = ["CostSuite", "Wall", "spec"]

BEGIN = 1_793_494_800.0  # a full hour of a Sunday on which clocks go back
POOL, NODE = "lab", "gpu1"


class Wall:
    """The clock of everybody who writes facts."""

    def __init__(self) -> None:
        self.now = BEGIN

    def time(self) -> float:
        return self.now


def spec(name: str = "digits", *, gpus: int = 1, share: bool = False, **changes: Any) -> JobSpec:
    return JobSpec(
        kind=JobKind.TRAIN, name=name, argv=("python",), gpus=gpus, share=share, **changes
    )


def usd(text: str | Fraction) -> tuple[Money, ...]:
    return (money(text, "USD"),)


class CostSuite:
    """Subclasses give the fixture `open_again`, which opens the same database."""

    @pytest.fixture
    def wall(self, monkeypatch: pytest.MonkeyPatch) -> Wall:
        wall = Wall()
        for module in (charging, leasing, records, rows):
            monkeypatch.setattr(module, "time", wall)
        return wall

    @pytest.fixture
    def store(self, open_again: Callable[[], Store], wall: Wall) -> Store:
        del wall
        store = open_again()
        store.add_pool(PoolRecord(name=POOL, kind="ssh"))
        return store

    @pytest.fixture
    def ledger(self, store: Store, wall: Wall) -> Ledger:
        ledger = Ledger(store, wall=wall.time)
        store.note_capacity(POOL, {NODE: [Held("a", "H100"), Held("b", "H100")]}, at=wall.now)
        ledger.set_price(POOL, Terms(amount="3.60"))  # a tenth of a cent a second
        return ledger

    def launch(
        self, store: Store, wall: Wall, job_id: str, *gpus: str, share: bool = False, **changes: Any
    ) -> Job:
        job = Job(
            id=job_id,
            pool=POOL,
            spec=spec(gpus=len(gpus), share=share, **changes),
            placement=(Placement(node=NODE, gpus=gpus),),
            created_at=wall.now,
        )
        assert store.add_placed(job)
        return store.get_job(job_id)

    def end(
        self,
        store: Store,
        wall: Wall,
        job_id: str,
        *,
        ago: float = 0.0,
        lasted: float | None = None,
    ) -> None:
        seen = Observation(
            state=JobState.SUCCEEDED,
            seen_at=wall.now,
            # By the clock of its node, which is a year behind: it counts for nothing.
            ended_at=wall.now - ago - 365 * 86400,
            ended_ago_seconds=ago,
            lasted_seconds=lasted,
        )
        assert store.advance(job_id, expected=store.get_job(job_id).version, seen=seen)

    def by(
        self, ledger: Ledger, wall: Wall, what: Any = "job", **narrowed: str
    ) -> Mapping[str | None, tuple[Money, ...]]:
        ledger.settle()
        bill = ledger.bill(
            start=BEGIN - HOUR, end=wall.now + HOUR, by=what, scope=Scope(**narrowed)
        )
        return {"nobody" if line.unallocated else line.key: line.cost for line in bill.lines}

    # --- what jobs cost

    def test_a_job_costs_what_it_holds_by_the_second(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        self.launch(store, wall, "job1", "a")
        wall.now += 100
        cost = ledger.job_cost("job1")
        assert (cost.cost, cost.allocated_seconds) == (usd("0.10"), 100.0)
        assert cost.rate == money("3.60")
        wall.now += 400
        self.end(store, wall, "job1")
        wall.now += 10_000
        cost = ledger.job_cost("job1")
        assert (cost.cost, cost.rate) == (usd("0.50"), None)
        assert ledger.spend(Scope(job="job1")) == usd("0.50")

    @pytest.mark.parametrize("set_by", [-3600.0, -100.0, 0.0, 30.0, 100.0, 3 * 3600.0])
    def test_a_clock_that_is_set_while_a_job_runs_changes_no_cost(
        self, store: Store, ledger: Ledger, wall: Wall, set_by: float
    ) -> None:
        self.launch(store, wall, "job1", "a")
        wall.now += 120  # its environment is built, and it is sent
        assert store.bind("job1", handle=Handle(kind="ssh", data={}))
        wall.now += 1000
        wall.now += set_by
        wall.now += 4000
        self.end(store, wall, "job1", ago=10.0, lasted=4990.0)
        wall.now += 86_400
        cost = ledger.job_cost("job1")
        # To the minute of slack that two clocks have, and what came before the job had begun.
        assert abs(cost.allocated_seconds - (120 + 4990)) <= (120 if set_by else 0)
        parts = self.by(ledger, wall)
        assert parts["job1"] == cost.cost

    def test_jobs_and_nobody_are_the_pools_bill(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        self.launch(store, wall, "job1", "a")
        wall.now += 1234.5
        self.launch(store, wall, "job2", "b")
        wall.now += 7000
        self.end(store, wall, "job1")
        wall.now += 2 * 86400
        parts = self.by(ledger, wall)
        seconds = Fraction(2 * 86400) + 7000 + Fraction("1234.5")
        assert sum(each[0].amount for each in parts.values()) == 2 * seconds / 1000
        assert parts["job1"] == usd(Fraction("8.2345"))
        assert self.by(ledger, wall, "pool")[POOL] == usd(
            parts["job1"][0].amount + parts["job2"][0].amount
        )

    def test_two_that_share_a_gpu_pay_for_it_together(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        self.launch(store, wall, "job1", "a", share=True)
        self.launch(store, wall, "job2", "a", share=True)
        wall.now += 1000
        assert ledger.job_cost("job1").cost == usd("0.50")
        assert ledger.job_cost("job1").rate == money("1.80")
        assert self.by(ledger, wall)["job2"] == usd("0.50")

    def test_a_queued_job_costs_nothing_until_it_is_let_in(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        store.add_job(Job(id="job1", pool=POOL, spec=spec(), state=JobState.QUEUED))
        wall.now += 5000
        assert ledger.job_cost("job1").cost == ()
        placed = (Placement(node=NODE, gpus=("b",)),)
        me = Submitter(host="here", since=wall.now)
        assert store.claim("job1", expected=0, placement=placed, shared=False, submitter=me)
        wall.now += 10
        assert ledger.job_cost("job1").cost == usd("0.01")

    def test_a_launch_that_fails_costs_what_it_held(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        self.launch(store, wall, "job1", "a")
        wall.now += 60
        store.fail_pending("job1", reason="no disk")
        wall.now += 60
        assert ledger.job_cost("job1").cost == usd("0.06")
        self.launch(store, wall, "job2", "a")
        wall.now += 60
        store.fail_pending("job2", reason="it went silent", keep_leases=True)
        wall.now += 60  # nobody else could have it
        store.release("job2")
        assert ledger.job_cost("job2").cost == usd("0.12")

    def test_the_cost_of_a_job_outlives_its_record(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        self.launch(store, wall, "job1", "a", tags={"project": "vision"})
        wall.now += 100
        self.end(store, wall, "job1")
        store.remove_job("job1")
        assert ledger.job_cost("job1").cost == usd("0.10")
        assert self.by(ledger, wall, "project")["vision"] == usd("0.10")
        assert ledger.charged("job1").name == "digits"

    def test_a_price_that_nobody_has_said_is_unknown_and_not_zero(
        self, store: Store, wall: Wall
    ) -> None:
        ledger = Ledger(store, wall=wall.time)
        store.note_capacity(POOL, {NODE: [Held("a")]}, at=wall.now)
        self.launch(store, wall, "job1", "a")
        wall.now += 100
        cost = ledger.job_cost("job1")
        assert (cost.cost, cost.unpriced_seconds, cost.known) == ((), 100.0, False)
        assert ledger.spend(Scope(job="job1")) == ()
        assert self.by(ledger, wall)["job1"] == ()
        # Said afterwards, from an earlier time on, it counts from then.
        ledger.set_price(POOL, Terms(amount="3.60"), since=BEGIN + 40)
        assert ledger.job_cost("job1").cost == usd("0.06")
        assert self.by(ledger, wall)["job1"] == usd("0.06")

    def test_a_node_without_gpus_has_a_price_of_its_own(self, store: Store, wall: Wall) -> None:
        ledger = Ledger(store, wall=wall.time)
        store.note_capacity(POOL, {NODE: [Held("")]}, at=wall.now)
        ledger.set_price(POOL, Terms(amount="3.60", unit="node-hour", currency="EUR"))
        self.launch(store, wall, "job1")
        wall.now += 100
        cost = ledger.job_cost("job1")
        assert cost.cost == (money("0.10", "EUR"),)
        assert (cost.node_seconds, cost.allocated_seconds) == (100.0, 0.0)
        assert self.by(ledger, wall)["job1"] == (money("0.10", "EUR"),)

    def test_two_currencies_are_told_side_by_side(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        self.launch(store, wall, "job1", "a")
        wall.now += 100
        ledger.set_price(POOL, Terms(amount="7.20", currency="EUR"))
        wall.now += 100
        both = (money("0.20", "EUR"), money("0.10", "USD"))
        assert ledger.job_cost("job1").cost == both
        assert self.by(ledger, wall)["job1"] == both

    # --- what is learnt late

    def test_a_node_that_was_silent_for_hours_is_set_right(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        self.launch(store, wall, "job1", "a")
        for _ in range(6):
            wall.now += HOUR
            ledger.settle()
        assert self.by(ledger, wall)["job1"] == usd(Fraction(6 * HOUR, 1000))
        # It had ended five and a half hours ago, and somebody else could have had its GPU.
        self.end(store, wall, "job1", ago=5.5 * HOUR)
        assert self.by(ledger, wall)["job1"] == usd(Fraction(HOUR // 2, 1000))
        parts = self.by(ledger, wall)
        assert sum(each[0].amount for each in parts.values()) == Fraction(2 * 6 * HOUR, 1000)
        assert ledger.spend(Scope(pool=POOL)) == usd(Fraction(HOUR // 2, 1000))

    def test_clocks_that_are_set_back_cost_nobody_anything(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        self.launch(store, wall, "job1", "a")
        wall.now += 1000
        ledger.settle()
        wall.now -= 1500
        self.end(store, wall, "job1")
        wall.now += 5000
        assert ledger.job_cost("job1").cost in ((), usd("0"))
        parts = self.by(ledger, wall)
        assert "job1" not in parts
        assert parts["nobody"] == usd(Fraction(2 * 4500, 1000))

    def test_weeks_without_anybody_are_made_up_for(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        self.launch(store, wall, "job1", "a")
        wall.now += 20 * 86400 + 7
        # Before anybody settles, too.
        assert ledger.spend(Scope(pool=POOL)) == usd(Fraction(20 * 86400 + 7, 1000))
        assert self.by(ledger, wall)["job1"] == usd(Fraction(20 * 86400 + 7, 1000))
        assert ledger.spend(Scope(pool=POOL)) == usd(Fraction(20 * 86400 + 7, 1000))
        days = self.by(ledger, wall, "day")
        assert len(days) == 21
        assert sum(each[0].amount for each in days.values()) == 2 * Fraction(20 * 86400 + 7, 1000)

    # --- who pays

    def test_it_is_told_by_whatever_is_asked_for(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        ada = Origin(user="ada", notebook="/home/ada/digits.ipynb")
        tags = {"project": "vision", "team": "red", "cost-centre": "4711", "mood": "good"}
        self.launch(store, wall, "job1", "a", origin=ada, tags=tags)
        self.launch(store, wall, "job2", "b", origin=Origin(user="bob"))
        wall.now += 100
        wanted = usd("0.10")
        assert self.by(ledger, wall, "user") == {"ada": wanted, "bob": wanted}
        assert self.by(ledger, wall, "notebook") == {ada.notebook: wanted, None: wanted}
        assert self.by(ledger, wall, "team") == {"red": wanted, None: wanted}
        assert self.by(ledger, wall, "cost_centre", user="ada") == {"4711": wanted}
        assert self.by(ledger, wall, "job", project="vision") == {"job1": wanted}
        assert ledger.spend(Scope(user="bob", pool=POOL)) == wanted
        assert ledger.spend(Scope(user="carol")) == ()
        assert store.tag_job("job2", {"project": "speech"})
        assert self.by(ledger, wall, "project") == {"vision": wanted, "speech": wanted}
        assert not store.tag_job("job3", {})

    def test_a_clock_that_is_set_back_loses_no_hour(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        wall.now += 10 * HOUR
        ledger.settle()
        wall.now -= 5 * HOUR
        self.launch(store, wall, "job1", "a")
        wall.now += HOUR + 60
        self.end(store, wall, "job1")
        ledger.settle()
        wall.now = BEGIN + 12 * HOUR
        ledger.settle()
        bill = ledger.bill(start=BEGIN, end=wall.now)
        assert bill.total.allocated_seconds == 2 * 12 * HOUR
        assert ledger.job_cost("job1").allocated_seconds == HOUR + 60

    # --- how much of it was used

    def test_the_idle_part_is_split_off(self, store: Store, ledger: Ledger, wall: Wall) -> None:
        self.launch(store, wall, "job1", "a")
        chunk = Chunk()
        column = chunk.column("a", "utilization")
        for minute in range(10):
            column[minute] = Bucket(25, 0, 100, 60)
        key = ChunkKey(POOL, NODE, 60, int(BEGIN))
        store.change_chunks([key], lambda _: {key: pack(chunk)})
        wall.now += 1200
        ledger.settle()
        (line, _) = ledger.bill(start=BEGIN, end=wall.now).lines
        assert (line.allocated_seconds, line.used_seconds, line.idle_seconds) == (1200, 150, 450)
        assert (line.used_cost, line.idle_cost) == (usd("0.15"), usd("0.45"))
        assert ledger.job_cost("job1").used_seconds == 150

    # --- many at once

    def test_many_processes_meter_once(
        self, store: Store, ledger: Ledger, wall: Wall, open_again: Callable[[], Store]
    ) -> None:
        self.launch(store, wall, "job1", "a")
        wall.now += 5 * HOUR
        ledgers = [Ledger(open_again(), wall=wall.time) for _ in range(4)]
        barrier = threading.Barrier(len(ledgers))

        def settle(each: Ledger) -> None:
            barrier.wait()
            each.settle()

        threads = [threading.Thread(target=settle, args=[each]) for each in ledgers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert self.by(ledger, wall)["job1"] == usd(Fraction(5 * HOUR, 1000))

    def test_what_was_computed_of_old_facts_is_refused(
        self, store: Store, ledger: Ledger, wall: Wall
    ) -> None:
        del ledger
        (meter,) = store.meters()
        hour = int(BEGIN)
        assert not store.settle(
            POOL,
            expected=meter.version - 1,
            start=hour,
            end=hour + HOUR,
            settled=hour,
            rows=[],
            at=wall.now,
        )
        self.launch(store, wall, "job1", "a")
        assert store.meters()[0].version > meter.version

    # --- random lives

    @pytest.mark.parametrize("seed", range(6))
    def test_whatever_happens_the_books_balance(
        self,
        store: Store,
        ledger: Ledger,
        wall: Wall,
        open_again: Callable[[], Store],
        seed: int,
    ) -> None:
        """Jobs come and go, some ends are learnt late; prices change; several settle now and then.

        The truth is kept beside it, as plain intervals, and billed second by second of them.
        """
        rng = random.Random(seed)  # noqa: S311 - a life, not a secret
        ledgers = [ledger, Ledger(open_again(), wall=wall.time)]
        running: dict[str, tuple[str, float]] = {}
        truth: list[tuple[str, str, float, float]] = []
        prices = [(BEGIN, Fraction("3.60"))]
        number = 0
        for _ in range(40):
            wall.now += rng.choice([1, 17, 600, 3600, 5400])
            what = rng.random()
            free = sorted({"a", "b"} - {gpu for gpu, _ in running.values()})
            if what < 0.4 and free:
                number += 1
                gpu = rng.choice(free)
                self.launch(store, wall, f"job{number}", gpu)
                running[f"job{number}"] = gpu, wall.now
            elif what < 0.7 and running:
                job = rng.choice(sorted(running))
                gpu, since = running.pop(job)
                ago = rng.choice([0.0, 0.0, 90.0, 4 * HOUR])
                self.end(store, wall, job, ago=ago)
                truth.append((job, gpu, since, max(since, wall.now - ago)))
            elif what < 0.8:
                prices.append((wall.now, Fraction(rng.choice(["1.80", "7.20", "0.36"]))))
                ledger.set_price(POOL, Terms(amount=str(prices[-1][1])))
            else:
                rng.choice(ledgers).settle(older_than=rng.choice([0.0, 3600.0]))
        wall.now += 30
        truth += [(job, gpu, since, wall.now) for job, (gpu, since) in running.items()]
        wanted: dict[str | None, Fraction] = defaultdict(Fraction)
        for job, _gpu, since, until in truth:
            wanted[job] += _cost(prices, since, until)
        whole = 2 * _cost(prices, BEGIN, wall.now)
        found = self.by(rng.choice(ledgers), wall)
        for paid, cost in wanted.items():
            assert (found[paid][0].amount if paid in found else Fraction(0)) == cost
            total = ledger.job_cost(str(paid)).cost
            assert (total[0].amount if total else Fraction(0)) == cost
        assert sum(each[0].amount for each in found.values()) == whole
        assert found["nobody"][0].amount == whole - sum(wanted.values())
        assert ledger.spend(Scope(pool=POOL))[0].amount == sum(wanted.values())


def _cost(prices: list[tuple[float, Fraction]], since: float, until: float) -> Fraction:
    bounds = [*(at for at, _ in prices[1:]), float("inf")]
    return sum(
        (
            Fraction(max(0, round((min(until, end) - max(since, at)) * SECOND_US)), SECOND_US)
            * rate
            / HOUR
            for (at, rate), end in zip(prices, bounds, strict=True)
        ),
        Fraction(0),
    )
