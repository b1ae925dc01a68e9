"""Keeps the files that a job has declared as artifacts: copies them into its run directory.

One file, standard library only, Python 3.8 or newer. Run as ``collect.py RUN_DIR`` by the
supervisor once the ranks have ended, in a process of its own: files may be many and large, and the
supervisors of other nodes must hear of us meanwhile.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any, Iterator, Sequence

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import supervise
else:  # its neighbour in the bundle
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import supervise

__all__ = ["FOLDER", "collect", "main", "matches"]

FOLDER = "artifacts"
_RECORD = "artifacts.json"
_MOST_PROBLEMS = 20


def matches(path: str, pattern: str) -> bool:
    """Whether `pattern` means the file `path`; both are relative, with slashes.

    ``*`` and ``?`` stand for what is in one name, ``**`` for any number of folders; a pattern that
    names a folder means all that is in it.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    expression = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            expression += ".*" if last else "(?:.*/)?"
        else:
            text = "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in part)
            expression += text + ("" if last else "/")
    return re.fullmatch(f"{expression}(?:/.*)?", path, re.DOTALL) is not None


def collect(run_dir: str, cwd: str, patterns: Sequence[str]) -> dict[str, Any]:
    """Copy what `patterns` mean below `cwd`; return how much that was, and what could not be had.

    Links are not followed: what they lead to may be anybody's. A second call copies anew.
    """
    target = os.path.join(run_dir, FOLDER)
    count = size = 0
    problems = []
    for path in _files(cwd, run_dir):
        if not any(matches(path, pattern) for pattern in patterns):
            continue
        source, copy = os.path.join(cwd, path), os.path.join(target, path)
        if os.path.islink(source) or not os.path.isfile(source):
            problems.append(f"{path}: it is a link, or no plain file")
            continue
        try:
            _make_private(os.path.dirname(copy))
            size += _copy(source, copy)
            count += 1
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
    missing = [] if count or problems else [f"nothing fits {', '.join(patterns)} in {cwd}"]
    return {
        "files": count,
        "bytes": size,
        "problems": (problems + missing)[:_MOST_PROBLEMS],
        "more_problems": max(0, len(problems) - _MOST_PROBLEMS),
    }


def _files(cwd: str, run_dir: str) -> Iterator[str]:
    for folder, names, files in os.walk(cwd):
        # The working directory may be the run directory itself.
        names[:] = [n for n in sorted(names) if os.path.join(folder, n) not in _ours(run_dir)]
        for name in sorted(files):
            yield os.path.relpath(os.path.join(folder, name), cwd).replace(os.sep, "/")


def _ours(run_dir: str) -> Sequence[str]:
    names = (FOLDER, "aiinfra", "attempts", "logs", "ranks", "results")
    return [os.path.join(run_dir, name) for name in names]


def _make_private(folder: str) -> None:
    if not os.path.isdir(folder):
        _make_private(os.path.dirname(folder))
        os.mkdir(folder, 0o700)


def _copy(source: str, target: str) -> int:
    """Copy one file, whole or not at all; mode 0600. Returns its size."""
    temporary = f"{target}.part"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(source, "rb") as reader, os.fdopen(handle, "wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
        shutil.copystat(source, temporary)
        os.chmod(temporary, 0o600)
        os.replace(temporary, target)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return os.path.getsize(target)


def main(argv: Sequence[str]) -> int:
    """Collect what the orders of a run directory name."""
    run = supervise.Run(argv[1])
    spec = run.spec
    if spec is None:
        print(f"aiinfra: no spec.json in {run.folder}", file=sys.stderr)
        return 1
    os.umask(0o077)
    run.write(_RECORD, collect(run.folder, spec["cwd"], spec["artifacts"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
