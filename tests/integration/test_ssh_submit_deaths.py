"""Kill -9 of the launching process at every step of a launch over ssh, and what comes of it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import JobNotFound
from jupyter_aiinfra.model import Job
from tests.support.bench import wait_until
from tests.support.hosts import Host
from tests.support.sshsite import SshSite, open_ssh_site

LAUNCHER = Path(__file__).with_name("launch_over_ssh_and_die.py")
NAMES = ("gpu1", "gpu2")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SshSite]:
    with open_ssh_site(tmp_path, NAMES) as site:
        site.attach_hosts()
        yield site


def at_work(host: Host, job_id: str) -> int:
    """Return how many times the job's own program runs on a host."""
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in host.tagged(job_id)]
    return lines.count(b"sleep\x00600\x00")


def recorded(site: SshSite, job_id: str) -> Job | None:
    try:
        return site.store.get_job(job_id)
    except JobNotFound:
        return None


def being_sent(site: SshSite) -> list[str]:
    """Return what runs on the hosts for a launcher: it ends by itself once that is dead."""
    found = []
    for name in NAMES:
        for pid in site.hosts[name].pids():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "python" in words and "supervise.py\0" not in words:
                found.append(words)
    return found


async def end_and_remove(engine: Engine, running: list[str], known: list[str]) -> None:
    for job_id in running:
        await engine.cancel(job_id, grace=0.0)
    for job_id in running:
        job = await engine.refresh(job_id)
        for _ in range(200):
            if job.state.final:
                break
            await asyncio.sleep(0.1)
            job = await engine.refresh(job_id)
        assert job.state.value == "cancelled"
    for job_id in known:
        await engine.remove(job_id)


def test_a_launcher_killed_at_any_step_leaves_one_job_on_all_nodes_or_none(site: SshSite) -> None:
    done = subprocess.run(
        [sys.executable, LAUNCHER, site.home, site.hosts.config],
        env=site.environ,
        cwd=site.work,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    deaths = [json.loads(line) for line in done.stdout.splitlines()]
    sys.stdout.write(done.stdout + done.stderr)
    assert {death["died"] for death in deaths} >= {
        "before the record: add_placed",
        "after the record: add_placed",
        "after a bundle has arrived",
        "after a node has answered",
        "after a request was sent",
        "before the record: bind",
        "after the record: bind",
    }
    wait_until(lambda: not being_sent(site))

    # Two processes put things in order at the same time.
    other = site.begin("pool", "reconcile", "lab")
    reconciled = site.ask(lambda engine: engine.reconcile("lab"))
    said, troubles = other.communicate(timeout=60)
    assert other.returncode == 0, troubles
    sys.stdout.write(f"{said}\n{reconciled}\n")

    # What had begun on one node only ends, because the other never joins.
    def settled() -> bool:
        site.ask(lambda engine: engine.tick())
        jobs = [recorded(site, death["job"]) for death in deaths]
        return all(
            job is None
            or job.state.final
            or (job.state.value == "running" and all(site.hosts[n].tagged(job.id) for n in NAMES))
            for job in jobs
        )

    wait_until(settled, seconds=60)
    outcomes = []
    for death in deaths:
        job = recorded(site, death["job"])
        outcomes.append(job.state.value if job else "nothing")
        at = [at_work(site.hosts[name], death["job"]) for name in NAMES]
        reason = job.seen.reason if job and job.seen else None
        sys.stdout.write(f"{death['died']}: {outcomes[-1]} {at} {reason}\n")
        assert at == ([1, 1] if outcomes[-1] == "running" else [0, 0])
    # In the order in which the launcher came further and further.
    told = "".join(f"{outcome} " for outcome in outcomes)
    assert re.fullmatch("running (nothing )+(failed )+(running )+", told)
    after = site.command("pool", "reconcile", "lab")
    assert "the record is true" in after.stdout

    running = [
        d["job"] for d, outcome in zip(deaths, outcomes, strict=True) if outcome == "running"
    ]
    known = [d["job"] for d, outcome in zip(deaths, outcomes, strict=True) if outcome != "nothing"]
    site.ask(lambda engine: end_and_remove(engine, running, known))
    site.assert_nothing_left()
    # What is left there is at most a folder of files that were being sent: orders of no job.
    for name in NAMES:
        for path in (site.folder(name) / "runs").iterdir():
            assert not (path / "spec.json").exists(), path
