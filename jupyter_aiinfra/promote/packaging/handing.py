"""Packages handed over to other servers: as a graph of ONNX, or as a model repository of Triton.

What is written has answered the recorded calls as the package has to.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jupyter_aiinfra.errors import MissingExtra, UsageError
from jupyter_aiinfra.promote.packaging.exporting import GRAPH
from jupyter_aiinfra.promote.packaging.folders import ABOUT, Package, fresh, write_package
from jupyter_aiinfra.promote.packaging.records import CALLS
from jupyter_aiinfra.promote.packaging.replaying import Replay, replay
from jupyter_aiinfra.promote.packaging.triton import config_text, readme_text
from jupyter_aiinfra.serving.manifest import MANIFEST, CannotServe, Manifest, read_manifest
from jupyter_aiinfra.shell import LocalShell

__all__ = ["KINDS", "Handed", "hand_over"]

KINDS: Final = ("triton", "onnx")

_SECONDS = 600.0
_TOLERANCE = (1e-4, 1e-5)


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What was written.

    Parameters
    ----------
    folder
        The repository of Triton; or a package with a graph.
    """

    folder: Path
    files: tuple[Path, ...]
    replay: Replay


def hand_over(
    folder: Path, to: Path, *, kind: str, name: str | None = None, max_batch: int = 64
) -> Handed:
    """Write the model in `folder` for another server.

    Parameters
    ----------
    folder
        With ``endpoint.json``: a module of torch, or a graph.
    to
        For ``triton`` the model repository, which may have other models; for ``onnx`` a folder
        that is not there.
    kind
        One of :data:`KINDS`.
    name
        Of the model; by default its own.

    Raises
    ------
    UsageError
        It is no module and no graph, cannot become one, or answers otherwise as one; or something
        is where it is to be written.
    """
    try:
        manifest = read_manifest(folder)
    except CannotServe as error:
        raise UsageError(str(error), hint="an endpoint or a folder with endpoint.json") from None
    if manifest.loader not in ("torch", "onnx"):
        raise UsageError(
            f"{manifest.name} is served by the loader {manifest.loader}, and only modules of torch "
            "and graphs of ONNX can be handed over",
            hint="a function stays Python, which other servers do not run as it is",
        )
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingExtra("onnxruntime", "onnx")
    name = name or manifest.name
    target = to / name if kind == "triton" else to
    if target.exists():
        raise UsageError(f"{target} is there already", hint="name another folder, or remove it")
    with fresh(target.absolute().parent) as made:
        graph = _graph_package(folder, manifest, made / "graph", name=name)
        found = replay(graph.folder)
        if not found.ok:
            raise UsageError(f"as a graph it is another model: {found.difference}")
        whole = graph.folder if kind == "onnx" else _repository(graph.folder, made, max_batch)
        whole.rename(target)
    files = tuple(sorted(path for path in target.rglob("*") if path.is_file()))
    return Handed(folder=to, files=files, replay=found)


def _graph_package(folder: Path, manifest: Manifest, to: Path, *, name: str) -> Package:
    """Return a package of the same model as a graph."""
    with fresh(to.parent) as content:
        if manifest.loader == "onnx":
            entry = manifest.entry
            for path in folder.glob(f"{entry}*"):
                shutil.copyfile(path, content / path.name)
        else:
            entry = GRAPH
            _converted(folder, content)
        told = json.loads((folder / MANIFEST).read_bytes())
        endpoint = {key: told[key] for key in told if key not in ("weights", "precision")}
        records = (folder / CALLS).read_bytes() if (folder / CALLS).is_file() else b""
        about = {"format": 1, "tolerance": list(_TOLERANCE), **_object(folder / ABOUT)}
        return write_package(
            content,
            {**endpoint, "name": name, "loader": "onnx", "entry": entry},
            {**about, "name": name, "form": "onnx", "requirements": ["onnxruntime"]},
            records=records,
            to=to,
        )


def _object(path: Path) -> Mapping[str, Any]:
    told: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return {key: value for key, value in told.items() if key != "measured"}


def _converted(folder: Path, target: Path) -> None:
    argv = [
        *(sys.executable, "-m", "jupyter_aiinfra.promote.packaging.converting"),
        *(str(folder.absolute()), str(target.absolute())),
    ]
    # A kernel's thread has a loop that runs already.
    with ThreadPoolExecutor(1, thread_name_prefix="aiinfra-export") as thread:
        done = thread.submit(asyncio.run, LocalShell().run(argv, timeout=_SECONDS)).result()
    if not done.ok:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise UsageError(f"no graph can be made of {folder.name}: {said[-1]}")


def _repository(package: Path, made: Path, max_batch: int) -> Path:
    """Return a folder as Triton wants a model to be."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    manifest = read_manifest(package)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        package / manifest.entry, options, providers=["CPUExecutionProvider"]
    )
    inputs = [each.name for each in session.get_inputs()]
    outputs = [each.name for each in session.get_outputs()]
    if len(outputs) != len(manifest.outputs):
        raise UsageError(
            f"endpoint.json of {manifest.name} has {len(manifest.outputs)} outputs, and the graph "
            f"{len(outputs)}: Triton wants to be told each"
        )
    whole = made / "repository"
    (whole / "1").mkdir(parents=True)
    for path in package.glob(f"{manifest.entry}*"):
        # The backend looks for this name; weights beside it keep theirs, by which the graph knows.
        name = GRAPH if path.name == manifest.entry else path.name
        shutil.copyfile(path, whole / "1" / name)
    config = config_text(manifest, inputs=inputs, outputs=outputs, max_batch=max_batch)
    (whole / "config.pbtxt").write_text(config, encoding="utf-8")
    (whole / "README.md").write_text(readme_text(manifest, inputs=inputs), encoding="utf-8")
    return whole
