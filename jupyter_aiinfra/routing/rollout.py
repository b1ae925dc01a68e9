"""When a new version gets more of the traffic, and when it is taken back; pure.

Each step has a window. A gate that allows a part of the answers to be bad is broken as soon as more
are bad than it would allow of `least_requests`, or of those that there were if there were more: the
verdict does not wait for answers that could not change it any more. A step is over when its time
is, and when it has as many answers as it takes to judge; nothing is promoted unseen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from jupyter_aiinfra.routing.config import Endpoint, Rollout, Share
from jupyter_aiinfra.routing.status import RolloutStatus

__all__ = ["PROMOTED", "ROLLED_BACK", "RUNNING", "Course", "Progress", "traffic_of"]

RUNNING = "running"
PROMOTED = "promoted"
ROLLED_BACK = "rolled-back"

_ALL = 100.0
_SLOW_SHARE = 0.05
_FEW = 20


class Progress(msgspec.Struct, kw_only=True):
    """How far a rollout is; what a router that is started again goes on with.

    Parameters
    ----------
    elapsed
        Seconds that this step has been watched.
    unready
        Seconds for which requests were meant for the new version and none of its replicas was up.
    """

    id: str
    step: int = 0
    state: str = RUNNING
    reason: str = ""
    since: float = 0.0
    elapsed: float = 0.0
    unready: float = 0.0
    requests: int = 0
    errors: int = 0
    slow: int = 0
    same: int = 0
    different: int = 0


class Course:
    """One rollout under way.

    Parameters
    ----------
    progress
        Of the same rollout, from before.
    unready_seconds
        For how long the new version may have no replica to ask.
    """

    def __init__(
        self,
        rollout: Rollout,
        progress: Progress | None = None,
        *,
        unready_seconds: float = 60.0,
        now: float | None = None,
    ) -> None:
        self.rollout = rollout
        if progress is None or progress.id != rollout.id:
            progress = Progress(id=rollout.id, since=time.time() if now is None else now)
        # The steps may be fewer than they were.
        progress.step = min(progress.step, len(rollout.steps) - 1)
        self.progress = progress
        self._unready_seconds = unready_seconds

    @property
    def running(self) -> bool:
        """Whether it is not decided yet."""
        return self.progress.state == RUNNING

    @property
    def compares(self) -> bool:
        """Whether answers of both versions to one request are wanted."""
        return self.running and self.rollout.gates.agreement is not None

    def answered(self, seconds: float, *, good: bool) -> bool:
        """Count an answer of the new version; return whether it may have broken a gate."""
        progress = self.progress
        progress.requests += 1
        progress.unready = 0.0
        bad = not good
        progress.errors += bad
        most = self.rollout.gates.p95_ms
        if most is not None and seconds * 1000 > most:
            progress.slow += 1
            bad = True
        return bad

    def compared(self, *, same: bool) -> bool:
        """Count a comparison; return whether it may have broken a gate."""
        if same:
            self.progress.same += 1
        else:
            self.progress.different += 1
        return not same

    def look(self, *, passed: float, now: float | None = None) -> bool:
        """Decide after `passed` more seconds; return whether step or state changed."""
        if not self.running:
            return False
        now = time.time() if now is None else now
        progress = self.progress
        progress.elapsed += passed
        broken = next(self._broken(), "")
        if broken:
            self._decided(ROLLED_BACK, broken, now)
            return True
        lacking = next(self._lacking(), "")
        if lacking:
            progress.reason = lacking
            return False
        steps = self.rollout.steps
        if progress.step + 1 < len(steps):
            self._begin(progress.step + 1, now)
            return True
        if steps[-1] < _ALL:
            self._begin(progress.step, progress.since)
            progress.reason = f"stays at {steps[-1]:g} %: all gates hold"
            return False
        self._decided(PROMOTED, f"all gates held, last with {self._seen()}", now)
        return True

    def unready(self, *, passed: float) -> None:
        """Count seconds in which the new version was wanted and had no replica that is up."""
        self.progress.unready += passed

    def status(self) -> RolloutStatus:
        """Return it as it is told."""
        progress = self.progress
        return RolloutStatus(
            id=progress.id,
            step=progress.step,
            state=progress.state,
            reason=progress.reason,
            since=progress.since,
            requests=progress.requests,
            errors=progress.errors,
            slow=progress.slow,
            same=progress.same,
            different=progress.different,
        )

    def _begin(self, step: int, now: float) -> None:
        progress = self.progress
        progress.step = step
        progress.since = now
        progress.elapsed = progress.unready = 0.0
        progress.requests = progress.errors = progress.slow = 0
        progress.same = progress.different = 0
        progress.reason = ""

    def _decided(self, state: str, reason: str, now: float) -> None:
        percent = self.rollout.steps[self.progress.step]
        self.progress.state = state
        self.progress.reason = f"at {percent:g} %: {reason}"
        self.progress.since = now

    def _seen(self) -> str:
        progress = self.progress
        if not progress.requests:
            return "no requests"
        return f"{progress.requests} answers, {progress.errors} of them errors"

    def _broken(self) -> Iterator[str]:
        """Yield in words what the new version does not hold."""
        progress, gates = self.progress, self.rollout.gates
        # Where none are needed, a few still are for a verdict.
        least = self.rollout.least_requests or _FEW
        most = max(progress.requests, least)
        if gates.error_rate is not None and _more(progress.errors, gates.error_rate * most):
            yield (
                f"{progress.errors} of {progress.requests} answers of version {self.rollout.to} "
                f"were errors; {_percent(gates.error_rate)} may be"
            )
        if gates.p95_ms is not None and _more(progress.slow, _SLOW_SHARE * most):
            yield (
                f"{progress.slow} of {progress.requests} answers of version {self.rollout.to} "
                f"took longer than {gates.p95_ms:g} ms; 5 % may"
            )
        both = progress.same + progress.different
        most = max(both, least)
        if gates.agreement is not None and _more(progress.different, (1 - gates.agreement) * most):
            yield (
                f"{progress.different} of {both} answers of version {self.rollout.to} differ from "
                f"those of version {self.rollout.from_}; {_percent(1 - gates.agreement)} may"
            )
        if progress.unready > self._unready_seconds:
            yield (
                f"version {self.rollout.to} had no replica that was ready for "
                f"{progress.unready:.0f} s"
            )

    def _lacking(self) -> Iterator[str]:
        """Yield in words what the step still waits for."""
        progress, rollout = self.progress, self.rollout
        least = rollout.least_requests
        if progress.unready:
            yield f"waits for a replica of version {rollout.to} that is ready"
        if progress.requests < least:
            yield f"waits for requests: {progress.requests} of {least}"
        both = progress.same + progress.different
        if rollout.gates.agreement is not None and both < least:
            yield f"waits for answers to compare: {both} of {least}"
        if progress.elapsed < rollout.step_seconds:
            yield f"watched for {progress.elapsed:.0f} of {rollout.step_seconds:g} s"


def _more(bad: int, allowed: float) -> bool:
    # A tenth of fifty is five, whatever floating point makes of it.
    return bad > allowed + 1e-9


def _percent(share: float) -> str:
    return f"{round(100 * share, 4):g} %"


def traffic_of(endpoint: Endpoint, course: Course | None) -> tuple[Share, ...]:
    """Return who gets how much now: what a rollout says goes before the configured weights.

    Of the configured traffic a rollout leaves the headers, except those of a version that it ended.
    """
    if course is None:
        if not endpoint.traffic and len(endpoint.versions) == 1:
            return (Share(version=next(iter(endpoint.versions)), weight=1),)
        return endpoint.traffic
    rollout = course.rollout
    headers = {share.version: share.header for share in endpoint.traffic if share.header}
    if course.progress.state == PROMOTED:
        return (Share(version=rollout.to, weight=_ALL, header=headers.get(rollout.to)),)
    if course.progress.state == ROLLED_BACK:
        return (Share(version=rollout.from_, weight=_ALL, header=headers.get(rollout.from_)),)
    percent = rollout.steps[course.progress.step]
    weights = {rollout.from_: _ALL - percent, rollout.to: percent}
    others = [share for share in endpoint.traffic if share.header and share.version not in weights]
    return (
        *(
            Share(version=version, weight=weight, header=headers.get(version))
            for version, weight in weights.items()
        ),
        *(Share(version=share.version, header=share.header) for share in others),
    )
