"""Cost on the real local pool: launched, restarted, watched by nobody, and logged to MLflow."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site

SCRIPT = """
import time
from jupyter_aiinfra import step
for _ in range(20):
    time.sleep(0.05)
    step(of=20)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.script("train.py", SCRIPT)
    yield site
    assert not site.close()


def value(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_costs_what_it_held_the_machine_for(site: Site) -> None:
    site.attach("--price", "36eur/node-h")
    began = time.time()
    job = value(
        site.command("run", "train.py", "--pool", "here", "--tag", "project=vision", "--json")
    )
    took = time.time() - began
    cost = value(site.command("jobs", "show", job["id"], "--json"))["cost"]
    # A cent a second, for no longer than the command took, and no less than the training.
    assert cost["cost"][0]["currency"] == "EUR"
    assert 0.01 <= float(cost["cost"][0]["amount"]) <= took / 100
    assert float(cost["cost"][0]["amount"]) == pytest.approx(cost["node_seconds"] / 100, rel=1e-6)
    assert cost["hourly"] is None
    assert float(cost["step_cost"]["amount"]) == pytest.approx(
        float(cost["cost"][0]["amount"]) / 20, rel=1e-6
    )
    # Over and over again, and by other processes: it stays what it is.
    bills = [value(site.command("cost", "today", "--json")) for _ in range(2)]
    for bill in bills:
        (mine,) = [line for line in bill["lines"] if line["key"] == job["id"]]
        assert mine["cost"] == cost["cost"]
    (vision,) = [
        line
        for line in value(site.command("cost", "--by", "project", "--json"))["lines"]
        if line["key"] == "vision"
    ]
    assert vision["cost"] == cost["cost"]
    dry = site.command("run", "train.py", "--pool", "here", "--dry-run", "--max-duration", "1h")
    assert f"as job {job['id']} took" in dry.stdout
    assert "€36.00 at most" in dry.stdout


def test_what_if_is_told_of_the_steps(site: Site) -> None:
    site.attach("--price", "36/node-h")
    job = value(site.command("run", "train.py", "--pool", "here", "--json"))
    found = value(site.command("cost", "whatif", job["id"], "--json"))
    assert [each["ranks"] for each in found["options"]] == [1, 2, 4, 8]
    (as_it_is, two, *_) = found["options"]
    assert as_it_is["measured"]
    assert as_it_is["seconds"] >= 1.0
    assert two["seconds"] < as_it_is["seconds"]
    assert two["assumes"]


def test_a_job_that_nobody_watches_is_metered_when_somebody_looks(site: Site) -> None:
    site.attach("--price", "36/node-h")
    job = value(site.command("run", "train.py", "--pool", "here", "--detach", "--json"))
    # No process of ours but those of the job is left. It ends unseen.
    run = site.home / "runs" / job["id"]
    deadline = time.monotonic() + 120
    while not (run / "exit.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(3)
    shown = value(site.command("jobs", "show", job["id"], "--json"))
    cost = shown["cost"]
    ended = json.loads((run / "exit.json").read_text())["ended_at"]
    # Not up to when it was looked at.
    assert cost["node_seconds"] == pytest.approx(ended - shown["created_at"], abs=1.0)


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_is_told_what_a_run_costs(site: Site) -> None:
    pytest.importorskip("mlflow")
    site.attach("--price", "36/node-h")
    uri = f"sqlite:///{site.work / 'mlflow.db'}"
    job = value(site.command("run", "train.py", "--pool", "here", "--mlflow", uri, "--json"))
    run_id = job["seen"]["tracking"]["run_id"]
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    deadline = time.monotonic() + 60
    while "aiinfra/cost_usd" not in (run := client.get_run(run_id)).data.metrics:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    logged = run.data.metrics["aiinfra/cost_usd"]
    cost = value(site.command("jobs", "show", job["id"], "--json"))["cost"]
    assert logged == pytest.approx(float(cost["cost"][0]["amount"]), abs=0.05)
    assert run.data.tags["aiinfra.price"].startswith("$36.00 a node-hour")
