"""Waiting for the end of a process that is no child."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools import ended


def _sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])


@pytest.mark.parametrize("told", [True, False], ids=["told", "looked at"])
def test_it_returns_once_the_process_is_gone(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    if not told:
        monkeypatch.delattr(os, "pidfd_open", raising=False)

    async def main() -> bool:
        process = _sleeper()
        waiting = asyncio.ensure_future(ended.until_ended(supervise.identity(process.pid)))
        await asyncio.sleep(0)
        early = waiting.done()
        process.kill()
        process.wait()
        await asyncio.wait_for(waiting, 30)
        return early

    assert not asyncio.run(main())


def test_of_nobody_and_of_one_long_gone_it_does_not_wait() -> None:
    process = _sleeper()
    who = supervise.identity(process.pid)
    process.kill()
    process.wait()
    asyncio.run(asyncio.wait_for(ended.until_ended(who), 30))
    asyncio.run(asyncio.wait_for(ended.until_ended(None), 30))


def test_a_pid_that_was_given_to_another_is_not_waited_for() -> None:
    who = {**supervise.myself(), "start": 1}
    asyncio.run(asyncio.wait_for(ended.until_ended(who), 30))
