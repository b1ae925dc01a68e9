"""Imports: the line that brings a module, or what a module defines, to the ranks."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import BuiltinFunctionType, ModuleType
from typing import Any

from jupyter_aiinfra.capture.modules import LocalModules
from jupyter_aiinfra.capture.pieces import Piece
from jupyter_aiinfra.capture.sources import SourceIndex
from jupyter_aiinfra.model import CaptureKind, ManifestItem

__all__ = ["Imports", "submodule_lines"]


class Imports:
    """Finds import lines: the user's own where there is one, else one that gives the value."""

    def __init__(self, *, index: SourceIndex, modules: LocalModules) -> None:
        self._index = index
        self._modules = modules

    def module(self, name: str, value: ModuleType) -> Piece | None:
        """Return the piece for a module, or ``None`` if no import gives it."""
        known = self.binding(name, value)
        if known is not None:
            return known
        full = value.__name__
        if sys.modules.get(full) is not value:
            return None
        line = f"import {full}" if full == name else f"import {full} as {name}"
        return self._piece(name, value, full, line)

    def attribute(self, name: str, value: Any) -> Piece | None:
        """Return the piece for a function, class or other thing that a module has by name."""
        known = self.binding(name, value)
        if known is not None:
            return known
        full = getattr(value, "__module__", None)
        path = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if not isinstance(full, str) or not isinstance(path, str) or full == "__main__":
            return None
        try:
            found = functools.reduce(getattr, path.split("."), sys.modules[full])
        except (AttributeError, KeyError):
            return None
        if found is not value:
            return None
        if "." in path:
            line = f'{name} = __import__("importlib").import_module("{full}").{path}'
        else:
            line = f"from {full} import {path}" + (f" as {name}" if path != name else "")
        return self._piece(name, value, full, line)

    def binding(self, name: str, value: Any) -> Piece | None:
        """Return the piece for what the notebook's own import line still gives."""
        newest = self._index.binding(name)
        statement = newest.statement if newest else None
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                top = alias.name.split(".")[0]
                if (alias.asname or top) == name:
                    given = sys.modules.get(alias.name if alias.asname else top)
                    if given is value:
                        line = f"import {_aliased(alias)}"
                        return self._piece(name, value, alias.name, line)
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    full = statement.module
                    owner = sys.modules.get(full)
                    given = vars(owner).get(alias.name) if owner else None
                    if given is value and value is not None:
                        line = f"from {full} import {_aliased(alias)}"
                        return self._piece(name, value, full, line)
        return None

    def _piece(self, name: str, value: Any, full: str, line: str) -> Piece:
        local = self._modules.add(full)
        item = ManifestItem(name=name, kind=CaptureKind.IMPORT, type=_label(value), how=line)
        # The files have a line of their own in the manifest, under the name of the package.
        shown = local is None or local.name != name
        module = value if isinstance(value, ModuleType) else None
        return Piece(name=name, item=item, shown=shown, imports=(line,), module=module)


def submodule_lines(module: ModuleType, chains: Iterable[tuple[str, ...]]) -> set[str]:
    """Return lines that import the submodules reached by attributes of `module`.

    ``import a`` alone does not bring ``a.b``: in the notebook another import had brought it.
    """
    lines = set()
    for chain in chains:
        here: Any = module
        brought = True
        for attribute in chain:
            inner = sys.modules.get(f"{here.__name__}.{attribute}")
            if inner is None or vars(here).get(attribute) is not inner:
                break
            brought = brought and _brings(here, attribute)
            here = inner
        if not brought:
            lines.add(f"import {here.__name__}")
    return lines


def _brings(package: ModuleType, name: str) -> bool:
    """Whether `package` visibly imports its submodule `name` by itself."""
    path = getattr(package, "__file__", None)
    if path is None:
        return False
    own, name = re.escape(package.__name__), re.escape(name)
    return bool(
        re.search(
            rf"^\s*(from\s+(\.|{own}\.){name}\b|import\s+{own}\.{name}\b|"
            rf"from\s+(\.|{own})\s+import\s+(\([^)]*|[^(\n]*)\b{name}\b)",
            _text(path),
            re.MULTILINE,
        )
    )


@functools.lru_cache(maxsize=64)
def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _aliased(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _label(value: Any) -> str:
    if isinstance(value, ModuleType):
        version = vars(value).get("__version__")
        short = ".".join(version.split(".")[:2]) if isinstance(version, str) else ""
        return f"module {value.__name__} {short}".rstrip()
    if isinstance(value, type):
        return "class"
    if callable(value) and (
        isinstance(value, BuiltinFunctionType) or hasattr(value, "__qualname__")
    ):
        return "function"
    return type(value).__name__
