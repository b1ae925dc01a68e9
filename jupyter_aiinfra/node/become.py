"""The entry of a rank that becomes another program: what serves a model, or a router.

One file, standard library only, Python 3.8 or newer. ``become.json`` of the run directory says what
it becomes::

    {"argv": ["-m", "jupyter_aiinfra.serving", "model"], "path": ["code"], "env": {}}

The process stays the one that the supervisor knows, its output the rank's log; ``path`` are folders
that Python looks into first, those of the run directory unless they are absolute.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Mapping, NoReturn

__all__ = ["become", "what"]


def what(folder: str, environ: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the argv and the environment of what the rank in `folder` becomes."""
    with open(os.path.join(folder, "become.json"), encoding="utf-8") as file:
        asked: dict[str, Any] = json.load(file)
    first = [os.path.join(folder, each) for each in asked["path"]]
    rest = [each for each in environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    env = {**environ, **asked["env"], "PYTHONPATH": os.pathsep.join(first + rest)}
    # Lines are to be in the log when they are said, whoever reads it.
    env["PYTHONUNBUFFERED"] = "1"
    return [sys.executable, *asked["argv"]], env


def become() -> NoReturn:
    """Become it, in the run directory: a socket there is named by what fits into its address."""
    folder = os.environ["AIINFRA_RUN_DIR"]
    argv, env = what(folder, os.environ)
    os.chdir(folder)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(argv[0], argv, env)  # noqa: S606 - a list, and no shell


if __name__ == "__main__":
    become()
