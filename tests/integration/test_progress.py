"""Ranks under ``accelerate launch`` that say how far they are, as the command line shows it."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bench import wait_until
from tests.support.site import Site, open_site

PROGRAM = """
import os, time
from jupyter_aiinfra import step

def trains(seconds):
    for number in range(1, 100_000):
        time.sleep(seconds)
        step(number, loss=1 / number)
        if os.path.exists("end"):
            return

trains(0.2 if os.environ["RANK"] == "1" else 0.02)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        site.attach()
        site.script("train.py", PROGRAM)
        yield site


def said(site: Site, *words: str) -> str:
    done: subprocess.CompletedProcess[str] = site.command("jobs", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trains(site: Site, job: str, rank: str) -> bool:
    """Whether the function that a rank is in stands in its log."""
    return "trains" in said(site, "logs", job, "--rank", rank)


def test_the_slow_rank_is_named_and_stacks_are_had_on_demand(site: Site) -> None:
    launched = site.command("run", "train.py", "--pool", "here", "--procs", "2", "--detach")
    assert launched.returncode == 0, launched.stderr
    job = site.newest().id
    shown = wait_until(
        lambda: text if "rank 1 is slowest: 0.2" in (text := said(site, "show", job)) else None,
        seconds=90,
    )
    assert " a step · rank 1 is slowest: 0.2" in shown
    assert "loss " in shown
    (slow,) = [line for line in shown.splitlines() if line.startswith("  rank 1 ")]
    assert slow.endswith("(slow)")

    answer = said(site, "stacks", job)
    assert [line.split(" (by")[0] for line in answer.splitlines()[:2]] == [
        "rank 0: its stacks are in its log now",
        "rank 1: its stacks are in its log now",
    ]
    for rank in ("0", "1"):
        wait_until(functools.partial(trains, site, job, rank))

    (site.work / "end").touch()
    wait_until(lambda: "succeeded" in said(site, "show", job), seconds=60)
    assert said(site, "stacks", job) == f"no rank of job {job} runs: succeeded\n"
