"""What a form of a module costs and gains, beside the module as it is: before it is deployed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.promote.packaging.replaying import asked_in

__all__ = ["measured", "report"]

_PROGRAM = "measuring"


def measured(folder: Path, beside: Path | None, *, device: str) -> dict[str, Any]:
    """Return what the package in `folder` takes, and what the one in `beside` does.

    What is for a GPU that is not here is measured on the processor, as a report says. Each is
    loaded in a process of its own, one after the other. What could not be measured says why, under
    ``failed``; that is no reason not to make a package for another machine.
    """
    place = "cpu" if device == "cpu" else "auto"

    async def both() -> dict[str, Any]:
        told = {"form": await _asked(folder, place)}
        return told if beside is None else {**told, "source": await _asked(beside, place)}

    # A kernel's thread has a loop that runs already.
    with ThreadPoolExecutor(1, thread_name_prefix="aiinfra-measure") as thread:
        return thread.submit(asyncio.run, both()).result()


async def _asked(folder: Path, device: str) -> dict[str, Any]:
    try:
        done = await asked_in(folder, _PROGRAM, device)
    except AiInfraError as error:
        return {"failed": error.message}
    if not done.ok:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return {"failed": f"ended with status {done.status}: {said[-1]}"}
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def report(manifest: Mapping[str, Any]) -> str | None:
    """Return in one sentence how a package's form compares; ``None``: it is as in the notebook."""
    told = manifest.get("measured")
    if not told:
        return None
    form, source = told["form"], told.get("source", {})
    if "failed" in form:
        return f"{manifest['form']} was not measured: {form['failed']}"
    share = manifest["tolerance"][0]
    size, whole = _bytes(form["weight_bytes"]), _bytes(source.get("weight_bytes"))
    off, most = _percent(form["off"]), _percent(share)
    parts = [
        f"{size} of weights ({whole} as it is)",
        f"off by {off} of the largest answer ({most} is let through)",
    ]
    if form["chosen"]:
        parts.append(f"the same largest value in {form['same']} of {form['chosen']} examples")
    one = f"{_ms(form['one_seconds'])} for one example ({_ms(source.get('one_seconds'))})"
    many = f"{_ms(form['many_seconds'])} for {form['many']} ({_ms(source.get('many_seconds'))})"
    return f"{manifest['form']}: {', '.join([*parts, one, many])} on {form['device']}"


def _bytes(count: float | None) -> str:
    if count is None:
        return "n/a"
    for unit in ("B", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _ms(seconds: float | None) -> str:
    return "n/a" if seconds is None else f"{seconds * 1e3:.3g} ms"


def _percent(part: float) -> str:
    return f"{100 * part:.2g}%"
