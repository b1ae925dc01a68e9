"""What a launcher starts once a rank: report, wait until all ranks are there, run the user's code.

One file, standard library only, Python 3.8 or newer (and its neighbour ``parcel.py``). The process
that the launcher knows is only a guardian: it forks at once, the child runs the user's code, and
the guardian writes down how that ended, so that a rank killed for want of memory leaves its signal
and its peak memory behind. The rank's output goes straight into its own log file.

The layout of the run directory is described in ``docs/run-directory.md``.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import ctypes
import faulthandler
import functools
import importlib
import importlib.machinery
import mmap
import os
import signal
import socket
import sys
import time
import traceback
import types
from typing import TYPE_CHECKING, Any, Mapping, MutableMapping, NoReturn

_HERE = os.path.dirname(os.path.abspath(__file__))

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import supervise
else:  # its neighbour in the bundle
    sys.path.insert(0, _HERE)
    import supervise

__all__ = ["Code", "Place", "enter", "failed", "guarded", "leave", "main", "told", "watch"]

_REPORT_POLL_SECONDS = 0.005
_FIRST_POLL_SECONDS = 0.0005  # where all ranks are of this node, the supervisor answers at once
_TRACKER_SECONDS = 60.0
# What the supervisor may take beyond its own timeout before a rank gives up waiting for it.
_PATIENCE_SECONDS = 60.0
_EXIT_REFUSED = 78  # EX_CONFIG of sysexits.h: the launch itself was wrong, not the code

_HIDDEN = "•••"
_SHORTEST_SECRET = 4  # hiding every "1" of a text would hide the text

_SPAWNED = "aiinfra_spawned"
_TEARDOWN = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@functools.lru_cache(maxsize=None)
def _neighbour(name: str) -> Any:
    """Import a neighbour of ours that many jobs have no need of.

    Before the user's code can put a module of the same name in its way.
    """
    return importlib.import_module(f"{__package__}.{name}" if __package__ else name)


def _parcel() -> Any:
    """Return our neighbour that reads and writes variables."""
    return _neighbour("parcel")


class Place:
    """Where this rank stands, from the variables that torch's launchers set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.run = supervise.Run(environ["AIINFRA_RUN_DIR"])
        self.blobs = environ["AIINFRA_BLOBS"]
        self.rank = int(_first(environ, "RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", default="0"))
        self.world = int(
            _first(environ, "WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", default="1")
        )
        self.local_rank = int(
            _first(environ, "LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", default="0")
        )
        self.attempt = int(environ.get("TORCHELASTIC_RESTART_COUNT") or 0)
        self.node_rank = int(environ["AIINFRA_NODE_RANK"])
        self.seat = self._seat(environ)
        self.secrets = _secret_lines(environ)

    def _seat(self, environ: Mapping[str, str]) -> int:
        """Return the number that files are named by: the rank that this would be with all nodes.

        An attempt on fewer nodes numbers the ranks anew; a log goes on in the same file.
        """
        if environ.get("AIINFRA_NODE_SLOT", "0") == environ["AIINFRA_NODE_RANK"]:
            return self.rank
        return int(environ["AIINFRA_NODE_SLOT"]) * int(environ["AIINFRA_PROCS"]) + self.local_rank

    def hide(self, text: str) -> str:
        """Return `text` without the job's secrets: what is said of an error travels far."""
        for line in self.secrets:
            text = text.replace(line, _HIDDEN)
        return text

    def file(self, ending: str) -> str:
        """Return the path of this rank's ``ending`` file."""
        return self.run.path("ranks", f"{self.seat}{ending}")

    def write(self, ending: str, record: supervise.Json) -> None:
        """Write this rank's ``ending`` file; what outlasts the node is the supervisor's record."""
        supervise.write_json(self.file(ending), record, durable=False)


def _first(environ: Mapping[str, str], *names: str, default: str) -> str:
    for name in names:
        if environ.get(name):
            return environ[name]
    return default


