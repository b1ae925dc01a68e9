"""A router in a process of its own, replicas that do what a test says, and load."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from jupyter_aiinfra.routing.config import Config, Endpoint, Replica, Share, Version
from jupyter_aiinfra.routing.files import Places, write_config
from jupyter_aiinfra.routing.status import EndpointStatus, Status, parse_status
from tests.support.bench import wait_until

__all__ = ["Handler", "Load", "Router", "Scripted", "answer", "endpoint", "until"]

BODY = b'{"inputs": [[1, 2]]}'

until = partial(wait_until, seconds=90)


def endpoint(versions: Mapping[str, list[str]], **told: Any) -> Endpoint:
    """Return an endpoint whose versions have replicas at these addresses, all with equal parts."""
    shares = tuple(Share(version=name, weight=1) for name in versions)
    known: dict[str, Any] = {"traffic": shares}
    return Endpoint(
        versions={
            name: Version(
                replicas=tuple(
                    Replica(id=f"{name}-{number}", address=address)
                    for number, address in enumerate(addresses)
                )
            )
            for name, addresses in versions.items()
        },
        **(known | told),
    )


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("router", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        # The path may be longer than an address can be.
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)


class Router:
    """``python -m jupyter_aiinfra.routing`` in `folder`."""

    def __init__(
        self, folder: Path, *, port: int = 0, grpc_port: int | None = None, **endpoints: Endpoint
    ) -> None:
        self.places = Places(folder / "router.json")
        self.log = folder / "router.log"
        self.config = Config(revision=1, port=port, grpc_port=grpc_port, endpoints=endpoints)
        write_config(self.places.config, self.config)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        argv = [sys.executable, "-m", "jupyter_aiinfra.routing", str(self.places.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode().strip()
        self.process.stdout.close()
        assert said.startswith("routing on http://"), self.log.read_text()
        self.port = int(said.rpartition(":")[2])
        self.url = said.removeprefix("routing on ")

    def __enter__(self) -> Router:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(40)
        finally:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """Kill it as nothing else does."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def control(self, method: str, path: str) -> tuple[int, bytes]:
        """Ask the control socket."""
        connection = _Unix(self.places.control)
        with contextlib.closing(connection):
            connection.request(method, path)
            told = connection.getresponse()
            return told.status, told.read()

    def inside(self, path: str, body: bytes = BODY) -> tuple[int, bytes]:
        """Ask as the user's own programs do."""
        connection = _Unix(self.places.inside)
        with contextlib.closing(connection):
            connection.request("POST", path, body, {"content-type": "application/json"})
            told = connection.getresponse()
            return told.status, told.read()

    def status(self) -> Status:
        """Return what it tells."""
        return parse_status(self.control("GET", "/status")[1])

    def of(self, name: str) -> EndpointStatus:
        """Return what it tells of an endpoint."""
        return self.status().endpoints[name]

    def states(self, name: str) -> dict[str, str]:
        """Return replicas of an endpoint, and how they are."""
        return {
            number: replica.state
            for version in self.of(name).versions.values()
            for number, replica in version.replicas.items()
        }

    def up(self, name: str, count: int) -> None:
        """Wait until so many replicas are up."""
        until(lambda: list(self.states(name).values()).count("up") == count, seconds=60)

    def change(self, **endpoints: Endpoint) -> None:
        """Have it go by another configuration."""
        revision = self.config.revision + 1
        self.config = msgspec.structs.replace(self.config, revision=revision, endpoints=endpoints)
        write_config(self.places.config, self.config)
        assert self.control("POST", "/reload")[0] == 200

    def ask(
        self,
        path: str,
        body: bytes | None = BODY,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
    ) -> http.client.HTTPResponse:
        """Ask by a connection of its own; the answer is read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(
                method, path, body, {"content-type": "application/json", **(headers or {})}
            )
            told = connection.getresponse()
            told.data = told.read()  # type: ignore[attr-defined]
            return told


def answer(body: bytes = b"{}", *, status: int = 200, lines: str = "") -> bytes:
    """Return an answer as bytes."""
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


Handler = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A replica that does what `handler` does with each head of a request; ready all the time.

    Parameters
    ----------
    handler
        Gets the head, and what to read from and to write to.
    """

    def __init__(self, path: Path, handler: Handler) -> None:
        self.address = f"unix:{path}"
        self.heads: list[bytes] = []
        self.ready = True
        self._path = path
        self._handler = handler
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Scripted:  # noqa: PYI034 - Self is newer than Python 3.10
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /readyz "):
                    writer.write(answer(status=200 if self.ready else 503))
                else:
                    self.heads.append(head)
                    await self._handler(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()


class Load:
    """Asks all the time on some connections, in a thread; counts what is answered.

    Parameters
    ----------
    path
        Beginning with a slash.
    patience
        After how many seconds without an answer a client gives up, and has lost one. Where
        requests wait for a process that starts, a busy machine takes longer than this.
    """

    def __init__(
        self, port: int, path: str, *, connections: int = 16, patience: float = 25
    ) -> None:
        self._port = port
        self._patience = patience
        head = f"POST {path} HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\n"
        self._request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
        self._connections = connections
        self._stop = threading.Event()
        self.statuses: Counter[int] = Counter()
        self.versions: Counter[str] = Counter()
        # Connections that were not taken, and those that ended without an answer.
        self.refused = 0
        self.lost = 0
        self._thread = threading.Thread(target=self._run)

    @property
    def good(self) -> int:
        """Return how many were answered with 200."""
        return self.statuses[200]

    def __enter__(self) -> Load:  # noqa: PYI034 - Self is newer than Python 3.10
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more. May be called twice."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        uvloop.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self._connections)))

    async def _one(self) -> None:
        while not self._stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.02)
                continue
            try:
                while not self._stop.is_set():
                    await asyncio.wait_for(self._ask(reader, writer), self._patience)
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                self.lost += 1
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        self.statuses[int(head.split(b" ")[1])] += 1
        version = head.partition(b"x-endpoint-version: ")[2].split(b"\r\n")[0]
        self.versions[version.decode()] += 1


def json_of(told: Any) -> Any:
    """Return the JSON of an answer of :meth:`Router.ask`."""
    return json.loads(told.data)
