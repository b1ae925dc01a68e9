"""What a client can ask of a node, apart from logs and transfers, and the table of all of it."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Sequence, TypeVar

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import (
        browse,
        describe,
        folders,
        footing,
        frames,
        packed,
        peers,
        probing,
        reach,
        receive,
        supervise,
        survey,
        transfer,
    )
    from jupyter_aiinfra.node.channel import Call, Refusal, Verbs
    from jupyter_aiinfra.node.tails import Tails
else:  # its neighbours in the payload
    import browse
    import describe
    import folders
    import footing
    import frames
    import packed
    import peers
    import probing
    import reach
    import receive
    import supervise
    import survey
    import transfer
    from channel import Call, Refusal, Verbs
    from tails import Tails

__all__ = ["hello", "table"]

_Json = Dict[str, Any]
_T = TypeVar("_T")

_VERB_SECONDS = 60.0
_DESCRIBE_SECONDS = 90.0
_PIPE_BYTES = 1 << 16
_NVIDIA_DEVICE = "/dev/nvidiactl"
_FINAL = frozenset(("succeeded", "failed", "cancelled", "lost", "absent"))
# What tells that a run directory is one, and how its job ended, goes last.
_LAST = ("spec.json", "exit.json")


def table(sources: Mapping[str, str]) -> Verbs:
    """Return all verbs; `sources` are the modules that were sent."""
    describer = _Describer(sources)
    calls = {
        "adopt": _adopt,
        "connect": reach.connect,
        "describe": describer.describe,
        "digest": folders.digest,
        "files": _files,
        "folders": folders.make_folders,
        "footing": footing.footing,
        "hello": lambda _: hello(),
        "interface": reach.interface,
        "kill": _kill,
        "meet": _meet,
        "ping": lambda _: {},
        "processes": _processes,
        "reclaim": survey.reclaim,
        "remove": _remove,
        "runs": _runs,
        "start": _start,
        "stat": transfer.look,
        "status": _status,
        "survey": survey.survey,
    }
    streams = {
        "get": transfer.get,
        "listen": reach.listen,
        "open_file": transfer.open_file,
        "probe": probing.Prober(sources).probe,
        "put": transfer.put,
        "take": transfer.take,
        "tree": folders.tree,
    }
    tails = {"tail": Tails().add}
    return Verbs(
        {name: _refusing(verb) for name, verb in calls.items()},
        {name: _refusing(verb) for name, verb in streams.items()},
        {name: _refusing(verb) for name, verb in tails.items()},
    )


def _refusing(verb: Callable[[Call], _T]) -> Callable[[Call], _T]:
    """Make refusals of what a verb's neighbours raise about a path."""

    def told(call: Call) -> _T:
        try:
            return verb(call)
        except receive.Refused as error:
            hint = "name it as the lists of the job do"
            raise Refusal("usage", str(error), hint=hint) from error
        except browse.Missing as error:
            gone = error.path is None
            hint = "only its record is left" if gone else "the list of files names them"
            raise Refusal("not_found", str(error), hint=hint) from error

    return told


def hello() -> _Json:
    """Return who answers, and its clocks."""
    return {
        "protocol": frames.PROTOCOL,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "executable": sys.executable,
        "pid": os.getpid(),
        "monotonic": time.monotonic(),
        "time": time.time(),
        "home": os.path.expanduser("~"),
        "hostname": socket.gethostname(),
        "user": getpass.getuser(),
        "addresses": _addresses(),
    }


def _addresses() -> list[str]:
    """Return the addresses that other nodes may know this one by, the likeliest first."""
    # Where sshd was reached: the client's address and port, then ours.
    words = os.environ.get("SSH_CONNECTION", "").split()
    found = [words[2]] if len(words) == 4 else []  # noqa: PLR2004 - two addresses, two ports
    found += [each for _, each in peers.addresses()]
    return [each for each in dict.fromkeys(found) if not each.startswith(("127.", "::1", "fe80"))]


# --- jobs ----------------------------------------------------------------------------------------


def _status(call: Call) -> _Json:
    """Return the status of each of ``run_dirs``; an ``error`` where that cannot be told."""
    seen: _Json = {}
    for run_dir in call.argument("run_dirs", list):
        try:
            seen[run_dir] = supervise.status(transfer.place_of(run_dir))
        except (OSError, ValueError, KeyError, TypeError) as error:  # noqa: PERF203 - damaged
            seen[run_dir] = {"error": f"{type(error).__name__}: {error}"}
    return {"runs": seen}