def _secret_lines(environ: Mapping[str, str]) -> list[str]:
    """Return the lines of the secrets' values, the longest first, but for very short ones."""
    names = environ.get("AIINFRA_SECRETS", "").split(",")
    lines = {line.strip() for name in names for line in environ.get(name, "").splitlines()}
    return sorted((line for line in lines if len(line) >= _SHORTEST_SECRET), key=len, reverse=True)


def _redirect(place: Place) -> None:
    """Send our output to the rank's own log: no pipe that could fill up, break or mix lines."""
    log = os.open(
        place.run.path("logs", f"rank-{place.seat}.log"),
        os.O_WRONLY | os.O_CREAT | os.O_APPEND,
        0o600,
    )
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        # As in a terminal: a line, or what ends in a carriage return, is seen at once.
        # Under PYTHONUNBUFFERED a line and its newline would be two writes.
        wrapper: Any = stream  # a TextIOWrapper, which typing calls a TextIO
        wrapper.reconfigure(line_buffering=True, write_through=False, errors="backslashreplace")
    faulthandler.enable(file=2)


# --- the guardian ------------------------------------------------------------------------------


def _guard(place: Place) -> None:
    """Fork. Returns in the child; the parent waits for it, records its end and ends likewise."""
    pid = os.fork()
    if pid:
        watch(pid, place)
    guarded()


def guarded() -> None:
    """Be the child of a guardian."""
    # A group of its own: a launcher signals the guardian's group, and the guardian passes it on
    # once. Should the guardian be killed outright, the child must not outlive it.
    os.setpgid(0, 0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    # A launcher that is a shell script hands on an ignored SIGINT; a stop begins with one.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def watch(pid: int, place: Place, *, rc: str | None = None) -> NoReturn:
    """Be the guardian of a rank: wait for it, record its end, and end likewise.

    The exit status goes into the file `rc` as well, where no launcher of ours writes that down.
    """
    for forwarded in _FORWARDED:
        signal.signal(forwarded, functools.partial(_forward, pid))
    _, status, usage = os.wait4(pid, 0)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    if number in _TEARDOWN and os.path.exists(place.file(".done")):
        # The user's code was through, its results saved: compiled code crashed while Python was
        # taken down (torch's own threads do that now and then). That is no failure of the job.
        number, code = None, 0
    record = {
        "rank": place.rank,
        "seat": place.seat,
        "exit_code": code,
        "signal": number,
        "ended_at": time.time(),
        "max_memory_bytes": usage.ru_maxrss * 1024,
        "error": supervise.read_json(place.file(".error.json")),
    }
    place.write(".exit.json", record)
    if rc is not None:
        supervise.write_text(rc, f"{code if code is not None else 128 + (number or 0)}\n")
    if number is not None:
        # The launcher should see the same end as we did; without a core file of the guardian.
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        if number not in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGQUIT):
            os.kill(os.getpid(), number)
    os._exit(code if code is not None else 128 + (number or 0))


def _forward(pid: int, number: int, _frame: object) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


# --- before user code --------------------------------------------------------------------------


def _listen_for_stacks() -> int | None:
    """Have all stacks written to our log at a signal nobody else uses; return its number.

    Ours alone, so that handlers of the user's code for the usual signals are left as they are.
    """
    if not hasattr(signal, "SIGRTMIN"):
        return None
    number = signal.SIGRTMIN + 7
    # A descriptor of our own: the user's code may put its standard error elsewhere.
    faulthandler.register(number, file=os.dup(2), all_threads=True, chain=False)
    return int(number)


def _report(place: Place) -> None:
    """Say who we are, and refuse to be the second process with the same rank."""
    old = supervise.read_json(place.file(".json"))
    me = supervise.myself()
    record = {
        "rank": place.rank,
        "seat": place.seat,
        "world": place.world,
        "local_rank": place.local_rank,
        "node": socket.gethostname(),
        "node_rank": place.node_rank,
        "pid": me["pid"],
        "start": me["start"],
        "guardian": supervise.identity(os.getppid()),
        "attempt": place.attempt,
        "started_at": time.time(),
        "stacks": _listen_for_stacks(),
    }
    if old is not None and old["attempt"] == place.attempt and old["pid"] != me["pid"]:
        record["twice"] = True
    os.environ["AIINFRA_STEP_FILE"] = place.file(".step")
    for ending in (".exit.json", ".error.json", ".done", ".step"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place.file(ending))
    place.write(".json", record)
    # It need not look for us all the time. Should it not be there, the next one will look.
    supervise.send(place.run.json("supervisor.json"), signal.SIGUSR1)


