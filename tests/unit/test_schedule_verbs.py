"""``schedule`` and ``promote``, on a fake cluster and a real SQLite file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.scheduleverbs import promote, schedule
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.engine.drafting import local_zone
from jupyter_aiinfra.errors import Conflict, NotFound, PoolNotFound, UsageError
from jupyter_aiinfra.promote.zones import zone_of
from tests.support.engines import POOL, House
from tests.unit.test_tree import Desk

GROUPS = {"schedule": schedule, "promote": promote}
CELL = "lr: float = 0.1  # 0 < lr <= 1\nname = 'digits'\nepochs = 3"


class ScheduleDesk(Desk):
    """Knows ``schedule`` and ``promote``; returns what a program is given."""

    def __call__(self, line: str) -> Any:
        verb, *words = shlex.split(line)
        self.surface.__init__()  # type: ignore[misc] # what was heard before is forgotten
        context = Context(session=self.session, surface=self.surface)
        invoke(GROUPS[verb], words, name=f"%{verb}", context=context)
        (value,) = json.loads(json.dumps(self.surface.values))
        return value

    def text(self) -> str:
        return "\n".join(self.surface.texts)

    def rows(self) -> list[list[str]]:
        return [list(row) for row in self.surface.tables[-1][1]]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ScheduleDesk]:
    house = House(tmp_path / "home")
    yield ScheduleDesk(house)
    house.close()


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write(tmp_path / "report.ipynb", CELL)


def write(path: Path, cell: str) -> Path:
    tagged: dict[str, Any] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {"tags": ["parameters"]},
        "source": cell,
        "outputs": [],
        "execution_count": None,
    }
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    found = {"cells": [tagged], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(found))
    return path


def test_a_notebook_is_scheduled_listed_and_shown(desk: ScheduleDesk, notebook: Path) -> None:
    made = desk(
        f"promote schedule {notebook} --cron '0 2 * * *' --timezone Europe/Berlin --pool {POOL} "
        "-p lr 0.5 -p name '__import__(1)' --retries 2 --catch-up last --window 2d --jitter 5m "
        "--except 2026-12-24/2027-01-06 --until 2999-01-01 --output file:///tmp/out --timeout 2h"
    )
    assert made["name"] == "report"
    version = made["version"]
    assert version["parameters"] == {"lr": 0.5, "name": "__import__(1)"}
    assert version["policy"]["retries"] == 2
    assert version["policy"]["window_seconds"] == 172800
    assert version["policy"]["except_days"] == ["2026-12-24/2027-01-06"]
    assert version["options"] == {"outputs": ["file:///tmp/out"], "run_seconds": 7200.0}
    assert version["form"]["properties"]["epochs"] == {"type": "integer", "default": 3}
    assert len(made["next"]) == 10
    assert made["next"][0]["text"].split()[1] == "02:00"
    assert "0 2 * * * (Europe/Berlin)" in desk.text()
    (listed,) = desk("schedule")
    assert listed["id"] == made["id"]
    assert desk.rows()[0][:2] == ["report", "0 2 * * * (Europe/Berlin)"]
    assert desk("schedule show report")["state"] == "active"
    assert desk(f"schedule show {made['id'][:5]}")["name"] == "report"


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ("--cron '61 * * * *'", UsageError, "cron line '61 \\* \\* \\* \\*': Bad minute"),
        ("--cron '0 2 * * *' --timezone Mars/Base", UsageError, "Mars/Base"),
        ("--every soon", UsageError, "'soon' is no length of time"),
        ("--at tomorrow", UsageError, "'tomorrow' is no time"),
        ("--after nothing", NotFound, "no schedule 'nothing'"),
        ("--every 1h --on-end", UsageError, "--on-end"),
        ("--every 1h -p lr 2", UsageError, "parameter lr = 2: expected a number more than 0"),
        ("--every 1h -p epochs many", UsageError, 'parameter epochs = "many"'),
        ("--every 1h -p rate 2", UsageError, "no parameter 'rate'"),
        ("--every 1h --except Monday", UsageError, "'Monday' is no day off"),
        ("--every 1h --output nowhere://x", UsageError, "nowhere"),
        ("--every 1h --fired-by pool --retries 2", UsageError, "its pool fires cannot have --retr"),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_recorded(
    desk: ScheduleDesk, notebook: Path, words: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        desk(f"schedule add {notebook} --pool {POOL} {words}")
    assert desk("schedule list") == []


def test_the_only_pool_need_not_be_named_and_of_several_one_has_to_be(
    desk: ScheduleDesk, notebook: Path
) -> None:
    assert len(desk(f"schedule preview {notebook} --every 1h")) == 10
    assert desk(f"schedule add {notebook} --every 1h")["version"]["pool"] == POOL
    desk.session.engine.store.add_pool(
        replace(desk.session.engine.store.get_pool(POOL), name="other")
    )
    with pytest.raises(UsageError, match="which") as caught:
        desk(f"schedule add {notebook} --every 1h --name second")
    assert caught.value.hint == f"attached are {POOL}, other: --pool {POOL}"


def test_a_schedule_whose_times_are_over_says_that_nothing_is_to_come(
    desk: ScheduleDesk, notebook: Path
) -> None:
    desk(f"schedule add {notebook} --pool {POOL} --at 2020-01-01")
    assert "none, its times are over: schedule run report runs it now" in desk.text()
    desk("schedule edit report --at 2999-01-01")
    assert "times are over" not in desk.text()


def test_a_parameter_with_an_equals_sign_is_explained(desk: ScheduleDesk, notebook: Path) -> None:
    with pytest.raises(UsageError, match="-p lr=2 --every: 'lr=2' is no name") as caught:
        desk(f"schedule add {notebook} -p lr=2 --every 1h")
    assert "-p lr 0.1" in caught.value.hint


def test_pool_and_notebook_have_to_be_there(
    desk: ScheduleDesk, notebook: Path, tmp_path: Path
) -> None:
    with pytest.raises(PoolNotFound):
        desk(f"schedule add {notebook} --pool elsewhere --every 1h")
    with pytest.raises(UsageError, match=r"no notebook .*missing\.ipynb"):
        desk(f"schedule add {tmp_path}/missing.ipynb --pool {POOL} --every 1h")
    (tmp_path / "bad.ipynb").write_text("{]")
    with pytest.raises(UsageError, match="it is not JSON"):
        desk(f"schedule add {tmp_path}/bad.ipynb --pool {POOL} --every 1h")
    (tmp_path / "list.ipynb").write_text("[]")
    with pytest.raises(UsageError, match="no list of cells"):
        desk(f"schedule add {tmp_path}/list.ipynb --pool {POOL} --every 1h")
    (tmp_path / "broken.ipynb").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        desk(f"schedule add {tmp_path}/broken.ipynb --pool {POOL} --every 1h")


def test_a_preview_shows_ten_slots_and_records_nothing(desk: ScheduleDesk, notebook: Path) -> None:
    slots = desk(
        f"schedule preview {notebook} --pool {POOL} --cron '30 2 * * *' --timezone America/New_York"
    )
    assert len(slots) == 10
    assert len(desk.rows()) == 10
    assert desk("schedule list") == []


def test_editing_makes_a_version_and_rolling_back_another(
    desk: ScheduleDesk, notebook: Path
) -> None:
    first = desk(
        f"schedule add {notebook} --pool {POOL} --every 1h -p lr 0.5 -p epochs 4 --retries 1"
    )
    write(notebook, CELL.replace("epochs = 3", "rounds = 1"))
    second = desk("schedule edit report --overlap queue -p lr 0.2 --note calmer")
    assert second["version"]["number"] == 2
    assert second["version"]["parameters"] == {"lr": 0.2}  # epochs is there no longer
    assert second["version"]["policy"]["retries"] == 1
    assert second["version"]["policy"]["overlap"] == "queue"
    assert second["version"]["triggers"] == first["version"]["triggers"]
    third = desk("schedule rollback report 1")
    assert third["version"]["number"] == 3
    assert third["version"]["parameters"] == {"epochs": 4, "lr": 0.5}
    assert third["version"]["note"] == "as version 1"
    desk("schedule show report")
    with pytest.raises(NotFound, match="no version 9"):
        desk("schedule rollback report 9")
    assert desk("schedule edit report --name daily")["name"] == "daily"
    with pytest.raises(NotFound):
        desk("schedule show report")


def test_pause_resume_remove_restore(desk: ScheduleDesk, notebook: Path) -> None:
    made = desk(f"schedule add {notebook} --pool {POOL} --every 1h")
    paused = desk("schedule pause report --because 'the source is down'")
    assert (paused["state"], paused["problem"]) == ("paused", "the source is down")
    assert paused["next_due"] is None
    resumed = desk("schedule resume report")
    assert resumed["state"] == "active"
    assert resumed["next_due"] == made["next_due"]
    assert desk("schedule remove report")["state"] == "removed"
    assert desk("schedule list") == []
    assert [each["id"] for each in desk("schedule list --removed")] == [made["id"]]
    desk(f"schedule add {notebook} --pool {POOL} --every 2h")
    with pytest.raises(Conflict, match="report"):
        desk(f"schedule restore {made['id']}")
    desk("schedule pause report")
    with pytest.raises(Conflict, match="report was not removed"):
        desk("schedule restore report")
    assert desk("schedule show report")["state"] == "paused"
    desk("schedule remove report")
    assert desk(f"schedule restore {made['id']}")["state"] == "active"


def test_schedules_in_a_circle_are_refused(desk: ScheduleDesk, notebook: Path) -> None:
    desk(f"schedule add {notebook} --pool {POOL} --every 1h --name one")
    two = desk(f"schedule add {notebook} --pool {POOL} --after one --name two")
    assert two["state"] == "active"
    assert two["upstream"] == desk("schedule show one")["id"]
    with pytest.raises(UsageError, match="in a circle"):
        desk("schedule edit one --after two")


def test_a_run_now_with_other_values_waits_in_line_and_can_be_cancelled(
    desk: ScheduleDesk, notebook: Path
) -> None:
    desk(f"schedule add {notebook} --pool {POOL} --every 1h -p lr 0.5")
    engine = desk.session.engine
    run = engine.schedules.run_now("report", words={"epochs": "9"})
    assert engine.store.get_run(run.id).parameters == {"lr": 0.5, "epochs": 9}
    with pytest.raises(UsageError, match="parameter lr = 7"):
        engine.schedules.run_now("report", words={"lr": "7"})
    (listed,) = desk("schedule runs report --active")
    assert listed["id"] == run.id
    cancelled = desk(f"schedule cancel {run.id}")
    assert cancelled["state"] == "cancelled"
    assert "cancelled by" in cancelled["reason"]
    again = engine.schedules.rerun(run.id)
    assert engine.store.get_run(again.id).parameters == {"lr": 0.5, "epochs": 9}
    desk(f"schedule cancel {again.id}")
    with pytest.raises(UsageError, match="purge which runs"):
        desk("schedule purge report")
    assert len(desk("schedule purge report --keep 1")["deleted"]) == 1
    assert len(desk("schedule runs report")) == 1


def test_the_zone_of_this_machine_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert local_zone() == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    assert local_zone() == "UTC"
    monkeypatch.delenv("TZ")
    assert zone_of(local_zone()).key == local_zone()


def test_a_slot_that_came_just_before_an_edit_is_still_decided_on(
    desk: ScheduleDesk, notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = desk(f"schedule add {notebook} --pool {POOL} --every 1h")
    schedules = desk.session.engine.schedules
    now = made["next_due"] + 0.5
    monkeypatch.setattr(schedules, "_clock", lambda: now)
    edited = desk("schedule edit report --retries 1")
    assert (edited["next_due"], edited["decided"]) == (now, made["decided"])
    monkeypatch.setattr(schedules, "_clock", lambda: now - 1800)
    settled = desk("schedule resume report")
    assert settled["decided"] == now - 1800
    again = desk("schedule edit report --retries 2")
    assert again["decided"] == now - 1800
    assert again["next_due"] > now - 1800
