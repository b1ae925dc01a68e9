"""A real kernel in a process of its own, driven as a notebook drives it."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from tests.support.site import Site

__all__ = ["Cell", "Kernel", "Message", "open_kernel"]

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of the kernel's to all front ends. ``at`` is when the kernel sent it."""

    kind: str
    content: Mapping[str, Any]
    at: float


@dataclass(kw_only=True)
class Cell:
    """What came of one cell so far."""

    id: str
    messages: list[Message] = field(default_factory=list)
    over: bool = False

    def contents(self, *kinds: str) -> list[Mapping[str, Any]]:
        """Return the contents of all messages of `kinds`."""
        return [message.content for message in self.messages if message.kind in kinds]

    @property
    def printed(self) -> str:
        """What the cell printed."""
        return "".join(content["text"] for content in self.contents("stream"))

    @property
    def error(self) -> str:
        """The error as the notebook shows it, without colours; empty where there is none."""
        for content in self.contents("error"):
            return _COLOURS.sub("", "\n".join(content["traceback"]))
        return ""

    @property
    def error_name(self) -> str:
        """The class of the error; empty where there is none."""
        return "".join(content["ename"] for content in self.contents("error"))

    @property
    def displays(self) -> list[Mapping[str, Any]]:
        """What the cell displays, each as it was last updated."""
        shown: dict[str, Mapping[str, Any]] = {}
        for number, message in enumerate(self.messages):
            name = message.content.get("transient", {}).get("display_id") or str(number)
            if message.kind in ("display_data", "execute_result") or (
                message.kind == "update_display_data" and name in shown
            ):
                shown[name] = message.content["data"]
        return list(shown.values())

    @property
    def text(self) -> str:
        """All that a reader of the cell sees, as text."""
        shown = [str(data.get("text/plain", "")) for data in self.displays]
        return "\n".join([self.printed, *shown, self.error])

    @property
    def raw(self) -> str:
        """Every byte of what came of the cell."""
        said = [m.content for m in self.messages if m.kind != "execute_input"]
        return json.dumps(said, ensure_ascii=False)

    def streamed(self) -> str:
        """Return what crossed to the widget in the page so far, as JSON text."""
        return json.dumps(self.contents("comm_open", "comm_msg"), ensure_ascii=False)


class Kernel:
    """A process of ipykernel. Its own process group, as Jupyter starts it.

    Parameters
    ----------
    site
        Where it runs.
    env
        Further variables of its environment.
    """

    def __init__(self, site: Site, *, env: Mapping[str, str] | None = None) -> None:
        self._site = site
        runtime = site.root / "runtime"
        runtime.mkdir(exist_ok=True)
        path, _ = write_connection_file(str(runtime / f"kernel-{time.monotonic_ns()}.json"))
        self._log = Path(path).with_suffix(".log")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ipykernel_launcher", "-f", path],
                cwd=site.work,
                env={**site.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._client = BlockingKernelClient()
        self._client.load_connection_file(path)
        self._client.start_channels()
        try:
            self._wait_for_ready(seconds=120)
        except BaseException:
            self.kill()
            raise

    def _wait_for_ready(self, *, seconds: float) -> None:
        # The client holds a kernel for dead that is silent for a second, which a busy machine does
        # to living ones; whether it lives is known here.
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self._client.wait_for_ready(timeout=deadline - time.monotonic())
            except RuntimeError:  # noqa: PERF203 - it waits
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise

    def run(self, code: str, *, seconds: float = 90) -> Cell:
        """Run a cell to its end."""
        return self.follow(self.begin(code), lambda cell: cell.over, seconds=seconds)

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the kernel, of plain JSON types."""
        cell = self.run(f"import json as _json; print(_json.dumps({expression}))")
        assert not cell.error, cell.error
        return json.loads(cell.printed)

    def begin(self, code: str) -> Cell:
        """Start a cell."""
        return Cell(id=self._client.execute(code, stop_on_error=False))

    def launch(self, code: str) -> tuple[Cell, str]:
        """Start a cell that launches a job; return it, and the job's id once that is on record."""
        known = {job.id for job in self._site.jobs()}
        new: list[str] = []

        def launched(cell: Cell) -> bool:
            new[:] = [job.id for job in self._site.jobs() if job.id not in known]
            return bool(new) or cell.over

        cell = self.follow(self.begin(code), launched)
        assert new, cell.text
        return cell, new[0]

    def follow(self, cell: Cell, until: Callable[[Cell], Any], *, seconds: float = 60) -> Cell:
        """Take the cell's messages until `until` is true of it, or fail."""
        deadline = time.monotonic() + seconds
        while not until(cell):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds} s:\n{cell.text}\n{cell.streamed()[-3000:]}")
            try:
                message = self._client.get_iopub_msg(timeout=0.2)
            except queue.Empty:
                assert self.process.poll() is None, f"the kernel died: {self._log.read_text()}"
                continue
            take(cell, message)
        return cell

    def tell(self, comm: str, data: Mapping[str, Any]) -> None:
        """Say something to the kernel's end of a widget, as a page does."""
        content = {"comm_id": comm, "data": data}
        message = self._client.session.msg("comm_msg", content)
        self._client.shell_channel.send(message)

    def interrupt(self) -> None:
        """Interrupt as Jupyter does: the whole process group, not the kernel alone."""
        os.killpg(self.process.pid, signal.SIGINT)

    def shut_down(self) -> None:
        """End the kernel as Jupyter does, also before a restart; returns once it is gone."""
        self.interrupt()
        self._client.shutdown(restart=True)
        self.process.wait(30)
        self._client.stop_channels()

    def kill(self) -> None:
        """Kill -9; returns once the kernel is gone."""
        self.process.kill()
        self.process.wait()
        self._client.stop_channels()

    def close(self) -> None:
        """End the kernel, if it is still there."""
        if self.process.poll() is None:
            self.kill()


def take(cell: Cell, message: Mapping[str, Any]) -> None:
    """Add `message` to `cell` if it belongs there."""
    if message["parent_header"].get("msg_id") != cell.id:
        return
    kind, content = message["header"]["msg_type"], message["content"]
    if kind == "status":
        cell.over |= content["execution_state"] == "idle"
        return
    at = message["header"]["date"]
    sent = at.timestamp() if hasattr(at, "timestamp") else float("nan")
    cell.messages.append(Message(kind=kind, content=content, at=sent))


@contextmanager
def open_kernel(
    site: Site, *, env: Mapping[str, str] | None = None, load: bool = True
) -> Iterator[Kernel]:
    """Yield a kernel with our magics loaded."""
    kernel = Kernel(site, env=env)
    try:
        if load:
            cell = kernel.run("%load_ext jupyter_aiinfra")
            assert not cell.error, cell.error
        yield kernel
    finally:
        kernel.close()
