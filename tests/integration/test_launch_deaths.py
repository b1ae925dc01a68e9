"""Kill -9 of the launching process at every step of a launch, and what others make of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.errors import JobNotFound
from jupyter_aiinfra.model import Job
from tests.support.bench import wait_until
from tests.support.site import Site, open_site

LAUNCHER = Path(__file__).with_name("launch_and_die.py")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        site.attach()
        yield site


def processes_that_name(text: str) -> list[list[str]]:
    """Return the command lines of all processes that have `text` in theirs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")[:-1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(text in word for word in words):
                found.append(words)
    return found


def settle(site: Site, job_id: str) -> None:
    """Wait until nothing is on its way that the dead launcher had begun."""
    run_dir = site.run_dir(job_id)

    def settled() -> bool:
        return (run_dir / "supervisor.json").exists() or not processes_that_name(str(run_dir))

    wait_until(settled)
    spec = run_dir / "spec.json"
    if spec.exists() and not (run_dir / "supervisor.json").exists():
        os.utime(spec, (0, 0))  # so as not to wait until it is no longer young


def recorded(site: Site, job_id: str) -> Job | None:
    try:
        return site.store.get_job(job_id)
    except JobNotFound:
        return None


def at_work(site: Site, job_id: str) -> int:
    """Return how many times the job's own program runs."""
    lines = [Path(f"/proc/{who['pid']}/cmdline").read_bytes() for who in site.processes(job_id)]
    return lines.count(b"sleep\x00600\x00")


def test_a_launcher_killed_at_any_step_leaves_one_running_job_or_a_failed_one(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, LAUNCHER, site.home],
        env=site.environ,
        cwd=site.work,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    deaths = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(deaths) > 10
    for death in deaths:
        settle(site, death["job"])

    # Two processes put things in order at the same time.
    other = site.begin("pool", "reconcile", "here")
    engine = site.engine()
    asyncio.run(engine.reconcile("here"))
    _, troubles = other.communicate(timeout=60)
    assert other.returncode == 0, troubles
    asyncio.run(engine.tick())

    outcomes = []
    for death in deaths:
        job = recorded(site, death["job"])
        outcomes.append(job.state.value if job else "nothing")
        running = at_work(site, death["job"])
        assert running == (outcomes[-1] == "starting"), (death, outcomes[-1], running)
    # In the order in which the launcher came further and further.
    assert re.fullmatch("(nothing )+(failed )+(starting )+", "".join(f"{o} " for o in outcomes))
    assert asyncio.run(engine.reconcile("here")).orphans == ()

    for death, outcome in zip(deaths, outcomes, strict=True):
        if outcome == "starting":
            asyncio.run(engine.cancel(death["job"], grace=0.0))
            assert site.end(death["job"])["state"] == "cancelled"
