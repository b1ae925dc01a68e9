from __future__ import annotations

import dataclasses
import socket
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra import preflight
from jupyter_aiinfra.commands import launch as launching
from jupyter_aiinfra.commands.launch import (
    MANIFEST_COLUMNS,
    Prepared,
    dry_run_text,
    dry_run_value,
    launch,
    manifest_rows,
    prepare,
)
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.errors import JobFailed, PoolNotFound, PreflightError, UsageError
from jupyter_aiinfra.model import (
    CaptureKind,
    Desired,
    Finding,
    JobState,
    Manifest,
    ManifestItem,
    PoolRecord,
    Severity,
    TrackingSpec,
)
from jupyter_aiinfra.training import Code, LaunchLine
from tests.support.engines import POOL, House

MANIFEST = Manifest(
    items=(
        ManifestItem(name="np", kind=CaptureKind.IMPORT, type="module", how="import numpy as np"),
        ManifestItem(name="x", kind=CaptureKind.DATA, type="int", size_bytes=5, how="as data"),
        ManifestItem(name="f", kind=CaptureKind.REFUSED, type="file", reason="it is open"),
        ManifestItem(name="y", kind=CaptureKind.MISSING, type="", reason="nobody defined it"),
    ),
    size_bytes=5,
)
CODE = Code(
    entry="cell.py",
    is_cell=True,
    manifest=MANIFEST,
    files={"cell.py": "print(1)\n"},
    notebook="/nb/digits.ipynb",
)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep out git, MLflow's settings and this machine's packages."""
    monkeypatch.setattr(launching, "git_state", lambda folder: {"folder": str(folder)})
    monkeypatch.setattr(preflight, "check", lambda *_, **__: ())
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def session(house: House) -> Session:
    return house.session()


def prepared(session: Session, **line: Any) -> Prepared:
    return prepare(session, LaunchLine(no_mlflow=True, **line), CODE)


# prepare


def test_what_is_prepared_has_not_happened(session: Session, house: House, tmp_path: Path) -> None:
    job = prepared(session, procs=2, cwd=str(tmp_path))
    assert (job.pool, job.spec.name, job.spec.procs) == (POOL, "digits", 2)
    assert job.spec.cwd == str(tmp_path)
    assert job.plan.job.spec == job.spec
    assert job.spec.origin.git == {"folder": "/nb"}
    assert (job.secrets, job.spec.tracking) == ({}, None)
    assert house.cluster.jobs == {}
    assert session.engine.store.list_jobs() == []


def test_the_pool_may_be_left_out_where_there_is_only_one(session: Session) -> None:
    assert prepared(session).pool == POOL
    session.engine.store.add_pool(PoolRecord(name="other", kind="fake"))
    with pytest.raises(UsageError, match=r"which pool\?") as caught:
        prepared(session)
    assert "attached are fake, other" in caught.value.hint
    assert prepared(session, pool="other").pool == "other"
    for name in (POOL, "other"):
        session.engine.store.remove_pool(name)
    with pytest.raises(UsageError, match="no pool is attached yet") as caught:
        prepared(session)
    assert "%pool attach here" in caught.value.hint
    with pytest.raises(PoolNotFound):
        prepared(session, pool="other")


def at_home(house: House) -> None:
    """Let the nodes of the cluster be this machine."""
    nodes = house.cluster.nodes
    house.cluster.nodes = tuple(dataclasses.replace(node, address="127.0.0.1") for node in nodes)


def test_a_folder_that_is_not_there_is_named(session: Session, house: House) -> None:
    at_home(house)
    with pytest.raises(UsageError, match="--cwd /nowhere/at/all: there is no such folder"):
        prepared(session, cwd="/nowhere/at/all")


def test_a_folder_of_another_machine_is_its_own_affair(session: Session) -> None:
    assert prepared(session, cwd="/nowhere/at/all").spec.cwd == "/nowhere/at/all"
    assert prepared(session).spec.cwd is None


def test_nodes_that_answer_are_planned_for_first(session: Session, house: House) -> None:
    well = house.cluster.nodes[0]
    silent = dataclasses.replace(well, name="gone", python=None, problem="no route")
    house.cluster.nodes = (silent, well)
    assert well.python is not None
    assert prepared(session).spec.argv[0] == well.python.executable


def test_secrets_are_looked_up_and_kept_out_of_sight(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    job = prepared(session, secrets=("HF_TOKEN",))
    assert job.secrets == {"HF_TOKEN": "hf_very_secret"}
    assert "hf_very_secret" not in repr(job)
    assert job.spec.secrets == ("HF_TOKEN",)
    line = LaunchLine(no_mlflow=True, secrets=("FROM_CELL",))
    assert prepare(session, line, CODE, environ={"FROM_CELL": "x"}).secrets == {"FROM_CELL": "x"}
    with pytest.raises(UsageError, match="looks like a secret"):
        prepared(session, env={"HF_TOKEN": "hf_very_secret"})


def test_a_tracked_job_gets_what_its_run_needs(session: Session, tmp_path: Path) -> None:
    line = LaunchLine(
        mlflow="http://user:hush@tracking:5000",
        secrets=("HF_TOKEN",),
        cwd=str(tmp_path),
        passed=("--mixed-precision", "bf16"),
    )
    job = prepare(session, line, CODE, environ={"HF_TOKEN": "x"})
    assert job.spec.tracking is not None
    assert job.spec.tracking.uri == "http://tracking:5000"
    assert job.spec.tracking.run_name == "digits"
    assert "bf16" in job.spec.tracking.params.values()
    assert job.secrets["MLFLOW_TRACKING_PASSWORD"] == "hush"
    assert set(job.spec.secrets) == set(job.secrets)
    assert "hush" not in repr(job.spec)


def test_what_preflight_is_told(
    session: Session, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home(house)
    told: dict[str, Any] = {}
    finding = Finding(check="torch", severity=Severity.WARNING, message="an old torch")

    def check(spec: Any, nodes: Any, **more: Any) -> tuple[Finding, ...]:
        told.update(more, spec=spec, nodes=nodes)
        return (finding,)

    monkeypatch.setattr(preflight, "check", check)
    monkeypatch.setattr(launching, "_taken", lambda port: (port,))
    job = prepared(session, port=29500, cpu=True)
    assert job.findings == (finding,)
    assert tuple(told["nodes"]) == house.cluster.nodes
    assert (told["cpu"], told["taken_ports"]) == (True, (29500,))
    assert list(told["imports"]) == ["numpy"]
    assert told["missing_bytes"] == sum(file.size_bytes for file in job.spec.files)


def test_what_preflight_cannot_be_told_of_another_machine(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def check(_spec: Any, _nodes: Any, **more: Any) -> tuple[Finding, ...]:
        told.update(more)
        return ()

    monkeypatch.setattr(preflight, "check", check)
    prepared(session, port=29500)
    assert (told["taken_ports"], told["missing_bytes"]) == ((), None)


class Pretended:
    """A socket whose port is taken, or not."""

    def __init__(self, *, taken: bool) -> None:
        self.taken = taken

    def setsockopt(self, *_: int) -> None:
        """Take note of nothing."""

    def bind(self, address: tuple[str, int]) -> None:
        assert address == ("127.0.0.1", 29500)
        if self.taken:
            raise OSError(98, "Address already in use")


@pytest.mark.parametrize("taken", [True, False])
def test_a_port_is_tried(taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", lambda: nullcontext(Pretended(taken=taken)))
    assert launching._taken(29500) == ((29500,) if taken else ())
    assert launching._taken(None) == ()


# launch


def test_what_was_prepared_is_launched_under_the_planned_id(session: Session, house: House) -> None:
    ready = prepared(session)
    job = launch(session, ready)
    assert job.id == ready.plan.job.id
    assert list(house.cluster.jobs) == [job.id]


def test_an_error_of_preflight_stops_the_launch(session: Session, house: House) -> None:
    finding = Finding(check="torch", severity=Severity.ERROR, message="no torch", hint="pip")
    ready = dataclasses.replace(prepared(session), findings=(finding,))
    with pytest.raises(PreflightError, match="no torch"):
        launch(session, ready)
    assert house.cluster.jobs == {}


def interrupt_launch(session: Session, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Interrupt the next thing that runs, before it has begun or after its end."""
    run, left = session.run, [True]

    def once(work: Any) -> Any:
        if not left:
            return run(work)
        left.clear()
        if after:
            run(work)
        else:
            work.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "run", once)


