"""Versions change under load: bad ones are taken back by the router alone, others take over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_aiinfra.routing.config import Gates, Rollout, Share
from tests.integration.router_home import Load, Router, endpoint, until
from tests.integration.serving_endpoint import Endpoint, model_folder

_WAYS = {
    "good": "    return x * 2",
    "errors": "    raise RuntimeError('broken')",
    "slow": "    time.sleep(0.15)\n    return x * 2",
    "different": "    return x * 3",
}


class Replicas:
    """Real replicas, each started once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, Endpoint] = {}

    def start(self, number: str, way: str = "good") -> str:
        """Start one; return its address."""
        folder = model_folder(self._folder / number)
        code = f"import time\n\ndef predict(x):\n{_WAYS[way]}\n"
        (folder / "endpoint_code.py").write_text(code)
        if way == "errors":
            told = msgspec.json.decode((folder / "endpoint.json").read_bytes())
            # It would not start otherwise: that is seen before anybody is asked.
            del told["example"]
            (folder / "endpoint.json").write_bytes(msgspec.json.encode(told))
        path = self._folder / f"{number}.sock"
        self._running[number] = Endpoint(folder, "--unix", str(path))
        return f"unix:{path}"

    def stop(self, number: str) -> None:
        """Stop one in order."""
        self._running.pop(number).__exit__()

    def close(self) -> None:
        """Stop all."""
        with ExitStack() as stack:
            for one in self._running.values():
                stack.callback(one.__exit__)


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One replica of each kind, for the tests that do not stop any."""
    made = Replicas(tmp_path_factory.mktemp("replicas"))
    try:
        yield {way: made.start(way, way) for way in _WAYS}
    finally:
        made.close()


def rollout(**told: Any) -> Rollout:
    known: dict[str, Any] = {
        "id": "r",
        "from_": "1",
        "to": "2",
        "steps": (10, 50, 100),
        "step_seconds": 0.5,
        "least_requests": 40,
        "gates": Gates(p95_ms=None),
    }
    return Rollout(**(known | told))


def state(router: Router) -> str:
    told = router.of("a").rollout
    assert told is not None
    return told.state


OLD = (Share(version="1", weight=1),)


@pytest.mark.parametrize(
    ("way", "gates", "said"),
    [
        ("errors", Gates(error_rate=0.02, p95_ms=None), "were errors; 2 % may be"),
        ("slow", Gates(p95_ms=100), "took longer than 100 ms; 5 % may"),
        (
            "different",
            Gates(p95_ms=None, agreement=0.95),
            "differ from those of version 1; 5 % may",
        ),
    ],
    ids=["errors", "slow", "different"],
)
def test_a_bad_version_is_rolled_back(
    tmp_path: Path, replicas: dict[str, str], way: str, gates: Gates, said: str
) -> None:
    versions = {"1": [replicas["good"]], "2": [replicas[way]]}
    with Router(tmp_path, a=endpoint(versions, traffic=OLD)) as router:
        router.up("a", 2)
        with Load(router.port, "/a/predict", connections=8) as load:
            until(lambda: load.good > 100)
            # It is not to end by itself: only a broken gate can.
            course = rollout(gates=gates, step_seconds=3600)
            before = sum(load.versions.values())
            router.change(a=endpoint(versions, traffic=OLD, rollout=course))
            until(lambda: state(router) == "rolled-back")
            seen = load.versions["2"]
            asked = sum(load.versions.values()) - before
            begun = load.good
            until(lambda: load.good > begun + 300)
        told = router.of("a")
        assert told.rollout is not None
        assert said in told.rollout.reason
        assert told.rollout.reason.startswith("at 10 %: ")
        assert [(share.version, share.weight) for share in told.traffic] == [("1", 100)]
        # Whoever was under way may have come back after the decision was seen; nobody is asked.
        assert load.versions["2"] <= seen + 8
        # A tenth of the answers, and no more than it takes to see that three in 40 are wrong.
        assert 0 < load.versions["2"] <= min(asked / 10 + 1, 40) + 8
        assert (load.lost, load.refused) == (0, 0)
        failed = sum(load.statuses.values()) - load.good
        # Two errors are the first that 2 % of 40 do not allow; others were then under way.
        assert failed <= (2 + 8 if way == "errors" else 0)


def test_a_good_version_is_promoted(tmp_path: Path, replicas: dict[str, str]) -> None:
    versions = {"1": [replicas["good"]], "2": [replicas["good"]]}
    course = rollout(gates=Gates(p95_ms=None, agreement=1.0))
    with Router(tmp_path, a=endpoint(versions, traffic=OLD, rollout=course)) as router:
        router.up("a", 2)
        with Load(router.port, "/a/predict", connections=8) as load:
            until(lambda: state(router) == "promoted", seconds=60)
            until(lambda: router.of("a").versions["1"].in_flight == 0)
        told = router.of("a")
        assert [(share.version, share.weight) for share in told.traffic] == [("2", 100)]
        assert told.versions["2"].agreement.same >= 3 * 40
        assert set(load.statuses) == {200}
        assert (load.lost, load.refused) == (0, 0)
        # The engine takes note: its own traffic, and the rollout is over.
        router.change(a=endpoint({"2": [replicas["good"]]}))
        until(lambda: set(router.of("a").versions) == {"2"})


def test_a_version_without_replicas_fails_nobody(tmp_path: Path, replicas: dict[str, str]) -> None:
    versions = {"1": [replicas["good"]], "2": ["unix:/nowhere/at/all.sock"]}
    course = rollout(steps=(50, 100))
    one = endpoint(versions, traffic=OLD, rollout=course, hold_seconds=1)
    with Router(tmp_path, a=one) as router:
        router.up("a", 1)
        with Load(router.port, "/a/predict", connections=4) as load:
            until(lambda: state(router) == "rolled-back")
        told = router.of("a").rollout
        assert told is not None
        assert "no replica that was ready" in told.reason
        assert (set(load.statuses), load.lost, load.refused) == ({200}, 0, 0)


def test_a_rollout_goes_on_after_the_router_was_killed(
    tmp_path: Path, replicas: dict[str, str]
) -> None:
    versions = {"1": [replicas["good"]], "2": [replicas["errors"]]}
    course = rollout(step_seconds=3600, gates=Gates(error_rate=0.5, p95_ms=None))
    one = endpoint(versions, traffic=OLD, rollout=course)
    with Router(tmp_path, a=one) as router:
        router.up("a", 2)
        port = router.port

        def errors() -> int:
            told = router.of("a").rollout
            assert told is not None
            return told.errors

        while errors() < 10:
            router.ask("/a/predict")

        def kept() -> int:
            told = msgspec.json.decode(router.places.state.read_bytes())
            return int(told["rollouts"]["a"]["errors"])

        until(lambda: router.places.state.exists() and kept() >= 10)
        router.kill()
        router.start()
        # Its callers find it where it was, and what it had seen still counts.
        assert router.port == port
        assert errors() >= 10
        router.up("a", 2)
        while state(router) == "running":
            router.ask("/a/predict")
        assert errors() == 21
        decided = router.of("a").rollout
        router.kill()
        router.start()
        assert router.of("a").rollout == decided
        assert [(share.version, share.weight) for share in router.of("a").traffic] == [("1", 100)]


@pytest.mark.timeout(400)
def test_rolling_updates_under_load_fail_nobody(tmp_path: Path) -> None:
    """Replicas come, take over, are let go, and end: as the engine does it, again and again."""
    made = Replicas(tmp_path)
    least = 50_000
    try:
        old = {"1": [made.start("1-0"), made.start("1-1")]}
        with Router(tmp_path, a=endpoint(old)) as router:
            router.up("a", 2)
            with Load(router.port, "/a/predict", connections=16) as load:
                version = 1
                while sum(load.statuses.values()) < least:
                    _updated(router, made, version)
                    version += 1
                    _answered(load, 2000)
            assert set(load.statuses) == {200}
            assert (load.lost, load.refused) == (0, 0)
            assert load.good >= least
            assert version > 2
            assert set(load.versions) == {str(number) for number in range(1, version + 1)}
    finally:
        made.close()


def _answered(load: Load, number: int) -> None:
    begun = sum(load.statuses.values())
    until(lambda: sum(load.statuses.values()) > begun + number, seconds=120)


def _updated(router: Router, made: Replicas, version: int) -> None:
    before, after = str(version), str(version + 1)
    old = [one.address for one in router.config.endpoints["a"].versions[before].replicas]
    new = [made.start(f"{after}-0"), made.start(f"{after}-1")]
    shares = (Share(version=before, weight=1),)
    both = {before: old, after: new}
    router.change(a=endpoint(both, traffic=shares))
    router.up("a", 4)
    router.change(a=endpoint(both))
    seen = router.of("a").versions[after].requests
    until(lambda: router.of("a").versions[after].requests > seen + 200, seconds=60)
    router.change(a=endpoint({after: new}))
    # What it does not tell any more has nothing under way.
    until(lambda: set(router.of("a").versions) == {after})
    for number in (0, 1):
        made.stop(f"{before}-{number}")
