"""The verbs of a pool that is elsewhere, on real sshd hosts, as the command line runs them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.commands import tree
from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.errors import (
    Conflict,
    HostKeyChanged,
    HostKeyUnknown,
    NotFound,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.model import Job, JobState, Origin, new_job_id
from tests.contract.suite import a_spec
from tests.support.bench import wait_until
from tests.support.sshpool import Cluster, connections, open_cluster
from tests.unit.test_tree import Heard

NAMES = ("gpu1", "gpu2", "gpu3")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with open_cluster(tmp_path_factory.mktemp("verbs"), NAMES) as cluster:
        yield cluster


class Line:
    """The command line, with a person who answers."""

    def __init__(self, cluster: Cluster, home: Path) -> None:
        self.cluster = cluster
        self.session = Session(
            cluster.settings.__class__(home=home, ssh_config=cluster.hosts.config)
        )
        self.surface = Heard()
        self.answers: list[bool] = []

    def __call__(self, *words: str) -> Any:
        self.surface = Heard()
        self.surface.answers = self.answers
        self.answers = []
        context = Context(session=self.session, surface=self.surface)
        group = {"pool": tree.pool, "jobs": tree.jobs}[words[0]]
        result = invoke(group, list(words[1:]), name=f"%{words[0]}", context=context)
        self.surface.values = json.loads(json.dumps(self.surface.values))
        return result

    def attach(self, *hosts: str, python: str = sys.executable) -> None:
        self(
            "pool", "attach", "lab", "--kind", "ssh", "--hosts", ",".join(hosts), "--python", python
        )

    @property
    def said(self) -> str:
        return "\n".join(self.surface.texts)

    @property
    def value(self) -> Any:
        (value,) = self.surface.values
        return value

    def found(self) -> dict[str, list[str]]:
        """Return the messages of a check, by node."""
        return {
            node["name"]: [f"{each['severity']}: {each['message']}" for each in node["findings"]]
            for node in self.value["nodes"]
        }


@pytest.fixture
def line(cluster: Cluster, tmp_path: Path) -> Iterator[Line]:
    line = Line(cluster, tmp_path / "home")
    yield line
    line.session.close()


# --- host keys -----------------------------------------------------------------------------------


@pytest.fixture
def strangers(cluster: Cluster) -> Iterator[Cluster]:
    """Hosts that nobody knows, and no connection to them that stands."""
    known = cluster.hosts.known_hosts.read_text()
    cluster.hosts.known_hosts.write_text("")
    with connections():
        yield cluster
    cluster.hosts.known_hosts.write_text(known)


def test_unknown_keys_are_asked_about_once(strangers: Cluster, line: Line) -> None:
    line.answers = [True, True]
    line.attach("gpu1", "gpu2")
    assert len(line.surface.questions) == 2
    for name, question in zip(("gpu1", "gpu2"), line.surface.questions, strict=True):
        assert name in question
        assert "ED25519 key SHA256:" in question
    line("pool", "detach", "lab")
    line.attach("gpu1", "gpu2")
    assert line.surface.questions == []


def test_a_refused_key_is_not_trusted(strangers: Cluster, line: Line) -> None:
    line.answers = [False]
    with pytest.raises(HostKeyUnknown):
        line.attach("gpu1")
    assert strangers.hosts.known_hosts.read_text() == ""
    assert line.session.engine.store.list_pools() == []


def test_without_a_person_the_option_names_the_key(strangers: Cluster, line: Line) -> None:
    with pytest.raises(HostKeyUnknown) as caught:
        line.attach("gpu1")
    fingerprint = caught.value.fingerprint
    assert f"--accept-key {fingerprint}" in caught.value.hint
    words = ("pool", "attach", "lab", "--kind", "ssh", "--hosts", "gpu1")
    with pytest.raises(HostKeyUnknown):
        line(*words, "--accept-key", "SHA256:another")
    line(*words, "--accept-key", fingerprint)
    assert line.value["record"]["name"] == "lab"


def test_a_changed_key_is_never_asked_about(cluster: Cluster, line: Line) -> None:
    cluster.hosts["gpu3"].renew_host_key()
    try:
        line.answers = [True]
        with connections(), pytest.raises(HostKeyChanged):
            line.attach("gpu3")
        assert line.surface.questions == []
    finally:
        cluster.hosts.learn_keys()


# --- check ---------------------------------------------------------------------------------------


def test_a_check_of_what_is_well(cluster: Cluster, line: Line) -> None:
    line.attach(*NAMES)
    assert line("pool", "check", "lab") == 0
    assert line.said.endswith("lab: all is well")
    columns, rows, _ = line.surface.tables[0]
    for row, name in zip(rows, NAMES, strict=True):
        cells = dict(zip(columns, row, strict=True))
        assert cells["node"] == name
        assert cells["latency"].endswith(" ms")
        assert cells["torch"] != "-"
        assert cells["address"] == f"{cluster.hosts[name].address} by eth0"
        assert cells["reaches"] == "2 of 2"
    assert all(abs(node["skew_seconds"]) < 1 for node in line.value["nodes"])


def test_a_check_of_what_is_not(cluster: Cluster, line: Line) -> None:
    line.attach(*NAMES)
    first, second, third = (cluster.hosts[name] for name in NAMES)
    rc = first.home / ".bashrc"
    rc.write_text("echo welcome to gpu1\n")
    first.cut_from(second)
    third.power_off()
    try:
        assert line("pool", "check", "lab") == 1
    finally:
        third.power_on()
        first.mend_from(second)
        rc.write_text("")
    found = line.found()
    assert any("welcome to gpu1" in each for each in found["gpu1"])
    assert any(each.startswith("error: it does not reach gpu2") for each in found["gpu1"])
    assert any(each.startswith("error: it does not reach gpu1") for each in found["gpu2"])
    assert [each.startswith("error: gpu3") for each in found["gpu3"]] == [True]
    assert "3 of 3 nodes cannot be used" in line.said


def test_a_check_asks_about_keys_and_goes_on(strangers: Cluster, line: Line) -> None:
    line.answers = [True]
    line.attach("gpu1")
    strangers.hosts.known_hosts.write_text("")
    with connections():
        assert line("pool", "check", "lab") == 1
        assert "--accept-key SHA256:" in line.said
        line.answers = [True]
        assert line("pool", "check", "lab") == 0


def test_a_host_without_python_says_so(cluster: Cluster, line: Line) -> None:
    line.attach("gpu1")
    line("pool", "detach", "lab")
    line.session.engine.store.add_pool(
        cluster.record("lab", hosts="gpu1", python=os.fspath(cluster.hosts["gpu1"].home / "none"))
    )
    assert line("pool", "check", "lab") == 1
    (said,) = line.found()["gpu1"]
    assert "there is no program" in said
    assert "--python" in line.said


# --- files ---------------------------------------------------------------------------------------


def a_folder(root: Path, *, large: int = 0) -> Path:
    (root / "deep/er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a.txt").write_text("first")
    (root / "deep/er/b.bin").write_bytes(os.urandom(300_000))
    (root / "link.txt").symlink_to("a.txt")
    if large:
        (root / "large.bin").write_bytes(os.urandom(large))
    return root


def contents(root: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


def test_a_folder_goes_to_all_nodes_and_only_what_differs_again(
    cluster: Cluster, line: Line, tmp_path: Path
) -> None:
    source = a_folder(tmp_path / "data")
    line.attach("gpu1", "gpu2")
    assert line("pool", "put", "lab", str(source), "put/data") == 0
    for name in ("gpu1", "gpu2"):
        there = cluster.hosts[name].home / "put/data"
        assert contents(there) == contents(source)
        assert not (there / "link.txt").is_symlink()
        assert there.joinpath("a.txt").stat().st_mtime == source.joinpath("a.txt").stat().st_mtime
    assert [each["unchanged"] for each in line.value] == [0, 0]
    # One differs, and one only looks as if it did.
    (source / "a.txt").write_text("other")
    os.utime(source / "deep/er/b.bin", (1.0, 1.0))
    line("pool", "put", "lab", str(source), "~/put/data", "--node", "gpu1")
    (moved,) = line.value
    assert (moved["files"], moved["unchanged"]) == (3, 1)  # a.txt has two names
    assert moved["moved_bytes"] == 10
    assert (cluster.hosts["gpu1"].home / "put/data/a.txt").read_text() == "other"
    assert (cluster.hosts["gpu2"].home / "put/data/a.txt").read_text() == "first"


def test_a_folder_comes_back_from_one_node(cluster: Cluster, line: Line, tmp_path: Path) -> None:
    there = a_folder(cluster.hosts["gpu2"].home / "out")
    line.attach("gpu1", "gpu2")
    line("pool", "get", "lab", "out", str(tmp_path / "got"), "--node", "gpu2")
    assert contents(tmp_path / "got") == contents(there)
    line("pool", "get", "lab", "out", str(tmp_path / "got"), "--node", "gpu2")
    assert line.value["unchanged"] == 3
    line("pool", "get", "lab", "out/a.txt", str(tmp_path), "--node", "gpu2")
    assert (tmp_path / "a.txt").read_text() == "first"
    with pytest.raises(NotFound, match="/out on gpu1"):
        line("pool", "get", "lab", "out", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no node 'gpu9'"):
        line("pool", "get", "lab", "out", str(tmp_path / "none"), "--node", "gpu9")


def test_links_that_lead_elsewhere_are_named_and_refused(
    cluster: Cluster, line: Line, tmp_path: Path
) -> None:
    source = a_folder(tmp_path / "data")
    (source / "deep/out").symlink_to("/etc/passwd")
    line.attach("gpu1")
    with pytest.raises(UsageError, match="links that lead elsewhere: deep/out"):
        line("pool", "put", "lab", str(source), "linked")
    assert not (cluster.hosts["gpu1"].home / "linked").exists()
    there = a_folder(cluster.hosts["gpu1"].home / "hostile")
    (there / "etc").symlink_to("/etc")
    with pytest.raises(UsageError, match="links that lead elsewhere: etc"):
        line("pool", "get", "lab", "hostile", str(tmp_path / "got"))
    (there / "etc").unlink()
    # Nor is anything written through a link here.
    (tmp_path / "got").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "got/deep").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="leads out of"):
        line("pool", "get", "lab", "hostile", str(tmp_path / "got"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_cut_in_the_middle_is_gone_on_with(cluster: Cluster, line: Line, tmp_path: Path) -> None:
    source = a_folder(tmp_path / "data", large=40_000_000)
    line.attach("gpu1")
    host = cluster.hosts["gpu1"]
    host.slow(delay_ms=5)
    there = host.home / "cut/large.bin.part"
    cuts: list[threading.Thread] = []

    def cut() -> None:
        wait_until(lambda: there.exists() and there.stat().st_size > 4_000_000, seconds=60)
        host.cut()
        time.sleep(20)  # the length of the cut: longer than a silent channel is put up with
        host.mend()

    cuts.append(threading.Thread(target=cut))
    cuts[0].start()
    try:
        status = line("pool", "put", "lab", str(source), "cut")
        assert (status, line.said) == (0, line.said)
    finally:
        cuts[0].join()
        host.fast()
    assert contents(host.home / "cut") == contents(source)
    (moved,) = line.value
    assert moved["size_bytes"] > 40_000_000
    assert any(text.endswith("left (large.bin)") for text in line.surface.lines)


def test_a_node_that_is_off_is_named_and_the_others_have_the_files(
    cluster: Cluster, line: Line, tmp_path: Path
) -> None:
    source = a_folder(tmp_path / "data")
    line.attach("gpu1", "gpu3")
    cluster.hosts["gpu3"].power_off()
    try:
        assert line("pool", "put", "lab", str(source), "some") == 1
    finally:
        cluster.hosts["gpu3"].power_on()
    assert contents(cluster.hosts["gpu1"].home / "some") == contents(source)
    assert "gpu3: not all is there: gpu3" in line.said


# --- reconcile -----------------------------------------------------------------------------------

FOLDER = ".local/share/jupyter-aiinfra/runs"
GONE = {"pid": 1, "start": 1, "boot": "never", "pidns": "nowhere"}


@pytest.fixture
def other(cluster: Cluster, tmp_path: Path) -> Iterator[Line]:
    """The same user at another machine, with a database of its own."""
    line = Line(cluster, tmp_path / "other")
    yield line
    line.session.close()


def launched(line: Line, cluster: Cluster, *, nodes: int = 2, **changes: Any) -> Job:
    spec = dataclasses.replace(a_spec("/bin/sh", "-c", "exec sleep 300"), nodes=nodes, **changes)
    job = line.session.run(line.session.engine.launch("lab", spec, Bundle(files=())))
    cluster.wait_for_processes([plan["node"] for plan in placed(job)], job.id)
    return job


def placed(job: Job) -> list[dict[str, str]]:
    assert job.handle is not None
    return [{"node": name} for name in job.handle.data["nodes"]]


def ended(line: Line, job_id: str) -> Job:
    engine = line.session.engine
    line.session.run(engine.cancel(job_id, grace=0.0))
    wait_until(lambda: line.session.run(engine.refresh(job_id)).state.final, seconds=60)
    return engine.store.get_job(job_id)


def test_an_orphan_is_shown_and_only_it_is_reclaimed(
    cluster: Cluster, line: Line, other: Line
) -> None:
    line.attach("gpu1", "gpu2")
    other.attach("gpu1", "gpu2")
    mine = launched(line, cluster)
    theirs = launched(other, cluster)
    host = cluster.hosts["gpu1"]
    # Somebody's process that has our tag by chance, and none of our folders.
    env = ["env", f"AIINFRA_JOB={theirs.id}", "AIINFRA_RUN_DIR=/somewhere/else"]
    host.run(["/bin/sh", "-c", f"setsid {' '.join(env)} sleep 301 >/dev/null 2>&1 &"])

    sleeping = b"sleep\x00301\x00"
    stranger = wait_until(
        lambda: [pid for pid in host.tagged(theirs.id) if cmdline(pid) == sleeping], seconds=30
    )
    before = cluster.processes("gpu1", mine.id)
    try:
        assert line("pool", "reconcile", "lab", "--dry-run") == 0
        assert line.value["orphans"] == [theirs.id]
        assert f"orphan   {theirs.id} (" in line.said
        assert "it runs on gpu1, gpu2" in line.said
        with pytest.raises(UsageError, match="nobody to ask"):
            line("pool", "reconcile", "lab", "--reclaim")
        line.answers = [False]
        with pytest.raises(UsageError, match="nothing was reclaimed"):
            line("pool", "reconcile", "lab", "--reclaim")
        assert cluster.processes("gpu2", theirs.id)
        line.answers = [True]
        assert line("pool", "reconcile", "lab", "--reclaim") == 0
        for name in ("gpu1", "gpu2"):
            pids = [pid for pid in cluster.processes(name, theirs.id) if pid not in stranger]
            assert pids == []
        assert all(theirs.id not in name for name in names_below(host.home / FOLDER))
        assert stranger == host.tagged(theirs.id)
        assert cluster.processes("gpu1", mine.id) == before
        line("pool", "reconcile", "lab")
        assert line.value["orphans"] == []
    finally:
        for pid in stranger:
            os.kill(pid, signal.SIGKILL)
        assert ended(line, mine.id).state is JobState.CANCELLED


def names_below(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_an_orphan_is_adopted_and_ends_as_any_other(
    cluster: Cluster, line: Line, other: Line
) -> None:
    line.attach("gpu1", "gpu2")
    other.attach("gpu1", "gpu2")
    theirs = launched(other, cluster, fetch=("history",))
    line("pool", "reconcile", "lab", "--adopt", theirs.id)
    assert line.said.startswith(f"adopted  {theirs.id}: {theirs.spec.name}, running")
    assert line.value["orphans"] == []
    job = line.session.engine.store.get_job(theirs.id)
    assert (job.spec.nodes, job.spec.argv, job.handle) == (2, theirs.spec.argv, theirs.handle)
    with pytest.raises(Conflict, match="adopted from its nodes"):
        line("jobs", "rerun", theirs.id)
    with pytest.raises(Conflict, match="it is no orphan"):
        line("pool", "reconcile", "lab", "--adopt", theirs.id)
    with pytest.raises(NotFound, match="no orphan"):
        line("pool", "reconcile", "lab", "--adopt", "nothere")
    assert ended(line, theirs.id).state is JobState.CANCELLED


def test_launches_that_were_cut_short_are_settled(cluster: Cluster, line: Line) -> None:
    line.attach("gpu1", "gpu2")
    engine = line.session.engine
    spec = dataclasses.replace(a_spec("/bin/sh", "-c", "exec sleep 300"), nodes=2)
    origin = Origin(host=socket.gethostname(), process=GONE)
    reached, never = (
        Job(id=new_job_id(), pool="lab", spec=dataclasses.replace(spec, origin=origin))
        for _ in range(2)
    )
    for job in (reached, never):
        engine.store.add_job(job)
    pool = engine.pool("lab")
    plan = line.session.run(pool.plan(reached))
    line.session.run(pool.submit(plan, Bundle(files=())))
    line("pool", "reconcile", "lab", "--dry-run")
    assert (line.value["bound"], line.value["failed"]) == ([reached.id], [never.id])
    assert f"would be bound    {reached.id}" in line.said
    assert engine.store.get_job(never.id).state is JobState.PENDING
    cluster.hosts["gpu2"].power_off()
    try:
        line("pool", "reconcile", "lab")
        assert set(line.value["undecided"]) == {never.id}
        assert line.value["bound"] == [reached.id]
        assert "gpu2" in line.value["silent"]
    finally:
        cluster.hosts["gpu2"].power_on()
    wait_until(lambda: reconciled(line)["failed"] == [never.id], seconds=60)
    ended(line, reached.id)
    line("pool", "reconcile", "lab")
    assert [line.value[key] for key in ("bound", "failed", "undecided", "orphans")] == [[]] * 4


def reconciled(line: Line) -> Any:
    line("pool", "reconcile", "lab")
    return line.value


def test_a_job_whose_files_are_gone_is_noted_and_its_processes_end(
    cluster: Cluster, line: Line
) -> None:
    line.attach("gpu1", "gpu2")
    job = launched(line, cluster)
    for slot, name in enumerate(("gpu1", "gpu2")):
        place = cluster.hosts[name].home / FOLDER / (f"{job.id}@{slot}" if slot else job.id)
        for pid in supervisors(cluster, name, job.id):
            os.kill(pid, signal.SIGSTOP)  # it would write its files anew
        shutil.rmtree(place)
    line("pool", "reconcile", "lab", "--dry-run")
    assert line.value["ghosts"] == [job.id]
    assert f"ghost    {job.id}" in line.said
    assert not line.session.engine.store.get_job(job.id).state.final
    line("pool", "reconcile", "lab")
    assert line.session.engine.store.get_job(job.id).state is JobState.LOST
    line("pool", "reconcile", "lab", "--reclaim", "--yes")
    assert "its record says that it is over: lost" in line.said
    for name in ("gpu1", "gpu2"):
        assert cluster.processes(name, job.id) == []
        assert supervisors(cluster, name, job.id) == []


def supervisors(cluster: Cluster, name: str, job_id: str) -> list[int]:
    return [
        pid
        for pid in cluster.hosts[name].pids()
        if b"supervise.py" in cmdline(pid) and job_id.encode() in cmdline(pid)
    ]


def test_a_node_that_comes_back_rejoins_its_job(cluster: Cluster, line: Line) -> None:
    line.attach("gpu1", "gpu2")
    job = launched(line, cluster, max_restarts=1, dead_peer_seconds=3.0)
    engine = line.session.engine
    cluster.hosts["gpu2"].power_off()
    try:
        wait_until(lambda: not cluster.processes("gpu1", job.id), seconds=60)
    finally:
        cluster.hosts["gpu2"].power_on()
    seen: list[Job] = []

    def again() -> bool:
        try:
            seen.append(line.session.run(engine.refresh(job.id)))
        except Unreachable:
            return False
        return all(cluster.processes(name, job.id) for name in ("gpu1", "gpu2"))

    wait_until(again, seconds=120)
    wait_until(
        lambda: again() and seen[-1].seen is not None and seen[-1].seen.attempt == 2, seconds=60
    )
    assert seen[-1].state is JobState.RUNNING
    assert ended(line, job.id).state is JobState.CANCELLED
