"""Schedules over REST, and fired by the server on time without being asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.schedule import RunState
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import POOL
from tests.support.served import Api, beside, eventually, opener_of

CELL = "lr: float = 0.1  # 0 < lr <= 1\nname = 'digits'"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    quick = ("watch", "calm", "sure", "idle", "refresh", "refresh_longest")
    return {
        "pool_opener": opener_of(cluster),
        "Background": {f"{name}_seconds": 0.05 for name in quick},
    }


@pytest.fixture
def engine(jp_serverapp: Any, cluster: FakeCluster) -> Iterator[Engine]:
    engine = beside(cluster)
    yield engine
    engine.store.close()


def begin(jp_serverapp: Any) -> None:
    """Have the server do unasked what is due; it ends with the server."""
    (app,) = jp_serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
    app.background.start()


@pytest.fixture
def notebook(jp_root_dir: Path) -> str:
    write(jp_root_dir / "report.ipynb", CELL)
    return "report.ipynb"


def write(path: Path, cell: str) -> None:
    tagged: dict[str, Any] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {"tags": ["parameters"]},
        "source": cell,
        "outputs": [],
        "execution_count": None,
    }
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(
        json.dumps({"cells": [tagged], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    )


def asked(notebook: str, **values: Any) -> dict[str, Any]:
    cron = {"kind": "cron", "lines": ["0 2 * * *"]}
    return {
        "notebook": notebook,
        "pool": POOL,
        "timezone": "Europe/Berlin",
        "triggers": [cron],
        **values,
    }


async def test_a_schedule_is_previewed_made_edited_paused_and_put_back(
    api: Api, engine: Engine, notebook: str, jp_root_dir: Path
) -> None:
    status, preview = await api.ask("POST", "schedule-preview", asked(notebook))
    assert status == 200
    assert len(preview["slots"]) == 10
    assert preview["form"]["properties"]["lr"]["maximum"] == 1
    assert (await api.get("schedules"))["schedules"] == []

    status, made = await api.ask("POST", "schedules", asked(notebook, parameters={"lr": 0.5}))
    assert status == 201
    assert (made["name"], made["state"]) == ("report", "active")
    assert made["version"]["notebook"] == str(jp_root_dir / "report.ipynb")
    where = f"schedules/{made['id']}"
    assert [each["id"] for each in (await api.get("schedules"))["schedules"]] == [made["id"]]

    status, edited = await api.ask("PUT", where, {"policy": {"retries": 2}, "note": "twice more"})
    assert (status, edited["version"]["number"]) == (200, 2)
    assert edited["version"]["parameters"] == {"lr": 0.5}
    assert edited["version"]["policy"]["retries"] == 2
    status, rolled = await api.ask("POST", f"{where}/rollback", {"number": 1})
    assert (status, rolled["version"]["number"]) == (200, 3)
    detail = await api.get(where)
    assert [each["number"] for each in detail["versions"]] == [3, 2, 1]

    status, paused = await api.ask("POST", f"{where}/pause", {"reason": "holidays"})
    assert (status, paused["state"], paused["problem"]) == (200, "paused", "holidays")
    status, resumed = await api.ask("POST", f"{where}/resume")
    assert (status, resumed["state"]) == (200, "active")
    assert await api.ask("DELETE", where) == (204, None)
    assert (await api.get("schedules"))["schedules"] == []
    assert len((await api.get("schedules", removed="true"))["schedules"]) == 1
    status, restored = await api.ask("POST", f"{where}/restore")
    assert (status, restored["state"]) == (200, "active")


async def test_a_preview_is_of_what_is_still_filled_in_or_changed(
    api: Api, engine: Engine, notebook: str, jp_root_dir: Path
) -> None:
    write(jp_root_dir / "needs.ipynb", "day: date\nlr: float = 0.1  # 0 < lr <= 1")
    status, preview = await api.ask("POST", "schedule-preview", asked("needs.ipynb"))
    assert (status, len(preview["slots"])) == (200, 10)
    assert preview["form"]["required"] == ["day"]
    wrong = asked("needs.ipynb", parameters={"lr": 2})
    status, refused = await api.ask("POST", "schedule-preview", wrong)
    assert (status, refused["option"]) == (400, "lr")
    assert (await api.ask("POST", "schedules", asked("needs.ipynb")))[0] == 400

    _, made = await api.ask("POST", "schedules", asked(notebook))
    change = {"triggers": [{"kind": "every", "seconds": 60}]}
    status, changed = await api.ask("POST", "schedule-preview", change, schedule=made["id"])
    assert status == 200
    first, second = (each["slot"] for each in changed["slots"][:2])
    assert second - first == 60
    assert changed["form"]["properties"]["lr"]["maximum"] == 1
    assert (await api.get("schedules"))["schedules"][0]["version"]["number"] == 1
    assert (await api.ask("POST", "schedule-preview", {}, schedule="s123"))[0] == 404


async def test_what_cannot_be_is_refused_by_its_name(
    api: Api, engine: Engine, notebook: str, jp_root_dir: Path
) -> None:
    async def refusal(**values: Any) -> tuple[int, str, str | None]:
        wanted = asked(values.pop("notebook", notebook), **values)
        status, answer = await api.ask("POST", "schedules", wanted)
        return status, answer["message"], answer["option"]

    bad = {"kind": "cron", "lines": ["61 * * * *"]}
    assert await refusal(triggers=[bad]) == (400, "cron line '61 * * * *': Bad minute", "cron")
    status, message, option = await refusal(parameters={"lr": 2})
    assert (status, option) == (400, "lr")
    assert message == "parameter lr = 2: expected a number more than 0 and at most 1"
    assert (await refusal(timezone="Mars/Base"))[2] == "timezone"
    assert (await refusal(notebook="../../etc/passwd"))[::2] == (400, "notebook")
    assert (await refusal(notebook="missing.ipynb"))[::2] == (400, "notebook")
    assert (await refusal(options={"gpus": "many"}))[::2] == (400, "options")
    assert (await refusal(pool="elsewhere"))[0] == 404
    assert (await api.refused("GET", "schedules/s123"))[0] == 404
    assert (await api.refused("GET", "runs/r123"))[0] == 404
    assert (await api.refused("GET", "runs", state="odd"))[0] == 400
    (jp_root_dir / "odd.ipynb").write_text('{"cells": [1, {"metadata": 3}], "metadata": []}')
    assert (await api.ask("POST", "schedule-preview", asked("odd.ipynb")))[0] == 200


async def test_a_run_is_asked_for_listed_cancelled_and_asked_for_again(
    api: Api, engine: Engine, jp_serverapp: Any, notebook: str
) -> None:
    begin(jp_serverapp)
    _, made = await api.ask("POST", "schedules", asked(notebook))
    status, run = await api.ask("POST", f"schedules/{made['id']}/run", {"parameters": {"lr": 1}})
    assert (status, run["schedule_name"]) == (201, "report")

    async def is_over() -> bool:
        return RunState((await api.get(f"runs/{run['id']}"))["state"]) is not RunState.QUEUED

    await eventually(is_over)
    page = await api.get("runs", schedule=made["id"], limit=1)
    assert [each["id"] for each in page["runs"]] == [run["id"]]
    assert page["more"] is False
    assert page["runs"][0]["parameters"] == {"lr": 1.0}
    await api.ask("POST", f"runs/{run['id']}/cancel")
    status, again = await api.ask("POST", f"runs/{run['id']}/rerun")
    assert (status, again["parameters"], again["trigger"]) == (201, {"lr": 1.0}, "rerun")
    assert len((await api.get("runs", text=again["id"]))["runs"]) == 1


async def test_a_slot_is_fired_by_the_server_when_it_is_due(
    api: Api, engine: Engine, jp_serverapp: Any, notebook: str
) -> None:
    begin(jp_serverapp)
    every = {"kind": "every", "seconds": 1.0}
    _, made = await api.ask(
        "POST", "schedules", asked(notebook, triggers=[every], policy={"overlap": "parallel"})
    )

    async def have_come() -> bool:
        return len((await api.get("runs", schedule=made["id"]))["runs"]) >= 3

    await eventually(have_come)
    await api.ask("POST", f"schedules/{made['id']}/pause", {})
    runs = (await api.get("runs", schedule=made["id"]))["runs"]
    # How late is measured elsewhere (`benchmarks schedule`); never early is a matter of right.
    assert all(run["created_at"] >= run["slot"] for run in runs)
    slots = sorted(run["slot"] for run in runs)
    assert [round(later - slots[0]) for later in slots] == list(range(len(slots)))
