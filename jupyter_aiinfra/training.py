"""From what was asked to a job: a launch line and captured code become a spec and a bundle."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_aiinfra.accelerate import (
    LaunchOptions,
    config_path,
    launch_argv,
    launch_env,
    launch_files,
)
from jupyter_aiinfra.bundle import Bundle, BundleFile, bundle_file
from jupyter_aiinfra.environments import PYTHON, read_environment
from jupyter_aiinfra.errors import PoolError, UsageError
from jupyter_aiinfra.model import (
    FileRef,
    IdleRule,
    Interpreter,
    JobKind,
    JobSpec,
    Manifest,
    Node,
    Origin,
    TrackingSpec,
)
from jupyter_aiinfra.node import parcel
from jupyter_aiinfra.pools.nodeside import node_files
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.tracking import track_request

__all__ = [
    "Code",
    "LaunchLine",
    "check_secrets",
    "choose_procs",
    "compose",
    "job_name",
    "missing_bytes",
    "refuse_secret_values",
    "this_interpreter",
]

_PLACE = "${AIINFRA_RUN_DIR}"
_ELASTIC_RESTARTS = 3


@dataclass(frozen=True, kw_only=True)
class LaunchLine:
    """What a launch line asked for, before anything is known of the pool.

    ``passed`` are accelerate's own options, unchanged. ``None`` leaves a choice to us.
    """

    pool: str | None = None
    name: str | None = None
    procs: int | None = None
    nodes: int = 1
    min_nodes: int | None = None
    max_restarts: int | None = None
    cpu: bool = False
    passed: tuple[str, ...] = ()
    send: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    fetch: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    environment: str | None = None
    artifacts: tuple[str, ...] = ()
    mlflow: str | None = None
    no_mlflow: bool = False
    port: int | None = None
    cwd: str | None = None
    grace_seconds: float | None = None
    time_limit_seconds: float | None = None
    budget: str | None = None
    idle: IdleRule | None = None
    share: bool = False
    priority: int = 0
    detach: bool = False
    dry_run: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Code:
    """What the ranks run, ready to be bundled.

    ``entry`` is ``cell.py`` or a path below ``src/``; ``files`` are the texts and files placed in
    the run directory; ``blobs`` the parts of variables, by digest.
    """

    entry: str
    is_cell: bool
    manifest: Manifest
    files: Mapping[str, str | bytes | Path]
    context: str | None = None
    variables: Mapping[str, Any] | None = None
    blobs: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    text: str = ""
    line: str = ""
    notebook: str | None = None


def this_interpreter(packages: Sequence[str] = ("torch", "accelerate", "numpy")) -> Interpreter:
    """Describe the Python we run in; imports none of `packages`."""
    versions = parcel.versions(packages)
    return Interpreter(
        executable=sys.executable,
        version=versions["python"],
        implementation=versions["implementation"],
        packages=versions["packages"],
    )


def job_name(code: Code) -> str:
    """Return what a job is called that was given no name: after its script or its notebook."""
    source = code.notebook if code.is_cell and code.notebook else code.entry
    kept = [c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in Path(source).stem]
    return "".join(kept)[:40].strip("-.") or "job"


def missing_bytes(files: Sequence[FileRef], *, blobs: Path) -> int:
    """Return how much of a bundle the blob store `blobs` does not hold yet."""
    return sum(
        file.size_bytes for file in files if not (blobs / file.digest[:2] / file.digest).exists()
    )


def choose_procs(line: LaunchLine, node: Node) -> int:
    """Return the processes for each node: as asked, else one a GPU, else one."""
    if line.procs is not None:
        return line.procs
    return len(node.gpus) if node.gpus and not line.cpu else 1


def compose(
    line: LaunchLine,
    code: Code,
    *,
    node: Node,
    settings: Settings,
    tracking: TrackingSpec | None = None,
    git: Mapping[str, str] | None = None,
    elsewhere: bool = False,
) -> tuple[JobSpec, Bundle]:
    """Build the spec and the bundle of a training job for nodes like `node`. Changes nothing.

    Where the nodes are `elsewhere`, our own folder and variables mean nothing to the ranks.

    Raises
    ------
    UsageError
        Options that contradict each other.
    PoolError
        The node has no Python that we know of.
    """
    if node.python is None:
        raise PoolError(f"node {node.name} has no Python", hint="%pool show tells what is there")
    procs = choose_procs(line, node)
    cpu = line.cpu or not node.gpus
    own, own_files = read_environment(line.environment, Path.cwd())
    python = PYTHON if own else node.python.executable
    options = LaunchOptions(
        procs=procs,
        nodes=line.nodes,
        elastic=line.min_nodes is not None,
        cpu=cpu,
        passed=line.passed,
        config_text=_config_text(line.passed),
    )
    how = functools.partial(
        launch_argv,
        python=python,
        script=f"{_PLACE}/aiinfra/rank.py",
        script_args=code.arguments,
    )
    argv = how(options)
    alone = line.min_nodes == 1 and line.nodes > 1 and procs == 1
    given = line.env if elsewhere else {**os.environ, **line.env}
    needed = launch_env(options, cpus=node.cpus, environ=given, platform=node.platform)
    environment = {**needed, **line.env}
    files = {**code.files, **launch_files(options), **own_files}
    bundle = _bundle(line, code, tracking, files=files, argv=argv)
    tracker = (python, f"{_PLACE}/aiinfra/track.py", _PLACE)
    spec = JobSpec(
        kind=JobKind.TRAIN,
        name=line.name or job_name(code),
        argv=argv,
        argv_alone=how(dataclasses.replace(options, nodes=1, elastic=False)) if alone else (),
        nodes=line.nodes,
        min_nodes=line.min_nodes,
        max_restarts=_restarts(line),
        dead_peer_seconds=settings.dead_peer_seconds,
        join_seconds=settings.join_seconds,
        artifacts=line.artifacts,
        procs=procs,
        gpus=0 if cpu else procs,
        share=line.share,
        priority=line.priority,
        env=environment,
        secrets=line.secrets,
        environment=own,
        cwd=line.cwd or (None if elsewhere else str(Path.cwd())),
        port=line.port,
        files=bundle.refs(),
        fetch=line.fetch,
        grace_seconds=(
            settings.grace_seconds if line.grace_seconds is None else line.grace_seconds
        ),
        start_timeout_seconds=settings.start_timeout_seconds,
        time_limit_seconds=line.time_limit_seconds,
        stall_seconds=settings.stall_seconds or None,
        tracking=tracking,
        companion=tracker if tracking else (),
        manifest=code.manifest,
        tags=dict(line.tags),
        budget=line.budget,
        idle=line.idle,
        origin=Origin(code=code.text, line=code.line, notebook=code.notebook, git=dict(git or {})),
    )
    return spec, bundle


def _restarts(line: LaunchLine) -> int:
    """Return how often to begin again: who names a range of nodes wants to outlive a loss."""
    if line.max_restarts is not None:
        return line.max_restarts
    return _ELASTIC_RESTARTS if line.min_nodes is not None else 0


def _bundle(
    line: LaunchLine,
    code: Code,
    tracking: TrackingSpec | None,
    *,
    files: Mapping[str, str | bytes | Path],
    argv: Sequence[str],
) -> Bundle:
    made = [bundle_file(path, content) for path, content in sorted(files.items())]
    task = {
        "format": 1,
        "entry": code.entry,
        "argv": [code.entry, *code.arguments],
        "context": "context.py" if code.context else None,
        "variables": "manifest.json" if code.variables else None,
        "fetch": list(line.fetch),
        "path": ["src"],
        "cell": code.is_cell,
    }
    if code.context:
        made.append(bundle_file("context.py", code.context))
    if code.variables:
        made.append(_json("manifest.json", dict(code.variables)))
    made.append(_json("task.json", task))
    if tracking is not None:
        # What is installed there the companion writes down itself: it runs in the ranks' Python.
        artifacts = sorted({code.entry, *(["context.py"] * bool(code.context))})
        params = {**tracking.params, "command": shlex.join(argv)}
        request = track_request(dataclasses.replace(tracking, params=params), artifacts=artifacts)
        made.append(_json("track.json", request))
    made += [bundle_file(None, parts, digest=digest) for digest, parts in code.blobs.items()]
    return Bundle(files=(*made, *node_files()))


def _config_text(passed: Sequence[str]) -> str | None:
    """Return the content of the ``--config_file`` where it lies here; it then travels along."""
    path = config_path(passed)
    if path is None or not Path(path).is_file():
        return None
    return Path(path).read_text(encoding="utf-8")


def _json(path: str, value: Any) -> BundleFile:
    return bundle_file(path, json.dumps(value, sort_keys=True, indent=1) + "\n")


def check_secrets(names: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the named environment variables.

    Raises
    ------
    UsageError
        A name that is not set; nothing is said of any value.
    """
    missing = [name for name in names if name not in environ]
    if missing:
        raise UsageError(
            f"secret {missing[0]} is not set in the environment",
            hint=f"set it first: os.environ[{missing[0]!r}] = getpass.getpass()",
        )
    return {name: environ[name] for name in names}


def refuse_secret_values(env: Mapping[str, str], safe: Mapping[str, str]) -> None:
    """Refuse recorded variables that look like secrets; `safe` is `env` without those.

    Raises
    ------
    AiInfraError
        Names the variable and the option that passes it unrecorded.
    """
    for name in env:
        if name not in safe:
            raise UsageError(
                f"--env {name}=… looks like a secret and would be recorded with the job",
                hint=f"set it in the environment and pass it by name: --secret {name}",
            )
