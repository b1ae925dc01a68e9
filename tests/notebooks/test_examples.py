"""The example notebooks keep what they promise: run by papermill on a local pool of their own."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.model import Desired, JobKind
from tests.support.bench import wait_until
from tests.support.papermill import Executed, execute
from tests.support.site import Site, open_site

pytestmark = pytest.mark.timeout(300)

FOLDER = Path(__file__).parents[2] / "example_notebooks"
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("examples") / "site") as site:
        yield site


@pytest.fixture(scope="module")
def executed(site: Site) -> dict[str, Executed]:
    """Every example, executed once."""
    done = {}
    for name in EXAMPLES:
        copy = shutil.copy(FOLDER / name, site.work / name)
        done[name] = execute(site, Path(copy), seconds=250)
    return done


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_to_its_end_without_an_error(
    executed: dict[str, Executed], name: str
) -> None:
    assert executed[name].status == 0, executed[name].said
    assert executed[name].errors == []
    assert executed[name].widgets == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_kept_without_outputs(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert '"outputs": []' in text
    assert '"output_type"' not in text


def test_the_quickstart_trains_a_model_that_is_good_on_data_it_has_not_seen(
    executed: dict[str, Executed],
) -> None:
    said = executed["quickstart.ipynb"].printed("accuracy on held-out data")
    (accuracy,) = re.findall(r"accuracy on held-out data: (0\.\d+)", said)
    assert float(accuracy) > 0.95
    first, last = re.findall(r"loss went from ([\d.]+) to ([\d.]+)", said)[0]
    assert float(last) < float(first) / 2


def test_the_quickstart_shows_its_training_and_its_job(executed: dict[str, Executed]) -> None:
    done = executed["quickstart.ipynb"]
    training = done.printed("%%accelerate")
    assert "[succeeded] digits" in training
    assert (
        len(re.findall(r"^epoch +\d+ +loss [\d.]+ +accuracy [\d.]+$", training, re.MULTILINE)) == 20
    )
    assert re.search(r"digits .* succeeded ", done.printed("%jobs"))


def test_the_quickstart_serves_its_model_and_changes_it_without_a_failed_request(
    site: Site, executed: dict[str, Executed]
) -> None:
    done = executed["quickstart.ipynb"]
    (accuracy,) = re.findall(r"/predict: (0\.\d+)", done.printed("accuracy at"))
    (trained,) = re.findall(r"held-out data: (0\.\d+)", done.printed("accuracy on held-out data"))
    assert accuracy == trained
    better, untrained = done.printed("better --name"), done.printed("untrained = Net()")
    for said, new in ((better, "version 2"), (untrained, "version 3")):
        (answered,) = re.findall(r"answered while it changed: (\{.*\})", said)
        assert new in answered
        assert "failed" not in answered
    told = done.printed("why it was taken back")
    assert "v2 100%" in told
    assert "differ from those of version 2" in " ".join(told.split())
    assert "digits is removed" in done.printed("%endpoint remove")
    served = {each.spec.name: each for each in site.jobs() if each.spec.kind is JobKind.ENDPOINT}
    assert served.keys() == {"digits-1", "digits-2", "digits-3", "router"}
    assert all(each.desired is Desired.STOP for each in served.values())


def test_the_quickstart_leaves_an_mlflow_run_with_its_figures_and_its_outcome(
    site: Site, executed: dict[str, Executed]
) -> None:
    assert executed["quickstart.ipynb"].status == 0
    (job,) = (each for each in site.jobs() if each.spec.name == "digits")
    assert job.seen is not None
    assert job.seen.tracking is not None
    run = job.seen.tracking.run_id
    database = site.work / "mlflow.db"

    # Read as it lies on the disk: the test is not to trust the client that wrote it.
    def rows(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute(query, (run,)).fetchall()

    # The tracker outlives the job by what it needs to say how that ended.
    wait_until(lambda: rows("select status from runs where run_uuid = ?") == [("FINISHED",)])
    logged = "select step, value from metrics where run_uuid = ? and key = 'accuracy' order by step"
    accuracies = rows(logged)
    assert [step for step, _ in accuracies] == list(range(20))
    assert accuracies[-1][1] > 0.95
    parameters = dict(rows("select key, value from params where run_uuid = ?"))
    assert parameters["aiinfra.procs"] == "2"
    assert "accelerate.commands.launch" in str(parameters["aiinfra.command"])
    keys = {key for (key,) in rows("select distinct key from metrics where run_uuid = ?")}
    assert {"accuracy", "loss"} < keys
    assert any(str(key).startswith("system/") for key in keys)
