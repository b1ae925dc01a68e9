"""Each module says in ``__all__`` what others may use: all of it, nothing else, in order.

Read from the text, so that no module's optional dependencies have to be there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "jupyter_aiinfra"

# Written by the build; and scripts whose names Alembic fixes.
LEFT_OUT = {"_version.py", "migrations"}
TYPE_VARIABLES = {"ParamSpec", "TypeVar", "TypeVarTuple"}


def _modules() -> list[Path]:
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if LEFT_OUT.isdisjoint(path.relative_to(PACKAGE).parts)
        and "labextension" not in path.relative_to(PACKAGE).parts
    ]


MODULES = _modules()


def _order(name: str) -> tuple[int, str]:
    # Constants, then classes, then functions: the order that ruff's RUF022 keeps.
    if name.isupper() and len(name) > 1:
        return 0, name
    return (1, name) if name[:1].isupper() else (2, name)


def _declared(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            names = ast.literal_eval(node.value)
            assert isinstance(names, list)
            return names
    return None


def _defined(tree: ast.Module) -> Iterator[str]:
    """Yield the public names that the module itself makes."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and not _is_type_variable(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in node.names)


def _is_type_variable(value: ast.expr | None) -> bool:
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id in TYPE_VARIABLES
    )


def test_modules_are_found() -> None:
    assert PACKAGE / "model.py" in MODULES


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES])
def test_all_is_complete_and_sorted(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public = {name for name in _defined(tree) if not name.startswith("_")}
    declared = _declared(tree)

    if declared is None:
        assert not public, "define __all__"
        return
    assert declared == sorted(declared, key=_order)
    assert len(declared) == len(set(declared))
    assert public - set(declared) == set(), "public names that __all__ lacks"
    unknown = set(declared) - set(_defined(tree)) - set(_imported(tree))
    assert unknown == set(), "names in __all__ that the module does not have"
