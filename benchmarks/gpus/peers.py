"""Other monitors, each in a folder of its own below ``build/extras``: installed when asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.registry import CannotMeasure

__all__ = ["VERSIONS", "dashboard", "monitors"]

VERSIONS: Final = {"nvitop": "1.7.2", "gpustat": "1.1.1", "jupyterlab-nvdashboard": "0.15.0"}
_FOLDER = Path(__file__).parents[2] / "build" / "extras"


def monitors() -> Path:
    """Return a folder with nvitop and gpustat in it, for ``PYTHONPATH``."""
    return _installed("gpu-monitors", *map(_pinned, ("nvitop", "gpustat")))


def dashboard() -> Path:
    """Return a folder with jupyterlab-nvdashboard in it, for ``PYTHONPATH``."""
    # What else it needs is here; with it would come a whole JupyterLab.
    return _installed("nvdashboard", "--no-deps", _pinned("jupyterlab-nvdashboard"), "nvidia-ml-py")


def _pinned(name: str) -> str:
    return f"{name}=={VERSIONS[name]}"


def _installed(name: str, *what: str) -> Path:
    """Return a folder with packages in it.

    Raises
    ------
    CannotMeasure
        They cannot be had.
    """
    folder = _FOLDER / name
    done = folder / ".installed"
    if not done.exists():
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *what]
        made = subprocess.run(argv, capture_output=True, text=True, check=False)
        if made.returncode:
            said = made.stderr.strip().splitlines()
            raise CannotMeasure(f"{what[-1]} cannot be installed: {said[-1] if said else ''}")
        done.touch()
    return folder
