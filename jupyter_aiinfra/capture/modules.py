"""Modules: which ones are the user's own, and the files that have to travel for them."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from pathlib import Path

__all__ = ["LocalModule", "LocalModules", "imported"]

_DATA_LIMIT_BYTES = 1 << 20
_FILES_LIMIT = 2000
# Ranks have of it what they need (`step`), wherever it is installed and in whichever way.
_OURS = __name__.partition(".")[0]
_LEFT_ALONE = frozenset(("__pycache__", "node_modules"))
_INSTALLED = frozenset(("site-packages", "dist-packages"))


@dataclass(frozen=True, kw_only=True)
class LocalModule:
    """A top-level module or package of the user's own.

    `files` maps where each file goes, relative to a folder of ``sys.path``, to where it is.
    `left_out` are data files too big to go along unasked. `problem` says why the module cannot
    travel.
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
    files: dict[str, Path] = {}
    left_out: list[str] = []
    size = 0
    for folder in folders:
        for where, inner, names in os.walk(folder):
            inner[:] = sorted(
                part for part in inner if part not in _LEFT_ALONE and not part.startswith(".")
            )
            for part in sorted(names):
                path = Path(where, part)
                if part.startswith(".") or path.suffix in (".pyc", ".pyo") or not path.is_file():
                    continue
                target = f"{name}/{path.relative_to(folder).as_posix()}"
                bytes_ = path.stat().st_size
                if part.endswith(tuple(EXTENSION_SUFFIXES)):
                    return _refused(name, folder, f"{target} is compiled for this machine")
                if path.suffix != ".py" and bytes_ > _DATA_LIMIT_BYTES:
                    left_out.append(target)
                    continue
                files.setdefault(target, path)
                size += bytes_
                if len(files) > _FILES_LIMIT:
                    return _refused(name, folder, f"it has more than {_FILES_LIMIT} files")
    return LocalModule(
        name=name, place=folders[0], files=files, size_bytes=size, left_out=tuple(left_out)
    )


def _refused(name: str, place: Path, problem: str) -> LocalModule:
    return LocalModule(name=name, place=place, files={}, size_bytes=0, problem=problem)
