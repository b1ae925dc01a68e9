from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.node.warmed import _let_finish, _look_for_children_only_if_any


class Loop:
    """As Tornado's, as far as it is asked."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def add_callback(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # it is closed
            self.loop.call_soon_threadsafe(callback)


class Control(threading.Thread):
    """As a kernel's thread for control messages."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.io_loop = Loop()

    def run(self) -> None:
        self.io_loop.loop.run_forever()
        self.io_loop.loop.close()


def test_a_kernel_ends_when_its_control_thread_has_said_all() -> None:
    control, busy, release = Control(), threading.Event(), threading.Event()
    control.io_loop.add_callback(busy.set)
    control.io_loop.add_callback(release.wait)
    control.start()
    assert busy.wait(30)
    waiting = threading.Thread(target=_let_finish, args=(control,), daemon=True)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive(), "it has not been waited for"
    release.set()
    waiting.join(30)
    assert not waiting.is_alive()
    assert control.is_alive(), "it is not waited for longer than needed"
    control.io_loop.add_callback(control.io_loop.loop.stop)
    control.join(30)


def test_a_control_thread_that_has_ended_is_not_waited_for() -> None:
    control = Control()
    control.io_loop.add_callback(control.io_loop.loop.stop)
    control.start()
    control.join(30)
    _let_finish(control)
    _let_finish(None)


class Kernel:
    """As ipykernel's, as far as it looks for children."""

    def __init__(self) -> None:
        self.looks = 0

    def _process_children(self) -> list[str]:
        self.looks += 1
        return ["a child"]


def test_a_kernel_looks_for_children_only_if_it_has_any(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, has = Kernel(), [False]
    _look_for_children_only_if_any(kernel)
    monkeypatch.setattr(supervise, "has_children", lambda: has[0])
    assert kernel._process_children() == []
    assert kernel.looks == 0
    has[0] = True
    assert kernel._process_children() == ["a child"]
    assert kernel.looks == 1


def test_a_kernel_that_looks_for_none_is_left_as_it_is() -> None:
    kernel = object()
    _look_for_children_only_if_any(kernel)
    assert not hasattr(kernel, "_process_children")
