"""Who can be told, over REST; and that a server tells of a run that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.testing import FakeCluster
from tests.server.test_schedules import asked, begin, write
from tests.support.hooks import Hook, listening
from tests.support.served import Api, beside, eventually, opener_of


@pytest.fixture
def hook() -> Iterator[Hook]:
    with listening() as made:
        yield made


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def aiinfra_config(
    cluster: FakeCluster, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    targets = {"team": "secret:TEAM_URL", "lost": "secret:NOT_SET_ANYWHERE"}
    lines = "\n".join(f"{name} = {json.dumps(url)}" for name, url in targets.items())
    monkeypatch.setenv("JUPYTER_AIINFRA_NOTIFY_TARGETS", lines)
    monkeypatch.setenv("TEAM_URL", f"json://127.0.0.1:{hook.port}/s3cret")
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


async def test_targets_are_listed_without_their_urls_and_tried(api: Api, hook: Hook) -> None:
    found = (await api.get("notify-targets"))["targets"]
    assert [each["name"] for each in found] == ["lost", "team"]
    assert "needs NOT_SET_ANYWHERE" in found[0]["problem"]
    assert found[1] == {"name": "team", "kind": "", "problem": ""}

    assert await api.ask("POST", "notify-targets/team/test") == (204, None)
    assert hook.got[0]["title"] == "jupyter-aiinfra: a test"
    assert (await api.refused("POST", "notify-targets/nobody/test"))[0] == 400
    hook.status = 500
    status, message, _ = await api.refused("POST", "notify-targets/team/test")
    assert status == 502
    assert "s3cret" not in message


async def test_a_run_that_fails_is_told_once_by_the_server(
    api: Api,
    engine: Engine,
    jp_serverapp: Any,
    jp_root_dir: Path,
    hook: Hook,
) -> None:
    write(jp_root_dir / "report.ipynb", "lr = 0.1")
    wrong = asked("report.ipynb", options={"notify": {"failure": ["nobody"]}})
    status, message, hint = await api.refused("POST", "schedules", wrong)
    assert (status, "there is lost, team" in message) == (400, True), hint
    begin(jp_serverapp)
    wanted = asked("report.ipynb", options={"notify": {"failure": ["team"], "success": []}})
    _, made = await api.ask("POST", "schedules", wanted)
    # No node of this pool has a Python: it cannot be started.
    _, run = await api.ask("POST", f"schedules/{made['id']}/run", {})

    async def is_told() -> bool:
        return bool(hook.got)

    await eventually(is_told)
    assert hook.got[0]["title"] == "report: failed"
    assert run["id"] in hook.got[0]["message"]
    ended = await api.get(f"runs/{run['id']}")
    assert ended["reason"] in hook.got[0]["message"]

    async def is_settled() -> bool:
        (said,) = engine.store.notifications(subject=run["id"])
        return said.sent_at is not None

    await eventually(is_settled)
    assert len(hook.got) == 1
