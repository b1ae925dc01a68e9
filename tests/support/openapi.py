"""What a document of OpenAPI allows, and what it does not, sent to whoever wrote it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["fuzzed"]

_PROGRAM = Path(sys.executable).parent / "schemathesis"
_TESTED = re.compile(r"(\d+) generated, (\d+) passed")


def fuzzed(
    document: str,
    folder: Path,
    *words: str,
    examples: int = 10,
    phases: str = "examples,coverage,fuzzing",
    config: str = "",
    headers: Mapping[str, str] | None = None,
) -> int:
    """Have every operation of `document` asked, the same in each run; return how often in all.

    All checks are on, but for what `config` says: statuses, content types, headers and bodies are
    as they are told, no 500, what is allowed is taken, what is not is refused, and keys are asked
    for.

    Parameters
    ----------
    document
        A URL, or a path.
    examples
        For each operation, of those that are made at random.
    config
        A ``schemathesis.toml``.
    """
    told = folder / "schemathesis.toml"
    told.write_text(config)
    argv = [str(_PROGRAM), "--config-file", str(told), "run", document, "--no-color"]
    argv += ["--phases", phases, "--generation-deterministic"]
    argv += ["--max-examples", str(examples), "--request-timeout", "30"]
    argv += ["--continue-on-failure", *words]
    for name, value in (headers or {}).items():
        argv += ["--header", f"{name}: {value}"]
    # Its own plug-ins and files stay out of the checkout.
    environ = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = _TESTED.search(done.stdout)
    assert counted is not None, done.stdout
    generated, passed = int(counted[1]), int(counted[2])
    assert generated == passed, done.stdout
    return passed
