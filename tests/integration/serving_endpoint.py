"""An endpoint in processes of its own, for the tests of serving."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

__all__ = ["Endpoint", "model_folder"]

_CODE = """
import os, time

def predict(x):
    return x * 2

def slow(x):
    time.sleep(0.3)
    return x * 2

def spell(value):
    yield from value

def pid(value):
    return [os.getpid() for _ in value]
"""


def model_folder(folder: Path, *, entry: str = "predict", **told: Any) -> Path:
    """Write a model of two floats (unless `told` otherwise) into `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "endpoint_code.py").write_text(_CODE)
    manifest = {
        "name": "double",
        "version": "3",
        "entry": f"endpoint_code:{entry}",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [2]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [2]}],
        "example": [[1, 2]],
    }
    (folder / "endpoint.json").write_text(json.dumps(manifest | told))
    return folder


class Endpoint:
    """``python -m jupyter_aiinfra.serving`` with `options`, ready when entered."""

    def __init__(self, folder: Path, *options: str, workers: int = 1) -> None:
        self.log = folder.parent / f"{folder.name}.log"
        argv = [sys.executable, "-m", "jupyter_aiinfra.serving", str(folder)]
        argv += ["--port", "0", "--workers", str(workers), *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode().strip()
        self.url = said.removeprefix("serving on ")

    def __enter__(self) -> Endpoint:  # noqa: PYI034 - Self is newer than Python 3.10
        until = time.monotonic() + 60
        while self.url.startswith("http"):
            try:
                # The socket is there before the model: what is asked then waits for it.
                if requests.get(f"{self.url}/readyz", timeout=60).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.05)
            assert time.monotonic() < until, self.log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in children.read_text().split()]

    def kill_worker(self) -> int:
        """Kill one; return which."""
        one = self.workers()[0]
        os.kill(one, signal.SIGKILL)
        return one
