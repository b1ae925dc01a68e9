"""How runs end, what follows from it, and what a decision becomes on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.model import Job, JobState
from jupyter_aiinfra.promote.policy import Verdict, after_attempt, rule_event
from jupyter_aiinfra.schedule import Outcome, Run, RunState, Schedule, Version, new_run_id
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.runs import Decided

__all__ = ["Ends", "Runner", "run_of"]

_BEGUN_ANEW: Final = 3
_FOLLOWED: Final = frozenset(
    {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.LOST}
)
_STATES: Final[Mapping[JobState, RunState]] = {
    JobState.SUCCEEDED: RunState.SUCCEEDED,
    JobState.FAILED: RunState.FAILED,
    JobState.CANCELLED: RunState.CANCELLED,
    JobState.LOST: RunState.LOST,
}


class Runner(Protocol):
    """How a run becomes a job, and what its end means; see ``engine/running.py``."""

    async def launch_run(self, run: Run, version: Version) -> str:
        """Launch the job of a run under the id that is in the run; again is no error."""
        ...

    async def finish_run(self, run: Run, version: Version, job: Job) -> Outcome:
        """Store what a run has left, and say how it ended; may be called again."""
        ...

    async def expire(self, schedule: str, version: Version) -> Sequence[str]:
        """Remove what is stored of earlier runs and to be kept no longer; return problems."""
        ...


class Ends:
    """Ends the attempts of runs that this process has claimed.

    Parameters
    ----------
    runner
        Stores what a run has left.
    clock
        The time.
    """

    def __init__(self, store: Store, *, runner: Runner, clock: Callable[[], float]) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock

    def change(self, run: Run, **values: Any) -> Run | None:
        """Change a run that this process has claimed, also if its end is wanted meanwhile."""
        while True:
            changed = self._store.change_run(run, **values)
            if changed is not None:
                return changed
            now = self._store.get_run(run.id)
            if now.claim != run.claim or now.state is not run.state:
                return None  # another process has gone on with it
            run = now

    async def finish(self, run: Run, version: Version, job: Job | None) -> None:
        """Store what a run has left whose job is over (or gone), and end the attempt."""
        if job is None:
            lost = Outcome(state=RunState.LOST, reason="its job was removed", retry=False)
            self.end(run, version, lost, run.job)
            return
        if _never_began(job, run):
            # Whoever launched it died on the way: that is no attempt of the notebook's.
            values = {"state": RunState.QUEUED, "job": None, "claim": None}
            said = f"begun anew: {_reason(job)}"
            self.change(run, **values, jobs=(*run.jobs, job.id), reason=said)
            return
        try:
            outcome = await self._runner.finish_run(run, version, job)
        except AiInfraError as error:
            said = f"{_reason(job)}; its outputs could not be stored: {error.message}"
            outcome = Outcome(state=_STATES[job.state], reason=said)
        self.end(run, version, outcome, job.id)
        await self._runner.expire(run.schedule, version)

    def end(self, run: Run, version: Version, outcome: Outcome, job_id: str | None) -> None:
        """Write down how an attempt ended: the next one, or the end of the run and what follows."""
        now = self._clock()
        ending = after_attempt(
            version.policy, run, outcome.state, outcome.reason, retry=outcome.retry, now=now
        )
        tried = (*run.jobs, job_id) if job_id is not None else run.jobs
        if ending.retry_at is not None:
            self.change(
                run,
                state=ending.state,
                reason=ending.reason,
                start_at=ending.retry_at,
                attempt=run.attempt + 1,
                job=None,
                jobs=tried,
                outputs=dict(outcome.outputs),
                claim=None,
            )
            return
        self.change(
            run,
            then=self._following(run, ending.state, now),
            state=ending.state,
            # Of what somebody ended it is said who; that a signal ended it is the job's matter.
            reason=run.reason if run.stop and run.reason else ending.reason,
            ended_at=now,
            outputs=dict(outcome.outputs),
            claim=None,
        )

    def _following(self, run: Run, state: RunState, now: float) -> list[Decided]:
        """Return the runs of schedules that follow this one's."""
        found: list[Decided] = []
        if state not in _FOLLOWED:
            return found
        for each in self._store.following(run.schedule):
            wanted = [
                trigger
                for trigger in each.version.triggers
                if trigger.kind == "after" and trigger.schedule == run.schedule
            ]
            if not any(t.on == "end" or state is RunState.SUCCEEDED for t in wanted):
                continue
            verdict = rule_event(
                each.schedule,
                each.version,
                each.active,
                key=f"after:{run.id}",
                trigger="after",
                now=now,
            )
            if verdict is not None:
                found.append(
                    Decided(
                        schedule=each.schedule,
                        decided=each.schedule.decided,
                        next_due=each.schedule.next_due,
                        runs=(run_of(each.schedule, each.version, verdict, now=now),),
                        cancel=verdict.cancel,
                    )
                )
        return found


def run_of(schedule: Schedule, version: Version, verdict: Verdict, *, now: float) -> Run:
    """Return the run that is to be recorded of a decision."""
    return Run(
        id=new_run_id(),
        schedule=schedule.id,
        version=version.number,
        key=verdict.key,
        trigger=verdict.trigger,
        state=verdict.state,
        slot=verdict.slot,
        reason=verdict.reason,
        created_at=now,
        start_at=verdict.start_at,
        ended_at=now if verdict.state.final else None,
        slots=verdict.slots,
        last_slot=verdict.last_slot,
    )


def _never_began(job: Job, run: Run) -> bool:
    """Whether a job has failed before it reached its pool, and not for the first few times."""
    anew = len(run.jobs) - (run.attempt - 1)
    return job.state is JobState.FAILED and job.handle is None and anew < _BEGUN_ANEW


def _reason(job: Job) -> str:
    said = None if job.seen is None else job.seen.reason
    return said or f"job {job.id} {job.state.value}"
