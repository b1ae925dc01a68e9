"""SQLite stores that are quick to make and to write to, for tests of what uses them.

To migrate a new file takes longer than most tests, and each commit waits for the disk. What
migrations lead to is asked in ``test_store.py``; what a power cut leaves, nowhere in one process.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Pool, event

from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store, opening

__all__ = ["quick_stores"]

# Whether commits wait for the disk.
_waits = True


@contextmanager
def quick_stores(folder: Path) -> Iterator[None]:
    """Begin new stores of this process as copies of one in `folder`, and do not wait for the disk.

    A file that is there is left as it is, and migrated where it has to be.
    """
    # Listened to for good, as SQLAlchemy cannot forget a listener while pools come and go.
    if not event.contains(Pool, "connect", _do_not_sync):
        event.listen(Pool, "connect", _do_not_sync)
    template = folder / "aiinfra.db"
    if not template.exists():
        open_store(Settings(home=folder)).close()
    with pytest.MonkeyPatch.context() as patch:
        make = _maker(opening._make_file, template.read_bytes())
        patch.setattr(opening, "_make_file", make)
        patch.setattr(sys.modules[__name__], "_waits", False)
        yield


def _maker(make_file: Callable[[Path], None], migrated: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        if path.exists():
            return
        # Whole when it appears, and by one only: another thread may be about to make it, too.
        beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        make_file(beside)
        beside.write_bytes(migrated)
        with suppress(FileExistsError):
            os.link(beside, path)
        beside.unlink()

    return make


def _do_not_sync(connection: Any, _record: object) -> None:
    if not _waits and isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")
