"""What the end of a job means for its run, and how long results are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine.running import Running
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import Desired, Job, JobKind, JobSpec, JobState, Observation, to_wire
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.promote import outputs
from jupyter_aiinfra.promote.notebookjob import NotebookOptions
from jupyter_aiinfra.schedule import RunState
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from tests.schedule_suite import a_run, a_schedule, a_version


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Settings(home=tmp_path / "home"))
    yield store
    store.close()


def running(store: Store, tmp_path: Path) -> Running:
    async def launch(*_words: object, **_more: object) -> Job:
        raise AssertionError("nothing is to be launched")

    def pool(_name: str) -> Pool:
        raise UsageError("no pool is asked")

    return Running(store, Settings(home=tmp_path / "home"), launch=launch, pool=pool, environ={})


def a_job(state: JobState, *, reason: str | None = None, **changes: Any) -> Job:
    spec = JobSpec(kind=JobKind.NOTEBOOK, name="nb", argv=("python",))
    seen = Observation(state=state, seen_at=1.0, reason=reason)
    return Job(id="j1", pool="lab", spec=spec, state=state, seen=seen, **changes)


@pytest.mark.parametrize(
    ("job", "state", "retry"),
    [
        (a_job(JobState.SUCCEEDED), RunState.SUCCEEDED, True),
        (a_job(JobState.FAILED, reason="why"), RunState.FAILED, True),
        (a_job(JobState.LOST, reason="why"), RunState.LOST, True),
        (a_job(JobState.CANCELLED, reason="why", desired=Desired.STOP), RunState.CANCELLED, False),
        (a_job(JobState.CANCELLED, reason="why"), RunState.FAILED, True),
    ],
)
async def test_what_an_end_means(
    store: Store, tmp_path: Path, job: Job, state: RunState, retry: bool
) -> None:
    outcome = await running(store, tmp_path).finish_run(a_run(), a_version(options={}), job)
    assert (outcome.state, outcome.retry) == (state, retry)
    if state is RunState.SUCCEEDED:
        assert outcome.reason == "its results could not be read: it never reached its pool"
    else:
        assert outcome.reason == "why"


async def test_results_are_removed_when_they_are_not_to_be_kept(
    store: Store, tmp_path: Path
) -> None:
    kept = NotebookOptions(keep_count=1)
    version = a_version(options=to_wire(kept))
    store.add_schedule(a_schedule(), version)
    states = [RunState.SUCCEEDED, RunState.FAILED, RunState.SUCCEEDED, RunState.RUNNING]
    for number, state in enumerate(states):
        placed = outputs.store(str(tmp_path / "out"), {f"{number}.ipynb": b"{}"})
        told = {"files": {"ipynb": list(placed.values())}, "cells": 2}
        run = a_run(f"r{number}", state=state, ended_at=float(number), outputs=told)
        store.add_runs([run])
    store.add_runs([a_run("r9", state=RunState.SUCCEEDED, ended_at=-1.0, outputs={})])
    runs = running(store, tmp_path)
    assert await runs.expire("s1", version) == ()
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["1.ipynb", "2.ipynb", "3.ipynb"], "a failed one, the newest, one that runs"
    newest = outputs.Kept(run="r7", ended_at=9.0, failed=False, urls=())
    gone = store.get_run("r0").outputs
    assert gone["files"] == {}
    assert gone["cells"] == 2
    assert gone["removed_at"] > 0
    assert await runs.expire("s1", version) == ()
    assert await runs.expire("s1", version, newest=newest) == ()
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["1.ipynb", "3.ipynb"], "the one that ends now is the newest"
    never = dataclasses.replace(version, options={})
    assert await runs.expire("s1", never) == ()


async def test_what_cannot_be_removed_is_said_and_stays_on_record(
    store: Store, tmp_path: Path
) -> None:
    version = a_version(options=to_wire(NotebookOptions(keep_count=0)))
    store.add_schedule(a_schedule(), version)
    told = {"files": {"ipynb": ["nothing://x/y.ipynb"]}}
    store.add_runs([a_run("r0", state=RunState.SUCCEEDED, ended_at=1.0, outputs=told)])
    (problem,) = await running(store, tmp_path).expire("s1", version)
    assert problem.startswith("results could not be removed at nothing://x/y.ipynb")
    assert store.get_run("r0").outputs == told
