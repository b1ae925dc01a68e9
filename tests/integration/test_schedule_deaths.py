"""Servers that fire schedules are killed while a run is under way: the run is not, and is once."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.schedule import Run, RunState
from tests.support.bench import wait_until
from tests.support.notebooks import notebook_of
from tests.support.site import Site, open_site

LEAD_SECONDS = 20.0


class Servers:
    """Headless servers on one record, each a process of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.running: list[subprocess.Popen[str]] = []

    def add(self) -> None:
        """Begin one; return once it has said its address."""
        process = self.site.begin("serve", "--port", "0", "--", "--allow-root")
        self.running.append(process)
        assert process.stdout is not None
        assert any("serving http" in line for line in iter(process.stdout.readline, ""))

    def kill(self) -> None:
        """Kill -9 of all of them; returns once they are gone."""
        for process in self.running:
            # Its own process only: what it has started is in sessions of their own.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)
        self.running.clear()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        yield site


@pytest.fixture
def servers(site: Site) -> Iterator[Servers]:
    servers = Servers(site)
    yield servers
    servers.kill()


def schedule(site: Site, gate: Path, *options: str) -> None:
    """Schedule a notebook that begins, says so, and waits for a file."""
    begun = site.root / "begun"
    cell = (
        "import os, time\n"
        f"with open({str(begun)!r}, 'a') as file:\n    file.write(f'{{os.getpid()}}\\n')\n"
        f"print('begun', flush=True)\nwhile not os.path.exists({str(gate)!r}):\n"
        "    time.sleep(0.05)"
    )
    path = site.work / "nb.ipynb"
    path.write_text(json.dumps(notebook_of(cell, "print('to the end')")))
    done = site.command("schedule", "add", str(path), "--pool", "here", *options, "--json")
    assert done.returncode == 0, done.stderr


def moment(later: int) -> str:
    """Return a time that is not over yet when the command line has recorded it."""
    at = time.time() + LEAD_SECONDS + later
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(at))


def runs(site: Site) -> list[Run]:
    return list(site.store.runs(limit=None))


@pytest.mark.timeout(400)
def test_a_run_goes_on_without_its_servers_and_its_end_is_found(
    site: Site, servers: Servers
) -> None:
    site.attach()
    servers.add()
    servers.add()
    gate = site.root / "gate"
    schedule(site, gate, "--at", moment(0))

    def running() -> Run | None:
        return next((run for run in runs(site) if run.state is RunState.RUNNING), None)

    run = wait_until(running, seconds=90)
    site.wait_for_log(run.job, "begun")
    servers.kill()

    # Nobody is there: the notebook runs on, and to its end.
    gate.touch()
    assert site.end(run.job)["state"] == "succeeded"
    assert site.store.get_run(run.id).state is RunState.RUNNING

    servers.add()
    servers.add()
    wait_until(lambda: site.store.get_run(run.id).state.final, seconds=90)
    (only,) = runs(site)
    assert only.state is RunState.SUCCEEDED, only
    (url,) = only.outputs["files"]["ipynb"]
    assert "to the end" in Path(url.removeprefix("file://")).read_text()
    assert len((site.root / "begun").read_text().split()) == 1
    assert len(site.jobs()) == 1


@pytest.mark.timeout(400)
def test_a_server_that_is_killed_as_it_starts_runs_leaves_none_lost_and_none_doubled(
    site: Site, servers: Servers
) -> None:
    site.attach()
    gate = site.root / "gate"
    gate.touch()
    servers.add()
    slots = 6
    at = [word for number in range(slots) for word in ("--at", moment(number))]
    schedule(site, gate, *at, "--overlap", "queue")

    def begun(count: int) -> bool:
        return sum(run.job is not None for run in runs(site)) >= count

    # One after another they come to a slot, begin its run, and are gone.
    for count in range(1, 4):
        wait_until(functools.partial(begun, count), seconds=90)
        servers.kill()
        servers.add()

    def over() -> bool:
        found = runs(site)
        return len(found) == slots and all(run.state.final for run in found)

    wait_until(over, seconds=240)
    assert {run.state for run in runs(site)} == {RunState.SUCCEEDED}
    assert len((site.root / "begun").read_text().split()) == slots
