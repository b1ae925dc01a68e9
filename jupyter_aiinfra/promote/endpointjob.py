"""From a package to the job of a replica, and of the router: pure, nothing is started.

A replica goes the way of every other job: a spec and a bundle, a supervisor, one rank, which
becomes what serves the model. That travels along, so the node needs no package of ours.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jupyter_aiinfra.bundle import Bundle, BundleFile, bundle_file
from jupyter_aiinfra.endpoint import EndpointOptions, EndpointVersion, Package, ReplicaOptions
from jupyter_aiinfra.environments import PYTHON
from jupyter_aiinfra.errors import PoolError, UsageError
from jupyter_aiinfra.model import Finding, IdleRule, JobKind, JobSpec, Node, Origin, Severity
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools.nodeside import node_files
from jupyter_aiinfra.settings import Settings

__all__ = [
    "MANIFEST",
    "SOCKET",
    "compose_replica",
    "compose_router",
    "preflight_replica",
    "read_package",
    "serving_files",
]

MANIFEST: Final = "endpoint.json"
SOCKET: Final = "serve.sock"
"""What a replica listens on, in its run directory."""

_FACTS: Final = "package.json"
_MODEL: Final = "model"
_CODE: Final = "code"
_PLACE: Final = "${AIINFRA_RUN_DIR}"
_RESTARTS: Final = 3
_ROUTER_RESTARTS: Final = 10
_MOST_FILES: Final = 20_000
_LARGE_BYTES: Final = 8 << 30
_SKIPPED: Final = frozenset({".git", "__pycache__", ".ipynb_checkpoints"})
_LOADERS: Final = ("function", "torch", "onnx", "mlflow")
# Installed where it is served: by the loader, what has to be there beside what all need.
_NEEDED: Final = ("httptools", "msgspec", "numpy", "uvicorn", "uvloop")
_NEEDED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "function": (),
    "torch": ("torch",),
    "onnx": ("onnxruntime",),
    "mlflow": ("mlflow",),
}


def read_package(folder: Path, *, name: str | None = None) -> tuple[Package, Bundle]:
    """Read a folder with ``endpoint.json``. Nothing is written; :func:`.bundle.keep` stores it.

    Raises
    ------
    UsageError
        It is no such folder, something that it names is not in it, or it is too large.
    """
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder", hint="a folder with endpoint.json and what it names"
        )
    manifest = _object(folder / MANIFEST, needed=True)
    _check(folder, manifest)
    found = dict(_below(folder))
    if len(found) > _MOST_FILES:
        raise UsageError(
            f"{len(found)} files are in {folder}, and {_MOST_FILES} may travel",
            hint="leave out what the model does not need",
        )
    files = [bundle_file(f"{_MODEL}/{path}", place) for path, place in sorted(found.items())]
    size = sum(file.size_bytes for file in files)
    if size > _LARGE_BYTES:
        raise UsageError(
            f"{folder} comes to {size >> 20} MiB, and {_LARGE_BYTES >> 20} may travel",
            hint="leave out what the model does not need",
        )
    bundle = Bundle(files=tuple(files))
    package = Package(
        name=name or str(manifest["name"]),
        digest=_digest(files),
        size_bytes=size,
        files=bundle.refs(),
        manifest=manifest,
        facts=_object(folder / _FACTS, needed=False),
    )
    return package, bundle


def _object(path: Path, *, needed: bool) -> dict[str, Any]:
    if not path.is_file():
        if not needed:
            return {}
        raise UsageError(
            f"there is no {path.name} in {path.parent}",
            hint='it says at least {"name": …, "entry": "module:function"}',
        )
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} is not a JSON object")
    return value


def _check(folder: Path, manifest: Mapping[str, Any]) -> None:
    where = f"{folder / MANIFEST}"
    for key in ("name", "entry"):
        if not isinstance(manifest.get(key), str) or not manifest[key]:
            raise UsageError(f"{where}: {key} is missing", hint=f"{key} is a text")
    loader = manifest.get("loader", "function")
    if loader not in _LOADERS:
        raise UsageError(
            f"{where}: there is no loader {loader!r}", hint=f"one of {', '.join(_LOADERS)}"
        )
    module, colon, _ = str(manifest["entry"]).partition(":")
    if loader != "mlflow" and colon:
        path = folder / Path(*module.split("."))
        if not path.with_suffix(".py").is_file() and not (path / "__init__.py").is_file():
            raise UsageError(f"{where}: there is no module {module} in the folder")
    weights = manifest.get("weights")
    if weights and not (folder / str(weights)).is_file():
        raise UsageError(f"{where}: weights names {weights}, which is not in the folder")


def _below(folder: Path) -> list[tuple[str, Path]]:
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if _SKIPPED & set(name.parts):
            continue
        if path.is_symlink():
            raise UsageError(
                f"{path} is a link, and would lead elsewhere on another machine",
                hint="put the file itself into the folder",
            )
        if path.is_file():
            found.append((name.as_posix(), path))
    return found


def _digest(files: Sequence[BundleFile]) -> str:
    sha = hashlib.sha256()
    for file in files:
        sha.update(f"{file.path} {file.digest}\n".encode())
    return sha.hexdigest()


# --- jobs ----------------------------------------------------------------------------------------


def compose_replica(
    name: str,
    version: EndpointVersion,
    kept: Bundle,
    options: EndpointOptions,
    *,
    node: Node,
    settings: Settings,
    labels: Mapping[str, str] | None = None,
) -> tuple[JobSpec, Bundle]:
    """Build the spec and the bundle of one replica of a version. Changes nothing.

    Parameters
    ----------
    name
        The endpoint's.
    kept
        The files of its package, and of its environment.

    Raises
    ------
    PoolError
        The node has no Python that we know of.
    """
    if node.python is None:
        raise PoolError(f"node {node.name} has no Python", hint="%pool show tells what is there")
    own = version.options
    manifest = {**version.package.manifest, "name": name, "version": str(version.number)}
    model = [file for file in kept.files if file.path != f"{_MODEL}/{MANIFEST}"]
    argv = ["-m", "jupyter_aiinfra.serving", _MODEL, "--unix", SOCKET, *_flags(own, options)]
    bundle = Bundle(
        files=(
            *model,
            *serving_files(),
            *node_files(),
            _json(f"{_MODEL}/{MANIFEST}", manifest),
            *_becoming(argv, path=[_CODE], env={}),
        )
    )
    python = PYTHON if own.environment is not None else node.python.executable
    spec = _spec(
        f"{name}-{version.number}",
        python,
        bundle,
        settings=settings,
        gpus=own.gpus,
        share=own.share,
        priority=own.priority,
        env=dict(own.env),
        secrets=own.secrets,
        environment=own.environment,
        max_restarts=_RESTARTS,
        grace_seconds=own.drain_seconds,
        labels=dict(labels or {}),
        tags=dict(own.tags),
        origin=Origin(line=f"endpoint {name}, version {version.number}"),
    )
    return spec, bundle


def compose_router(config: Path, *, settings: Settings) -> tuple[JobSpec, Bundle]:
    """Build the spec and the bundle of the router, which runs beside us: with our own Python."""
    package = _package().parent
    argv = ["-m", "jupyter_aiinfra.routing", str(config)]
    bundle = Bundle(files=(*node_files(), *_becoming(argv, path=[str(package)], env={})))
    spec = _spec(
        "router",
        sys.executable,
        bundle,
        settings=settings,
        max_restarts=_ROUTER_RESTARTS,
        grace_seconds=settings.grace_seconds,
        labels={"router": "1"},
        origin=Origin(line="the router of the endpoints"),
    )
    return spec, bundle


def _spec(name: str, python: str, bundle: Bundle, *, settings: Settings, **values: Any) -> JobSpec:
    return JobSpec(
        kind=JobKind.ENDPOINT,
        name=name,
        argv=(python, f"{_PLACE}/aiinfra/rank.py"),
        files=bundle.refs(),
        start_timeout_seconds=settings.start_timeout_seconds,
        # Between requests it does nothing, and that is no reason to stop it.
        idle=IdleRule(watch=False),
        **values,
    )


def _flags(own: ReplicaOptions, options: EndpointOptions) -> list[str]:
    flags = [
        *("--max-batch", str(own.max_batch), "--max-queue", str(own.max_queue)),
        *("--timeout", f"{options.timeout_seconds:g}", "--drain", f"{own.drain_seconds:g}"),
        *("--max-body", str(max(1, -(-options.max_body_bytes >> 20)))),
    ]
    return [*flags, "--workers", str(own.workers)] if own.workers is not None else flags


def _becoming(
    argv: Sequence[str], *, path: Sequence[str], env: Mapping[str, str]
) -> tuple[BundleFile, ...]:
    task = {
        "format": 1,
        "entry": "aiinfra/become.py",
        "argv": ["aiinfra/become.py"],
        "context": None,
        "variables": None,
        "fetch": [],
        "path": [],
    }
    source = Path(supervise.__file__).parent / "become.py"
    return (
        bundle_file("aiinfra/become.py", source.read_bytes()),
        _json("become.json", {"argv": list(argv), "path": list(path), "env": dict(env)}),
        _json("task.json", task),
    )


def _package() -> Path:
    return Path(supervise.__file__).parent.parent


@functools.lru_cache(maxsize=1)
def serving_files() -> tuple[BundleFile, ...]:
    """Return what serves a model as bundle files: the same for every replica."""
    folder = _package() / "serving"
    place = f"{_CODE}/jupyter_aiinfra"
    # The rest of the package, where it is installed, is found beside it.
    head = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    return (
        bundle_file(f"{place}/__init__.py", head),
        *(
            bundle_file(f"{place}/serving/{path.name}", path.read_bytes())
            for path in sorted(folder.glob("*.py"))
        ),
    )


def _json(path: str, value: object) -> BundleFile:
    return bundle_file(path, json.dumps(value, sort_keys=True, indent=1) + "\n")


def preflight_replica(version: EndpointVersion, nodes: Sequence[Node]) -> tuple[Finding, ...]:
    """Return what the Python of `nodes` lacks to serve a version; pure.

    Where an environment is built, or nothing is known, there is no finding.
    """
    if version.options.environment is not None:
        return ()
    loader = str(version.package.manifest.get("loader", "function"))
    needed = (*_NEEDED, *_NEEDED_BY.get(loader, ()))
    findings = []
    for node in nodes:
        if node.python is None or not node.python.packages:
            continue
        # onnxruntime-gpu is the same under another name.
        there = {name.removesuffix("-gpu") for name in node.python.packages}
        missing = [name for name in needed if name not in there]
        if missing:
            names = " ".join(missing)
            findings.append(
                Finding(
                    check="endpoint",
                    severity=Severity.ERROR,
                    message=f"{node.python.executable} on {node.name} has no {', '.join(missing)}, "
                    "which the endpoint needs",
                    hint=f"{node.python.executable} -m pip install {names}, or name an "
                    "environment that has them: --env requirements.txt",
                )
            )
    return tuple(findings)
