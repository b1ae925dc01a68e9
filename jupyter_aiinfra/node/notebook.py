"""Runs the notebook of one job: what ``rank.py`` runs for a task that has a ``notebook``.

Python 3.8 or newer, and ``nbclient``, ``papermill`` (for parameters) and a kernel in the Python it
is run by. What it does is what papermill does, and more is known of it while it lasts: outputs are
written down as they come, the notebook is saved after every cell and during long ones, and how it
ended is said in one sentence. See ``docs/run-directory.md`` for the files.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Sequence

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import injecting, kernels, live, outputs, scrub, supervise
else:  # its neighbours in the bundle
    import injecting
    import kernels
    import live
    import outputs
    import scrub
    import supervise

__all__ = ["End", "go", "run"]

_Json = Dict[str, Any]

_EXIT_REFUSED = 78  # EX_CONFIG of sysexits.h: nothing of the notebook was run
_EXIT_INTERRUPTED = 130
_FLUSH_SECONDS = 0.1
# After an interrupt a cell has so long to end, and to show where it was.
_INTERRUPT_SECONDS = 5.0
_IDLE_SECONDS = 60.0
_SAVE_SHARE = 0.1
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PENDING, _RUNNING, _COMPLETED, _FAILED = "pending", "running", "completed", "failed"


class End(NamedTuple):
    """How a run ended: the exit status, what there is to say of it, and if by itself."""

    status: int
    error: _Json | None = None
    exited: bool = False


class _Over(Exception):
    """The run is over before its last cell."""

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self.end = end


def run(run: supervise.Run, task: Mapping[str, Any], *, secrets: Sequence[str]) -> End:
    """Run the notebook of `task`; `secrets` are values that are to be seen nowhere.

    Returns an error with ``sentence``, which is all the reason that people are told.
    """
    # Modules of the kernel's own packages go before our neighbours.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [*(place for place in sys.path if place != here), here]
    return asyncio.run(go(run, task, secrets=secrets))


async def go(
    run: supervise.Run,
    task: Mapping[str, Any],
    *,
    secrets: Sequence[str],
    kernel: Any = None,
) -> End:
    """Run it within a loop; `kernel` is one that waits to be taken, of :mod:`.warmed`."""
    record = live.Live(run, scrub.Scrubber(secrets))
    running = _Running(run, task["notebook"], record, kernel)
    try:
        end = await running.go()
    except kernels.Refused as error:
        end = End(_EXIT_REFUSED, {"type": "Refused", "message": str(error), "sentence": str(error)})
    if end.error is not None:
        end = end._replace(error=_clean(end.error, record.scrubber))
    state = "succeeded" if end.status == 0 else "failed"
    if end.status == _EXIT_INTERRUPTED:
        state = "interrupted"
    failed = end.error and {key: end.error.get(key) for key in ("cell", "type", "message")}
    reason = end.error["sentence"] if end.error else None
    record.event("end", state=state, reason=reason, error=end.error, exited=end.exited)
    record.tell(state=state, reason=reason, failed=failed, refused=end.status == _EXIT_REFUSED)
    record.close()
    return end


def _clean(error: _Json, scrubber: scrub.Scrubber) -> _Json:
    return {k: scrubber.text(v)[0] if isinstance(v, str) else v for k, v in error.items()}


class _Running:
    """One run of one notebook. ``asked`` is what the task says of it."""

    def __init__(
        self, run: supervise.Run, asked: Mapping[str, Any], record: live.Live, ready: Any
    ) -> None:
        self.run = run
        self.asked = asked
        self.live = record
        self.name = str(asked.get("name") or asked["input"])
        self.limits = outputs.Limits(**asked.get("limits", {}))
        self.begun = self.answered = time.monotonic()
        self.shown: dict[int, outputs.CellOutputs] = {}
        self.settled: set[int] = set()
        self.kept: set[int] = set()
        self.at: int | None = None
        self.node: Any = None
        self.ready = ready
        self.waited = False
        self.kernel: Any = None
        self.client: Any = None
        self.stopping = asyncio.Event()
        self.dirty = False
        self.owed = False  # a cell is over, and not in the file yet
        self.saved_at = time.monotonic()
        self.save_seconds = 0.0

    # --- from the file to a kernel that answers ------------------------------------------------

    async def go(self) -> End:
        """Run it; nothing of the kernel is left."""
        loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stopping.set)
        end = End(1)
        try:
            await self._prepare()
            end = await self._execute()
        finally:
            for kernel in (self.ready, self.kernel):
                if kernel is not None:
                    await kernel.stop(now=end.status != 0)
        return end

    async def _prepare(self) -> None:
        plain = injecting.read(self.run.path(self.asked["input"]), name=self.name)
        choice = kernels.choose(
            plain["metadata"], self.asked.get("kernel"), own_only=bool(self.asked.get("own_python"))
        )
        # An absolute path is itself.
        await self._begin_kernel(choice, self.run.path(self.asked.get("cwd") or "."))
        # While it comes up: what takes long to import.
        with kernels.lean():
            self.node = injecting.to_node(plain, name=self.name)
            self._parametrize(choice)
            self._begin_metadata()
            self.client = _make_client(self.node, self.kernel, self)
        self._save()
        self.live.tell(
            cells=len(self.node.cells),
            kernel={
                "name": choice.name,
                "language": choice.language,
                "own": choice.own,
                "waited": self.waited,
            },
            kept=sorted(self.kept),
        )
        info = await self.kernel.connect(seconds=float(self.asked.get("start_seconds") or 60.0))
        self.client.kc = self.kernel.kc
        self.node.metadata["language_info"] = injecting.node_of(info.get("language_info") or {})

    async def _begin_kernel(self, choice: Any, cwd: str) -> None:
        """Take the kernel that waits, if it is the one, or start one."""
        ready, self.ready = self.ready, None
        if ready is not None and choice.own:
            log = self.run.path("logs", "rank-0.log")
            with contextlib.suppress(kernels.Refused, OSError):
                await ready.take(environ=os.environ, cwd=cwd, log=log)
                ready.choice = choice
                self.kernel = ready
                self.waited = True
                return
        if ready is not None:
            await ready.stop(now=True)
        self.kernel = kernels.Kernel(choice, file=self.run.path("ranks", "kernel.json"))
        await self.kernel.start(cwd=cwd)

    def _parametrize(self, choice: Any) -> None:
        given = self.run.json(self.asked["parameters"]) if self.asked.get("parameters") else None
        given = given or {}
        values = dict(given.get("values", {}))
        secrets = dict(given.get("secrets", {}))
        language = choice.language.lower() if choice.own else choice.language
        injecting.inject(self.node, values, secrets, kernel=choice.name, language=language)
        told = {**values, **{name: f"secret:{which}" for name, which in secrets.items()}}
        paper = self.node.metadata.setdefault("papermill", injecting.node_of({}))
        paper.update(
            injecting.node_of({"parameters": told, "input_path": self.name, "output_path": None})
        )
        resume = self.asked.get("resume")
        if resume:
            previous = injecting.read(self.run.path(resume["previous"]), name="the run before")
            self.kept = injecting.keep(self.node, previous, resume["again"])

    def _begin_metadata(self) -> None:
        started = {"start_time": _now(), "end_time": None, "duration": None, "exception": None}
        self.node.metadata["papermill"].update(injecting.node_of(started))
        for at, cell in enumerate(self.node.cells):
            if at not in self.kept:
                fresh = {"exception": None, "start_time": None, "end_time": None, "duration": None}
                cell.metadata["papermill"] = injecting.node_of({**fresh, "status": _PENDING})

    # --- the cells -----------------------------------------------------------------------------

    async def _execute(self) -> End:
        self.live.event("begin", cells=len(self.node.cells), kernel=self.kernel.choice.name)
        self.live.tell(state="running")
        self.answered = time.monotonic()  # the start of the kernel has a limit of its own
        minding = asyncio.ensure_future(self._mind())
        end = End(0)
        try:
            for at in range(len(self.node.cells)):
                if at not in self.kept:
                    await self._cell(at)
        except _Over as over:
            end = over.end
        finally:
            minding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await minding
        self.client.set_widgets_metadata()
        paper = self.node.metadata["papermill"]
        paper.update(end_time=_now(), duration=time.monotonic() - self.begun)
        paper["exception"] = True if end.error is not None and "cell" in end.error else None
        self._save()
        if self.live.full and end.status == 0:
            where = self.run.folder
            text = f"no space left in {where}: the output notebook could not be saved"
            return End(1, {"type": "OSError", "message": text, "sentence": text})
        return end

    async def _cell(self, at: int) -> None:
        cell = self.node.cells[at]
        if cell.cell_type != "code" or not cell.source.strip():
            cell.metadata["papermill"]["status"] = _COMPLETED
            return
        self._settle()
        self.at = at
        self.shown[at] = outputs.CellOutputs(self.limits)
        self.live.running(at, self.shown[at])
        cell.metadata["papermill"].update(start_time=_now(), status=_RUNNING, exception=False)
        begun = time.monotonic()
        self.live.event("cell", cell=at, state=_RUNNING)
        self.live.log(f"--- cell {at + 1} of {len(self.node.cells)} ---\n")
        self.live.tell(cell=at, cell_started_at=time.time())
        error = await self._watched(at, cell)
        end = self._judged(at, cell, error)
        status = _COMPLETED if end is None or end.status == 0 else _FAILED
        cell.metadata["papermill"].update(
            end_time=_now(),
            duration=time.monotonic() - begun,
            status=status,
            exception=status == _FAILED,
        )
        count, exited = cell.get("execution_count"), end is not None and end.exited
        self.live.event("cell", cell=at, state=status, execution_count=count, exited=exited)
        self.dirty = True
        self._save_soon()
        if end is not None:
            raise _Over(end)

    async def _watched(self, at: int, cell: Any) -> BaseException | str | None:
        """Run a cell; return what ended it before its end: an error, or in words why we did."""
        doing = asyncio.ensure_future(self.client.async_execute_cell(cell, at))
        told = asyncio.ensure_future(self.stopping.wait())
        seconds, why = self._time_left(at)
        done, _ = await asyncio.wait(
            {doing, told}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        told.cancel()
        if doing in done:
            error: BaseException | None = doing.exception()
            return error
        if not done:
            self.live.log(f"aiinfra: {why}: it is interrupted\n")
        with contextlib.suppress(OSError, RuntimeError):  # it may be gone already
            await self.kernel.interrupt()
        ended, _ = await asyncio.wait({doing}, timeout=_INTERRUPT_SECONDS)
        if not ended:
            doing.cancel()
            await asyncio.wait({doing})
        if not doing.cancelled():
            doing.exception()  # looked at: what is told is why it was interrupted
        return "" if told in done else why

    def _time_left(self, at: int) -> tuple[float | None, str]:
        """Return how long a cell may take, and what is said when that is over."""
        cell, whole = self.asked.get("cell_seconds"), self.asked.get("run_seconds")
        left = None if whole is None else max(0.0, self.answered + whole - time.monotonic())
        if cell is not None and (left is None or cell <= left):
            return float(cell), f"{self._where(at)} took longer than {cell:g} s"
        return left, f"the run took longer than {whole or 0:g} s: it was in {self._where(at)}"

    def _where(self, at: int) -> str:
        count = self.node.cells[at].get("execution_count")
        return f"cell {at + 1}" + (f" (In [{count}])" if count else "")

    def _judged(self, at: int, cell: Any, error: BaseException | str | None) -> End | None:
        """Return the end of the run, if this cell is it."""
        if error is None:
            return None
        number = {"cell": at + 1}
        if error == "":
            text = f"interrupted in {self._where(at)}"
            told = {"type": "KeyboardInterrupt", "message": text, "sentence": text, **number}
            return End(_EXIT_INTERRUPTED, told)
        if isinstance(error, str):
            return End(1, {"type": "TimeoutError", "message": error, "sentence": error, **number})
        name = type(error).__name__
        if name == "CellExecutionError":
            ename, evalue = str(getattr(error, "ename", "")), str(getattr(error, "evalue", ""))
            if ename == "SystemExit" and evalue in ("", "0"):
                return End(0, exited=True)  # the notebook ends itself, as papermill has it too
            text = f"{self._where(at)} raised {ename}: {evalue}"
            trace = _ANSI.sub("", str(getattr(error, "traceback", "")))
            told = {"type": ename, "message": evalue[:4000], "traceback": trace[-20000:]}
            return End(1, {**told, "sentence": text[:4000], "raised": True, **number})
        if name == "DeadKernelError":
            text = f"the kernel died in cell {at + 1}: {self.kernel.death()}"
            cell.metadata["papermill"]["exception"] = True
        else:
            text = f"{self._where(at)} could not be run: {name}: {error}"
        return End(1, {"type": name, "message": text, "sentence": text, **number})

    # --- what the kernel says ------------------------------------------------------------------

    def take(self, at: int, kind: str, content: _Json) -> None:
        """Take one message that shows something."""
        shown = self.shown[at]
        self.dirty = True
        if kind == "stream":
            kept = shown.write(content["name"], content["text"])
            if kept:
                self.live.write(at, content["name"], kept)
            if shown.folded:
                self.live.fold(at, shown.folded)
        elif kind == "clear_output":
            shown.clear(wait=bool(content.get("wait")))
            self.live.event("clear", cell=at, wait=bool(content.get("wait")))
        elif kind == "update_display_data":
            self._update(content)
        else:
            display_id = (content.get("transient") or {}).get("display_id")
            if display_id:
                self._update(content)
            output = {"output_type": kind, **content}
            output.pop("transient", None)
            kept_output = shown.show(output, display_id)
            if kept_output is not None:
                self.live.show(at, kept_output, display_id=display_id)

    def _update(self, content: _Json) -> None:
        display_id = str((content.get("transient") or {}).get("display_id"))
        data, metadata = content.get("data", {}), content.get("metadata", {})
        hit = [at for at, each in self.shown.items() if each.update(display_id, data, metadata)]
        self.settled -= set(hit)
        if hit:
            clean, _ = self.live.scrubber.output({"data": data})
            told = {"data": clean["data"], "metadata": metadata}
            self.live.event("update", display_id=display_id, **told)

    # --- saving --------------------------------------------------------------------------------

    async def _mind(self) -> None:
        """Let what is printed be seen, and save during long cells, now and then."""
        pause = float(self.asked.get("save_seconds") or 10.0)
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            self.live.flush()
            since = time.monotonic() - self.saved_at
            due = _FLUSH_SECONDS if self.owed else pause
            if self.dirty and since >= max(due, self.save_seconds / _SAVE_SHARE):
                self._save()

    def _save_soon(self) -> None:
        """Save after a cell; of many quick ones, the last of each moment."""
        self.owed = True
        since = time.monotonic() - self.saved_at
        if since >= max(_FLUSH_SECONDS, self.save_seconds / _SAVE_SHARE):
            self._save()

    def _settle(self) -> None:
        """Put what the cells have shown into the notebook."""
        for at in set(self.shown) - self.settled:
            self.node.cells[at].outputs = injecting.node_of(
                self.live.outputs_of(at, self.shown[at])
            )
            if self.node.cells[at].metadata["papermill"]["status"] != _RUNNING:
                self.settled.add(at)

    def _save(self) -> None:
        begun = time.monotonic()
        self._settle()
        self.dirty = self.owed = not self.live.save(injecting.text_of(self.node))
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - begun
        self.live.tell(saved_at=time.time())


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def _make_client(node: Any, kernel: Any, taker: _Running) -> Any:
    """Return nbclient's executor with our way of keeping outputs."""
    try:
        from nbclient import NotebookClient
    except ImportError as error:
        raise kernels.Refused(
            f"{sys.executable} has no nbclient, which runs notebooks: "
            f"{sys.executable} -m pip install papermill ipykernel"
        ) from error

    class Client(NotebookClient):
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            kind = msg["msg_type"]
            if kind not in _SHOWN:
                return super().process_message(msg, cell, cell_index)
            hooks = self.output_hook_stack[msg["parent_header"].get("msg_id")]
            if hooks and kind == "clear_output":
                hooks[-1].clear_output(cell.outputs, msg, cell_index)
            elif hooks and kind != "update_display_data":
                hooks[-1].output(cell.outputs, msg, None, cell_index)
            else:
                taker.take(cell_index, kind, dict(msg["content"]))
            return None

    return Client(
        node, km=kernel.km, iopub_timeout=int(_IDLE_SECONDS), raise_on_iopub_timeout=False
    )


_SHOWN = frozenset(
    ("stream", "display_data", "execute_result", "error", "update_display_data", "clear_output")
)
