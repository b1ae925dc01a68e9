"""Pools on real sshd hosts: what the tests of the ssh pool share."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.pools.ssh import SshPool
from jupyter_aiinfra.settings import Settings
from tests.support.bench import wait_until
from tests.support.hosts import Hosts, open_hosts

__all__ = ["Cluster", "connections", "open_cluster"]


class Cluster:
    """Hosts, and settings with which our own ssh reaches them."""

    def __init__(self, root: Path, hosts: Hosts) -> None:
        self.hosts = hosts
        self.settings = Settings(home=root / "home", ssh_config=hosts.config)

    def record(self, name: str = "lab", **options: Any) -> PoolRecord:
        """Return the record of a pool of all hosts, or of those named."""
        wanted = {"hosts": ",".join(self.hosts), "python": sys.executable, **options}
        return PoolRecord(name=name, kind="ssh", options=wanted)

    def open(self, **options: Any) -> SshPool:
        """Open the pool, as any process does."""
        return SshPool.from_record(self.record(**options), self.settings)

    def processes(self, name: str, job_id: str | None = None) -> list[int]:
        """Return the processes of jobs on a host."""
        return self.hosts[name].tagged(job_id)

    def wait_for_processes(self, names: Sequence[str], job_id: str) -> None:
        """Wait until the job runs something on each of the hosts."""
        wait_until(lambda: all(self.processes(name, job_id) for name in names), seconds=60)

    def left(self) -> dict[str, list[int]]:
        """Return the processes of jobs that still run, by host."""
        found = {name: self.hosts[name].tagged() for name in self.hosts}
        return {name: pids for name, pids in found.items() if pids}


@contextmanager
def open_cluster(root: Path, names: Sequence[str] = ("gpu1", "gpu2")) -> Iterator[Cluster]:
    """Yield a cluster; no process of any job may be left on its hosts."""
    with connections() as _, open_hosts(root / "hosts", names) as hosts:
        cluster = Cluster(root, hosts)
        yield cluster
        left = cluster.left()
        assert not left, f"processes of jobs were left behind: {left}"


@contextmanager
def connections() -> Iterator[Path]:
    """Let shared connections be made in a folder of the block's own, and its path be short."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    # pytest's own folders have names that are too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="ais", dir="/tmp"))
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
