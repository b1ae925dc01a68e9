"""Replicas on machines that are taken back at any time, and where their place is taken; pure.

A version has its pool, and may have another one to fall back on. Which of both a replica is on is
known from its job; where one is launched that has none yet is decided when it is launched, from
what became of those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from jupyter_aiinfra.endpoint import EndpointVersion, Replica, ReplicaState
from jupyter_aiinfra.model import Job

__all__ = ["away_until", "is_fallback", "pool_for"]

_FIRST_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 900.0
# What has lived for so long was not taken back as soon as it was there.
_STEADY_SECONDS: Final = 600.0


def is_fallback(version: EndpointVersion, job: Job | None) -> bool:
    """Whether a replica runs where its version only falls back on."""
    fallback = version.options.fallback_pool
    return fallback is not None and job is not None and job.pool == fallback


def away_until(
    version: EndpointVersion, replicas: Sequence[Replica], jobs: Mapping[str, Job]
) -> float:
    """Return until when nothing more is launched on a version's own pool; 0.0: it may be.

    Each replica that was lost there soon after it came makes that twice as long.

    Parameters
    ----------
    replicas
        All that there were, the newest first.
    """
    if version.options.fallback_pool is None:
        return 0.0
    over = [
        each
        for each in replicas
        if each.version == version.number
        # Asked to go, a replica has no reason.
        and (each.state is ReplicaState.GONE and each.reason is not None)
        and not is_fallback(version, jobs.get(each.id))
    ]
    if not over:
        return 0.0
    ended = sorted(over, key=lambda each: each.ended_at or each.created_at, reverse=True)
    pause = _FIRST_SECONDS
    for replica in ended:
        if (replica.ended_at or replica.created_at) - replica.created_at > _STEADY_SECONDS:
            break
        pause *= 2
    last = ended[0].ended_at or ended[0].created_at
    return last + min(pause, _LONGEST_SECONDS)


def pool_for(version: EndpointVersion, *, away: float, silent: bool, now: float) -> str:
    """Return where the next replica of a version is launched.

    Parameters
    ----------
    away
        What :func:`away_until` returns.
    silent
        Whether a replica on its own pool is there and does not answer.
    """
    fallback = version.options.fallback_pool
    if fallback is not None and (silent or now < away):
        return fallback
    return version.pool
