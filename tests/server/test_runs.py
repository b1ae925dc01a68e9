"""What runs make, over REST and the socket: a real notebook on a real pool of this machine."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger

from jupyter_aiinfra.server.events import RUN
from tests.support.browser import Page
from tests.support.served import Api, eventually

POOL = "here"
Connect = Callable[..., Awaitable[Any]]


@pytest.fixture
def aiinfra_config() -> dict[str, Any]:
    quick = ("watch", "calm", "sure", "idle", "refresh", "refresh_longest")
    return {"Background": {f"{name}_seconds": 0.05 for name in quick}}


@pytest.fixture
def page(jp_ws_fetch: Connect, jp_serverapp: Any, jp_asyncio_loop: Any) -> Iterator[Page]:
    async def opened() -> Page:
        page = Page(await jp_ws_fetch("aiinfra", "stream"))
        assert (await page.hear())["type"] == "hello"
        return page

    page = jp_asyncio_loop.run_until_complete(opened())
    yield page
    page.connection.close()
    (app,) = jp_serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
    jp_asyncio_loop.run_until_complete(app.background.stop())


def cell(source: str, number: int, *tags: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": f"cell-{number}",
        "metadata": {"tags": list(tags)} if tags else {},
        "source": source.splitlines(keepends=True),
        "outputs": [],
        "execution_count": None,
    }


def write(path: Path, *sources: str) -> None:
    cells = [cell(sources[0], 0, "parameters")]
    cells += [cell(text, number) for number, text in enumerate(sources[1:], 1)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(
        json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    )


async def scheduled(api: Api, notebook: str, **values: Any) -> dict[str, Any]:
    await api.ask("POST", "pools", {"name": POOL, "kind": "local", "options": {}})
    wanted = {"notebook": notebook, "pool": POOL, "timezone": "UTC", **values}
    status, made = await api.ask("POST", "schedules", wanted)
    assert status == 201, made
    return dict(made)


async def over(api: Api, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_over() -> bool:
        found.update(await api.get(f"runs/{run_id}"))
        return found["state"] not in ("due", "queued", "running")

    await eventually(is_over, seconds=60)
    return found


def shown(notebook: dict[str, Any]) -> str:
    outputs = [output for each in notebook["cells"] for output in each.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs)


async def test_a_run_is_watched_cell_by_cell_and_its_result_is_had(
    api: Api, page: Page, jp_root_dir: Path, tmp_path: Path, jp_serverapp: Any
) -> None:
    told: list[dict[str, Any]] = []

    async def hear(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        told.append(data)

    jp_serverapp.event_logger.add_listener(schema_id=RUN, listener=hear)
    going = tmp_path / "go"
    write(
        jp_root_dir / "slow.ipynb",
        "lr: float = 0.1  # 0 < lr <= 1",
        "print('rate', lr, flush=True)",
        f"import os, time\nwhile not os.path.exists({str(going)!r}):\n    time.sleep(0.05)",
        "print('token ghp_' + 'a1B2' * 9)",
    )
    made = await scheduled(api, "slow.ipynb", options={"forms": ["ipynb", "html"]})
    await page.watch({"topic": "schedules"})
    assert [each["id"] for each in (await page.until("schedules"))["changed"]] == [made["id"]]
    await page.watch({"topic": "runs", "id": made["id"]})
    assert (await page.until("runs"))["reset"]

    status, run = await api.ask("POST", f"schedules/{made['id']}/run", {"parameters": {"lr": 0.5}})
    assert status == 201
    news = await page.until("runs", reset=False)
    assert [each["id"] for each in news["changed"]] == [run["id"]]
    await page.watch({"topic": "notebook", "id": run["id"]})
    cells: list[dict[str, Any]] = []
    while "rate 0.5" not in shown({"cells": cells}) or news["cell"] != 4:
        news = await page.until("notebook", id=run["id"])
        if news["reset"]:
            cells = news["notebook"]["cells"]
        for at, each in news["changes"]:
            cells[at] = each
    assert (news["state"], news["live"], news["cells"]) == ("running", True, 5)
    whole = await api.get(f"runs/{run['id']}/notebook")
    assert (whole["cell"], whole["live"]) == (4, True)
    assert "rate 0.5" in shown(whole["notebook"])
    assert (await api.refused("DELETE", f"runs/{run['id']}"))[0] == 409

    going.touch()
    news = await page.until("notebook", state="over")
    assert news["reset"]
    assert news["findings"][0] | {"kind": ""} == {
        "cell": 5,
        "kind": "",
        "count": 1,
        "where": "output",
    }
    assert "a1B2a1B2" not in json.dumps(page.heard)
    ended = await over(api, run["id"])
    assert ended["state"] == "succeeded"
    (said,) = [each for each in told if each["run"] == run["id"]]
    assert (said["name"], said["state"]) == ("slow", "succeeded")

    response = await api.fetch("GET", f"runs/{run['id']}/output", form="html")
    assert response.code == 200
    assert b"rate 0.5" in response.body
    assert ".html" in response.headers["Content-Disposition"]
    status, message, _ = await api.refused("GET", f"runs/{run['id']}/output", form="py")
    assert (status, message) == (
        404,
        f"run {run['id']} has no result as 'py': there is html, ipynb",
    )
    Path(ended["outputs"]["files"]["html"][0].removeprefix("file://")).unlink()
    status, message, _ = await api.refused("GET", f"runs/{run['id']}/output", form="html")
    assert (status, "cannot be read" in message) == (404, True)

    await page.watch({"topic": "runs"})
    await page.until("runs", reset=True)
    assert await api.ask("DELETE", f"runs/{run['id']}") == (204, None)
    assert (await page.until("runs", reset=False))["removed"] == [run["id"]]
    assert (await api.refused("GET", f"runs/{run['id']}/notebook"))[0] == 404
    await page.watch({"topic": "notebook", "id": run["id"]})
    assert (await page.until("gone"))["id"] == run["id"]


async def test_two_runs_are_compared_and_two_versions_told_apart(
    api: Api, page: Page, jp_root_dir: Path
) -> None:
    (jp_root_dir / "names.txt").write_text("a")
    write(jp_root_dir / "sums.ipynb", "a: int = 1", "print('sum', a + 1)", "print('the same')")
    made = await scheduled(api, "sums.ipynb", options={"files": ["names.txt"]})
    where = f"schedules/{made['id']}"
    runs = []
    for value in (1, 2):
        _, run = await api.ask("POST", f"{where}/run", {"parameters": {"a": value}})
        runs.append(await over(api, run["id"]))
    assert [run["state"] for run in runs] == ["succeeded"] * 2
    first, second = (run["id"] for run in runs)
    found = await api.get(f"runs/{second}/compare/{first}")
    assert found["same"] is False
    assert found["parameters"] == [{"name": "a", "before": 1, "after": 2}]
    changed = [each for each in found["cells"] if each["outputs"]]
    assert [each["outputs"][1:] for each in changed] == [["-sum 2", "+sum 3"]]
    assert found["cells"][-1]["kind"] == "same"
    assert (await api.get(f"runs/{first}/compare/{first}"))["same"] is True

    (jp_root_dir / "names.txt").write_text("b")
    write(jp_root_dir / "sums.ipynb", "a: int = 1", "print('sum', a + 2)", "print('the same')")
    await api.ask("PUT", where, {"policy": {"retries": 2}, "parameters": {"a": 7}})
    diff = await api.get(f"{where}/diff")
    assert (diff["from"], diff["to"]) == (1, 2)
    assert [(each["index"], each["kind"]) for each in diff["cells"]] == [(1, "changed")]
    assert diff["cells"][0]["lines"] == [
        {"op": "-", "text": "print('sum', a + 1)"},
        {"op": "+", "text": "print('sum', a + 2)"},
    ]
    fields = {each["name"]: (each["before"], each["after"]) for each in diff["fields"]}
    assert fields == {"policy.retries": (0, 2), "parameters.a": (1, 7)}
    assert diff["files"] == [{"path": "names.txt", "kind": "changed"}]
    back = await api.get(f"{where}/diff", **{"from": 2, "to": 1})
    assert back["cells"][0]["after"] == "print('sum', a + 1)"
    assert (await api.refused("GET", f"{where}/diff", **{"from": 1, "to": 9}))[0] == 404

    status, twin = await api.ask("POST", f"{where}/duplicate", {"name": "twin"})
    assert (status, twin["name"], twin["version"]["number"]) == (201, "twin", 1)
    assert twin["version"]["parameters"] == {"a": 7}
    assert (await api.refused("POST", f"{where}/duplicate", {"name": "twin"}))[0] == 409
    _, run = await api.ask("POST", f"schedules/{twin['id']}/run", {})
    assert (await over(api, run["id"]))["state"] == "succeeded"


async def test_what_has_not_run_shows_what_was_frozen(
    api: Api, page: Page, jp_root_dir: Path
) -> None:
    write(jp_root_dir / "later.ipynb", "a: int = 1", "raise ValueError('a bad batch')")
    made = await scheduled(api, "later.ipynb", policy={"retries": 1, "backoff_seconds": 600.0})
    _, run = await api.ask("POST", f"schedules/{made['id']}/run", {})
    found: dict[str, Any] = {}

    async def waits_again() -> bool:
        found.update(await api.get(f"runs/{run['id']}"))
        return bool(found["state"] == "queued" and found["attempt"] == 2)

    await eventually(waits_again, seconds=60)
    waiting = await api.get(f"runs/{run['id']}/notebook")
    assert (waiting["state"], waiting["live"], waiting["problem"]) == ("waiting", False, None)
    assert "a bad batch" in json.dumps(waiting["notebook"])  # as the first attempt has left it
    twin = (await api.ask("POST", f"schedules/{made['id']}/run", {}))[1]
    queued = await api.get(f"runs/{twin['id']}/notebook")
    assert queued["state"] == "waiting"
    assert queued["notebook"]["cells"][0]["source"] == "a: int = 1"
    assert (await api.refused("GET", f"runs/{twin['id']}/output"))[0] == 404
    assert (await api.refused("GET", f"runs/{twin['id']}/compare/{run['id']}"))[0] == 404
    await api.ask("POST", f"runs/{twin['id']}/cancel")
    await api.ask("POST", f"runs/{run['id']}/cancel")
    assert (await over(api, run["id"]))["state"] == "cancelled"
    left = await api.get(f"runs/{run['id']}/notebook")
    assert left["state"] == "over"
    assert "a bad batch" in json.dumps(left["notebook"])