def test_an_interrupt_before_anything_was_recorded(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = prepared(session)
    interrupt_launch(session, monkeypatch, after=False)
    with pytest.raises(JobFailed, match="before the job was on record") as caught:
        launch(session, ready)
    assert caught.value.hint == "nothing was started"


def test_an_interrupt_in_the_last_moment_ends_the_job(
    session: Session, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = prepared(session)
    interrupt_launch(session, monkeypatch, after=True)
    with pytest.raises(JobFailed, match="it is told to end"):
        launch(session, ready)
    assert house.cluster.jobs[ready.plan.job.id].state is JobState.CANCELLED


def test_an_interrupt_while_the_pool_goes_away_keeps_the_wish(
    session: Session, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = prepared(session)
    interrupt_launch(session, monkeypatch, after=True)
    run = session.run

    def cut(work: Any) -> Any:
        try:
            return run(work)
        finally:
            house.cluster.reachable = False

    monkeypatch.setattr(session, "run", cut)
    with pytest.raises(JobFailed, match="does not answer") as caught:
        launch(session, ready)
    assert "told to end when its pool answers" in caught.value.hint
    assert session.engine.store.get_job(ready.plan.job.id).desired is Desired.STOP


# what a dry run tells


def test_the_manifest_in_rows() -> None:
    assert manifest_rows(MANIFEST) == [
        ("np", "module", "", "import numpy as np"),
        ("x", "int", "5 B", "as data"),
        ("f", "file", "", "refused: it is open"),
        ("y", "", "", "missing: nobody defined it"),
    ]
    assert all(len(row) == len(MANIFEST_COLUMNS) for row in manifest_rows(MANIFEST))


def test_a_dry_run_in_text_and_in_json(session: Session) -> None:
    ready = prepared(session)
    lines = dry_run_text(ready).splitlines()
    assert lines[0].startswith(f"bundle: {len(ready.bundle.files)} files, ")
    assert set(ready.plan.text.splitlines()) <= set(lines)
    assert lines[-2:] == ["preflight: nothing is in the way", "dry run: nothing was started"]
    noted = dataclasses.replace(
        ready,
        spec=dataclasses.replace(ready.spec, tracking=TrackingSpec(uri="sqlite:///x")),
        findings=(
            Finding(check="python", severity=Severity.OK, message="the same"),
            Finding(check="disk", severity=Severity.WARNING, message="nearly full"),
        ),
    )
    text = dry_run_text(noted)
    assert "mlflow  sqlite:///x" in text
    assert "nearly full" in text
    assert "the same" not in text
    value = dry_run_value(noted)
    assert value["bundle_bytes"] == ready.bundle.size_bytes
    assert [finding["check"] for finding in value["findings"]] == ["python", "disk"]
