"""A disk that is full, or fills up: before a job, while it is sent, and while it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.site import COMMAND, Site, open_site

ROOM_BYTES = 6 << 20
# Rank 0 ends at the first write that fails; the other, as logging does, takes no notice and goes on
# to fill whatever room there is until it is ended.
FILLING = """
import os
block = "x" * 4095
while True:
    try:
        print(block)
    except OSError:
        if os.environ["RANK"] == "0":
            raise
"""


def on_a_small_disk(site: Site, script: str) -> str:
    """Run shell commands where the home is a file system of its own with little room.

    In the script ``aiinfra`` is the command line. Returns what was printed.
    """
    site.home.mkdir(exist_ok=True)
    tool = site.root / "aiinfra"
    quoted = " ".join(f"'{word}'" for word in COMMAND)
    tool.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
    tool.chmod(0o755)
    mount = f"mount -t tmpfs -o size={ROOM_BYTES},mode=700 tmpfs '{site.home}'"
    # Without being root, a user namespace gives the right to mount in it; where not even that is
    # allowed the test cannot be made true, and must not look as if it had been.
    cannot = "this machine lets nobody mount a small disk to fill it up"
    if shutil.which("unshare") is None:
        pytest.fail(f"{cannot}: there is no unshare")
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "-r"]
    done = subprocess.run(
        [*unshare, "sh", "-c", f"{mount} || exit 99\nPATH=$PATH:{site.root}\n{script}"],
        cwd=site.work,
        env=site.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode == 99 or "unshare: " in done.stderr:
        pytest.fail(f"{cannot}: {done.stderr}")
    return done.stdout + done.stderr


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        yield site


def test_a_disk_that_is_full_already_stops_the_launch(small: Site) -> None:
    small.script("quick.py", "print('ran')\n")
    said = on_a_small_disk(
        small,
        f"""
        aiinfra pool attach here >&2 || exit
        head -c {ROOM_BYTES} /dev/zero >'{small.home}/filler'
        aiinfra run quick.py --pool here; echo "status $?"
        ls '{small.home}'
        rm '{small.home}/filler'
        aiinfra jobs list
        """,
    )
    assert "disk is full" in said
    assert "status 1" in said
    assert "no jobs yet" in said
    assert "ran" not in said.split()


def test_a_disk_that_fills_up_while_the_job_is_sent_leaves_nothing(small: Site) -> None:
    small.script("quick.py", "print('ran')\n")
    (small.work / "big.py").write_text("#" + "x" * (ROOM_BYTES // 2))
    (small.work / "quick.py").write_text("import big\nprint('ran')\n")
    said = on_a_small_disk(
        small,
        f"""
        aiinfra pool attach here >&2 || exit
        head -c {ROOM_BYTES // 3} /dev/zero >'{small.home}/filler'
        aiinfra run quick.py --pool here; echo "status $?"
        ls '{small.home}'/runs; echo "those were the runs"
        rm '{small.home}/filler'
        aiinfra jobs list
        """,
    )
    assert "StorageFull: no room in" in said
    assert "are needed" in said
    assert "status 1" in said
    assert "\nthose were the runs" in said
    assert re.search(r" quick .* failed ", said), said
    assert "ran" not in said.split()


def test_a_disk_that_fills_up_in_mid_run_fails_the_job_for_that_reason(small: Site) -> None:
    small.script("filling.py", FILLING)
    small.script("stubborn.py", FILLING.replace('== "0"', '== "none"'))
    said = on_a_small_disk(
        small,
        f"""
        last() {{ ls -t '{small.home}/runs' | head -1; }}
        aiinfra pool attach here >&2 || exit
        aiinfra run filling.py --pool here --procs 2 >/dev/null; echo "status $?"
        aiinfra jobs show $(last)
        aiinfra jobs list >/dev/null; echo "listed $?"
        aiinfra jobs remove $(last); echo "removed $?"

        aiinfra run stubborn.py --pool here --procs 2 --grace 1s --detach
        until [ $(df --output=avail '{small.home}' | tail -1) = 0 ]; do sleep 0.1; done
        aiinfra jobs cancel $(last); echo "cancelled $?"
        aiinfra jobs attach $(last) >/dev/null; echo "attached $?"
        """,
    )
    assert "status 1\n" in said, said
    assert re.search(r"job \w+: filling, failed", said), said
    assert (
        "because the disk of the run directory is full; rank 0 raised OSError: [Errno 28]" in said
    )
    assert "rank 1 " in said
    assert "listed 0" in said
    assert "removed 0" in said
    assert "cancelled 0" in said
    assert "attached 130" in said
