"""Packages to compare with, each in a folder of its own below ``build/extras``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.registry import CannotMeasure

__all__ = ["installed"]

_FOLDER: Final = Path(__file__).parents[1] / "build" / "extras"


def installed(name: str, *what: str) -> Path:
    """Return a folder with packages in it, for ``PYTHONPATH``; installed when first asked for.

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
