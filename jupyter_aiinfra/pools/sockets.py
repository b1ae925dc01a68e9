"""Names of sockets that fit into an address, which takes hardly more than 100 bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from jupyter_aiinfra.ssh.client import runtime_folder

__all__ = ["near_end", "short_path"]

_LONGEST: Final = 100


def short_path(folder: Path, name: str) -> Path:
    """Return a path of `name` in `folder` that fits: by a link in a folder of this user's alone.

    Raises
    ------
    PoolError
        There is no such folder.
    """
    path = folder / name
    if len(os.fsencode(path)) <= _LONGEST:
        return path
    link = runtime_folder() / f"run-{_digest(str(folder))}"
    if not link.is_symlink() or os.readlink(link) != str(folder):  # noqa: PTH115 - as it stands
        made = link.with_name(f"{link.name}.{os.getpid()}")
        made.unlink(missing_ok=True)
        made.symlink_to(folder)
        made.replace(link)
    return link / name


def near_end(what: str) -> Path:
    """Return where the near end of a tunnel to `what` is to be: the same for all who ask."""
    return runtime_folder() / f"near-{_digest(what)}.sock"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
