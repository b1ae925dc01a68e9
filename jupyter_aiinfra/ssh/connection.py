"""A host as a :class:`~jupyter_aiinfra.shell.Shell`: programs run there over one shared connection.

The connection belongs to ssh (ControlMaster): kernel, server and command line of one user share it,
and it outlives each of them by `persist_seconds`. Whatever comes from the host before our own mark
was said by its shell's start-up files, and is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import shlex
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from jupyter_aiinfra.errors import (
    ConnectionLost,
    ConnectionTimedOut,
    HostKeyUnknown,
    NoRemoteShell,
    PoolError,
    Unreachable,
)
from jupyter_aiinfra.shell import Completed, LocalShell, Pipe, Shell
from jupyter_aiinfra.ssh import hostkeys
from jupyter_aiinfra.ssh.client import SshClient, SshOptions, watching
from jupyter_aiinfra.ssh.diagnosis import KEY_UNKNOWN, Attempt, diagnose
from jupyter_aiinfra.ssh.hosts import HostSpec

__all__ = ["SshShell", "remote_command"]

_SSH_FAILED = 255
_CHECK_SECONDS = 5.0
_PROBE_SECONDS = 10.0
_STOP_SECONDS = 2.0
_LOCK_PAUSE_SECONDS = 0.05
# Start-up files that print more than this are taken for a host that runs something else.
_MOST_NOISE_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
# What every login shell (sh, csh, fish) and sh's double quotes leave alone.
_PLAIN = re.compile(r"[A-Za-z0-9 _@+=:,./;>&-]")
_CODED = {"%": "%%"}  # printf's own; some of them look for it only after the octal numbers


def remote_command(argv: Sequence[str], *, mark: str) -> str:
    """Return the command line that runs `argv` as it stands, whatever the login shell is.

    Both its outputs begin with `mark`. Any character that some shell would take for itself travels
    as its octal number: csh, for one, looks for history in single quotes, too.
    """
    script = f"printf %s {mark}; printf %s {mark} >&2; exec {shlex.join(argv)}"
    coded = "".join(
        char if _PLAIN.fullmatch(char) else _CODED.get(char) or _octal(char) for char in script
    )
    return f'exec /bin/sh -c \'eval "$(printf "{coded}")"\''


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(char))


class SshShell:
    """A :class:`~jupyter_aiinfra.shell.Shell` on another host, through the user's own ssh.

    Parameters
    ----------
    host
        Where.
    options
        How ssh is called.
    shell
        Where ssh itself runs.
    mark
        What our output begins with; random unless given.
    """

    def __init__(
        self,
        host: HostSpec,
        *,
        options: SshOptions | None = None,
        shell: Shell | None = None,
        mark: str | None = None,
    ) -> None:
        self.host = host
        self._client = SshClient(host, options=options or SshOptions(), shell=shell or LocalShell())
        self._mark = mark or f"aiinfra:{secrets.token_hex(8)}:"
        #: What the host's shell printed by itself before it ran the last program; it is dropped.
        self.noise = ""
        self._ready = False
        self._doubtful = False
        self._opening = asyncio.Lock()

    # --- Shell -------------------------------------------------------------------------------

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0
    ) -> Completed:
        """Run `argv` there to its end; see :class:`~jupyter_aiinfra.shell.Shell`.

        `timeout` counts from when the connection stands.
        """
        await self.ensure_master()
        try:
            done = await self._client.shell.run(
                await self._command(argv), stdin=stdin, timeout=timeout
            )
        except Unreachable as error:
            self._ready, self._doubtful = False, True
            raise ConnectionTimedOut(
                f"{argv[0]} on {self.host} did not answer within {timeout:g} s", hint="try again"
            ) from error
        started, stdout = self._after_mark(done.stdout)
        if started:
            self.noise = done.stdout.partition(self._mark.encode())[0].decode(errors="replace")
        if not started or done.status == _SSH_FAILED:
            await self._must_be_of_the_program(argv, started=started, done=done)
        return Completed(
            argv=tuple(argv),
            status=done.status,
            stdout=stdout,
            stderr=self._after_mark(done.stderr)[1],
        )

    async def stream(self, argv: Sequence[str], *, stdin: bytes = b"") -> AsyncIterator[bytes]:
        """Yield what `argv` prints there; a connection that breaks is :class:`ConnectionLost`."""
        await self.ensure_master()
        held: bytes | None = b""
        stream = self._client.shell.stream(await self._command(argv), stdin=stdin)
        async with contextlib.aclosing(stream) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                if held is None:
                    yield chunk
                    continue
                started, held_now = self._after_mark(held + chunk)
                held = None if started else self._bounded(held_now)
                if started and held_now:
                    yield held_now
        if held is not None or not await self._answers():
            await self._explain_silence(argv, started=held is None, noise=held or b"", said=b"")

    async def open(self, argv: Sequence[str]) -> Pipe:
        """Start `argv` there and return it with its input and output open.

        A connection that breaks is the end of its output and status 255; one that never stood is
        raised by the first `read`.
        """
        await self.ensure_master()
        return _MarkedPipe(await self._client.shell.open(await self._command(argv)), self, argv)

    async def close(self) -> None:
        """Forget the connection; it stays until nobody has used it for long enough. Idempotent."""
        self._ready = False

    # --- the shared connection ---------------------------------------------------------------

    async def ensure_master(self) -> None:
        """Have a shared connection: find one that stands, or make it with one handshake.

        Raises
        ------
        HostKeyUnknown
            Ask a person, call :meth:`trust`, and try again.
        Unreachable, PoolError
            What is in the way, by kind.
        """
        if self._ready:
            return
        async with self._opening:
            if self._ready:
                return
            path = await self._client.control_path()
            # Another process of the user's may be about to make the very same connection.
            async with _lock(path.with_suffix(".lock"), self._client.options.login_seconds):
                if not await self._answers() or not await self._carries():
                    await self._connect()
            self._ready, self._doubtful = True, False

    async def trust(self, key: HostKeyUnknown) -> Path:
        """Accept a key for good; return the file it was written to. See :func:`hostkeys.trust`."""
        return await hostkeys.trust(self._client, key)

    async def login_argv(self) -> list[str]:
        """Return the command that makes the shared connection in a terminal, where ssh can ask."""
        return self._client.argv("-M", "-N", "-f", *await self._sharing())

    def forward_argv(self, near: Path, far: str) -> list[str]:
        """Return the command that keeps a socket here which leads to one there, until it ends.

        It has a connection of its own: its end is the end of the socket, whatever others do.
        """
        options = self._client.options
        return self._client.argv(
            *("-N", "-T", "BatchMode=yes", "ControlMaster=no", "ControlPath=none"),
            f"ConnectTimeout={options.connect_seconds}",
            f"ServerAliveInterval={options.alive_seconds}",
            f"ServerAliveCountMax={options.alive_count}",
            *("RemoteCommand=none", "PermitLocalCommand=no", "StrictHostKeyChecking=yes"),
            *("ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes", "LogLevel=ERROR"),
            f"-L{near}:{far}",
        )

    async def _connect(self) -> None:
        options = self._client.options
        # To be refused first would be one connection more.
        if await hostkeys.surely_unknown(self._client):
            key, said = await hostkeys.offered_key(self._client)
            if key is not None:
                raise key
            if b"Permission denied" not in said:
                raise await self._explained(said)
        try:
            done = await self._client.call(
                *("-T", "-N", "-f"),
                *await self._sharing(),
                *watching(self._client.options),
                "StrictHostKeyChecking=yes",
                "LogLevel=INFO",
                seconds=options.login_seconds,
            )
        except ConnectionTimedOut:
            raise
        except Unreachable as error:
            raise ConnectionTimedOut(
                f"the login to {self.host} did not end within {options.login_seconds:g} s",
                hint=f"try it in a terminal: {shlex.join(await self.login_argv())}",
            ) from error
        if not done.ok:
            raise await self._explained(done.stderr)

    async def _sharing(self) -> list[str]:
        """Return the options of the shared connection; the user's own, where there is one."""
        theirs = await self._client.configured("controlpath")
        options = ["ControlMaster=auto"]
        if theirs is None:
            options.append(f"ControlPath={await self._client.control_path()}")
        if theirs is None or await self._client.configured("controlpersist") is None:
            options.append(f"ControlPersist={self._client.options.persist_seconds}")
        return options

    async def _command(self, argv: Sequence[str]) -> list[str]:
        return self._client.argv(
            "-T",
            "BatchMode=yes",
            *await self._sharing(),
            *watching(self._client.options),
            "StrictHostKeyChecking=yes",
            "LogLevel=ERROR",
            command=[remote_command(argv, mark=self._mark)],
        )

    async def _answers(self) -> bool:
        """Say whether the process of the shared connection is there; get rid of one that hangs."""
        options = await self._sharing()
        try:
            done = await self._client.call("-Ocheck", *options, seconds=_CHECK_SECONDS)
        except Unreachable:
            await self._abandon()
            return False
        return done.ok

    async def _carries(self) -> bool:
        """Say whether the shared connection still leads to the host, where that is in doubt."""
        if not self._doubtful:
            return True
        try:
            done = await self._client.shell.run(
                await self._command(["true"]), timeout=_PROBE_SECONDS
            )
        except Unreachable:
            await self._abandon()
            return False
        return self._after_mark(done.stdout)[0]

    async def _abandon(self) -> None:
        # Not `exit`: the sessions of others end by themselves if the connection is dead, and if it
        # is not they go on. With its socket gone the next call makes a new connection.
        with contextlib.suppress(Unreachable):
            options = await self._sharing()
            await self._client.call("-Ostop", *options, seconds=_STOP_SECONDS)
        if await self._client.configured("controlpath") is None:
            (await self._client.control_path()).unlink(missing_ok=True)

    # --- what went wrong ---------------------------------------------------------------------

    async def _must_be_of_the_program(
        self, argv: Sequence[str], *, started: bool, done: Completed
    ) -> None:
        """Return if `done` is the program's own end; raise what else it is."""
        if started and await self._answers():
            return
        noise = b"" if started else done.stdout
        said = b"" if started else done.stderr
        if not started and done.status == _SSH_FAILED and said.strip():
            self._ready = False
            raise await self._explained(said)
        await self._explain_silence(argv, started=started, noise=noise, said=said)

    async def _explain_silence(
        self, argv: Sequence[str], *, started: bool, noise: bytes, said: bytes
    ) -> None:
        self._ready = False
        if started or not await self._answers():
            raise ConnectionLost(
                f"the connection to {self.host} broke while {argv[0]} ran there",
                hint="what was started may still run; try again",
            )
        words = (noise + said).decode(errors="replace").strip()[-300:]
        raise NoRemoteShell(
            f"{self.host} did not run {argv[0]}; it said: {words or 'nothing'}",
            hint="the account needs a login shell that runs commands (see `chsh`)",
        )

    async def _explained(self, stderr: bytes) -> PoolError:
        said = stderr.decode(errors="replace")
        by_proxy = [await self._client.configured(word) for word in ("proxyjump", "proxycommand")]
        if any(by_proxy) and not KEY_UNKNOWN.search(said):
            # A proxy's own words are lost while the connection is to be shared: again, for them.
            with contextlib.suppress(Unreachable):
                done = await self._client.call(
                    *("-T", "ControlMaster=no", "ControlPath=none", "ControlPersist=no"),
                    *watching(self._client.options),
                    "StrictHostKeyChecking=yes",
                    "LogLevel=INFO",
                    seconds=self._client.options.login_seconds,
                    command=["true"],
                )
                said = done.stderr.decode(errors="replace") or said
        if KEY_UNKNOWN.search(said):
            key, _ = await hostkeys.offered_key(self._client)
            if key is not None:
                return key
        configuration = await self._client.configuration()
        names = configuration.get("identityfile", ())
        keys = [name for name in names if _is_file(name)]
        login = shlex.join(await self.login_argv())
        return diagnose(Attempt(host=str(self.host), said=said, login=login, keys=keys))

    def _after_mark(self, data: bytes) -> tuple[bool, bytes]:
        """Return whether the mark is in `data`, and what follows it; or all of `data`."""
        _, mark, rest = data.partition(self._mark.encode())
        return (True, rest) if mark else (False, data)

    def _bounded(self, noise: bytes) -> bytes:
        if len(noise) > _MOST_NOISE_BYTES:
            raise NoRemoteShell(
                f"{self.host} prints more than {_MOST_NOISE_BYTES} bytes before it runs a command",
                hint="its shell's start-up files print: let them do so in terminals only",
            )
        return noise


