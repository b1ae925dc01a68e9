from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.bundle import BundleFile
from jupyter_aiinfra.endpoint import (
    Endpoint,
    EndpointKey,
    EndpointOptions,
    EndpointVersion,
    Gates,
    Reach,
    Replica,
    ReplicaOptions,
    ReplicaState,
    Rollout,
    Share,
    new_key,
)
from jupyter_aiinfra.errors import PoolError, UsageError
from jupyter_aiinfra.model import EnvironmentSpec, Interpreter, JobKind, Node, Severity
from jupyter_aiinfra.node.become import what
from jupyter_aiinfra.promote.endpointjob import (
    compose_replica,
    compose_router,
    preflight_replica,
    read_package,
)
from jupyter_aiinfra.promote.routes import route
from jupyter_aiinfra.routing.files import parse_config, write_config
from jupyter_aiinfra.routing.keys import Keys
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store.endpoints import Whole

MANIFEST = {"name": "digits", "entry": "net:predict", "version": "9", "example": [[1, 2]]}
ALL = dict.fromkeys(("httptools", "msgspec", "numpy", "uvicorn", "uvloop"), "1.0")
NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "digits"
    made.mkdir()
    (made / "net.py").write_text("def predict(x):\n    return x\n")
    (made / "endpoint.json").write_text(json.dumps(MANIFEST))
    return made


def node(packages: dict[str, str] | None = None) -> Node:
    python = Interpreter(executable="/opt/python", version="3.12.1", packages=packages or {})
    return Node(name="n0", address="127.0.0.1", python=python)


def a_version(folder: Path, **options: Any) -> EndpointVersion:
    package, _ = read_package(folder)
    return EndpointVersion(
        endpoint="e1", number=4, package=package, pool="lab", options=ReplicaOptions(**options)
    )


def content(file: BundleFile) -> bytes:
    return b"".join(bytes(piece) for piece in file.read())


# --- packages ------------------------------------------------------------------------------------


def test_a_folder_is_read_with_all_that_is_in_it(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "table.csv").write_text("1,2\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "net.pyc").write_bytes(b"x")
    package, bundle = read_package(folder)
    paths = [file.path for file in bundle.files]
    assert paths == ["model/endpoint.json", "model/more/table.csv", "model/net.py"]
    assert package.name == "digits"
    assert package.manifest["example"] == [[1, 2]]
    again, _ = read_package(folder)
    assert again.digest == package.digest
    (folder / "net.py").write_text("def predict(x):\n    return 2 * x\n")
    assert read_package(folder)[0].digest != package.digest


def test_where_it_came_from_is_kept(folder: Path) -> None:
    (folder / "package.json").write_text('{"source": "runs:/1"}')
    assert read_package(folder)[0].facts == {"source": "runs:/1"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"entry": "other:predict"}, "there is no module other"),
        ({"entry": ""}, "entry is missing"),
        ({"name": 3}, "name is missing"),
        ({"loader": "pickle"}, "there is no loader 'pickle'"),
        ({"weights": "net.safetensors"}, "which is not in the folder"),
    ],
)
def test_what_the_manifest_says_wrong_is_told(
    folder: Path, change: dict[str, Any], said: str
) -> None:
    (folder / "endpoint.json").write_text(json.dumps({**MANIFEST, **change}))
    with pytest.raises(UsageError, match=said):
        read_package(folder)


@pytest.mark.parametrize("text", ["[]", "{", "\x00"])
def test_a_manifest_that_is_none_is_told(folder: Path, text: str) -> None:
    (folder / "endpoint.json").write_text(text)
    with pytest.raises(UsageError, match=r"endpoint\.json"):
        read_package(folder)


def test_no_folder_no_manifest_and_links_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        read_package(tmp_path / "none")
    with pytest.raises(UsageError, match=r"there is no endpoint\.json"):
        read_package(tmp_path)
    (folder / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="is a link"):
        read_package(folder)


# --- jobs ----------------------------------------------------------------------------------------


