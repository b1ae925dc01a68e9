"""What follows for an endpoint from how it stands: pure. Who writes it down acts on it.

Any number of processes look at the same endpoint; each works out the same from the same record,
and one of them writes. Whether a new version is good enough is not decided here but by the router,
which lives on without any of us; here its decision is found, and put on record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from jupyter_aiinfra.endpoint import (
    EndpointVersion,
    Replica,
    ReplicaState,
    Rollout,
    Share,
    VersionState,
)
from jupyter_aiinfra.model import Job
from jupyter_aiinfra.promote.spot import is_fallback
from jupyter_aiinfra.routing.status import EndpointStatus
from jupyter_aiinfra.store.endpoints import Whole

__all__ = ["GIVEN_UP", "Change", "decide", "is_up", "state_of"]

GIVEN_UP: Final = 3
"""So many replicas of a version that never answered end in a row, and it is given up."""

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_HERE: Final = (ReplicaState.DUE, ReplicaState.SERVING)


@dataclass
class Change:
    """What is to be written of an endpoint; nothing, if it is as it should be."""

    values: dict[str, Any] = field(default_factory=dict)
    versions: dict[int, EndpointVersion] = field(default_factory=dict)
    replicas: dict[str, Replica] = field(default_factory=dict)
    event: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values or self.versions or self.replicas)


def state_of(status: EndpointStatus | None, replica: Replica) -> str | None:
    """Return how the router has a replica; ``None``: it has not, or nothing is known."""
    told = None if status is None else status.versions.get(str(replica.version))
    known = None if told is None else told.replicas.get(replica.id)
    return None if known is None else known.state


def is_up(status: EndpointStatus | None, replica: Replica) -> bool:
    """Whether the router has a replica that answers."""
    return state_of(status, replica) == "up"


def decide(
    whole: Whole,
    *,
    status: EndpointStatus | None,
    jobs: Mapping[str, Job],
    new_ids: Sequence[str],
    now: float,
    wanted: Mapping[int, int] | None = None,
    away: Mapping[int, float] | None = None,
    start_seconds: float = 600.0,
) -> Change:
    """Return what follows.

    Parameters
    ----------
    status
        What the router says of it; ``None``: it said nothing, so nothing is known.
    jobs
        Those of its replicas that are on record, by id.
    new_ids
        Ids for replicas that have to be launched.
    wanted
        How many replicas versions are to have by their load.
    away
        Of versions that can fall back on another pool: until when nothing is launched on their own.
    start_seconds
        How long a new version may take to answer.
    """
    decision = _Decision(
        whole,
        status=status,
        jobs=jobs,
        new_ids=new_ids,
        now=now,
        wanted=wanted or {},
        away=away or {},
        start_seconds=start_seconds,
    )
    return decision.made()


class _Decision:
    """One look; what has been decided so far is what the rest is decided on."""

    def __init__(
        self,
        whole: Whole,
        *,
        status: EndpointStatus | None,
        jobs: Mapping[str, Job],
        new_ids: Sequence[str],
        now: float,
        wanted: Mapping[int, int],
        away: Mapping[int, float],
        start_seconds: float,
    ) -> None:
        self._whole = whole
        self._status = status
        self._jobs = jobs
        self._new_ids = list(new_ids)
        self._now = now
        self._wanted = wanted
        self._away = away
        self._start_seconds = start_seconds
        self._endpoint = whole.endpoint
        self._versions = {each.number: each for each in whole.versions}
        self._replicas = {each.id: each for each in whole.replicas}
        self._change = Change()

    def made(self) -> Change:
        """Return it."""
        for replica in list(self._replicas.values()):
            self._bury(replica)
        for version in list(self._versions.values()):
            self._look(version)
        if self._endpoint.removed_at is None:
            self._roll()
        for version in list(self._versions.values()):
            self._size(version)
        return self._change

    # --- writing -------------------------------------------------------------------------------

    def _put_replica(self, replica: Replica, **values: Any) -> None:
        changed = replace(replica, **values)
        self._replicas[changed.id] = self._change.replicas[changed.id] = changed

    def _put_version(self, number: int, **values: Any) -> EndpointVersion:
        changed = replace(self._versions[number], **values)
        self._versions[number] = self._change.versions[number] = changed
        return changed

    def _put(self, event: str, reason: str | None, **values: Any) -> None:
        rollout = self._endpoint.rollout
        self._endpoint = replace(self._endpoint, **values)
        self._change.values.update(values)
        self._change.event = event
        self._change.detail = {"reason": reason}
        if rollout is not None:
            self._change.detail |= {"from": rollout.old, "to": rollout.new, "rollout": rollout.id}

    # --- replicas that are over ----------------------------------------------------------------

    def _bury(self, replica: Replica) -> None:
        job = self._jobs.get(replica.id)
        if job is not None and not job.state.final:
            return
        if job is None and replica.state is ReplicaState.DUE:
            return  # not launched yet
        reason = "its job was removed" if job is None else (job.seen.reason if job.seen else None)
        asked = replica.state is ReplicaState.LEAVING
        told = None if asked else reason or "it ended"
        self._put_replica(
            replica, state=ReplicaState.GONE, reason=told, claim=None, ended_at=self._now
        )
        if not asked:
            version = self._versions[replica.version]
            self._put_version(
                version.number,
                failures=version.failures + 1,
                failed_at=self._now,
                reason=told,
            )

    # --- versions ------------------------------------------------------------------------------

    def _here(self, number: int) -> list[Replica]:
        return [
            each
            for each in self._replicas.values()
            if each.version == number and each.state in _HERE
        ]

    def _up(self, number: int) -> list[Replica]:
        return [each for each in self._here(number) if is_up(self._status, each)]

    def _look(self, version: EndpointVersion) -> None:
        up = self._up(version.number)
        if up and (version.state is VersionState.STARTING or version.failures):
            ready = VersionState.READY if version.state is VersionState.STARTING else version.state
            version = self._put_version(
                version.number, state=ready, failures=0, failed_at=None, reason=None
            )
        if version.state is VersionState.STARTING and version.wanted:
            if version.failures >= GIVEN_UP:
                self._give_up(version, f"it never answered: {version.reason}")
            elif self._now - version.created_at > self._start_seconds and self._status is not None:
                self._give_up(version, f"it did not answer within {self._start_seconds:g} s")

    def _give_up(self, version: EndpointVersion, reason: str) -> None:
        self._put_version(version.number, state=VersionState.FAILED, reason=reason, wanted=0)

    # --- from one version to another -----------------------------------------------------------

    def _roll(self) -> None:
        shadow = self._endpoint.shadow
        if shadow is not None and self._versions[shadow].state is VersionState.FAILED:
            self._put("endpoint.shadow-failed", self._versions[shadow].reason, shadow=None)
        rollout = self._endpoint.rollout
        if rollout is None:
            return
        if rollout.begun:
            self._follow(rollout)
            return
        new = self._versions[rollout.new]
        if new.state is VersionState.FAILED:
            self._rolled_back(f"version {new.number}: {new.reason}")
        elif new.wanted and len(self._up(new.number)) >= new.wanted:
            self._put("endpoint.rollout", None, rollout=replace(rollout, begun=True))

    def _follow(self, rollout: Rollout) -> None:
        """Put on record what the router has decided."""
        told = None if self._status is None else self._status.rollout
        if told is None or told.id != rollout.id:
            return
        if told.state == "promoted":
            self._promoted(told.reason)
        elif told.state == "rolled-back":
            self._rolled_back(told.reason)

    def _promoted(self, reason: str) -> None:
        endpoint = self._endpoint
        rollout = endpoint.rollout
        assert rollout is not None  # noqa: S101 - the caller looked
        traffic = (Share(version=rollout.new, weight=100.0),)
        self._put("endpoint.promoted", reason, traffic=traffic, rollout=None)
        keep = self._now + endpoint.options.keep_seconds
        for number in {share.version for share in endpoint.traffic} | {rollout.old}:
            if number != rollout.new:
                self._put_version(number, retire_at=keep)
        self._put_version(rollout.new, retire_at=None)

    def _rolled_back(self, reason: str) -> None:
        rollout = self._endpoint.rollout
        assert rollout is not None  # noqa: S101 - the caller looked
        # Whatever header led to it leads there no more.
        traffic = tuple(each for each in self._endpoint.traffic if each.version != rollout.new)
        traffic = traffic or (Share(version=rollout.old, weight=100.0),)
        self._put("endpoint.rolled-back", reason, traffic=traffic, rollout=None)
        self._put_version(rollout.new, state=VersionState.FAILED, reason=reason, wanted=0)

    # --- how many ------------------------------------------------------------------------------

    def _size(self, version: EndpointVersion) -> None:
        number = version.number
        in_use = self._endpoint.removed_at is None and number in self._endpoint.in_use
        if not in_use and version.wanted:
            removed = self._endpoint.removed_at is not None
            due = version.retire_at is not None and version.retire_at <= self._now
            if removed or due:
                state = version.state
                over = state if state is VersionState.FAILED else VersionState.RETIRED
                version = self._put_version(number, wanted=0, state=over)
        elif in_use and version.state is not VersionState.FAILED:
            count = self._wanted.get(number, version.wanted)
            if count != version.wanted:
                version = self._put_version(number, wanted=count)
        here = self._here(number)
        # One that was lost with its machine is not waited for, and may come back.
        lost = [each for each in here if self._is_lost(version, each)]
        there = [each for each in here if each not in lost]
        count = len(there)
        wanted = version.wanted + self._tries(version, here)
        if not wanted:
            self._dismiss(here, len(here))
        elif count > wanted:
            self._dismiss(there, count - wanted)
        elif count < wanted and self._may_launch(version):
            for _ in range(wanted - count):
                if self._new_ids:
                    self._add(version)

    def _is_lost(self, version: EndpointVersion, replica: Replica) -> bool:
        """Whether a replica that can be replaced elsewhere was there and answers no more."""
        if version.options.fallback_pool is None or self._falls_back(version, replica):
            return False
        return state_of(self._status, replica) == "ejected"

    def _falls_back(self, version: EndpointVersion, replica: Replica) -> bool:
        return is_fallback(version, self._jobs.get(replica.id))

    def _tries(self, version: EndpointVersion, here: Sequence[Replica]) -> int:
        """Return 1 where one more is launched to see whether a version's own pool is there again.

        Who falls back serves on meanwhile, and goes when the other one answers.
        """
        back = [each for each in here if self._falls_back(version, each)]
        if not version.wanted or not back or self._now < self._away.get(version.number, 0.0):
            return 0
        if any(self._is_lost(version, each) for each in here):
            return 0
        # One found to be over just now counts for when to try again only at the next look.
        if any(
            each.version == version.number and each.ended_at == self._now
            for each in self._replicas.values()
        ):
            return 0
        steady = all(is_up(self._status, each) for each in back)
        own = [each for each in here if each not in back]
        trying = [each for each in own if not is_up(self._status, each)]
        if trying:
            return 1  # it is on its way
        return 1 if steady and len(here) <= version.wanted else 0

    def _may_launch(self, version: EndpointVersion) -> bool:
        if version.failed_at is None:
            return True
        failures = version.failures
        if version.options.fallback_pool is not None:
            failures -= 1  # the first place that is lost is taken elsewhere at once
            if not failures:
                return True
        pause = _FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10)
        # A clock that was put back must not keep it away.
        return abs(self._now - version.failed_at) >= min(pause, _LONGEST_PAUSE_SECONDS)

    def _add(self, version: EndpointVersion) -> None:
        replica = Replica(
            id=self._new_ids.pop(0),
            endpoint=version.endpoint,
            version=version.number,
            created_at=self._now,
        )
        self._put_replica(replica)

    def _dismiss(self, here: list[Replica], count: int) -> None:
        # Who does not answer goes first, then who only fell back, then the youngest: the old ones
        # are warm.
        order = sorted(
            here,
            key=lambda each: (
                is_up(self._status, each),
                not self._falls_back(self._versions[each.version], each),
                -each.created_at,
            ),
        )
        for replica in order[:count]:
            never = replica.state is ReplicaState.DUE and replica.id not in self._jobs
            if never and replica.claim is None:
                self._put_replica(replica, state=ReplicaState.GONE, ended_at=self._now)
            else:
                self._put_replica(replica, state=ReplicaState.LEAVING, leaving_at=self._now)
