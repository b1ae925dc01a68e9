"""``python -m jupyter_aiinfra.serving FOLDER``: workers, and a parent that keeps them there.

The parent makes the sockets, one a worker (``SO_REUSEPORT``), and holds them all: connections that
came while a worker was dead wait in its socket for the one that takes its place. It loads no model.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import msgspec

from jupyter_aiinfra.serving.app import Options
from jupyter_aiinfra.serving.batcher import Limits
from jupyter_aiinfra.serving.gpus import VISIBLE, gpus_for
from jupyter_aiinfra.serving.keys import SCOPES, new_key
from jupyter_aiinfra.serving.model import CannotServe, read_manifest
from jupyter_aiinfra.serving.worker import CANNOT, Work, serve

__all__ = ["main"]

_log = logging.getLogger(__name__)

_WORK = "AIINFRA_SERVING_WORK"
_BACKLOG = 2048
# A worker that dies sooner than this after its start is started again more and more slowly.
_STEADY_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit status."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    if work := os.environ.pop(_WORK, ""):
        return serve(msgspec.json.decode(work, type=Work, dec_hook=_path))
    asked = _parser().parse_args(argv)
    if asked.new_key:
        return _new_key(asked)
    if asked.folder is None:
        _parser().error("a FOLDER is needed")
    try:
        read_manifest(asked.folder)
    except CannotServe as error:
        print(f"cannot serve: {error}", file=sys.stderr)
        return CANNOT
    if asked.grpc_port is not None and find_spec("grpc") is None:
        print("cannot serve: gRPC needs pip install 'jupyter_aiinfra[grpc]'", file=sys.stderr)
        return CANNOT
    return _Parent(asked).run()


def _path(kind: type, value: object) -> object:
    return kind(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jupyter_aiinfra.serving",
        description="Serve the model in FOLDER, as its endpoint.json says.",
    )
    add = parser.add_argument
    add("folder", type=Path, nargs="?", metavar="FOLDER")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=8000, help="0: any free one, told on standard output")
    add("--unix", type=Path, metavar="PATH", help="listen on this socket instead")
    add("--grpc-port", type=int, metavar="PORT", help="answer gRPC there, too; 0: any free one")
    add("--workers", type=int, default=0, help="processes (default: one a core; one a GPU)")
    add("--keys", type=Path, metavar="FILE", help="who may call; without it, anybody")
    add("--max-batch", type=int, default=64, help="examples in a forward pass (%(default)s)")
    add("--max-queue", type=int, default=1024, help="examples that may wait (%(default)s)")
    add("--timeout", type=float, default=30.0, help="seconds to an answer (%(default)s)")
    add("--max-body", type=int, default=16, metavar="MIB", help="of a request (%(default)s)")
    add("--body-timeout", type=float, default=30.0, help="seconds for it to arrive (%(default)s)")
    add("--cors", action="append", default=[], metavar="ORIGIN", help="pages that may call it")
    add("--notice", type=float, default=0.0, help="seconds of not being ready before it stops")
    add("--drain", type=float, default=30.0, help="seconds for answers under way (%(default)s)")
    add("--new-key", metavar="NAME", help="print a new key and its line for --keys, and stop")
    add("--scope", action="append", choices=SCOPES, help="what the new key is for")
    add("--per-second", type=float, help="how often the new key may ask")
    return parser


def _new_key(asked: argparse.Namespace) -> int:
    scopes = tuple(asked.scope or ("predict",))
    try:
        secret, key = new_key(asked.new_key, scopes=scopes, per_second=asked.per_second)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(secret)
    print(msgspec.json.encode(key).decode(), file=sys.stderr)
    return 0


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _address(place: socket.socket) -> str:
    host, port = place.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Parent:
    """Holds sockets and workers; starts those again that died."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self._asked = asked
        manifest = read_manifest(asked.folder)
        self._gpus = gpus_for(manifest)
        on_one = manifest.loader == "torch" and manifest.device.startswith("cuda")
        self._count = asked.workers or len(self._gpus) or (1 if on_one else _cores())
        self._sockets = self._listening()
        self._grpc = self._grpc_place()
        self._stopping = False
        self._signals = 0
        # Workers see the end of this pipe, however the parent ended.
        self._life, self._held = os.pipe()
        self._folder = tempfile.TemporaryDirectory(prefix="aiinfra-serving-")
        self._work = Work(
            folder=asked.folder.resolve(),
            sockets=(),
            workers=self._count,
            counters=Path(self._folder.name) / "counters",
            keys=asked.keys,
            options=Options(
                limits=Limits(batch=asked.max_batch, queue=asked.max_queue, seconds=asked.timeout),
                body_bytes=asked.max_body * 2**20,
                body_seconds=asked.body_timeout,
                origins=tuple(asked.cors),
            ),
            notice_seconds=asked.notice,
            drain_seconds=asked.drain,
            grpc="" if self._grpc is None else _address(self._grpc),
        )
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._begun = [0.0] * self._count
        self._pause = [0.0] * self._count
        self._due = [0.0] * self._count

    def _listening(self) -> list[socket.socket]:
        if self._asked.unix:
            self._asked.unix.unlink(missing_ok=True)
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            one.bind(str(self._asked.unix))
            one.listen(_BACKLOG)
            # There is no balance between sockets of one path: all workers share it.
            return [one] * self._count
        sockets: list[socket.socket] = []
        port = self._asked.port
        kind = socket.AF_INET6 if ":" in self._asked.host else socket.AF_INET
        for _ in range(self._count):
            made = socket.socket(kind, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._count > 1:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind((self._asked.host, port))
            port = made.getsockname()[1]
            made.listen(_BACKLOG)
            sockets.append(made)
        return sockets

    def _grpc_place(self) -> socket.socket | None:
        """Hold the port for gRPC, on which each worker listens by itself."""
        if self._asked.grpc_port is None:
            return None
        kind = socket.AF_INET6 if ":" in self._asked.host else socket.AF_INET
        made = socket.socket(kind, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((self._asked.host, self._asked.grpc_port))
        return made

    def run(self) -> int:
        """Keep the workers there until a signal comes; return an exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        # Only to be woken by it: the default does not interrupt a sleep.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        wake, wake_too = socket.socketpair()
        wake_too.setblocking(False)  # noqa: FBT003 - a signal may not wait
        signal.set_wakeup_fd(wake_too.fileno())
        print(f"serving on {self._place()}", flush=True)
        if self._grpc is not None:
            print(f"serving gRPC on {_address(self._grpc)}", flush=True)
        status = 0
        try:
            while True:
                status = self._looked() or status
                self._told()
                if self._stopping and not self._workers:
                    break
                self._sleep(wake)
        finally:
            signal.set_wakeup_fd(-1)
            wake.close()
            wake_too.close()
            for made in (*self._sockets, *filter(None, [self._grpc])):
                made.close()
            os.close(self._life)
            os.close(self._held)
            if self._asked.unix:
                self._asked.unix.unlink(missing_ok=True)
            self._folder.cleanup()
        return status

    def _place(self) -> str:
        if self._asked.unix:
            return f"unix:{self._asked.unix}"
        return f"http://{_address(self._sockets[0])}"

    def _sleep(self, wake: socket.socket) -> None:
        due = [at for number, at in enumerate(self._due) if number not in self._workers]
        seconds = max(0.0, min(due) - time.monotonic()) if due and not self._stopping else 60.0
        wake.settimeout(seconds or 0.001)
        try:
            wake.recv(4096)
        except TimeoutError:
            return

    def _looked(self) -> int:
        """Bury who died and start who is missing; return a status that ends everything, or 0."""
        now = time.monotonic()
        for number, worker in list(self._workers.items()):
            code = worker.poll()
            if code is None:
                continue
            del self._workers[number]
            if self._stopping:
                continue
            if code == CANNOT:
                self._stop(signal.SIGTERM, None)
                return CANNOT
            steady = now - self._begun[number] > _STEADY_SECONDS
            grown = min(_LONGEST_PAUSE_SECONDS, 2 * self._pause[number] or 0.1)
            self._pause[number] = 0.0 if steady else grown
            self._due[number] = now + self._pause[number]
            _log.warning(
                "worker %d (process %d) ended with %d; the next in %.1f s",
                *(number, worker.pid, code, self._pause[number]),
            )
        if not self._stopping:
            for number in range(self._count):
                if number not in self._workers and self._due[number] <= now:
                    self._start(number, now)
        return 0

    def _start(self, number: int, now: float) -> None:
        listener = self._sockets[number].fileno()
        work = replace(self._work, worker=number, sockets=(listener,), life=self._life)
        text = msgspec.json.encode(work, enc_hook=str).decode()
        # Each sees its own GPU and no other, so that none is asked which one it is to take.
        own = {VISIBLE: self._gpus[number % len(self._gpus)]} if self._gpus else {}
        self._workers[number] = subprocess.Popen(
            [sys.executable, "-m", "jupyter_aiinfra.serving"],
            env=os.environ | own | {_WORK: text},
            pass_fds=(listener, self._life),
            # A Ctrl-C is for the parent, which tells its workers.
            start_new_session=True,
        )
        self._begun[number] = now

    def _told(self) -> None:
        """Hand signals on. Not in their handler, which may come before a worker is in the list."""
        while self._signals:
            self._signals -= 1
            for worker in self._workers.values():
                worker.terminate()

    def _stop(self, number: int, frame: object) -> None:
        del number, frame
        self._stopping = True
        self._signals += 1
