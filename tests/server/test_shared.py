"""The server's one engine: opened once, off the event loop, and again after a failure."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import StoreError
from jupyter_aiinfra.server.shared import SharedEngine


class FakeEngine:
    """Knows how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1

    async def thread(self) -> int:
        return threading.get_ident()


class Opener:
    """Opens a :class:`FakeEngine`, or fails as often as told."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.opened: list[FakeEngine] = []
        self.threads: set[int] = set()
        self.calls = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> Engine:
        self.calls += 1
        self.threads.add(threading.get_ident())
        assert self.go.wait(30)
        if self.failures:
            self.failures -= 1
            raise StoreError("no database")
        self.opened.append(FakeEngine())
        return cast("Engine", self.opened[-1])


async def test_is_opened_once_for_all_who_wait_and_never_in_the_loop() -> None:
    opener = Opener()
    shared = SharedEngine(opener)
    assert opener.calls == 0

    engines = await asyncio.gather(*(shared.call(lambda engine: engine) for _ in range(5)))

    assert opener.calls == 1
    assert all(engine is engines[0] for engine in engines)
    worker = await shared.call(lambda _: threading.get_ident())
    awaited = await shared.run(lambda engine: cast("FakeEngine", engine).thread())
    assert {worker, awaited} == opener.threads
    assert threading.get_ident() != worker
    await shared.close()


async def test_failure_reaches_all_who_wait_and_the_next_tries_again() -> None:
    opener = Opener(failures=1)
    opener.go.clear()
    shared = SharedEngine(opener)

    waiting = [asyncio.create_task(shared.call(lambda _: "done")) for _ in range(3)]
    await asyncio.sleep(0)  # each has asked by now: it fails for all of them
    opener.go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in results] == [StoreError] * 3
    assert await shared.call(lambda _: "done") == "done"
    assert opener.calls == 2
    await shared.close()


async def test_impatient_caller_does_not_end_it_for_others() -> None:
    opener = Opener()
    opener.go.clear()
    shared = SharedEngine(opener)
    patient = asyncio.create_task(shared.call(lambda _: "done"))

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(shared.call(lambda _: "done"), 0.01)
    opener.go.set()

    assert await patient == "done"
    assert opener.calls == 1
    await shared.close()


async def test_close_closes_what_was_opened_once() -> None:
    opener = Opener()
    shared = SharedEngine(opener)
    await shared.close()
    await shared.call(lambda _: None)

    await shared.close()
    await shared.close()

    assert [engine.closed for engine in opener.opened] == [1]


async def test_close_after_a_failure_is_quiet() -> None:
    shared = SharedEngine(Opener(failures=1))
    with pytest.raises(StoreError):
        await shared.call(lambda _: None)

    await shared.close()
