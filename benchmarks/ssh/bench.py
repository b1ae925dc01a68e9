"""Hosts of this very machine, each with an sshd of its own, by our means and by ssh's own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.registry import CannotMeasure, Run
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.ssh.client import SshOptions
from jupyter_aiinfra.ssh.connection import SshShell
from jupyter_aiinfra.ssh.hosts import parse_hosts
from tests.support.hosts import Host, Hosts
from tests.support.network import program
from tests.support.sshpool import Cluster, open_cluster

__all__ = ["Bench", "names_of", "open_bench", "wait_for"]

_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.002


class Bench:
    """The hosts, an engine of ours that reaches them, and plain calls of ssh."""

    def __init__(self, cluster: Cluster, sockets: Path) -> None:
        self.hosts: Hosts = cluster.hosts
        self.settings = cluster.settings
        self._sockets = sockets

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session of ours, as a kernel has one; no pool is attached yet."""
        with closing(Session(self.settings)) as session:
            yield session

    def options(self, names: Sequence[str] | None = None) -> dict[str, str]:
        """Return what a pool of these hosts (all, unless named) is attached with."""
        return {"hosts": ",".join(names or self.hosts), "python": sys.executable}

    def shells(self) -> list[SshShell]:
        """Return each host as our own code has it."""
        options = SshOptions.of(self.settings)
        return [SshShell(host, options=options) for host in parse_hosts(",".join(self.hosts))]

    def ssh(self, name: str, *command: str, shared: bool = False) -> list[str]:
        """Return a plain call of ssh; with `shared`, over a connection that stands."""
        argv = [program("ssh"), "-F", str(self.hosts.config), "-o", "BatchMode=yes", "-T"]
        if shared:
            sharing = ("ControlMaster=auto", "ControlPersist=600", f"ControlPath={self._path}")
            argv += [word for option in sharing for word in ("-o", option)]
        return [*argv, name, *command]

    @property
    def _path(self) -> str:
        return f"{self._sockets}/raw-%C"

    def warm(self) -> None:
        """Have the connections of the plain calls stand."""
        for name in self.hosts:
            subprocess.run(
                self.ssh(name, "true", shared=True), stdin=subprocess.DEVNULL, check=True
            )

    def disconnect(self, host: Host) -> None:
        """End our shared connection to a host, as if nobody had used it for long."""
        for path in (self._sockets / "jupyter-aiinfra").glob("*"):
            if path.is_socket():
                argv = [program("ssh"), "-o", f"ControlPath={path}", "-O", "exit", host.name]
                subprocess.run(argv, capture_output=True, check=False)
        wait_for(self._is_alone, "the end of the shared connection")

    def _is_alone(self) -> bool:
        return not any(path.is_socket() for path in (self._sockets / "jupyter-aiinfra").glob("*"))


@contextmanager
def open_bench(run: Run, nodes: int) -> Iterator[Bench]:
    """Yield a bench with so many hosts.

    Raises
    ------
    CannotMeasure
        This machine, or its user, cannot have hosts of its own.
    """
    if os.geteuid():
        raise CannotMeasure("hosts in namespaces of their own can be made by root alone")
    try:
        for name in ("sshd", "ssh", "ip", "unshare", "nsenter"):
            program(name)
    except RuntimeError as error:
        raise CannotMeasure(str(error)) from error
    with open_cluster(run.folder / "c", names_of(nodes)) as cluster:
        yield Bench(cluster, Path(os.environ["XDG_RUNTIME_DIR"]))


def names_of(count: int) -> Sequence[str]:
    """Return the names of so many hosts."""
    return tuple(f"gpu{number}" for number in range(1, count + 1))


def wait_for(done: Callable[[], bool], what: str, *, seconds: float = _WAIT_SECONDS) -> None:
    """Wait until `done`; `what` is said where it never is."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
