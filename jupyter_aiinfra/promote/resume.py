"""Where a run that failed can be begun again: at a cell that its author has tagged ``checkpoint``.

Nothing of the kernel is left when a run has failed. A cell tagged ``checkpoint`` promises that it
brings back what later cells need, from a file in ``AIINFRA_CHECKPOINT_DIR`` say. A run that is
resumed runs again, in their order:

- cells tagged ``parameters``, ``injected-parameters`` or ``setup``,
- cells that only import, or define functions and classes,
- the last checkpoint at or before the cell that failed, and everything behind it.

Other cells keep the outputs that they had. Whether the promise can hold is checked first: what the
cells that are run again use must be made by one of them.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jupyter_aiinfra.promote.snapshot import trees

__all__ = ["CHECKPOINT", "SETUP", "Resumption", "plan_resume"]

CHECKPOINT: Final = "checkpoint"
SETUP: Final = "setup"

_ALWAYS = frozenset((SETUP, "parameters", "injected-parameters"))
_DEFINING = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# What IPython gives to every cell.
_GIVEN = frozenset((*dir(builtins), "get_ipython", "display", "In", "Out", "_", "__", "___"))


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """The cells (from 0) that are run again, and the checkpoint; or why it cannot be resumed."""

    again: tuple[int, ...] = ()
    checkpoint: int | None = None
    reason: str | None = None


def plan_resume(notebook: Mapping[str, Any], failed: int) -> Resumption:
    """Say how the run whose output `notebook` is, and whose cell `failed` failed, is resumed.

    Numbers in the reason are those that people count by, from 1.
    """
    cells = notebook.get("cells", [])
    tags = [_tags(cell) for cell in cells]
    points = [at for at in range(min(failed + 1, len(cells))) if CHECKPOINT in tags[at]]
    if not points:
        return Resumption(
            reason=f"no cell up to cell {failed + 1}, which failed, is tagged {CHECKPOINT}"
        )
    point = points[-1]
    told = (notebook.get("metadata") or {}).get("language_info") or {}
    python = str(told.get("name") or "python").lower() == "python"
    bodies = _bodies(notebook) if python else [[] for _ in cells]
    again = [
        at
        for at, cell in enumerate(cells)
        if at >= point
        or not _ALWAYS.isdisjoint(tags[at])
        or (python and cell.get("cell_type") == "code" and _only_defines(bodies[at]))
    ]
    lacking = _lacking(bodies, again) if python else None
    if lacking is not None:
        return Resumption(reason=lacking)
    return Resumption(again=tuple(again), checkpoint=point)


def _tags(cell: Mapping[str, Any]) -> Sequence[str]:
    found = (cell.get("metadata") or {}).get("tags")
    return found if isinstance(found, list) else []


def _bodies(notebook: Mapping[str, Any]) -> list[list[ast.stmt]]:
    """Return the statements of each cell; those that are no code have none."""
    parsed = trees(notebook)
    return [
        next(parsed).body if cell.get("cell_type") == "code" else [] for cell in notebook["cells"]
    ]


def _only_defines(body: Sequence[ast.stmt]) -> bool:
    """Whether statements import and define, and do nothing else; comments are nothing."""
    return bool(body) and all(isinstance(each, _DEFINING) for each in body)


def _lacking(bodies: Sequence[Sequence[ast.stmt]], again: Sequence[int]) -> str | None:
    """Return why what is run again cannot work: a name that only the others make."""
    chosen = set(again)
    makers: dict[str, int] = {}
    for at, body in enumerate(bodies):
        if at not in chosen:
            for statement in body:
                makers.update(dict.fromkeys(_names(statement)[0], at))
    there: set[str] = set()
    for at in again:
        for statement in bodies[at]:
            made, used = _names(statement)
            for name in sorted(used - there - _GIVEN):
                if name in makers and makers[name] < at:
                    return (
                        f"cell {at + 1} uses {name}, which cell {makers[name] + 1} makes, and that "
                        f"is not run again: tag it {SETUP}, or make {name} in the checkpoint"
                    )
            there |= made
    return None


def _names(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """Return the global names that a statement makes, and those that it uses, now or later."""
    table = symtable.symtable(ast.unparse(statement), "cell", "exec")
    made, used = set(), set()
    for symbol in table.get_symbols():
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace():
            made.add(symbol.get_name())
        if symbol.is_referenced():
            used.add(symbol.get_name())
    for child in table.get_children():
        used |= set(_globals(child))
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr)):
        return made, used
    if isinstance(statement, ast.AugAssign):
        return made, used | made
    # A function that calls itself, the variable of a loop: what is made inside is there inside.
    return made, used - made


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_global() and symbol.is_referenced():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)
