"""Launches a job again and again, killed each time one step later than before; a test runs it.

A step is whatever can be seen from outside: a file opened for writing, a folder made, something
renamed or removed, a connection to the database, a program started. Prints a line of JSON for each
launch: the job's id and the step before which it died, ``null`` for the one that came through.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import JobKind, JobSpec
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "sqlite3.connect")
MOST = 300


class Fate:
    """Counts steps, and kills this process at one of them."""

    def __init__(self, last: int, told: int) -> None:
        self.left = last
        self.told = told

    def step(self, what: str) -> None:
        """Count one step."""
        self.left -= 1
        if self.left == 0:
            os.write(self.told, what.encode())
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        """Take an audit event of the interpreter."""
        if event in CHANGES or (event == "open" and args[2] & WRITING):
            self.step(f"{event} {args[0]}")
        elif event == "subprocess.Popen":
            self.step(f"{event} {args[1][-2:]}")


def launch(settings: Settings, job_id: str, fate: Fate) -> None:
    """Launch one job that runs until it is stopped. Returns if fate has nothing against it."""
    started = subprocess.Popen.__init__

    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        started(self, *args, **kwargs)
        fate.step("a program was started and has not answered yet")

    subprocess.Popen.__init__ = start  # type: ignore[method-assign]
    engine = Engine(open_store(settings), settings)
    bundle = Bundle(files=(bundle_file("cell.py", "pass\n"), bundle_file(None, b"a variable")))
    spec = JobSpec(kind=JobKind.TRAIN, name="doomed", argv=("sleep", "600"), verify_world=False)
    sys.addaudithook(fate.hook)
    asyncio.run(engine.launch("here", spec, bundle, job_id=job_id))


def main(home: str) -> None:
    """Go on until a launch comes through."""
    settings = Settings(home=Path(home))
    for number in range(1, MOST):
        job_id = f"doomed{number:03}"
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            launch(settings, job_id, Fate(number, writer))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            what = pipe.read().decode()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(json.dumps({"job": job_id, "died_before": what or None}) + "\n")
        sys.stdout.flush()
        if status == 0:
            return
    sys.exit("no launch ever came through")


if __name__ == "__main__":
    main(sys.argv[1])
