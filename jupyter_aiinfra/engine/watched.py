"""Files that schedules watch: what they look like, and how often they are looked at."""

from __future__ import annotations

import os
from typing import Final

from jupyter_aiinfra.schedule import Version

__all__ = ["LOOK_SECONDS", "fingerprint", "look_seconds"]

LOOK_SECONDS: Final = 30.0
"""How often a file is looked at, where nothing else is said."""


def fingerprint(path: str) -> str:
    """Return what changes when a file does; empty where it is not there. A URL is asked for."""
    if "://" not in path:
        try:
            found = os.stat(path)  # noqa: PTH116 - a path as it was given
        except FileNotFoundError:
            return ""
        return f"{found.st_mtime_ns}/{found.st_size}"
    import fsspec  # noqa: PLC0415 - only URLs need it

    system, inner = fsspec.core.url_to_fs(path)
    system.invalidate_cache()
    try:
        return str(system.ukey(inner))
    except FileNotFoundError:
        return ""


def look_seconds(version: Version) -> float:
    """Return how often the file that a version watches is looked at."""
    wanted = [each.seconds for each in version.triggers if each.kind == "file" and each.seconds]
    return min(wanted, default=LOOK_SECONDS)
