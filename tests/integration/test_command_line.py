"""``jupyter aiinfra`` as a shell and a program see it: output, exit status, completion."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import COMMAND, Site, open_site

PROGRAM = """
import os, signal, sys, time
import beside
rank = int(os.environ["RANK"])
what = sys.argv[1] if len(sys.argv) > 1 else "0"
print(f"rank {rank} was told {sys.argv[1:]} in {beside.WHERE}")
if what == "wait":
    while True:
        time.sleep(0.05)
if rank == 1 and what == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if rank == 1:
    sys.exit(int(what))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("command") / "site") as site:
        site.attach()
        site.script("program.py", PROGRAM)
        site.script("beside.py", "WHERE = 'a module beside it'\n")
        yield site


RUN = ("run", "program.py", "--pool", "here", "--procs", "2")


def value(done: subprocess.CompletedProcess[str]) -> Any:
    """Return the one JSON value that standard output is."""
    return json.loads(done.stdout)


# --- run -----------------------------------------------------------------------------------------


def test_a_script_that_succeeds_gives_status_0_and_its_output(site: Site) -> None:
    done = site.command(*RUN, "--", "0", "--lr", "0.1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "rank 0 was told ['0', '--lr', '0.1'] in a module beside it"
    assert lines[1].startswith("rank 1: 1 line")
    assert re.fullmatch(r"job \w+ \(program\) succeeded", lines[-1])
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        ("3", 3, "rank 1 exited with status 3"),
        ("kill", 128 + signal.SIGKILL, "rank 1 was ended by SIGKILL"),
    ],
)
def test_the_status_is_that_of_the_rank_that_failed(
    site: Site, asked: str, status: int, reason: str
) -> None:
    done = site.command(*RUN, "--json", "--", asked)
    assert done.returncode == status
    job = value(done)
    assert job["state"] == "failed"
    assert reason in job["seen"]["reason"]
    assert f"rank 0 was told ['{asked}']" in done.stderr, "the log goes beside the value"
    assert reason in done.stderr


def test_an_interrupt_cancels_and_gives_130(site: Site) -> None:
    known = [job.id for job in site.jobs()]
    running = site.begin(*RUN, "--grace", "20s", "--", "wait")
    job_id = site.next_job(known).id
    for rank in (0, 1):
        site.wait_for_log(job_id, "was told", rank=rank)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    said, troubles = running.communicate(timeout=60)
    assert running.returncode == 130, troubles
    assert "interrupt again to detach" in said
    assert f"job {job_id} (program) cancelled: stopped on request" in said
    assert "Traceback (most recent" in said, "the ranks were interrupted where they were"
    assert "jupyter_aiinfra" not in said.replace(str(site.root), ""), "not we"
    assert troubles == ""
    job = site.store.get_job(job_id)
    assert (job.state.value, job.seen and dict(job.seen.ended_by)) == (
        "cancelled",
        {"SIGINT": (0, 1)},
    )
    assert site.processes(job_id) == []


def test_a_job_goes_on_when_its_terminal_is_closed(site: Site) -> None:
    known = [job.id for job in site.jobs()]
    running = site.begin(*RUN, "--", "wait")
    job_id = site.next_job(known).id
    site.wait_for_log(job_id, "was told", rank=1)
    os.killpg(running.pid, signal.SIGHUP)
    running.communicate(timeout=60)
    assert site.status(job_id)["state"] == "running"
    assert site.command("jobs", "cancel", job_id, "--grace", "0").returncode == 0
    assert site.end(job_id)["state"] == "cancelled"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("run",), 2, "no script was named"),
        (("run", "program.py", "--pool", "here", "--procss", "2"), 2, "did you mean --procs?"),
        (("run", "nowhere.py", "--pool", "here"), 2, "there is no script nowhere.py"),
        (("run", "program.py", "--pool", "her"), 1, "did you mean here?"),
        (("run", "program.py", "--pool", "here", "--procs", "99"), 1, "at most 8 are allowed"),
        (("run", "broken.py", "--pool", "here"), 1, "broken.py has a syntax error in line 2"),
        (("jobs", "show", "zzz"), 1, "jupyter aiinfra jobs lists them"),
        (("jobs", "shw", "zzz"), 2, "No such command 'shw'"),
        (("pool", "attach"), 2, "Missing argument 'NAME'"),
        (("nothing",), 2, "No such command 'nothing'"),
    ],
)
def test_a_mistake_gives_its_status_and_a_sentence(
    site: Site, words: tuple[str, ...], status: int, said: str
) -> None:
    site.script("broken.py", "x = 1\ndef broken(:\n")
    jobs = len(site.jobs())
    done = site.command(*words)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    told = site.command(*words, "--json")
    assert told.returncode == status
    assert set(value(told)) == {"error", "message", "hint"}
    assert len(site.jobs()) == jobs


