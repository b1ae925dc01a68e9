"""What can be wrong with hosts, by the command line: it is said, and nothing is left half-done."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.errors import StorageFull
from jupyter_aiinfra.model import JobKind, JobSpec
from tests.support.network import command
from tests.support.sshpool import connections
from tests.support.sshsite import SshSite, open_ssh_site

NAMES = ("gpu1", "gpu2", "gpu3")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshSite]:
    with open_ssh_site(tmp_path_factory.mktemp("refusals"), NAMES) as site:
        site.attach_hosts()
        site.script("quick.py", "import socket; print('ran on', socket.gethostname())\n")
        yield site


def refused(site: SshSite, *words: str, seconds: float = 60) -> str:
    """Run a command that must fail; return what it says to the user."""
    done = site.command(*words, seconds=seconds)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def attaching(hosts: str, *options: str) -> tuple[str, ...]:
    return ("pool", "attach", "wrong", "--kind", "ssh", "--hosts", hosts, *options)


def pools(site: SshSite) -> list[str]:
    return [record.name for record in site.store.list_pools()]


@contextmanager
def no_connection_yet() -> Iterator[None]:
    """Leave the connections that are open aside, as a new day does."""
    with connections():
        yield


def test_a_wrong_key_names_the_keys_that_were_offered(site: SshSite, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong))
    known = site.hosts.config.read_text()
    site.hosts.config.write_text(known.replace(str(site.hosts.key), str(wrong)))
    try:
        with no_connection_yet():
            said = refused(site, *attaching("gpu1"))
    finally:
        site.hosts.config.write_text(known)
    assert said.startswith("AuthenticationFailed: gpu1 did not let ")
    assert "publickey" in said
    assert str(wrong) in said
    assert "wrong" not in pools(site)


def test_a_wrong_host_and_a_wrong_port(site: SshSite) -> None:
    said = refused(site, *attaching("nosuchhost.invalid"))
    assert said.startswith("NameNotResolved: ")
    assert "nosuchhost.invalid" in said
    said = refused(site, *attaching("gpu1:23"))
    assert said.startswith("ConnectionRefused: gpu1:23")
    assert len(said.splitlines()) == 2, "there is no hint"
    assert "wrong" not in pools(site)


def test_a_changed_host_key_is_refused_and_says_nothing_of_the_job(site: SshSite) -> None:
    site.script("slow.py", "import time; time.sleep(300)\n")
    job_id = site.launch("slow.py", "--pool", "lab", "--procs", "1")
    site.wait_for_host_processes(job_id, "gpu1")
    key = site.hosts["gpu1"].folder / "etc/host_key"
    kept = {path: path.read_bytes() for path in (key, key.with_suffix(".pub"))}
    site.hosts["gpu1"].renew_host_key()
    try:
        with no_connection_yet():
            said = refused(site, *attaching("gpu1"))
            assert said.startswith("HostKeyChanged: ")
            assert "HAS CHANGED" in said
            assert "ssh-keygen -f" in said
            shown = site.command("jobs", "show", job_id)
            assert "HAS CHANGED" in shown.stdout + shown.stderr
        assert site.job(job_id).state.value in ("starting", "running")
    finally:
        for path, data in kept.items():
            path.write_bytes(data)
        site.hosts["gpu1"].configure()
    assert site.command("jobs", "cancel", job_id).returncode == 0
    assert site.final(job_id).state.value == "cancelled"


def test_a_disk_that_is_full_on_one_node_stops_the_launch_on_all(site: SshSite) -> None:
    gpu2 = site.hosts["gpu2"]
    folder = str(site.folder("gpu2"))
    gpu2.run(["mkdir", "-p", folder])
    mounted = gpu2.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", folder])
    assert mounted.returncode == 0, mounted.stderr
    try:
        # The disk is looked at before anything is sent.
        before = {job.id for job in site.jobs()}
        launch = ("run", "quick.py", "--pool", "lab", "--nodes", "2", "--procs", "1")
        said = refused(site, *launch)
        assert said.startswith("PreflightError: node gpu2: the disk is "), said
        assert "make room there" in said
        assert {job.id for job in site.jobs()} == before

        # What fills up only then.
        spec = JobSpec(kind=JobKind.TRAIN, name="big", argv=("true",), nodes=2, verify_world=False)
        bundle = Bundle(files=(bundle_file("src/big", os.urandom(200_000)),))
        with pytest.raises(StorageFull, match="gpu2") as caught:
            site.ask(lambda engine: engine.launch("lab", spec, bundle))
        assert caught.value.hint
        [job] = [job for job in site.jobs() if job.id not in before]
        assert job.state.value == "failed"
        assert "no room" in (job.seen.reason if job.seen and job.seen.reason else "")
        for name in ("gpu1", "gpu2"):
            left = site.hosts[name].run(["ls", f"{site.folder(name)}/runs"]).stdout.split()
            assert job.id.encode() not in b" ".join(left)
    finally:
        assert gpu2.run(["umount", folder]).returncode == 0
    site.assert_nothing_left()


def test_no_python_and_an_old_one(site: SshSite) -> None:
    said = refused(site, *attaching("gpu1", "--python", "/no/such/python"))
    assert said.startswith("PoolError: gpu1: there is no program /no/such/python on the node")
    assert "name a Python 3.8 or newer of the node with --python" in said

    # What opens a channel runs in any Python: in this one it meets an old version.
    old = site.hosts["gpu1"].home / "python3.7"
    old.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "sys.version_info = (3, 7, 16, 'final', 0)\n"
        "code, sys.argv = sys.argv[4], ['-c', *sys.argv[5:]]\n"
        "exec(code)\n"
    )
    old.chmod(0o755)
    said = refused(site, *attaching("gpu1", "--python", str(old)))
    assert said.startswith("PoolError: gpu1: ")
    assert "is Python 3.7.16, and 3.8 is the oldest" in said
    assert "wrong" not in pools(site)


def test_a_port_that_is_blocked_between_nodes_is_said_and_nothing_runs_on(site: SshSite) -> None:
    before = {job.id for job in site.jobs()}
    site.hosts["gpu1"].cut_from(site.hosts["gpu2"])
    try:
        done = site.command(
            *("run", "quick.py", "--pool", "lab", "--nodes", "2"),
            env={"JUPYTER_AIINFRA_JOIN_SECONDS": "3", "JUPYTER_AIINFRA_DEAD_PEER_SECONDS": "3"},
        )
        assert done.returncode == 1
        assert "node gpu2 did not join within 3 s" in done.stdout + done.stderr
        [job] = [job for job in site.jobs() if job.id not in before]
        assert job.state.value == "failed"
        site.assert_nothing_left()
    finally:
        site.hosts["gpu1"].mend_from(site.hosts["gpu2"])


def test_a_banner_and_a_shell_that_greets_change_nothing(site: SshSite) -> None:
    banner = site.hosts["gpu3"].folder / "etc/banner"
    banner.write_text("Permission denied. {json} authorized use only\n")
    site.hosts["gpu3"].configure(f"Banner {banner}")
    (site.hosts["gpu3"].home / ".bashrc").write_text("echo welcome; echo careful >&2\n")
    try:
        with no_connection_yet():
            site.attach_hosts("gpu3", pool="noisy")
            done = site.command("run", "quick.py", "--pool", "noisy", "--procs", "1")
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[0] == "ran on gpu3"
            assert "welcome" not in done.stdout
    finally:
        site.hosts["gpu3"].configure()
        (site.hosts["gpu3"].home / ".bashrc").write_text("")


def test_an_account_without_a_shell(site: SshSite) -> None:
    site.hosts["gpu3"].set_shell("/usr/sbin/nologin")
    try:
        with no_connection_yet():
            said = refused(site, *attaching("gpu3"))
        assert said.startswith("NoRemoteShell: gpu3")
    finally:
        site.hosts["gpu3"].set_shell("/bin/bash")
