"""What is kept of requests, as the recorded calls that a package has to answer; pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

__all__ = ["SampleCalls", "Sampled", "calls_of"]

_GOOD: Final = 200
# By the path, what a request is called by, and its answer.
_NAMES: Final = {
    "predict": (("inputs",), "outputs"),
    "invocations": (("inputs", "instances"), "predictions"),
}


class Sampled(Protocol):
    """What is looked at of a sample."""

    @property
    def path(self) -> str:
        """Below the endpoint."""
        ...

    @property
    def status(self) -> int:
        """Of the answer."""
        ...

    @property
    def request(self) -> Any:
        """As JSON; ``None``: not kept."""
        ...

    @property
    def answer(self) -> Any:
        """As JSON; ``None``: not kept."""
        ...

    @property
    def hidden(self) -> bool:
        """Whether something of it was left out."""
        ...


@dataclass(frozen=True, kw_only=True)
class SampleCalls:
    """Recorded calls.

    Parameters
    ----------
    lines
        Of ``calls.jsonl``, each different.
    skipped
        How many samples are none, by why.
    """

    lines: tuple[str, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)


def calls_of(samples: Iterable[Sampled]) -> SampleCalls:
    """Return what of `samples` can be asked again, and compared: the answers that were good."""
    lines: dict[str, None] = {}
    skipped: Counter[str] = Counter()
    for sample in samples:
        told = _call(sample)
        if isinstance(told, str):
            skipped[told] += 1
        else:
            line = json.dumps(told, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
            skipped["the same once more"] += line in lines
            lines[line] = None
    return SampleCalls(lines=tuple(lines), skipped={why: n for why, n in skipped.items() if n})


def _call(sample: Sampled) -> dict[str, Any] | str:
    """Return a call, or why it is none."""
    if sample.status != _GOOD:
        return f"answered with {sample.status}"
    if sample.hidden:
        return "something was left out of it"
    names = _NAMES.get(sample.path.strip("/"))
    if names is None:
        return "not by /predict or /invocations"
    if not isinstance(sample.request, dict) or not isinstance(sample.answer, dict):
        return "its bodies were not kept"
    given = [name for name in names[0] if name in sample.request]
    if len(given) != 1 or names[1] not in sample.answer:
        return "neither inputs nor instances"
    return {"inputs": sample.request[given[0]], "outputs": sample.answer[names[1]]}