def test_a_replica_is_a_job_that_serves_its_version(folder: Path, tmp_path: Path) -> None:
    version = a_version(folder, gpus=1, workers=2, env={"LANG": "C"}, drain_seconds=7.0)
    _, kept = read_package(folder)
    options = EndpointOptions(max_body_bytes=(3 << 20) + 1, timeout_seconds=5.0)
    spec, bundle = compose_replica(
        "adder", version, kept, options, node=node(), settings=Settings(home=tmp_path)
    )
    files = {file.path: file for file in bundle.files}
    assert spec.kind is JobKind.ENDPOINT
    assert spec.name == "adder-4"
    assert spec.argv == ("/opt/python", "${AIINFRA_RUN_DIR}/aiinfra/rank.py")
    assert (spec.gpus, spec.env, spec.grace_seconds) == (1, {"LANG": "C"}, 7.0)
    assert spec.max_restarts > 0
    assert spec.idle is not None
    assert not spec.idle.watch
    manifest = json.loads(content(files["model/endpoint.json"]))
    # Its numbers are told by our names, whatever the package calls itself.
    assert (manifest["name"], manifest["version"]) == ("adder", "4")
    become = json.loads(content(files["become.json"]))
    line = " ".join(become["argv"])
    assert line.startswith("-m jupyter_aiinfra.serving model --unix serve.sock ")
    assert "--timeout 5 --drain 7 --max-body 4 --workers 2" in line
    assert "code/jupyter_aiinfra/serving/main.py" in files
    assert files.keys() == {ref.path for ref in spec.files}


def test_an_environment_of_its_own_brings_its_python(folder: Path, tmp_path: Path) -> None:
    own = EnvironmentSpec(kind="requirements", digest="0" * 64, source="requirements.txt")
    version = a_version(folder, environment=own)
    _, kept = read_package(folder)
    spec, _ = compose_replica(
        "a", version, kept, EndpointOptions(), node=node(), settings=Settings(home=tmp_path)
    )
    assert spec.argv[0] == "${AIINFRA_PYTHON}"
    assert spec.environment == own
    assert not preflight_replica(version, [node({"pip": "24"})])


def test_a_node_without_python_serves_nothing(folder: Path, tmp_path: Path) -> None:
    _, kept = read_package(folder)
    bare = Node(name="n0", address="127.0.0.1")
    with pytest.raises(PoolError, match="has no Python"):
        compose_replica(
            "a",
            a_version(folder),
            kept,
            EndpointOptions(),
            node=bare,
            settings=Settings(home=tmp_path),
        )


def test_the_preflight_names_what_is_missing(folder: Path) -> None:
    version = a_version(folder)
    assert not preflight_replica(version, [node(ALL)])
    assert not preflight_replica(version, [node()])  # nothing is known of it
    (found,) = preflight_replica(version, [node({"numpy": "2"})])
    assert found.severity is Severity.ERROR
    assert "has no httptools, msgspec, uvicorn, uvloop" in found.message
    (folder / "endpoint.json").write_text(json.dumps({**MANIFEST, "loader": "torch"}))
    (found,) = preflight_replica(a_version(folder), [node(ALL)])
    assert "pip install torch" in found.hint


def test_the_router_runs_with_our_own_python(tmp_path: Path) -> None:
    spec, bundle = compose_router(tmp_path / "router.json", settings=Settings(home=tmp_path))
    assert spec.argv[0] == sys.executable
    files = {file.path: file for file in bundle.files}
    become = json.loads(content(files["become.json"]))
    assert become["argv"] == ["-m", "jupyter_aiinfra.routing", str(tmp_path / "router.json")]
    assert spec.kind is JobKind.ENDPOINT


def test_a_rank_becomes_what_it_is_told(tmp_path: Path) -> None:
    asked = {"argv": ["-m", "served", "model"], "path": ["code", "/opt/ours"], "env": {"A": "1"}}
    (tmp_path / "become.json").write_text(json.dumps(asked))
    argv, env = what(str(tmp_path), {"PYTHONPATH": "/theirs", "HOME": "/root"})
    assert argv == [sys.executable, "-m", "served", "model"]
    assert env["PYTHONPATH"] == f"{tmp_path}/code:/opt/ours:/theirs"
    assert (env["A"], env["HOME"], env["PYTHONUNBUFFERED"]) == ("1", "/root", "1")