class _MarkedPipe:
    """A running program of a host, without what came before it; see :class:`Pipe`."""

    def __init__(self, pipe: Pipe, shell: SshShell, argv: Sequence[str]) -> None:
        self._pipe = pipe
        self._shell = shell
        self._argv = tuple(argv)
        self._noise: bytes | None = b""
        self._left = b""

    @property
    def stderr_tail(self) -> bytes:
        return self._shell._after_mark(self._pipe.stderr_tail)[1]  # noqa: SLF001 - one module

    async def write(self, data: bytes | memoryview) -> None:
        await self._pipe.write(data)

    async def read(self, limit: int) -> bytes:
        while self._noise is not None:
            chunk = await self._pipe.read(_CHUNK_BYTES)
            if not chunk:
                await self._shell._must_be_of_the_program(  # noqa: SLF001
                    self._argv,
                    started=False,
                    done=Completed(
                        argv=self._argv,
                        status=await self._pipe.wait(),
                        stdout=self._noise,
                        stderr=self._pipe.stderr_tail,
                    ),
                )
            started, rest = self._shell._after_mark(self._noise + chunk)  # noqa: SLF001
            self._noise, self._left = (None, rest) if started else (rest, b"")
            if not started:
                self._shell._bounded(rest)  # noqa: SLF001
        if self._left:
            chunk, self._left = self._left[:limit], self._left[limit:]
            return chunk
        return await self._pipe.read(limit)

    async def wait(self) -> int:
        return await self._pipe.wait()

    async def close(self, *, grace: float = 1.0) -> None:
        await self._pipe.close(grace=grace)


def _is_file(name: str) -> bool:
    return Path(name).expanduser().is_file()


@contextlib.asynccontextmanager
async def _lock(path: Path, seconds: float) -> AsyncIterator[None]:
    """Hold a file lock; after `seconds` go on without it, since its holder is stuck."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOCK_PAUSE_SECONDS)
        yield
    finally:
        os.close(descriptor)