# --- the other verbs -----------------------------------------------------------------------------


def test_the_verbs_of_jobs_tell_one_story(site: Site) -> None:
    started = site.command(*RUN, "--detach", "--json", "--", "0")
    assert started.returncode == 0, started.stderr
    job_id = value(started)["id"]
    followed = site.command("jobs", "logs", job_id, "--follow", "--rank", "1")
    assert followed.stdout == "rank 1 was told ['0'] in a module beside it\n"
    part = site.command("jobs", "logs", job_id[:-1], "--offset", "7", "--json")
    assert value(part) == {"job": job_id, "rank": 0, "offset": 7, "end": 44}
    assert part.stderr == "was told ['0'] in a module beside it\n"
    assert "accelerate" not in site.command("jobs", "logs", job_id, "--launcher").stdout
    (listed,) = [job for job in value(site.command("jobs", "--json")) if job["id"] == job_id]
    shown = value(site.command("jobs", "show", job_id, "--json"))
    assert (listed["state"], shown["state"]) == ("succeeded", "succeeded")
    assert [rank["exit_code"] for rank in shown["seen"]["ranks"]] == [0, 0]
    assert job_id in site.command("jobs", "list", "--pool", "here").stdout
    assert value(site.command("jobs", "list", "--active", "--json")) == []

    again = site.command("jobs", "rerun", job_id, "--json")
    assert again.returncode == 0, again.stderr
    assert value(again)["id"] != job_id
    assert "rank 0 was told ['0']" in again.stderr
    over = site.command("jobs", "cancel", job_id)
    assert (over.returncode, "was over already: succeeded" in over.stdout) == (0, True)
    assert site.command("jobs", "remove", job_id).returncode == 0
    assert not site.run_dir(job_id).exists()
    assert site.command("jobs", "show", job_id).returncode == 1


def test_a_dry_run_is_text_or_json_and_changes_nothing(site: Site) -> None:
    jobs, runs = len(site.jobs()), site.run_dirs()
    told = site.command(*RUN, "--dry-run")
    assert told.returncode == 0
    assert "beside" in told.stdout
    assert "dry run: nothing was started" in told.stdout
    plan = value(site.command(*RUN, "--dry-run", "--json"))
    (node,) = plan["plan"]
    assert "accelerate.commands.launch" in node["argv"]
    assert [item["name"] for item in plan["manifest"]["items"]] == ["beside"]
    assert (len(site.jobs()), site.run_dirs()) == (jobs, runs)


def test_pools_come_and_go(site: Site) -> None:
    def names() -> list[str]:
        return [view["record"]["name"] for view in value(site.command("pool", "list", "--json"))]

    attached = site.command("pool", "attach", "two", "--max-procs", "2", "--json")
    assert value(attached)["nodes"][0]["max_procs"] == 2
    assert names() == ["here", "two"]
    assert "at most 2 ranks" in site.command("pool", "show", "two").stdout
    assert site.command("pool", "detach", "two").returncode == 0
    assert names() == ["here"]
    assert value(site.command("pool", "kinds", "--json")) == ["local", "simulated", "ssh"]


def test_a_pool_with_work_is_not_let_go_by_mistake(site: Site) -> None:
    job_id = value(site.command(*RUN, "--detach", "--json", "--", "wait"))["id"]
    refused = site.command("pool", "detach", "here")
    assert refused.returncode == 1
    assert job_id in refused.stderr
    site.command("jobs", "cancel", job_id, "--grace", "0")
    assert site.end(job_id)["state"] == "cancelled"


def test_who_reads_no_further_ends_the_output_quietly(site: Site) -> None:
    site.script("long.py", "for n in range(200_000):\n    print('a line', n)\n")
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -2', "sh", *COMMAND, "run", "long.py", "--pool", "here"],
        cwd=site.work,
        env=site.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("a line 0\na line 1\n", "")
    job_id = site.newest().id
    assert site.end(job_id)["state"] == "succeeded"
    assert site.log(job_id).count(b"\n") == 200_000


