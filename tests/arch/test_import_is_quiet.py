"""What a kernel pays for ``%load_ext jupyter_aiinfra`` is small: nothing heavy is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "accelerate",
    "alembic",
    "dask",
    "distributed",
    "fastapi",
    "jupyter_server",
    "jupyterlab",
    "kubernetes",
    "mlflow",
    "nbformat",
    "numpy",
    "opentelemetry",
    "pandas",
    "papermill",
    "pynvml",
    "torch",
}

REPORT = (
    "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
)
LOAD_MAGICS = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "jupyter_aiinfra")
"""


def _imported_by(program: str, *, folder: Path) -> set[str]:
    environ = {
        **os.environ,
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_AIINFRA_HOME": str(folder / "aiinfra"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{program}\n{REPORT}"],
        env=environ,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "program", ["import jupyter_aiinfra", LOAD_MAGICS], ids=["package", "magics"]
)
def test_nothing_heavy_is_imported(program: str, tmp_path: Path) -> None:
    imported = _imported_by(program, folder=tmp_path)

    assert "jupyter_aiinfra" in imported
    assert imported & HEAVY == set()


def test_loading_writes_nothing(tmp_path: Path) -> None:
    _imported_by(LOAD_MAGICS, folder=tmp_path)

    assert not (tmp_path / "aiinfra").exists()