def _runs(call: Call) -> _Json:
    """Return the jobs with orders below ``folder``, and what their orders say of the nodes."""
    folder = transfer.place_of(call.argument("folder", str))
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        names = []
    found, specs = [], {}
    for name in names:
        spec = supervise.read_json(os.path.join(folder, name, "spec.json"))
        if spec is not None:
            found.append(name)
            wanted = ("job", "node_rank", "nodes", "procs", "max_restarts")
            specs[name] = {key: spec.get(key) for key in wanted}
    return {"folder": folder, "jobs": found, "specs": specs}


def _start(call: Call) -> _Json:
    """Start the job of ``run_dir`` with ``secrets``; a second start does nothing.

    ``gang`` is what the supervisors of several nodes find each other by; of the head it comes back.
    Others that are started without it wait for ``meet``.
    """
    given = {**call.argument("secrets", dict, {}), "gang": call.argument("gang", dict, {})}
    secrets = json.dumps(given).encode()
    run_dir = transfer.place_of(call.argument("run_dir", str))
    done = _supervise(run_dir, ["start", run_dir], secrets)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {"errno": None, "error": _last_line(done.stderr)}
    if done.returncode == 0:
        known = supervise.read_json(os.path.join(run_dir, "gang.json")) or {}
        return {"started": True, "gang": {key: known.get(key) for key in ("key", "port")}}
    kind = "full" if answer.get("errno") in receive.FULL else "submit"
    raise Refusal(kind, f"the job could not be started in {run_dir}: {answer.get('error')}")


def _meet(call: Call) -> _Json:
    """Tell the supervisor of ``run_dir`` where the head's is: ``key`` and ``head_port``."""
    run_dir = transfer.place_of(call.argument("run_dir", str))
    told = {
        "key": call.argument("key", str),
        "head_port": call.argument("head_port", int),
    }
    # It may have been told before, by one who had no answer from us.
    if not os.path.exists(os.path.join(run_dir, "gang.json")):
        supervise.write_json(os.path.join(run_dir, supervise.MEET), told, durable=False)
    supervisor = supervise.read_json(os.path.join(run_dir, "supervisor.json"))
    supervise.send(supervisor, signal.SIGUSR1)
    return {}


def _adopt(call: Call) -> _Json:
    """Put a new supervisor beside the job of ``run_dir``; nothing where one lives."""
    run_dir = transfer.place_of(call.argument("run_dir", str))
    secrets = json.dumps(call.argument("secrets", dict, {})).encode()
    return _done(_supervise(run_dir, ["adopt", run_dir], secrets))


def _kill(call: Call) -> _Json:
    """Ask for the end of the job of ``run_dir``, with ``grace`` seconds."""
    run_dir = transfer.place_of(call.argument("run_dir", str))
    grace = float(call.argument("grace", (int, float)))
    return _done(_supervise(run_dir, ["kill", run_dir, repr(grace)]))


