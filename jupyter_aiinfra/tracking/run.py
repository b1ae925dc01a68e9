"""The MLflow run around a job: whether there is one, where, and what describes the launch."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import Interpreter, TrackingSpec
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.tracking.secrecy import host, is_secret_value

__all__ = ["Tracking", "run_params", "run_tags", "track_request", "tracking_spec"]

# MLflow reads these where a server asks who we are.
_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_DATABRICKS = ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET")


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The MLflow run asked for, and what it takes to be let in.

    ``spec`` is recorded. ``secrets`` are environment variables for the job and its companion, to be
    passed and never written down.
    """

    spec: TrackingSpec
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


def tracking_spec(
    *,
    asked: str | None,
    settings: Settings,
    job_name: str,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    modules: Mapping[str, Any] | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Tracking | None:
    """Return the MLflow run to keep around a job, or ``None`` where nobody wants one.

    In this order: the URI `asked` for; the one this process's own ``mlflow`` uses (it is looked at
    only if the user imported it); ``MLFLOW_TRACKING_URI``; the setting. `asked` empty means one of
    those, or else a database in our home folder; ``None`` leaves it to what is set. Relative paths
    are meant from `cwd`, since a job may run elsewhere.

    Raises
    ------
    UsageError
        A URI that cannot work, or that carries a password which cannot be passed otherwise.
    """
    environ = os.environ if environ is None else environ
    modules = sys.modules if modules is None else modules
    ambient = _ambient_uri(environ, modules)
    chosen = asked or ambient or settings.tracking_uri
    if chosen is None:
        if asked is None:
            return None
        chosen = f"sqlite:///{settings.home / 'mlflow.db'}"
    uri, secrets = _without_secrets(_absolute(chosen, Path.cwd() if cwd is None else cwd), environ)
    # An experiment's id means nothing to another server than the one it was taken from.
    experiment_id = _ambient_experiment_id(environ, modules) if chosen == ambient else None
    spec = TrackingSpec(
        uri=uri,
        experiment=None if experiment_id else environ.get("MLFLOW_EXPERIMENT_NAME") or None,
        experiment_id=experiment_id,
        run_name=job_name,
        params=dict(params or {}),
        tags=dict(tags or {}),
    )
    return Tracking(spec=spec, secrets=secrets)


def track_request(
    spec: TrackingSpec, *, artifacts: Sequence[str] = (), sample_seconds: float = 10.0
) -> dict[str, Any]:
    """Return the content of a job's ``track.json``.

    Parameters
    ----------
    spec
        The run to make.
    artifacts
        Files of the run directory to log, by their relative paths.
    sample_seconds
        How often the system metrics are read.
    """
    return {
        "format": 1,
        "uri": spec.uri,
        "experiment": spec.experiment,
        "experiment_id": spec.experiment_id,
        "run_name": spec.run_name,
        "params": dict(spec.params),
        "tags": dict(spec.tags),
        "artifacts": list(artifacts),
        "sample_seconds": sample_seconds,
        "hourly": spec.hourly,
        "currency": spec.currency,
    }


def run_params(
    *,
    command: str | None = None,
    pool: str | None = None,
    nodes: int | None = None,
    procs: int | None = None,
    mixed_precision: str | None = None,
    python: Interpreter | None = None,
) -> dict[str, str]:
    """Return what describes a launch as MLflow parameters; what is unknown is left out."""
    world = nodes * procs if nodes is not None and procs is not None else None
    values: dict[str, object] = {
        "command": command,
        "pool": pool,
        "nodes": nodes,
        "procs": procs,
        "world": world,
        "mixed_precision": mixed_precision,
    }
    if python is not None:
        values["python"] = python.version
        for package in ("torch", "accelerate"):
            values[package] = python.packages.get(package)
    return {name: str(value) for name, value in values.items() if value is not None}


def run_tags(
    *,
    source: str | None = None,
    is_notebook: bool = False,
    user: str | None = None,
    git: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return where a job came from as the tags that MLflow's own pages show.

    Parameters
    ----------
    source
        The notebook or script.
    git
        As :func:`git_state` returns it.
    """
    git = git or {}
    values = {
        "mlflow.source.name": source,
        "mlflow.source.type": ("NOTEBOOK" if is_notebook else "LOCAL") if source else None,
        "mlflow.user": user,
        "mlflow.source.git.commit": git.get("commit"),
        "mlflow.source.git.branch": git.get("branch"),
        "mlflow.source.git.dirty": git.get("dirty"),
        "mlflow.source.git.repoURL": git.get("remote"),
    }
    return {name: value for name, value in values.items() if value}


def _ambient_uri(environ: Mapping[str, str], modules: Mapping[str, Any]) -> str | None:
    mlflow = modules.get("mlflow")
    is_set = getattr(mlflow, "is_tracking_uri_set", None)
    if callable(is_set) and is_set():
        return str(getattr(mlflow, "get_tracking_uri")())  # noqa: B009 - an untyped, optional module
    return environ.get("MLFLOW_TRACKING_URI") or None


def _ambient_experiment_id(environ: Mapping[str, str], modules: Mapping[str, Any]) -> str | None:
    # mlflow.set_experiment() sets the variable too, but not in every version.
    active = getattr(modules.get("mlflow.tracking.fluent"), "_active_experiment_id", None)
    if active is None and not environ.get("MLFLOW_EXPERIMENT_NAME"):
        active = environ.get("MLFLOW_EXPERIMENT_ID")
    return str(active) if active else None


def _absolute(uri: str, cwd: Path) -> str:
    """Return `uri` so that it means the same from any folder."""
    parts = urlsplit(uri)
    if parts.scheme.startswith("sqlite"):
        return _absolute_sqlite(uri, parts, cwd)
    if parts.scheme == "file":
        return (cwd / unquote(parts.path or "mlruns")).as_uri()
    if parts.scheme or uri == "databricks":
        if re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri):
            raise UsageError(
                f"the tracking URI {uri!r} has no scheme", hint=f"did you mean http://{uri}?"
            )
        return uri
    path = (cwd / Path(uri).expanduser()).absolute()
    if path.suffix in (".db", ".sqlite", ".sqlite3"):
        raise UsageError(
            f"the tracking URI {uri!r} is a file name",
            hint=f"for a database file write sqlite:///{uri}",
        )
    return path.as_uri()


def _absolute_sqlite(uri: str, parts: SplitResult, cwd: Path) -> str:
    path = parts.path.removeprefix("/")
    if parts.netloc or path in ("", ":memory:"):
        what = "three slashes are missing" if parts.netloc else "a database in memory ends with it"
        raise UsageError(
            f"the tracking URI {uri!r} names no database file: {what}",
            hint="write sqlite:///mlflow.db, or sqlite:////absolute/path/mlflow.db",
        )
    absolute = os.path.normpath(cwd / Path(path).expanduser())
    # Not urlunsplit: it would take the empty host away.
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}:///{absolute}{query}"


def _without_secrets(uri: str, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return `uri` as it may be recorded, and the variables that replace what it lost."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        secrets = {name: environ[name] for name in _CREDENTIALS if environ.get(name)}
        if parts.username:
            secrets["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        if parts.password:
            secrets["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
        uri = urlunsplit(parts._replace(netloc=host(parts)))
    elif parts.scheme.startswith("databricks") or uri == "databricks":
        secrets = {name: environ[name] for name in _DATABRICKS if environ.get(name)}
    elif parts.scheme.startswith("postgres"):
        # libpq reads it from the environment where the address has none.
        password = unquote(parts.password) if parts.password else environ.get("PGPASSWORD")
        secrets = {"PGPASSWORD": password} if password else {}
        user = f"{parts.username}@" if parts.username else ""
        uri = urlunsplit(parts._replace(netloc=user + host(parts)))
    else:
        secrets = {}
    if is_secret_value(uri):
        raise UsageError(
            "the tracking URI carries a password, and it would be recorded with the job",
            hint="start `mlflow server` on that database and give the server's http:// address",
        )
    return uri, secrets
