"""The function in a notebook's cell that is tagged ``predict``."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_aiinfra.errors import UsageError, did_you_mean
from jupyter_aiinfra.promote.snapshot import check_notebook, trees

__all__ = ["TAG", "function_in", "function_name"]

TAG = "predict"


def function_name(notebook: Path, *, tag: str = TAG) -> str:
    """Return the name of the function that the cell of `notebook` tagged `tag` defines.

    Raises
    ------
    UsageError
        No such notebook, no or several such cells, or not one function in it.
    """
    try:
        data = notebook.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{notebook} cannot be read: {error.strerror}",
            hint="name a notebook, a function, runs:/… or models:/…",
        ) from None
    found = check_notebook(data, name=notebook.name, kernel="python3")
    cells = [cell for cell in found["cells"] if tag in (cell.get("metadata") or {}).get("tags", ())]
    if len(cells) != 1:
        raise UsageError(
            f"{notebook.name} has {len(cells) or 'no'} cells tagged {tag}, and one is expected",
            hint="tag the cell that defines the function, in the property inspector of JupyterLab",
        )
    (tree,) = trees({"cells": cells})
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if tag in names:
        return tag
    if len(names) != 1:
        raise UsageError(
            f"the cell tagged {tag} of {notebook.name} defines {len(names) or 'no'} functions: "
            f"{', '.join(names) or 'none'}",
            hint=f"define one there, or call the one that is meant {tag}",
        )
    return names[0]


def function_in(notebook: Path, namespace: Mapping[str, Any], *, tag: str = TAG) -> Any:
    """Return that function as `namespace` has it, which the notebook has made.

    Raises
    ------
    UsageError
        As above; or its cell was not run.
    """
    name = function_name(notebook, tag=tag)
    if name not in namespace:
        raise UsageError(
            f"{name} of {notebook.name} is not defined: its cell was not run here",
            hint=did_you_mean(name, namespace) or "run the notebook first",
        )
    return namespace[name]
