"""Budgets and the idle policy as they act on the record: once, whoever looks, and as it is said."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import BudgetSpent, NotFound, UsageError
from jupyter_aiinfra.governance import make_budget
from jupyter_aiinfra.model import (
    Budget,
    Decision,
    Desired,
    IdleRule,
    Job,
    JobState,
    Observation,
    Placement,
)
from jupyter_aiinfra.telemetry.rollup import Rollups
from jupyter_aiinfra.telemetry.sample import (
    GpuReading,
    NodeReading,
    ProcessReading,
    Sample,
    sample_line,
)
from jupyter_aiinfra.telemetry.sampler import sample_steps
from tests.support.engines import EMPTY, POOL, House, a_spec

HOURLY = "3600usd/node-h"  # a dollar a second


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


async def priced(house: House, price: str = HOURLY) -> Engine:
    engine = house.attached()
    await engine.nodes(POOL)
    engine.set_price(POOL, PriceOptions(price=price), since=time.time() - 86400)
    return engine


async def running(engine: Engine, house: House, *, hours_ago: float = 0.0, **spec: Any) -> Job:
    """Launch a job that has held its node for some time already."""
    job = await engine.launch(POOL, a_spec(**spec), EMPTY)
    house.cluster.begin(job.id)
    if hours_ago:
        _since(engine, job.id, time.time() - hours_ago * 3600)
    return await engine.refresh(job.id)


def _since(engine: Engine, job_id: str, at: float) -> None:
    from sqlalchemy import update

    from jupyter_aiinfra.store.meters import touch
    from jupyter_aiinfra.store.schema import allocations, capacity

    with engine.store._database.write() as connection:
        us = round(at * 1e6)
        for table, where in ((allocations, allocations.c.job == job_id), (capacity, True)):
            connection.execute(update(table).where(where).values(since=us))  # type: ignore[arg-type]
        touch(connection, POOL, us)


def a_budget(amount: str = "10usd", **asked: object) -> Budget:
    words: dict[str, object] = {"scope": "pool", "subject": POOL, "now": time.time()}
    return make_budget(amount, **(words | asked))  # type: ignore[arg-type]


def kinds(engine: Engine, subject: str) -> list[str]:
    return [event.kind for event in engine.store.events(subject=subject)]


# --- a budget that is spent ----------------------------------------------------------------------


async def test_a_spent_budget_stops_its_jobs_once_with_time_to_save(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, hours_ago=1)
    other = house.engine()
    budget = engine.governor.set_budget(a_budget(period="total"))
    await engine.govern()
    await other.govern()
    now = engine.store.get_job(job.id)
    assert now.desired is Desired.STOP
    assert now.notice is not None
    assert (now.notice.kind, now.notice.by, now.notice.grace_seconds) == ("stop", budget.id, 120.0)
    stops = [each for each in engine.store.decisions(by=budget.id) if each.kind == "stop"]
    assert [each.job for each in stops] == [job.id]
    assert engine.governor.view(budget.id).decided_at == now.notice.at
    assert kinds(engine, job.id).count("job.notice") == 1
    assert house.cluster.jobs[job.id].told_to_stop


async def test_who_is_named_for_it_is_told_once_whatever_the_number_of_jobs(house: House) -> None:
    engine = await priced(house)
    for _ in range(2):
        await running(engine, house, hours_ago=1)
    engine.governor._settings = dataclasses.replace(
        engine.settings, notify_budgets=("team", "boss")
    )
    budget = engine.governor.set_budget(a_budget(period="total"))
    await engine.govern()
    await engine.govern()
    assert len([one for one in engine.store.decisions(by=budget.id) if one.kind == "stop"]) == 2
    told = engine.store.notifications(subject=budget.id)
    stops = [each for each in told if each.detail["kind"] == "stop"]
    assert sorted(each.target for each in stops) == ["boss", "team"]
    assert len({each.key for each in told}) == len(told)
    assert all("$10.00" in each.detail["text"] for each in stops)


async def test_many_who_look_at_once_decide_once(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, hours_ago=1)
    engines = [house.engine() for _ in range(4)]
    engine.governor.set_budget(a_budget(period="total"))
    with ThreadPoolExecutor(4) as several:
        looks = [several.submit(asyncio.run, each.govern()) for each in engines]
        for look in looks:
            look.result()
    assert kinds(engine, job.id).count("job.notice") == 1
    assert kinds(engine, job.id).count("job.desired") == 1


async def test_its_end_says_why(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, hours_ago=1, budget="10 USD")
    await engine.govern()
    house.cluster.end(job.id, JobState.CANCELLED)
    over = await engine.refresh(job.id)
    assert over.seen is not None
    assert over.seen.reason is not None
    assert over.seen.reason.startswith(f"budget of $10.00 for job {job.id}: $3,600")
    last = engine.store.events(subject=job.id)[-1]
    assert (last.kind, last.detail["reason"]) == ("job.state", over.seen.reason)


async def test_who_dies_between_decision_and_stop_leaves_the_grace_on_record(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await priced(house)
    job = await running(engine, house, budget="100000 USD", grace_seconds=1.0)
    won = engine.store.decide(
        Decision(
            key="b/1/total/stop/x",
            by=f"b{job.id}",
            kind="stop",
            text="spent",
            at=time.time(),
            job=job.id,
            grace_seconds=77.0,
        ),
        revision=1,
    )
    assert won
    graces: list[float] = []
    pool_class = type(engine.pool(POOL))
    monkeypatch.setattr(
        pool_class, "cancel", lambda _self, _handle, *, grace: _noted(graces, grace)
    )
    await house.engine().refresh(job.id)
    assert graces[0] == 77.0


async def _noted(graces: list[float], grace: float) -> None:
    graces.append(grace)


async def test_it_is_enforced_by_whoever_observes_a_job(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, hours_ago=1, budget="10 USD")
    await house.engine().refresh(job.id)
    assert engine.store.get_job(job.id).desired is Desired.STOP


async def test_a_silent_pool_is_asked_again(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, hours_ago=1)
    engine.governor.set_budget(a_budget(period="total"))
    house.cluster.reachable = False
    await engine.govern()
    assert engine.store.get_job(job.id).desired is Desired.STOP
    house.cluster.reachable = True
    await engine.refresh(job.id)
    assert house.cluster.jobs[job.id].told_to_stop


async def test_a_user_s_own_cancel_is_not_taken_for_the_budget_s(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house)
    await engine.cancel(job.id)
    _since(engine, job.id, time.time() - 3600)
    engine.governor.set_budget(a_budget(period="total"))
    await engine.govern()
    assert engine.store.get_job(job.id).notice is None


# --- warnings, questions, snoozes ----------------------------------------------------------------


async def test_a_warning_is_on_the_job_and_taken_back_when_it_is_over(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, hours_ago=1)
    budget = engine.governor.set_budget(a_budget("4000usd", period="total"))
    await engine.govern()
    noted = engine.store.get_job(job.id).notice
    assert noted is not None
    assert noted.kind == "warning"
    assert re.search(r"\$3,6\d\d", noted.text), noted.text  # it costs a dollar a second
    engine.governor.set_budget(a_budget("9000usd", period="total"))
    assert engine.store.get_job(job.id).notice is None
    await engine.govern()
    assert engine.store.get_job(job.id).notice is None
    assert engine.store.get_budget(budget.id).revision == 2


async def test_a_question_is_answered_by_a_snooze(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, hours_ago=1)
    budget = engine.governor.set_budget(a_budget(period="total", action="ask"))
    await engine.govern()
    asked = engine.store.get_job(job.id).notice
    assert asked is not None
    assert asked.kind == "question"
    assert engine.governor.view(budget.id).asks_until == pytest.approx(time.time() + 900, abs=30)
    engine.governor.snooze(budget.id, seconds=3600, by="anna")
    assert engine.store.get_job(job.id).notice is None
    await engine.govern()
    view = engine.governor.view(budget.id)
    assert (view.verdict.snoozed, view.budget.snoozed_by, view.asks_until) == (True, "anna", None)
    assert engine.store.get_job(job.id).desired is Desired.RUN
    # Woken up, it asks anew.
    engine.governor.snooze(budget.id, seconds=None)
    await engine.govern()
    assert engine.store.get_job(job.id).notice is not None


async def test_a_question_nobody_answers_stops(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, hours_ago=1)
    engine.governor.set_budget(a_budget(period="total", action="ask", ask_seconds=0.0))
    await engine.govern()
    await engine.governor.look(now=time.time() + 1)
    assert engine.store.get_job(job.id).desired is Desired.STOP


async def test_a_question_answered_with_stop(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, hours_ago=1)
    budget = engine.governor.set_budget(a_budget(period="total", action="ask"))
    await engine.govern()
    assert await engine.governor.stop_jobs(budget.id, by="anna") == [job.id]
    stopped = engine.store.get_job(job.id)
    assert stopped.desired is Desired.STOP
    assert stopped.notice is not None
    assert "anna had its jobs stopped" in stopped.notice.text


# --- launches ------------------------------------------------------------------------------------


async def test_a_spent_budget_refuses_launches_and_writes_that_down(house: House) -> None:
    engine = await priced(house)
    await running(engine, house, hours_ago=1)
    budget = engine.governor.set_budget(a_budget(period="total", action="refuse"))
    with pytest.raises(BudgetSpent, match="no more jobs may begin") as caught:
        await engine.launch(POOL, a_spec("late"), EMPTY)
    assert f"%budget snooze {budget.id}" in caught.value.hint
    assert not caught.value.asks
    assert [job.spec.name for job in engine.store.list_jobs()] == ["digits"]
    assert [each.kind for each in engine.store.decisions(by=budget.id)] == ["refusal"]
    engine.governor.snooze(budget.id, seconds=60)
    await engine.launch(POOL, a_spec("late"), EMPTY)


async def test_one_that_asks_lets_who_is_told_to_begin(house: House) -> None:
    engine = await priced(house)
    await running(engine, house, hours_ago=1)
    engine.governor.set_budget(a_budget(period="total", action="ask"))
    with pytest.raises(BudgetSpent) as caught:
        await engine.launch(POOL, a_spec("late"), EMPTY)
    assert caught.value.asks
    await engine.launch(POOL, a_spec("late"), EMPTY, over_budget=True)


async def test_an_unknown_price_is_said_at_launch_and_stops_nothing(house: House) -> None:
    engine = house.attached()
    spec = a_spec(budget="10 USD")
    (found,) = engine.governor.findings(spec, pool=POOL)
    assert f"nobody has said what pool {POOL} costs" in found.message
    job = await running(engine, house, hours_ago=1, budget="10 USD")
    await engine.govern()
    assert engine.store.get_job(job.id).desired is Desired.RUN
    view = engine.governor.view(job.id)
    assert (view.verdict.reach, view.verdict.spent) == ("unknown", None)
    assert view.verdict.problem
    assert view.decided_at is None


@pytest.mark.parametrize("own", [True, False])
async def test_what_ran_before_its_pool_had_a_price_is_told_of(house: House, own: bool) -> None:
    engine = house.attached()
    await engine.nodes(POOL)
    job = await running(engine, house, hours_ago=1)
    since = time.time() - 1800
    engine.set_price(POOL, PriceOptions(price="2usd/node-h"), since=since)
    asked = {"scope": "job", "subject": job.id} if own else {"period": "total"}
    budget = engine.governor.set_budget(a_budget("100usd", **asked))
    verdict = engine.governor.view(budget.id).verdict
    assert verdict.reach == "within"
    assert verdict.problem.startswith("30 min 0")
    assert "had no price then" in verdict.problem


async def test_a_price_of_gpus_counts_no_job_without_any(house: House) -> None:
    engine = await priced(house, "3usd/gpu-h")
    (found,) = engine.governor.findings(a_spec(budget="10 USD"), pool=POOL)
    assert "is one of GPUs, and this job uses none" in found.message
    assert engine.governor.findings(a_spec(budget="10 USD", gpus=1), pool=POOL) == ()


async def test_another_currency_is_refused_by_name(house: House) -> None:
    engine = await priced(house, "3eur/node-h")
    with pytest.raises(UsageError, match="is in USD, and pool fake costs EUR"):
        await engine.launch(POOL, a_spec(budget="10 USD"), EMPTY)
    with pytest.raises(UsageError, match="nothing here converts money"):
        engine.governor.set_budget(a_budget("10usd"))
    everybody = engine.governor.set_budget(a_budget("10usd", scope="all", subject=""))
    await running(engine, house, hours_ago=1)
    problem = engine.governor.view(everybody.id).verdict.problem
    assert "of another currency" in problem
    assert [each.severity.value for each in engine.governor.findings(a_spec(), pool=POOL)] == [
        "warning"
    ]


def test_a_budget_is_found_by_id_beginning_and_subject(house: House) -> None:
    engine = house.attached()
    made = engine.governor.set_budget(a_budget(scope="user", subject="anna"))
    assert engine.store.get_budget(made.id[:4]).id == made.id
    assert engine.store.get_budget("anna").id == made.id
    with pytest.raises(NotFound, match="no budget 'ana'") as caught:
        engine.governor.remove("ana")
    assert "did you mean anna" in caught.value.hint
    assert engine.governor.remove("anna").id == made.id
    assert engine.governor.views() == []


async def test_a_job_s_budget_goes_with_its_record(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house, budget="10 USD")
    assert [view.budget.subject for view in engine.governor.views()] == [job.id]
    house.cluster.end(job.id, JobState.SUCCEEDED)
    await engine.refresh(job.id)
    assert engine.governor.views() == []
    await engine.remove(job.id)
    assert engine.store.budgets() == []


# --- idle GPUs -----------------------------------------------------------------------------------

GPU, NODE = "GPU-1", "fake0"


def read_lately(engine: Engine, *, util: float, hours: float = 2.0, until: float = 0.0) -> None:
    """Have the store hold readings of a GPU up to `until` seconds ago."""
    rollups = Rollups(engine.store)
    now = time.time()
    for second in range(int(-3600 * hours), int(-until), 5):
        gpu = GpuReading(
            uuid=GPU,
            utilization_percent=util,
            memory_used_bytes=1 << 34,
            power_watts=70.0,
            pcie_rx_bytes_per_second=0.0,
            pcie_tx_bytes_per_second=0.0,
        )
        sample = Sample(seq=1, at=now + second, node=NodeReading(), gpus=(gpu,))
        rollups.add(POOL, NODE, now + second, sample_steps(sample))
    rollups.write(before=now)


def holding(engine: Engine, job: Job, *, quiet: float | None, **spec: object) -> None:
    """Have a job hold the GPU, and give its last sign of life so many seconds ago."""
    from sqlalchemy import update

    from jupyter_aiinfra.model import to_wire
    from jupyter_aiinfra.store.schema import jobs

    now = time.time()
    at = None if quiet is None else now - quiet
    seen = Observation(
        state=JobState.RUNNING, seen_at=now, started_at=now - 7000, said_at=at, worked_at=at
    )
    values = {
        "seen": to_wire(seen),
        "placement": to_wire((Placement(node=NODE, gpus=(GPU,)),)),
        "spec": to_wire(dataclasses.replace(job.spec, **spec)),  # type: ignore[arg-type]
    }
    with engine.store._database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(values))


async def test_an_idle_job_is_warned_and_then_stopped_once(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house)
    read_lately(engine, util=0.0)
    holding(engine, job, quiet=1200)
    await engine.governor.look(now=time.time())
    noted = engine.store.get_job(job.id).notice
    assert noted is not None
    assert (noted.kind, noted.by) == ("warning", "idle")
    assert "its GPU computed nothing for" in noted.text
    assert "it is not stopped for it" in noted.text
    engine.governor.set_idle(POOL, IdleRule(stop_seconds=900.0))
    for each in (engine, house.engine()):
        await each.governor.look(now=time.time())
    stopped = engine.store.get_job(job.id)
    assert stopped.desired is Desired.STOP
    assert stopped.notice is not None
    assert stopped.notice.grace_seconds == 120.0
    assert [each.kind for each in engine.store.decisions(by="idle")] == ["stop", "warning"]


async def test_a_job_s_own_rule_goes_first(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house)
    read_lately(engine, util=0.0)
    engine.governor.set_idle(POOL, IdleRule(stop_seconds=900.0))
    holding(engine, job, quiet=3600, idle=IdleRule(watch=False))
    await engine.governor.look(now=time.time())
    assert engine.store.get_job(job.id).notice is None
    engine.governor.set_idle(job.id, IdleRule(stop_seconds=600.0))
    await engine.governor.look(now=time.time())
    assert engine.store.get_job(job.id).desired is Desired.STOP


@pytest.mark.parametrize(
    ("util", "quiet", "until", "told"),
    [
        (60.0, 3600.0, 0.0, False),  # its GPUs compute
        (0.0, 60.0, 0.0, True),  # it is alive: told of, and spared
        (0.0, None, 0.0, True),  # nothing is known of it: spared
        (0.0, 3600.0, 600.0, False),  # its node has not been read lately
    ],
)
async def test_what_moves_or_is_not_known_is_spared(
    house: House, util: float, quiet: float | None, until: float, *, told: bool
) -> None:
    engine = await priced(house)
    job = await running(engine, house)
    read_lately(engine, util=util, until=until)
    holding(engine, job, quiet=quiet, idle=IdleRule(stop_seconds=900.0))
    await engine.governor.look(now=time.time())
    now = engine.store.get_job(job.id)
    assert now.desired is Desired.RUN
    assert (now.notice is not None) is told


async def test_a_job_that_works_again_is_not_told_of_any_more(house: House) -> None:
    engine = await priced(house)
    job = await running(engine, house)
    read_lately(engine, util=0.0, until=120)
    holding(engine, job, quiet=3600)
    await engine.governor.look(now=time.time())
    assert engine.store.get_job(job.id).notice is not None
    read_lately(engine, util=90.0, hours=0.03)
    await engine.governor.look(now=time.time())
    assert engine.store.get_job(job.id).notice is None


async def test_an_idle_kernel_is_named_with_what_it_costs(house: House) -> None:
    engine = await priced(house)
    read_lately(engine, util=0.0)
    kernel = ProcessReading(
        pid=77, memory_bytes=17 << 30, user="anna", command="python -m ipykernel_launcher -f x"
    )
    other = ProcessReading(pid=78, memory_bytes=17 << 30, user="bob", command="python train.py")
    gpu = GpuReading(uuid=GPU, index=0, utilization_percent=0.0, processes=(kernel, other))
    house.cluster.read(
        NODE, sample_line(Sample(seq=1, at=time.time(), node=NodeReading(), gpus=(gpu,)))
    )
    reading = asyncio.ensure_future(engine.governor.idle())
    while not reading.done():
        await asyncio.sleep(0.2)
        house.cluster.read(
            NODE, sample_line(Sample(seq=2, at=time.time(), node=NodeReading(), gpus=(gpu,)))
        )
    (found,) = (await reading).kernels
    assert (found.pid, found.user, found.node) == (77, "anna", NODE)
    assert found.since == pytest.approx(time.time() - 7200, abs=60)
    assert found.cost is not None
    assert 7000 < found.cost.amount < 7300
    await engine.aclose()
