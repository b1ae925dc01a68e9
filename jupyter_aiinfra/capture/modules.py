"""Modules: which ones are the user's own, and the files that have to travel for them."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from pathlib import Path
from urllib.parse import unquote

from jupyter_aiinfra.capture.ignore import OURS, IgnoreRules, project_root

__all__ = ["LocalModule", "LocalModules", "imported"]

_SIZE_LIMIT_BYTES = 2 << 30
_FILES_LIMIT = 20_000
# Ranks have of it what they need (`step`), wherever it is installed and in whichever way.
_OURS = __name__.partition(".")[0]
_LEFT_ALONE = frozenset(("__pycache__", "node_modules"))
_INSTALLED = frozenset(("site-packages", "dist-packages"))


@dataclass(frozen=True, kw_only=True)
class LocalModule:
    """A top-level module or package of the user's own.

    `files` maps where each file goes, relative to a folder of ``sys.path``, to where it is.
    `left_out` are links that lead out of the project, which are not followed. `problem` says why
    the module cannot travel.
    """

    name: str
    place: Path
    files: dict[str, Path]
    size_bytes: int
    left_out: tuple[str, ...] = ()
    problem: str = ""


class LocalModules:
    """The local modules that code needs, with those that they import in turn.

    Parameters
    ----------
    search
        Folders searched before ``sys.path``, as Python does with the folder of a script.
    keep
        Top-level modules that are not to travel.
    """

    def __init__(self, *, search: Sequence[Path] = (), keep: Iterable[str] = ()) -> None:
        self._search = [str(folder) for folder in search]
        self._keep = frozenset(keep)
        self._known: dict[str, LocalModule | None] = {}

    @property
    def found(self) -> tuple[LocalModule, ...]:
        """All local modules met so far, by name."""
        return tuple(module for _, module in sorted(self._known.items()) if module)

    def add(self, module: str) -> LocalModule | None:
        """Take in the top-level package of `module` and what it imports.

        Returns ``None`` when it belongs to Python or is installed, so that nothing has to travel.
        """
        top = module.partition(".")[0]
        if top not in self._known:
            self._known[top] = None
            local = None if top in self._keep or top == _OURS else self._find(top)
            self._known[top] = local
            if local is not None:
                for path in local.files.values():
                    if path.suffix == ".py":
                        self.add_all(_imports_of(path))
        return self._known[top]

    def add_all(self, modules: Iterable[str]) -> None:
        """Take in each of `modules`."""
        for module in modules:
            self.add(module)

    def _find(self, top: str) -> LocalModule | None:
        spec = self._spec(top)
        if spec is None:
            return None
        if spec.submodule_search_locations is not None:
            folders = [Path(folder) for folder in spec.submodule_search_locations]
            own = [folder for folder in folders if _is_local(folder) and folder.is_dir()]
            return _package(top, own) if own else None
        if not spec.has_location or spec.origin is None or not _is_local(Path(spec.origin)):
            return None
        path = Path(spec.origin)
        if path.name.endswith(tuple(EXTENSION_SUFFIXES)):
            return _refused(top, path, f"{path.name} is compiled for this machine")
        return LocalModule(
            name=top, place=path, files={path.name: path}, size_bytes=path.stat().st_size
        )

    def _spec(self, top: str) -> ModuleSpec | None:
        if top in sys.builtin_module_names:
            return None
        if self._search:
            spec = PathFinder.find_spec(top, self._search)
            if spec is not None:
                return spec
        loaded = getattr(sys.modules.get(top), "__spec__", None)
        if loaded is not None:
            return loaded if isinstance(loaded, ModuleSpec) else None
        if top == "__main__" or top in sys.stdlib_module_names:
            return None
        try:
            return importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the modules that code imports anywhere, but for those relative to its own package."""
    names: set[str] = set()
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module)
            elif isinstance(node, ast.Call) and node.args:
                label = getattr(node.func, "attr", getattr(node.func, "id", ""))
                first = node.args[0]
                if label in ("import_module", "__import__") and isinstance(first, ast.Constant):
                    names.add(str(first.value))
    return {name for name in names if not name.startswith(".")}


def _imports_of(path: Path) -> frozenset[str]:
    status = path.stat()
    return _parsed_imports(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4096)
def _parsed_imports(path: str, _changed: int, _size: int) -> frozenset[str]:
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (SyntaxError, ValueError):
        return frozenset()  # Python will say so where it is imported
    return frozenset(name.split(".")[0] for name in imported(tree.body))


def _is_local(path: Path) -> bool:
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - keeps links as they are
    if _INSTALLED.intersection(absolute.parts):
        return False
    real = absolute.resolve()
    return not any(
        place.is_relative_to(folder) for folder in _installed() for place in (absolute, real)
    )