def _wait_for_all(place: Place, spec: supervise.Json) -> None:
    """Wait until the supervisor has seen every rank; end here if it saw that something is wrong."""
    if not spec["verify_world"]:
        return
    deadline = time.monotonic() + spec["start_timeout_seconds"] + _PATIENCE_SECONDS
    pause = _FIRST_POLL_SECONDS
    while not os.path.exists(place.run.path("go")):
        aborted = place.run.json("abort.json")
        if aborted is None and time.monotonic() > deadline:
            aborted = {"reason": "the supervisor of this node gave no answer"}
        if aborted is not None:
            print(f"aiinfra: not started: {aborted['reason']}", file=sys.stderr)
            sys.exit(_EXIT_REFUSED)
        time.sleep(pause)
        pause = min(1.2 * pause, _REPORT_POLL_SECONDS)


def _join_tracking(place: Place, spec: supervise.Json) -> None:
    """Put rank 0 inside the MLflow run that the tracker made, so that ``log_metric`` just works."""
    if place.rank != 0 or not spec.get("tracker"):
        return
    deadline = time.monotonic() + _TRACKER_SECONDS
    made = None
    while made is None and time.monotonic() < deadline:
        made = place.run.json("track.run.json")
        if made is None:
            time.sleep(_REPORT_POLL_SECONDS)
    if made is None or made.get("error"):
        why = made["error"] if made else f"no answer within {_TRACKER_SECONDS:g} s"
        print(f"aiinfra: no MLflow run: {why}", file=sys.stderr)
        return
    os.environ["MLFLOW_TRACKING_URI"] = made["uri"]
    os.environ["MLFLOW_RUN_ID"] = made["run_id"]
    # A name beside the id would have MLflow compare them, and raise where they differ.
    os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)
    if made.get("experiment_id"):
        os.environ["MLFLOW_EXPERIMENT_ID"] = str(made["experiment_id"])


# --- user code ---------------------------------------------------------------------------------


