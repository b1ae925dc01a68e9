"""The user's own ssh client: its argv, its configuration, and where shared connections live."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jupyter_aiinfra.errors import MissingProgram, PoolError, Unreachable
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.shell import Completed, Shell
from jupyter_aiinfra.ssh.hosts import HostSpec

__all__ = ["SshClient", "SshOptions", "runtime_folder", "watching"]

# A socket's path may have 104 characters on some systems, and ssh makes it under a longer name
# first: this many are left for the folder.
_FOLDER_CHARACTERS = 60
_CONFIG_SECONDS = 20.0
_NOT_SET = frozenset({"none", "no", "false"})


@dataclass(frozen=True, kw_only=True)
class SshOptions:
    """How ssh is called.

    Parameters
    ----------
    program, config
        The client, and the one configuration file it reads (``None``: its own).
    persist_seconds
        How long a shared connection stays after its last use.
    connect_seconds
        How long a host may take to answer.
    login_seconds
        How long a whole login may take; a hardware key waits for a touch that long.
    alive_seconds, alive_count
        A connection is lost after so many unanswered questions, asked so often.
    """

    program: str = "ssh"
    config: Path | None = None
    persist_seconds: int = 600
    connect_seconds: int = 10
    login_seconds: float = 60.0
    alive_seconds: int = 5
    alive_count: int = 3

    @classmethod
    def of(cls, settings: Settings) -> SshOptions:
        """Return what the user has set."""
        return cls(
            program=settings.ssh_program,
            config=settings.ssh_config,
            persist_seconds=settings.ssh_persist_seconds,
        )


def watching(options: SshOptions) -> list[str]:
    """Return the options of every connection of ours."""
    return [
        f"ConnectTimeout={options.connect_seconds}",
        f"ServerAliveInterval={options.alive_seconds}",
        f"ServerAliveCountMax={options.alive_count}",
        # What the user forwards in terminals is not for us; a second time it would not work.
        "ClearAllForwardings=yes",
        "RemoteCommand=none",
        "PermitLocalCommand=no",
    ]


def runtime_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the private folder of shared connections, made with mode 0700 where it is not there.

    Raises
    ------
    PoolError
        It belongs to somebody else, or others may enter it.
    """
    environ = os.environ if environ is None else environ
    uid = os.getuid()
    # A service may not have the variable that a terminal has, and is to share the connection.
    for base in (environ.get("XDG_RUNTIME_DIR"), f"/run/user/{uid}"):
        if base and len(base) < _FOLDER_CHARACTERS - 16 and _is_ours(Path(base)):
            return _private(Path(base) / "jupyter-aiinfra")
    temporary = Path(tempfile.gettempdir())
    if len(str(temporary)) > _FOLDER_CHARACTERS - 20:
        temporary = Path("/tmp")  # noqa: S108 - what is made there is private, and checked
    return _private(temporary / f"aiinfra-{uid}")


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _private(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        mode = folder.lstat().st_mode
    except OSError as error:
        raise PoolError(f"cannot make {folder}: {error.strerror}") from error
    if not _is_ours(folder) or mode & 0o077:
        raise PoolError(
            f"{folder} is not a folder of yours alone, so no connection is kept in it",
            hint=f"remove it, or set XDG_RUNTIME_DIR; it must be yours, with mode 0700: {folder}",
        )
    return folder


class SshClient:
    """What is said to ssh about one host. Runs it through `shell`, and keeps nothing open."""

    def __init__(self, host: HostSpec, *, options: SshOptions, shell: Shell) -> None:
        self.host = host
        self.options = options
        self.shell = shell
        self._configuration: dict[str, tuple[str, ...]] | None = None

    def argv(self, *options: str, command: Sequence[str] = ()) -> list[str]:
        """Return the call of ssh with these ``-o`` options; what begins with ``-`` is as it is."""
        argv = [self.options.program]
        if self.options.config is not None:
            argv += ["-F", str(self.options.config)]
        if self.host.user is not None:
            argv += ["-l", self.host.user]
        if self.host.port is not None:
            argv += ["-p", str(self.host.port)]
        for option in options:
            argv += [option] if option.startswith("-") else ["-o", option]
        return [*argv, "--", self.host.name, *command]

    async def configuration(self) -> dict[str, tuple[str, ...]]:
        """Return what the user has configured for this host, by lower-case keyword; read once.

        Raises
        ------
        MissingProgram
            There is no such ssh.
        PoolError
            The configuration cannot be read; says what ssh says.
        """
        if self._configuration is None:
            done = await self.call("-G", seconds=_CONFIG_SECONDS)
            if not done.ok:
                said = done.stderr.decode(errors="replace").strip()
                raise PoolError(
                    f"ssh cannot use its configuration for {self.host}: {said}",
                    hint="mend the file that it names",
                )
            found: dict[str, tuple[str, ...]] = {}
            for line in done.stdout.decode(errors="replace").splitlines():
                keyword, _, value = line.partition(" ")
                key = keyword.lower()
                found[key] = (*found.get(key, ()), value)
            self._configuration = found
        return self._configuration

    async def configured(self, keyword: str) -> str | None:
        """Return the first value of a keyword; ``None`` where it is off."""
        values = (await self.configuration()).get(keyword, ())
        return values[0] if values and values[0] not in _NOT_SET else None

    async def call(self, *options: str, seconds: float, command: Sequence[str] = ()) -> Completed:
        """Run ssh to its end, with no question asked of anybody."""
        argv = self.argv("BatchMode=yes", *options, command=command)
        try:
            return await self.shell.run(argv, timeout=seconds)
        except Unreachable as error:
            # The one thing a shell cannot do for us that will not change by waiting.
            if isinstance(error.__cause__, FileNotFoundError):
                raise MissingProgram(
                    f"there is no ssh client {self.options.program!r} on this machine",
                    hint="install OpenSSH's client, or name it: JUPYTER_AIINFRA_SSH_PROGRAM",
                ) from error
            raise

    async def control_path(self) -> Path:
        """Return the socket of the connection: one for all who mean this host by this way."""
        meant = await self.configuration()
        way = [self.options.program, str(self.options.config), str(self.host)]
        for keyword in ("hostname", "port", "user", "proxyjump", "proxycommand", "hostkeyalias"):
            way += meant.get(keyword, ())
        name = hashlib.sha256("\0".join(way).encode()).hexdigest()[:16]
        return runtime_folder() / name
