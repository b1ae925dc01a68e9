"""One endpoint at work: which version and replica is asked, and what is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

from jupyter_aiinfra.routing.aside import Asked, ask
from jupyter_aiinfra.routing.choice import Choice
from jupyter_aiinfra.routing.comparing import same_packed
from jupyter_aiinfra.routing.config import Endpoint
from jupyter_aiinfra.routing.faults import NoReplica
from jupyter_aiinfra.routing.keys import Keys
from jupyter_aiinfra.routing.relay import Relay
from jupyter_aiinfra.routing.rollout import Course, Progress, traffic_of
from jupyter_aiinfra.routing.running import Running
from jupyter_aiinfra.routing.samples import Sample, Samples
from jupyter_aiinfra.routing.status import EndpointStatus
from jupyter_aiinfra.routing.tallies import Tallies
from jupyter_aiinfra.routing.target import DRAINING, Target
from jupyter_aiinfra.routing.tracing import Traces
from jupyter_aiinfra.routing.wire import KEPT_BYTES, Request

__all__ = ["Home", "Served"]

_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_FAILED = 500
_BUSY = 429
# Copies under way at once; what comes meanwhile is not copied.
_MOST_COPIES = 8
# How many times the least number of comparisons are made at once, and then one of how many.
_PLENTY = 4
_SELDOM = 20
_AGAIN_SECONDS = 5.0
_SMALL_BYTES = 16 * 1024


class Home(Protocol):
    """What endpoints tell the router."""

    def decided(self, served: Served) -> None:
        """Take a step or the end of a rollout, and write it down."""
        ...


class Served:
    """One endpoint.

    Parameters
    ----------
    progress
        Of its rollout, from before.
    """

    def __init__(
        self,
        name: str,
        config: Endpoint,
        *,
        home: Home,
        samples: Samples,
        tallies: Tallies,
        traces: Traces | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.versions: dict[str, Running] = {}
        # Requests that wait for somebody to ask, in the order they came.
        self.waiting: dict[Relay, None] = {}
        self.refused = 0
        self.last_request: float | None = None
        self.keys: Keys | None = None
        self.course: Course | None = None
        self.samples = samples
        self._tallies = tallies
        self._traces = traces
        self._home = home
        self._copies: set[asyncio.Task[None]] = set()
        self._looked = time.monotonic()
        # Whether a request was meant for the new version since the last look, and nobody was there.
        self._missed = False
        self._skipped = 0
        self.sticky = b""
        self.configured(config, progress=progress)

    # --- configuration -----------------------------------------------------------------------

    def configured(self, config: Endpoint, *, progress: Progress | None = None) -> list[Target]:
        """Go by `config` from now on; return the replicas that are not in it any more."""
        self.config = config
        self.samples.told(config.sampling)
        self._tallying = self._tallies.of(self.name, config.sampling.since)
        self.sticky = config.sticky.lower().encode()
        if config.keys is None:
            self.keys = None
        else:
            self.keys = self.keys.replaced(config.keys) if self.keys else Keys(config.keys)
        gone = self._replaced(config)
        if config.rollout is None:
            self.course = None
        else:
            known = self.course.progress if self.course is not None else progress
            self.course = Course(
                config.rollout, known, unready_seconds=max(config.hold_seconds, 1.0)
            )
        self._choose()
        return gone

    def _replaced(self, config: Endpoint) -> list[Target]:
        gone: list[Target] = []
        for name, running in self.versions.items():
            wanted = (
                {one.id: one for one in config.versions[name].replicas}
                if (name in config.versions)
                else {}
            )
            for number, target in list(running.targets.items()):
                if wanted.get(number) != target.replica and target.state != DRAINING:
                    target.drain()
                    gone.append(target)
        for name, version in config.versions.items():
            running = self.versions.setdefault(name, Running(name))
            for replica in version.replicas:
                there = running.targets.get(replica.id)
                if there is None or there.replica != replica or there.state == DRAINING:
                    running.targets[replica.id] = Target(replica, changed=self._changed)
        return gone

    def _choose(self) -> None:
        self.traffic = traffic_of(self.config, self.course)
        self._choice = Choice(self.traffic)
        self.release()

    def forget(self, target: Target) -> None:
        """Forget a replica that has drained, and a version that has none left and is not told."""
        for name, running in list(self.versions.items()):
            if running.targets.get(target.id) is target:
                del running.targets[target.id]
            if not running.targets and name not in self.config.versions:
                self._tallies.take(self._tallying, name, running.counts)
                del self.versions[name]

    # --- who is asked ------------------------------------------------------------------------

    def place(self, relay: Relay) -> None:
        """Have a replica asked, or have it wait for one."""
        if self._traces is not None and relay.span is None and relay.counted:
            self._traces.begin(relay, self.name)
        version = self._version_of(relay)
        running = self.versions.get(version) if version is not None else None
        target = running.pick(relay.tried) if running is not None else None
        if target is None and version is not None and not relay.pinned:
            other, target = self._instead(version, relay)
            running = other or running
        if target is None and running is not None and relay.tried:
            # Once more who was asked before: of several workers one may have died.
            target = running.pick()
        if target is not None and target.doubted and relay.last and self.config.hold_seconds:
            # Where all go at once, each would lose it in a moment. First it says that it is up.
            target = None
        if running is not None and target is not None:
            if relay.version != running.name:
                self._prepare(relay, running.name)
            relay.assign(running.name, target, running.line)
            return
        self._hold(relay)

    def _version_of(self, relay: Relay) -> str | None:
        if relay.version is not None and relay.version in self.versions:
            return relay.version
        if self._choice.by_headers:
            ruled = self._choice.ruled(relay.headers)
            if ruled is not None:
                relay.pinned = True
                return ruled
        return self._choice.draw(relay.headers.get(self.sticky))

    def _instead(self, version: str, relay: Relay) -> tuple[Running | None, Target | None]:
        """Return who else can answer: a version that is not there fails nobody's request."""
        course = self.course
        if course is not None and course.running and version == course.rollout.to:
            self._missed = self._missed or not relay.tried
        for other in self._choice.others(version):
            running = self.versions.get(other)
            target = running.pick(relay.tried) if running is not None else None
            if target is not None:
                return running, target
        return None, None

    def _prepare(self, relay: Relay, version: str) -> None:
        """See what is wanted of it afterwards."""
        if not relay.counted:
            return
        relay.sampled = self.samples.wanted()
        relay.mirror = self._mirror(version)
        if relay.sampled or relay.mirror is not None:
            relay.answer = bytearray()

    def _hold(self, relay: Relay) -> None:
        config = self.config
        if not relay.counted or not config.hold_seconds:
            relay.refuse(NoReplica("no replica is ready", retry_after_seconds=_AGAIN_SECONDS))
        elif relay not in self.waiting and len(self.waiting) >= config.max_held:
            told = f"no replica is ready, and {config.max_held} requests wait for one"
            relay.refuse(NoReplica(told, retry_after_seconds=_AGAIN_SECONDS))
        else:
            self.waiting[relay] = None
            relay.hold(config.hold_seconds)

    def release(self) -> None:
        """Ask again for those that wait: a replica is up, or the traffic goes elsewhere."""
        waiting, self.waiting = self.waiting, {}
        for relay in waiting:
            relay.tried.clear()
            if relay.version is not None and relay.version not in self.config.versions:
                relay.version = None
            self.place(relay)

    def _changed(self, target: Target) -> None:
        if target.up:
            self.release()

    def may_repeat(self, relay: Relay) -> bool:
        """Whether it does no harm to ask this twice."""
        return relay.method in _SAFE or self.config.idempotent

    # --- what came of it ---------------------------------------------------------------------

    def answered(self, relay: Relay, target: Target, status: int, seconds: float) -> None:
        """Count an answer whose head is there, or which will not come."""
        target.requests += 1
        target.errors += status >= _FAILED
        running = self.versions.get(relay.version or "")
        if running is None:
            return
        running.counts.answered(status, seconds)
        course = self._judged(running)
        if course is not None and course.answered(seconds, good=status < _FAILED):
            self.look(0.0)

    def dropped(self, relay: Relay, target: Target) -> None:
        """Hold against a replica and a new version what somebody else will answer."""
        if not relay.counted:
            return
        target.errors += 1
        running = self.versions.get(relay.version or "")
        course = self._judged(running) if running is not None else None
        if course is not None and course.answered(0.0, good=False):
            self.look(0.0)

    def cut(self, relay: Relay, target: Target) -> None:
        """Count an answer, already counted as good, that was lost in the middle."""
        target.errors += 1
        running = self.versions.get(relay.version or "")
        if running is None:
            return
        running.counts.errors += 1
        course = self._judged(running)
        if course is not None:
            course.progress.errors += 1
            self.look(0.0)

    def _judged(self, running: Running) -> Course | None:
        """Return the rollout under way in which this version is the new one."""
        course = self.course
        if course is not None and course.running and running.name == course.rollout.to:
            return course
        return None

    def look(self, passed: float | None = None) -> None:
        """Decide on the rollout, if there is something to decide."""
        course = self.course
        if course is None or not course.running:
            return
        now = time.monotonic()
        if passed is None:
            passed, self._looked = now - self._looked, now
            if self._missed:
                course.unready(passed=passed)
                self._missed = False
        if course.look(passed=passed):
            self._choose()
            self._home.decided(self)

    # --- afterwards --------------------------------------------------------------------------

    def _mirror(self, version: str) -> str | None:
        """Return the version whose answer to the same request is wanted, too."""
        course = self.course
        if course is not None and course.compares:
            rollout = course.rollout
            other = {rollout.from_: rollout.to, rollout.to: rollout.from_}.get(version)
            if other is not None:
                return other if self._worth_comparing(course) else None
        shadow = self.config.shadow
        return shadow if shadow != version else None

    def _worth_comparing(self, course: Course) -> bool:
        """Whether one more comparison is worth a request to a version that has few replicas."""
        progress = course.progress
        if progress.same + progress.different < _PLENTY * course.rollout.least_requests:
            return True
        self._skipped = (self._skipped + 1) % _SELDOM
        return not self._skipped

    def afterwards(self, relay: Relay) -> None:
        """Sample and compare an answer that the client has."""
        body = relay.request.body()
        answer = None if relay.answer is None else bytes(relay.answer)
        if relay.sampled:
            self.samples.keep(self._sample(relay, body, answer))
        if body is None or answer is None or relay.mirror is None:
            return
        if len(self._copies) >= _MOST_COPIES:
            return
        task = asyncio.ensure_future(self._copy(relay, body, answer, relay.mirror))
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    def missed(self, relay: Relay, status: int) -> None:
        """Sample a request to which no replica gave a whole answer."""
        if not relay.in_answer:
            relay.status = status
        self.samples.keep(self._sample(relay, relay.request.body(), None))
        relay.sampled = False

    def _sample(self, relay: Relay, body: bytes | None, answer: bytes | None) -> Sample:
        return Sample(
            at=time.time(),
            path=relay.path.decode("latin-1"),
            version=relay.version or "",
            replica=relay.replica,
            status=relay.status,
            milliseconds=round(1000 * (time.monotonic() - relay.begun), 3),
            key=relay.key,
            request=body,
            request_lines=relay.request.lines,
            answer=answer,
            answer_lines=relay.answer_lines,
        )

    async def _copy(self, relay: Relay, body: bytes, answer: bytes, other: str) -> None:
        """Ask the other version the same, and see whether it says the same."""
        running = self.versions.get(other)
        target = running.pick() if running is not None else None
        if running is None or target is None:
            return
        request = Request(relay.method, relay.request.target, relay.request.lines, len(body))
        request.add(body)
        request.complete = True
        asked = Asked(request, limit_bytes=KEPT_BYTES)
        try:
            await ask(target, asked, seconds=self.config.timeout)
        except (OSError, asyncio.TimeoutError):
            self._compared(relay.version or "", other, same=False)
            return
        if _BUSY in {asked.status, relay.status}:
            # Too much to do is no opinion.
            return
        rollout = self.config.rollout
        tolerance = rollout.gates.tolerance if rollout is not None else self.config.tolerance
        same: bool | None = relay.status == asked.status and asked.whole
        if same:
            ours, theirs = (relay.answer_lines, answer), (asked.lines, bytes(asked.body))
            if len(answer) > _SMALL_BYTES:
                # It would hold up others.
                same = await asyncio.to_thread(same_packed, ours, theirs, tolerance=tolerance)
            else:
                same = same_packed(ours, theirs, tolerance=tolerance)
        if same is not None:
            self._compared(relay.version or "", other, same=same)

    def _compared(self, version: str, other: str, *, same: bool) -> None:
        course = self.course
        newer = other
        if course is not None and {version, other} == {course.rollout.from_, course.rollout.to}:
            newer = course.rollout.to
            if course.running and course.compared(same=same):
                self.look(0.0)
        running = self.versions.get(newer)
        if running is not None:
            running.counts.compared(same=same)

    # --- the whole ---------------------------------------------------------------------------

    def tally(self) -> None:
        """Count the requests that came since the last time; called now and then."""
        for name, running in self.versions.items():
            self._tallies.take(self._tallying, name, running.counts)

    def status(self) -> EndpointStatus:
        """Return it as it is told."""
        self.tally()
        return EndpointStatus(
            traffic=self.traffic,
            rollout=self.course.status() if self.course is not None else None,
            held=len(self.waiting),
            refused=self.refused,
            last_request=self.last_request,
            counted_since=self._tallying.since,
            tallies=self._tallying.told(),
            versions={name: running.status() for name, running in self.versions.items()},
        )

    def targets(self) -> Iterable[Target]:
        """Yield all replicas."""
        for running in self.versions.values():
            yield from running.targets.values()

    def retired(self, why: str) -> list[Target]:
        """Have all replicas drain, and nobody wait; return them."""
        waiting, self.waiting = self.waiting, {}
        for relay in waiting:
            relay.refuse(NoReplica(why))
        targets = list(self.targets())
        for target in targets:
            target.drain()
        return targets

    async def close(self) -> None:
        """End copies and write samples."""
        for task in list(self._copies):
            task.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)
        await self.samples.close()

    async def buried(self) -> None:
        """End what is left, and keep no samples: the endpoint was removed."""
        await self.close()
        self.samples.remove()
