"""Watching one job from a foreground process: show what is new, and answer interrupts honestly."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.errors import JobFailed, Unreachable
from jupyter_aiinfra.follow import Follower, News
from jupyter_aiinfra.model import Desired, Job, JobState

__all__ = ["Screen", "check_outcome", "watch"]

# Under ten updates a second, whatever the ranks print, and fewer where they take long: watching
# is to cost about a hundredth of a core, for the ranks may run on this very machine.
_PAUSE_SECONDS = 0.12
_LONGEST_PAUSE_SECONDS = 0.25
_PAUSE_FOR_EACH_SECOND = 100.0
_QUIET_PAUSE_SECONDS = 0.4
_QUIET_POLLS = 8


class Screen(Protocol):
    """What a surface does with the news of a job."""

    def show(self, news: News, note: str) -> None:
        """Take what one poll brought; `note` says what an interrupt has set going.

        After an interrupt in the middle of it the same news come again: go by their offsets.
        """
        ...


def watch(
    session: Session, job: Job, screen: Screen, *, is_ending: Callable[[], bool] = lambda: False
) -> Job:
    """Show `job` until it is over and all of its log is shown; return its last record.

    The first interrupt asks the job to end and goes on watching how; the second one detaches.
    `is_ending` is asked at the first one whether it only came before the end of this very process:
    then the job goes on without it.

    Raises
    ------
    JobFailed
        The second interrupt: the job is left to end by itself. Or this process ends.
    """
    follower = Follower(session.engine, job)
    note, quiet = "", 0
    interrupted = job.desired is Desired.STOP
    # Kept until its news are shown: an interrupt must not lose what was read.
    poll: Future[News] | None = None
    while True:
        try:
            begun = time.process_time()
            if poll is None:
                poll = session.submit(follower.poll())
            news = poll.result()
            job = news.job
            screen.show(news, news.unreachable or note)
            poll = None
            if news.complete:
                return job
            quiet = 0 if news.chunks else quiet + 1
            time.sleep(_pause(time.process_time() - begun, quiet=quiet))
        except KeyboardInterrupt:  # noqa: PERF203 - interrupts are answered between polls
            if interrupted:
                raise _detached(job) from None
            interrupted = True
            note = _answer(session, job, is_ending)


def _pause(spent_seconds: float, *, quiet: int) -> float:
    """Return how long to rest after an update that took `spent_seconds` of the processor.

    `quiet` polls in a row have brought no output: the next look may be later.
    """
    pause = max(_PAUSE_FOR_EACH_SECOND * spent_seconds, _PAUSE_SECONDS)
    return _QUIET_PAUSE_SECONDS if quiet >= _QUIET_POLLS else min(pause, _LONGEST_PAUSE_SECONDS)


def _answer(session: Session, job: Job, is_ending: Callable[[], bool]) -> str:
    """Answer the first interrupt; return what to say of it.

    Nothing of it is lost by a second one that comes meanwhile: the job is asked to end.
    """
    try:
        if is_ending():
            raise _left(job) from None
    except KeyboardInterrupt:
        session.submit(session.engine.cancel(job.id))
        raise _detached(job) from None
    return _stop(session, job)


def _stop(session: Session, job: Job) -> str:
    grace = job.spec.grace_seconds
    asked = session.submit(session.engine.cancel(job.id))
    try:
        if asked.result().state.final:
            return "interrupted: it was still waiting for GPUs, and is cancelled"
    except KeyboardInterrupt:
        raise _detached(job) from None
    except Unreachable as error:
        return f"{error.message}; the wish to stop is kept until the pool answers"
    return f"interrupted: SIGINT is sent, SIGTERM follows in {grace:g} s; interrupt again to detach"


def _detached(job: Job) -> JobFailed:
    return JobFailed(
        f"detached from job {job.id}, which was told to end",
        job_id=job.id,
        hint=f"%jobs attach {job.id} shows how it ends",
    )


def _left(job: Job) -> JobFailed:
    return JobFailed(
        f"job {job.id} goes on without this kernel, which ends",
        job_id=job.id,
        hint=f"%jobs attach {job.id} shows its output and brings its results",
    )


def check_outcome(job: Job) -> None:
    """Raise for a job that did not succeed, in one sentence.

    Raises
    ------
    JobFailed
        The job failed, was cancelled or is lost.
    """
    if job.state is JobState.SUCCEEDED:
        return
    reason = job.seen.reason if job.seen and job.seen.reason else "no reason is known"
    ended = job.seen.ended_by if job.seen else {}
    by = "; ".join(f"{name} ended {_ranks(ranks)}" for name, ranks in ended.items())
    who = f" ({by})" if by else ""
    raise JobFailed(
        f"job {job.id} ({job.spec.name}) {_verb(job.state)}: {reason}{who}",
        job_id=job.id,
        hint=f"%jobs logs {job.id} prints the whole log, %jobs rerun {job.id} tries again",
    )


def _verb(state: JobState) -> str:
    return {JobState.CANCELLED: "was cancelled", JobState.LOST: "is lost"}.get(state, "failed")


def _ranks(ranks: tuple[int, ...]) -> str:
    numbers = ", ".join(map(str, ranks))
    return f"rank {numbers}" if len(ranks) == 1 else f"ranks {numbers}"
