"""Running programs: the one place that starts a subprocess, and the seam that fakes replace.

Reaching another machine is rewriting an argv (``ssh host -- …``) and running it here.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import stat
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from jupyter_aiinfra.errors import Unreachable

__all__ = ["Completed", "LocalShell", "Pipe", "Shell"]

_CHUNK_BYTES = 1 << 16
# Of what an open program has written and nobody has read, we hold this much; it waits then.
_HELD_BYTES = 1 << 20
_STDERR_BYTES = 1 << 13
_STDOUT, _STDERR = 1, 2
# A program stuck in the kernel dies when that lets go of it. Nobody need wait for that.
_KILL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that has ended."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.status == 0


class Pipe(Protocol):
    """A program that runs, with its input and output open; its owner closes it.

    One task reads; any number may write, and what one writes stays together.
    """

    @property
    def stderr_tail(self) -> bytes:
        """The last few KiB of its standard error."""
        ...

    async def write(self, data: bytes | memoryview) -> None:
        """Hand `data` to the program; wait while it does not keep up.

        Raises
        ------
        Unreachable
            It reads no more.
        """
        ...

    async def read(self, limit: int) -> bytes:
        """Return what came from it, `limit` bytes at most; nothing at the end."""
        ...

    async def wait(self) -> int:
        """Return its exit status once it has ended; negative is the signal that ended it."""
        ...

    async def close(self, *, grace: float = 1.0) -> None:
        """Close its input, give it `grace` seconds to end, and end it. Idempotent."""
        ...


@runtime_checkable
class Shell(Protocol):
    """A place where programs run. ``argv`` is never read by a shell unless it names one."""

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0
    ) -> Completed:
        """Run `argv` to its end.

        Raises
        ------
        Unreachable
            The program could not be started, or did not end within `timeout` seconds; it is
            killed then.
        """
        ...

    def stream(self, argv: Sequence[str], *, stdin: bytes = b"") -> AsyncIterator[bytes]:
        """Yield the standard output of `argv` as it comes; closing the iterator ends it."""
        ...

    async def open(self, argv: Sequence[str]) -> Pipe:
        """Start `argv` and return it with its input and output open.

        Raises
        ------
        Unreachable
            The program could not be started.
        """
        ...


class LocalShell:
    """This machine. `env` replaces the environment of what is run; ``None`` inherits ours."""

    def __init__(self, *, env: Mapping[str, str] | None = None) -> None:
        self._env = None if env is None else dict(env)

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0
    ) -> Completed:
        """Run `argv` to its end; see :class:`Shell`."""
        process = await self._start(argv)
        try:
            stdout, stderr = await asyncio.wait_for(process.communicate(stdin), timeout)
        except asyncio.TimeoutError:
            raise Unreachable(
                f"{argv[0]} did not answer within {timeout:g} s", hint="try again"
            ) from None
        finally:
            await _end(process)
        return Completed(
            argv=tuple(argv), status=process.returncode or 0, stdout=stdout, stderr=stderr
        )

    async def stream(self, argv: Sequence[str], *, stdin: bytes = b"") -> AsyncIterator[bytes]:
        """Yield the standard output of `argv`; see :class:`Shell`."""
        process = await self._start(argv)
        assert process.stdin is not None  # noqa: S101 - made with PIPE below
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(stdin)
            # A program that does not read its input closes the pipe: that is its right.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await process.stdin.drain()
            process.stdin.close()
            while chunk := await process.stdout.read(_CHUNK_BYTES):
                yield chunk
        finally:
            await _end(process)

    async def open(self, argv: Sequence[str]) -> Pipe:
        """Start `argv` with its input and output open; see :class:`Shell`."""
        try:
            _, protocol = await asyncio.get_running_loop().subprocess_exec(
                lambda: _PipeProtocol(argv[0]), *argv, env=self._env, start_new_session=True
            )
        except OSError as error:
            raise _cannot_start(argv, error) from error
        return _LocalPipe(protocol)

    async def _start(self, argv: Sequence[str]) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._env,
                # Jupyter and terminals interrupt a whole process group. What we run for the user
                # must not be cut off by that half-way: we answer the interrupt, and hand it on.
                start_new_session=True,
            )
        except OSError as error:
            raise _cannot_start(argv, error) from error


def _cannot_start(argv: Sequence[str], error: OSError) -> Unreachable:
    return Unreachable(f"cannot start {argv[0]}: {error.strerror}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]  # noqa: SLF001
        _kill(transport)
        await process.wait()


def _kill(transport: asyncio.SubprocessTransport) -> None:
    """Kill a program of whose end asyncio has not heard yet, and close our side of its pipes.

    The pipes, because who waits is woken only when they are closed, too, and an ssh hands its own
    to the shared connection, where they stay open for as long as the host is silent. Not by the
    transport's `kill` or `close`: these look first whether it has ended and thereby collect its
    status, which asyncio's own watcher then misses and complains about.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(transport.get_pid(), signal.SIGKILL)
    for descriptor in (0, _STDOUT, _STDERR):
        pipe = transport.get_pipe_transport(descriptor)
        if pipe is not None:
            pipe.close()


