"""Other monitors, each in a folder of its own below ``build/extras``: installed when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.extras import installed

__all__ = ["VERSIONS", "dashboard", "monitors"]

VERSIONS: Final = {"nvitop": "1.7.2", "gpustat": "1.1.1", "jupyterlab-nvdashboard": "0.15.0"}


def monitors() -> Path:
    """Return a folder with nvitop and gpustat in it, for ``PYTHONPATH``."""
    return installed("gpu-monitors", *map(_pinned, ("nvitop", "gpustat")))


def dashboard() -> Path:
    """Return a folder with jupyterlab-nvdashboard in it, for ``PYTHONPATH``."""
    # What else it needs is here; with it would come a whole JupyterLab.
    return installed("nvdashboard", "--no-deps", _pinned("jupyterlab-nvdashboard"), "nvidia-ml-py")


def _pinned(name: str) -> str:
    return f"{name}=={VERSIONS[name]}"
