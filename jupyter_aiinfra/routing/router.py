"""The router: its endpoints, its sockets, what it is told and what it has decided."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from jupyter_aiinfra.routing.config import Config
from jupyter_aiinfra.routing.endpoint import Served
from jupyter_aiinfra.routing.entrance import accept
from jupyter_aiinfra.routing.files import BadConfig, Places, read_config, replace_file
from jupyter_aiinfra.routing.front import Front
from jupyter_aiinfra.routing.grpcside import GrpcSide
from jupyter_aiinfra.routing.relay import Relay
from jupyter_aiinfra.routing.rollout import Progress
from jupyter_aiinfra.routing.samples import Samples
from jupyter_aiinfra.routing.status import Status
from jupyter_aiinfra.routing.tallies import Tallies
from jupyter_aiinfra.routing.target import Target
from jupyter_aiinfra.routing.tracing import Traces

__all__ = ["Kept", "Router", "unix_listener"]

_log = logging.getLogger(__name__)

_BACKLOG = 2048
_SWEEP_SECONDS = 0.2
_LOOK_SECONDS = 1.0
_SAVE_SECONDS = 2.0
_TALLY_SECONDS = 5.0
_PORT_TRIES = 20
_PORT_PAUSE_SECONDS = 0.1


class Kept(msgspec.Struct, kw_only=True):
    """What outlives the router.

    Parameters
    ----------
    port, grpc_port
        That it listened on, to be the same again.
    rollouts
        By endpoint.
    """

    port: int = 0
    grpc_port: int = 0
    rollouts: dict[str, Progress] = msgspec.field(default_factory=dict)


class Router:
    """All endpoints of a configuration.

    Parameters
    ----------
    places
        Where its files are.
    traces
        What traces requests, where a collector is named.

    Raises
    ------
    BadConfig
        There is no configuration to begin with.
    """

    def __init__(self, places: Places, *, traces: Traces | None = None) -> None:
        self.places = places
        self._traces = traces
        self.draining = False
        self.fronts: set[Front] = set()
        # Each of their requests may take a connection to a replica; some files are for ourselves.
        self.most = max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100)
        self.served: dict[str, Served] = {}
        self.config = read_config(places.config)
        self.port = 0
        self.problem = ""
        self._grpc = GrpcSide()
        self._by_name: dict[bytes, Served] = {}
        self._started = time.time()
        self._kept = self._read_kept()
        self._tallies = Tallies(places.tallies)
        self._saved = b""
        self._stamp: tuple[int, int] | None = None
        self._leaving: set[Target] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._listeners: list[asyncio.AbstractServer] = []
        self._outside: asyncio.AbstractServer | None = None
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="aiinfra-router")
        self._saving: asyncio.Future[None] | None = None

    # --- what the connections ask ------------------------------------------------------------

    def accept(self, relay: Relay) -> None:
        """Look at a request whose head is there."""
        accept(self._by_name, relay)

    def decided(self, served: Served) -> None:
        """Write a decision down before anything else happens."""
        if served.course is not None:
            progress = served.course.progress
            _log.warning(
                "%s: rollout %s to version %s is at step %d, %s %s",
                *(served.name, progress.id, served.course.rollout.to, progress.step),
                *(progress.state, progress.reason),
            )
        data = self._keepsake()
        self._saved = data
        try:
            replace_file(self.places.state, data)
        except OSError as error:
            # It holds all the same; only who comes after would have to find it out again.
            _log.warning("the decision cannot be kept in %s: %s", self.places.state, error)

    # --- what is kept ------------------------------------------------------------------------

    def _read_kept(self) -> Kept:
        try:
            return msgspec.json.decode(self.places.state.read_bytes(), type=Kept)
        except FileNotFoundError:
            return Kept()
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("%s cannot be read, rollouts begin anew: %s", self.places.state, error)
            return Kept()

    def _keepsake(self) -> bytes:
        rollouts = {
            name: served.course.progress for name, served in self.served.items() if served.course
        }
        kept = Kept(port=self.port, grpc_port=self._kept.grpc_port, rollouts=rollouts)
        return msgspec.json.encode(kept)

    def _save(self) -> None:
        """Write how far rollouts are, in a thread, if that has changed."""
        if self._saving is not None and not self._saving.done():
            return
        data = self._keepsake()
        if data != self._saved:
            self._saved = data
            loop = asyncio.get_running_loop()
            self._saving = loop.run_in_executor(self._threads, self._write_kept, data)

    def _write_kept(self, data: bytes) -> None:
        try:
            replace_file(self.places.state, data)
        except OSError as error:
            _log.warning("what is decided cannot be kept in %s: %s", self.places.state, error)

    def _tally(self) -> None:
        """Write how many requests there were, in a thread, if there were any."""
        for served in self.served.values():
            served.tally()
        data = self._tallies.changed()
        if data is not None:
            self._threads.submit(self._tallies.write, data)

    # --- configuration -----------------------------------------------------------------------

    async def reload(self) -> str:
        """Go by the configuration that is in the file now; return why not, or nothing."""
        self._stamp = self._stamped()
        try:
            config = read_config(self.places.config)
            await self._listen(config)
        except (BadConfig, OSError) as error:
            self.problem = str(error)
            _log.error("the configuration stays as it was: %s", error)
            return self.problem
        self.problem = ""
        self._apply(config)
        await self._take_grpc()
        self._save()
        return ""

    def _apply(self, config: Config) -> None:
        self.config = config
        for name, endpoint in config.endpoints.items():
            served = self.served.get(name)
            if served is not None:
                self._leaving.update(served.configured(endpoint))
                continue
            samples = Samples(self.places.samples(name), endpoint.sampling, self._threads)
            self.served[name] = Served(
                name,
                endpoint,
                home=self,
                samples=samples,
                tallies=self._tallies,
                traces=self._traces,
                progress=self._kept.rollouts.get(name),
            )
        for name in self.served.keys() - config.endpoints.keys():
            gone = self.served.pop(name)
            self._leaving.update(gone.retired("this endpoint was removed"))
            self._later(gone.buried())
        self._tallies.kept(self.served)
        self._by_name = {name.encode(): served for name, served in self.served.items()}
        _log.info("revision %d: %s", config.revision, ", ".join(self.served) or "no endpoints")

    def _later(self, ending: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(ending)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _stamped(self) -> tuple[int, int] | None:
        try:
            told = self.places.config.stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_ino

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and ask the replicas whether they are up.

        Raises
        ------
        OSError
            The address cannot be had.
        """
        self._stamp = self._stamped()
        for lost in self.places.lost_samples(self.config.endpoints):
            lost.unlink(missing_ok=True)
        await self._listen(self.config)
        self._apply(self.config)
        await self._take_grpc()
        # Before anybody is told of the port: who is killed in the next moment comes back to it.
        self._saved = self._keepsake()
        self._write_kept(self._saved)
        loop = asyncio.get_running_loop()
        inside = unix_listener(self.places.inside)
        server = await loop.create_server(lambda: Front(self, trusted=True), sock=inside)
        self._listeners.append(server)

    async def _listen(self, config: Config) -> None:
        """Listen where `config` says, and no longer where it was before."""
        same = config.host == self.config.host and config.port in {0, self.port}
        if self._outside is not None and same:
            return
        outside = await self._opened(config)
        before, self._outside = self._outside, outside
        if before is not None:
            before.close()
        self.port = outside.sockets[0].getsockname()[1]

    async def _take_grpc(self) -> None:
        await self._grpc.follow(self.config, http_port=self.port, before=self._kept.grpc_port)
        # Also of one that is closed for a while.
        self._kept.grpc_port = self._grpc.port or self._kept.grpc_port

    async def _opened(self, config: Config) -> asyncio.Server:
        """Return what listens at the port that is asked for, or at the one it had, or at any."""
        loop = asyncio.get_running_loop()

        async def opened(port: int) -> asyncio.Server:
            return await loop.create_server(
                lambda: Front(self), config.host, port, backlog=_BACKLOG, reuse_address=True
            )

        if config.port or not self._kept.port:
            return await opened(config.port)
        # Callers know the one that it had. One of those who try again and again to reach it there
        # may have been given that very port, for a moment, by the kernel.
        for _ in range(_PORT_TRIES):
            with contextlib.suppress(OSError):
                return await opened(self._kept.port)
            await asyncio.sleep(_PORT_PAUSE_SECONDS)
        _log.warning("port %d is another's now: callers have to be told", self._kept.port)
        return await opened(0)

    async def run(self, ending: asyncio.Event) -> None:
        """Look after everything until `ending`."""
        looked = saved = tallied = time.monotonic()
        while not ending.is_set():
            now = time.monotonic()
            self.sweep(now)
            if now - looked > _LOOK_SECONDS:
                looked = now
                if self._traces is not None:
                    self._traces.look(self.status().endpoints)
                stamp = self._stamped()
                # A file that is being replaced may be away for a moment.
                if stamp is not None and stamp != self._stamp:
                    await self.reload()
            if now - saved > _SAVE_SECONDS:
                saved = now
                self._save()
            if now - tallied > _TALLY_SECONDS:
                tallied = now
                self._tally()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ending.wait(), _SWEEP_SECONDS)

    def sweep(self, now: float) -> None:
        """Give up what takes too long, decide what is to be decided, close what is over."""
        for front in list(self.fronts):
            front.check(now)
        for served in self.served.values():
            served.look()
            served.samples.flush()
            for target in served.targets():
                target.sweep(now)
        for target in [target for target in self._leaving if not target.in_flight]:
            self._leaving.discard(target)
            for served in self.served.values():
                served.forget(target)
            self._later(target.close())

    async def drain(self, seconds: float) -> None:
        """Take no more connections, answer what is under way, and end."""
        # Its calls become requests here.
        await self._grpc.stop(seconds)
        self.draining = True
        listeners = [*self._listeners, *([self._outside] if self._outside else [])]
        for listener in listeners:
            listener.close()
        until = time.monotonic() + seconds
        while self.fronts and time.monotonic() < until:
            self.sweep(time.monotonic())
            await asyncio.sleep(0.02)
        if self.fronts:
            _log.warning("%d connections had no answer within %g s", len(self.fronts), seconds)
        targets = list(self._leaving)
        for served in self.served.values():
            targets += served.retired("the router ends")
        await asyncio.gather(
            *(target.close() for target in targets),
            *(served.close() for served in self.served.values()),
            *self._closing,
        )
        if self._saving is not None:
            await self._saving
        self._write_kept(self._keepsake())
        self._tally()
        self._threads.shutdown()
        self.places.inside.unlink(missing_ok=True)

    def status(self) -> Status:
        """Return it as it is told."""
        return Status(
            revision=self.config.revision,
            pid=os.getpid(),
            port=self.port,
            grpc_port=self._grpc.port,
            host=self.config.host,
            started=self._started,
            problem=self.problem or self._grpc.problem,
            endpoints={name: served.status() for name, served in self.served.items()},
        )


def unix_listener(path: Path) -> socket.socket:
    """Return a socket at `path` that only its owner can open; what a dead router left goes."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    # By its folder, as an address takes hardly more than 100 bytes.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.umask(before)
        os.close(folder)
    made.listen(_BACKLOG)
    made.setblocking(False)  # noqa: FBT003 - its only parameter
    return made
