"""The server's one store: opened once, off the event loop, and again after a failure."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

import pytest

from jupyter_aiinfra.errors import StoreError
from jupyter_aiinfra.server.shared import SharedStore
from jupyter_aiinfra.store import Store


class FakeStore:
    """Knows which threads used it, and how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Opener:
    """Opens a :class:`FakeStore`, or fails as often as told."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.opened: list[FakeStore] = []
        self.threads: set[int] = set()
        self.calls = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> Store:
        self.calls += 1
        self.threads.add(threading.get_ident())
        assert self.go.wait(30)
        if self.failures:
            self.failures -= 1
            raise StoreError("no database")
        self.opened.append(FakeStore())
        return cast("Store", self.opened[-1])


async def test_is_opened_once_for_all_who_wait_and_never_in_the_loop() -> None:
    opener = Opener()
    shared = SharedStore(opener)
    assert opener.calls == 0

    stores = await asyncio.gather(*(shared.call(lambda store: store) for _ in range(5)))

    assert opener.calls == 1
    assert all(store is stores[0] for store in stores)
    worker = await shared.call(lambda _: threading.get_ident())
    assert {worker, *opener.threads}.isdisjoint({threading.get_ident()})
    await shared.close()


async def test_failure_reaches_all_who_wait_and_the_next_tries_again() -> None:
    opener = Opener(failures=1)
    shared = SharedStore(opener)

    results = await asyncio.gather(
        *(shared.call(lambda _: "done") for _ in range(3)), return_exceptions=True
    )

    assert [type(result) for result in results] == [StoreError] * 3
    assert await shared.call(lambda _: "done") == "done"
    assert opener.calls == 2
    await shared.close()


async def test_impatient_caller_does_not_end_it_for_others() -> None:
    opener = Opener()
    opener.go.clear()
    shared = SharedStore(opener)
    patient = asyncio.create_task(shared.call(lambda _: "done"))

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(shared.call(lambda _: "done"), 0.01)
    opener.go.set()

    assert await patient == "done"
    assert opener.calls == 1
    await shared.close()


async def test_close_closes_what_was_opened_once() -> None:
    opener = Opener()
    shared = SharedStore(opener)
    await shared.close()
    await shared.call(lambda _: None)

    await shared.close()
    await shared.close()

    assert [store.closed for store in opener.opened] == [1]


async def test_close_after_a_failure_is_quiet() -> None:
    shared = SharedStore(Opener(failures=1))
    with pytest.raises(StoreError):
        await shared.call(lambda _: None)

    await shared.close()
