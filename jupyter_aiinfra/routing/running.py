"""One version at work: its replicas, and what is counted of it."""

from __future__ import annotations

from collections.abc import Collection

from jupyter_aiinfra.routing.counts import Counts
from jupyter_aiinfra.routing.status import VersionStatus
from jupyter_aiinfra.routing.target import Target

__all__ = ["Running"]


class Running:
    """One version: its replicas and its counters."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Each answer says who gave it.
        self.line = b"x-endpoint-version: %b\r\n" % name.encode()
        self.targets: dict[str, Target] = {}
        self.counts = Counts()
        self._turn = 0

    def pick(self, tried: Collection[str] = ()) -> Target | None:
        """Return who has the least under way, in turn among equals; none of those `tried`."""
        up = [target for target in self.targets.values() if target.up]
        if tried:
            up = [target for target in up if target.id not in tried]
        if len(up) > 1:
            self._turn = turn = (self._turn + 1) % len(up)
            up = up[turn:] + up[:turn]
            return min(up, key=_under_way)
        return up[0] if up else None

    def status(self) -> VersionStatus:
        """Return it as it is told."""
        told = self.counts.status()
        return VersionStatus(
            requests=told.requests,
            errors=told.errors,
            rejected=told.rejected,
            latency=told.latency,
            agreement=told.agreement,
            in_flight=sum(target.in_flight for target in self.targets.values()),
            replicas={number: target.status() for number, target in self.targets.items()},
        )


def _under_way(target: Target) -> int:
    return target.in_flight
