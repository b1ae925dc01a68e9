"""The cost of a job that a cell watches: read beside it, and never in its way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from typing import TYPE_CHECKING, Final

from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.model import Job, JobState

if TYPE_CHECKING:
    from jupyter_aiinfra.commands.session import Session
    from jupyter_aiinfra.widgets.costwire import JobCostItem

__all__ = ["JobCosts"]

_LOG = logging.getLogger(__name__)
_EVERY_SECONDS: Final = 15.0
_LAST_SECONDS: Final = 2.0


class JobCosts:
    """Reads what a job has cost now and then, on the loop of the engine.

    What goes wrong with that is no trouble of the job's: then there is nothing to show, or what
    there was before.
    """

    def __init__(self, session: Session, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._clock = clock
        self._item: JobCostItem | None = None
        self._state: JobState | None = None
        self._due = 0.0
        self._reading: Future[JobCostItem] | None = None

    @property
    def newest(self) -> JobCostItem | None:
        """The last that was read; ``None`` before there is any."""
        return self._item

    def follow(self, job: Job) -> None:
        """Read where that is due: a state is new, or the last reading is old. Waits for nothing."""
        reading = self._reading
        if reading is not None:
            if not reading.done():
                return
            self._take(reading, timeout=0)
        if job.state is not self._state or (not job.state.final and self._clock() >= self._due):
            self._state, self._due = job.state, self._clock() + _EVERY_SECONDS
            self._reading = self._session.submit(self._read(job))

    def last(self, job: Job) -> None:
        """Read what `job` has cost as it is; waits a moment for that, and then does without."""
        self._take(self._session.submit(self._read(job)), timeout=_LAST_SECONDS)

    def _take(self, reading: Future[JobCostItem], *, timeout: float) -> None:
        self._reading = None
        try:
            self._item = reading.result(timeout=timeout)
        except NoAnswer:
            reading.cancel()
        except AiInfraError as error:
            _LOG.debug("the cost is not read: %s", error.message)
        except Exception:  # noqa: BLE001 - it must not stand in the way of what the job came to
            _LOG.exception("the cost is not read")

    async def _read(self, job: Job) -> JobCostItem:
        from jupyter_aiinfra.widgets.costwire import job_cost_item  # noqa: PLC0415 - loads late

        return job_cost_item(self._session.engine.costing.now([job])[job.id])
