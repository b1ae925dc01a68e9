"""What a version of a schedule keeps: the notebook and all it needs, as they were then.

Everything lies in the blob store by its digest, so a version that changes one cell costs one file.
"""

from __future__ import annotations

import ast
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_aiinfra.bundle import Bundle, BundleFile, bundle_file
from jupyter_aiinfra.capture.ignore import IgnoreRules, project_root
from jupyter_aiinfra.capture.modules import LocalModules, imported
from jupyter_aiinfra.environments import read_environment
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import EnvironmentSpec, FileRef
from jupyter_aiinfra.node.track import environment_lock
from jupyter_aiinfra.promote.hygiene import leaks_text, look
from jupyter_aiinfra.tracking import git_state

__all__ = ["INPUT", "LOCK", "WORK", "Snapshot", "check_notebook", "differences", "freeze", "trees"]

INPUT = "notebook/input.ipynb"
"""Where the notebook lies in the run directory."""

WORK = "work"
"""The folder of the run directory that a notebook runs in, with the files it needs."""

LOCK = "notebook/environment.lock"
"""What was installed where the notebook was frozen: ``name==version`` lines."""

_MOST_FILES = 20_000
_LARGE_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A notebook with what it needs, frozen.

    ``digest`` is that of everything in it. ``files`` lie in the blob store, their paths are those
    of a run directory. ``left_out`` are files that ignore rules kept out, of what was asked for;
    ``warnings`` say what a person should know, such as that a token stands in a cell.
    """

    name: str
    digest: str
    size_bytes: int
    files: tuple[FileRef, ...]
    kernel: str | None = None
    environment: EnvironmentSpec | None = None
    git: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    made_at: float = field(default_factory=time.time)

    def file(self, path: str) -> FileRef | None:
        """Return the file at `path` of the run directory, or ``None``."""
        return next((each for each in self.files if each.path == path), None)


def check_notebook(text: bytes | str, *, name: str, kernel: str | None = None) -> dict[str, Any]:
    """Return the notebook that `text` is, as JSON.

    Raises
    ------
    UsageError
        It is none, is too new or too old, or names no kernel while `kernel` does not either.
    """
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"{name} is not a notebook: it is no JSON ({error})", hint="open it in an editor"
        ) from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
        raise UsageError(f"{name} is not a notebook: it does not say its nbformat")
    if notebook["nbformat"] not in (3, 4):
        raise UsageError(
            f"{name} is of notebook format {notebook['nbformat']}, and 3 and 4 are known",
            hint="save it with a current JupyterLab",
        )
    if not isinstance(notebook.get("cells", notebook.get("worksheets")), list):
        raise UsageError(f"{name} is not a notebook: it has no list of cells")
    metadata = notebook.get("metadata")
    named = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    if kernel is None and not (isinstance(named, dict) and named.get("name")):
        raise UsageError(
            f"{name} names no kernel: it was never saved with one",
            hint="choose one with --kernel python3, or open it in JupyterLab, choose a kernel "
            "and save it",
        )
    return notebook


def freeze(
    notebook: Path,
    *,
    files: Sequence[str] = (),
    kernel: str | None = None,
    environment: str | None = None,
    modules: bool = True,
    data: bytes | None = None,
) -> tuple[Snapshot, Bundle]:
    """Read a notebook and what it needs. Nothing is written; :func:`.bundle.keep` stores it.

    Parameters
    ----------
    files
        Files and folders that it reads, relative to the folder it is in; of folders what ignore
        rules leave.
    environment
        What names the Python environment, as ``--env`` takes it.
    modules
        Take along the local modules that a Python notebook imports.
    data
        What the notebook is, where that is not what lies there.

    Raises
    ------
    UsageError
        No such file, no notebook, no kernel; a file that lies elsewhere; too much.
    """
    notebook = notebook.expanduser().absolute()
    try:
        data = notebook.read_bytes() if data is None else data
    except OSError as error:
        raise UsageError(f"cannot read notebook {notebook}: {error.strerror}") from None
    plain = check_notebook(data, name=notebook.name, kernel=kernel)
    folder = notebook.parent
    found: dict[str, Path] = {}
    left_out: list[str] = []
    for asked in files:
        found.update(_asked_for(folder, asked, left_out))
    if modules and _language(plain) == "python":
        found = {**_modules(plain, folder), **found}
    if len(found) > _MOST_FILES:
        raise UsageError(
            f"{len(found)} files would travel with {notebook.name}, and {_MOST_FILES} may",
            hint="name fewer, or keep some out by .aiinfraignore",
        )
    own, own_files = read_environment(environment, folder)
    made = [bundle_file(INPUT, data), bundle_file(LOCK, environment_lock())]
    made += [bundle_file(f"{WORK}/{path}", place) for path, place in sorted(found.items())]
    made += [bundle_file(path, content) for path, content in sorted(own_files.items())]
    size = sum(file.size_bytes for file in made)
    if size > _LARGE_BYTES:
        raise UsageError(
            f"{notebook.name} and its files come to {size >> 20} MiB, and 2048 may travel",
            hint="leave the large ones where the nodes can read them",
        )
    bundle = Bundle(files=tuple(made))
    snapshot = Snapshot(
        name=notebook.name,
        digest=_digest(made),
        size_bytes=size,
        files=bundle.refs(),
        kernel=kernel or ((plain.get("metadata") or {}).get("kernelspec") or {}).get("name"),
        environment=own,
        git=git_state(folder),
        left_out=tuple(left_out),
        warnings=_warnings(plain),
    )
    return snapshot, bundle


def _warnings(notebook: Mapping[str, Any]) -> tuple[str, ...]:
    leaks = look(notebook)
    if not leaks:
        return ()
    hint = "name secrets as parameters: token = 'secret:NAME'"
    return (f"the notebook holds what looks like secrets: {leaks_text(leaks)}; {hint}",)


def _digest(files: Sequence[BundleFile]) -> str:
    sha = hashlib.sha256()
    for file in sorted(files, key=lambda each: each.path or ""):
        sha.update(f"{file.path} {file.digest}\n".encode())
    return sha.hexdigest()


# --- files that were asked for -------------------------------------------------------------------


def _asked_for(folder: Path, asked: str, left_out: list[str]) -> dict[str, Path]:
    path = folder / asked
    if Path(asked).is_absolute() or ".." in Path(asked).parts:
        raise UsageError(
            f"{asked} does not lie beside the notebook",
            hint="name files relative to its folder; what the nodes can read needs no naming",
        )
    if path.is_file():
        return {Path(asked).as_posix(): path}
    if path.is_dir():
        rules = IgnoreRules.above(path, root=project_root(folder))
        return dict(_below(path, folder, rules, left_out))
    matches = sorted(folder.glob(asked)) if any(mark in asked for mark in "*?[") else []
    if not matches:
        raise UsageError(f"there is no {asked} in {folder}", hint="name a file or a folder there")
    found: dict[str, Path] = {}
    for match in matches:
        found.update(_asked_for(folder, match.relative_to(folder).as_posix(), left_out))
    return found


def _below(
    folder: Path, root: Path, rules: IgnoreRules, left_out: list[str]
) -> Iterator[tuple[str, Path]]:
    rules = rules.within(folder)
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        inside = path.is_dir() and not path.is_symlink()
        if path.name in (".git", "__pycache__", ".ipynb_checkpoints", "node_modules"):
            continue
        if rules.ignores(path, folder=inside) and not (inside and not rules.prunes(path)):
            left_out.append(name)
        elif inside:
            yield from _below(path, root, rules, left_out)
        elif path.is_file():
            yield name, path


# --- local modules -------------------------------------------------------------------------------


def _language(notebook: Mapping[str, Any]) -> str:
    metadata = notebook.get("metadata") or {}
    told = (metadata.get("kernelspec") or {}).get("language")
    told = told or (metadata.get("language_info") or {}).get("name") or "python"
    return str(told).lower()


def _modules(notebook: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    modules = LocalModules(search=[folder])
    for tree in trees(notebook):
        modules.add_all(sorted(imported(tree.body)))
    found: dict[str, Path] = {}
    for module in modules.found:
        if module.problem:
            raise UsageError(
                f"the notebook imports {module.name}, which cannot travel: {module.problem}",
                hint="install it where the pool runs",
            )
        found.update(module.files)
    return found


def trees(notebook: Mapping[str, Any]) -> Iterator[ast.Module]:
    """Yield the code cells of a Python notebook as trees; of one that is none, an empty one."""
    from IPython.core.inputtransformer2 import TransformerManager  # noqa: PLC0415 - slow to import

    make: Callable[[], Any] = TransformerManager
    for cell in notebook.get("cells", []):
        if cell.get("cell_type") != "code":
            continue
        source = "".join(cell.get("source") or "")
        try:
            yield ast.parse(make().transform_cell(source))
        except (SyntaxError, ValueError):
            yield ast.Module(body=[], type_ignores=[])  # it is for the run to fail at it


# --- differences ---------------------------------------------------------------------------------


def differences(old: Snapshot, new: Snapshot) -> list[str]:
    """Return what differs between two snapshots beside the cells, a line each."""
    lines = []
    before = {file.path: file.digest for file in old.files if file.path}
    after = {file.path: file.digest for file in new.files if file.path}
    for path in sorted(before.keys() | after.keys()):
        name = path.removeprefix(f"{WORK}/")
        if path not in before:
            lines.append(f"added {name}")
        elif path not in after:
            lines.append(f"removed {name}")
        elif before[path] != after[path]:
            lines.append(f"changed {name}")
    if old.kernel != new.kernel:
        lines.append(f"kernel {old.kernel or 'unknown'} -> {new.kernel or 'unknown'}")
    if old.git.get("commit") != new.git.get("commit"):
        names = [each.git.get("commit", "unknown")[:12] for each in (old, new)]
        lines.append(f"commit {names[0]} -> {names[1]}")
    return lines
