from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.endpointverbs import endpoint
from jupyter_aiinfra.commands.scheduleverbs import promote
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.terminal import JsonSurface
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.endpoint import VersionState
from jupyter_aiinfra.engine.asking import near_path
from jupyter_aiinfra.engine.endpoints import Endpoints
from jupyter_aiinfra.engine.endpointviews import CANARY_STEPS, Asked, steps_of
from jupyter_aiinfra.errors import Conflict, NotFound, Unreachable, UsageError
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.settings import Settings
from tests.support.endpoints import model


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(Settings(home=tmp_path / "home"))
    made.engine.store.add_pool(PoolRecord(name="here", kind="local"))
    yield made
    made.close()


@pytest.fixture
def endpoints(session: Session, monkeypatch: pytest.MonkeyPatch) -> Endpoints:
    """Verbs that write, where nothing is started: who would act does not."""
    made = session.engine.endpoints

    async def rest() -> float:
        return 3600.0

    monkeypatch.setattr(made.keeping, "tick", rest)
    return made


def run(session: Session, group: Any, *words: str) -> Any:
    """Run a line, and return the value that a program is given."""
    said: list[Any] = []

    class Kept(JsonSurface):
        def value(self, value: Any) -> None:
            said.append(value)

    context = Context(session=session, surface=Kept(session))
    invoke(group, list(words), name=group.name, context=context)
    return said[-1] if said else None


# --- steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "replicas", "percent", "steps"),
    [
        ("blue-green", 4, (), (100.0,)),
        ("rolling", 4, (), (25.0, 50.0, 75.0, 100.0)),
        ("rolling", 0, (), (100.0,)),
        ("canary", 1, (), CANARY_STEPS),
        ("canary", 1, (10.0,), (10.0, 25.0, 50.0, 100.0)),
        ("canary", 1, (60.0, 10.0), (10.0, 60.0, 100.0)),
        ("canary", 1, (100.0,), (100.0,)),
    ],
)
def test_steps_grow_to_all(
    how: Any, replicas: int, percent: tuple[float, ...], steps: tuple[float, ...]
) -> None:
    assert steps_of(how, replicas=replicas, percent=percent) == steps


@pytest.mark.parametrize("percent", [0.0, -1.0, 101.0, float("nan"), float("inf")])
def test_a_step_that_is_no_percentage_is_refused(percent: float) -> None:
    with pytest.raises(UsageError, match="no part of the traffic"):
        steps_of("canary", replicas=1, percent=(percent,))


# --- lines ---------------------------------------------------------------------------------------


def test_a_folder_is_deployed_and_then_updated_by_one_line(
    session: Session, endpoints: Endpoints, tmp_path: Path
) -> None:
    folder = model(tmp_path / "m")
    said = run(
        session,
        promote,
        *("endpoint", str(folder), "--name", "adder", "--pool", "here", "--replicas", "2"),
        "--detach",
    )
    assert (said["name"], said["state"]) == ("adder", "starting")
    assert said["scaling"]["least"] == said["scaling"]["most"] == 2
    line = ("endpoint", str(folder), "--name", "adder", "--canary", "10", "--detach")
    said = run(session, promote, *line)
    assert tuple(said["rollout"]["steps"]) == (10.0, 25.0, 50.0, 100.0)
    assert said["rollout"]["least_requests"] == 50
    with pytest.raises(Conflict, match="on its way from version 1 to 2"):
        run(session, promote, *line)