def _supervise(
    run_dir: str, words: Sequence[str], given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a verb of the supervisor that came with the job, whatever our own version is."""
    program = os.path.join(run_dir, "aiinfra", "supervise.py")
    if not os.path.isfile(program):
        raise Refusal("not_found", f"there is no job in {run_dir}", hint="its files are gone")
    argv = [sys.executable, "-I", "-S", program, *words]
    return _run(argv, given, _VERB_SECONDS)


def _run(argv: Sequence[str], given: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end.

    What it is given is in its pipe before it starts, where that has room: should we be killed now,
    it gets all of it, and never half of a job's secrets.
    """
    reader, writer = os.pipe()
    try:
        whole = len(given) <= _PIPE_BYTES
        try:
            if whole:
                os.write(writer, given)
        finally:
            os.close(writer)
        how: Any = {"stdin": reader} if whole else {"input": given}
        return subprocess.run(
            argv,
            capture_output=True,
            timeout=seconds,
            check=False,
            start_new_session=True,
            **how,
        )
    except OSError as error:
        raise Refusal("pool", f"cannot start {argv[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        text = f"{' '.join(argv[-3:])} did not end within {seconds:g} s"
        raise Refusal("pool", text) from error
    finally:
        os.close(reader)


def _done(done: subprocess.CompletedProcess[bytes]) -> _Json:
    if done.returncode:
        raise Refusal("pool", _last_line(done.stderr))
    return {}


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no word of why"


def _remove(call: Call) -> _Json:
    """Delete the run directory ``job`` below ``folder``, if the job has ended. Idempotent.

    Links are deleted, never followed.
    """
    folder, job = transfer.place_of(call.argument("folder", str)), call.argument("job", str)
    if len(receive.safe_parts(job)) != 1:
        raise Refusal("usage", f"{job!r} is no job")
    run_dir = os.path.join(folder, job)
    if not os.path.lexists(run_dir):
        return {"removed": False}
    if os.path.islink(run_dir) or not os.path.isdir(run_dir):
        raise Refusal("usage", f"{run_dir} is no run directory", hint="delete it by hand")
    status = supervise.status(run_dir)
    state = status["state"]
    # Nor is anything lost of a job whose processes are all gone, however it ended elsewhere.
    if state not in _FINAL and not (status.get("never") or status.get("gone")):
        raise Refusal("submit", f"job {job} is {state}", hint="cancel it first")
    names = sorted(os.listdir(run_dir), key=lambda name: _LAST.index(name) if name in _LAST else -1)
    for name in names:
        path = os.path.join(run_dir, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    os.rmdir(run_dir)
    return {"removed": True}


def _processes(call: Call) -> _Json:
    """Return the living processes that carry a job's tag (of ``job`` only, if given)."""
    wanted = call.args.get("job")
    found: list[_Json] = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                job = _job_of(file.read())
            with open(f"/proc/{entry}/comm", encoding="utf-8", errors="replace") as file:
                name = file.read().strip()
        except OSError:  # gone, or not ours
            continue
        who = supervise.identity(int(entry)) if job is not None else None
        if who is not None and wanted in (None, job):
            found.append({**who, "job": job, "name": name})
    return {"processes": found}


def _job_of(environ: bytes) -> str | None:
    prefix = supervise.TAG.encode() + b"="
    for variable in environ.split(b"\0"):
        if variable.startswith(prefix):
            return variable[len(prefix) :].decode(errors="replace")
    return None


# --- files ---------------------------------------------------------------------------------------


def _files(call: Call) -> _Json:
    """Return the first ``limit`` files of ``run_dir`` that a person may want."""
    run_dir = transfer.place_of(call.argument("run_dir", str))
    found = browse.list_files(run_dir, limit=call.argument("limit", int, 1000))
    return {"files": [each._asdict() for each in found]}


# --- the node ------------------------------------------------------------------------------------


class _Describer:
    """Runs ``describe.py``, and its neighbours, in a process of its own, from memory.

    Of its own because a description reads all packages, which this program was started without, and
    because another interpreter may be meant. What an interpreter has is kept for as long as the
    folders of its packages do not change: the machine alone is told of here, at once.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._descriptor = -1
        self._pythons: dict[str, _Json] = {}
        self._nvidia = False

    def describe(self, call: Call) -> _Json:
        """Describe the node with ``folder``'s disk, as ``python`` (this one) sees it."""
        folder = transfer.place_of(call.argument("folder", str, "~"))
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        python = call.argument("python", str, sys.executable)
        known = self._known(python)
        if known is not None:
            seen = describe.gpus(self._program()) if self._nvidia else ([], None, None)
            return {**describe.machine(seen, folder), "python": known}
        try:
            done = _run([python, "-I", self._program(), folder], b"", _DESCRIBE_SECONDS)
            described: _Json = json.loads(done.stdout) if done.returncode == 0 else {}
        except ValueError:
            described = {}
        if not described:
            text = f"{python} cannot describe its machine: {_last_line(done.stderr)}"
            hint = "name a Python interpreter of the node, 3.8 or newer"
            raise Refusal("pool", text, hint=hint)
        self._pythons[python] = described["python"]
        self._nvidia = any(described[key] for key in ("gpus", "driver", "gpu_problem"))
        return described

    def _known(self, python: str) -> _Json | None:
        """Return what an interpreter has, where that is known and nothing has changed since."""
        known = self._pythons.get(python)
        if known is None or describe.stamps(known["places"]) != known["places"]:
            return None
        # A driver that was loaded meanwhile takes a look at everything.
        return known if self._nvidia or not os.path.exists(_NVIDIA_DEVICE) else None

    def _program(self) -> str:
        """Return a path of the modules as one program, which lies on no disk."""
        with self._lock:
            if self._descriptor < 0:
                data = packed.archive("describe", self._sources)
                self._descriptor = packed.in_memory("describe", data)
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"
