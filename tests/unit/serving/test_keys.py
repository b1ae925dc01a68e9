"""Rates, and a file of keys that is exchanged under way."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from jupyter_aiinfra.serving.faults import Busy, Unauthorized
from jupyter_aiinfra.serving.keys import Key, Keys, new_key
from jupyter_aiinfra.serving.model import CannotServe


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, *keys: Key) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(keys))
    fresh.replace(path)


def header(secret: str) -> bytes:
    return f"Bearer {secret}".encode()


def test_a_rate_is_kept_and_its_share_of_a_worker(tmp_path: Path) -> None:
    secret, key = new_key("anna", per_second=4)
    write(tmp_path / "keys", key)
    clock = Clock()
    keys = Keys(tmp_path / "keys", share=0.5, clock=clock)
    for _ in range(2):
        assert keys.admit(header(secret), "predict") == "anna"
    with pytest.raises(Busy, match="anna may ask 2 times a second") as refused:
        keys.admit(header(secret), "predict")
    assert refused.value.retry_after_seconds == 0.5
    clock.now += 0.5
    keys.admit(header(secret), "predict")


def test_keys_are_exchanged_under_way(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    (old, old_key), (new, new_one) = new_key("old"), new_key("new")
    write(path, old_key)
    clock = Clock()
    keys = Keys(path, clock=clock)
    write(path, new_one)
    assert keys.admit(header(old), "predict") == "old", "not looked at with every request"
    clock.now += 2
    assert keys.admit(header(new), "predict") == "new"
    with pytest.raises(Unauthorized):
        keys.admit(header(old), "predict")
    path.unlink()
    clock.now += 2
    assert keys.admit(header(new), "predict") == "new", "a file that is away changes nothing"


@pytest.mark.parametrize("told", [None, b"", b"Bearer ", b"aii_", b"aii__", b"\xff", b"Basic x"])
def test_what_is_no_key(tmp_path: Path, told: bytes | None) -> None:
    write(tmp_path / "keys", new_key("anna")[1])
    with pytest.raises(Unauthorized):
        Keys(tmp_path / "keys").admit(told, "predict")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("{")
    with pytest.raises(CannotServe, match="keys in"):
        Keys(tmp_path / "keys")


def test_names_and_scopes() -> None:
    with pytest.raises(ValueError, match="small letters"):
        new_key("An_na")
    with pytest.raises(ValueError, match="no scope 'root'"):
        new_key("anna", scopes=("root",))