def test_a_change_that_is_no_canary_waits_for_nobody(
    session: Session, endpoints: Endpoints, tmp_path: Path
) -> None:
    folder = str(model(tmp_path / "m"))
    run(session, endpoint, "deploy", folder, "--pool", "here", "--detach")
    said = run(session, endpoint, "update", "adder", folder, "--blue-green", "--detach")
    assert said["rollout"]["least_requests"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no-such", "--name", "a", "--pool", "here"), "nothing that can be served"),
        (("FOLDER", "--name", "a"), "on which pool"),
        (("FOLDER", "--name", "Not One", "--pool", "here"), "no name of an endpoint"),
        (
            ("FOLDER", "--name", "a", "--pool", "here", "--replicas", "1", "--min", "0"),
            "--replicas",
        ),
        (("runs:/x", "--name", "a", "--pool", "here", "--example", "{"), "no JSON"),
    ],
)
def test_what_cannot_be_promoted_is_told(
    session: Session, endpoints: Endpoints, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    folder = str(model(tmp_path / "m"))
    with pytest.raises(UsageError, match=said):
        run(session, promote, "endpoint", *(folder if w == "FOLDER" else w for w in words))
    assert session.engine.store.endpoints() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--canary", "5", "--shadow"), "contradict each other"),
        (("--canary", "much"), "no percentage"),
        (("--header", "X-Version"), "no header"),
        (("--canary", "120"), "no part of the traffic"),
    ],
)
def test_what_cannot_be_an_update_is_told(
    session: Session, endpoints: Endpoints, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    folder = str(model(tmp_path / "m"))
    run(session, endpoint, "deploy", folder, "--pool", "here", "--detach")
    with pytest.raises(UsageError, match=said):
        run(session, endpoint, "update", "adder", folder, *words)
    assert session.engine.store.get_endpoint("adder").newest == 1


def test_a_name_of_the_notebook_is_packaged_with_its_example(
    session: Session, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = model(tmp_path / "m")
    given: dict[str, Any] = {}

    def package(source: Any, **values: Any) -> Any:
        given.update(values, source=source)
        return SimpleNamespace(folder=folder)

    monkeypatch.setattr("jupyter_aiinfra.promote.packaging.package", package)
    main = SimpleNamespace(get_ipython=None, predict=len)
    monkeypatch.setitem(sys.modules, "__main__", main)
    line = ("--name", "adder", "--pool", "here", "--example", "[[0, 0.5]]", "--detach")
    run(session, promote, "endpoint", "predict", *line, "--one-at-a-time")
    assert given["source"] is len
    assert given["example"].dtype == "float32"
    assert given["example"].tolist() == [[0.0, 0.5]]
    assert given["batched"] is False
    with pytest.raises(UsageError, match="the notebook has no 'other'"):
        run(session, promote, "endpoint", "other", "--name", "b", "--pool", "here")


async def test_recorded_calls_have_to_be_answered_as_they_were(
    session: Session, endpoints: Endpoints, tmp_path: Path
) -> None:
    folder = model(tmp_path / "m")
    (folder / "package.json").write_text(json.dumps({"tolerance": [1e-5, 1e-6]}))
    (folder / "calls.jsonl").write_text('{"inputs": [[1, 2]], "outputs": [[4.0]]}\n')
    with pytest.raises(UsageError, match="is not what the notebook has") as error:
        await endpoints.deploy("adder", folder, pool="here")
    assert "--no-replay" in error.value.hint
    view = await endpoints.deploy("adder", folder, pool="here", asked=Asked(replay=False))
    assert view.endpoint.name == "adder"
    (folder / "calls.jsonl").write_text('{"inputs": [[1, 2]], "outputs": [[3.0]]}\n')
    view = await endpoints.update("adder", folder, Asked(how="shadow"))
    assert view.endpoint.shadow == 2


async def test_the_way_back_needs_a_version_that_was_good(
    session: Session, endpoints: Endpoints, tmp_path: Path
) -> None:
    await endpoints.deploy("adder", model(tmp_path / "m"), pool="here")
    with pytest.raises(NotFound, match="no version before 1"):
        await endpoints.rollback("adder")
    with pytest.raises(Conflict, match="serves version 1 already"):
        await endpoints.rollback("adder", to=1)
    with pytest.raises(Conflict, match="tries out no other"):
        await endpoints.promote("adder")
    await endpoints.update("adder", None, Asked(header={"X-Version": "2"}))
    view = await endpoints.rollback("adder", reason="no")
    assert [share.version for share in view.endpoint.traffic] == [1]
    assert view.whole.version(2).state is VersionState.FAILED


async def test_who_is_not_there_is_told_after_its_time(
    session: Session, endpoints: Endpoints, tmp_path: Path
) -> None:
    await endpoints.deploy("adder", model(tmp_path / "m"), pool="here")
    with pytest.raises(Unreachable, match="adder is starting after 0 s"):
        await endpoints.wait("adder", seconds=0)
    with pytest.raises(Unreachable, match="the router does not answer"):
        await endpoints.call("adder", {"inputs": []})


def test_a_long_path_of_a_socket_gets_a_short_name(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    (deep / "x").write_text("there")
    with near_path(deep / "x") as name:
        assert len(name) < 100
        assert Path(name).read_text() == "there"
    with near_path(Path("/run/x")) as name:
        assert name == "/run/x"
