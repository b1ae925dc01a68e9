"""Deaths in mid-run: of the kernel, the Jupyter server, the supervisor, of everything at once."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator

import pytest

from jupyter_aiinfra.node import supervise
from tests.support.bench import wait_until
from tests.support.kernel import Cell, Kernel, open_kernel
from tests.support.server import open_server
from tests.support.site import Site, open_site

LINES = 120
COUNTING = """
import os, pathlib, time
rank = int(os.environ["RANK"])
numbers = []
for number in range({lines}):
    print(f"rank {{rank}} line {{number:04}}")
    numbers.append(number)
    if number == {lines} // 2:
        while not pathlib.Path("{release}").exists():
            time.sleep(0.02)
"""
ATTACHING = "%load_ext jupyter_aiinfra\n%pool attach here"


def counting(release: str) -> str:
    """Return a script that prints half of its lines, waits for a file, and prints the rest."""
    return COUNTING.format(lines=LINES, release=release)


def lines(rank: int) -> bytes:
    """Return the whole log of a rank that runs it."""
    return b"".join(b"rank %d line %04d\n" % (rank, number) for number in range(LINES))


def half(rank: int = 0) -> str:
    """Return the last line before the file is waited for."""
    return f"rank {rank} line {LINES // 2:04}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("survives") / "site") as site:
        site.attach()
        yield site


def check_delivered(site: Site, job_id: str, kernel: Kernel) -> Cell:
    """Check that a kernel that knows nothing of the job gets all of it."""
    known = kernel.run(f"numbers = None\n%jobs attach {job_id}")
    assert not known.error, known.error
    assert re.findall(r"^rank 0 line (\d+)$", known.text, re.MULTILINE) == [
        f"{number:04}" for number in range(LINES)
    ]
    assert kernel.value("numbers") == list(range(LINES))
    for rank in (0, 1):
        assert site.log(job_id, rank) == lines(rank)
        printed = site.command("jobs", "logs", job_id, "--rank", str(rank))
        assert printed.stdout.encode() == lines(rank)
    job = site.store.get_job(job_id)
    assert job.state.value == "succeeded"
    assert job.seen is not None
    assert [rank.exit_code for rank in job.seen.ranks] == [0, 0]
    assert job.seen.results == ("numbers",)
    assert site.processes(job_id) == []
    return known


# --- who launched it is gone ---------------------------------------------------------------------


def test_a_restart_of_the_kernel_leaves_the_job_running(site: Site) -> None:
    # Jupyter interrupts a kernel before it tells it to end: that is no wish to stop the job.
    with open_kernel(site) as kernel:
        code = f"%%accelerate here --procs 2 --fetch numbers\n{counting('restarted')}"
        cell, job_id = kernel.launch(code)
        kernel.follow(cell, lambda cell: half() in cell.streamed())
        kernel.shut_down()
    assert site.status(job_id)["state"] == "running"
    site.script("restarted", "")
    assert site.end(job_id)["state"] == "succeeded"
    with open_kernel(site) as kernel:
        check_delivered(site, job_id, kernel)


@pytest.mark.parametrize("attached", ["while it runs", "when it is over"])
def test_a_job_outlives_its_kernel(site: Site, attached: str) -> None:
    release = f"kernel-{attached.replace(' ', '-')}"
    with open_kernel(site) as kernel:
        cell = kernel.begin(f"%%accelerate here --procs 2 --fetch numbers\n{counting(release)}")
        kernel.follow(cell, lambda cell: half() in cell.streamed())
        job_id = site.newest().id
        site.wait_for_log(job_id, half(1), rank=1)
        kernel.kill()
    seen = site.status(job_id)
    assert (seen["state"], seen["supervised"]) == ("running", True)
    with open_kernel(site) as another:
        if attached == "while it runs":
            cell = another.begin(f"%jobs attach {job_id}")
            another.follow(cell, lambda cell: half() in cell.streamed())
            assert site.status(job_id)["state"] == "running"
            site.script(release, "")
            another.follow(cell, lambda cell: cell.over)
            assert "fetched numbers" in cell.text
        else:
            site.script(release, "")
            assert site.end(job_id)["state"] == "succeeded"
        check_delivered(site, job_id, another)


@pytest.mark.parametrize("victims", ["the server", "the server and its kernel"])
def test_a_job_outlives_the_jupyter_server(site: Site, victims: str) -> None:
    release = victims.replace(" ", "-")
    with open_server(site) as server:
        kernel = server.kernel()
        assert not kernel.run(ATTACHING).error
        cell = kernel.begin(f"%%accelerate here --procs 2 --fetch numbers\n{counting(release)}")
        kernel.follow(cell, lambda cell: half() in cell.streamed())
        job_id = site.newest().id
        if "kernel" in victims:
            supervise.send(kernel.identity, signal.SIGKILL)
        server.kill()
        kernel.close()
    # A kernel that has lost its server ends by itself.
    wait_until(lambda: not supervise.alive(kernel.identity), seconds=30)
    assert site.status(job_id)["state"] == "running"
    site.script(release, "")
    assert site.end(job_id)["state"] == "succeeded"
    with open_kernel(site) as another:
        check_delivered(site, job_id, another)


# --- what looks after it is gone -----------------------------------------------------------------


def detached(site: Site, script: str, *options: str) -> str:
    """Launch a script from the command line; return the job's id once all ranks are at work."""
    known = {job.id for job in site.jobs()}
    done = site.command("run", script, "--pool", "here", "--procs", "2", *options, "--detach")
    assert done.returncode == 0, done.stderr
    (job_id,) = {job.id for job in site.jobs()} - known
    for rank in (0, 1):
        site.wait_for_log(job_id, half(rank), rank=rank)
    return job_id