class Code:
    """The user's code of one task: context, variables, entry, all in one ``__main__`` namespace."""

    def __init__(self, run: supervise.Run, blobs: str, task: supervise.Json) -> None:
        self.run = run
        self.blobs = blobs
        self.task = task
        self.loaded: set[str] = set()
        self.variables: dict[str, supervise.Json] = {}
        self.entry = run.path(task["entry"])
        if task.get("variables"):
            parcel = _parcel()
            manifest = run.json(task["variables"])
            if manifest is None:
                raise parcel.Incompatible(f"{task['variables']} is gone from the run directory")
            problems = parcel.check(manifest, entries=manifest["variables"])
            if problems:
                raise parcel.Incompatible("; ".join(problems))
            for entry in manifest["variables"]:
                self.variables.update(dict.fromkeys(entry.get("names", [entry["name"]]), entry))

    def prepare(self) -> None:
        """Set what Python would have set had it been started with the entry."""
        for folder in reversed(self.task.get("path", [])):
            sys.path.insert(0, self.run.path(folder))
        # Children made by multiprocessing's spawn import our neighbour by name.
        sys.path.append(sys.path.pop(sys.path.index(_HERE)))
        sys.argv = [self.entry, *self.task["argv"][1:]]
        builtins.__dict__["display"] = _display

    def load(self, namespace: MutableMapping[str, Any], name: str) -> None:
        """Load one variable into `namespace`, once, and with it those it shares objects with."""
        if name not in self.loaded:
            entry = self.variables[name]
            names = entry.get("names")
            self.loaded.update(names or [name])
            value = _parcel().unpack(entry, self._blob, main=namespace)
            namespace.update(zip(names, value) if names else [(name, value)])

    def _blob(self, digest: str) -> bytes | mmap.mmap:
        with open(os.path.join(self.blobs, digest[:2], digest), "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            # Private pages: a rank may write to its tensor, and nobody else sees it.
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def enter_context(self, namespace: dict[str, Any]) -> None:
        """Give `namespace` the notebook's imports, functions, classes and variables."""
        namespace["__aiinfra_load__"] = functools.partial(self.load, namespace)
        if self.task.get("context"):
            path = self.run.path(self.task["context"])
            exec(compile(_source(path), path, "exec", dont_inherit=True), namespace)  # noqa: S102
        for name in self.variables:
            self.load(namespace, name)
        del namespace["__aiinfra_load__"]

    def execute(self, namespace: dict[str, Any]) -> None:
        """Run the entry."""
        source = _source(self.entry)
        exec(compile(source, self.entry, "exec", dont_inherit=True), namespace)  # noqa: S102

    def define(self, namespace: dict[str, Any]) -> None:
        """Run only what defines something: enough for a spawned child to find names again."""
        kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        tree = ast.parse(_source(self.entry))
        tree.body = [node for node in tree.body if isinstance(node, kept)]
        exec(compile(tree, self.entry, "exec", dont_inherit=True), namespace)  # noqa: S102

    @property
    def is_cell(self) -> bool:
        """Whether the entry is a cell, which carries no ``__name__`` guard, or a script."""
        return bool(self.task.get("cell"))


def _display(*values: object, **_options: object) -> None:
    """Stand in for IPython's ``display`` on a rank: there is only text here."""
    for value in values:
        print(value if isinstance(value, str) else repr(value))


def _source(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _new_main(code: Code) -> dict[str, Any]:
    """Make a fresh ``__main__`` for the user's code and return its namespace."""
    module = types.ModuleType("__main__")
    module.__file__ = code.entry
    module.__dict__["__builtins__"] = builtins
    if code.is_cell:
        module.__spec__ = importlib.machinery.ModuleSpec(_SPAWNED, None)
    sys.modules["__main__"] = module
    return module.__dict__


def _run_user_code(place: Place, task: supervise.Json) -> int:
    """Run the task; return the exit code. An exception is printed and recorded, not raised."""
    namespace = {}
    code = None
    try:
        code = Code(place.run, place.blobs, task)
        code.prepare()
        namespace = _new_main(code)
        code.enter_context(namespace)
        code.execute(namespace)
        status = 0
    except SystemExit as end:
        status = _exit_code(end)
        if status != 0:
            _record_error(place, end, code)
    except BaseException as error:  # noqa: BLE001 - whatever ends the user's code is to be recorded
        _print_error(place, error, code)
        _record_error(place, error, code)
        status = 130 if isinstance(error, KeyboardInterrupt) else 1
    status = _flush(place, code) or status
    if place.rank == 0 and task.get("fetch"):
        status = _save_results(place, task, namespace) or status
    if status == 0:
        _leave_group()
        with contextlib.suppress(OSError):  # a full disk; it helps only against a crash to come
            place.write(".done", {"at": time.time()})
    return status


def _run_notebook(place: Place, task: supervise.Json) -> int:
    """Run the task's notebook; return the exit code. What ended it early is recorded."""
    try:
        end = _neighbour("notebook").run(place.run, task, secrets=place.secrets)
    except BaseException as error:  # noqa: BLE001 - whatever ends the user's code is to be recorded
        return failed(place, error)
    return told(place, end)


def failed(place: Place, error: BaseException) -> int:
    """Record what ended a notebook run that should not have; return the exit code."""
    _print_error(place, error, None)
    _record_error(place, error, None)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def told(place: Place, end: Any) -> int:
    """Record how a notebook run ended; return the exit code."""
    if end.error is not None:
        record = {"traceback": "", "line": None, **end.error}
        _say(f"aiinfra: {record['sentence']}")
        place.write(".error.json", record)
    return int(end.status)


def leave(status: int) -> NoReturn:
    """End this process, in which nothing is the user's: taking Python down takes half a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _say(text: str) -> None:
    """Print to our log, if its disk has room: the records have room of their own."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _flush(place: Place, code: Code | None) -> int:
    """Write out what was printed; return an exit code if there was no room for it."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        if not os.path.exists(place.file(".error.json")):
            _record_error(place, error, code)
        # Python would try again at its end, and exit with a status that says nothing.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        return 1
    return 0


def _leave_group() -> None:
    """Leave torch's process group, if the user's code joined one and did not leave it."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    try:
        distributed.destroy_process_group()
    except Exception as error:  # noqa: BLE001 - the work is done; a peer may have left already
        _say(f"aiinfra: leaving the process group: {error}")


def _save_results(place: Place, task: supervise.Json, namespace: Mapping[str, Any]) -> int:
    """Write the names asked for that exist; return an exit code if that failed."""
    values = {name: namespace[name] for name in task["fetch"] if name in namespace}
    missing = [name for name in task["fetch"] if name not in namespace]
    try:
        _parcel().write_results(place.run.path("results"), values, missing=missing)
    except OSError as error:
        _say(f"aiinfra: the results could not be saved: {error}")
        _record_error(place, error, None)
        return 1
    return 0


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    _say(str(end.code))
    return 1


def _user_traceback(error: BaseException, code: Code | None) -> types.TracebackType | None:
    """Return the traceback without our own frames."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    # An error of ours (a variable that cannot be loaded) has frames in this folder only.
    return frames if code is not None else error.__traceback__


def _print_error(place: Place, error: BaseException, code: Code | None) -> None:
    """Print the traceback as Python would, from the user's first frame on."""
    lines = traceback.format_exception(type(error), error, _user_traceback(error, code))
    _say(place.hide("".join(lines)).rstrip("\n"))


def _told(error: BaseException) -> str:
    """Return what an exception says; one of the user's own may be unable to."""
    try:
        return str(error)
    except Exception as fault:  # noqa: BLE001 - whatever the user's code raises
        return f"(its text cannot be had: str() raised {type(fault).__qualname__})"


def _record_error(place: Place, error: BaseException, code: Code | None) -> None:
    """Write down the exception, with the line of the cell or script it passed last."""
    frames = _user_traceback(error, code)
    text = "".join(traceback.format_exception(type(error), error, frames))
    text = text.replace(f'File "{place.run.folder}/', 'File "')
    line = None
    for summary in traceback.extract_tb(frames):
        if code is not None and summary.filename == code.entry:
            line = summary.lineno
    if isinstance(error, SyntaxError) and code is not None and error.filename == code.entry:
        line = error.lineno
    name = type(error).__qualname__
    if type(error).__module__ not in ("builtins", "__main__"):
        name = f"{type(error).__module__}.{name}"
    record = {
        "type": name,
        "message": place.hide(_told(error))[:4000],
        "traceback": place.hide(text)[-20000:],
        "line": line,
    }
    place.write(".error.json", record)


def _set_up(place: Place) -> None:
    """Take our log, and room for our records."""
    _redirect(place)
    for ending in (".error.json", ".exit.json"):
        supervise.set_aside(place.file(ending))


def enter(place: Place) -> supervise.Json:
    """Be the rank of a job, in a process that was there before it; return its task."""
    spec, task = place.run.spec, place.run.json("task.json")
    assert spec is not None and task is not None  # noqa: S101, PT018 - laid out before it began
    _set_up(place)
    _report(place)
    _wait_for_all(place, spec)
    return task


def main() -> int:
    """Run one rank; return its exit code."""
    place = Place(os.environ)
    spec = place.run.spec
    task = place.run.json("task.json")
    if spec is None or task is None:
        print(f"aiinfra: no spec.json and task.json in {place.run.folder}", file=sys.stderr)
        return _EXIT_REFUSED
    _set_up(place)
    if task.get("variables") or task.get("fetch"):
        _parcel()
    _guard(place)
    _report(place)
    _wait_for_all(place, spec)
    _join_tracking(place, spec)
    if task.get("notebook"):
        leave(_run_notebook(place, task))
    return _run_user_code(place, task)


if __name__ == "__main__":
    sys.exit(main())
