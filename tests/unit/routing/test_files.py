"""What the router takes as its configuration, and what it says against what it does not take."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.routing.config import Config, Endpoint, Replica, Rollout, Share, Version
from jupyter_aiinfra.routing.files import BadConfig, parse_config, read_config, write_config

ENDPOINT: dict[str, Any] = {
    "versions": {
        "3": {"replicas": [{"id": "j1", "address": "unix:/run/a.sock"}]},
        "4": {"replicas": [{"id": "j2", "address": "http://10.0.0.3:8000", "tunnel": None}]},
    },
    "traffic": [
        {"version": "3", "weight": 95},
        {"version": "4", "weight": 5, "header": {"X-Version": "4"}},
    ],
    "rollout": {"id": "r", "from": "3", "to": "4", "gates": {"p95_ms": 100}},
}


def test_a_configuration_is_read() -> None:
    config = parse_config(json.dumps({"revision": 7, "endpoints": {"digits": ENDPOINT}}))

    endpoint = config.endpoints["digits"]
    assert endpoint.rollout is not None
    assert (endpoint.rollout.from_, endpoint.rollout.to) == ("3", "4")
    assert (endpoint.rollout.gates.p95_ms, endpoint.rollout.gates.error_rate) == (100, 0.02)
    assert endpoint.keys is None
    assert config.port == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"traffic": [{"version": "5", "weight": 1}]}, "no version '5'; there are 3, 4"),
        ({"traffic": [{"version": "3", "weight": 0}]}, "all weights are 0"),
        ({"traffic": [{"version": "3", "weight": -1}]}, "-1"),
        ({"traffic": [{"version": "3", "weight": 1, "header": {}}]}, "names none"),
        ({"traffic": [{"version": "3", "weight": 1, "header": {"a b": "1"}}]}, "'a b'"),
        ({"shadow": "9"}, "no version '9'"),
        ({"rollout": {"id": "r", "from": "3", "to": "3"}}, "both 3"),
        ({"rollout": {"id": "r", "from": "3", "to": "4", "steps": [50, 5]}}, "growing"),
        ({"rollout": {"id": "r", "from": "3", "to": "4", "steps": [101]}}, "growing"),
        ({"rollout": {"id": "r", "from": "3", "to": "4", "least_requests": -1}}, "0 or more"),
        (
            {"rollout": {"id": "r", "from": "3", "to": "4", "gates": {"agreement": 2}}},
            "agreement 2",
        ),
        ({"rollout": {"id": "r", "from": "3", "to": "4", "gates": {"p95_ms": 0}}}, "p95_ms 0"),
        ({"versions": {"3": {"replicas": [{"id": "j", "address": "ftp://x:1"}]}}}, "ftp://x:1"),
        ({"versions": {"3": {"replicas": [{"id": "j", "address": "http://x:y"}]}}}, "http://x:y"),
        ({"versions": {"3": {"replicas": [{"id": "j"}]}}}, "address"),
        ({"keys": [{"id": "k", "name": "a", "digest": "12"}]}, "SHA-256"),
        ({"keys": [{"id": "K k", "name": "a", "digest": "0" * 64}]}, "'K k'"),
        (
            {"keys": [{"id": "k", "name": "a", "digest": "0" * 64, "per_second": 0}]},
            "per_second 0",
        ),
        ({"max_body": 0}, "max_body 0"),
        ({"hold_seconds": -1}, "hold_seconds -1"),
        ({"sampling": {"rate": 2}}, "2"),
        ({"sampling": {"keep": -1}}, "-1"),
        ({"sampling": {"redact": [""]}}, "JSON pointer"),
        ({"sampling": {"days": -1}}, "-1"),
        ({"tolerance": 2}, "tolerance 2"),
        ({"timeout": "soon"}, "timeout"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], said: str) -> None:
    endpoint = ENDPOINT | change
    if "versions" in change:
        endpoint |= {"traffic": [], "rollout": None}

    with pytest.raises(BadConfig) as told:
        parse_config(json.dumps({"endpoints": {"digits": endpoint}}))

    assert said in str(told.value)


@pytest.mark.parametrize("data", ["", "[]", '{"port": 70000}', '{"endpoints": {"A/b": {}}}'])
def test_what_is_none(data: str) -> None:
    with pytest.raises(BadConfig):
        parse_config(data)


def test_a_file_is_replaced_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "router.json"
    replica = Replica(id="j", address="unix:/a")
    config = Config(
        endpoints={
            "a": Endpoint(
                versions={"1": Version(replicas=(replica,)), "2": Version()},
                traffic=(Share(version="1", weight=1),),
                rollout=Rollout(id="r", from_="1", to="2"),
            )
        }
    )

    write_config(path, config)

    assert read_config(path) == config
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["router.json"]
    with pytest.raises(BadConfig):
        write_config(path, Config(port=-1))
    assert read_config(path) == config


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        read_config(tmp_path / "router.json")
