"""The replay gate: a package must answer what the notebook answered, before anybody else asks it.

It is loaded in a fresh process of the interpreter that will serve it, through the serving code
itself. Each recorded call is asked alone, row by row, and together with all others: a model whose
answers depend on what else is in the batch is found here and not by its users.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_aiinfra import serving
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.packaging.records import CALLS
from jupyter_aiinfra.shell import Completed, LocalShell, Shell

__all__ = ["Replay", "asked_in", "first_difference", "replay", "replay_in"]

_SECONDS = 600.0
_SHOWN = 120
# In a folder of its own, where the notebook's modules and files are not to be found by chance.
_BOOT = (
    "import os, sys, importlib; os.chdir(sys.argv[1]); "
    "sys.exit(importlib.import_module(sys.argv[2]).main(sys.argv[3:]))"
)
_NEEDS = "pip install 'jupyter_aiinfra[serve]' into it, and what the model imports"


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of it.

    Parameters
    ----------
    calls
        How many recorded calls were asked.
    difference
        The first thing that was not as in the notebook; ``None`` where all was.
    tolerance
        Share of a value, and least amount, by which an answer might differ.
    """

    ok: bool
    calls: int
    difference: str | None = None
    tolerance: tuple[float, float] = (0.0, 0.0)

    @property
    def text(self) -> str:
        """What came of it, in one sentence."""
        if not self.ok:
            return f"the packaged model is not what the notebook has: {self.difference}"
        if not self.calls:
            return "it loads; no call was recorded, so its answers were not compared"
        share, least = self.tolerance
        return (
            f"{self.calls} recorded call{'s' if self.calls > 1 else ''} answered as in the "
            f"notebook, within {share:g} of a value or {least:g}"
        )


def replay(folder: Path | str, python: str | None = None, *, timeout: float = _SECONDS) -> Replay:
    """Hold the package in `folder` against its recorded calls, in a fresh process.

    Parameters
    ----------
    python
        The interpreter that is to serve it; by default this one.
    timeout
        Seconds for all of it.

    Raises
    ------
    UsageError
        `folder` holds no package.
    Unreachable
        The interpreter cannot be started, or does not end in time.
    """
    work = replay_in(folder, python=python, timeout=timeout)
    # A kernel's thread has a loop that runs already.
    with ThreadPoolExecutor(1, thread_name_prefix="aiinfra-replay") as thread:
        return thread.submit(asyncio.run, work).result()


async def replay_in(
    folder: Path | str,
    *,
    python: str | None = None,
    shell: Shell | None = None,
    elsewhere: bool = False,
    timeout: float = _SECONDS,
) -> Replay:
    """Do as :func:`replay`, where a loop runs; through `shell`, by default on this machine.

    Parameters
    ----------
    elsewhere
        It is to be served on another machine, so that here a GPU need not be there.
    """
    place, records, tolerance = _recorded(Path(folder))
    python = python or sys.executable
    words = ("auto",) if elsewhere else ()
    done = await asked_in(place, "replay", *words, python=python, shell=shell, timeout=timeout)
    if not done.ok:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return Replay(
            ok=False,
            calls=len(records),
            difference=f"{python} ended with status {done.status}: {said[-1]} ({_NEEDS})",
            tolerance=tolerance,
        )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = first_difference(records, lines, tolerance)
    return Replay(ok=found is None, calls=len(records), difference=found, tolerance=tolerance)


async def asked_in(
    folder: Path | str,
    program: str,
    *words: str,
    python: str | None = None,
    shell: Shell | None = None,
    timeout: float = _SECONDS,
) -> Completed:
    """Run one of the programs of :mod:`jupyter_aiinfra.serving` on a package, in a fresh process.

    Parameters
    ----------
    folder
        By its whole path.
    program
        The module, whose ``main`` is given the folder, and `words`.
    """
    with tempfile.TemporaryDirectory(prefix="aiinfra-replay-") as made:
        # The interpreter need not have this package; it must not find all that is beside it.
        _stage(Path(made) / "jupyter_aiinfra")
        environ = {**os.environ, "PYTHONPATH": made, "PYTHONDONTWRITEBYTECODE": "1"}
        shell = shell or LocalShell(env=environ)
        name = f"jupyter_aiinfra.serving.{program}"
        argv = [python or sys.executable, "-c", _BOOT, made, name, str(folder), *words]
        return await shell.run(argv, timeout=timeout)


