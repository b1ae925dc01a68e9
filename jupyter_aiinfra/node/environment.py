"""Python environments of a node: each built once, kept until it is removed.

One file, standard library only, Python 3.8 or newer. Its text is run as ``python -I -S -c TEXT VERB
TOKEN ENVS …``; what it says stands as JSON lines between markers made of TOKEN.

``build ENVS`` reads a line of JSON ``{"digest", "kind", "source", "files": [[name, size], …]}`` and
the files' bytes from standard input. It says ``{"phase", "elapsed", "done", "total", "line"}``
while it works, then ``{"built": …}`` or ``{"failed": …}``. ``list ENVS`` says one line an
environment, ``remove ENVS DIGEST …`` what it has removed.

An environment lives in ``ENVS/<digest>-<python>-<platform>``, for a home may be shared by unlike
machines. It is whole when its marker is there, which is written last. Who builds or removes holds
the lock beside the folder, and so do the tools it has started: should it be killed, the next one
waits until nothing writes there any more, and begins again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import shutil
import subprocess
import sys
import sysconfig
import time
from typing import Any, Callable, Dict, Iterator

__all__ = ["KINDS", "MARKER", "Failed", "build", "folder_name", "main", "remove", "survey", "users"]

KINDS = ("requirements", "uv", "conda")
_FORMAT = 1
MARKER = "aiinfra-environment.json"

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_FULL_TEXT = ("No space left on device", "Disk quota exceeded", "os error 28", "os error 122")
_NAME_DIGITS = 20  # scripts name their interpreter in their first line, which has a limit
_TAIL_LINES = 20
_TICK_SECONDS = 1.0
_WAIT_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1
# What would lead a tool elsewhere than into the environment that it is to fill.
_NOT_INHERITED = (
    "CONDA_PREFIX",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_TARGET",
    "PIP_USER",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_PROJECT",
    "UV_PYTHON",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
)
_SETTINGS = {
    "NO_COLOR": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PYTHONNOUSERSITE": "1",
    "PYTHONUNBUFFERED": "1",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
}
_FACTS = """
import json, sys
from importlib.metadata import distributions
packages = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
print(json.dumps({"executable": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3],
                  "implementation": sys.implementation.name, "packages": packages}))
"""

_Say = Callable[[Dict[str, Any]], None]


class Failed(Exception):
    """An environment that could not be built or removed; nothing half-done is left of it."""

    def __init__(
        self, message: str, hint: str = "", tail: tuple[str, ...] = (), full: str | None = None
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.tail = tail
        self.full = full

    def answer(self) -> dict[str, Any]:
        """Return what is said of it."""
        free = shutil.disk_usage(self.full).free if self.full else None
        return {
            "message": str(self),
            "hint": self.hint,
            "tail": list(self.tail),
            "full": [self.full, free] if self.full else None,
        }


# --- names ---------------------------------------------------------------------------------------


def folder_name(digest: str) -> str:
    """Return the folder's name for an environment made by this Python on this machine."""
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise Failed(f"{digest!r} is not a SHA-256 digest")
    version = "py{}.{}".format(*sys.version_info[:2])
    return f"{digest[:_NAME_DIGITS]}-{version}-{sysconfig.get_platform()}"


def _read_marker(folder: str) -> dict[str, Any] | None:
    """Return what is written of a whole environment, or ``None``."""
    try:
        with open(os.path.join(folder, MARKER), encoding="utf-8") as file:
            marker: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return None
    return marker if marker.get("format") == _FORMAT else None


