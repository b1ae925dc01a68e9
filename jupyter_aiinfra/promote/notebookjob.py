"""From a frozen notebook, its parameters and options to a job: pure, nothing is started.

The job goes the way of every other: a spec and a bundle, a supervisor, one rank. What its rank runs
is ``node/notebook.py``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from jupyter_aiinfra.bundle import Bundle, BundleFile, bundle_file
from jupyter_aiinfra.environments import PYTHON
from jupyter_aiinfra.errors import PoolError, UsageError
from jupyter_aiinfra.model import (
    Finding,
    IdleRule,
    JobKind,
    JobSpec,
    Node,
    Origin,
    Severity,
)
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools.nodeside import node_files
from jupyter_aiinfra.promote.notify import Notify
from jupyter_aiinfra.promote.snapshot import INPUT, WORK, Snapshot
from jupyter_aiinfra.promote.values import is_secret
from jupyter_aiinfra.settings import Settings

__all__ = [
    "PARAMETERS",
    "PREVIOUS",
    "NotebookOptions",
    "Resume",
    "compose_notebook",
    "preflight_notebook",
    "runner_files",
    "secret_names",
    "split_secrets",
]

PARAMETERS: Final = "notebook/parameters.json"
PREVIOUS: Final = "notebook/previous.ipynb"

_PLACE: Final = "${AIINFRA_RUN_DIR}"
_RUNNER: Final = ("injecting", "kernels", "live", "notebook", "outputs", "scrub")
# What the supervisor allows beyond the run's own limit, which knows the cell it was in.
_LIMIT_SLACK_SECONDS: Final = 60.0
_STARTING_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class NotebookOptions:
    """How a notebook is to be run.

    Parameters
    ----------
    name
        What its jobs are called; ``None`` is the notebook's own name.
    kernel
        The kernel; ``None`` is the one that the notebook names.
    environment
        What ``--env`` names: a Python environment that is built for it. Its Python runs the cells
        then, whatever the kernel is called.
    files
        Files and folders that it reads, relative to its own folder.
    cwd
        A folder of the nodes that it runs in; ``None`` is one of the run, with its files.
    cell_seconds, run_seconds, start_seconds
        How long a cell, all cells together, and the start of the kernel may take.
    save_seconds
        How often the output notebook is saved while a cell runs.
    head_characters, tail_characters
        How much of the beginning and of the end is kept of what one cell prints.
    outputs
        Where the results go beside the job itself: URLs of fsspec, of folders.
    forms
        In which forms: ``ipynb``, ``html``, ``py``.
    keep_count, keep_seconds, keep_failures
        What is kept there: so many of the newest runs, so long, and failed ones in any case.
    notify
        Who is told how runs end, by names of targets in the settings.
    resume
        Let a run that is tried again begin at a cell tagged ``checkpoint``.
    fired_by
        Who starts its slots: any server of ours, or the cron of the pool's first node.
    """

    name: str | None = None
    kernel: str | None = None
    environment: str | None = None
    files: tuple[str, ...] = ()
    modules: bool = True
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    gpus: int = 0
    share: bool = False
    priority: int = 0
    cell_seconds: float | None = None
    run_seconds: float | None = None
    start_seconds: float = _STARTING_SECONDS
    save_seconds: float = 10.0
    head_characters: int = 1 << 19
    tail_characters: int = 1 << 19
    grace_seconds: float | None = None
    budget: str | None = None
    idle: IdleRule | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    forms: tuple[str, ...] = ("ipynb",)
    notify: Notify = field(default_factory=Notify)
    keep_count: int | None = None
    keep_seconds: float | None = None
    keep_failures: bool = True
    resume: bool = True
    fired_by: Literal["server", "pool"] = "server"


@dataclass(frozen=True, kw_only=True)
class Resume:
    """A run that goes on where another failed: its output notebook, and the cells run again."""

    previous: bytes
    again: tuple[int, ...]
    checkpoints: str | None = None


def split_secrets(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the plain values, and the variables that those named ``secret:…`` are read from."""
    secrets = {
        name: str(value).partition(":")[2] for name, value in values.items() if is_secret(value)
    }
    return {name: value for name, value in values.items() if name not in secrets}, secrets


