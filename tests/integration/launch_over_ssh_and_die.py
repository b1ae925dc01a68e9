"""Launches a job on two hosts again and again, killed each time one step later than before.

A step is what changes something elsewhere: a write to the record, a request that has been sent to a
node, and the answer to it. A test runs this. Prints a
line of JSON for each launch: the job's id and the step at which it died, ``null`` for the first and
the last, which come through.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_aiinfra import shell
from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import JobKind, JobSpec
from jupyter_aiinfra.pools import ssh
from jupyter_aiinfra.pools.remote import RemoteNode
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store

MOST = 100
FAR = 100_000


class Fate:
    """Counts steps, and kills this process at one of them."""

    def __init__(self, last: int, told: int) -> None:
        self.left = last
        self.told = told
        self.counting = False

    def step(self, what: str) -> None:
        """Count one step, once the launch has got as far as the record."""
        if not self.counting:
            return
        self.left -= 1
        if self.left == 0:
            os.write(self.told, what.encode())
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    def around(self, method: Callable[..., Any], what: str) -> Callable[..., Any]:
        """Return `method` with a step before it and one after it."""

        def stepping(*args: Any, **kwargs: Any) -> Any:
            self.counting = True
            self.step(f"before {what}")
            result = method(*args, **kwargs)
            self.step(f"after {what}")
            return result

        return stepping

    def after(self, method: Callable[..., Any], what: str) -> Callable[..., Any]:
        """Return the coroutine function `method` with a step after it."""

        async def stepping(*args: Any, **kwargs: Any) -> Any:
            result = await method(*args, **kwargs)
            self.step(f"after {what}")
            return result

        return stepping

    def attend(self) -> None:
        """Count from now on, in this process."""
        for name in ("add_job", "add_placed", "bind"):
            setattr(Store, name, self.around(getattr(Store, name), f"the record: {name}"))
        for owner, name, what in (
            (shell._LocalPipe, "write", "a request was sent"),
            (ssh, "send", "a bundle has arrived"),
            (RemoteNode, "call", "a node has answered"),
        ):
            setattr(owner, name, self.after(getattr(owner, name), what))


def launch(settings: Settings, job_id: str, fate: Fate) -> None:
    """Launch one job that runs until it is stopped. Returns if fate has nothing against it."""
    engine = Engine(open_store(settings), settings)
    bundle = Bundle(files=(bundle_file("cell.py", "pass\n"), bundle_file(None, job_id.encode())))
    spec = JobSpec(
        kind=JobKind.TRAIN,
        name="doomed",
        argv=("sleep", "600"),
        nodes=2,
        verify_world=False,
        join_seconds=4.0,
        dead_peer_seconds=4.0,
        grace_seconds=1.0,
    )
    fate.attend()
    asyncio.run(engine.launch("lab", spec, bundle, job_id=job_id))


def main(home: str, config: str) -> None:
    """Let one launch through, which brings what all have in common; go on until another does."""
    settings = Settings(home=Path(home), ssh_config=Path(config))
    for number in range(MOST):
        job_id = f"doomed{number:03}"
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            launch(settings, job_id, Fate(number or FAR, writer))
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(pid, 0)
        # What it had started may hold the pipe open for a while: what it said is there already.
        os.set_blocking(reader, False)
        try:
            what = os.read(reader, 1000).decode()
        except BlockingIOError:
            what = ""
        os.close(reader)
        sys.stdout.write(json.dumps({"job": job_id, "died": what or None}) + "\n")
        sys.stdout.flush()
        if status == 0 and number:
            return
        if number and not os.WIFSIGNALED(status):
            sys.exit(f"launch {number} failed")
    sys.exit("no launch ever came through")


if __name__ == "__main__":
    main(*sys.argv[1:])
