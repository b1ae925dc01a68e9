"""Which GPUs there are for workers is told by the environment, else by the devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_aiinfra.serving.gpus import VISIBLE, gpus_for, visible_gpus
from jupyter_aiinfra.serving.manifest import Manifest


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("0,1", ("0", "1")),
        ("3", ("3",)),
        ("GPU-1a, MIG-2b", ("GPU-1a", "MIG-2b")),
        ("1,-1,2", ("1",)),
        ("", ()),
        ("-1", ()),
    ],
)
def test_what_the_environment_tells(told: str, found: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    assert visible_gpus({VISIBLE: told}, devices=tmp_path) == found


def test_devices_are_counted_whatever_their_numbers(tmp_path: Path) -> None:
    assert visible_gpus({}, devices=tmp_path / "none") == ()
    for name in ("nvidia2", "nvidia5", "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        (tmp_path / name).touch()
    assert visible_gpus({}, devices=tmp_path) == ("0", "1")


@pytest.mark.parametrize(
    ("loader", "device", "found"),
    [
        ("torch", "cuda", ("4", "5")),
        ("onnx", "auto", ("4", "5")),
        ("torch", "cuda:1", ()),
        ("torch", "cpu", ()),
        ("function", "cuda", ()),
    ],
)
def test_who_gets_a_worker_each(loader: str, device: str, found: tuple[str, ...]) -> None:
    manifest = Manifest(name="m", entry="m:f", loader=loader, device=device)  # type: ignore[arg-type]
    assert gpus_for(manifest, {VISIBLE: "4,5"}) == found
