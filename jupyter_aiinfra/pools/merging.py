"""What several nodes say of their one job, as one observation.

The leader of the supervisors speaks for all; a node that was cut off from the others may know less
than they do, and its own end is the job's only where no others can be going on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.model import Health, Observation
from jupyter_aiinfra.pools.files import observation_from_status

__all__ = ["NodeWord", "merged_observation"]

NodeWord = Mapping[str, Any] | Unreachable
"""A node's status, or why there is none."""

_FINAL = frozenset({"succeeded", "failed", "cancelled", "lost"})


def merged_observation(
    words: Sequence[NodeWord], *, names: Sequence[str], seen_at: float
) -> Observation:
    """Return the observation of a job, given each of its nodes' word by slot.

    Raises
    ------
    Unreachable
        What the nodes that answer know does not decide it.
    """
    said = {slot: word for slot, word in enumerate(words) if isinstance(word, Mapping)}
    silent = {slot: word for slot, word in enumerate(words) if isinstance(word, Unreachable)}
    if not said:
        raise Unreachable(_why(silent, names), hint="the job itself may be well: try again")
    voice = _voice(said, silent, names)
    status = {
        **voice,
        "ranks": _ranks(said),
        "results": next((word["results"] for word in said.values() if word.get("results")), []),
        "tracking": next(
            (word["tracking"] for word in said.values() if word.get("tracking")), None
        ),
        "artifacts": next(
            (word["artifacts"] for word in said.values() if word.get("artifacts")), None
        ),
        "supervised": voice["state"] in _FINAL
        or all(word.get("supervised", True) for word in said.values()),
        "stop": next((word["stop"] for word in said.values() if word.get("stop")), None),
        "stalled_since": _stalled(said),
        "said_ago": None if silent else _latest(said, "said_ago"),
        "worked_ago": None if silent else _latest(said, "worked_ago"),
        "nodes": _health(voice, silent, names),
    }
    return observation_from_status(status, seen_at=seen_at)


def _voice(
    said: Mapping[int, Mapping[str, Any]], silent: Mapping[int, Unreachable], names: Sequence[str]
) -> Mapping[str, Any]:
    """Return the status that speaks for the job."""
    began = {slot: word for slot, word in said.items() if not _never_began(word)}
    over = [word for word in began.values() if word["state"] in _FINAL]
    certain = [word for word in over if word.get("certain", True)]
    if certain:
        # Who saw it through knows best; a node that was given up in between does not.
        return max(certain, key=lambda word: (word.get("attempt", 1), bool(word.get("led"))))
    going = [word for word in began.values() if word["state"] not in _FINAL]
    if going:
        return max(going, key=lambda word: (word.get("attempt", 1), bool(word.get("led"))))
    if silent:
        raise Unreachable(_why(silent, names), hint="the job itself may be well: try again")
    if over:
        return max(over, key=lambda word: (word.get("attempt", 1), bool(word.get("led"))))
    # Nobody has begun. Where one has its orders and another none, the launch ended in between.
    return next((word for word in said.values() if word.get("never")), said[min(said)])


def _stalled(said: Mapping[int, Mapping[str, Any]]) -> float | None:
    """Return since when no rank of any node has made progress; each node judges its own."""
    going = [word for word in said.values() if word["state"] not in _FINAL]
    times = [word.get("stalled_since") for word in going]
    known = [at for at in times if at is not None]
    return max(known) if known and len(known) == len(times) else None


def _latest(said: Mapping[int, Mapping[str, Any]], name: str) -> float | None:
    """Return how long ago the last sign of life of any node was; each of them must know its own."""
    ago = [word.get(name) for word in said.values() if word["state"] not in _FINAL]
    known = [seconds for seconds in ago if seconds is not None]
    return min(known) if known and len(known) == len(ago) else None


def _never_began(word: Mapping[str, Any]) -> bool:
    return word["state"] == "absent" or bool(word.get("never"))


def _ranks(said: Mapping[int, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the ranks of all nodes by seat; a seat is what a log is named by."""
    found = {}
    for word in said.values():
        for record in word.get("ranks", ()):
            seat = record.get("seat", record["rank"])
            found[seat] = {**record, "rank": seat}
    return [found[seat] for seat in sorted(found)]


def _health(
    voice: Mapping[str, Any], silent: Mapping[int, Unreachable], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return how each node is: as the job's own nodes see it, and as we do."""
    known = {node["name"]: dict(node) for node in voice.get("nodes") or ()}
    result = []
    for slot, name in enumerate(names):
        node = known.get(name, {"name": name, "health": Health.LIVE.value})
        if slot in silent and node["health"] != Health.LOST.value:
            node.update(health=Health.UNREACHABLE.value, reason=silent[slot].message)
        result.append(node)
    return result


def _why(silent: Mapping[int, Unreachable], names: Sequence[str]) -> str:
    if len(silent) == 1:
        ((slot, error),) = silent.items()
        return error.message if names[slot] in error.message else f"{names[slot]}: {error.message}"
    who = ", ".join(names[slot] for slot in silent)
    first = next(iter(silent.values()))
    return f"{who} do not answer ({first.message})"
