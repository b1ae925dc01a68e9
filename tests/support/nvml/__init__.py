"""A compiled stand-in for NVIDIA's management library; see ``mock.c`` for what it can be told."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

__all__ = ["MockNvml", "build", "gpu"]

_NAME = "libnvidia-ml.so.1"
GIB = 1 << 30

# What differs from GPU to GPU, so that no two answers can be mixed up.
_DEFAULTS: Mapping[str, Any] = {
    "name": "NVIDIA H100 80GB HBM3",
    "mem_total": 80 * GIB,
    "limit": 700_000,
    "mem": 2619,
    "enc": 3,
    "dec": 4,
    "reasons": 0,
    "ecc": 0,
    "procs": "",
    "graphics": "",
    "mps": "",
}


def build(folder: Path, *, without: Sequence[str] = ()) -> Path:
    """Compile the library into `folder`, without these functions; return the folder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder.mkdir(parents=True, exist_ok=True)
    argv = [compiler, "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    argv += [f"-Wl,-soname,{_NAME}", "-o", str(folder / _NAME), "-pthread"]
    if without:
        script = folder / "names"
        script.write_text("{ local: " + " ".join(f"{name};" for name in without) + " };")
        argv.append(f"-Wl,--version-script={script}")
    argv.append(str(Path(__file__).with_name("mock.c")))
    subprocess.run(argv, check=True, timeout=120)
    return folder


def gpu(index: int, **changes: Any) -> dict[str, Any]:
    """Return what the library is to say of a GPU; ``None`` for what it does not support."""
    said = {
        "uuid": f"GPU-{index:08d}-0000-0000-0000-000000000000",
        "util": 10 + index,
        "mem_used": (index + 1) * GIB,
        "mem_reserved": 500 << 20,
        "power": 100_000 + 1000 * index,
        "temp": 40 + index,
        "sm": 1900 + index,
        "pcie_tx": 1000 + index,
        "pcie_rx": 2000 + index,
        **_DEFAULTS,
        **changes,
    }
    return {key: value for key, value in said.items() if value is not None}


class MockNvml:
    """The file that the library answers from.

    Parameters
    ----------
    path
        The file.
    library
        The folder that holds the library.
    """

    def __init__(self, path: Path, library: Path) -> None:
        self.path = path
        self.library = library
        self.driver: dict[str, Any] = {}
        self.gpus: list[dict[str, Any]] = []
        self.slices: dict[int, list[dict[str, Any]]] = {}
        self.write()

    def environ(self, **more: str) -> dict[str, str]:
        """Return an environment in which the library is found, and no program of the host is."""
        environ = {**os.environ, "PATH": "/nowhere", "LD_LIBRARY_PATH": str(self.library)}
        return {**environ, "MOCK_NVML": str(self.path), **more}

    def write(self) -> None:
        """Make what was changed known, all at once."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in self._lines()))
        new.replace(self.path)

    def set(self, index: int, **changes: Any) -> None:
        """Change what is said of a GPU; ``None`` takes something away."""
        said = {**self.gpus[index], **changes}
        self.gpus[index] = {key: value for key, value in said.items() if value is not None}
        self.write()

    def _lines(self) -> Iterator[str]:
        yield _line("driver", self.driver)
        for index, said in enumerate(self.gpus):
            yield _line("gpu", said)
            for part in self.slices.get(index, ()):
                yield _line("slice", part)


def _line(kind: str, said: Mapping[str, Any]) -> str:
    return "\t".join([kind, *(f"{key}={value}" for key, value in said.items())])