# --- what the router is told ---------------------------------------------------------------------


def a_whole(folder: Path, keys: tuple[EndpointKey, ...] = (), **values: Any) -> Whole:
    package, _ = read_package(folder)
    versions = tuple(
        EndpointVersion(endpoint="e1", number=number, package=package, pool="lab")
        for number in (1, 2, 3)
    )
    replicas = (
        Replica(
            id="a",
            endpoint="e1",
            version=1,
            state=ReplicaState.SERVING,
            reach=Reach(address="unix:/run/a"),
        ),
        Replica(
            id="b",
            endpoint="e1",
            version=2,
            state=ReplicaState.SERVING,
            reach=Reach(address="unix:/near/b", tunnel=("ssh", "-N", "host")),
        ),
        Replica(
            id="c",
            endpoint="e1",
            version=1,
            state=ReplicaState.LEAVING,
            reach=Reach(address="unix:/run/c"),
        ),
        Replica(id="d", endpoint="e1", version=1),
    )
    made = {"traffic": (Share(version=1, weight=100.0),), **values}
    endpoint = Endpoint(id="e1", name="digits", router="here", **made)
    return Whole(endpoint=endpoint, versions=versions, replicas=replicas, keys=keys)


def test_the_router_is_told_of_those_who_serve_and_of_nobody_else(
    folder: Path, tmp_path: Path
) -> None:
    rollout = Rollout(
        id="r1",
        old=1,
        new=2,
        kind="canary",
        steps=(5.0, 100.0),
        gates=Gates(agreement=0.9),
        begun=True,
    )
    told = route([a_whole(folder, rollout=rollout)], port=8900, revision=3, now=NOW)
    write_config(tmp_path / "router.json", told)  # it is one that the router takes
    assert parse_config((tmp_path / "router.json").read_bytes()) == told
    endpoint = told.endpoints["digits"]
    assert list(endpoint.versions) == ["1", "2"]
    assert [each.id for each in endpoint.versions["1"].replicas] == ["a"]
    (far,) = endpoint.versions["2"].replicas
    assert far.tunnel is not None
    assert far.tunnel.argv == ("ssh", "-N", "host")
    assert endpoint.rollout is not None
    assert (endpoint.rollout.from_, endpoint.rollout.to) == ("1", "2")
    assert endpoint.rollout.gates.agreement == 0.9
    assert endpoint.keys is None


def test_a_change_is_told_when_its_replicas_answer_and_a_removed_endpoint_never(
    folder: Path,
) -> None:
    waiting = Rollout(id="r1", old=1, new=2, kind="canary", steps=(100.0,))
    told = route([a_whole(folder, rollout=waiting)], port=0, grpc_port=9000, revision=1, now=NOW)
    assert told.grpc_port == 9000
    assert told.endpoints["digits"].rollout is None
    assert "2" in told.endpoints["digits"].versions
    assert not route([a_whole(folder, removed_at=NOW)], port=0, revision=1, now=NOW).endpoints


def test_keys_open_what_they_are_for_until_they_end(folder: Path) -> None:
    secret, key = new_key("e1", "anna", per_second=5.0)
    ended = new_key("e1", "old")[1]
    ended = EndpointKey(id=ended.id, endpoint="e1", name="old", digest="0" * 64, ends_at=NOW - 1)
    told = route([a_whole(folder, keys=(key, ended))], port=0, revision=1, now=NOW)
    keys = told.endpoints["digits"].keys
    assert keys is not None
    assert [each.name for each in keys] == ["anna"]
    assert Keys(keys).admit(secret.encode()).name == "anna"
    # To revoke the last key opens nothing.
    assert (
        route([a_whole(folder, keys=(ended,))], port=0, revision=1, now=NOW)
        .endpoints["digits"]
        .keys
        == ()
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "Anna"}, "no name of a key"),
        ({"name": "anna", "scopes": ("all",)}, "no scope 'all'"),
        ({"name": "anna", "per_second": 0.0}, "no rate"),
        ({"name": "anna", "per_second": float("nan")}, "no rate"),
    ],
)
def test_a_key_that_cannot_be_is_told(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        new_key("e1", **values)
