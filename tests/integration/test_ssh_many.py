"""Sixteen hosts: attached with few handshakes, and 64 ranks' logs read while they are written."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

import pytest

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.follow import Follower
from jupyter_aiinfra.model import JobKind, JobSpec
from jupyter_aiinfra.store import open_store
from tests.support.sshsite import SshSite, open_ssh_site

NAMES = tuple(f"gpu{number:02}" for number in range(1, 17))
PROCS = 4
LINES = 400

# Each seat's log is written as ranks do it: line by line, all of them at once.
WRITERS = f"""
for local in 0 1 2 3; do
  seat=$((AIINFRA_NODE_RANK * {PROCS} + local))
  (
    i=0
    while [ $i -lt {LINES} ]; do
      i=$((i + 1))
      echo "seat $seat line $i of {LINES}, and what a step of a training says of itself"
      [ $((i % 40)) = 0 ] && sleep 0.2
    done >>"$AIINFRA_RUN_DIR/logs/rank-$seat.log"
  ) &
done
wait
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshSite]:
    with open_ssh_site(tmp_path_factory.mktemp("many"), NAMES) as site:
        yield site


async def follow(site: SshSite, job_id: str) -> tuple[dict[int, bytes], int]:
    """Return all logs as they were brought by polling, and how many polls that took."""
    engine = Engine(open_store(site.settings), site.settings)
    try:
        follower = Follower(engine, await engine.refresh(job_id))
        logs = dict.fromkeys(range(len(NAMES) * PROCS), b"")
        for polls in range(1, 10_000):
            news = await follower.poll()
            assert news.unreachable is None
            for chunk in news.chunks:
                if chunk.rank >= 0:
                    assert chunk.offset == len(logs[chunk.rank]), "doubled, or left out"
                    logs[chunk.rank] += chunk.data
            if news.complete:
                assert news.job.state.value == "succeeded", news.job.seen
                return logs, polls
            await asyncio.sleep(0.05)
        pytest.fail("it never ended")
    finally:
        await engine.aclose()


def test_sixteen_hosts_and_the_logs_of_64_ranks(site: SshSite) -> None:
    begun = time.monotonic()
    site.attach_hosts()
    attached = time.monotonic() - begun
    before = {name: site.hosts[name].handshakes for name in NAMES}
    assert max(before.values()) <= 2

    spec = JobSpec(
        kind=JobKind.TRAIN,
        name="writers",
        argv=("/bin/sh", "-c", WRITERS),
        nodes=len(NAMES),
        procs=PROCS,
        verify_world=False,
    )
    begun = time.monotonic()
    job = site.ask(lambda engine: engine.launch("lab", spec, Bundle(files=())))
    submitted = time.monotonic() - begun
    logs, polls = asyncio.run(follow(site, job.id))
    took = time.monotonic() - begun - submitted

    for seat, data in logs.items():
        line = "seat {} line {} of {}, and what a step of a training says of itself\n"
        wanted = "".join(line.format(seat, number, LINES) for number in range(1, LINES + 1))
        assert data.decode() == wanted, f"seat {seat}"
    # All of it went over the connections of the attach, from three processes.
    assert {name: site.hosts[name].handshakes for name in NAMES} == before
    size = sum(len(data) for data in logs.values())
    sys.stdout.write(
        f"16 hosts: attach {attached:.1f} s with {max(before.values())} handshakes, submit "
        f"{submitted:.1f} s, {size} bytes of 64 logs in {took:.1f} s and {polls} polls\n"
    )
    site.assert_nothing_left()