@functools.lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    """Return the folders of the standard library and of installed packages."""
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(site.getsitepackages())
    folders.add(site.getusersitepackages())
    given = {Path(folder) for folder in folders}
    return tuple(given | {folder.resolve() for folder in given})


def _package(name: str, folders: Sequence[Path]) -> LocalModule:
    taken = _Files(name)
    for folder in folders:
        problem = taken.add(folder)
        if problem:
            return _refused(name, folder, problem)
    taken.files.update(_metadata_of(folders[0].resolve()))
    return LocalModule(
        name=name,
        place=folders[0],
        files=taken.files,
        size_bytes=taken.size_bytes,
        left_out=tuple(taken.left_out),
    )


class _Files:
    """The files of one package, data included, by where they go."""

    def __init__(self, name: str) -> None:
        self.files: dict[str, Path] = {}
        self.left_out: list[str] = []
        self._name = name
        self._root = Path()
        self._sizes: dict[str, int] = {}

    @property
    def size_bytes(self) -> int:
        return sum(self._sizes.values())

    def add(self, folder: Path) -> str:
        """Take in a folder of the package; return why it cannot travel, or nothing."""
        # The folder may be a link itself; what leads out is seen from where it really is.
        real = folder.resolve()
        root = project_root(real)
        self._root = root
        rules = IgnoreRules.above(real, root=root)
        return self._walk(real, self._name, rules, data=True, above=(real,))

    def _walk(
        self, folder: Path, target: str, rules: IgnoreRules, *, data: bool, above: tuple[Path, ...]
    ) -> str:
        rules = rules.within(folder)
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name in _LEFT_ALONE:
                continue
            path, inner = Path(entry.path), f"{target}/{entry.name}"
            real = path.resolve() if entry.is_symlink() else path
            if real != path and not real.is_relative_to(self._root):
                if real.exists() and not rules.ignores(path, folder=real.is_dir()):
                    self.left_out.append(f"{inner} (a link that leads out, to {real})")
                continue
            problem = ""
            if entry.is_dir():
                if rules.prunes(path) or real in above or (path / "pyvenv.cfg").exists():
                    continue
                # Of what git ignores the modules are still wanted.
                wanted = data and not rules.ignores(path, folder=True)
                problem = self._walk(path, inner, rules, data=wanted, above=(*above, real))
            elif entry.is_file() and (data or path.suffix == ".py") and not rules.ignores(path):
                problem = self._take(path, inner)
            if problem:
                return problem
        return ""

    def _take(self, path: Path, target: str) -> str:
        if path.suffix in (".pyc", ".pyo") or target in self.files:
            return ""
        if path.name.endswith(tuple(EXTENSION_SUFFIXES)):
            return f"{target} is compiled for this machine"
        self.files[target] = path
        self._sizes[target] = path.stat().st_size
        if len(self.files) > _FILES_LIMIT:
            return f"it has more than {_FILES_LIMIT} files; list those not needed in {OURS}"
        if self._sizes[target] and self.size_bytes > _SIZE_LIMIT_BYTES:
            largest = sorted(self._sizes, key=lambda name: -self._sizes[name])[:3]
            named = ", ".join(f"{name} ({self._sizes[name] >> 20} MiB)" for name in largest)
            return (
                f"its files come to more than {_SIZE_LIMIT_BYTES >> 30} GiB, the largest are "
                f"{named}; list what is not needed in {OURS}"
            )
        return ""


def _metadata_of(folder: Path) -> dict[str, Path]:
    """Return what ``importlib.metadata`` needs of the editable project that `folder` is in."""
    for project, info in _editable_projects():
        if folder.is_relative_to(project):
            names = ("METADATA", "entry_points.txt")
            found = {f"{info.name}/{name}": info / name for name in names}
            return {target: path for target, path in found.items() if path.is_file()}
    return {}


@functools.lru_cache(maxsize=1)
def _editable_projects() -> tuple[tuple[Path, Path], ...]:
    """Return the folder of each project installed editable, with that of its metadata."""
    found = []
    for path in sorted(
        Path(place) for place in {*site.getsitepackages(), sysconfig.get_path("purelib")}
    ):
        for record in path.glob("*.dist-info/direct_url.json"):
            try:
                told = json.loads(record.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # no project that we could tell anything of
            url = str(told.get("url", ""))
            if told.get("dir_info", {}).get("editable") and url.startswith("file://"):
                found.append((Path(unquote(url[len("file://") :])).resolve(), record.parent))
    # The innermost project that a folder is in is its own.
    return tuple(sorted(found, key=lambda pair: -len(pair[0].parts)))


def _refused(name: str, place: Path, problem: str) -> LocalModule:
    return LocalModule(name=name, place=place, files={}, size_bytes=0, problem=problem)
