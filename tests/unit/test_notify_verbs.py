"""``notify``, the options that name who is told, and what versions and runs differ in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.commands.notifyverbs import notify
from jupyter_aiinfra.engine import notifying as engine_notifying
from jupyter_aiinfra.errors import Conflict, NotFound, UsageError
from jupyter_aiinfra.promote.notify import Message, Target
from jupyter_aiinfra.schedule import Run, RunState
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from tests.support.engines import POOL, House
from tests.unit import test_schedule_verbs
from tests.unit.test_schedule_verbs import ScheduleDesk, write

test_schedule_verbs.GROUPS["notify"] = notify


@pytest.fixture
def sent() -> list[tuple[str, Message]]:
    return []


@pytest.fixture
def desk(tmp_path: Path, sent: list[tuple[str, Message]]) -> Iterator[ScheduleDesk]:
    house = House(tmp_path / "home")
    desk = ScheduleDesk(house)
    settings = Settings(
        home=tmp_path / "home", notify_targets={"team": "secret:TEAM_URL", "ops": "secret:OPS_URL"}
    )

    def send(target: Target, message: Message) -> None:
        sent.append((target.name, message))

    engine = desk.session.engine
    engine.notifying = engine_notifying.Notifying(
        engine.store, settings, send=send, environ={"TEAM_URL": "json://hook"}
    )
    engine.schedules._settings = settings
    yield desk
    house.close()


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write(tmp_path / "report.ipynb", "lr: float = 0.1")


def options(made: Any) -> Any:
    return made["version"]["options"].get("notify")


def test_who_is_told_is_named_kept_and_taken_away(desk: ScheduleDesk, notebook: Path) -> None:
    with pytest.raises(UsageError, match="no target 'taem' for notifications"):
        desk(f"schedule add {notebook} --every 1h --pool {POOL} --notify-failure taem")
    made = desk(
        f"schedule add {notebook} --every 1h --pool {POOL} "
        "--notify-failure team --notify-failure ops --notify-missed ops"
    )
    assert options(made) == {"failure": ["team", "ops"], "missed": ["ops"]}
    assert options(desk("schedule edit report --retries 1")) == options(made)
    changed = desk("schedule edit report --notify-failure none --notify-success team")
    assert options(changed) == {"missed": ["ops"], "success": ["team"]}


def test_targets_are_listed_tried_and_what_was_sent_is_told(
    desk: ScheduleDesk, notebook: Path, sent: list[tuple[str, Message]]
) -> None:
    ops, team = desk("notify")
    assert (team["name"], team["problem"]) == ("team", "")
    assert "needs OPS_URL" in ops["problem"]
    assert desk("notify test team") == {"sent": "team"}
    assert [name for name, _ in sent] == ["team"]
    with pytest.raises(UsageError, match="needs OPS_URL, which is not set here"):
        desk("notify test ops")
    assert desk("notify sent") == []

    made = desk(f"schedule add {notebook} --pool {POOL} --notify-failure team")
    run = desk(f"schedule run {made['name']} --wait")
    assert run["state"] == "failed"  # no node of this pool has a Python
    (told,) = desk("notify sent")
    assert (told["subject"], told["state"], told["target"]) == (run["id"], "sent", "team")
    assert sent[-1][1].title == "report: failed"


def test_a_copy_runs_what_the_first_runs(desk: ScheduleDesk, notebook: Path) -> None:
    made = desk(f"schedule add {notebook} --every 1h --pool {POOL} -p lr 0.5")
    copy = desk("schedule duplicate report twin")
    assert copy["id"] != made["id"]
    assert copy["version"]["parameters"] == {"lr": 0.5}
    assert copy["version"]["note"] == "a copy of report, version 1"
    assert len(copy["next"]) == 10
    with pytest.raises(Conflict):
        desk("schedule duplicate report twin")
    with pytest.raises(UsageError):
        desk("schedule duplicate report 'no name'")


def test_two_versions_are_told_apart(desk: ScheduleDesk, notebook: Path) -> None:
    desk(f"schedule add {notebook} --every 1h --pool {POOL}")
    with pytest.raises(UsageError, match="there is none to compare it with"):
        desk("schedule diff report")
    write(notebook, "lr: float = 0.2")
    desk("schedule edit report --retries 2")
    found = desk("schedule diff report")
    assert (found["from"], found["to"]) == (1, 2)
    assert [cell["kind"] for cell in found["cells"]] == ["changed"]
    said = desk.text()
    assert "  - lr: float = 0.1" in said
    assert "  + lr: float = 0.2" in said
    assert "policy.retries: 0 -> 2" in said
    assert desk("schedule diff report --from 2 --to 2")["cells"] == []
    assert "nothing differs" in desk.text()
    with pytest.raises(NotFound, match="no version 7"):
        desk("schedule diff report --from 1 --to 7")


def stored(store: Store, schedule: str, folder: Path, number: int) -> str:
    printed = {"output_type": "stream", "name": "stdout", "text": f"loss {number}\n"}
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": "fit()",
        "outputs": [printed],
        "execution_count": 1,
    }
    file = folder / f"{number}.ipynb"
    file.write_text(
        json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    run = Run(
        id=f"r{number}",
        schedule=schedule,
        version=1,
        key=f"now:{number}",
        trigger="now",
        state=RunState.SUCCEEDED,
        parameters={"lr": number / 10},
        outputs={"files": {"ipynb": [f"file://{file}"]}},
    )
    store.add_runs([run])
    return run.id


def test_two_runs_are_compared(desk: ScheduleDesk, notebook: Path, tmp_path: Path) -> None:
    made = desk(f"schedule add {notebook} --every 1h --pool {POOL}")
    store = desk.session.engine.store
    one, two = (stored(store, made["id"], tmp_path, number) for number in (1, 2))
    found = desk(f"schedule compare {one} {two}")
    assert not found["same"]
    assert found["parameters"] == [{"name": "lr", "before": 0.1, "after": 0.2}]
    said = desk.text()
    assert "  -loss 1" in said
    assert "  +loss 2" in said
    assert desk(f"schedule compare {one} {one}")["same"]
    (tmp_path / "2.ipynb").unlink()
    with pytest.raises(NotFound, match="there is no notebook of run r2"):
        desk(f"schedule compare {one} {two}")
