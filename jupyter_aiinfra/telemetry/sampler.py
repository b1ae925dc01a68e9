"""One stream a node, however many read: it begins with the first reader and ends after the last.

All of it lives in one event loop, that of the engine. A stream that breaks is opened again, with
growing pauses; what was not read meanwhile is a gap, and no value is made up for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from enum import Enum
from typing import Final

from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.telemetry.alerts import Follower
from jupyter_aiinfra.telemetry.history import History
from jupyter_aiinfra.telemetry.sample import LineReader, Sample
from jupyter_aiinfra.telemetry.series import GPU_SERIES, NODE_SERIES, steps

__all__ = ["NODE_ROW", "Listener", "NodeSampler", "NodeState", "Rows", "sample_steps"]

Rows = Mapping[str, Sequence[int | None]]
Listener = Callable[[float, Rows], None]

_INTERVAL_SECONDS: Final = 1.0
_LINGER_SECONDS: Final = 5.0
_STALE_INTERVALS: Final = 3
_SILENT_SECONDS: Final = 20.0
_LATE_SECONDS: Final = 60.0
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0

NODE_ROW: Final = ""
"""The name of the row of a history that is the node itself; all others are UUIDs of GPUs."""


class NodeState(str, Enum):
    """How current the samples of a node are.

    ``WAITING`` before the first one, ``STALE`` when none has come for three intervals,
    ``UNREACHABLE`` when its stream cannot be opened or has broken.
    """

    WAITING = "waiting"
    LIVE = "live"
    STALE = "stale"
    UNREACHABLE = "unreachable"


class NodeSampler:
    """The samples of one node.

    Parameters
    ----------
    name
        The node's.
    probe
        Opens a stream of what the node's probe prints.
    interval
        Seconds from one sample to the next.
    clock
        Monotonic seconds.
    wall
        Seconds since the epoch. Nodes' own clocks may be wrong, and are to be drawn side by side.

    Attributes
    ----------
    latest
        The newest sample, however old; ``received_at`` says by `clock` when it came, ``at`` by
        `wall` when it was taken.
    problem
        Why the stream is not there, in a sentence; empty while it is.
    history
        The samples of the last hour: a row a GPU, and the row :data:`NODE_ROW`.
    follower
        What of its GPUs somebody should look at.
    listeners
        Called with the time and the rows of each sample as it comes, in the sampler's loop.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], AsyncGenerator[bytes, None]],
        *,
        interval: float = _INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.interval = interval
        self.latest: Sample | None = None
        self.received_at: float | None = None
        self.seq = 0
        self.problem = ""
        self.damaged = 0
        self.history = History(max(len(GPU_SERIES), len(NODE_SERIES)))
        self.at = 0.0
        self.follower = Follower()
        self.listeners: list[Listener] = []
        self._probe = probe
        self._clock = clock
        self._wall = wall
        self._behind: float | None = None
        self._readers = 0
        self._stays_until = 0.0
        self._in_stream = 0
        self._task: asyncio.Task[None] | None = None
        self._end: asyncio.TimerHandle | None = None
        self._arrived = asyncio.Event()

    # --- who reads ---

    @property
    def is_sampling(self) -> bool:
        """Whether there is a stream, or one is being opened."""
        return self._task is not None

    def hold(self) -> None:
        """Sample from now on, until :meth:`release` was called as often."""
        self._readers += 1
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"aiinfra-probe-{self.name}")

    def release(self, *, linger: float = 0.0) -> None:
        """Let go; the stream ends some seconds after the last who held it, or `linger` if later."""
        self._readers -= 1
        now = self._clock()
        self._stays_until = max(self._stays_until, now + max(linger, _LINGER_SECONDS))
        if self._readers == 0 and self._task is not None:
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(self._stays_until - now, self._stop)

    def _stop(self) -> None:
        self._end = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def aclose(self) -> None:
        """End the stream whoever reads. Idempotent."""
        if self._end is not None:
            self._end.cancel()
        task = self._task
        self._stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def fresh(self, seconds: float, *, samples: int = 1) -> None:
        """Wait until a stream has brought so many samples, or a problem; for so long at most.

        Rates are known from the second on. Only while held.
        """
        deadline = self._clock() + seconds
        while self._in_stream < samples and not self.problem:
            left = deadline - self._clock()
            if left <= 0:
                return
            self._arrived.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)

    # --- what is known ---

    @property
    def state(self) -> NodeState:
        """How current :attr:`latest` is."""
        if self.problem:
            return NodeState.UNREACHABLE
        if self.received_at is None or self._task is None:
            return NodeState.WAITING
        silent = self._clock() - self.received_at
        return NodeState.STALE if silent > _STALE_INTERVALS * self.interval else NodeState.LIVE

    # --- the stream ---

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        try:
            while True:
                before = self.seq
                problem = await self._follow()
                if self.seq > before:
                    pause = _FIRST_PAUSE_SECONDS
                self.problem = problem
                self._arrived.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        finally:
            # What comes next is another stream: what was read before it is no state of it.
            self.problem, self.received_at, self._in_stream = "", None, 0

    async def _follow(self) -> str:
        """Take what one stream brings; return why it ended."""
        reader = LineReader()
        self._in_stream = 0
        silence = max(_SILENT_SECONDS, 10 * self.interval)
        stream = self._probe()
        try:
            while True:
                data = await _soon(stream, silence)
                if data is None:
                    return f"{self.name}: its probe has said nothing for {silence:g} s"
                for sample in reader.feed(data):
                    self._take(sample)
                self.damaged += reader.damaged
                reader.damaged = 0
        except StopAsyncIteration:
            return f"{self.name}: its probe has ended"
        except AiInfraError as error:
            return error.message
        finally:
            await stream.aclose()

    def _take(self, sample: Sample) -> None:
        self.seq += 1
        self._in_stream += 1
        self.at = self._taken_at(sample)
        self.latest, self.received_at, self.problem = sample, self._clock(), ""
        rows = sample_steps(sample)
        self.history.add(self.seq, self.at, rows)
        self.follower.take(self.at, sample)
        self._arrived.set()
        for listener in tuple(self.listeners):
            listener(self.at, rows)

    def _taken_at(self, sample: Sample) -> float:
        """Return by our clock when a sample was taken.

        What waited somewhere on its way comes late, all at once. The quickest so far says how far
        the node's clock is behind ours.
        """
        behind = self._wall() - sample.at
        if self._behind is None or not self._behind <= behind < self._behind + _LATE_SECONDS:
            self._behind = behind  # also where one of the clocks was set
        return sample.at + self._behind


async def _soon(stream: AsyncGenerator[bytes, None], seconds: float) -> bytes | None:
    """Return what comes next of a stream; ``None`` where nothing does in time.

    Not by `wait_for`: before Python 3.12 it may swallow that its caller is cancelled.
    """
    step = asyncio.ensure_future(stream.__anext__())
    try:
        await asyncio.wait({step}, timeout=seconds)
        return step.result() if step.done() else None
    finally:
        if not step.done():
            step.cancel()
            await asyncio.wait({step})


def sample_steps(sample: Sample) -> dict[str, list[int | None]]:
    """Return a sample as numbers of steps: a row a GPU, and the row of the node."""
    rows = {
        gpu.uuid: [steps(series.read(gpu), series.step) for series in GPU_SERIES]
        for gpu in sample.gpus
    }
    node = [steps(series.read(sample.node), series.step) for series in NODE_SERIES]
    rows[NODE_ROW] = node + [None] * (len(GPU_SERIES) - len(NODE_SERIES))
    return rows
