"""Kernels that are up before anybody wants them, each to be used once, by one notebook run.

Python 3.8 or newer; what runs notebooks (``nbclient``, ``ipykernel``) is that of the Python this is
run by. One verb, which returns once the process is under way that does it::

    warm.py keep DIR     reads a JSON object of orders from standard input

A process, the *mother*, has loaded all that runs a notebook, and forks: the supervisor of a job
that is not there yet, the guardian and the runner of its one rank, and the kernel. They wait, with
the kernel up. Who has a run directory asks at the socket of DIR (:func:`claim`); the supervisor
then starts the job of that directory as every other does, and what holds of a job holds of it: it
outlives the mother and whoever asked, its processes are known by their tag, its end is on record.
Nothing is used twice. What has waited too long, or while memory is short, ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import hashlib
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Dict, Mapping, NoReturn, Sequence

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import kernels, notebook, rank, supervise, warmed
else:  # its neighbours in the folder
    import supervise
    import warmed

    if __name__ == "__main__":
        warmed.leave_last()
    import kernels
    import notebook
    import rank

__all__ = ["claim", "code_digest", "early", "keep", "key_of", "main", "room", "waits"]

_Json = Dict[str, Any]

_HERE = os.path.dirname(os.path.abspath(__file__))
# What of a run directory has to be what we have loaded.
_CODE = ("injecting", "kernels", "live", "notebook", "outputs", "rank", "scrub", "supervise")
# What acts when a process starts, or is read by what a kernel loads before its first cell.
_EARLY = ("PYTHON", "LD_", "DYLD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OPENSSL_", "IPYTHON")
_EARLY_TOO = ("JUPYTER_", "XDG_", "HOME", "TMPDIR", "VIRTUAL_ENV", "CONDA_PREFIX")
_SOCKET, _MOTHER, _WHY_NOT = "sock", "mother.json", "failed.json"
_ASK_SECONDS = 5.0
_ANSWER_SECONDS = 20.0
_LOOK_SECONDS = 5.0
_PROTOCOL = 1  # of what is said at the socket
_REST_SECONDS = 1.0
_START_SECONDS = 60.0
_FAILED_SECONDS = 600.0
_LONGEST = 90  # of a path of ours: that of a socket has 107 (unix(7)), and a name comes behind it
_LEAST_BYTES, _LEAST_SHARE = 512 << 20, 0.1


# --- who asks ------------------------------------------------------------------------------------


def early(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of `environ` a process has to be started with, because later is too late."""
    return {
        name: value for name, value in environ.items() if name.startswith((*_EARLY, *_EARLY_TOO))
    }


@functools.lru_cache(maxsize=1)
def _own_digest() -> str:
    return code_digest(_HERE)


def code_digest(folder: str) -> str:
    """Return what tells whether the code in `folder` is this."""
    digest = hashlib.sha256()
    for name in _CODE:
        with open(os.path.join(folder, f"{name}.py"), "rb") as file:
            digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()


