"""What ``%load_ext jupyter_aiinfra`` costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.cell.kernel import environment
from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn

__all__ = ["load"]

_HEAVY = ("torch", "mlflow", "dask", "kubernetes")
_PROGRAM = f"""\
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
if sys.argv[1:]:
    shell.run_line_magic("load_ext", sys.argv[1])
print(json.dumps([name for name in {_HEAVY!r} if name in sys.modules]))
"""


def load(run: Run) -> Sequence[Figure]:
    """Start a Python with IPython's shell, with and without the extension."""
    env = environment(run.folder, {})
    heavy: list[float] = []

    def start(*extension: str) -> float:
        begun = time.perf_counter()
        argv = [sys.executable, "-c", _PROGRAM, *extension]
        done = subprocess.run(argv, env=env, cwd=run.folder, capture_output=True, check=True)
        seconds = time.perf_counter() - begun
        if extension:
            heavy.append(float(len(json.loads(done.stdout.splitlines()[-1]))))
        return seconds

    start("jupyter_aiinfra")  # byte code and the disk's cache: the first start of all is another's
    heavy.clear()
    ours, raw = in_turn(run, "load", ours=lambda: start("jupyter_aiinfra"), raw=start)
    return (
        Figure(
            name="load the extension",
            unit="s",
            ours=ours,
            raw=raw,
            judged=Judged.DIFFERENCE,
            goal=Goal(limit=0.3),
            note="a whole Python process that makes IPython's shell, with and without "
            "`%load_ext jupyter_aiinfra`.",
        ),
        Figure(
            name="heavy packages loaded by it",
            unit="",
            ours=tuple(heavy),
            judged=Judged.OURS,
            goal=Goal(limit=0, always=True),
            note=f"of {', '.join(_HEAVY)}, in the same processes.",
        ),
    )