def _widen(end: Any) -> None:
    """Let more wait in a pipe than the default, which means many times as many wake-ups."""
    # Only Linux can, and where the program has ended already there is no pipe (ValueError).
    with contextlib.suppress(AttributeError, OSError, ValueError):
        if stat.S_ISSOCK(os.fstat(end.fileno()).st_mode):  # asyncio's for input, before Python 3.12
            with socket.socket(fileno=os.dup(end.fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _HELD_BYTES)
        else:
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _HELD_BYTES)


class _PipeProtocol(asyncio.SubprocessProtocol):
    """What a running program sends, as it comes: no copies, and a bound on what is held."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stderr = bytearray()
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.writable = asyncio.Event()
        self.writable.set()
        self.deaf = False
        self.news = asyncio.Event()
        self.chunks: deque[bytes] = deque()
        self.at_end = False
        self._held = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)
        stdout = self.transport.get_pipe_transport(_STDOUT)
        assert stdout is not None  # noqa: S101 - made with PIPE, as by default
        self._stdout = cast("asyncio.ReadTransport", stdout)
        for each in (stdout, self.transport.get_pipe_transport(0)):
            if each is not None:
                _widen(each.get_extra_info("pipe"))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDERR:
            self.stderr += data
            del self.stderr[:-_STDERR_BYTES]
            return
        self.chunks.append(data)
        self._held += len(data)
        self.news.set()
        if self._held >= _HELD_BYTES and not self._paused:
            self._paused = True
            self._stdout.pause_reading()

    def take(self, limit: int) -> bytes:
        """Return what waits, `limit` bytes at most; nothing if nothing does."""
        if not self.chunks:
            return b""
        chunk = self.chunks.popleft()
        if len(chunk) > limit:
            self.chunks.appendleft(chunk[limit:])
            chunk = chunk[:limit]
        self._held -= len(chunk)
        if self._paused and self._held <= _HELD_BYTES // 2:
            self._paused = False
            self._stdout.resume_reading()
        return chunk

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        del exc
        if fd == _STDOUT:
            self.at_end = True
            self.news.set()
        elif fd != _STDERR:
            self.deaf = True
            self.writable.set()

    def pause_writing(self) -> None:
        if not self.deaf:
            self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def process_exited(self) -> None:
        status = self.transport.get_returncode()
        if not self.exited.done():
            self.exited.set_result(0 if status is None else status)


class _LocalPipe:
    """A running program of this machine; see :class:`Pipe`."""

    def __init__(self, protocol: _PipeProtocol) -> None:
        self._protocol = protocol
        stdin = protocol.transport.get_pipe_transport(0)
        assert stdin is not None  # noqa: S101 - made with PIPE, as by default
        self._stdin = cast("asyncio.WriteTransport", stdin)

    @property
    def stderr_tail(self) -> bytes:
        return bytes(self._protocol.stderr)

    async def write(self, data: bytes | memoryview) -> None:
        if not self._protocol.deaf and not self._stdin.is_closing():
            self._stdin.write(data)
            await self._protocol.writable.wait()
        if self._protocol.deaf or self._stdin.is_closing():
            raise Unreachable(f"{self._protocol.name} takes no more input")

    async def read(self, limit: int) -> bytes:
        protocol = self._protocol
        while not protocol.chunks and not protocol.at_end:
            protocol.news.clear()
            await protocol.news.wait()
        return protocol.take(limit)

    async def wait(self) -> int:
        return await asyncio.shield(self._protocol.exited)

    async def close(self, *, grace: float = 1.0) -> None:
        transport, exited = self._protocol.transport, self._protocol.exited
        try:
            self._stdin.close()
            if grace > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.shield(exited), grace)
        finally:
            # What still reads sees the end, also where another program has the pipes.
            self._protocol.at_end = True
            self._protocol.news.set()
            if not exited.done():
                _kill(transport)
                await asyncio.wait({exited}, timeout=_KILL_SECONDS)
            transport.close()
