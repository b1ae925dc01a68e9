"""The code of a package: a function, module or class of the notebook with all that it needs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from jupyter_aiinfra.capture import SourceIndex, capture_cell
from jupyter_aiinfra.capture.modules import LocalModules, imported
from jupyter_aiinfra.errors import CaptureError
from jupyter_aiinfra.model import Manifest
from jupyter_aiinfra.promote.packaging.calls import record
from jupyter_aiinfra.promote.packaging.values import Encoder

__all__ = ["CARRIED", "CODE", "Code", "captured", "requirements"]

CODE = "endpoint_code"
"""The module that a package is entered by."""

CARRIED = "aiinfra_carried"

_LOAD = "__aiinfra_load__"
_FUTURE = "from __future__ import annotations"
_BANNER = "# What the endpoint uses of the notebook, each after all that it needs."


@dataclass(frozen=True, kw_only=True)
class Code:
    """What makes one thing of the notebook anew.

    Parameters
    ----------
    name
        What it is called in `context`, the text that defines it.
    values
        Its variables, as trees with arrays and tensors.
    sources
        Files of local modules, by their path below a folder that is to be on ``sys.path``.
    """

    name: str
    context: str
    values: Encoder
    sources: Mapping[str, Path] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=Manifest)

    def text(self, last: str) -> str:
        """Return the entry module, which ends with `last`."""
        context = self.context.replace(f"{_FUTURE}\n", "", 1)
        head = [f"{_FUTURE}\n"] if context != self.context else []
        head += [
            f"import {CARRIED}\n",
            f"__aiinfra_values__ = {CARRIED}.opened(__file__, globals())",
        ]
        parts = [*head, f"{_LOAD} = __aiinfra_values__.load\n", context]
        return "\n".join([*parts, "__aiinfra_values__.load_all()", "", last, ""])


def captured(source: Any, namespace: Mapping[str, Any], *, index: SourceIndex, root: Path) -> Code:
    """Return the code of `source`, which `namespace` may have under a name.

    Raises
    ------
    CaptureError
        Something that it needs cannot be carried; names everything at once.
    """
    name = _name(source, namespace)
    names = dict(namespace)
    names[name] = source
    try:
        found = capture_cell(name, names, index=index, root=root)
    except CaptureError as error:
        raise _spoken(name, error) from error
    context = _unrecorded(_without_banner(found.context), names)
    # Functions may import modules of the user's own in their bodies.
    modules = LocalModules(search=[root])
    modules.add_all(sorted(imported(ast.parse(context).body)))
    sources = dict(found.sources)
    for module in modules.found:
        if module.problem:
            raise CaptureError(f"module `{module.name}` cannot be carried: {module.problem}")
        sources.update(module.files)
    values = Encoder(own={path.split("/")[0].removesuffix(".py") for path in sources})
    for each, value in found.values.items():
        values.add(each, value)
    return Code(name=name, context=context, values=values, sources=sources, manifest=found.manifest)


def _name(source: Any, namespace: Mapping[str, Any]) -> str:
    own = getattr(source, "__name__", "")
    if namespace.get(own) is source:
        return str(own)
    known = [name for name, value in namespace.items() if value is source and name[:1] != "_"]
    if known:
        return known[0]
    return str(own) if str(own).isidentifier() else "model"


def _without_banner(context: str) -> str:
    first, _, rest = context.partition("\n")
    return f"{_BANNER}\n{rest}" if first.startswith("#") else context


def _unrecorded(context: str, names: Mapping[str, Any]) -> str:
    """Return `context` without ``@record``, which is of the notebook, and what it imports."""
    tree = ast.parse(context)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    ours = [
        each for node in functions for each in node.decorator_list if _value(each, names) is record
    ]
    if not ours:
        return context
    dropped = {line for each in ours for line in range(each.lineno, (each.end_lineno or 0) + 1)}
    inside = {id(part) for each in ours for part in ast.walk(each)}
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in inside}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not node.col_offset:
            bound = {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            if not bound & used and bound & {_root(each) for each in ours}:
                dropped.add(node.lineno)
    lines = context.splitlines(keepends=True)
    return "".join(line for number, line in enumerate(lines, 1) if number not in dropped)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what a decorator is, if it is a name or an attribute of a module."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, names)
        return getattr(owner, node.attr, None) if isinstance(owner, ModuleType) else None
    return None


def _spoken(name: str, error: CaptureError) -> CaptureError:
    lines = []
    for item in error.items:
        lines.append(f"  {item.reason}")
        if item.hint:
            lines.append(f"    {item.hint}")
    return CaptureError(f"`{name}` cannot be packaged:\n" + "\n".join(lines), error.items)


def requirements(code: Code, more: Iterable[str] = ()) -> list[str]:
    """Return the distributions that `code` imports, each with the version that is here.

    Parameters
    ----------
    more
        Top-level modules that it needs beside those that it names.
    """
    wanted = {*more, *_tops(code.context)}
    for path in code.sources.values():
        if path.suffix == ".py":
            wanted |= _tops(path.read_text(encoding="utf-8", errors="replace"))
    if code.values.arrays:
        wanted.add("numpy")
    if code.values.tensors:
        wanted |= {"torch", "safetensors"}
    wanted |= {name for name in _references(code.values.trees) if name != "__main__"}
    own = {path.split("/")[0].removesuffix(".py") for path in code.sources}
    found: set[str] = set()
    for top in wanted - own - {CARRIED} - set(sys.stdlib_module_names):
        found |= {_pinned(each) for each in _distributions(top)}
    return sorted(found)


def _distributions(top: str) -> list[metadata.Distribution]:
    try:
        return [metadata.distribution(top)]
    except metadata.PackageNotFoundError:
        # It is called otherwise than its package; who that is takes a look at all of them.
        names = metadata.packages_distributions().get(top, ())
        return [metadata.distribution(name) for name in names[:1]]


def _pinned(found: metadata.Distribution) -> str:
    # A build for this machine, such as +cpu, is not what another one should have.
    return f"{found.name}=={found.version.partition('+')[0]}"


def _tops(text: str) -> set[str]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return set()  # Python will say so where it is imported
    return {name.partition(".")[0] for name in imported(tree.body)}


def _references(tree: Any) -> set[str]:
    """Return the top-level modules that trees of values name."""
    if isinstance(tree, list):
        return set().union(*(_references(each) for each in tree)) if tree else set()
    if not isinstance(tree, dict):
        return set()
    if tree.get("$") == "reference":
        return {tree["name"].partition(":")[0].partition(".")[0]}
    return set().union(*(_references(each) for each in tree.values())) if tree else set()
