"""``/aiinfra/pools`` and ``/aiinfra/kinds``: a real server and database over a fake cluster."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

import jsonschema  # type: ignore[import-untyped]
import pytest

from jupyter_aiinfra import pools
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import HostKeyUnknown, LoginNeeded, PoolError, PoolNotFound
from jupyter_aiinfra.model import Health, Node, PoolRecord
from jupyter_aiinfra.server.kinds import options_schema
from jupyter_aiinfra.server.pools import BOARD_SETTING, PoolBoard
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import PoolStatus
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store
from jupyter_aiinfra.testing import FakeClock, FakeCluster, FakePool
from tests.support.engines import EMPTY, a_spec
from tests.support.served import Api, beside, eventually, opener_of


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    return {"pool_opener": opener_of(cluster)}


@pytest.fixture
def engine(jp_serverapp: Any, cluster: FakeCluster) -> Iterator[Engine]:
    engine = beside(cluster)
    yield engine
    engine.store.close()


class TestList:
    async def test_is_empty_at_first(self, api: Api) -> None:
        assert await api.get("pools") == []

    async def test_a_pool_is_told_at_once_and_asked_in_the_background(
        self, api: Api, engine: Engine, jp_serverapp: Any
    ) -> None:
        board: PoolBoard = jp_serverapp.web_app.settings[BOARD_SETTING]
        told: list[str] = []
        board.changed.append(lambda: told.append("changed"))

        (pool,) = await api.get("pools")
        assert (pool["name"], pool["kind"], pool["active_jobs"]) == ("fake", "fake", 0)

        async def live() -> bool:
            (pool,) = await api.get("pools")
            return bool(pool["status"] == "live")

        await eventually(live)
        (pool,) = await api.get("pools")
        assert pool["nodes"][0]["name"] == "fake0"
        assert told == ["changed"]

    async def test_counts_jobs_that_are_not_over(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch("fake", a_spec(), EMPTY)
        assert (await api.get("pools/fake"))["active_jobs"] == 1
        await engine.cancel(job.id, grace=0.0)
        await engine.refresh(job.id)
        assert (await api.get("pools/fake"))["active_jobs"] == 0


class TestOne:
    async def test_unknown_is_not_found_and_the_nearest_is_named(
        self, api: Api, engine: Engine
    ) -> None:
        for verb, path in [("GET", "fke"), ("DELETE", "fke"), ("POST", "fke/check")]:
            refused = await api.refused(verb, f"pools/{path}")
            assert refused == (404, "no pool named 'fke'", "did you mean fake?")

    async def test_a_name_may_hold_anything_without_harm(self, api: Api, engine: Engine) -> None:
        for name in ("..", "%2e%2e", "a%2Fb", "%00", "ü", "'--"):
            status, _, _ = await api.refused("GET", f"pools/{name}")
            assert status == 404, name

    async def test_check_asks_and_tells_when(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        _, pool = await api.ask("POST", "pools/fake/check")
        assert (pool["status"], pool["problem"]) == ("live", "")
        cluster.reachable = False
        first = pool["checked_at"]
        _, pool = await api.ask("POST", "pools/fake/check")
        assert pool["status"] == "unreachable"
        # What it had is still told of, as what does not answer.
        (node,) = pool["nodes"]
        assert (node["name"], node["health"]) == ("fake0", "unreachable")
        assert node["since"] == pool["since"] == pool["checked_at"]
        assert pool["problem"] == "pool fake does not answer"
        assert pool["checked_at"] >= first
        assert await api.get("pools/fake") == pool
        assert await api.get("pools") == [pool]


class TestAttach:
    async def test_answers_with_the_pool_as_it_is(self, api: Api, jp_serverapp: Any) -> None:
        status, pool = await api.ask("POST", "pools", {"name": "new", "kind": "fake"})
        assert (status, pool["status"]) == (201, "live")
        assert await api.get("pools") == [pool]

    async def test_fields_left_empty_are_not_given(self, api: Api, engine: Engine) -> None:
        options = {"user": "", "port": 0, "keys": [], "ask": False}
        _, pool = await api.ask(
            "POST", "pools", {"name": "new", "kind": "fake", "options": options}
        )
        assert pool["options"] == {"port": 0, "keys": [], "ask": False}
        assert engine.store.get_pool("new").options == pool["options"]

    async def test_what_cannot_be_is_refused_and_not_kept(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        body = {"name": "no way", "kind": "fake"}
        status, message, hint = await api.refused("POST", "pools", body)
        assert (status, message) == (400, "'no way' is no name for a pool")
        assert "letters" in hint
        taken = {"name": "fake", "kind": "other"}
        status, _, hint = await api.refused("POST", "pools", taken)
        assert status == 409
        assert "another name" in hint
        cluster.reachable = False
        status, message, _ = await api.refused("POST", "pools", {"name": "new", "kind": "fake"})
        assert (status, message) == (503, "pool new does not answer")
        assert [pool.name for pool in engine.store.list_pools()] == ["fake"]

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "[]",
            "null",
            "[" * 100_000,
            '{"name": 1, "kind": "x"}',
            "{",
            b"\xff",
            '{"name": "x"}',
        ],
    )
    async def test_a_body_that_is_none_names_what_is_wrong(self, api: Api, body: Any) -> None:
        status, message, _ = await api.refused("POST", "pools", body)
        assert status == 400
        assert message.startswith("the request's body is not what is expected: ")

    async def test_the_same_again_is_no_error(self, api: Api, jp_serverapp: Any) -> None:
        body = {"name": "new", "kind": "fake", "options": {"x": "1"}}
        _, first = await api.ask("POST", "pools", body)
        status, again = await api.ask("POST", "pools", body)
        assert (status, again["created_at"]) == (201, first["created_at"])


class TestDetach:
    async def test_forgets_it(self, api: Api, engine: Engine) -> None:
        assert await api.ask("DELETE", "pools/fake") == (204, None)
        assert await api.get("pools") == []
        assert (await api.refused("GET", "pools/fake"))[0] == 404

    async def test_jobs_not_over_hold_it_unless_forced(self, api: Api, engine: Engine) -> None:
        job = await engine.launch("fake", a_spec(), EMPTY)
        status, message, hint = await api.refused("DELETE", "pools/fake")
        assert status == 409
        assert job.id in message
        assert hint
        assert (await api.refused("DELETE", "pools/fake", force="no"))[:2] == (
            400,
            "force='no': expected true or false",
        )
        assert await api.ask("DELETE", "pools/fake", force="true") == (204, None)

    async def test_attached_anew_it_is_another_pool(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        await api.ask("POST", "pools/fake/check")
        # Not by this server: another process does it.
        engine.store.remove_pool("fake")
        cluster.reachable = False
        engine.store.add_pool(PoolRecord(name="fake", kind="fake", options={"other": "1"}))
        pool = await api.get("pools/fake")
        assert (pool["status"], pool["nodes"]) == ("unknown", None)


class KeyPool(FakePool):
    """Two hosts whose keys nobody has accepted."""

    keys: ClassVar[dict[str, HostKeyUnknown]] = {}
    asks_login: ClassVar[bool] = False

    @property
    def untrusted(self) -> Sequence[HostKeyUnknown]:
        return tuple(self.keys.values())

    async def trust(self, error: HostKeyUnknown) -> None:
        del self.keys[error.host]

    async def nodes(self) -> Sequence[Node]:
        if self.asks_login:
            raise LoginNeeded("gpu1 wants more", hint="log in", command="ssh -M gpu1")
        if self.keys:
            raise next(iter(self.keys.values()))
        return await super().nodes()


def _key(host: str) -> HostKeyUnknown:
    return HostKeyUnknown(
        f"the host key of {host} is not known",
        host=host,
        fingerprint=f"SHA256:{host}",
        key_type="ED25519",
        line=f"{host} ssh-ed25519 AAAA{host}",
        hint="compare it",
    )


class TestHostKeys:
    @pytest.fixture
    def aiinfra_config(
        self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> dict[str, Any]:
        monkeypatch.setattr(KeyPool, "keys", {name: _key(name) for name in ("gpu1", "gpu2")})

        def opener(record: PoolRecord, settings: Settings) -> KeyPool:
            return KeyPool(cluster, name=record.name)

        return {"pool_opener": opener}

    async def test_are_told_one_by_one_and_accepted_as_they_were_told(self, api: Api) -> None:
        body: dict[str, Any] = {"name": "lab", "kind": "ssh", "accept": []}
        for host in ("gpu1", "gpu2"):
            status, answer = await api.ask("POST", "pools", body)
            assert (status, answer["message"]) == (502, f"the host key of {host} is not known")
            key = _key(host)
            assert answer["host_key"] == {
                "host": host,
                "key_type": "ED25519",
                "fingerprint": f"SHA256:{host}",
                "line": key.line,
            }
            body["accept"].append(answer["host_key"])
        status, pool = await api.ask("POST", "pools", body)
        assert (status, pool["status"]) == (201, "live")
        assert KeyPool.keys == {}

    async def test_another_one_than_was_accepted_is_asked_about_anew(self, api: Api) -> None:
        shown = {"host": "gpu1", "key_type": "RSA", "fingerprint": "SHA256:x", "line": "gpu1 r x"}
        body = {"name": "lab", "kind": "ssh", "accept": [shown]}
        _, answer = await api.ask("POST", "pools", body)
        assert answer["host_key"]["fingerprint"] == "SHA256:gpu1"
        assert list(KeyPool.keys) == ["gpu1", "gpu2"]
        assert await api.get("pools") == []

    async def test_a_login_that_only_a_person_can_do_is_told_as_its_command(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(KeyPool, "asks_login", True)
        monkeypatch.setattr(KeyPool, "keys", {})
        _, answer = await api.ask("POST", "pools", {"name": "lab", "kind": "ssh"})
        assert (answer["command"], answer["host_key"]) == ("ssh -M gpu1", None)


class TestMistakes:
    """Which field of the form a mistake is in; no host is reached for."""

    @pytest.fixture
    def aiinfra_config(self) -> dict[str, Any]:
        return {}

    @pytest.mark.parametrize(
        ("options", "option"),
        [
            ({"hosts": "gpu1,gpu 2"}, "hosts"),
            ({}, "hosts"),
            ({"hosts_from": "/no/such/file"}, "hosts_from"),
            ({"hosts": "gpu1", "hosts_from": "/etc/hosts"}, "hosts_from"),
            ({"hosts": "gpu1", "max_procs": 0}, "max_procs"),
            ({"hosts": "gpu1", "max_procs": "many"}, "max_procs"),
            ({"hosts": "gpu1,gpu2", "addresses": "10.0.0.1"}, "addresses"),
            ({"hosts": "gpu1", "hots": "x"}, "hots"),
        ],
    )
    async def test_names_the_option(self, api: Api, options: dict[str, Any], option: str) -> None:
        body = {"name": "lab", "kind": "ssh", "options": options}
        status, answer = await api.ask("POST", "pools", body)
        assert (status, answer["option"]) == (400, option)


class SlowCluster(FakeCluster):
    """Counts questions, and answers when told to."""

    def __init__(self) -> None:
        super().__init__(clock=FakeClock())
        self.asked = 0
        self.release = threading.Event()
        self.error: Exception | None = None

    def opener(self, record: PoolRecord, settings: Settings) -> FakePool:
        return SlowPool(self, name=record.name)


class SlowPool(FakePool):
    cluster: SlowCluster

    async def nodes(self) -> Sequence[Node]:
        self.cluster.asked += 1
        # The engine's loop is another one than the test's.
        assert await asyncio.to_thread(self.cluster.release.wait, 10)
        if self.cluster.error is not None:
            raise self.cluster.error
        return await super().nodes()


class TestBoard:
    """The board by itself, over a pool that takes its time."""

    @pytest.fixture
    def slow(self) -> SlowCluster:
        return SlowCluster()

    @pytest.fixture
    def shared(self, tmp_path: Path, slow: SlowCluster) -> SharedEngine:
        settings = Settings(home=tmp_path / "home")

        def opener() -> Engine:
            engine = Engine(open_store(settings), settings, opener=slow.opener)
            if not engine.store.list_pools():
                engine.store.add_pool(PoolRecord(name="slow", kind="fake"))
            return engine

        return SharedEngine(opener)

    async def test_many_who_ask_at_once_share_one_question(
        self, shared: SharedEngine, slow: SlowCluster
    ) -> None:
        board = PoolBoard(shared, clock=FakeClock(5.0))
        (listed,) = await board.items()
        assert listed.status is PoolStatus.UNKNOWN
        assert (await board.items()) == (listed,)
        impatient = asyncio.create_task(board.check("slow"))
        asking = [asyncio.create_task(board.check("slow")) for _ in range(5)]
        await eventually(lambda: _is(slow.asked > 0))
        impatient.cancel()
        slow.release.set()
        answers = await asyncio.gather(*asking)
        assert slow.asked == 1
        assert {(each.status, each.checked_at) for each in answers} == {(PoolStatus.LIVE, 5.0)}
        assert (await board.items()) == (answers[0],)
        assert slow.asked == 1
        await board.close()
        await shared.close()

    async def test_an_answer_that_comes_after_the_detachment_counts_for_nothing(
        self, shared: SharedEngine, slow: SlowCluster
    ) -> None:
        board = PoolBoard(shared)
        told: list[str] = []
        board.changed.append(lambda: told.append("changed"))
        asking = asyncio.create_task(board.check("slow"))
        await eventually(lambda: _is(slow.asked > 0))
        board.forget("slow")
        slow.release.set()
        await asking
        assert told == []
        assert (await board.item("slow")).status is PoolStatus.UNKNOWN
        await board.close()
        await shared.close()

    async def test_a_pool_detached_elsewhere_is_forgotten(
        self, shared: SharedEngine, slow: SlowCluster
    ) -> None:
        slow.release.set()
        board = PoolBoard(shared)
        await board.check("slow")
        await board.items()
        told: list[str] = []
        board.changed.append(lambda: told.append("changed"))
        await shared.call(lambda engine: engine.store.remove_pool("slow"))
        assert await board.items() == ()
        assert told == ["changed"]
        await board.close()
        await shared.close()

    async def test_a_pool_some_of_whose_nodes_do_not_answer_is_degraded(
        self, shared: SharedEngine, slow: SlowCluster
    ) -> None:
        slow.release.set()
        clock = FakeClock(5.0)
        board = PoolBoard(shared, clock=clock)
        (node,) = slow.nodes
        assert (await board.check("slow")).since is None

        silent = replace(node, name="fake1", health=Health.UNREACHABLE, problem="timed out")
        slow.nodes = (node, silent)
        for _ in range(2):
            clock.advance(10)
            item = await board.check("slow")
            assert (item.status, item.since, item.problem) == (PoolStatus.DEGRADED, 15.0, "")
            assert item.nodes is not None
            assert [each.since for each in item.nodes] == [None, 15.0]

        slow.reachable = False
        clock.advance(10)
        item = await board.check("slow")
        assert (item.status, item.since) == (PoolStatus.UNREACHABLE, 35.0)
        assert item.nodes is not None
        assert [each.since for each in item.nodes] == [35.0, 15.0]

        slow.reachable, slow.nodes = True, (node,)
        clock.advance(10)
        item = await board.check("slow")
        assert (item.status, item.since, item.nodes) == (PoolStatus.LIVE, 45.0, (node,))
        await board.close()
        await shared.close()

    async def test_a_pool_that_answers_wrongly_is_told_as_its_problem(
        self, shared: SharedEngine, slow: SlowCluster
    ) -> None:
        slow.release.set()
        slow.error = PoolError("no such partition")
        board = PoolBoard(shared)
        item = await board.check("slow")
        assert (item.status, item.problem) == (PoolStatus.UNREACHABLE, "no such partition")
        with pytest.raises(PoolNotFound):
            await board.check("other")
        await board.close()
        await shared.close()

    async def test_a_defect_in_the_background_is_logged_and_not_repeated(
        self, shared: SharedEngine, slow: SlowCluster, caplog: pytest.LogCaptureFixture
    ) -> None:
        slow.release.set()
        slow.error = ZeroDivisionError("a defect")
        board = PoolBoard(shared)
        await board.items()
        await eventually(lambda: _is("checking pool slow failed" in caplog.text))
        await board.items()
        await board.close()
        assert slow.asked == 1
        await shared.close()


async def _is(value: bool) -> bool:
    return value


# --- kinds ---------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Login:
    """How to get in."""

    user: str = field(metadata={"help": "who"})
    deeper: Login | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a kind that somebody writes later."""

    host_name: str = field(metadata={"help": "where it is"})
    port: int | None = None
    share: float = 0.5
    mode: Literal["a", "b"] = "a"
    colour: Colour | None = None
    either: int | str | None = None
    login: Login | None = field(default=None, metadata={"help": "how to get in"})
    keys: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


