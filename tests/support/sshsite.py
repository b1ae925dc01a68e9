"""A user's machine with hosts that its ssh reaches: command line and engine against real sshd."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Job
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store
from tests.support.bench import wait_until
from tests.support.hosts import Host, Hosts, open_hosts
from tests.support.network import program
from tests.support.site import FINAL, Site
from tests.support.sshpool import connections

__all__ = ["SshSite", "open_ssh_site"]

T = TypeVar("T")


class SshSite(Site):
    """A site whose pools are hosts; what is on a host is read there, without ssh.

    Where it is `impatient`, a host that has fallen silent is given up in seconds.
    """

    def __init__(self, root: Path, hosts: Hosts, *, impatient: bool = False) -> None:
        super().__init__(root)
        self.hosts = hosts
        self.ssh = "ssh"
        if impatient:
            # Of an option that is given twice ssh takes the first.
            program_path = root / "impatient-ssh"
            first = "-o ServerAliveInterval=1 -o ServerAliveCountMax=3 -o ConnectTimeout=3"
            program_path.write_text(f'#!/bin/sh\nexec {program("ssh")} {first} "$@"\n')
            program_path.chmod(0o755)
            self.ssh = str(program_path)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every program here."""
        told = super().environ
        told["JUPYTER_AIINFRA_SSH_CONFIG"] = str(self.hosts.config)
        told["JUPYTER_AIINFRA_SSH_PROGRAM"] = self.ssh
        return told

    @property
    def settings(self) -> Settings:
        """The settings that the programs here find."""
        return Settings(home=self.home, ssh_config=self.hosts.config, ssh_program=self.ssh)

    def attach_hosts(self, *names: str, pool: str = "lab", python: str = sys.executable) -> None:
        """Attach a pool of hosts (all of them)."""
        wanted = ",".join(names or self.hosts)
        words = ("pool", "attach", pool, "--kind", "ssh", "--hosts", wanted, "--python", python)
        done = self.command(*words)
        assert done.returncode == 0, done.stderr

    def launch(self, *words: str, seconds: float = 60) -> str:
        """Run ``run … --detach``; return the job's id."""
        done = self.command("run", *words, "--detach", "--json", seconds=seconds)
        assert done.returncode == 0, done.stderr + done.stdout
        return str(json.loads(done.stdout)["id"])

    def ask(self, verb: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
        """Return what `verb` makes of an engine, which lives no longer than this call."""

        async def asked() -> T:
            engine = Engine(open_store(self.settings), self.settings)
            try:
                return await verb(engine)
            finally:
                await engine.aclose()

        return asyncio.run(asked())

    def job(self, job_id: str) -> Job:
        """Return the record of a job as it is now."""
        return self.store.get_job(job_id)

    # --- what is on the hosts ------------------------------------------------------------------

    def folder(self, name: str) -> Path:
        """Return where everything of ours is on a host."""
        return self.hosts[name].home / ".local/share/jupyter-aiinfra"

    def node_dir(self, name: str, job_id: str) -> Path:
        """Return the run directory that a host has of a job, whatever its slot."""
        runs = self.folder(name) / "runs"
        return next(iter([*runs.glob(f"{job_id}@*"), runs / job_id]))

    def exit_record(self, name: str, job_id: str) -> dict[str, Any] | None:
        """Return what a host has written down of the end of a job."""
        return read_json(self.node_dir(name, job_id) / "exit.json")

    def end_on(self, name: str, job_id: str, *, seconds: float = 60) -> dict[str, Any]:
        """Wait until a host has written down the end of a job."""

        def ended() -> dict[str, Any] | None:
            return self.exit_record(name, job_id)

        try:
            return dict(wait_until(ended, seconds=seconds))
        except BaseException:
            sys.stderr.write(self.tale(job_id))
            raise

    def final(self, job_id: str, *, seconds: float = 60) -> Job:
        """Wait until the command line has seen the end of a job; return its record."""

        def over() -> Job | None:
            self.command("jobs", "show", job_id)
            job = self.job(job_id)
            return job if job.state.value in FINAL else None

        try:
            found: Job = wait_until(over, seconds=seconds)
        except BaseException:
            sys.stderr.write(self.tale(job_id))
            raise
        return found

    def log_on(self, name: str, job_id: str, log: str = "launcher.log") -> str:
        """Return a log as a host has it."""
        path = self.node_dir(name, job_id) / "logs" / log
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for_text(
        self, name: str, job_id: str, text: str, *, log: str = "rank-0.log", seconds: float = 60
    ) -> None:
        """Wait until a log on a host holds `text`."""
        try:
            wait_until(lambda: text in self.log_on(name, job_id, log), seconds=seconds)
        except BaseException:
            sys.stderr.write(self.tale(job_id))
            raise

    def wait_for_host_processes(self, job_id: str, *names: str, seconds: float = 60) -> None:
        """Wait until the job runs something on each of the hosts (all of them)."""
        wanted = names or tuple(self.hosts)
        wait_until(lambda: all(self.hosts[name].tagged(job_id) for name in wanted), seconds=seconds)

    def tale(self, job_id: str) -> str:
        """Return what the hosts know of a job, for the message of a failed test."""
        parts = []
        for name in self.hosts:
            folder = self.node_dir(name, job_id)
            for path in sorted([*folder.glob("*.json"), *folder.glob("logs/*.log")]):
                if path.name not in ("task.json", "manifest.json", "gang.json", "spec.json"):
                    text = path.read_text(errors="replace")[-1500:]
                    parts.append(f"--- {name} {path.name}\n{text}\n")
        return "\n".join(parts)

    def left(self) -> dict[str, list[int]]:
        """Return the processes of jobs that still run on hosts, and their supervisors."""
        found = {}
        for name, host in self.hosts.items():
            pids = [*host.tagged(), *supervisors(host)]
            if pids:
                found[name] = pids
        return found

    def assert_nothing_left(self, *, seconds: float = 15) -> None:
        """Wait until no process of any job, and no supervisor, runs on any host."""
        deadline = time.monotonic() + seconds
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not self.left(), f"processes were left behind: {self.left()}"

    def clear(self) -> None:
        """Kill what runs on the hosts, so that one test's failure is not the next one's."""
        for pids in self.left().values():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def supervisors(host: Host) -> list[int]:
    """Return the supervisors on a host; they carry no tag of a job."""
    found = []
    for pid in host.pids():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if any(word.endswith("aiinfra/supervise.py") for word in words):
                found.append(pid)
    return found


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file, ``None`` while it is not there."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None


@contextmanager
def open_ssh_site(
    root: Path, names: Sequence[str] = ("gpu1", "gpu2"), *, impatient: bool = False
) -> Iterator[SshSite]:
    """Yield a site with hosts. At its end nothing of any job may run on them."""
    with connections(), open_hosts(root / "hosts", names) as hosts:
        site = SshSite(root, hosts, impatient=impatient)
        try:
            yield site
            site.assert_nothing_left()
        finally:
            site.clear()
            site.close()