def test_a_job_without_its_supervisor_is_reported_adopted_and_ends_as_it_does(site: Site) -> None:
    release = "supervisor-killed"
    site.script("half.py", counting(release) + "raise SystemExit(5 * rank)\n")
    job_id = detached(site, "half.py")
    site.kill_supervisor(job_id)
    first = site.command("jobs", "list")
    assert re.search(rf"{job_id} .*running \(unsupervised\)", first.stdout), first.stdout
    adopted = wait_until(lambda: site.status(job_id)["supervised"])
    assert adopted
    second = site.command("jobs", "show", job_id)
    assert f"job {job_id}: half, running\n" in second.stdout
    site.script(release, "")
    assert site.end(job_id)["state"] == "failed"
    ended = site.command("jobs", "attach", job_id)
    assert ended.returncode == 5
    assert "rank 1 exited with status 5" in ended.stdout
    assert ended.stdout.encode().startswith(lines(0))
    assert site.store.get_job(job_id).state.value == "failed"
    assert site.processes(job_id) == []


def test_a_job_whose_supervisor_died_can_be_cancelled(site: Site) -> None:
    site.script("never.py", counting("never-written"))
    job_id = detached(site, "never.py", "--grace", "2s")
    site.kill_supervisor(job_id)
    assert site.command("jobs", "cancel", job_id).returncode == 0
    seen = site.end(job_id)
    assert (seen["state"], seen["ended_by"]) == ("cancelled", {"SIGINT": [0, 1]})
    assert site.processes(job_id) == []


def test_a_job_whose_every_process_was_killed_is_lost_and_says_so(site: Site) -> None:
    site.script("never.py", counting("never-written"))
    job_id = detached(site, "never.py")
    site.kill_supervisor(job_id)
    site.kill_processes(job_id)
    shown = site.command("jobs", "show", job_id)
    assert f"job {job_id}: never, lost\n" in shown.stdout
    assert "every process of the job was killed" in shown.stdout
    attached = site.command("jobs", "attach", job_id)
    assert attached.returncode == 70
    assert half() in attached.stdout
    assert site.processes(job_id) == []


def test_a_rank_that_hides_from_its_process_group_is_not_left_behind(site: Site) -> None:
    # What data loaders and torch's own agents do: sessions of their own, and their output closed.
    hiding = "subprocess.Popen(['setsid', 'sleep', '600'], stdout=-3, stderr=-3)"
    site.script("hiding.py", f"import subprocess\n{hiding}\n{counting('hiding-on')}")
    job_id = detached(site, "hiding.py")
    site.kill_supervisor(job_id)
    site.command("jobs", "list")  # adopts
    site.script("hiding-on", "")
    seen = site.end(job_id)
    assert (seen["state"], seen["strays"]) == ("succeeded", 2)
    assert site.processes(job_id) == []


# --- many at once --------------------------------------------------------------------------------


def test_two_who_follow_and_two_who_cancel_do_no_harm(site: Site) -> None:
    site.script("never.py", counting("never-written"))
    job_id = detached(site, "never.py", "--grace", "20s")
    followers = [site.begin("jobs", "attach", job_id) for _ in range(2)]
    try:
        cancels = [site.begin("jobs", "cancel", job_id, "--json") for _ in range(2)]
        for cancel in cancels:
            said, troubles = cancel.communicate(timeout=60)
            assert cancel.returncode == 0, troubles
            assert json.loads(said)["desired"] == "stop"
        for follower in followers:
            said, troubles = follower.communicate(timeout=60)
            assert follower.returncode == 130, troubles
            log = said[: said.index("KeyboardInterrupt")]
            assert re.findall(r"^rank 0 line (\d+)$", log, re.MULTILINE) == [
                f"{number:04}" for number in range(LINES // 2 + 1)
            ]
    finally:
        for follower in followers:
            follower.kill()
            follower.wait()
    ends = [event for event in site.store.events(subject=job_id) if event.kind == "job.state"]
    assert [event.detail["to"] for event in ends][-1] == "cancelled"
    assert sum(event.detail["to"] == "cancelled" for event in ends) == 1
    assert sum(e.kind == "job.desired" for e in site.store.events(subject=job_id)) == 1
    assert site.processes(job_id) == []


def test_a_reused_pid_is_not_signalled_through_a_job(site: Site) -> None:
    # The record of a job that is over names a pid that belongs to someone else by now: to us.
    site.script("quick.py", "print('over')\n")
    done = site.command("run", "quick.py", "--pool", "here", "--json")
    assert done.returncode == 0, done.stderr
    job_id = json.loads(done.stdout)["id"]
    run_dir = site.run_dir(job_id)
    record = json.loads((run_dir / "supervisor.json").read_text())
    forged = {**record, "pid": os.getpid(), "wrapper": {**record, "pid": os.getppid()}}
    supervise.write_json(str(run_dir / "supervisor.json"), forged)
    for name in ("exit.json", "rc"):
        (run_dir / name).unlink()
    supervise.request_stop(str(run_dir), 0.0)
    # We, whose pid that is, are still here to see it.
    assert site.end(job_id)["state"] in ("cancelled", "lost")
