"""What a schedule that the pool's own cron fires can be, and its slots as cron's side reads them.

Pure. The other side is ``node/cronstart.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.triggers import timetable_of
from jupyter_aiinfra.promote.values import is_secret
from jupyter_aiinfra.schedule import Policy, Version

__all__ = [
    "AHEAD_SECONDS",
    "MOST_SLOTS",
    "ahead",
    "check_pool_fires",
    "places",
    "pool_fires",
    "segments",
]

AHEAD_SECONDS: Final = 400 * 86400.0
"""How far ahead slots are brought to the node."""

MOST_SLOTS: Final = 20_000
"""And how many of them at most."""

_SERVERS: Final = "leave it to servers: --fired-by server"


def pool_fires(version: Version) -> bool:
    """Whether the cron of the pool is to start its slots."""
    return version.options.get("fired_by") == "pool"


def check_pool_fires(version: Version) -> None:
    """Refuse, by name, what the pool's cron cannot do with nobody else there.

    Raises
    ------
    UsageError
        Something of it needs a server of ours.
    """
    for option, wanted, why in _unfit(version):
        if wanted:
            raise UsageError(
                f"a schedule that its pool fires cannot have {why}", hint=_SERVERS, option=option
            )


def _unfit(version: Version) -> Iterator[tuple[str, bool, str]]:
    policy, options = version.policy, version.options
    kinds = {trigger.kind for trigger in version.triggers}
    yield "after", "after" in kinds, "--after: the node does not know of other schedules"
    yield "when_changed", "file" in kinds, "--when-changed: a server looks at files"
    yield "fired_by", not kinds, "no slots by the clock: give --cron, --every or --at"
    yield "retries", policy.retries > 0, "--retries: a server tries again"
    yield "jitter", policy.jitter_seconds > 0, "--jitter: cron comes to a slot at once"
    overlap = policy.overlap == "cancel-previous"
    yield "overlap", overlap, "--overlap cancel-previous: skip, queue and --parallel can be"
    yield "gpus", bool(options.get("gpus")), "--gpus: they are leased by us"
    yield "env", bool(options.get("environment")), "--env: environments are built by us"
    secrets = bool(options.get("secrets")) or any(_secrets(version))
    yield "secret", secrets, "secrets: their values are never written down on a node"


def _secrets(version: Version) -> Iterator[bool]:
    form: Mapping[str, Any] = version.form.get("properties", {})
    yield from (is_secret(value) for value in version.parameters.values())
    given = version.parameters
    yield from (is_secret(each.get("default")) for n, each in form.items() if n not in given)


def ahead(version: Version, now: float) -> tuple[list[list[float]], float]:
    """Return the slots after `now` as segments, and up to when these are all."""
    only = version.triggers[0]
    if only.kind == "every" and only.seconds and _goes_on(version):
        first = timetable_of(version).next_after(now)
        assert first is not None  # noqa: S101 - it never ends
        return [
            [first, only.seconds, float(int(AHEAD_SECONDS // only.seconds))]
        ], now + AHEAD_SECONDS
    slots = timetable_of(version).between(now, now + AHEAD_SECONDS, most=MOST_SLOTS)
    whole = len(slots) < MOST_SLOTS
    return segments(slots), now + AHEAD_SECONDS if whole else slots[-1]


def _goes_on(version: Version) -> bool:
    """Whether its slots are those of its only trigger, without an end."""
    policy = version.policy
    return len(version.triggers) == 1 and policy.ends_at is None and not policy.except_days


def segments(slots: Sequence[float]) -> list[list[float]]:
    """Return slots as stretches of equal steps: the first, the step in seconds, and how many."""
    found: list[list[float]] = []
    for slot in slots:
        if found:
            first, step, count = found[-1]
            # Read back it has to be the same number, to the last bit.
            if count == 1 and first + (slot - first) == slot:
                found[-1] = [first, slot - first, 2]
                continue
            if count > 1 and slot == first + step * count:
                found[-1][2] += 1
                continue
        found.append([slot, 0.0, 1])
    return found


def places(policy: Policy) -> int:
    """Return how many runs there may be at once."""
    return policy.parallel if policy.overlap == "parallel" else 1