def test_jupyter_finds_us_as_its_subcommand(site: Site) -> None:
    jupyter = shutil.which("jupyter", path=site.environ["PATH"])
    assert jupyter is not None
    done = subprocess.run(
        [jupyter, "aiinfra", "pool", "list", "--json"],
        cwd=site.work,
        env=site.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert value(done)[0]["record"]["name"] == "here"


# --- completion ----------------------------------------------------------------------------------


def completed(site: Site, line: str) -> list[str]:
    """Return what bash would offer behind `line`, asked as bash asks."""
    words = line.split(" ")
    done = subprocess.run(
        COMMAND,
        cwd=site.work,
        env={
            **site.environ,
            "_JUPYTER_AIINFRA_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("jupyter-aiinfra ", {"pool", "jobs", "run"}),
        ("jupyter-aiinfra pool ", {"attach", "list", "show", "detach"}),
        ("jupyter-aiinfra pool show ", {"here"}),
        ("jupyter-aiinfra pool detach h", {"here"}),
        ("jupyter-aiinfra run program.py --mixed", {"--mixed-precision"}),
        ("jupyter-aiinfra run program.py --pro", {"--procs"}),
    ],
)
def test_a_tab_offers_what_fits(site: Site, line: str, offered: set[str]) -> None:
    assert offered <= set(completed(site, line))


def test_a_tab_offers_jobs(site: Site) -> None:
    ids = {job.id for job in site.jobs()}
    assert ids
    assert set(completed(site, "jupyter-aiinfra jobs show ")) == ids


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_one_that_shell_takes(site: Site, shell: str) -> None:
    done = site.command("completion", shell)
    assert done.returncode == 0
    assert "_JUPYTER_AIINFRA_COMPLETE" in done.stdout
    program = shutil.which(shell)
    if program is not None:
        checked = subprocess.run(
            [program, "-n"], input=done.stdout, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_bash_itself_completes_with_that_script(site: Site) -> None:
    bash = shutil.which("bash")
    assert bash is not None, "bash is what most users have"
    tool = site.root / "bin" / "jupyter-aiinfra"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in COMMAND) + ' "$@"\n')
    tool.chmod(0o755)
    script = site.command("completion", "bash").stdout
    asks = """
COMP_WORDS=(jupyter-aiinfra pool show h); COMP_CWORD=3
$(complete -p jupyter-aiinfra | sed 's/.*-F \\([^ ]*\\).*/\\1/') jupyter-aiinfra h show
echo "offered ${COMPREPLY[@]}"
"""
    done = subprocess.run(
        [bash, "--norc", "-i"],
        input=script + asks,
        cwd=site.work,
        env={**site.environ, "PATH": f"{tool.parent}:{site.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "offered here" in done.stdout, done.stderr


@pytest.mark.parametrize("words", [("jobs", "list"), ("pool", "kinds", "--json"), ("--help",)])
def test_who_does_not_read_on_ends_it_quietly(site: Site, words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=site.work,
        env=site.environ,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode
    assert done.stderr == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_program_without_standard_streams_does_its_work(site: Site, closed: str) -> None:
    done = subprocess.run(
        [
            "sh",
            "-c",
            f'"$@" {closed}',
            "sh",
            *COMMAND,
            "pool",
            "attach",
            "other",
            "--kind",
            "local",
        ],
        cwd=site.work,
        env=site.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Nothing that was printed has gone into a file that took a stream's number.
    assert "other" in site.command("pool", "list").stdout


@pytest.mark.parametrize("words", [("pool", "list"), ("pool", "list", "--json"), ("--help",)])
def test_an_output_that_takes_no_more_is_said_in_a_sentence(
    site: Site, words: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*COMMAND, *words],
            cwd=site.work,
            env=site.environ,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "StorageFull: the output cannot be written: No space left on device\n"


def test_the_program_runs_without_a_home_that_it_may_write_to(site: Site, tmp_path: Path) -> None:
    # Asking for help or the version must not need a database.
    nowhere = {"JUPYTER_AIINFRA_HOME": str(tmp_path / "never")}
    for words in (("--help",), ("--version",), ("run", "--help"), ("jobs", "show", "--help")):
        done = site.command(*words, env=nowhere)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert not (tmp_path / "never").exists()
