"""One worker: a loaded model, an event loop, and sockets that others made."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvicorn

from jupyter_aiinfra.serving import tracing
from jupyter_aiinfra.serving.app import App, Options
from jupyter_aiinfra.serving.keys import Keys
from jupyter_aiinfra.serving.lent import Fronts
from jupyter_aiinfra.serving.metrics import Metrics
from jupyter_aiinfra.serving.model import CannotServe, load_model

__all__ = ["CANNOT", "Work", "serve"]

_log = logging.getLogger(__name__)

# The exit status of a worker that would fail again.
CANNOT = 3


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker is started with.

    Parameters
    ----------
    notice_seconds
        How long it still takes requests, and says that it is not ready, before it stops.
    drain_seconds
        How long it then waits for answers that are under way.
    sockets
        File descriptors that it listens on.
    life
        A pipe that ends with the parent; the worker then goes, too.
    grpc
        Where it answers gRPC as well, ``HOST:PORT``; empty: nowhere.
    """

    folder: Path
    sockets: tuple[int, ...]
    worker: int = 0
    workers: int = 1
    counters: Path | None = None
    keys: Path | None = None
    life: int | None = None
    options: Options
    notice_seconds: float = 0.0
    drain_seconds: float = 30.0
    grpc: str = ""


class _Server(uvicorn.Server):
    """uvicorn, which says that it goes before it goes."""

    def __init__(self, config: uvicorn.Config, app: App, work: Work) -> None:
        super().__init__(config)
        self._app = app
        self._notice_seconds = work.notice_seconds
        self._life = work.life
        self._work = work
        self._grpc: Any = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and to watch the parent."""
        await super().startup(sockets=sockets)
        if self._life is not None:
            asyncio.get_running_loop().add_reader(self._life, self._orphaned)
        if self._work.grpc:
            from jupyter_aiinfra.serving import grpc  # noqa: PLC0415 - not everybody has it

            bytes_ = self._work.options.body_bytes
            self._grpc = await grpc.started(self._app, self._work.grpc, body_bytes=bytes_)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what is under way be answered, on both sides."""
        stopping = None
        if self._grpc is not None:
            stopping = asyncio.ensure_future(self._grpc.stop(self._work.drain_seconds))
        await super().shutdown(sockets=sockets)
        if stopping is not None:
            await stopping

    def _orphaned(self) -> None:
        _log.warning("the parent is gone: draining")
        asyncio.get_running_loop().remove_reader(self._life or 0)
        self._app.draining = self.should_exit = True

    def handle_exit(self, sig: int, frame: object) -> None:
        """Stop being ready now, and stop a little later; a second signal does not wait."""
        del frame
        if self._app.draining or not self._notice_seconds:
            self.should_exit = True
        else:
            loop = asyncio.get_event_loop()
            loop.call_soon_threadsafe(loop.call_later, self._notice_seconds, self._leave)
        self._app.draining = True
        _log.info("signal %d: draining", sig)

    def _leave(self) -> None:
        self.should_exit = True


def serve(work: Work) -> int:
    """Load the model and answer until SIGTERM or SIGINT; return an exit status."""
    if work.workers > 1:
        _share_cores(work.workers)
    try:
        served = load_model(work.folder)
        keys = Keys(work.keys, share=1 / work.workers) if work.keys else None
    except CannotServe as error:
        print(f"cannot serve: {error}", file=sys.stderr, flush=True)  # noqa: T201 - to whoever started it
        return CANNOT
    metrics = Metrics(work.counters, worker=work.worker, workers=work.workers)
    traces = tracing.started(served.name, served.version)
    app = App(
        served,
        options=work.options,
        keys=keys,
        metrics=metrics,
        traces=traces,
        workers=work.workers,
    )
    config = uvicorn.Config(
        app,
        # What is asked often does without uvicorn's protocol and ASGI.
        http=cast("type[asyncio.Protocol]", Fronts(app)),
        loop="uvloop",
        ws="none",
        # Nothing here asks who calls, and a router in front is no reason to trust its headers.
        proxy_headers=False,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(work.drain_seconds) or 1,
    )
    server = _Server(config, app, work)
    sockets = [socket.socket(fileno=number) for number in work.sockets]
    try:
        server.run(sockets=sockets)
    finally:
        app.close()
        if traces is not None:
            traces.close()
    return 0


def _share_cores(workers: int) -> None:
    """Have numerical libraries use this worker's share of the cores, before they are loaded."""
    count = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    share = str(max(1, count // workers))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, share)
