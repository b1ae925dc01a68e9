"""Tokens and keys in a notebook: masked before it is stored or sent, and reported."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jupyter_aiinfra.node.scrub import Scrubber

__all__ = ["Leak", "clean", "leaks_text", "look", "told"]


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Secrets of one kind in one cell (from 1): how many, and in what. No value."""

    cell: int
    kind: str
    count: int
    where: Literal["output", "source", "metadata"] = "output"


def clean(
    notebook: Mapping[str, Any], *, values: Iterable[str] = ()
) -> tuple[dict[str, Any], tuple[Leak, ...]]:
    """Return a notebook without secrets, and what was masked; `notebook` stays as it is.

    Parameters
    ----------
    values
        Secrets that are known, whatever they look like.
    """
    scrubber = Scrubber(values)
    kept = copy.deepcopy(dict(notebook))
    leaks: list[Leak] = []
    for number, cell in enumerate(kept.get("cells", []), 1):
        source, found = _source(scrubber, cell.get("source", ""))
        cell["source"] = source
        leaks += [Leak(cell=number, kind=k, count=n, where="source") for k, n in found.items()]
        counts: dict[str, int] = {}
        outputs = []
        for output in cell.get("outputs", ()):
            shown, found = scrubber.output(output)
            outputs.append(shown)
            for kind, count in found.items():
                counts[kind] = counts.get(kind, 0) + count
        if "outputs" in cell:
            cell["outputs"] = outputs
        leaks += [Leak(cell=number, kind=k, count=n) for k, n in counts.items()]
    return kept, tuple(leaks)


def look(notebook: Mapping[str, Any]) -> tuple[Leak, ...]:
    """Return the secrets in a notebook; changes nothing."""
    return clean(notebook)[1]


def _source(scrubber: Scrubber, source: str | Sequence[str]) -> tuple[Any, dict[str, int]]:
    text = source if isinstance(source, str) else "".join(source)
    kept, found = scrubber.text(text)
    if not found:
        return source, found
    return (kept if isinstance(source, str) else kept.splitlines(keepends=True)), found


def told(findings: Iterable[Mapping[str, Any]]) -> tuple[Leak, ...]:
    """Return what the runner of a notebook has masked, by what its ``state.json`` says."""
    return tuple(
        Leak(cell=int(each["cell"]) + 1, kind=str(each["kind"]), count=int(each["count"]))
        for each in findings
    )


def leaks_text(leaks: Sequence[Leak]) -> str:
    """Return in one line what was masked: ``GitHub token in cell 3 (2)``."""
    return ", ".join(
        f"{each.kind} in "
        + ("" if each.where == "output" else f"the {each.where} of ")
        + f"cell {each.cell}"
        + (f" ({each.count})" if each.count > 1 else "")
        for each in leaks
    )
