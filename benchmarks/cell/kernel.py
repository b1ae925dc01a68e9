"""A real kernel, driven as a front end drives it, and watched from outside."""

from __future__ import annotations

import os
import queue
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

__all__ = ["Kernel", "Ran", "environment", "kernel", "most_in_a_second"]

_START_SECONDS = 120.0
_CELL_SECONDS = 600.0
# A user's tracking server is not at issue, and byte code is kept as everywhere else.
_LEFT_BEHIND = ("MLFLOW_", "JUPYTER_AIINFRA_", "PYTHONDONTWRITEBYTECODE")
_PREPARE = "%load_ext jupyter_aiinfra\n%pool attach here --kind local"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A cell that has run: what came over iopub with the times of arrival, and what it cost.

    ``cpu_seconds`` is user and system time of the kernel process, without its children.
    """

    messages: Sequence[tuple[float, Mapping[str, Any]]]
    begun_at: float
    wall_seconds: float
    cpu_seconds: float


class Kernel:
    """One kernel process and a client of it."""

    def __init__(self, manager: KernelManager, process: psutil.Process) -> None:
        self._client = manager.blocking_client()
        self._process = process
        self._client.start_channels()
        self._client.wait_for_ready(timeout=_START_SECONDS)

    def run(self, code: str, *, seconds: float = _CELL_SECONDS) -> Ran:
        """Run a cell to its end.

        Raises
        ------
        RuntimeError
            The cell raised; its traceback is the text.
        """
        messages: list[tuple[float, Mapping[str, Any]]] = []
        cpu = self._cpu_seconds()
        begun_at, begun = time.time(), time.monotonic()
        asked = self._client.execute(code)
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=seconds)
            except queue.Empty:
                raise RuntimeError(f"the kernel said nothing for {seconds:g} s") from None
            if message["parent_header"].get("msg_id") != asked:
                continue
            messages.append((time.monotonic(), message))
            content = message["content"]
            if message["msg_type"] == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
        return Ran(
            messages=messages,
            begun_at=begun_at,
            wall_seconds=time.monotonic() - begun,
            cpu_seconds=self._cpu_seconds() - cpu,
        )

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        """Let go of the channels."""
        self._client.stop_channels()


def environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return our environment and `more`, with every place that is written to below `folder`.

    `folder` becomes a repository, as most notebooks lie in one: looking at it is part of a launch.
    """
    if not (folder / ".git").exists():
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_BEHIND)}
    places = {"JUPYTER_AIINFRA_HOME": "home", "IPYTHONDIR": "ipython", "JUPYTER_RUNTIME_DIR": "run"}
    return {
        **kept,
        **{name: str(folder / place) for name, place in places.items()},
        # The package of this source tree, installed or not.
        "PYTHONPATH": os.pathsep.join(filter(None, (str(Path.cwd()), kept.get("PYTHONPATH")))),
        **more,
    }


@contextmanager
def kernel(
    folder: Path, *, attach: bool = True, more: Mapping[str, str] | None = None
) -> Iterator[Kernel]:
    """Yield a fresh kernel in `folder`; with `attach`, the extension and a pool are there."""
    manager = KernelManager(kernel_name="python3")
    opened: Kernel | None = None
    with (folder / "kernel.log").open("ab") as log:
        manager.start_kernel(env=environment(folder, more or {}), cwd=str(folder), stderr=log)
    try:
        opened = Kernel(manager, _process(manager))
        for line in _PREPARE.splitlines() if attach else ():
            opened.run(line)
        yield opened
    finally:
        if opened is not None:
            opened.close()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def _process(manager: KernelManager) -> psutil.Process:
    provisioner = manager.provisioner
    if not isinstance(provisioner, LocalProvisioner) or provisioner.pid is None:
        raise TypeError(f"{provisioner!r} is no process of this machine: nothing can be measured")
    return psutil.Process(provisioner.pid)


def most_in_a_second(times: Sequence[float]) -> int:
    """Return the largest number of `times` within any one second.

    >>> most_in_a_second([0.0, 0.5, 0.9, 1.2, 3.0])
    3
    """
    most = first = 0
    for last, now in enumerate(times):
        while now - times[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
