"""Notebook jobs on a local pool: made of a few cells, run to their end, and looked at."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Job
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.promote.notebookjob import NotebookOptions, Resume, compose_notebook
from jupyter_aiinfra.promote.snapshot import INPUT, freeze
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store

__all__ = ["POOL", "Notebooks", "Ran", "code", "notebook_of", "open_notebooks"]

Place = TypeVar("Place", bound="Notebooks")

POOL = "here"
SECONDS = 100.0


def code(source: str, *tags: str) -> dict[str, Any]:
    """Return a code cell."""
    metadata = {"tags": list(tags)} if tags else {}
    return {
        "cell_type": "code",
        "metadata": metadata,
        "execution_count": None,
        "outputs": [],
        "source": source,
    }


def notebook_of(*cells: str | dict[str, Any], kernel: str | None = "python3") -> dict[str, Any]:
    """Return a notebook of these cells; a text is a code cell."""
    made = [code(cell) if isinstance(cell, str) else cell for cell in cells]
    spec = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    return {
        "cells": [{**cell, "id": f"cell-{at}"} for at, cell in enumerate(made)],
        "metadata": spec if kernel else {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


class Ran:
    """A notebook job and what it has left."""

    def __init__(self, job: Job) -> None:
        assert job.handle is not None
        self.job = job
        self.folder = Path(job.handle.data["run_dir"])

    @property
    def reason(self) -> str:
        return (self.job.seen.reason if self.job.seen else None) or ""

    @property
    def log(self) -> str:
        return (self.folder / "logs/rank-0.log").read_text(encoding="utf-8")

    @property
    def state(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "notebook/state.json").read_text())
        return value

    @property
    def notebook(self) -> dict[str, Any]:
        path = self.folder / "notebook/output.ipynb"
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = []
        for path in sorted(self.folder.glob("notebook/events-*.jsonl")):
            lines += path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def text(self, at: int) -> str:
        """Return what cell number `at` has printed or returned."""
        pieces = []
        for output in self.notebook["cells"][at]["outputs"]:
            data = output.get("data", {})
            pieces.append(
                "".join(output.get("text") or data.get("text/plain") or output.get("evalue", ""))
            )
        return "".join(pieces)

    def statuses(self) -> list[str]:
        cells = self.notebook["cells"]
        return [cell["metadata"]["papermill"]["status"] for cell in cells]


class Notebooks:
    """An engine with a local pool, and a folder for notebooks."""

    def __init__(self, root: Path) -> None:
        self.work = root / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(home=root / "home", grace_seconds=5.0)
        self.engine = Engine(open_store(self.settings), self.settings)

    def write(self, *cells: str | dict[str, Any], name: str = "nb.ipynb", **more: Any) -> Path:
        path = self.work / name
        path.write_text(json.dumps(notebook_of(*cells, **more)), encoding="utf-8")
        return path

    async def launch(
        self,
        *cells: str | dict[str, Any],
        values: Mapping[str, Any] | None = None,
        raw: bytes | None = None,
        resume: Resume | None = None,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Job:
        """Launch a notebook of these cells; `raw` lies in its place on the node instead."""
        asked = NotebookOptions(**options)
        path = self.write(*cells)
        snapshot, frozen = freeze(path, files=asked.files, environment=asked.environment)
        if raw is not None:
            kept = [file for file in frozen.files if file.path != INPUT]
            frozen = Bundle(files=(*kept, bundle_file(INPUT, raw)))
        (node,) = await self.engine.nodes(POOL)
        spec, bundle = compose_notebook(
            snapshot,
            frozen,
            values or {},
            asked,
            node=node,
            settings=self.settings,
            resume=resume,
        )
        return await self.engine.launch(POOL, spec, bundle, secrets=environ)

    async def run(self, *cells: str | dict[str, Any], **how: Any) -> Ran:
        """Launch and wait for the end."""
        return await self.ended(await self.launch(*cells, **how))

    async def ended(self, job: Job) -> Ran:
        return Ran(await self.until(job, lambda now: now.state.final))

    async def until(self, job: Job, condition: Callable[[Job], Any]) -> Job:
        """Refresh `job` until `condition` holds, and return it."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            job = await self.engine.refresh(job.id)
            if condition(job):
                return job
            if job.state.final:
                pytest.fail(f"the job ended before that: {job.state}: {job.seen}")
            await asyncio.sleep(0.05)
        pytest.fail(f"not true within {SECONDS} s: {job.state}, {job.seen}")

    async def until_said(self, job: Job, text: str) -> Job:
        """Wait until the run's log holds `text`."""

        def said(now: Job) -> bool:
            path = Path(now.handle.data["run_dir"]) / "logs/rank-0.log" if now.handle else None
            return path is not None and path.exists() and text in path.read_text("utf-8")

        return await self.until(job, said)

    def left(self) -> list[dict[str, Any]]:
        """Return the processes of all jobs that are still there."""
        runs = self.settings.home / "runs"
        names = [folder.name for folder in runs.iterdir()] if runs.is_dir() else []
        return [who for name in names for who in supervise.tagged(name)]


@asynccontextmanager
async def open_notebooks(root: Path, kind: Callable[[Path], Place]) -> AsyncIterator[Place]:
    """Yield a place with the pool attached; no process of its jobs may be left behind."""
    place = kind(root)
    await place.engine.attach(POOL, kind="local")
    try:
        yield place
    finally:
        await place.engine.aclose()
        left = place.left()
        for who in left:
            supervise.send(who, signal.SIGKILL)
        assert not left, "a test left processes of its job behind"