class TestKinds:
    def test_a_schema_is_one_that_forms_can_draw(self) -> None:
        schema = options_schema(Options)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "$ref" not in str(schema)
        assert "null" not in str(schema)
        assert schema["required"] == ["host_name"]
        drawn = schema["properties"]
        assert drawn["host_name"] == {
            "type": "string",
            "title": "Host name",
            "description": "where it is",
        }
        assert drawn["port"] == {"type": "integer", "title": "Port"}
        assert drawn["share"] == {"type": "number", "default": 0.5, "title": "Share"}
        assert drawn["mode"]["enum"] == ["a", "b"]
        assert sorted(drawn["colour"]["enum"]) == ["blue", "red"]
        assert drawn["either"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
        assert drawn["login"]["description"] == "how to get in"
        assert drawn["login"]["properties"]["deeper"] == {"type": "object"}
        assert drawn["keys"]["items"] == {"type": "string"}
        assert drawn["env"]["additionalProperties"] == {"type": "string"}

    async def test_the_local_kind_and_none_that_is_broken(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            pools, "KINDS", {**pools.KINDS, "gone": "no_such_module:Pool", "odd": "json:Nothing"}
        )
        kinds = {kind["kind"]: kind for kind in await api.get("kinds")}
        assert list(kinds) == ["local", "simulated", "ssh"]
        ssh = kinds["ssh"]
        assert ssh["title"] == "SSH hosts"
        assert ssh["schema"]["oneOf"] == [{"required": ["hosts"]}, {"required": ["hosts_from"]}]
        assert list(ssh["schema"]["properties"])[:2] == ["hosts", "hosts_from"]
        local = kinds["local"]
        assert (local["kind"], local["title"]) == ("local", "Local")
        # What it costs is asked of every kind, below its own options.
        own, price = list(local["schema"]["properties"])[:-5], ["sku", "region", "spot"]
        assert [*own, *price] == list(local["schema"]["properties"])[:-2]
        assert local["schema"]["properties"]["spot"]["type"] == "boolean"
        shown = {**local["schema"]["properties"]}
        assert {
            **local["schema"],
            "properties": {name: shown[name] for name in own},
        } == {
            "type": "object",
            "properties": {
                "python": {
                    "type": "string",
                    "title": "Python",
                    "description": "interpreter the ranks run with",
                },
                "max_procs": {
                    "type": "integer",
                    "title": "Max procs",
                    "description": "most ranks a job may have",
                },
            },
            "required": [],
        }


class TestLocal:
    """The real kind behind the same endpoints."""

    @pytest.fixture
    def aiinfra_config(self) -> dict[str, Any]:
        return {}

    async def test_attaches_this_machine(self, api: Api, jp_serverapp: Any) -> None:
        body = {"name": "here", "kind": "local", "options": {"python": "", "max_procs": 3}}
        status, pool = await api.ask("POST", "pools", body)
        assert (status, pool["status"]) == (201, "live")
        assert pool["nodes"][0]["max_procs"] == 3

    @pytest.mark.parametrize(
        ("body", "message", "hint"),
        [
            ({"kind": "lokal"}, "there is no pool kind 'lokal'", "did you mean local?"),
            (
                {"kind": "local", "options": {"pyton": "x"}},
                "pool here: unknown option 'pyton'",
                "did you mean python?",
            ),
            (
                {"kind": "local", "options": {"max_procs": "x"}},
                "pool here: Expected `int | null`, got `str` - at `$.max_procs`",
                "",
            ),
            (
                {"kind": "local", "options": {"max_procs": 0}},
                "pool here: --max-procs 0 leaves no rank",
                "give a number from 1 on",
            ),
        ],
    )
    async def test_options_are_refused_with_the_kinds_own_words(
        self, api: Api, jp_serverapp: Any, body: dict[str, Any], message: str, hint: str
    ) -> None:
        assert await api.refused("POST", "pools", {"name": "here", **body}) == (400, message, hint)