def key_of(python: str, environ: Mapping[str, str]) -> str:
    """Return by which name kernels of `python` are kept, started with what `environ` has."""
    told = json.dumps([_own_digest(), _PROTOCOL, python, early(environ)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def claim(folder: str, run_dir: str, *, environ: Mapping[str, str], secrets: Any) -> _Json | None:
    """Have the job of `run_dir` started by who waits in `folder`; return what came of it.

    As the verb ``start`` of the supervisor prints it. ``None`` if nobody waits there, or does not
    take it: then nothing was begun.
    """
    order = {"run_dir": run_dir, "environ": dict(environ), "secrets": dict(secrets)}
    try:
        if code_digest(os.path.join(run_dir, "aiinfra")) != _own_digest():
            return None
        with contextlib.closing(_connected(folder)) as line:
            line.sendall(json.dumps(order).encode() + b"\n")
            line.settimeout(_ANSWER_SECONDS)
            answer = _line(line)
    except (OSError, ValueError):
        return None
    return None if answer is None or answer.get("declined") else answer


def _connected(folder: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(_ASK_SECONDS)
        line.connect(os.path.join(folder, _SOCKET))
    except BaseException:
        line.close()
        raise
    return line


def _line(line: socket.socket) -> _Json | None:
    """Return the JSON object that comes next, or ``None`` at the end."""
    pieces: list[bytes] = []
    while not pieces or not pieces[-1].endswith(b"\n"):
        piece = line.recv(1 << 16)
        if not piece:
            return None
        pieces.append(piece)
    told: _Json = json.loads(b"".join(pieces))
    return told


def waits(folder: str) -> bool:
    """Whether somebody keeps kernels in `folder`, or has tried a moment ago and could not."""
    failed = supervise.read_json(os.path.join(folder, _WHY_NOT))
    if failed is not None and abs(time.time() - failed["at"]) < _FAILED_SECONDS:
        return True
    return supervise.alive(supervise.read_json(os.path.join(folder, _MOTHER)))


def room() -> bool:
    """Whether there is memory for what nobody may want."""
    least, free = _LEAST_BYTES, None
    for line in (supervise.read_text("/proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            least = max(least, int(_LEAST_SHARE * 1024 * int(rest.split()[0])))
        elif name == "MemAvailable":
            free = 1024 * int(rest.split()[0])
    limit = (supervise.read_text("/sys/fs/cgroup/memory.max") or "").strip()
    used = (supervise.read_text("/sys/fs/cgroup/memory.current") or "").strip()
    if limit.isdigit() and used.isdigit():
        least = min(least, int(limit) // 4)
        free = min(free or int(limit), int(limit) - int(used))
    return free is not None and free >= least


# --- the mother ----------------------------------------------------------------------------------


def keep(folder: str, orders: _Json) -> None:
    """Keep kernels in `folder`; return once somebody does, or it is known that nobody can."""
    os.makedirs(os.path.join(folder, "logs"), 0o700, exist_ok=True)
    run = supervise.Run(folder)

    def body(ready: Any) -> None:
        with supervise.only_one(run, 0.0) as mine:
            ready("")
            if mine:
                _keep(folder, orders)

    supervise.detached(run, body)


def _keep(folder: str, orders: _Json) -> None:
    mother = _Mother(folder, orders)
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        mother.load()
        mother.main()
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        supervise.write_json(
            os.path.join(folder, _WHY_NOT), {"at": time.time(), "why": why}, durable=False
        )
        raise
    finally:
        mother.end()


class _Waiting:
    """Those who wait with one kernel, as the mother knows them."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.ready = False


class _Mother:
    """Forks who waits, and hands on who asks.

    Parameters
    ----------
    orders
        ``count``: how many kernels wait; ``seconds``: how long without being asked; ``tag``: what
        the processes carry.
    """

    def __init__(self, folder: str, orders: _Json) -> None:
        self.folder = folder
        self.count = int(orders["count"])
        self.seconds = float(orders["seconds"])
        self.tag = str(orders["tag"])
        self.kept: frozenset[str] = frozenset()
        self.waiting: list[_Waiting] = []
        self.listener: socket.socket | None = None
        self.asked_at = time.monotonic()
        self.made = 0
        self.stamps: list[int] = []

    def load(self) -> None:
        """Import all that a run needs, and nothing that a kernel does not have to itself."""
        sys.path[:] = [*(place for place in sys.path if place != _HERE), _HERE]
        importlib.import_module("ipykernel_launcher")
        importlib.import_module("ipykernel.kernelapp")
        paths = importlib.import_module("IPython.paths")
        start = os.path.join(paths.get_ipython_dir(), "profile_default", "startup")
        files = os.listdir(start) if os.path.isdir(start) else []
        if any(name.endswith((".py", ".ipy")) for name in files):
            raise kernels.Refused(f"what is in {start} is to run in the job's own surroundings")
        self.kept = frozenset(sys.modules)
        with kernels.lean():
            for name in ("nbclient", "nbformat.v4", "jupyter_client.asynchronous"):
                importlib.import_module(name)
            with contextlib.suppress(ImportError):  # only parameters need it
                importlib.import_module("papermill.translators")
        choice = kernels.choose({"kernelspec": {"name": "python3"}}, None, own_only=True)
        if not choice.own:
            raise kernels.Refused("this Python has no kernel of its own")
        self.stamps = _stamps()
        # Nobody need look at all this again: collecting is quick, and memory stays shared.
        gc.freeze()

    def main(self) -> None:
        """Serve until nobody has asked for long, or there is a reason to end."""
        path = os.path.join(self.folder, _SOCKET)
        if len(path) > _LONGEST:
            raise OSError(f"{path} is too long for a socket")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        os.chmod(path, 0o600)
        self.listener.listen(16)
        self.tell()
        while time.monotonic() - self.asked_at < self.seconds and _stamps() == self.stamps:
            if not room():
                return
            # Not while who has just come computes.
            rest = self.asked_at + _REST_SECONDS - time.monotonic() if self.made else 0.0
            while len(self.waiting) < self.count and rest <= 0:
                self.waiting.append(self.fork())
            lines = [each.line for each in self.waiting]
            pause = _LOOK_SECONDS if rest <= 0 else rest
            ready, _, _ = select.select([self.listener, *lines], [], [], pause)
            for each in [each for each in self.waiting if each.line in ready]:
                self.hear(each)
            if self.listener in ready:
                self.answer()

    def tell(self) -> None:
        """Write down who we are, and how many kernels are up."""
        ready = sum(each.ready for each in self.waiting)
        told = {**supervise.myself(), "ready": ready}
        supervise.write_json(os.path.join(self.folder, _MOTHER), told, durable=False)

    def hear(self, each: _Waiting) -> None:
        """Hear that a kernel is up, or that those who waited are gone."""
        if each.line.recv(1):
            each.ready = True
            self.tell()
        else:
            self.waiting.remove(each)
            each.line.close()
            if not each.ready:
                raise OSError("a kernel could not be started; see its log")

    def answer(self) -> None:
        """Hand on who asks, to those whose kernel is up, or will be first."""
        assert self.listener is not None  # noqa: S101 - it was made before
        line, _ = self.listener.accept()
        with contextlib.closing(line):
            line.settimeout(_ASK_SECONDS)
            try:
                order = _line(line)
            except (OSError, ValueError):
                return
            if order is None:
                return
            self.asked_at = time.monotonic()
            chosen = min(self.waiting, key=lambda each: not each.ready, default=None)
            if chosen is None:
                chosen = self.fork()
            else:
                self.waiting.remove(chosen)
            with contextlib.closing(chosen.line), contextlib.suppress(OSError):
                data = json.dumps(order).encode() + b"\n"
                given = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, line.fileno().to_bytes(4, _ORDER))]
                chosen.line.sendmsg([b"!"], given)
                chosen.line.sendall(data)
            self.tell()

    def fork(self) -> _Waiting:
        """Have a supervisor wait with a kernel; it is no child of ours."""
        ours, theirs = socket.socketpair()
        self.made += 1
        folder = os.path.join(self.folder, f"{os.getpid()}-{self.made}")
        os.mkdir(folder, 0o700)
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            theirs.close()
            return _Waiting(ours)
        try:
            ours.close()
            for each in self.waiting:
                each.line.close()
            if self.listener is not None:
                self.listener.close()
            os.setsid()
            if os.fork() == 0:
                _wait_as_supervisor(theirs, folder, kept=self.kept, tag=self.tag)
        except BaseException:  # noqa: BLE001 - the last frame of a process: say it, and end
            traceback.print_exc()
        finally:
            os._exit(0)

    def end(self) -> None:
        """Let those who wait end, and go."""
        for each in self.waiting:
            each.line.close()
        if self.listener is not None:
            self.listener.close()
            for name in (_SOCKET, _MOTHER):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.folder, name))


_ORDER: Any = sys.byteorder


def _stamps() -> list[int]:
    """Return what changes when packages are installed: then another kernel is the right one."""
    stamps = []
    for place in sys.path:
        if place.endswith(("-packages", "/bin")):
            with contextlib.suppress(OSError):
                stamps.append(os.stat(place).st_mtime_ns)
    return stamps


# --- those who wait ------------------------------------------------------------------------------


def _wait_as_supervisor(
    mother: socket.socket, folder: str, *, kept: frozenset[str], tag: str
) -> NoReturn:
    """Be the supervisor of the job that comes, or end with the mother."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, supervise.ignore)
    supervise.become_subreaper()
    mine, his = socket.socketpair()
    guardian = os.fork()
    if guardian == 0:
        mother.close()
        mine.close()
        _guard(his, folder, kept=kept, tag=tag)
    his.close()
    while True:
        ready, _, _ = select.select([mother, mine], [], [])
        if mine in ready:
            if not mine.recv(1):
                os._exit(1)  # its log says why
            with contextlib.suppress(OSError):
                mother.send(b"r")
        if mother in ready:
            break
    given, rights, _, _ = mother.recvmsg(1, socket.CMSG_SPACE(4))
    if not given or not rights:
        mine.close()  # the runner ends its kernel, and then itself
        os._exit(0)
    asker = socket.socket(fileno=int.from_bytes(rights[0][2][:4], _ORDER))
    order = _line(mother)
    mother.close()
    if order is not None:
        _supervise(asker, order, mine, guardian)
    shutil.rmtree(folder, ignore_errors=True)  # where the runner was killed it is there still
    os._exit(0)


def _supervise(asker: socket.socket, order: _Json, line: socket.socket, guardian: int) -> None:
    """Start the job that has come, tell whoever asked, and watch over it."""
    os.environ.clear()
    os.environ.update(order["environ"])

    def launcher(
        _run: supervise.Run, spec: _Json, secrets: Mapping[str, str], told: Mapping[str, str]
    ) -> warmed.Forked:
        names = {"AIINFRA_SECRETS": ",".join(sorted(secrets))}
        environ = {**os.environ, **spec["env"], **secrets, **names, **told}
        given = {"environ": environ, "cwd": spec["cwd"]}
        line.sendall(json.dumps(given).encode() + b"\n")
        return warmed.Forked(guardian)

    def ready(text: str) -> None:
        answer: _Json = {"started": True}
        if text:
            number, _, why = text.partition(" ")
            answer = {"errno": int(number), "error": why}
        with contextlib.suppress(OSError), contextlib.closing(asker):
            asker.sendall(json.dumps(answer).encode() + b"\n")

    try:
        supervise.start_here(order["run_dir"], order["secrets"], launcher, ready)
    except OSError as error:
        ready(f"{error.errno or 5} {error.strerror or error}")
        traceback.print_exc()


def _guard(his: socket.socket, folder: str, *, kept: frozenset[str], tag: str) -> NoReturn:
    """Be the guardian of the rank, as ``rank.py`` has it, once it is known which that is."""
    code = 1
    try:
        os.setsid()
        warmed.plain_signals()
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _be_rank(his, writer, folder, kept=kept, tag=tag)
        os.close(writer)
        his.close()
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        if not told:  # nobody came
            os.waitpid(pid, 0)
            os._exit(0)
        _become(json.loads(told), tag)
        place = rank.Place(os.environ)
        rank.watch(pid, place, rc=place.run.path("rc"))
    except BaseException:  # noqa: BLE001 - the last frame of a process: say it, and end
        traceback.print_exc()
    finally:
        os._exit(code)


def _become(environ: Mapping[str, str], tag: str) -> None:
    warmed.retag(tag, environ[supervise.TAG])
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()


def _be_rank(
    his: socket.socket, guardian: int, folder: str, *, kept: frozenset[str], tag: str
) -> NoReturn:
    code = 1
    try:
        rank.guarded()
        warmed.retag(tag, tag, name=warmed.WARM_TAG)  # where it cannot be done, nobody is to wait
        choice = kernels.choose({"kernelspec": {"name": "python3"}}, None, own_only=True)
        kernel = warmed.WarmKernel(choice, folder=folder)
        kernel.fork(kept=kept, stand_by=tag)
        asyncio.run(_rank(his, guardian, kernel, tag))
        code = 0
    except BaseException:  # noqa: BLE001 - the last frame of a process: say it, and end
        traceback.print_exc()
    finally:
        os._exit(code)


async def _rank(his: socket.socket, guardian: int, kernel: warmed.WarmKernel, tag: str) -> None:
    """Wait with a kernel that is up, and run the notebook that comes."""
    try:
        await kernel.connect(seconds=_START_SECONDS)
        his.send(b"r")
    except kernels.Refused:
        await kernel.stop(now=True)
        raise
    except OSError:  # nobody wants it any more
        await kernel.stop(now=True)
        return
    loop = asyncio.get_running_loop()
    come = asyncio.Event()
    loop.add_reader(his.fileno(), come.set)
    await come.wait()
    loop.remove_reader(his.fileno())
    order = _line(his)
    if order is None:
        await kernel.stop(now=True)
        return
    environ = order["environ"]
    _become(environ, tag)
    with os.fdopen(guardian, "wb") as pipe:
        pipe.write(json.dumps(environ).encode())
    os.chdir(order["cwd"])
    place = rank.Place(os.environ)
    task = rank.enter(place)
    try:
        end = await notebook.go(place.run, task, secrets=place.secrets, kernel=kernel)
        status = rank.told(place, end)
    except BaseException as error:  # noqa: BLE001 - whatever ends the user's code is to be recorded
        status = rank.failed(place, error)
    rank.leave(status)


def main(argv: Sequence[str]) -> int:
    """Run the verb; return the exit status."""
    if len(argv) != 3 or argv[1] != "keep":  # noqa: PLR2004 - program, verb, folder
        print(__doc__, file=sys.stderr)
        return 2
    keep(argv[2], json.loads(sys.stdin.read()))
    return 0


if __name__ == "__main__":
    # What a neighbour imports by this name is this very module.
    sys.modules.setdefault("warm", sys.modules["__main__"])
    sys.exit(main(sys.argv))
