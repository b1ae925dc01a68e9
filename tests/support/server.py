"""A real Jupyter server in a process of its own, with a kernel behind its REST API and socket."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import pytest
import websocket

from jupyter_aiinfra.node import supervise
from tests.support.bench import wait_until
from tests.support.kernel import Cell, take
from tests.support.site import Site

__all__ = ["ServedKernel", "Server", "open_server"]

_TOKEN = "of-this-test"


class Server:
    """``jupyter server`` on a free port, with nothing of the user's own settings."""

    def __init__(self, site: Site) -> None:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        options = [
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={self._port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={_TOKEN}",
            f"--ServerApp.root_dir={site.work}",
        ]
        self._log = site.root / "server.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyter_server", *options],
                cwd=site.work,
                env=site.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, seconds=60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        try:
            self.ask("GET", "/api/status")
        except urllib.error.URLError:
            return False
        return True

    def ask(self, verb: str, path: str, body: Any = None) -> Any:
        """Ask the REST API; return what it answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {_TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")

    def kernel(self) -> ServedKernel:
        """Start a kernel, as opening a notebook does."""
        found = self.ask("POST", "/api/kernels", {"name": "python3"})
        return ServedKernel(f"ws://127.0.0.1:{self._port}/api/kernels/{found['id']}/channels")

    def kill(self) -> None:
        """Kill -9 of the server alone; returns once it is gone."""
        self.process.kill()
        self.process.wait()


class ServedKernel:
    """A kernel of a Jupyter server, spoken to through the server's socket."""

    def __init__(self, url: str) -> None:
        self._session = uuid.uuid4().hex
        self._socket = websocket.create_connection(f"{url}?token={_TOKEN}", timeout=60)
        found = self.follow(self.begin("import os; print(os.getpid())"), lambda cell: cell.over)
        who = supervise.identity(int(found.printed))
        assert who is not None
        self.identity: dict[str, Any] = who

    def begin(self, code: str) -> Cell:
        """Start a cell."""
        cell = Cell(id=uuid.uuid4().hex)
        header = {
            "msg_id": cell.id,
            "msg_type": "execute_request",
            "session": self._session,
            "username": "",
            "version": "5.3",
            "date": "",
        }
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self._socket.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        return cell

    def follow(self, cell: Cell, until: Callable[[Cell], Any], *, seconds: float = 60) -> Cell:
        """Take the cell's messages until `until` is true of it, or fail."""
        deadline = time.monotonic() + seconds
        while not until(cell):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds} s:\n{cell.text}\n{cell.streamed()[-3000:]}")
            self._socket.settimeout(0.2)
            try:
                message = json.loads(self._socket.recv())
            except websocket.WebSocketTimeoutException:
                continue
            if message["channel"] != "iopub":
                continue
            message["header"]["date"] = datetime.fromisoformat(
                message["header"]["date"].replace("Z", "+00:00")
            )
            take(cell, message)
        return cell

    def run(self, code: str, *, seconds: float = 90) -> Cell:
        """Run a cell to its end."""
        return self.follow(self.begin(code), lambda cell: cell.over, seconds=seconds)

    def close(self) -> None:
        """Leave the socket; where the server is gone there is nobody to say so to."""
        self._socket.close(timeout=0)


@contextmanager
def open_server(site: Site) -> Iterator[Server]:
    """Yield a server; it and its kernels are gone afterwards."""
    server = Server(site)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.wait(30)
