"""What the figures were measured on: nothing that names the machine or a folder on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

import psutil

__all__ = ["Machine", "describe_machine", "load_now"]

Load = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine, the load on it at both ends of the run, and the versions in play."""

    cores: int
    memory_gib: float
    system: str
    load_before: Load
    load_after: Load
    versions: Mapping[str, str]


def load_now() -> Load:
    """Return the load over the last 1, 5 and 15 minutes; it counts what we run ourselves."""
    one, five, fifteen = os.getloadavg()
    return (round(one, 2), round(five, 2), round(fifteen, 2))


def describe_machine(*, load_before: Load, packages: Iterable[str]) -> Machine:
    """Describe this machine as of now, the end of a run that began at `load_before`."""
    return Machine(
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.machine()}",
        load_before=load_before,
        load_after=load_now(),
        versions={"python": platform.python_version(), **{p: _version(p) for p in packages}},
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
