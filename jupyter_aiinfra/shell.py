"""Running programs: the one place that starts a subprocess, and the seam that fakes replace.

Reaching another machine is rewriting an argv (``ssh host -- …``) and running it here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jupyter_aiinfra.errors import Unreachable

__all__ = ["Completed", "LocalShell", "Shell"]

_CHUNK_BYTES = 1 << 16


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
            raise Unreachable(f"cannot start {argv[0]}: {error.strerror}") from error


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
