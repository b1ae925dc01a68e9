"""Packages that some tests need and the environment must not have: ``make extras`` installs them.

Each lies in a folder of its own below ``build/extras``; a program sees it by the variables here.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from pathlib import Path

__all__ = ["collaboration", "ipykernel6"]

_FOLDER = Path(__file__).parents[2] / "build" / "extras"


def ipykernel6() -> Mapping[str, str]:
    """Return what makes kernels those of ipykernel 6."""
    return {"PYTHONPATH": str(_there(_FOLDER / "ipykernel6"))}


def collaboration() -> Mapping[str, str]:
    """Return what gives a server jupyter-collaboration: documents that several people edit."""
    prefix = _there(_FOLDER / "collaboration")
    values = {"base": str(prefix), "platbase": str(prefix)}
    packages = sysconfig.get_path("purelib", scheme="posix_prefix", vars=values)
    return {
        "PYTHONPATH": packages,
        "JUPYTER_PATH": str(prefix / "share" / "jupyter"),
        "JUPYTER_CONFIG_PATH": str(prefix / "etc" / "jupyter"),
    }


def _there(folder: Path) -> Path:
    assert folder.is_dir(), f"{folder} is not there; `make extras` makes it"
    return folder
