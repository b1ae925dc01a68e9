"""A kernel that was up before anybody wanted it: its process, and who speaks to it.

One file, Python 3.8 or newer; ``ipykernel`` and ``jupyter_client`` of the run's own Python are
imported where they are needed. ``warm.py`` forks the process off one that has all of that loaded.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import secrets
import signal
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any, Mapping

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import kernels, supervise
else:  # its neighbours in the folder
    import kernels
    import supervise

__all__ = [
    "WARM_TAG",
    "Forked",
    "WarmKernel",
    "become_kernel",
    "leave_last",
    "plain_signals",
    "retag",
]

WARM_TAG = "AIINFRA_WRM"
"""What processes carry that are no job's yet; as long as the tag of jobs, which takes its place."""

_DOOR = "aiinfra_warmed"
_ENV_START = 47  # of what follows the name in `/proc/PID/stat` (field 50 of proc(5))
_SIGNALS = ("SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCHLD")
# Their text may wait in memory until they are closed, which is when Python is taken down.
_WRITERS = frozenset((io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom))
_kernels: list[int] = []  # whether this process is one


class Forked:
    """A child of this process, as far as that is asked: like a ``Popen``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, or ``None`` while it lives."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has taken note of its end
                self.returncode = 1
            else:
                if pid:
                    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
                    self.returncode = os.WEXITSTATUS(status) if number is None else -number
        return self.returncode


def retag(stand_by: str, job: str, *, name: str = supervise.TAG) -> None:
    """Make this process one of `job`, for all who look at it: see :func:`.supervise.tagged`.

    That reads the variables that a process was started with, so they are written over in place.

    Raises
    ------
    OSError
        It cannot be done on this machine.
    """
    with open("/proc/self/stat", "rb") as file:
        text = file.read()
    fields = text[text.rindex(b")") + 2 :].split()
    start, end = int(fields[_ENV_START]), int(fields[_ENV_START + 1])
    with open("/proc/self/environ", "rb") as file:
        there = file.read()
    old, new = f"{WARM_TAG}={stand_by}\0".encode(), f"{name}={job}\0".encode()
    at = there.find(old)
    if at < 0 or len(old) != len(new) or len(there) != end - start:
        raise OSError(f"the variables of process {os.getpid()} cannot be changed")
    ctypes.memmove(start + at, new, len(new))
    with open("/proc/self/environ", "rb") as file:
        if new not in file.read():
            raise OSError(f"the variables of process {os.getpid()} were not changed")


def plain_signals() -> None:
    """Take signals as a process does that was started anew."""
    signal.set_wakeup_fd(-1)
    for name in _SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


# --- in the kernel -----------------------------------------------------------------------------


def leave_last() -> None:
    """Have a kernel end as soon as all that was to be done at its exit is done.

    To be called before anything else is imported: what was registered first is done last. Taking
    Python down takes longer than most notebooks, and nothing of it is seen.
    """
    atexit.register(_leave)


def _leave() -> None:
    if os.getpid() not in _kernels:
        return  # a process that the notebook has forked
    for each in gc.get_objects():
        if type(each) in _WRITERS and not each.closed:
            try:
                each.flush()
            except (OSError, ValueError):  # it is for reading, or the disk is full
                continue
    os._exit(0)


def become_kernel(file: str, parent: int, *, kept: frozenset[str], stand_by: str) -> None:
    """Be a kernel, until it is told to end. `kept` are the modules that a kernel has anyway."""
    _kernels.append(os.getpid())
    os.setsid()
    plain_signals()
    os.closerange(3, 1 << 12)
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if place != here]
    door = types.ModuleType(_DOOR)
    door.__dict__["take"] = lambda text: _take(stand_by, json.loads(text))
    _forget(kept)
    sys.modules[_DOOR] = door
    kernelapp = importlib.import_module("ipykernel.kernelapp")
    launcher = importlib.import_module("ipykernel_launcher")
    arguments = ["-f", file, "--HistoryManager.hist_file=:memory:"]
    sys.argv = [str(launcher.__file__), *arguments]
    application = kernelapp.IPKernelApp.instance()
    application.initialize([*arguments, f"--IPKernelApp.parent_handle={parent}"])
    _look_for_children_only_if_any(application.kernel)
    application.start()
    _let_finish(application.control_thread)


def _look_for_children_only_if_any(kernel: Any) -> None:
    """Spare a kernel without children the look at all processes of the machine, at its end.

    That takes longer than most notebooks: ipykernel asks psutil, which reads ``/proc``.
    """
    look = getattr(kernel, "_process_children", None)
    if look is not None:
        kernel._process_children = lambda: look() if supervise.has_children() else []  # noqa: SLF001


def _let_finish(control: Any) -> None:
    """Wait until the thread that was told to end the kernel has said all that it had to say.

    It flushes what is shown through another thread, which is the first to be stopped at exit: who
    comes too late waits for it for ten seconds (``OutStream.flush_timeout`` of ipykernel).
    """
    if control is None:
        return
    said = threading.Event()
    control.io_loop.add_callback(said.set)
    deadline = time.monotonic() + _LAST_SECONDS
    while control.is_alive() and time.monotonic() < deadline:
        if said.wait(_LOOK_SECONDS):
            return


def _forget(kept: frozenset[str]) -> None:
    """Forget modules that only its runner needs: a notebook may have one of that name.

    Compiled ones stay, with their packages: many cannot be loaded a second time.
    """
    ours = set(sys.modules) - kept - {"__main__"}
    compiled = {
        name.partition(".")[0]
        for name in ours
        if str(getattr(sys.modules[name], "__file__", None)).endswith(".so")
    }
    for name in ours:
        top = name.partition(".")[0]
        if top not in compiled and (top not in kept or "." in name):
            del sys.modules[name]


def _take(stand_by: str, order: Mapping[str, Any]) -> None:
    """Be the kernel of a job: its variables, its folder, its log."""
    environ = order["environ"]
    retag(stand_by, environ[supervise.TAG])
    was = order["was"]
    # What the kernel has set since its start is its own.
    own = {name for name, value in os.environ.items() if was.get(name) != value}
    for name in set(os.environ) - own - set(environ):
        del os.environ[name]
    os.environ.update({name: value for name, value in environ.items() if name not in own})
    time.tzset()
    os.chdir(order["cwd"])
    shell = importlib.import_module("IPython").get_ipython()
    shell.user_ns["_dh"][:] = [os.getcwd()]
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        original = getattr(stream, "_original_stdstream_copy", None)
        if original is not None:
            os.dup2(log, original)  # where the stacks go of one that crashes
    os.close(log)
    # Nothing that is here by now is the notebook's: looking for garbage, as IPython does at its
    # end, and for open files, as we do, is quick then.
    gc.freeze()


# --- in the runner -----------------------------------------------------------------------------


class WarmKernel(kernels.Kernel):
    """A kernel that is up. ``take`` makes it the job's, after which it is one like any other."""

    def __init__(self, choice: kernels.Choice, *, folder: str) -> None:
        from jupyter_client.asynchronous.client import AsyncKernelClient

        kernel = self

        class Client(AsyncKernelClient):  # type: ignore[misc, unused-ignore] # may be untyped
            async def is_alive(self) -> bool:
                return await kernel.alive()

        self.choice = choice
        self.folder = folder
        self.file = os.path.join(folder, "kernel.json")
        self.km = self  # as far as nbclient asks for its manager
        self.kc: Any = None
        self._client = Client
        self._process: Any = None
        self._was: dict[str, str] = {}
        self._info: Mapping[str, Any] = {}
        ports = {f"{name}_port": at for at, name in enumerate(_CHANNELS, 1)}
        self._connection: Any = {
            **ports,
            "transport": "ipc",
            "ip": os.path.join(folder, "ipc"),
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
            "kernel_name": choice.name,
        }

    def fork(self, *, kept: frozenset[str], stand_by: str) -> None:
        """Start the process. To be called before there is any thread, or socket of ZeroMQ."""
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._connection, file)
        self._was = dict(os.environ)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                become_kernel(self.file, parent, kept=kept, stand_by=stand_by)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
            except BaseException:  # noqa: BLE001 - the last frame of a process: say it, and end
                import traceback

                traceback.print_exc()
                code = 1
            # As Python does at its end; what was registered first ends it.
            threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - no other way
            atexit._run_exitfuncs()  # noqa: SLF001 - no other way
            os._exit(code)
        self._process = Forked(pid)

    async def start(self, *, cwd: str) -> None:
        """Be there already."""

    async def connect(self, *, seconds: float) -> Mapping[str, Any]:
        """Wait until it answers, once; then know what it said."""
        if not self._info:
            self._info = await super().connect(seconds=seconds)
        return self._info

    def client(self) -> Any:
        """Return a client of it."""
        client = self._client()
        client.load_connection_info(self._connection)
        return client

    async def take(self, *, environ: Mapping[str, str], cwd: str, log: str) -> None:
        """Give it to a job.

        Raises
        ------
        Refused
            It cannot be had; another has to be started.
        """
        order = {"environ": dict(environ), "was": self._was, "cwd": cwd, "log": log}
        code = f"__import__({_DOOR!r}).take({json.dumps(order)!r})"
        asked = self.kc.execute(code, silent=True, store_history=False, allow_stdin=False)
        deadline = time.monotonic() + _TAKE_SECONDS
        while time.monotonic() < deadline and await self.alive():
            answer = await self._message(self.kc.shell_channel, 1.0)
            if answer and answer["parent_header"].get("msg_id") == asked:
                if answer["content"].get("status") != "ok":
                    raise kernels.Refused(str(answer["content"].get("evalue")))
                if await self._quiet(asked):
                    return
        raise kernels.Refused("the kernel that was ready does not answer")

    async def is_alive(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    async def alive(self) -> bool:
        """Whether its process lives."""
        return await self.is_alive()

    async def interrupt(self) -> None:
        """Interrupt what it computes, and what that has started."""
        os.killpg(self._process.pid, signal.SIGINT)

    async def stop(self, *, now: bool) -> None:
        """End it, and remove what it left. Idempotent."""
        client, self.kc = self.kc, None
        if await self.is_alive():
            if client is not None and not now:
                client.shutdown()
                await self._ended(_LAST_SECONDS)
            if await self.is_alive():
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._ended(_LAST_SECONDS)
        if client is not None:
            client.stop_channels()
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))
        os.rmdir(self.folder)

    async def _ended(self, seconds: float) -> None:
        """Wait so long until its process, which lives, is gone; told by the system if it can."""
        import asyncio

        deadline = time.monotonic() + seconds
        with contextlib.suppress(AttributeError, OSError):
            descriptor = os.pidfd_open(self._process.pid)  # ours until we have waited for it
            loop, gone = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(descriptor, gone.set)
            try:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(gone.wait(), seconds)
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        while await self.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110 - no event
            await asyncio.sleep(_LOOK_SECONDS)


_CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
_TAKE_SECONDS = 10.0
_LAST_SECONDS = 5.0
_LOOK_SECONDS = 0.002
