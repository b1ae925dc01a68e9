"""``serve`` as a service of the user's systemd: its unit, and how it gets there and away again."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jupyter_aiinfra.errors import AiInfraError, Conflict, Unreachable, UsageError
from jupyter_aiinfra.shell import Completed, Shell

__all__ = ["UNIT", "Service", "ServiceNews", "unit_text"]

UNIT: Final = "jupyter-aiinfra.service"

_MARK: Final = "# Written by: jupyter aiinfra serve --install-service"
_KEPT_NAMES: Final = ("PATH", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_KEPT_PREFIXES: Final = ("JUPYTER_",)
# What a shell had at hand when it wrote the unit must not lie in a file.
_SECRET_NAMES: Final = ("TOKEN", "SECRET", "PASSWORD", "API_KEY", "DATABASE_URL")
_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class ServiceNews:
    """What has become of the service.

    Parameters
    ----------
    unit, variables
        Its file; and the file that a person may write variables into, as secrets are.
    enabled, running
        Whether systemd begins it by itself, and whether it has begun it now.
    lingers
        Whether it runs while its user is logged in nowhere; ``None``: not known.
    problem
        Why systemd does not have it, in words; empty where it does.
    todo
        The commands that a person has to run.
    left_out
        Variables of this shell that it needs and that are not written into the unit.
    """

    unit: str
    variables: str
    enabled: bool
    running: bool
    lingers: bool | None = None
    problem: str = ""
    todo: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def unit_text(
    words: Sequence[str], *, environ: Mapping[str, str], variables: Path, folder: Path
) -> str:
    """Return the unit that runs `words`; pure.

    Parameters
    ----------
    environ
        Of this, what settings, programs and Jupyter's folders are found by is written into it.
    variables
        A file of further variables, that need not be there.
    folder
        Where it runs.
    """
    lines = [f"Environment={_quoted(f'{name}={environ[name]}')}" for name in _kept(environ)]
    return "\n".join(
        [
            _MARK,
            "[Unit]",
            "Description=Pools, jobs and schedules of jupyter-aiinfra",
            "# One that cannot begin is given up after a while, not tried for ever.",
            "StartLimitIntervalSec=600",
            "StartLimitBurst=20",
            "",
            "[Service]",
            f"ExecStart={' '.join(_quoted(word).replace('$', '$$') for word in words)}",
            f"WorkingDirectory={_path(folder)}",
            *lines,
            f"EnvironmentFile=-{_path(variables)}",
            "Restart=always",
            "RestartSec=5",
            "UMask=0077",
            "# Jobs of this machine go on when it is stopped or begun anew, and one that takes all",
            "# the memory is the one to go.",
            "KillMode=process",
            "OOMPolicy=continue",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
    )


def _kept(environ: Mapping[str, str]) -> list[str]:
    return [name for name in _wanted(environ) if not _is_secret(name)]


def _wanted(environ: Mapping[str, str]) -> list[str]:
    return sorted(
        name for name in environ if name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)
    )


def _is_secret(name: str) -> bool:
    return any(part in name for part in _SECRET_NAMES)


def _quoted(word: str) -> str:
    """Return a word as systemd reads it back: no specifier and no escape of its own."""
    if "\n" in word or "\0" in word:
        raise UsageError(f"{word!r} cannot stand in a unit of systemd", hint="write it in one line")
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _path(path: Path) -> str:
    # These settings take the rest of the line: quotes would be part of the path.
    return str(path).replace("%", "%%")


class Service:
    """The unit of one user.

    Parameters
    ----------
    shell
        Where ``systemctl`` is run.
    environ
        The variables of this process.
    """

    def __init__(self, shell: Shell, *, environ: Mapping[str, str], home: Path) -> None:
        self._shell = shell
        self._environ = environ
        base = environ.get("XDG_CONFIG_HOME") or str(home / ".config")
        self._home = home
        self.unit = Path(base) / "systemd" / "user" / UNIT
        self.variables = Path(base) / "jupyter-aiinfra" / "service.env"

    async def install(self, options: Sequence[str]) -> ServiceNews:
        """Write the unit, and have systemd begin it now and at each start.

        A unit that is there is replaced, and the service begun anew. Where systemd does not
        answer, the unit is written all the same, and what is to be done is said.

        Raises
        ------
        Conflict
            A unit of that name is there that we have not written.
        """
        self._check_ours()
        words = [_program(), "serve", *options]
        text = unit_text(words, environ=self._environ, variables=self.variables, folder=self._home)
        _write(self.unit, text)
        enable = ("systemctl", "--user", "enable", UNIT)
        # Also begins it where it is not running.
        restart = ("systemctl", "--user", "restart", UNIT)
        steps = (("systemctl", "--user", "daemon-reload"), enable, restart)
        done, problem = await self._steps(steps)
        lingers = await self._lingers() if not problem else None
        todo = [" ".join(step) for step in steps[done:]]
        if lingers is False:
            todo.append("loginctl enable-linger")
        return ServiceNews(
            unit=str(self.unit),
            variables=str(self.variables),
            enabled=enable not in steps[done:],
            running=restart not in steps[done:],
            lingers=lingers,
            problem=problem,
            todo=tuple(todo),
            left_out=tuple(name for name in _wanted(self._environ) if _is_secret(name)),
        )

    async def uninstall(self) -> ServiceNews:
        """Stop the service and take its unit away; jobs go on. Without one, nothing happens."""
        self._check_ours()
        problem, todo = "", []
        if self.unit.exists():
            reload = ("systemctl", "--user", "daemon-reload")
            _, problem = await self._steps([("systemctl", "--user", "disable", "--now", UNIT)])
            self.unit.unlink(missing_ok=True)
            # What enabling has made; a systemd that did not answer has left it.
            (self.unit.parent / "default.target.wants" / UNIT).unlink(missing_ok=True)
            if problem:
                todo = [f"systemctl --user stop {UNIT}", " ".join(reload)]
            else:
                _, problem = await self._steps([reload])
                todo = [" ".join(reload)] if problem else []
        return ServiceNews(
            unit=str(self.unit),
            variables=str(self.variables),
            enabled=False,
            running=False,
            problem=problem,
            todo=tuple(todo),
        )

    def _check_ours(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not self.unit.read_text(encoding="utf-8").startswith(_MARK):
                raise Conflict(
                    f"{self.unit} is there, and not written by us",
                    hint="move it away, if it is not wanted, and try again",
                )

    async def _steps(self, steps: Sequence[Sequence[str]]) -> tuple[int, str]:
        """Run commands up to the first that fails; return how many have not, and what it said."""
        for number, step in enumerate(steps):
            if shutil.which(step[0], path=self._environ.get("PATH")) is None:
                return number, f"there is no {step[0]} here"
            try:
                done = await self._shell.run(step, timeout=_SECONDS)
            except Unreachable as error:
                return number, error.message
            if not done.ok:
                return number, _said(done)
        return len(steps), ""

    async def _lingers(self) -> bool | None:
        if shutil.which("loginctl", path=self._environ.get("PATH")) is None:
            return None
        asked = ("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value")
        try:
            done = await self._shell.run(asked, timeout=_SECONDS)
        except Unreachable:
            return None
        return {b"yes": True, b"no": False}.get(done.stdout.strip())


def _program() -> str:
    """Return the command of this installation: not ``-m``, which would import from the folder."""
    found = shutil.which("jupyter-aiinfra", path=str(Path(sys.executable).parent))
    if found is None:
        raise AiInfraError(
            f"there is no jupyter-aiinfra beside {sys.executable}",
            hint="install the package into this environment: pip install jupyter-aiinfra",
        )
    return found


def _said(done: Completed) -> str:
    text = done.stderr.decode(errors="replace").strip() or f"status {done.status}"
    return f"{' '.join(done.argv)}: {text.splitlines()[0]}"


def _write(path: Path, text: str) -> None:
    """Write a unit that whoever reads it finds whole; only its owner may."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f".{path.name}.new")
        opened = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(text)
        made.replace(path)
    except OSError as error:
        raise AiInfraError(
            f"{path} could not be written: {error.strerror or error}",
            hint="XDG_CONFIG_HOME names the folder that it is below",
        ) from error
