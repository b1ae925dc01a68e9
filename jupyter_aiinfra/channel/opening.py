"""Opening a channel: what is sent, and what is said when no channel comes of it."""

from __future__ import annotations

import functools
import json
import re
import zlib
from pathlib import Path
from typing import Final

from jupyter_aiinfra.errors import PoolError, Unreachable
from jupyter_aiinfra.node import frames

__all__ = ["argv", "explain", "opening", "payload"]

# Where the far end begins; what these import of their neighbours goes with them.
# `supervise` asks for `step` by name, when it tells of ranks.
_MODULES: Final = ("channel", "verbs", "describe", "probe", "step", "pulse")
_NEIGHBOUR: Final = re.compile(r"^ {4}(?:import|from) (\w+)", re.MULTILINE)
_NOT_FOUND: Final = 127
_OLD: Final = re.compile(r"aiinfra: python (\S+) (.*)")
_OLDEST: Final = "3.8"


def argv(python: str, marker: str) -> list[str]:
    """Return the program of the far end.

    It reads ``boot.py`` byte by byte, so that it takes nothing of what follows. No quotes, no
    newline: whatever shell a login has, there is little in here for it to misunderstand.
    """
    reader = f"bytes().join(os.read(0,1)for _ in range({len(_boot())})).decode()"
    return [python, "-I", "-S", "-c", f"import os;exec({reader})", marker]


def opening() -> bytes:
    """Return what is written to the far end before the first frame."""
    return _boot() + payload()


@functools.cache
def _boot() -> bytes:
    return (_folder() / "boot.py").read_bytes()


@functools.cache
def payload() -> bytes:
    """Return the sources of the node side, compressed, after ten digits of length."""
    sources: dict[str, str] = {}
    waiting = list(_MODULES)
    while waiting:
        name = waiting.pop()
        path = _folder() / f"{name}.py"
        if name not in sources and path.exists():
            sources[name] = path.read_text("utf-8")
            waiting += _NEIGHBOUR.findall(sources[name])
    data = zlib.compress(json.dumps(sources).encode(), 9)
    return b"%010d" % len(data) + data


def _folder() -> Path:
    return Path(frames.__file__).parent


def explain(name: str, python: str, *, status: int | None, stderr: bytes) -> PoolError:
    """Return the error for a program that ended, or went silent, before it became a channel."""
    text = stderr.decode(errors="replace").strip()
    hint = f"name a Python {_OLDEST} or newer of the node with --python"
    if old := _OLD.search(text):
        text = f"{name}: {old[2] or python} is Python {old[1]}, and {_OLDEST} is the oldest"
        return PoolError(text, hint=hint)
    if status in {_NOT_FOUND, 126} and python in text:
        return PoolError(f"{name}: there is no program {python} on the node", hint=hint)
    last = text.splitlines()[-1] if text else "no word of why"
    if status is None:
        return Unreachable(f"{name} did not open a channel in time: {last}")
    if "SyntaxError" in text or "unknown option" in text.lower():
        return PoolError(f"{name}: {python} is too old, {_OLDEST} is the oldest", hint=hint)
    return Unreachable(f"{name}: {python} ended with status {status}: {last}")
