"""The kernel of a notebook run: which one it is, starting it, speaking to it, and how it died.

One file, Python 3.8 or newer; ``jupyter_client`` of the run's own Python is imported where it is
needed. The kernel is started before anything else that is slow: it comes up while the rest is
imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import queue
import signal
import sys
import time
from typing import Any, Iterator, Mapping, NamedTuple

__all__ = ["Choice", "Kernel", "Refused", "choose", "lean"]

_NATIVE = "python3"
# Of a socket's path, with what is put behind it (`sun_path` in unix(7)).
_SOCKET_PATH = 100
_ANSWER_SECONDS = 1.0
_FIRST_OUTPUT_SECONDS = 0.1


# What our imports bring along and never use: checks of formats that no notebook has (a second for
# the grammar of an address), file systems of clouds. Each is one that its importer can do without.
_LEFT_OUT = ("rfc3987_syntax", "pyarrow", "boto3", "azure", "gcsfs")


@contextlib.contextmanager
def lean() -> Iterator[None]:
    """Import within this what runs notebooks, in a process where nothing but that is to be run."""
    absent = [name for name in _LEFT_OUT if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del modules[name]


class Refused(Exception):
    """Nothing of the notebook can be run; the message says why, and what would help."""


class Choice(NamedTuple):
    """The kernel that a notebook is run by. ``spec`` is jupyter_client's, ``own`` our Python's."""

    name: str
    language: str
    spec: Any
    own: bool


def choose(metadata: Mapping[str, Any], asked: str | None, *, own_only: bool) -> Choice:
    """Return the kernel for a notebook of such `metadata`.

    Parameters
    ----------
    asked
        The kernel that was asked for; ``None`` is the one that the notebook names.
    own_only
        A Python notebook is run by the Python that runs us, whatever the kernel is called: an
        environment was made for this run, and is to be used.

    Raises
    ------
    Refused
        It names none, this machine has no such kernel, or our Python has none.
    """
    try:
        from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
    except ImportError as error:
        raise Refused(_missing("jupyter_client")) from error
    name = asked or (metadata.get("kernelspec") or {}).get("name")
    if not name:
        raise Refused(
            "the notebook names no kernel (it was never saved with one): choose one, as in "
            "--kernel python3, or open it in JupyterLab, choose a kernel and save it"
        )
    told = metadata.get("kernelspec") or {}
    language = told.get("language") or (metadata.get("language_info") or {}).get("name") or ""
    manager = KernelSpecManager()
    spec = None
    try:
        spec = manager.get_kernel_spec(name)
        language = str(spec.language or language)
    except NoSuchKernel:
        native = name == _NATIVE or (own_only and language.lower() == "python")
        if not native:
            there = sorted(manager.find_kernel_specs())
            raise Refused(
                f"the notebook asks for kernel {name!r}, which is not on this machine: there "
                + (f"is {', '.join(there)}" if there else "is none")
                + "; choose one with --kernel"
            ) from None
    own = language.lower() in ("python", "") and (own_only or (name == _NATIVE and not asked))
    if spec is None or own:
        if importlib.util.find_spec("ipykernel") is None:
            raise Refused(_missing("ipykernel"))
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = KernelSpec(argv=argv, display_name=name, language="python")
        return Choice(name, "python", spec, own=True)
    return Choice(name, language, spec, own=False)


def _missing(package: str) -> str:
    return (
        f"{sys.executable} has no {package}, which runs notebooks: "
        f"{sys.executable} -m pip install papermill ipykernel"
    )


async def _wait(value: Any) -> Any:
    """Return `value`, waited for if that is needed: releases of jupyter_client differ in it."""
    return await value if inspect.isawaitable(value) else value


def _hear_while_sending(client: Any) -> None:
    """Have an answer be heard that arrives while something else is sent.

    jupyter_client sends around ZeroMQ's asyncio (``Session.send`` takes a shadow of the socket),
    which may take the only sign that there is an answer: who waits for that waits for ever. So it
    is with nbclient in a cell that shows something in an ``Output`` of ipywidgets, now and then.
    """
    channel, session = client.shell_channel, client.session
    around = channel.send

    def send(message: Any) -> None:
        if session.adapt_version:  # an old kernel, to which it is put in other words
            around(message)
        else:
            buffers = message.get("buffers") or ()
            channel.socket.send_multipart([*session.serialize(message), *buffers])

    channel.send = send


class Kernel:
    """One kernel, from its start to its end.

    Parameters
    ----------
    file
        Where its connection file goes; its sockets lie beside it where there is room for the name.
    """

    def __init__(self, choice: Choice, *, file: str) -> None:
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager

        class Chosen(KernelSpecManager):  # type: ignore[misc, unused-ignore] # may be untyped
            def get_kernel_spec(self, kernel_name: str) -> Any:
                del kernel_name
                return choice.spec

        self.choice = choice
        self.km: Any = AsyncKernelManager(
            kernel_name=choice.name, kernel_spec_manager=Chosen(), connection_file=file
        )
        # Nobody else of the machine can connect, and no port can be taken by another meanwhile.
        if choice.own and len(file) < _SOCKET_PATH:
            self.km.transport = "ipc"
            self.km.ip = os.path.splitext(file)[0] + "-ipc"
        self.kc: Any = None
        self._process: Any = None

    async def start(self, *, cwd: str) -> None:
        """Start the process; it is not waited for."""
        # What it runs is nobody's history, and many at once would wait for each other's database.
        extra = ["--HistoryManager.hist_file=:memory:"] if self._is_ipykernel() else []
        try:
            await _wait(self.km.start_kernel(extra_arguments=extra, cwd=cwd))
        except (OSError, ValueError) as error:
            raise Refused(f"kernel {self.choice.name!r} cannot be started: {error}") from error
        self._process = getattr(getattr(self.km, "provisioner", None), "process", None)

    def _is_ipykernel(self) -> bool:
        return self.choice.own or "ipykernel_launcher" in self.choice.spec.argv

    async def connect(self, *, seconds: float) -> Mapping[str, Any]:
        """Wait until the kernel answers and is heard; return what it says of itself.

        Without the pause of jupyter_client's own way, which waits 0.2 s for nothing.

        Raises
        ------
        Refused
            It died, or did not answer in time.
        """
        self.kc = self.km.client()
        self.kc.start_channels()
        self.kc.allow_stdin = False
        _hear_while_sending(self.kc)
        deadline = time.monotonic() + seconds
        answer = None
        while True:
            asked = self.kc.kernel_info()
            wait = _FIRST_OUTPUT_SECONDS if answer else _ANSWER_SECONDS
            answer = await self._message(self.kc.shell_channel, wait) or answer
            # What is said before we listen is lost: it is asked again until something is heard.
            if answer and await self._quiet(asked):
                return dict(answer["content"])
            if not await _wait(self.km.is_alive()):
                raise Refused(f"kernel {self.choice.name!r} died as it started: {self.death()}")
            if time.monotonic() > deadline:
                raise Refused(
                    f"kernel {self.choice.name!r} did not answer within {seconds:g} s of its start"
                )

    @staticmethod
    async def _message(channel: Any, seconds: float) -> Any:
        try:
            return await _wait(channel.get_msg(timeout=seconds))
        except queue.Empty:
            return None

    async def _quiet(self, asked: str) -> bool:
        """Take all that comes until the kernel is idle after `asked`; return whether it came."""
        while True:
            message = await self._message(self.kc.iopub_channel, _FIRST_OUTPUT_SECONDS)
            if message is None:
                return False
            idle = message["content"].get("execution_state") == "idle"
            if idle and message["parent_header"].get("msg_id") == asked:
                return True

    async def interrupt(self) -> None:
        """Interrupt what it computes."""
        await _wait(self.km.interrupt_kernel())

    async def alive(self) -> bool:
        """Whether its process lives."""
        return bool(await _wait(self.km.is_alive()))

    def death(self) -> str:
        """Return in words how its process ended."""
        status = self._process.poll() if self._process is not None else None
        if status is None:
            return "how it ended is not known"
        if status >= 0:
            return f"it exited with status {status}"
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        notes: dict[str, str] = {
            "SIGKILL": " (often the machine, out of memory)",
            "SIGSEGV": " (a crash in compiled code)",
            "SIGBUS": " (often a full /dev/shm or disk)",
        }
        return f"it was ended by {name}{notes.get(name, '')}"

    async def stop(self, *, now: bool) -> None:
        """End it, and remove what it left. Idempotent."""
        km, self.km = self.km, None
        if km is not None:
            if await _wait(km.is_alive()):
                await _wait(km.shutdown_kernel(now=now))
            await _wait(km.cleanup_resources())
        if self.kc is not None:
            self.kc.stop_channels()
            self.kc = None
