"""A notebook as it is to be run: read, with its parameters, and what is kept of a run before.

One file, Python 3.8 or newer; ``nbformat`` and ``papermill`` of the run's own Python are imported
where they are needed. Values come as JSON and are written as code by papermill's own translators,
so that a text stays a text whatever stands in it.
"""

from __future__ import annotations

import json
import keyword
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Dict, Iterable, Mapping, Sequence

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node.kernels import Refused
else:  # its neighbour in the bundle
    from kernels import Refused

__all__ = ["inject", "keep", "node_of", "read", "tags", "text_of", "to_node"]

_Json = Dict[str, Any]

_ERROR_MARKER = "papermill-error-cell-tag"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_DOTTED = re.compile(r"[A-Za-z.][\w.]*\Z")
# How a variable of the environment is read: a secret stands in no notebook.
_FROM_ENVIRONMENT = {
    "python": '__import__("os").environ["{}"]',
    "r": 'Sys.getenv("{}")',
    "julia": 'ENV["{}"]',
}
_CELLS_HAVE_IDS = (4, 5)


def read(path: str, *, name: str) -> _Json:
    """Return the notebook in `path` as plain JSON of format 4 or older; `name` is for people.

    Raises
    ------
    Refused
        It is none.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            notebook = json.load(file)
    except FileNotFoundError:
        raise Refused(f"the notebook {name} is not in the run directory") from None
    except UnicodeDecodeError as error:
        raise Refused(f"{name} is not a notebook: it is no text in UTF-8 ({error})") from None
    except ValueError as error:
        raise Refused(f"{name} is not a notebook: it is no JSON ({error})") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
        raise Refused(f"{name} is not a notebook: it is JSON, but does not say its nbformat")
    if notebook["nbformat"] > _CELLS_HAVE_IDS[0]:
        raise Refused(f"{name} is of notebook format {notebook['nbformat']}; 4 is the newest known")
    if not isinstance(notebook.get("cells", notebook.get("worksheets")), list):
        raise Refused(f"{name} is not a notebook: it has no list of cells")
    if not isinstance(notebook.setdefault("metadata", {}), dict):
        raise Refused(f"{name} is not a notebook: its metadata is no object")
    return notebook


def _nbformat() -> Any:
    """Return the module of that name; most of it has no types."""
    try:
        import nbformat
    except ImportError as error:
        raise Refused(
            f"{sys.executable} has no nbformat, which runs notebooks: "
            f"{sys.executable} -m pip install papermill ipykernel"
        ) from error
    return nbformat


def node_of(value: Any) -> Any:
    """Return a value as nbformat's objects, as plain as JSON has it."""
    return _nbformat().from_dict(json.loads(json.dumps(value, default=str)))


def to_node(notebook: _Json, *, name: str) -> Any:
    """Return `notebook` as nbformat's object, of format 4, as papermill reads it."""
    nbformat = _nbformat()
    if notebook["nbformat"] < _CELLS_HAVE_IDS[0]:
        try:
            node = nbformat.reads(json.dumps(notebook), as_version=4)
        except Exception as error:
            raise Refused(f"{name} cannot be read as a notebook: {error}") from error
    else:
        node = nbformat.from_dict(notebook)
    kept: list[Any] = []
    for cell in node.cells:
        if getattr(cell, "cell_type", None) not in ("code", "markdown", "raw"):
            raise Refused(f"{name} has a cell that is neither code, Markdown nor raw text")
        cell.setdefault("metadata", nbformat.from_dict({}))
        cell.source = "".join(cell.get("source") or "")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        # What papermill has put into the output of an earlier run.
        if _ERROR_MARKER not in tags(cell):
            kept.append(cell)
    node.cells = kept
    return node


def tags(cell: Mapping[str, Any]) -> Sequence[str]:
    """Return the tags of a cell."""
    found = (cell.get("metadata") or {}).get("tags")
    return [str(tag) for tag in found] if isinstance(found, list) else []


