"""Records that are written on a full disk, into room that was set aside for them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from jupyter_aiinfra.node import supervise


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(path: str, text: str, *, durable: bool) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(supervise, "_write_atomic", no_room)


def test_a_record_is_written_over_what_was_set_aside(tmp_path: Path, full: None) -> None:
    path = tmp_path / "exit.json"
    supervise.set_aside(str(path))
    reserve = tmp_path / f"exit.json{supervise.RESERVE}"
    assert reserve.stat().st_blocks * 512 >= 1 << 16, "the room is really taken"
    supervise.write_json(str(path), {"state": "failed"})
    assert path.read_text() == '{"state": "failed"}\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not reserve.exists()


def test_what_nothing_was_set_aside_for_fails(tmp_path: Path, full: None) -> None:
    with pytest.raises(OSError, match="No space left"):
        supervise.write_json(str(tmp_path / "go"), {})
    assert list(tmp_path.iterdir()) == []


def test_room_is_set_aside_where_the_system_cannot_allocate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    supervise.set_aside(str(tmp_path / "exit.json"))
    (reserve,) = tmp_path.iterdir()
    assert reserve.stat().st_size == 1 << 16
