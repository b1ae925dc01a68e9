"""Whose a GPU is at a moment: who has processes on it, of which job and rank, as a short text."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from jupyter_aiinfra.telemetry.sample import GpuReading, Sample

__all__ = ["Owner", "owner_labels", "owners_in"]

# A sample's texts have neither of these: they cannot be printed.
_BETWEEN: Final = "\x1f"
_AFTER: Final = "\x1e"
_MOST: Final = 8


class Owner(NamedTuple):
    """Who has processes on a GPU; ``None`` is unknown, or no job of ours."""

    user: str | None
    job: str | None
    rank: int | None


def owner_labels(sample: Sample) -> dict[str, str]:
    """Return, by UUID, whose the GPUs are on which there are processes."""
    return {gpu.uuid: _label(gpu) for gpu in sample.gpus if gpu.processes}


def _label(gpu: GpuReading) -> str:
    found = {
        _BETWEEN.join(
            (each.user or "", each.job or "", "" if each.seat is None else str(each.seat))
        )
        for each in gpu.processes or ()
    }
    return _AFTER.join(sorted(found)[:_MOST])


@lru_cache(maxsize=1024)
def owners_in(label: str) -> tuple[Owner, ...]:
    """Return what :func:`owner_labels` has written; nobody where it is damaged."""
    made = []
    for part in label.split(_AFTER):
        texts = part.split(_BETWEEN)
        if len(texts) == len(Owner._fields):
            user, job, rank = texts
            made.append(Owner(user or None, job or None, int(rank) if rank.isdecimal() else None))
    return tuple(made)
