"""Kernels that wait on this machine for notebook runs: taken, and kept; see ``node/warm.py``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets as random
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jupyter_aiinfra.node import supervise, warm, warmed
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.shell import LocalShell

__all__ = ["Warmth"]

_LONGEST: Final = 60  # of the folder's path: those of sockets below it have a limit
_PYTHONS: Final = 3
_PLACE: Final = "${AIINFRA_PYTHON}"


class Warmth:
    """Those who wait, by the Python that they are of and what it has to be started with.

    Parameters
    ----------
    settings
        ``warm_kernels`` is how many of each wait, ``warm_seconds`` for how long.

    Attributes
    ----------
    folder
        Where they wait, a folder each.
    """

    def __init__(self, settings: Settings) -> None:
        self._count = settings.warm_kernels
        self._seconds = settings.warm_seconds
        self.folder = settings.home / "warm"
        if len(str(self.folder)) > _LONGEST:
            told = hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]
            self.folder = Path(tempfile.gettempdir()) / f"aiinfra-{os.getuid()}-{told}"
        self._kept: set[Path] = set()

    @property
    def on(self) -> bool:
        """Whether any kernel is to wait, and can."""
        return self._count > 0 and sys.platform == "linux"

    async def start(
        self, run_dir: Path, environ: Mapping[str, str], secrets: Mapping[str, str]
    ) -> Mapping[str, Any] | None:
        """Start the job of a run directory with a kernel that waits, if there is one.

        Returns what ``supervise.py start`` would print; ``None`` if nothing was begun.
        """
        if not self.on:
            return None
        folder = self._of(run_dir, environ)
        if folder is None or warm.early(secrets) or not (folder / "sock").exists():
            return None
        if not _private(self.folder):
            return None  # what is asked for comes with secrets
        return await asyncio.to_thread(
            warm.claim, str(folder), str(run_dir), environ=environ, secrets=secrets
        )

    async def keep(self, run_dir: Path, environ: Mapping[str, str]) -> None:
        """See to it that a kernel waits for another run like this one. Never fails."""
        folder = self._of(run_dir, environ) if self.on else None
        if folder is None or warm.waits(str(folder)) or not warm.room():
            return
        python = _python(run_dir)
        others = [each for each in self._kept if each != folder and warm.waits(str(each))]
        if python is None or len(others) >= _PYTHONS:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _private(self.folder):
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        tag = random.token_hex(6)  # as long as the id of a job
        orders = {"count": self._count, "seconds": self._seconds, "tag": tag}
        spec = supervise.Run(run_dir).spec or {}
        shell = LocalShell(env={**environ, **spec.get("env", {}), warmed.WARM_TAG: tag})
        argv = [python, str(warm.__file__), "keep", str(folder)]
        done = await shell.run(argv, stdin=json.dumps(orders).encode())
        if done.ok:
            self._kept.add(folder)

    def end(self) -> None:
        """Let those end that were begun from here. Runs that have a kernel go on."""
        kept, self._kept = self._kept, set()
        for folder in kept:
            supervise.send(supervise.read_json(str(folder / "mother.json")), signal.SIGTERM)

    def _of(self, run_dir: Path, environ: Mapping[str, str]) -> Path | None:
        """Return where they wait who are right for the job of a run directory."""
        python, spec = _python(run_dir), supervise.Run(run_dir).spec
        if python is None or spec is None or supervise.in_gang(spec):
            return None
        return self.folder / warm.key_of(python, {**environ, **spec["env"]})


def _python(run_dir: Path) -> str | None:
    """Return the Python that runs the notebook of a job, if it is a notebook's."""
    spec = supervise.Run(run_dir).spec
    if spec is None or spec.get("kind") != "notebook" or spec.get("tracker"):
        return None
    first = spec["argv"][0]
    return spec.get("python") if first == _PLACE else first


def _private(folder: Path) -> bool:
    """Whether `folder` is nobody else's: it may lie where others may write."""
    told = folder.stat()
    return told.st_uid == os.getuid() and not told.st_mode & 0o077