def _write_marker(folder: str, marker: dict[str, Any]) -> None:
    temporary = os.path.join(folder, f".{MARKER}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(marker, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, os.path.join(folder, MARKER))


@contextlib.contextmanager
def _locked(folder: str, waiting: Callable[[], None] | None) -> Iterator[int]:
    """Hold the lock of an environment; ``waiting`` is called while another process has it.

    Raises
    ------
    Failed
        Another process has it, and `waiting` is ``None``.
    """
    import fcntl

    while True:
        handle = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _take(fcntl, handle):
                if waiting is None:
                    raise Failed(
                        f"{os.path.basename(folder)} is being built", "try again when that is over"
                    )
                waiting()
                time.sleep(_WAIT_SECONDS)
            # Who removes an environment removes its lock too: then the name means another file.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(f"{folder}.lock")):
                    yield handle
                    return
        finally:
            os.close(handle)


def _take(fcntl: Any, handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems know no locks; the folder's name still keeps unlike ones apart.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
    return True


# --- build ---------------------------------------------------------------------------------------


def build(envs: str, order: dict[str, Any], files: dict[str, bytes], say: _Say) -> dict[str, Any]:
    """Return an environment's marker with its ``folder``, building it first if it is not there.

    Any number of processes may ask for the same one: one builds, the others wait. To be found is to
    be used: the time is noted.

    Raises
    ------
    Failed
        Says which tool failed and its last words; nothing of the environment is left.
    """
    begun = time.monotonic()
    os.makedirs(envs, mode=0o700, exist_ok=True)
    folder = os.path.join(os.path.abspath(envs), folder_name(order["digest"]))
    found = _use(folder)
    if found is not None:
        return found
    told = _Told(say, begun)
    with _locked(folder, lambda: told.tick("waiting", "another process builds it")) as lock:
        found = _use(folder)
        if found is not None:
            return found
        work = f"{folder}.files"
        beside = (work, f"{folder}.tool")
        try:
            _clear(folder, *beside)
            _lay(work, files)
            job = _Build(folder, work, order, told, lock)
            marker = job.run()
            _write_marker(folder, marker)
        except BaseException as error:
            _clear(folder)
            if isinstance(error, OSError):
                raise _failed_at(envs, error) from error
            raise
        finally:
            _clear(*beside)
    return {**marker, "folder": folder, "reused": False}


def _use(folder: str) -> dict[str, Any] | None:
    marker = _read_marker(folder)
    if marker is None or not os.access(marker["python"]["executable"], os.X_OK):
        return None
    with contextlib.suppress(OSError):
        os.utime(os.path.join(folder, MARKER))
    return {**marker, "folder": folder, "reused": True}


def _clear(*folders: str) -> None:
    for folder in folders:
        # Without its marker it is no environment, from the first moment on.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(os.path.join(folder, MARKER))
        shutil.rmtree(folder, ignore_errors=True)


def _lay(work: str, files: dict[str, bytes]) -> None:
    os.mkdir(work, 0o700)
    for name, content in files.items():
        parts = name.split("/")
        if os.path.isabs(name) or any(part in ("", ".", "..") for part in parts):
            raise Failed(f"{name!r} is not a plain relative path")
        path = os.path.join(work, *parts)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def _failed_at(envs: str, error: OSError) -> Failed:
    if error.errno in _FULL:
        return Failed("no room for the environment", full=envs)
    return Failed(f"the environment could not be built: {error}", "look at that folder there")


class _Told:
    """Says how far a build is: at once when something happens, else once a second."""

    def __init__(self, say: _Say, begun: float) -> None:
        self._say = say
        self._begun = begun
        self._said = 0.0
        self.done: int | None = None
        self.total: int | None = None

    @property
    def elapsed(self) -> float:
        return round(time.monotonic() - self._begun, 3)

    def phase(self, phase: str, line: str = "") -> None:
        self._said = time.monotonic()
        self._say(
            {
                "phase": phase,
                "elapsed": self.elapsed,
                "done": self.done,
                "total": self.total,
                "line": line[:500],
            }
        )

    def tick(self, phase: str, line: str, every: float = _TICK_SECONDS) -> None:
        if time.monotonic() - self._said >= every:
            self.phase(phase, line)


class _Build:
    """One build, in a folder that is its own while it holds the lock."""

    def __init__(
        self, folder: str, work: str, order: dict[str, Any], told: _Told, lock: int
    ) -> None:
        self._folder = folder
        self._work = work
        self._order = order
        self._told = told
        self._lock = lock
        self._python = os.path.join(folder, "bin", "python")
        self._tool = ""
        self._environ = _environ()

    def run(self) -> dict[str, Any]:
        with open(f"{self._folder}.log", "wb"):
            pass
        kind = self._order["kind"]
        if kind == "requirements":
            self._requirements()
        elif kind == "uv":
            self._uv_project()
        elif kind == "conda":
            self._conda()
        else:
            raise Failed(f"{kind!r} is no kind of environment: {', '.join(KINDS)} are known")
        self._told.phase("checking")
        return {
            "format": _FORMAT,
            "digest": self._order["digest"],
            "kind": kind,
            "source": self._order["source"],
            "tool": self._tool,
            "python": self._facts(),
            "built_at": time.time(),
            "seconds": self._told.elapsed,
            "size_bytes": _size(self._folder),
        }

    def _requirements(self) -> None:
        asked = ["-r", "requirements.txt"]
        uv = _find("uv")
        if uv:
            self._tool = "uv"
            self._call(
                "creating", [uv, "venv", "--no-project", "--python", sys.executable, self._folder]
            )
            self._call("installing", [uv, "pip", "install", "--python", self._python, *asked])
            return
        self._tool = "pip"
        self._venv(self._folder)
        self._call("installing", [self._python, "-I", "-m", "pip", "install", *asked])

    def _uv_project(self) -> None:
        self._tool = "uv"
        uv = _find("uv") or self._own_uv()
        self._environ["UV_PROJECT_ENVIRONMENT"] = self._folder
        # What is only a folder on the user's machine travels with each job instead.
        left = ["--no-install-project", "--no-install-workspace"]
        self._call("installing", [uv, "sync", "--frozen", *left, "--python", sys.executable])

    def _own_uv(self) -> str:
        """Return a uv of ours, for a node that has none: nothing else reads its lock file."""
        place = f"{self._folder}.tool"
        python = os.path.join(place, "bin", "python")
        try:
            self._venv(place)
            self._call("installing", [python, "-I", "-m", "pip", "install", "uv"])
        except Failed as error:
            raise Failed(
                f"a uv.lock needs uv, which is not there and could not be installed: {error}",
                "install uv on the node, or give a requirements.txt: "
                "uv export --format requirements-txt",
                error.tail,
                error.full,
            ) from error
        return os.path.join(place, "bin", "uv")

    def _venv(self, place: str) -> None:
        try:
            self._call("creating", [sys.executable, "-I", "-m", "venv", place])
        except Failed as error:
            said = "\n".join(error.tail)
            if "ensurepip" not in said and "No module named venv" not in said:
                raise
            version = "{}.{}".format(*sys.version_info[:2])
            raise Failed(
                f"{sys.executable} cannot make environments: it comes without venv or ensurepip",
                f"install python{version}-venv there (Debian, Ubuntu), or uv, which needs neither",
                error.tail,
            ) from error

    def _conda(self) -> None:
        program = _find("micromamba") or _find("mamba") or _find("conda")
        if program is None:
            raise Failed(
                "an environment.yml needs micromamba, mamba or conda, and none of them is there",
                "install one of them on the node, or give a requirements.txt",
            )
        self._tool = os.path.basename(program)
        verb = ["create", "-y"] if self._tool == "micromamba" else ["env", "create"]
        self._call("installing", [program, *verb, "-p", self._folder, "-f", "environment.yml"])
        if not os.access(self._python, os.X_OK):
            raise Failed(
                "the environment has no Python", "add python to the dependencies in environment.yml"
            )

    def _facts(self) -> dict[str, Any]:
        done = subprocess.run(
            [self._python, "-I", "-c", _FACTS],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self._environ,
            check=False,
        )
        if done.returncode:
            tail = tuple(done.stderr.decode(errors="replace").splitlines()[-_TAIL_LINES:])
            raise Failed("the environment was made, but its Python does not start", "", tail)
        facts: dict[str, Any] = json.loads(done.stdout)
        # As pip names it: the link to the interpreter that it was made with is left as it is.
        facts["executable"] = self._python
        return facts

    def _call(self, phase: str, argv: list[str]) -> None:
        """Run a tool, telling what it prints; raise Failed with its last words."""
        self._told.phase(phase)
        try:
            process = subprocess.Popen(
                argv,
                cwd=self._work,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(self._lock,),
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - no threads here
            )
        except OSError as error:
            raise Failed(f"cannot start {argv[0]}: {error.strerror}") from error
        try:
            tail = self._listen(phase, process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if process.returncode == 0:
            return
        text = "\n".join(tail)
        name = " ".join([os.path.basename(argv[0]), *argv[1:4]])
        if any(words in text for words in _FULL_TEXT):
            raise Failed("no room for the environment", tail=tail, full=_fullest(self._folder))
        raise Failed(
            f"{name} … ended with status {process.returncode}",
            f"{self._folder}.log has all that it said",
            tail,
        )

    def _listen(self, phase: str, process: subprocess.Popen[bytes]) -> tuple[str, ...]:
        assert process.stdout is not None  # noqa: S101 - made with PIPE above
        source = process.stdout.fileno()
        count = _Counter(self._told)
        rest = b""
        lines: list[str] = []
        with open(f"{self._folder}.log", "ab") as log:
            while True:
                ready, _, _ = select.select([source], [], [], _TICK_SECONDS)
                if ready:
                    chunk = os.read(source, 1 << 16)
                    if not chunk:
                        break
                    log.write(chunk)
                    *whole, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
                    for raw in whole:
                        line = raw.decode(errors="replace").strip()
                        if line:
                            count.line(line)
                            lines = [*lines, line][-_TAIL_LINES:]
                elif process.poll() is not None:
                    break  # something that it left behind holds its output open
                self._told.tick(phase, lines[-1] if lines else "", 0.2 if ready else _TICK_SECONDS)
        process.wait()
        last = rest.decode(errors="replace").strip()
        return tuple([*lines, *([last] if last else [])][-_TAIL_LINES:])


class _Counter:
    """Counts packages by what pip, uv and conda print."""

    _UV = re.compile(r"(Resolved|Prepared|Installed) (\d+) packages?")

    def __init__(self, told: _Told) -> None:
        self._told = told
        self._collected = 0

    def line(self, line: str) -> None:
        if line.startswith("Collecting "):
            self._collected += 1
            self._told.done = self._collected
        elif line.startswith("Installing collected packages: "):
            self._told.done = self._told.total = line.count(",") + 1
        else:
            found = self._UV.match(line)
            if found is None:
                return
            if found.group(1) == "Resolved":
                self._told.done, self._told.total = 0, int(found.group(2))
            else:
                self._told.done = int(found.group(2))


def _end_with_parent() -> Callable[[], None] | None:
    """Return what makes a child end when we are killed, where the system can do that."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes
    import signal

    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return ask


def _environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {**kept, **_SETTINGS}


def _find(program: str) -> str | None:
    """Return where a program is: also where its installer puts it, unknown to a bare login."""
    home = os.path.expanduser("~")
    variable = {"conda": "CONDA_EXE", "mamba": "MAMBA_EXE", "micromamba": "MAMBA_EXE"}.get(program)
    named = os.environ.get(variable, "") if variable else ""
    if os.path.basename(named) == program and os.access(named, os.X_OK):
        return named
    found = shutil.which(program)
    if found:
        return os.path.abspath(found)
    folders = [os.path.join(home, ".local", "bin"), os.path.join(home, ".cargo", "bin")]
    if variable:
        places = ("miniforge3", "mambaforge", "micromamba", "miniconda3", "anaconda3")
        folders += [os.path.join(home, place, "bin") for place in places]
        folders += ["/opt/conda/bin", "/opt/miniforge3/bin"]
    for folder in folders:
        path = os.path.join(folder, program)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def _fullest(folder: str) -> str:
    """Return the folder with the least room among those that tools write to."""
    home = os.path.expanduser("~")
    temporary = os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - where tools do write
    places = [os.path.dirname(folder), temporary, home]
    return min((p for p in places if os.path.isdir(p)), key=lambda p: shutil.disk_usage(p).free)


def _size(folder: str) -> int:
    """Return the disk space below `folder`; a file that has several names counts once."""
    seen = set()
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(parent, name))
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                size += status.st_blocks * 512
    return size


# --- list and remove -----------------------------------------------------------------------------


def survey(envs: str) -> list[dict[str, Any]]:
    """Return what is known of each environment, by name; those that are not whole say so."""
    found = []
    for name in _names(envs):
        folder = os.path.join(envs, name)
        marker = _read_marker(folder)
        if marker is None:
            entry: dict[str, Any] = {"digest": name.split("-")[0], "whole": False}
        else:
            entry = {**marker, "whole": True}
            entry["package_count"] = len(entry["python"].pop("packages"))
            entry["used_at"] = os.stat(os.path.join(folder, MARKER)).st_mtime
        found.append({**entry, "name": name, "folder": folder})
    return found


def _names(envs: str) -> list[str]:
    try:
        names = os.listdir(envs)
    except FileNotFoundError:
        return []
    pattern = re.compile("[0-9a-f]{%d}-py[^/]*" % _NAME_DIGITS)  # noqa: UP031 - braces are the regex's
    known = (".lock", ".log", ".files", ".tool")
    return sorted(n for n in names if pattern.fullmatch(n) and not n.endswith(known))


def users(folder: str) -> list[int]:
    """Return the processes that run from an environment, those of ours that can be seen."""
    place = os.path.join(os.path.abspath(folder), "").encode()
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if not name.isdigit() or int(name) == os.getpid():
            continue
        for source in ("cmdline", "maps", "environ"):
            # It may be gone, or another user's.
            with contextlib.suppress(OSError), open(f"/proc/{name}/{source}", "rb") as file:
                if place in file.read():
                    found.append(int(name))
                    break
    return found


def remove(envs: str, digests: list[str]) -> list[dict[str, Any]]:
    """Remove the environments whose digests begin so; return what they were.

    Raises
    ------
    Failed
        One that is not there, is being built, or is in use. Those before it are gone.
    """
    removed = []
    for digest in digests:
        entries = [entry for entry in survey(envs) if entry["digest"].startswith(digest)]
        if not re.fullmatch("[0-9a-f]{4,64}", digest) or not entries:
            raise Failed(f"no environment {digest!r} in {envs}")
        for entry in entries:
            folder = entry["folder"]
            with _locked(folder, None):
                using = users(folder)
                if using:
                    who = ", ".join(str(pid) for pid in using[:5])
                    raise Failed(
                        f"{entry['name']} is in use by processes {who}",
                        "wait until its jobs are over, or cancel them",
                    )
                _clear(folder, f"{folder}.files", f"{folder}.tool")
                for suffix in (".log", ".lock"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(folder + suffix)
            removed.append(entry)
    return removed


# --- verbs ---------------------------------------------------------------------------------------


def _take_order(stdin: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    order = json.loads(stdin.readline())
    files = {}
    for name, size in order["files"]:
        files[name] = stdin.read(size)
        if len(files[name]) != size:
            raise EOFError("the transfer was cut")
    return order, files


class _Voice:
    """Says lines on standard output as long as someone listens; a build goes on without."""

    def __init__(self, stdout: Any) -> None:
        self._stdout = stdout
        self._heard = True

    def raw(self, data: bytes) -> None:
        if self._heard:
            try:
                self._stdout.write(data)
                self._stdout.flush()
            except OSError:
                self._heard = False
                # Python would try once more at its end, and complain.
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def __call__(self, message: dict[str, Any]) -> None:
        self.raw(json.dumps(message).encode() + b"\n")


def main(arguments: list[str]) -> int:
    """Serve one request; see the head of this file."""
    verb, token, envs, *digests = arguments
    os.umask(0o077)
    envs = os.path.expanduser(envs)
    say = _Voice(sys.stdout.buffer)
    say.raw(f"\n<<{token}\n".encode())
    try:
        if verb == "build":
            order, files = _take_order(sys.stdin.buffer)
            say({"built": build(envs, order, files, say)})
        elif verb == "list":
            for entry in survey(envs):
                say(entry)
        else:
            for entry in remove(envs, digests):
                say(entry)
    except Failed as failed:
        say({"failed": failed.answer()})
    except (OSError, EOFError, ValueError, KeyError) as error:
        text = f"{type(error).__name__}: {error}"
        say({"failed": Failed(text, "look at that folder there").answer()})
    say.raw(f"{token}>>\n".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
