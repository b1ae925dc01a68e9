"""``cost`` and ``pool price``, on a fake cluster with GPUs and a real SQLite file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.commands import poolverbs, tree
from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.costverbs import cost
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.cost.export import COLUMNS
from jupyter_aiinfra.errors import MissingExtra, UsageError
from jupyter_aiinfra.model import Gpu, Job, JobState, Node, Origin
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import EMPTY, POOL, House, WallClock, a_spec
from tests.unit.test_tree import Desk, Kind

GPUS = tuple(Gpu(uuid=f"GPU-{n}", name="NVIDIA H100", index=n) for n in range(2))


class CostDesk(Desk):
    """Knows ``cost`` beside the other commands."""

    def __call__(self, line: str) -> Any:
        if not line.startswith("cost"):
            return super().__call__(line)
        self.surface.__init__()  # type: ignore[misc] # what was heard before is forgotten
        context = Context(session=self.session, surface=self.surface)
        result = invoke(cost, line.split()[1:], name="%cost", context=context)
        self.surface.values = json.loads(json.dumps(self.surface.values))
        return result

    def rows(self) -> list[list[str]]:
        ((_, rows, _),) = self.surface.tables
        return [list(row) for row in rows]

    def run(self, **changes: Any) -> Job:
        """Launch a job on a GPU, and let it end."""
        job = self.launch(gpus=1, **changes)
        self.cluster.end(job.id, JobState.SUCCEEDED)
        return self.session.run(self.engine.refresh(job.id))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CostDesk]:
    monkeypatch.setattr(poolverbs, "pool_class", lambda _kind: Kind)
    node = Node(name="box", address="10.0.0.1", cpus=8, gpus=GPUS, max_procs=8)
    house = House(tmp_path / "home", FakeCluster([node], leased=True, clock=WallClock()))
    yield CostDesk(house)
    house.close()


def test_a_pool_says_its_price_its_age_and_that_it_is_unknown(desk: CostDesk) -> None:
    desk(f"pool show {POOL}")
    assert "price   unknown: %pool price fake --price 2.49/gpu-h" in desk.said
    shown = desk.value
    assert shown["price"] is None
    desk(f"pool price {POOL} --sku aws:p5.48xlarge --region us-east-1")
    assert "$6.88 a GPU-hour, aws:p5.48xlarge in us-east-1" in desk.said
    assert "days old" in desk.said
    (price,) = desk.value["prices"]
    assert (price["rate"], price["unit"]) == ({"amount": "6.88", "currency": "USD"}, "gpu-hour")
    assert price["confidence"] == "transcribed"
    desk(f"pool price {POOL} --price 2.49eur/gpu-h")
    assert len(desk.value["prices"]) == 2
    desk(f"pool show {POOL}")
    assert desk.value["price"]["rate"] == {"amount": "2.49", "currency": "EUR"}
    assert desk.value["price"]["age_days"] == 0


def test_a_pool_is_attached_with_its_price_and_again_with_the_same(desk: CostDesk) -> None:
    line = "pool attach lab --kind fake --price 3/gpu-h"
    desk(line)
    assert "  price   $3.00 a GPU-hour" in desk.said
    assert desk.engine.store.get_pool("lab").options == {}
    desk(line)
    assert len(desk.engine.store.prices(pool="lab")) == 1
    desk("pool attach lab --kind fake --price 4/gpu-h")
    assert len(desk.engine.store.prices(pool="lab")) == 2
    desk("pool attach lab --kind fake")  # says nothing about it
    assert len(desk.engine.store.prices(pool="lab")) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("pool attach lab --kind fake --sku aws:p5.48xlarg", "did you mean aws:p5.48xlarge"),
        ("pool attach lab --kind fake --spot", "--sku"),
        ("pool attach lab --kind fake --price much", "2.49/gpu-h"),
        ("pool price fake --price 1/day", "2.49/gpu-h"),
        ("pool price fake --since 2026-01-01", "--price or --sku"),
        ("pool price fake --price 1 --since tomorrow", "2026-11-09"),
    ],
)
def test_a_price_that_cannot_be_changes_nothing(desk: CostDesk, line: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        desk(line)
    assert says in f"{caught.value} {caught.value.hint}"
    assert not desk.engine.store.prices()
    assert [record.name for record in desk.engine.store.list_pools()] == [POOL]


def test_a_price_of_a_time_to_come_is_refused(desk: CostDesk) -> None:
    with pytest.raises(UsageError, match="from now on"):
        desk(f"pool price {POOL} --price 1 --since 2199-01-01")


def test_what_jobs_have_cost_is_shown_by_whatever_is_asked_for(desk: CostDesk) -> None:
    desk(f"pool price {POOL} --price 3600/gpu-h")
    first = desk.run(tags={"project": "vision"})
    second = desk.launch(gpus=1, name="other", origin=Origin(user="ada"))
    desk("cost")
    names = [row[:2] for row in desk.rows()]
    assert sorted(names) == sorted(
        [[first.id, "digits"], [second.id, "other"], ["(nobody)", ""], ["all", ""]]
    )
    total = desk.value["total"]["cost"][0]
    assert total["currency"] == "USD"
    # A dollar a GPU-second, of two GPUs since the price was said.
    parts = sum(float(line["cost"][0]["amount"]) for line in desk.value["lines"])
    assert abs(float(total["amount"]) - parts) < 1e-6
    desk("cost today --by project")
    assert sorted(row[0] for row in desk.rows()) == ["(nobody)", "(none)", "all", "vision"]
    desk("cost month --by user --user ada")
    assert [row[0] for row in desk.rows()] == ["ada"]
    desk("cost show yesterday")
    assert desk.rows() == []


def test_without_a_price_there_are_hours_and_no_dollars(desk: CostDesk) -> None:
    desk.run()
    desk("cost")
    assert {row[-2] for row in desk.rows()} == {"n/a"}
    assert "hours have no price" in desk.said
    assert desk.value["total"]["cost"] == []


def test_a_time_that_is_none_is_refused_with_the_nearest(desk: CostDesk) -> None:
    with pytest.raises(UsageError) as caught:
        desk("cost mnth")
    assert "did you mean month" in caught.value.hint


def test_a_job_shows_what_it_costs(desk: CostDesk) -> None:
    job = desk.launch(gpus=1, tags={"team": "red"})
    desk(f"jobs show {job.id}")
    assert f"cost    n/a: pool {POOL} has no price" in desk.said
    assert desk.value["cost"]["cost"] == []
    desk(f"pool price {POOL} --price 36/gpu-h")
    desk(f"jobs show {job.id}")
    assert "$36.00 an hour" in desk.said
    assert "price   $36.00 a GPU-hour" in desk.said
    assert "tags    team=red" in desk.said
    assert desk.value["cost"]["hourly"] == {"amount": "36", "currency": "USD"}
    assert desk.value["cost"]["unpriced_seconds"] > 0


def test_tags_of_a_job_are_changed_afterwards(desk: CostDesk) -> None:
    job = desk.run(tags={"project": "vision", "team": "red"})
    desk(f"cost tag {job.id} project=speech team= cost_centre=4711")
    assert desk.value["tags"] == {"project": "speech", "cost-centre": "4711"}
    with pytest.raises(UsageError, match="NAME=VALUE"):
        desk(f"cost tag {job.id} project")


# --- export ---


def test_usage_is_exported_under_the_names_of_focus(desk: CostDesk, tmp_path: Path) -> None:
    desk(f"pool price {POOL} --sku aws:p5.48xlarge --region us-east-1")
    job = desk.run(tags={"project": "vision"}, origin=Origin(user="ada", notebook="a.ipynb"))
    target = tmp_path / "usage.csv"
    desk(f"cost export {target}")
    assert desk.value["rows"] >= 2
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    (mine,) = [row for row in rows if row["x_Job"] == job.id and row["BilledCost"]]
    assert (mine["BillingCurrency"], mine["ProviderName"]) == ("USD", "aws")
    assert (mine["SkuId"], mine["RegionId"]) == ("aws:p5.48xlarge", "us-east-1")
    assert (mine["ListUnitPrice"], mine["PricingUnit"]) == ("6.880000000", "GPU-Hours")
    assert json.loads(mine["Tags"]) == {"project": "vision"}
    assert (mine["x_User"], mine["x_Project"]) == ("ada", "vision")
    assert mine["ChargePeriodStart"].endswith(":00:00Z")
    desk("cost")
    billed = sum(float(row["BilledCost"]) for row in rows if row["BilledCost"])
    assert billed <= float(desk.value["total"]["cost"][0]["amount"])


def test_what_has_no_price_is_exported_without_an_amount(desk: CostDesk, tmp_path: Path) -> None:
    job = desk.run()
    target = tmp_path / "usage.csv"
    desk(f"cost export {target}")
    with target.open(newline="") as file:
        (mine,) = [row for row in csv.DictReader(file) if row["x_Job"] == job.id]
    assert float(mine["ConsumedQuantity"]) > 0
    assert {mine[name] for name in ("BilledCost", "ListUnitPrice", "BillingCurrency")} == {""}


def test_usage_is_exported_as_parquet(desk: CostDesk, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    desk(f"pool price {POOL} --price 3600/gpu-h")
    job = desk.run(tags={"project": "vision"})
    target = tmp_path / "usage.parquet"
    desk(f"cost export {target}")
    table = parquet.read_table(target).to_pylist()
    assert len(table) == desk.value["rows"]
    (mine,) = [row for row in table if row["x_Job"] == job.id and row["BilledCost"] is not None]
    assert mine["Tags"] == [("project", "vision")]
    assert mine["BilledCost"] == mine["EffectiveCost"] > 0


def test_without_pyarrow_parquet_says_what_to_install(
    desk: CostDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra) as caught:
        desk(f"cost export {tmp_path / 'usage.parquet'}")
    assert "jupyter_aiinfra[parquet]" in caught.value.hint


@pytest.mark.parametrize("name", ["usage.xls", "no/such/folder/usage.csv"])
def test_a_file_that_cannot_be_is_refused(desk: CostDesk, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        desk(f"cost export {tmp_path / name}")


# --- prices ---


def test_prices_are_listed_the_cheapest_first_and_imported(desk: CostDesk, tmp_path: Path) -> None:
    desk("cost prices h100")
    prices = [row[4] for row in desk.rows()]
    assert prices[0] == "$1.99"
    assert all("h100" in f"{row[0]} {row[1]}".lower() for row in desk.rows())
    file = tmp_path / "machines.yaml"
    file.write_text("machines:\n  - {name: box, gpu: H100, gpus: 2, gpu_hour: 0.5}\n")
    desk(f"cost prices import {file} --as-of 2026-11-01")
    assert desk.value == {"rows": 1, "skus": 1, "notes": []}
    desk("cost prices h100")
    assert desk.rows()[0][:1] + desk.rows()[0][4:8] == [
        "owned:box",
        "$0.50",
        "$1.00",
        "2026-11-01",
        "owner",
    ]
    desk(f"pool price {POOL} --sku owned:box")
    assert "$0.50 a GPU-hour, owned:box" in desk.said
    with pytest.raises(UsageError, match="no day"):
        desk(f"cost prices import {file} --as-of soon")


# --- what if ---


def test_what_if_needs_steps_to_go_by(desk: CostDesk) -> None:
    job = desk.run()
    with pytest.raises(UsageError, match="reported no steps"):
        desk(f"cost whatif {job.id}")


def test_an_estimate_tells_of_earlier_runs(desk: CostDesk) -> None:
    desk(f"pool price {POOL} --price 3600/gpu-h")
    origin = Origin(code="train()")
    before = desk.run(origin=origin)
    nodes = desk.session.run(desk.engine.nodes(POOL))
    spec = a_spec(gpus=1, origin=origin, time_limit_seconds=60.0)
    found = desk.engine.costing.estimate(POOL, spec, nodes)
    assert found.hourly is not None
    assert found.before is not None
    assert (found.hourly.wire, found.before.job) == ("3600", before.id)
    assert found.most is not None
    assert found.most.wire == "60"
    other = desk.engine.costing.estimate(POOL, a_spec(gpus=2, origin=origin), nodes)
    assert other.before is None
    assert EMPTY.size_bytes == 0


def test_help_has_examples() -> None:
    for command in (cost, tree.pool):
        assert "Examples:" in (command.help or "")
