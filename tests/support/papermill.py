"""Notebooks run by papermill in a process of its own, as schedulers and CI run them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from tests.support.site import Site

__all__ = ["Executed", "execute", "write_notebook"]

WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True, kw_only=True)
class Executed:
    """A notebook as papermill left it, and how papermill itself ended."""

    status: int
    said: str
    notebook: Any

    def outputs(self, holding: str) -> list[Any]:
        """Return the outputs of the one cell whose text holds `holding`."""
        (cell,) = [
            cell
            for cell in self.notebook.cells
            if cell.cell_type == "code" and holding in cell.source
        ]
        return list(cell.outputs)

    def printed(self, holding: str) -> str:
        """Return what the cell whose text holds `holding` shows as text."""
        pieces = []
        for output in self.outputs(holding):
            data = output.get("data", {})
            pieces.append(output.get("text") or data.get("text/plain") or output.get("evalue", ""))
        return "\n".join(pieces)

    @property
    def errors(self) -> list[Any]:
        """All error outputs."""
        cells = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        return [o for cell in cells for o in cell.outputs if o.output_type == "error"]

    @property
    def widgets(self) -> list[Any]:
        """Outputs that need a living kernel to be drawn."""
        cells = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        return [o for cell in cells for o in cell.outputs if WIDGET in o.get("data", {})]


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook with these code cells."""
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": cell,
            }
            for number, cell in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def execute(
    site: Site,
    notebook: Path,
    *,
    seconds: float = 100,
    env: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Executed:
    """Run a notebook by papermill in the site's folder of work; `env` are further variables."""
    result = site.root / f"executed-{notebook.name}"
    given: list[str] = []
    for name, value in (parameters or {}).items():
        given += ["-p", name, value]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "papermill", "--kernel", "python3", "--no-progress-bar"),
            *("--cwd", str(site.work), str(notebook), str(result), *given),
        ],
        env={**site.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Executed(
        status=done.returncode,
        said=done.stdout + done.stderr,
        notebook=nbformat.read(result, as_version=4),  # type: ignore[no-untyped-call]
    )