def inject(
    node: Any,
    values: Mapping[str, Any],
    secrets: Mapping[str, str],
    *,
    kernel: str,
    language: str,
) -> None:
    """Put a cell with `values` behind the ``parameters`` cell, or first; as papermill does.

    Parameters
    ----------
    secrets
        Parameters whose values are in variables of the environment, with the names of those.

    Raises
    ------
    Refused
        papermill is not there, does not know the language, or a name cannot be one of a variable.
    """
    if not values and not secrets:
        return
    nbformat = _nbformat()
    for name in (*values, *secrets):
        _check_name(name, language)
    source = _code(values, secrets, kernel=kernel, language=language)
    made: _Json = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {"tags": ["injected-parameters"]},
        "outputs": [],
        "source": source,
    }
    if (node.nbformat, node.get("nbformat_minor", 0)) >= _CELLS_HAVE_IDS:
        made["id"] = "injected-parameters"
    cell = nbformat.from_dict(made)
    before = _first(node.cells, "injected-parameters")
    if before is not None:
        node.cells[before] = cell
        return
    after = _first(node.cells, "parameters")
    node.cells.insert(0 if after is None else after + 1, cell)


def _check_name(name: str, language: str) -> None:
    if language == "python":
        if name.isidentifier() and not keyword.iskeyword(name):
            return
    elif _VARIABLE.match(name) or (language == "r" and _DOTTED.match(name)):
        return
    raise Refused(f"parameter {name!r} cannot be the name of a variable")


def _code(
    values: Mapping[str, Any], secrets: Mapping[str, str], *, kernel: str, language: str
) -> str:
    try:
        from papermill.translators import papermill_translators
    except ImportError as error:
        raise Refused(
            f"{sys.executable} has no papermill, which puts parameters into notebooks: "
            f"{sys.executable} -m pip install papermill"
        ) from error
    try:
        translator = papermill_translators.find_translator(kernel, language)
    except Exception as error:
        raise Refused(
            f"papermill knows no way to give parameters to kernel {kernel!r} ({language})"
        ) from error
    code: str = translator.codify(dict(values), "Parameters")
    for name, variable in secrets.items():
        read_it = _FROM_ENVIRONMENT.get(language.lower())
        if read_it is None:
            raise Refused(f"parameter {name!r} is a secret, which cannot be given to {language}")
        if not _VARIABLE.match(variable) or variable not in os.environ:
            raise Refused(f"the secret {variable!r} of parameter {name!r} is not set for this run")
        code += f"{translator.assign(name, read_it.format(variable))}\n"
    return code


def _first(cells: Sequence[Mapping[str, Any]], tag: str) -> int | None:
    return next((at for at, cell in enumerate(cells) if tag in tags(cell)), None)


def keep(node: Any, previous: _Json, again: Iterable[int]) -> set[int]:
    """Take the outputs of a run before into all cells that are not run `again`; return those.

    Raises
    ------
    Refused
        The notebook is another one.
    """
    nbformat = _nbformat()
    told = to_node({**previous, "cells": [dict(c) for c in previous.get("cells", [])]}, name="it")
    sources = [cell.source for cell in told.cells]
    if [cell.source for cell in node.cells] != sources:
        raise Refused("the notebook has changed since the run that is to be resumed")
    old = [c for c in previous["cells"] if _ERROR_MARKER not in tags(c)]
    kept = set(range(len(node.cells))) - set(again)
    for at in kept:
        if node.cells[at].cell_type == "code":
            node.cells[at].outputs = nbformat.from_dict(old[at].get("outputs") or [])
            node.cells[at].execution_count = old[at].get("execution_count")
            was = (old[at].get("metadata") or {}).get("papermill")
            if was:
                node.cells[at].metadata["papermill"] = nbformat.from_dict(was)
    return kept


def text_of(node: Any) -> str:
    """Return a notebook as the text of its file."""
    text: str = _nbformat().v4.writes_json(node)
    return text if text.endswith("\n") else text + "\n"
