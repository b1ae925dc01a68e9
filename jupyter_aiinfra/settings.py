"""Settings: defaults, then the user's TOML file, then environment variables. Nothing is cached.

Each field can be set as ``JUPYTER_AIINFRA_<FIELD>`` in the environment, or as ``<field> = …`` in
``settings.toml`` of the configuration folder (``JUPYTER_AIINFRA_CONFIG`` names another file).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from jupyter_aiinfra.errors import UsageError, did_you_mean
from jupyter_aiinfra.model import from_wire

__all__ = ["Settings", "load_settings"]

_PREFIX = "JUPYTER_AIINFRA_"
_MANY = 1e6
_ANY = 1e15
_TIME = (0.0, 1e9)
# What would be taken, and do something else than anybody wants.
_BOUNDS: dict[str, tuple[float, float]] = {
    "grace_seconds": _TIME,
    "start_timeout_seconds": _TIME,
    "stall_seconds": _TIME,
    "dead_peer_seconds": _TIME,
    "join_seconds": _TIME,
    "save_seconds": _TIME,
    "idle_warn_seconds": _TIME,
    "idle_stop_seconds": _TIME,
    "display_lines": (1, _ANY),
    "max_local_procs": (1, _ANY),
    "runs_at_once": (1, _ANY),
    "warm_kernels": (0, _ANY),
    "warm_seconds": _TIME,
    "router_port": (0, 65535),
    "router_grpc_port": (0, 65535),
    "ssh_persist_seconds": _TIME,
}
_KINDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "array": "a list of texts",
    "object": "a table of names and targets",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user or administrator may change.

    Parameters
    ----------
    home
        Folder of the database, run directories and blobs; made with mode 0700.
    database_url
        SQLAlchemy URL; ``None`` is SQLite below `home`.
    grace_seconds
        How long a stopped job may take to end by itself before the next, harder signal.
    start_timeout_seconds
        How long all ranks together may take to report before user code runs.
    stall_seconds
        When no rank of a node has reported a step for so long, their stacks go into their logs;
        ``0`` never does that.
    dead_peer_seconds
        How long a node of a job may be silent before the others take it for lost.
    join_seconds
        How long the nodes of a job wait for each other before it begins.
    save_seconds
        How long a job may take to save when a budget or the idle policy stops it, or longer where
        it was launched with more grace.
    idle_warn_seconds
        After how long without use of its GPUs that is said of a job; ``0`` never looks.
    idle_stop_seconds
        After how long it is stopped, where neither job nor pool say otherwise; ``0`` never does.
    display_lines
        How many lines of a rank's log the cell keeps on screen.
    max_local_procs
        Most ranks a local pool starts on a machine without GPUs; ``None`` is the larger of 8 and
        the number of cores.
    runs_at_once
        How many scheduled runs may be at work on one pool; ``None`` is the number of cores of this
        machine for a local pool (at least 2), and 32 elsewhere. Others wait.
    warm_kernels
        How many kernels wait on this machine for the next scheduled run, of each Python that ran
        one lately; ``0``: each is started when its run begins.
    warm_seconds
        How long they wait for one.
    router_port
        TCP port of 127.0.0.1 that endpoints are called at; ``0`` takes any free one, and keeps it.
    router_grpc_port
        TCP port of 127.0.0.1 that endpoints are called at over gRPC, likewise; ``None``: none.
    tracking_uri
        MLflow tracking URI used for every job; ``None`` leaves it to MLflow's own settings.
    project, team, cost_centre
        Who pays for jobs that say nothing else: tags that cost is told by.
    notify_targets
        Who can be notified: a name for each URL of Apprise, of which ``secret:NAME`` (all of it) or
        ``{NAME}`` (a part) is taken from the environment of who sends.
    notify_budgets
        Names of those who are told what budgets decide.
    ssh_program
        The ssh client: a name to be found on the PATH, or a path.
    ssh_config
        The one configuration file that ssh reads; ``None`` is the user's and the system's own.
    ssh_persist_seconds
        How long a shared connection to a host stays open after its last use.
    """

    home: Path
    database_url: str | None = None
    grace_seconds: float = 10.0
    start_timeout_seconds: float = 600.0
    stall_seconds: float = 300.0
    dead_peer_seconds: float = 10.0
    join_seconds: float = 60.0
    save_seconds: float = 120.0
    idle_warn_seconds: float = 900.0
    idle_stop_seconds: float = 0.0
    display_lines: int = 200
    max_local_procs: int | None = None
    runs_at_once: int | None = None
    warm_kernels: int = 1
    warm_seconds: float = 900.0
    router_port: int = 0
    router_grpc_port: int | None = None
    tracking_uri: str | None = None
    project: str | None = None
    team: str | None = None
    cost_centre: str | None = None
    notify_targets: Mapping[str, str] = field(default_factory=dict)
    notify_budgets: tuple[str, ...] = ()
    ssh_program: str = "ssh"
    ssh_config: Path | None = None
    ssh_persist_seconds: int = 600

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in use."""
        return self.database_url or f"sqlite:///{self.home / 'aiinfra.db'}"

    @property
    def runs(self) -> Path:
        """Folder with one run directory a job of the local pools."""
        return self.home / "runs"

    @property
    def envs(self) -> Path:
        """Folder of the environments that local pools have built."""
        return self.home / "envs"

    @property
    def blobs(self) -> Path:
        """Content-addressed store of what travels with jobs of the local pools."""
        return self.home / "blobs"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in force now.

    Raises
    ------
    UsageError
        A file that is not TOML, an unknown setting, or a value of the wrong type; names it.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {"home": platformdirs.user_data_path("jupyter-aiinfra")}
    values |= _from_file(environ)
    for each in fields(Settings):
        text = environ.get(_PREFIX + each.name.upper())
        if text is not None:
            values[each.name] = _read(each.name, text)
    try:
        settings = from_wire(
            {**values, "home": str(values["home"])}, Settings, strict=False, decode=_decode
        )
    except msgspec.ValidationError as error:
        raise _wrong(values, environ, str(error)) from error
    for name, (low, high) in _BOUNDS.items():
        value = getattr(settings, name)
        # Written so that what is no number at all (nan) is refused as well.
        if value is not None and not low <= value <= high:
            upto = "or more" if high > _MANY else f"to {high:g}"
            expected = f"a number, {low:g} {upto}"
            raise _refused(name, values.get(name), environ, expected)
    return settings


def _wrong(values: Mapping[str, Any], environ: Mapping[str, str], said: str) -> UsageError:
    """Return the error for a value of the wrong type; msgspec says ``… - at `$.name`…``."""
    found = re.fullmatch(r"Expected `(\w+)[^`]*`, got .* - at `\$\.(\w+).*`", said)
    if found is None:
        return UsageError(f"a setting has a wrong value: {said}")
    kind, name = found.groups()
    return _refused(name, values.get(name), environ, _KINDS.get(kind, kind))


def _refused(name: str, value: Any, environ: Mapping[str, str], expected: str) -> UsageError:
    variable = _PREFIX + name.upper()
    where = variable if variable in environ else "settings.toml"
    return UsageError(f"the setting {name} ({where}) is {value!r}: expected {expected}")


def _read(name: str, text: str) -> Any:
    """Return what a variable of the environment says of a setting."""
    if name == "notify_budgets":
        return [word.strip() for word in text.split(",") if word.strip()]
    if name == "notify_targets":
        try:
            return msgspec.toml.decode(text)
        except msgspec.DecodeError as error:
            raise UsageError(
                f"{_PREFIX}NOTIFY_TARGETS is not valid TOML: {error}",
                hint="a line for each target: team = 'secret:SLACK_URL'",
            ) from error
    return text


def _decode(_kind: type[Path], value: Any) -> Path:
    # Asked for what msgspec does not know by itself: of our types that is a path only.
    return Path(value).expanduser().absolute()


def _from_file(environ: Mapping[str, str]) -> dict[str, Any]:
    named = environ.get(_PREFIX + "CONFIG")
    path = (
        Path(named) if named else platformdirs.user_config_path("jupyter-aiinfra") / "settings.toml"
    )
    if not path.is_file():
        if named:
            raise UsageError(f"{_PREFIX}CONFIG names {path}, which is not a file")
        return {}
    try:
        values: dict[str, Any] = msgspec.toml.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    known = {each.name for each in fields(Settings)}
    for name in values:
        if name not in known:
            raise UsageError(f"{path}: unknown setting {name!r}", hint=did_you_mean(name, known))
    return values


if sys.version_info < (3, 11):  # msgspec reads TOML through tomli there
    import tomli as _tomli  # noqa: F401
