"""Endpoints on this machine's own pool: models in folders, callers, waiting for what follows."""

from __future__ import annotations

import asyncio
import collections
import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.endpointviews import EndpointView
from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.routing.config import Sampling
from jupyter_aiinfra.routing.samples import Sample, Samples
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store

__all__ = ["Callers", "ending", "engine_at", "keep_samples", "model", "sampled", "until"]

_MANIFEST: dict[str, Any] = {
    "name": "adder",
    "entry": "net:predict",
    "inputs": [{"name": "x", "dtype": "float32", "shape": [2]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [1]}],
    "example": [[1, 2]],
}


def model(folder: Path, body: str = "return x.sum(axis=1, keepdims=True)", head: str = "") -> Path:
    """Write a folder with a model whose function of ``x`` has this body."""
    folder.mkdir()
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (folder / "net.py").write_text(f"import os\n{head}\n\ndef predict(x):\n{lines}\n")
    (folder / "endpoint.json").write_text(json.dumps(_MANIFEST))
    return folder


@asynccontextmanager
async def engine_at(home: Path, **settings: Any) -> AsyncIterator[Engine]:
    """Open an engine with a pool ``here``; at its end nothing of its endpoints runs."""
    made = Settings(home=home, **settings)
    engine = Engine(open_store(made), made)
    try:
        await engine.attach("here", kind="local")
        try:
            yield engine
        finally:
            await ending(engine)
    finally:
        await engine.aclose()


async def ending(engine: Engine) -> None:
    """End all endpoints, and the router."""
    for each in engine.store.endpoints():
        await engine.endpoints.remove(each.id)
        await engine.endpoints.gone(each.id, seconds=60)
    deadline = time.monotonic() + 60
    while [job for job in engine.store.list_jobs(active=True) if time.monotonic() < deadline]:
        await engine.endpoints.tick()
        await engine.tick()
        await asyncio.sleep(0.1)


async def until(
    engine: Engine, name: str, true: Callable[[EndpointView], bool], *, seconds: float = 90.0
) -> EndpointView:
    """Do what follows until something is true of an endpoint."""
    deadline = time.monotonic() + seconds
    while True:
        pause = await engine.endpoints.tick()
        view = await engine.endpoints.show(name)
        if true(view):
            return view
        assert time.monotonic() < deadline, (view.state, view.problem, view.status)
        await asyncio.sleep(min(pause, 0.2))


class Callers:
    """Some who call an endpoint again and again, and count what comes back."""

    def __init__(self, engine: Engine, name: str, *, count: int = 4) -> None:
        self.answers: collections.Counter[str] = collections.Counter()
        self._engine = engine
        self._name = name
        self._count = count
        self._over = False

    async def __aenter__(self) -> Callers:  # noqa: PYI034 - Self is of Python 3.11
        self._tasks = [asyncio.create_task(self._call()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _call(self) -> None:
        while not self._over:
            self.answers[await self._once()] += 1
            await asyncio.sleep(0.01)

    async def _once(self) -> str:
        try:
            answer = await self._engine.endpoints.router.call(
                self._name,
                "predict",
                body=b'{"inputs": [[1, 2]]}',
                headers={"Content-Type": "application/json"},
                # Longer than any endpoint holds a request until a replica is there.
                seconds=400,
            )
        except Unreachable as error:
            return error.message
        if answer.status != 200:
            return str(answer.status)
        told = json.loads(answer.body)
        return f"v{told['version']}"

    @property
    def failed(self) -> int:
        """How many got no good answer."""
        return sum(count for said, count in self.answers.items() if not said.startswith("v"))


def sampled(asked: Any, answered: Any, **told: Any) -> Sample:
    """Return a request to ``adder`` as it would be kept; `told` is what is otherwise."""
    values: dict[str, Any] = {
        "at": time.time(),
        "path": "/predict",
        "version": "1",
        "replica": "j1",
        "status": 200,
        "milliseconds": 1.5,
        "request": json.dumps(asked).encode(),
        "answer": json.dumps(answered).encode(),
    }
    return Sample(**(values | told))


async def keep_samples(engine: Engine, *kept: Sample) -> None:
    """Keep requests to ``adder`` as its router does, without what is called ``name``."""
    path = engine.endpoints.router.places.samples("adder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as threads:
        samples = Samples(path, Sampling(rate=1, redact=("name",)), threads)
        for each in kept:
            samples.keep(each)
        await samples.close()
