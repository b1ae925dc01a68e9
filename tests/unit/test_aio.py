from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from jupyter_aiinfra.aio import LoopThread, collect


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread("tested")
    yield loop
    loop.close()


async def interrupt() -> None:
    """Interrupt the main thread, as the terminal does, once it waits for us."""
    main = threading.main_thread().ident
    assert main is not None
    for _ in range(2000):
        if sys._current_frames()[main].f_code.co_name == "wait":
            break
        await asyncio.sleep(0.001)
    signal.pthread_kill(main, signal.SIGINT)


def test_work_runs_in_a_thread_of_its_own_and_gives_its_result(loop: LoopThread) -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert loop.run(where()) == "tested"
    assert loop.submit(where()).result(5) == "tested"


def test_an_error_is_raised_where_it_is_waited_for(loop: LoopThread) -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        loop.run(fail())


def test_work_can_be_waited_for_inside_a_running_loop(loop: LoopThread) -> None:
    async def seven() -> int:
        return 7

    async def outer() -> int:
        return loop.run(seven())

    assert asyncio.run(outer()) == 7


def test_an_interrupt_is_raised_once_the_clean_up_is_through(loop: LoopThread) -> None:
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await interrupt()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            cleaned.append("up")

    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert cleaned == ["up"]


def test_a_second_interrupt_does_not_wait(loop: LoopThread) -> None:
    over = threading.Event()

    async def work() -> None:
        try:
            await interrupt()
            await asyncio.sleep(60)
        finally:
            await interrupt()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            over.set()

    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert not over.is_set()
    loop.close()
    assert over.is_set()


def test_close_cancels_what_runs_and_may_come_twice() -> None:
    loop = LoopThread()
    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def nothing() -> None:
        """Come after what was submitted before."""

    future = loop.submit(forever())
    loop.run(nothing())
    loop.close()
    loop.close()
    assert ended.is_set()
    assert future.cancelled()
    assert not loop._thread.is_alive()


async def test_collect() -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    assert await collect(numbers()) == [0, 1, 2]