def secret_names(options: NotebookOptions, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the variables whose values the job is given and that nobody writes down."""
    return tuple(dict.fromkeys((*options.secrets, *split_secrets(values)[1].values())))


@functools.lru_cache(maxsize=1)
def runner_files() -> tuple[BundleFile, ...]:
    """Return the node side of notebook runs, beside what every job has."""
    folder = Path(supervise.__file__).parent
    return tuple(
        bundle_file(f"aiinfra/{name}.py", (folder / f"{name}.py").read_bytes()) for name in _RUNNER
    )


def compose_notebook(
    snapshot: Snapshot,
    frozen: Bundle,
    values: Mapping[str, Any],
    options: NotebookOptions,
    *,
    node: Node,
    settings: Settings,
    notebook: str | None = None,
    labels: Mapping[str, str] | None = None,
    resume: Resume | None = None,
) -> tuple[JobSpec, Bundle]:
    """Build the spec and the bundle of one run of a notebook. Changes nothing.

    Parameters
    ----------
    frozen
        The files of `snapshot`.
    values
        The parameters: JSON, checked before; ``secret:NAME`` is read from that variable.
    notebook
        Where it came from, for people.

    Raises
    ------
    UsageError
        A value that JSON cannot tell.
    PoolError
        The node has no Python that we know of.
    """
    if node.python is None:
        raise PoolError(f"node {node.name} has no Python", hint="%pool show tells what is there")
    plain, secrets = split_secrets(values)
    own = snapshot.environment
    task = {
        "format": 1,
        "entry": INPUT,
        "argv": [INPUT],
        "context": None,
        "variables": None,
        "fetch": [],
        "path": [],
        "notebook": _asked(snapshot, options, resume),
    }
    made = [
        *frozen.files,
        *runner_files(),
        *node_files(tracked=False),
        # The folder it runs in is there even where nothing travels.
        bundle_file(f"{WORK}/.aiinfra", b""),
        _json(PARAMETERS, {"values": plain, "secrets": secrets}),
        _json("task.json", task),
    ]
    if resume is not None:
        made.append(bundle_file(PREVIOUS, resume.previous))
    bundle = Bundle(files=tuple(made))
    limit = options.run_seconds
    checkpoints = resume.checkpoints if resume is not None else None
    env = {**options.env, **({"AIINFRA_CHECKPOINT_DIR": checkpoints} if checkpoints else {})}
    grace = settings.grace_seconds if options.grace_seconds is None else options.grace_seconds
    slack = options.start_seconds + grace + _LIMIT_SLACK_SECONDS
    spec = JobSpec(
        kind=JobKind.NOTEBOOK,
        name=options.name or _job_name(snapshot.name),
        argv=(PYTHON if own else node.python.executable, f"{_PLACE}/aiinfra/rank.py"),
        gpus=options.gpus,
        share=options.share,
        priority=options.priority,
        env=env,
        secrets=secret_names(options, values),
        environment=own,
        files=bundle.refs(),
        grace_seconds=grace,
        start_timeout_seconds=settings.start_timeout_seconds,
        time_limit_seconds=None if limit is None else limit + slack,
        labels=dict(labels or {}),
        tags=dict(options.tags),
        budget=options.budget,
        idle=options.idle,
        origin=Origin(code="", line="", notebook=notebook or snapshot.name, git=dict(snapshot.git)),
    )
    return spec, bundle


def _asked(
    snapshot: Snapshot, options: NotebookOptions, resume: Resume | None
) -> dict[str, object]:
    return {
        "input": INPUT,
        "name": snapshot.name,
        "parameters": PARAMETERS,
        "kernel": options.kernel,
        "own_python": snapshot.environment is not None,
        "cwd": options.cwd or WORK,
        "cell_seconds": options.cell_seconds,
        "run_seconds": options.run_seconds,
        "start_seconds": options.start_seconds,
        "save_seconds": options.save_seconds,
        "limits": {"head": options.head_characters, "tail": options.tail_characters},
        "resume": None if resume is None else {"previous": PREVIOUS, "again": sorted(resume.again)},
    }


def _json(path: str, value: object) -> BundleFile:
    try:
        text = json.dumps(value, sort_keys=True, indent=1)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"a parameter has a value that cannot be written down: {error}",
            hint="numbers, texts, true and false, lists and objects can",
        ) from error
    return bundle_file(path, text + "\n")


def _job_name(name: str) -> str:
    kept = [c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in Path(name).stem]
    return "".join(kept)[:40].strip("-.") or "notebook"


def preflight_notebook(
    snapshot: Snapshot, values: Mapping[str, Any], nodes: Sequence[Node]
) -> tuple[Finding, ...]:
    """Return what the Python of `nodes` lacks to run the notebook; pure.

    Where an environment is built, or nothing is known, there is no finding.
    """
    if snapshot.environment is not None:
        return ()
    needed = ["nbclient", "ipykernel", *(["papermill"] if values else [])]
    findings = []
    for node in nodes:
        if node.python is None or not node.python.packages:
            continue
        missing = [name for name in needed if name not in node.python.packages]
        if "ipykernel" in missing and snapshot.kernel not in (None, "python3"):
            missing.remove("ipykernel")  # another kernel may bring its own
        if missing:
            findings.append(
                Finding(
                    check="notebook",
                    severity=Severity.ERROR,
                    message=f"{node.python.executable} on {node.name} has no {missing[0]}, "
                    "which runs notebooks",
                    hint=f"{node.python.executable} -m pip install papermill ipykernel, or "
                    "name an environment that has them: --env requirements.txt",
                )
            )
    return tuple(findings)
