"""The GPUs of a job that a cell watches: read beside it, and never in its way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.model import Job, JobState, Placement

if TYPE_CHECKING:
    from jupyter_aiinfra.commands.session import Session
    from jupyter_aiinfra.telemetry import Frame

__all__ = ["JobGpus"]

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 60.0


class JobGpus:
    """Reads what a job has of GPUs while it runs, on the loop of the engine.

    What goes wrong with that is no trouble of the job's: then there is nothing to show.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._frame: Frame | None = None
        self._placement: tuple[Placement, ...] = ()
        self._reading: Future[None] | None = None

    @property
    def newest(self) -> Frame | None:
        """The newest frame with a GPU in it; ``None`` before there is one."""
        return self._frame

    def follow(self, job: Job) -> None:
        """Read while the job runs on GPUs, where it does now. Waits for nothing."""
        runs = job.state is JobState.RUNNING and any(place.gpus for place in job.placement)
        placement = job.placement if runs else ()
        if placement == self._placement:
            return
        self.close()
        self._placement = placement
        if placement:
            self._reading = self._session.submit(self._read(job.id))

    def close(self) -> None:
        """Read no more. Idempotent."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()

    async def _read(self, job_id: str) -> None:
        from jupyter_aiinfra.telemetry import Scope  # noqa: PLC0415 - a magic loads without it

        telemetry = self._session.engine.telemetry
        pause = _FIRST_PAUSE_SECONDS
        try:
            while True:
                with contextlib.suppress(AiInfraError):
                    stream = telemetry.subscribe(Scope(job=job_id))
                    async with contextlib.aclosing(stream) as frames:
                        async for frame in frames:
                            pause = _FIRST_PAUSE_SECONDS
                            self._frame = frame if frame.gpus else self._frame
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        except Exception:  # noqa: BLE001 - one of the loops
            _LOG.exception("the GPUs of job %s are not read", job_id)
