"""The files of ours that run on a node; they travel with each job, as no node has them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from jupyter_aiinfra.bundle import Bundle, BundleFile, bundle_file
from jupyter_aiinfra.node import supervise

__all__ = ["node_files", "with_node_files"]

# What lies in a run directory's ``aiinfra/``, and the file of ours that it is.
_NODE_FILES: Final = {
    "aiinfra_spawned.py": "aiinfra_spawned.py",
    "collect.py": "collect.py",
    "gang.py": "gang.py",
    # `from jupyter_aiinfra import step` works where the package is not installed.
    "jupyter_aiinfra.py": "step.py",
    "link.py": "link.py",
    "parcel.py": "parcel.py",
    "peers.py": "peers.py",
    "pulse.py": "pulse.py",
    "rank.py": "rank.py",
    "readings/counters.py": "counters.py",
    "readings/crew.py": "crew.py",
    "readings/machine.py": "machine.py",
    "readings/meter.py": "meter.py",
    "readings/nvidia.py": "nvidia.py",
    "readings/nvml.py": "nvml.py",
    "stall.py": "stall.py",
    "step.py": "step.py",
    "supervise.py": "supervise.py",
    "track.py": "track.py",
}


_TRACKER: Final = ("track.py", "readings/")


@functools.lru_cache(maxsize=2)
def node_files(*, tracked: bool = True) -> tuple[BundleFile, ...]:
    """Return the node side of the package as bundle files: the same for every job.

    One that is not `tracked` has no companion that keeps an MLflow run, nor what that needs.
    """
    folder = Path(supervise.__file__).parent
    return tuple(
        bundle_file(f"aiinfra/{name}", (folder / source).read_bytes())
        for name, source in _NODE_FILES.items()
        if tracked or not name.startswith(_TRACKER)
    )


def with_node_files(bundle: Bundle) -> Bundle:
    """Return `bundle` with the node side in it, as what was launched by our own means has it."""
    there = {file.path for file in bundle.files}
    missing = [file for file in node_files() if file.path not in there]
    return Bundle(files=(*bundle.files, *missing)) if missing else bundle
