"""JupyterLab with the extension: its start, a flood of output, idleness, and every small cell."""

from __future__ import annotations

from benchmarks.lab.cells import small_cells
from benchmarks.lab.flood import flood
from benchmarks.lab.idle import idle
from benchmarks.lab.start import start

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("jupyterlab", "jupyter_server", "ipykernel", "tornado", "playwright")
MEASURES = (start, small_cells, idle, flood)
