"""``budget`` and ``idle``, on a fake cluster and a real SQLite file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.commands.budgetverbs import budget, idle
from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.launch_line import parse_launch
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.errors import JobNotFound, NotFound, UsageError
from jupyter_aiinfra.model import Desired, IdleRule, Job
from tests.support.engines import POOL, House
from tests.unit.test_tree import Desk

GROUPS = {"budget": budget, "idle": idle}


class BudgetDesk(Desk):
    """Knows ``budget`` and ``idle``; returns what a program is given."""

    def __call__(self, line: str) -> Any:
        verb, *words = line.split()
        self.surface.__init__()  # type: ignore[misc] # what was heard before is forgotten
        context = Context(session=self.session, surface=self.surface)
        invoke(GROUPS[verb], words, name=f"%{verb}", context=context)
        (value,) = json.loads(json.dumps(self.surface.values))
        return value

    def text(self) -> str:
        return "\n".join(self.surface.texts)

    def rows(self) -> list[list[str]]:
        ((_, rows, _),) = self.surface.tables
        return [list(row) for row in rows]

    def priced(self, price: str = "360000usd/node-h", **spec: Any) -> Job:
        """Launch a job that costs something."""
        self.session.run(self.engine.nodes(POOL))
        self.engine.set_price(POOL, PriceOptions(price=price))
        return self.launch(**spec)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BudgetDesk]:
    house = House(tmp_path / "home")
    yield BudgetDesk(house)
    house.close()


def test_a_budget_is_set_listed_shown_and_removed(desk: BudgetDesk) -> None:
    made = desk("budget set 200usd --user anna --warn-at 70 --grace 5m")
    assert (made["name"], made["warn_share"], made["grace_seconds"]) == (
        "$200.00 a month for user anna",
        0.7,
        300.0,
    )
    assert "warn at 70%, at the limit stop, with 5 min 00 s to save" in desk.text()
    changed = desk("budget set 30eur --user anna --action ask --answer-in 1h")
    assert (changed["id"], changed["limit"]["currency"]) == (made["id"], "EUR")
    desk("budget set 5eur --all --period day --action refuse")
    listed = desk("budget list")
    assert [each["scope"] for each in listed] == ["user", "all"]
    assert [row[1] for row in desk.rows()] == ["user anna", "everything"]
    assert [row[4] for row in desk.rows()] == ["€0.00 (0%)", "€0.00 (0%)"]
    assert desk("budget") == listed
    assert desk("budget show anna")["decisions"] == []
    assert desk("budget remove anna") == {"removed": made["id"]}
    with pytest.raises(NotFound):
        desk("budget show anna")


@pytest.mark.parametrize(
    "line",
    [
        "budget set 20usd",
        "budget set 20usd --user anna --pool fake",
        "budget set 20usd --user anna --all",
        "budget set lots --user anna",
        "budget set 20usd --user anna --action shout",
        "budget set 20usd --user anna --grace soon",
        "budget set 20usd --user anna --warn-at 130",
        "budget snooze nobody --for later",
        "idle set fake 5s",
        "idle set fake sometimes",
    ],
)
def test_what_cannot_be_is_refused(desk: BudgetDesk, line: str) -> None:
    with pytest.raises(UsageError):
        desk(line)
    assert desk.engine.store.budgets() == []


def test_a_spent_budget_is_shown_snoozed_and_answered(desk: BudgetDesk) -> None:
    job = desk.priced()
    made = desk(f"budget set 1usd --pool {POOL} --action ask")
    shown = desk(f"budget show {made['id']}")
    assert (shown["reach"], shown["jobs"]) == ("spent", [job.id])
    assert [each["kind"] for each in shown["decisions"]] == ["question", "question"]
    assert "question: budget of $1.00 a month for pool fake" in desk.text()
    assert desk(f"budget snooze {POOL} --for 2h")["snoozed"] is True
    assert "state   snoozed until" in desk.text()
    assert desk(f"budget snooze {POOL} --wake")["snoozed"] is False
    assert desk(f"budget stop {POOL}") == {"stopped": [job.id]}
    assert desk.engine.store.get_job(job.id).desired is Desired.STOP


def test_what_is_not_known_is_not_zero(desk: BudgetDesk) -> None:
    job = desk.launch(budget="5 USD")
    shown = desk(f"budget show {job.id}")
    assert (shown["spent"], shown["reach"]) == (None, "unknown")
    assert "nobody has said what fake costs" in desk.text()
    desk("budget list")
    (row,) = desk.rows()
    assert row[4] == "n/a"
    assert row[6] == "n/a (in part)"


def test_what_is_done_about_idle_gpus(desk: BudgetDesk) -> None:
    job = desk.launch()
    assert desk(f"idle set {POOL} 30m")["rule"]["stop_seconds"] == 1800
    assert desk.text() == f"{POOL}: stopped after 30 min 00 s"
    desk(f"idle set {job.id} never")
    assert desk("idle rules") == {
        POOL: {"stop_seconds": 1800.0, "warn_seconds": None, "watch": True},
        job.id: {"stop_seconds": None, "warn_seconds": None, "watch": False},
    }
    desk(f"idle set {POOL} warn")
    assert desk.text() == f"{POOL}: warned, and not stopped"
    desk(f"idle set {POOL} default")
    assert set(desk("idle rules")) == {job.id}
    with pytest.raises(JobNotFound):
        desk("idle set nothere 30m")


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--budget", "20usd"], "budget", "20 USD"),
        (["--budget", "€0.50"], "budget", "1/2 EUR"),
        (["--idle-stop", "30m"], "idle", IdleRule(stop_seconds=1800.0)),
        (["--idle-stop", "warn"], "idle", IdleRule()),
        (["--idle-stop=never"], "idle", IdleRule(watch=False)),
    ],
)
def test_the_options_of_a_launch(words: list[str], field: str, value: object) -> None:
    assert getattr(parse_launch(["lab", *words]), field) == value


@pytest.mark.parametrize(
    "words", [["--budget", "0usd"], ["--budget", "much"], ["--idle-stop", "1m"]]
)
def test_options_that_cannot_be(words: list[str]) -> None:
    with pytest.raises(UsageError, match=words[0]):
        parse_launch(["lab", *words])