def _stage(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(serving.__file__).parent, folder / "serving", ignore=ignored)
    # Else a copy that is installed there would come first.
    (folder / "__init__.py").touch()


def _recorded(folder: Path) -> tuple[str, list[Any], tuple[float, float]]:
    try:
        text = (folder / CALLS).read_text(encoding="utf-8")
        told = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{folder} holds no package: {error.strerror} ({error.filename})",
            hint="make one with package()",
        ) from None
    except ValueError as error:
        raise UsageError(f"{folder} holds no package: {error}") from None
    share, least = told["tolerance"]
    records = [json.loads(line) for line in text.splitlines()]
    return str(folder.absolute()), records, (float(share), float(least))


# --- comparing -----------------------------------------------------------------------------------


def first_difference(
    records: Sequence[Mapping[str, Any]],
    answers: Sequence[Mapping[str, Any]],
    tolerance: tuple[float, float],
) -> str | None:
    """Return the first of `answers` that is not what `records` hold, in words."""
    if not answers or "failed" in answers[0]:
        return str(answers[0]["failed"]) if answers else "it answered nothing"
    for answer in answers[1:]:
        record = records[answer["call"]]
        where = f"call {answer['call'] + 1} of {len(records)}"
        wanted = record["outputs"]
        if answer["how"] == "row":
            where += f", its example {answer['row'] + 1} asked alone"
            wanted = _row(wanted, answer["row"])
        elif answer["how"] == "together":
            where += ", asked together with the others"
        if answer["status"] != 200:  # noqa: PLR2004
            said = answer.get("why") or answer["body"].get("error", answer["body"])
            return f"{where} fails with {answer['status']}: {_short(said)}"
        found = _differs(answer["body"]["outputs"], wanted, "outputs", tolerance)
        if found is not None:
            hint = "" if answer["how"] == "alone" else _DEPENDS
            return f"{where}: {found}{hint}"
    return None


_DEPENDS = (
    "; the answer depends on what else is in the batch: say batched=False if it takes one example "
    "at a time"
)


def _row(outputs: Any, row: int) -> Any:
    if isinstance(outputs, dict):
        return {name: values[row : row + 1] for name, values in outputs.items()}
    return outputs[row : row + 1]


def _differs(found: Any, wanted: Any, where: str, tolerance: tuple[float, float]) -> str | None:
    if _is_number(found) and _is_number(wanted):
        share, least = tolerance
        if math.isclose(found, wanted, rel_tol=share, abs_tol=least):
            return None
        off = abs(found - wanted)
        return f"{where} is {found!r} where the notebook has {wanted!r} ({off:.3g} off)"
    parts = _parts(found, wanted)
    if parts is None:
        same = found == wanted and type(found) is type(wanted)
        told = f"{where} is {_short(found)} where the notebook has {_short(wanted)}"
        return None if same else told
    if len(found) != len(wanted):
        return f"{where} has {len(found)} parts where the notebook has {len(wanted)}"
    inner = (_differs(one, other, f"{where}{name}", tolerance) for name, one, other in parts)
    return next((each for each in inner if each is not None), None)


def _parts(found: Any, wanted: Any) -> Iterator[tuple[str, Any, Any]] | None:
    if isinstance(found, list) and isinstance(wanted, list):
        pairs = zip(found, wanted, strict=False)
        return ((f"[{number}]", one, other) for number, (one, other) in enumerate(pairs))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return ((f".{name}", found.get(name), other) for name, other in wanted.items())
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
