"""The supervisor of one node's ranks: starts them, outlives whoever asked, and records the end.

One file, standard library only, Python 3.8 or newer, nothing installed on the node. Verbs::

    supervise.py start DIR     start the job of DIR/spec.json, detached; a second call does nothing
    supervise.py status DIR    print what is known as one JSON object
    supervise.py kill DIR S    ask for the end: SIGINT, after S seconds SIGTERM, then SIGKILL
    supervise.py adopt DIR     put a new supervisor beside a job whose own was killed

``start`` and ``adopt`` read a JSON object of secrets from standard input; they go into the
environment of what they start and nowhere else. Under ``gang``, whose value is no text, stands what
the supervisors of a job on several nodes need to find each other (``gang.py``). The layout of DIR
is described in ``docs/run-directory.md``.

A process is known by pid, start time, boot id and pid namespace together, and ours by the tag
``AIINFRA_JOB`` in its environment: torch's agents put workers in sessions of their own, so a
process group is not enough, and a bare pid may be reused. Nothing is ever killed by name.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, NoReturn, Protocol, Sequence

__all__ = [
    "COMPANION_TAG",
    "FORMAT",
    "MEET",
    "NODES_SYSTEM",
    "RESERVE",
    "RUN_TAG",
    "SYSTEM",
    "TAG",
    "Child",
    "Json",
    "Launcher",
    "Records",
    "Run",
    "Stopper",
    "Supervisor",
    "adopt",
    "alive",
    "become_subreaper",
    "boot_id",
    "clock",
    "conclusion",
    "contract",
    "dated",
    "detached",
    "disk_was_full",
    "first_failure",
    "free_port",
    "has_children",
    "identity",
    "ignore",
    "in_gang",
    "is_subreaper",
    "launch",
    "launch_tracker",
    "main",
    "myself",
    "only_one",
    "read_json",
    "read_text",
    "request_stop",
    "seconds_since",
    "send",
    "set_aside",
    "start",
    "start_here",
    "status",
    "supervised",
    "tagged",
    "why_failed",
    "world_problem",
    "write_json",
    "write_text",
]

Json = Dict[str, Any]
_Ready = Callable[[str], None]

FORMAT = 1
TAG = "AIINFRA_JOB"
RUN_TAG = "AIINFRA_RUN_DIR"
COMPANION_TAG = "AIINFRA_COMPANION"
# What a node's processors and GPUs do, and on the first node what those of the others do.
SYSTEM, NODES_SYSTEM = "system.json", "system.nodes.json"
RESERVE = ".reserve"
# By which key, and where, the supervisor of the first node is found by the others.
MEET = "meet.json"

_HEARTBEAT_SECONDS = 2.0
# A rank that reports says so with SIGUSR1; this is for one that cannot reach us with it.
_STARTING_POLL_SECONDS = 0.1
_RUNNING_POLL_SECONDS = 0.25
_STOPPING_POLL_SECONDS = 0.05
_YOUNG_SECONDS = 15.0
# After SIGTERM a rank has this long (or the grace, if that is shorter) before SIGKILL.
_TERM_SECONDS = 5.0
_RESERVE_BYTES = 1 << 16
# How long a new supervisor tries to get the lock: against those who only ask whether one lives.
_START_SECONDS = 5.0
_ADOPT_SECONDS = 0.3

# The launcher runs in the foreground of this shell, so its signals keep their defaults, while the
# shell itself only notes them: the exit status is written even when the supervisor is gone.
_WRAPPER = """\
trap : HUP INT TERM
rc_file=$1
shift
"$@"
status=$?
(umask 077; printf '%s\\n' "$status" >"$rc_file.new") && mv "$rc_file.new" "$rc_file"
exit "$status"
"""


# --- files -------------------------------------------------------------------------------------


def _write_atomic(path: str, text: str, *, durable: bool) -> None:
    """Write `text` to `path` so that a reader sees the old file or the new one; mode 0600."""
    temporary = f"{path}.{os.getpid()}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            view = memoryview(text.encode())
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_json(path: str, value: Any, *, durable: bool = True) -> None:
    """Write `value` as JSON to `path`, atomically; on a full disk into the room set aside.

    What need not outlive a power cut, since the processes it speaks of do not either, is not
    `durable`: waiting for the disk costs milliseconds, several times on the way to the first step.
    """
    text = json.dumps(value, sort_keys=True) + "\n"
    try:
        _write_atomic(path, text, durable=durable)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not os.path.exists(path + RESERVE):
            raise
        _write_into_reserve(path, text)


def write_text(path: str, text: str) -> None:
    """Write `text` to `path`, atomically."""
    _write_atomic(path, text, durable=False)


def set_aside(path: str) -> None:
    """Take room on the disk now, so that :func:`write_json` to `path` succeeds on a full one."""
    descriptor = os.open(path + RESERVE, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        try:
            os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
        except (AttributeError, OSError):
            # Not every system has it. What is written takes its room as well, only later.
            os.pwrite(descriptor, b"\0" * _RESERVE_BYTES, 0)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_into_reserve(path: str, text: str) -> None:
    """Write over what is allocated: room given back first would be gone to somebody else."""
    data = text.encode()
    descriptor = os.open(path + RESERVE, os.O_WRONLY)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(path + RESERVE, path)


def read_json(path: str) -> Json | None:
    """Return the JSON object in `path`, or ``None`` when the file is not there.

    An empty file, which a power cut may leave of one that was not durable, is as good as none.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    value: Json | None = json.loads(text) if text.strip("\0 \n") else None
    return value


def read_text(path: str) -> str | None:
    """Return the text of `path`, or ``None`` when the file is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


# --- processes ---------------------------------------------------------------------------------


def boot_id() -> str:
    """Return what changes when the machine restarts."""
    text = read_text("/proc/sys/kernel/random/boot_id")
    return text.strip() if text else "unknown"


def clock() -> Json:
    """Return a time that goes on evenly however the machine's clock is set, in this boot."""
    number = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # counts while it sleeps, too
    return {"boot": boot_id(), "seconds": time.clock_gettime(number)}


def seconds_since(then: Json | None) -> float | None:
    """Return how long ago `then` (of :func:`clock`) was; unknown where that was in another boot."""
    now = clock()
    if not then or then["boot"] != now["boot"]:
        return None
    return float(now["seconds"] - then["seconds"])


def dated(run: Run, record: Json) -> Json:
    """Return an exit record that also says when, and how long after its start, by :func:`clock`."""
    return {**record, "clock": clock(), "lasted": seconds_since(run.json("begun.json"))}


def _pid_namespace() -> str:
    """Return what tells apart two processes of equal pid in different containers."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "unknown"


def _start_ticks(pid: int) -> int | None:
    """Return the start time of `pid` in clock ticks since boot, or ``None`` if it is gone.

    Field 22 of ``/proc/PID/stat`` (proc(5)); a zombie counts as gone.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name stands in parentheses and may hold any byte, even a closing parenthesis.
    fields = text[text.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def identity(pid: int) -> Json | None:
    """Return what identifies the living process `pid` for ever, or ``None`` if it is gone."""
    ticks = _start_ticks(pid)
    if ticks is None:
        return None
    return {"pid": pid, "start": ticks, "boot": boot_id(), "pidns": _pid_namespace()}


def myself() -> Json:
    """Return what identifies this process."""
    who = identity(os.getpid())
    assert who is not None  # noqa: S101 - we are alive
    return who


def alive(who: Mapping[str, Any] | None) -> bool:
    """Whether the process that `who` identifies still runs; nobody does not."""
    if not who:
        return False
    return identity(who["pid"]) == {key: who[key] for key in ("pid", "start", "boot", "pidns")}


def send(who: Mapping[str, Any] | None, number: int) -> bool:
    """Send signal `number` to the process `who` identifies; return whether it was there.

    Where the kernel has pidfds the check and the signal cannot be parted by a reused pid.
    """
    if not who:
        return False
    descriptor = None
    try:
        descriptor = _pidfd(who["pid"])
        if not alive(who):
            return False
        if descriptor is None:
            os.kill(who["pid"], number)
        else:
            signal.pidfd_send_signal(descriptor, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def _pidfd(pid: int) -> int | None:
    """Return a descriptor of the process, or ``None`` where kernel or Python have none."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:  # an older kernel, or a container that forbids the call
        return None


def tagged(job: str, tag: str = TAG) -> list[Json]:
    """Return the identities of all living processes that carry `tag` with the value `job`."""
    needle = f"{tag}={job}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:
            continue
        if needle in variables:
            who = identity(int(entry))
            if who is not None:
                found.append(who)
    return found


def free_port(host: str) -> int:
    """Return a TCP port nobody listens on at `host` just now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


# --- what a node knows of its job --------------------------------------------------------------


class Run:
    """The run directory, with a name for each thing in it."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.path.abspath(folder)

    def path(self, *names: str) -> str:
        """Return the path of something in the run directory."""
        return os.path.join(self.folder, *names)

    def json(self, *names: str) -> Json | None:
        """Return a JSON file of the run directory, or ``None``."""
        return read_json(self.path(*names))

    def write(self, name: str, value: Mapping[str, Any], *, durable: bool = True) -> None:
        """Write a JSON file of the run directory; see :func:`write_json`."""
        write_json(self.path(name), value, durable=durable)

    @property
    def spec(self) -> Json | None:
        """What the supervisor is to do, or ``None``."""
        return self.json("spec.json")

    @property
    def rc(self) -> int | None:
        """The launcher's exit status, or ``None`` while it runs or when nobody recorded it."""
        text = read_text(self.path("rc"))
        return int(text) if text and text.strip() else None

    def reports(self) -> dict[int, Json]:
        """Return the ranks' reports by seat (a rank's number in the first attempt)."""
        return self._ranks(".json")

    def exits(self) -> dict[int, Json]:
        """Return the ranks' exit records by seat."""
        return self._ranks(".exit.json")

    def _ranks(self, ending: str) -> dict[int, Json]:
        found: dict[int, Json] = {}
        try:
            names = os.listdir(self.path("ranks"))
        except FileNotFoundError:
            return found
        for name in names:
            rank = name[: -len(ending)]
            if name.endswith(ending) and rank.isdigit():
                record = self.json("ranks", name)
                if record is not None:
                    found[int(record["seat"] if "seat" in record else record["rank"])] = record
        return found


@contextlib.contextmanager
def only_one(run: Run, patience: float) -> Iterator[bool]:
    """Hold the supervisor's lock; yields whether we got it within `patience` seconds.

    The kernel frees the lock on any death of its holder. Who merely asks (:func:`supervised`) holds
    it for a moment too, so one refusal is not yet an answer.
    """
    descriptor = os.open(run.path("supervisor.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    try:
        mine = _lock(descriptor, fcntl.LOCK_EX)
        while not mine and time.monotonic() < deadline:
            time.sleep(0.01)
            mine = _lock(descriptor, fcntl.LOCK_EX)
        yield mine
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def supervised(run: Run) -> bool:
    """Whether a supervisor lives beside this run. Any number may ask at once."""
    try:
        descriptor = os.open(run.path("supervisor.lock"), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def status(folder: str) -> Json:
    """Return what is known of the run as plain JSON; see ``docs/run-directory.md``."""
    run = Run(folder)
    spec = run.spec
    if spec is None:
        return {"state": "absent"}
    turn = run.json("attempt.json") or {}
    known = {
        "job": spec["job"],
        "world": spec["world"],
        "ranks": _rank_list(run),
        "supervised": False,
        "stop": run.json("stop.json"),
        "tracking": run.json("track.run.json"),
        "results": _result_names(run),
        "artifacts": run.json("artifacts.json"),
        "attempt": turn.get("attempt", 1),
        "restarts": turn.get("restarts", []),
        "nodes": turn.get("nodes", []),
        "waiting": turn.get("waiting"),
        "led": turn.get("led", True),
    }
    ended = run.json("exit.json")
    if ended is not None:
        known.update(ended, supervised=True)
        ago = seconds_since(ended.get("clock"))
        if ago is None:
            ago = max(0.0, time.time() - (ended.get("ended_at") or time.time()))
        known["ended_ago"] = ago
        return known
    # Read before the look at the lock: a supervisor that was on record then, and holds no lock
    # afterwards, is gone; one that comes up in between is no contradiction, only news.
    began = run.json("supervisor.json")
    known["supervised"] = supervised(run)
    known["started_at"] = _begun_at(run)
    known["stalled_since"] = (run.json("stall.json") or {}).get("since")
    known.update(_neighbour("pulse").signs(run))
    if known["supervised"]:
        known["state"] = _phase(run)
        return known
    # The supervisor is gone without a word, or not there yet. What it started may not be gone.
    _unsupervised(run, spec, known, began)
    changed = run.json("supervisor.json") != began or supervised(run)
    if changed or run.json("exit.json") is not None:
        return status(folder)  # it began, was replaced, or ended while we looked
    return known


def _unsupervised(run: Run, spec: Json, known: Json, began: Json | None) -> None:
    if tagged(run.folder, RUN_TAG) if in_gang(spec) else tagged(spec["job"]):
        known["state"] = _phase(run)
    elif began is not None and in_gang(spec):
        # How the job ends is for the supervisors to say: a new one here will find the others.
        known["state"] = _phase(run)
        known["gone"] = _why_lost(run)
    elif run.rc is not None:
        known.update(conclusion(run, spec, run.rc, strays=0, ended_by={}))
        # The wrapper dated the end for us.
        known["ended_at"] = os.path.getmtime(run.path("rc"))
    elif began is None and _age(run.path("spec.json")) < _YOUNG_SECONDS:
        known["state"] = "starting"
        known["supervised"] = True
        known["never"] = True
    elif began is None:
        # Nobody need wonder how it ended: nothing of it ever ran.
        known["state"] = "failed"
        known["never"] = True
        known["reason"] = "the job was never started on its node"
    else:
        known["state"] = "lost"
        known["reason"] = _why_lost(run)


def _why_lost(run: Run) -> str:
    supervisor = run.json("supervisor.json") or {}
    if supervisor.get("boot") != boot_id():
        return "the node was restarted while the job ran"
    return "every process of the job was killed, its supervisor too; no exit status is known"


def _phase(run: Run) -> str:
    # Between two attempts a job runs: it has begun, and is not over.
    return "running" if _begun_at(run) is not None else "starting"


def _begun_at(run: Run) -> float | None:
    """Return when user code began in the first attempt, or ``None``."""
    turn = run.json("attempt.json") or {}
    begun_at: float | None = turn.get("started_at") or (run.json("go") or {}).get("at")
    return begun_at


def _age(path: str) -> float:
    try:
        return time.time() - os.path.getmtime(path)
    except FileNotFoundError:
        return float("inf")


def _rank_list(run: Run) -> list[Json]:
    exits = run.exits()
    steps = _neighbour("step").read_steps(run.folder)
    ranks = []
    for rank, report in sorted(run.reports().items()):
        entry = {key: report.get(key) for key in ("rank", "node", "pid", "started_at")}
        entry["seat"] = rank
        entry.update(steps.get(rank, {}))
        entry.update(exits.get(rank, {}))
        ranks.append(entry)
    return ranks


def _neighbour(name: str) -> Any:
    """Import another file of the node side, which most runs of this one need not have read."""
    if __package__:
        return importlib.import_module(f"{__package__}.{name}")
    if name not in sys.modules:
        here = os.path.dirname(os.path.abspath(__file__))
        if here not in sys.path:
            sys.path.insert(0, here)
    return importlib.import_module(name)


def _result_names(run: Run) -> list[str]:
    manifest = run.json("results", "manifest.json")
    if not manifest:
        return []
    entries = manifest.get("variables", [])
    return [name for entry in entries for name in entry.get("names", [entry["name"]])]


# --- the end -----------------------------------------------------------------------------------


def conclusion(
    run: Run, spec: Json, rc: int | None, *, strays: int, ended_by: Mapping[str, Sequence[int]]
) -> Json:
    """Return the exit record: state, reason and who failed, from what the ranks left behind."""
    stop = run.json("stop.json")
    aborted = run.json("abort.json")
    exits = run.exits()
    failed = first_failure(run, exits)
    if aborted is not None:
        state, reason, failed = "failed", aborted["reason"], None
    elif stop is not None and (rc != 0 or ended_by):
        state, reason = stop.get("state", "cancelled"), stop["reason"]
        failed = None
    elif rc == 0:
        state, reason, failed = "succeeded", None, None
    elif rc is None:
        state, reason = "lost", "the launcher was killed; no exit status is known"
    else:
        state, reason = "failed", why_failed(run, spec, rc, failed, exits)
    return {
        "format": FORMAT,
        "state": state,
        "rc": rc,
        "started_at": _begun_at(run),
        "ended_at": time.time(),
        "reason": reason,
        "failed_rank": failed,
        "ended_by": ended_by,
        "strays": strays,
    }


class Records(Protocol):
    """What ranks have left behind, of one node or of several."""

    def reports(self) -> dict[int, Json]:
        """Return the ranks' reports by seat."""
        ...

    def exits(self) -> dict[int, Json]:
        """Return the ranks' exit records by seat."""
        ...


def first_failure(run: Records, exits: Mapping[int, Json]) -> int | None:
    """Return the rank that failed first, or ``None``.

    The launcher ends the other ranks with SIGTERM once one has failed, so a rank that was merely
    told to end counts only where nobody failed by themselves.
    """
    bad = [e for e in exits.values() if e.get("exit_code") != 0]
    own = [e for e in bad if e.get("signal") != signal.SIGTERM] or bad
    silent = [rank for rank in run.reports() if rank not in exits]
    if own:
        return int(min(own, key=lambda e: (e.get("ended_at") or 0.0, e["rank"]))["rank"])
    return min(silent) if silent and not exits else None


def why_failed(  # noqa: PLR0911 - one return a reason
    run: Records, spec: Json, rc: int, failed: int | None, exits: Mapping[int, Json]
) -> str:
    """Return in one sentence why a launcher that ended with status `rc` did."""
    if failed is None:
        if not run.reports():
            return f"the launcher ended with status {rc} before any rank began"
        return f"the launcher ended with status {rc}"
    record = exits.get(failed, {})
    who = f"rank {failed}" if spec["world"] > 1 else _alone(run, spec)
    error = record.get("error")
    where = f" (line {error['line']})" if error and error.get("line") else ""
    number = record.get("signal")
    if error and error.get("sentence"):
        return str(error["sentence"])
    if error and error["type"] != "SystemExit":
        return f"{who} raised {error['type']}: {error['message']}{where}"
    if number:
        return f"{who} was ended by {_signal_name(number)}{_signal_note(number)}"
    if record.get("exit_code") is not None:
        return f"{who} exited with status {record['exit_code']}{where}"
    return f"{who} vanished; the launcher ended with status {rc}"


def _alone(run: Records, spec: Json) -> str:
    """Return what the only rank of a job is called."""
    if spec.get("kind") != "notebook":
        return "the script"
    state = (run.json("notebook", "state.json") if isinstance(run, Run) else None) or {}
    where = f" in cell {state['cell'] + 1}" if state.get("cell") is not None else ""
    return f"the process that runs the notebook{where}"


def _signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9, and ``signal 63`` where there is no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _signal_note(number: int) -> str:
    notes: dict[int, str] = {
        signal.SIGKILL: " (often the kernel, out of memory)",
        signal.SIGSEGV: " (a crash in compiled code)",
        signal.SIGBUS: " (often a full /dev/shm or disk)",
    }
    return notes.get(number, "")


# --- stopping ----------------------------------------------------------------------------------


class Stopper:
    """Walks SIGINT, SIGTERM, SIGKILL over every process of the job until none is left."""

    def __init__(
        self,
        run: Run,
        job: str,
        grace: float,
        *,
        processes: Callable[[], list[Json]] | None = None,
    ) -> None:
        self.run = run
        self.processes = processes or (lambda: tagged(job))
        self.grace = max(0.0, float(grace))
        self.begun = time.monotonic()
        self.sent: dict[int, list[int]] = {}
        self.stage: int | None = None
        # Who was there when we began: the others ended by themselves.
        self.ranks = set(run.reports()) - set(run.exits())

    def step(self) -> list[Json]:
        """Send what is due now. Returns the processes still there."""
        elapsed = time.monotonic() - self.begun
        left = self.processes()
        if not left:
            return left
        term_at = self.grace
        kill_at = self.grace + min(_TERM_SECONDS, self.grace)
        if self.stage is None:
            self._signal(self._user_processes(left), signal.SIGINT)
            self.stage = signal.SIGINT
        if self.stage == signal.SIGINT and elapsed >= term_at:
            self._signal(self._without_keepers(left), signal.SIGTERM)
            self.stage = signal.SIGTERM
        if elapsed >= kill_at:
            # The wrapper goes last: it is the one who writes down the exit status.
            self._signal(self._without_wrapper(left) or left, signal.SIGKILL)
            self.stage = signal.SIGKILL
        return left

    def _user_processes(self, left: list[Json]) -> list[Json]:
        """Return the ranks' own processes, or everything where no rank has reported yet.

        An interrupt to the launcher as well would make it kill ranks that are just saving.
        """
        pids = {
            (r["pid"], r["start"]) for seat, r in self.run.reports().items() if seat in self.ranks
        }
        chosen = [who for who in left if (who["pid"], who["start"]) in pids]
        return chosen or self._without_keepers(left)

    def _without_keepers(self, left: list[Json]) -> list[Json]:
        """Return everything but those who write down how the others ended."""
        keepers = [report.get("guardian") for report in self.run.reports().values()]
        return [who for who in self._without_wrapper(left) if who not in keepers]

    def _without_wrapper(self, left: list[Json]) -> list[Json]:
        wrapper = (self.run.json("supervisor.json") or {}).get("wrapper")
        return [who for who in left if who != wrapper]

    def _signal(self, processes: Iterable[Json], number: int) -> None:
        # Read before anything is sent: a rank that ends of the signal may be written down as gone
        # before we look again. And only once: SIGKILL is sent until nothing is left.
        if number not in self.sent:
            self.sent[number] = self._living()
        for who in processes:
            send(who, number)

    def _living(self) -> list[int]:
        reports, exits = self.run.reports(), self.run.exits()
        return sorted(rank for rank in reports if rank in self.ranks and rank not in exits)

    def ended_by(self) -> dict[str, list[int]]:
        """Return which signal was the last sent to each rank that was still there."""
        result: dict[str, list[int]] = {}
        taken: set[int] = set()
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            ranks = [rank for rank in self.sent.get(number, ()) if rank not in taken]
            if ranks:
                result[signal.Signals(number).name] = ranks
                taken.update(ranks)
        return result


def request_stop(
    folder: str, grace: float, *, reason: str = "stopped on request", state: str = "cancelled"
) -> None:
    """Write down that the job is to end, and wake whoever is to see to it.

    The first request stands; a later one may only shorten the grace. Without a living supervisor
    a new one is started, which then finds the request.
    """
    run = Run(folder)
    spec = run.spec
    if spec is None or run.json("exit.json") is not None:
        return
    old = run.json("stop.json")
    if old is not None:
        grace = min(grace, old["grace_seconds"])
        reason, state = old["reason"], old.get("state", state)
    run.write(
        "stop.json",
        {
            "grace_seconds": grace,
            "reason": reason,
            "state": state,
            "at": old["at"] if old else time.time(),
        },
    )
    supervisor = run.json("supervisor.json")
    if not send(supervisor, signal.SIGUSR1):
        adopt(folder)


# --- the supervisor itself ---------------------------------------------------------------------


class Child(Protocol):
    """A process that was started, and whose end is asked for: a ``Popen``, or like one."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    def poll(self) -> int | None:
        """Return how it ended, or ``None`` while it lives."""
        ...


class Supervisor:
    """Owns one run from start (or adoption) to its exit record."""

    def __init__(self, run: Run, spec: Json) -> None:
        self.run = run
        self.spec = spec
        self.child: Child | None = None
        self.tracker: subprocess.Popen[bytes] | None = None
        self.collector: subprocess.Popen[bytes] | None = None
        self.stopper: Stopper | None = None
        self.rc: int | None = None
        self.begun = time.monotonic()
        self.last_beat = 0.0
        self.watch: Any = None
        self.pulse: Any = None
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        self.wake = reader
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, ignore)
        # Told to end (a shutdown, a logout): the job must not be left without its record.
        signal.signal(signal.SIGTERM, self._told_to_end)

    def _told_to_end(self, *_: object) -> None:
        if self.run.json("stop.json") is None:
            request = {
                "grace_seconds": self.spec["grace_seconds"],
                "reason": "the node told the job to end (SIGTERM to its supervisor)",
                "state": "cancelled",
                "at": time.time(),
            }
            self.run.write("stop.json", request)

    def main(self) -> None:
        """Watch until nothing of the job is left, then write the exit record."""
        while not self.finished():
            self.verify_world()  # before all that can wait: ranks wait for it
            self.beat()
            self.limit_time()
            self.stop_if_asked()
            self.wait()
        stopped = self.stopper
        strays = self.end_strays()
        while not self.collected():
            self.beat()
            self.wait()
        ended_by = stopped.ended_by() if stopped else {}
        record = conclusion(self.run, self.spec, self.rc, strays=strays, ended_by=ended_by)
        self.record(record)
        self.end_tracker()

    def finished(self) -> bool:
        """Whether the launcher has ended: reaped by us, or recorded by the wrapper."""
        if self.child is not None:
            status = self.child.poll()
            if status is None:
                return False
            recorded = self.run.rc
            self.rc = recorded if recorded is not None else _exit_status(status)
            return True
        self.rc = self.run.rc
        return self.rc is not None or not self.processes()

    def processes(self) -> list[Json]:
        """Return the living processes of the job."""
        return tagged(self.spec["job"])

    def beat(self) -> None:
        """Touch the heartbeat file now and then, and look whether the ranks work and get on."""
        now = time.monotonic()
        if now - self.last_beat < _HEARTBEAT_SECONDS and self.last_beat:
            return
        self.last_beat = now
        descriptor = os.open(self.run.path("heartbeat"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
        if self.spec.get("stall_seconds") is not None:
            if self.watch is None:
                self.watch = _neighbour("stall").StallWatch(self.run, self.spec)
            self.watch.look()
        # Not at the first beat: it takes a look at all processes of the node, and who has just been
        # started needs the time itself.
        if self.pulse is None and now - self.begun >= _HEARTBEAT_SECONDS:
            self.pulse = _neighbour("pulse").PulseWatch(self.run, self.processes)
        if self.pulse is not None:
            self.pulse.look()

    def verify_world(self) -> None:
        """Let the ranks begin once as many distinct ones as asked have reported, or abort."""
        if not self.spec["verify_world"] or self.verified:
            return
        problem = world_problem(self.run.reports(), self.spec)
        waited = time.monotonic() - self.begun
        if problem is None and len(self.run.reports()) == self.spec["world"]:
            go = {"at": time.time(), "world": self.spec["world"]}
            self.run.write("go", go, durable=False)
        elif problem is None and waited > self.spec["start_timeout_seconds"]:
            problem = (
                f"{len(self.run.reports())} of {self.spec['world']} ranks reported "
                f"within {self.spec['start_timeout_seconds']:g} s"
            )
        if problem is not None:
            self.run.write("abort.json", {"reason": problem})
            grace = self.spec["grace_seconds"]
            request_stop(self.run.folder, grace, reason=problem, state="failed")

    @property
    def verified(self) -> bool:
        """Whether the question of the world size is settled, one way or the other."""
        return os.path.exists(self.run.path("go")) or os.path.exists(self.run.path("abort.json"))

    def limit_time(self) -> None:
        """Ask for the end of a job that has had its time."""
        limit = self.spec.get("time_limit_seconds")
        if limit is None or self.run.json("stop.json") is not None:
            return
        if time.time() - os.path.getmtime(self.run.path("spec.json")) > limit:
            reason = f"the time limit of {limit:g} s was reached"
            request_stop(self.run.folder, self.spec["grace_seconds"], reason=reason)

    def stop_if_asked(self) -> None:
        """Walk the signals while a stop is asked for."""
        stop = self.run.json("stop.json")
        if stop is None:
            return
        if self.stopper is None:
            self.stopper = Stopper(self.run, self.spec["job"], stop["grace_seconds"])
        self.stopper.grace = min(self.stopper.grace, stop["grace_seconds"])
        self.stopper.step()

    def wait(self) -> None:
        """Sleep until a signal, or until it is time to look again."""
        if self.stopper is not None:
            pause = _STOPPING_POLL_SECONDS
        elif self.spec["verify_world"] and not self.verified:
            pause = _STARTING_POLL_SECONDS
        else:
            pause = _RUNNING_POLL_SECONDS
        ready, _, _ = select.select([self.wake], [], [], pause)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)

    def end_strays(self) -> int:
        """End what the job left running; return how many processes that were.

        While a stop is under way they are no strays: the launcher merely ended before its ranks.
        """
        count = 0
        if self.stopper is None:
            count = 0 if self.childless() else len(tagged(self.spec["job"]))
            if not count:
                self.reap()
                return 0
            grace = min(1.0, self.spec["grace_seconds"])
            self.stopper = Stopper(self.run, self.spec["job"], grace)
        while self.stopper.step():
            self.reap()
            time.sleep(_STOPPING_POLL_SECONDS)
        self.reap()
        return count

    def childless(self) -> bool:
        """Whether we have no child, which tells that nothing of the job is left.

        What we have started, and all that this has, are our children once their parents are gone,
        for we are their subreaper. Who took over from another supervisor cannot tell.
        """
        return self.child is not None and is_subreaper() and not has_children()

    def collected(self) -> bool:
        """Whether the files that the job has declared are in its run directory, or there are none.

        The first call begins that, in a process of its own.
        """
        if not self.spec.get("artifacts"):
            return True
        if self.collector is None:
            here = os.path.dirname(os.path.abspath(__file__))
            argv = [sys.executable, "-I", "-S", os.path.join(here, "collect.py"), self.run.folder]
            self.collector = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        return self.collector.poll() is not None

    def reap(self) -> None:
        """Collect orphans of the job that became our children (we are their subreaper)."""
        ours = (self.child, self.tracker, self.collector)
        known = {process.pid for process in ours if process is not None}
        with contextlib.suppress(ChildProcessError):
            for _ in range(1024):
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if info is None or info.si_pid in known:
                    return
                os.waitpid(info.si_pid, os.WNOHANG)

    def record(self, record: Json) -> None:
        """Write the exit record."""
        if record["state"] == "failed" and disk_was_full(self.run):
            record["reason"] = f"the disk of the run directory is full; {record['reason']}"
        self.run.write("exit.json", dated(self.run, record))
        self.give_back()

    def give_back(self) -> None:
        """Give back what was set aside for a full disk."""
        for folder in (self.run.folder, self.run.path("ranks")):
            for name in os.listdir(folder):
                if name.endswith(RESERVE):
                    os.unlink(os.path.join(folder, name))

    def end_tracker(self) -> None:
        """Tell the tracker that the job is over; it ends by itself."""
        if self.tracker is not None and self.tracker.stdin is not None:
            self.tracker.stdin.close()


def disk_was_full(run: Run) -> bool:
    """Whether there is hardly any room, or a rank had to use what was set aside for its record."""
    info = os.statvfs(run.folder)
    if info.f_bavail * info.f_frsize < 2 * _RESERVE_BYTES:
        return True
    records = [run.path("ranks", f"{rank}.exit.json") for rank in run.exits()]
    return not all(os.path.exists(record + RESERVE) for record in records)


def _exit_status(status: int) -> int:
    return status if status >= 0 else 128 - status


def world_problem(reports: Mapping[int, Json], spec: Json) -> str | None:
    """Return why the ranks that reported cannot be the world asked for, or ``None`` so far."""
    asked = spec["world"]
    taken = set()
    for _, report in sorted(reports.items()):
        rank = report["rank"]
        if report["world"] != asked:
            return (
                f"asked for {asked} ranks, but rank {rank} was started in a world of "
                f"{report['world']}: the launcher did not start one joint training"
            )
        if not 0 <= rank < asked:
            return f"asked for {asked} ranks, but a rank numbered {rank} reported"
        if report.get("twice") or rank in taken:
            return f"two processes both call themselves rank {rank}"
        taken.add(rank)
    return None


# --- verbs -------------------------------------------------------------------------------------


def contract(spec: Json, run: Run, turn: Json | None = None) -> dict[str, str]:
    """Return the rank contract: what the job's processes are told through their environment.

    `turn` says what one attempt of a job on several nodes differs in: ``attempt``, ``rank`` and
    ``count`` of its nodes, ``head`` (an address) and ``port``.
    """
    turn = turn or {}
    count = turn.get("count", spec["node_count"])
    head = str(turn.get("head", spec["head"]))
    port = turn.get("port") or spec.get("port")
    rank = turn.get("rank", spec["node_rank"])
    if port is None and rank == 0:
        port = free_port(head)
    gpus = spec.get("gpus") or ""
    told = {
        TAG: spec["job"],
        "AIINFRA_NODE_RANK": str(rank),
        "AIINFRA_NODE_COUNT": str(count),
        "AIINFRA_NODE_SLOT": str(spec["node_rank"]),
        "AIINFRA_PROCS": str(spec["procs"]),
        "AIINFRA_ATTEMPT": str(turn.get("attempt", 1)),
        "AIINFRA_HEAD": head,
        "AIINFRA_PORT": str(port),
        "AIINFRA_GPUS": gpus,
        "AIINFRA_RUN_DIR": run.folder,
        "AIINFRA_WORLD_SIZE": str(count * spec["procs"]),
        "AIINFRA_BLOBS": spec["blobs"],
        "AIINFRA_CHECKPOINT_DIR": spec.get("checkpoints") or run.path("checkpoints"),
        "AIINFRA_PYTHON": spec.get("python") or sys.executable,
    }
    if gpus:
        told["CUDA_VISIBLE_DEVICES"] = gpus
    if "AIINFRA_CHECKPOINT_DIR" in spec["env"]:
        del told["AIINFRA_CHECKPOINT_DIR"]  # the user knows a folder that all nodes share
    return told


def _fill(argv: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """Return `argv` with ``${AIINFRA_…}`` replaced by the values of the rank contract."""
    filled = []
    for word in argv:
        for name, value in values.items():
            word = word.replace(f"${{{name}}}", value)  # noqa: PLW2901 - one replacement a name
        filled.append(word)
    return filled


def launch(
    run: Run, spec: Json, secrets: Mapping[str, str], told: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the wrapper with the launcher in it; return its process."""
    argv = ["/bin/sh", "-c", _WRAPPER, "aiinfra", run.path("rc"), *_fill(spec["argv"], told)]
    names = {"AIINFRA_SECRETS": ",".join(sorted(secrets))}
    return _spawn(run, spec, argv, log="launcher.log", told={**secrets, **names, **told})


Launcher = Callable[[Run, Json, Mapping[str, str], Mapping[str, str]], Child]


def launch_tracker(
    run: Run, spec: Json, secrets: Mapping[str, str], told: Mapping[str, str]
) -> subprocess.Popen[bytes] | None:
    """Start the companion that keeps the MLflow run, if one was asked for; return its process.

    It learns from the end of its standard input that the job is over, and it does not carry the
    job's tag: it is to outlive the ranks.
    """
    if not spec.get("tracker"):
        return None
    argv = _fill(spec["tracker"], told)
    told = {**secrets, COMPANION_TAG: spec["job"]}
    return _spawn(run, spec, argv, log="tracker.log", told=told, stdin=subprocess.PIPE)


def _spawn(
    run: Run,
    spec: Json,
    argv: Sequence[str],
    *,
    log: str,
    told: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    output = os.open(run.path("logs", log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=output,
            stderr=output,
            cwd=spec["cwd"],
            env={**os.environ, **spec["env"], **told},
            start_new_session=True,
        )
    finally:
        os.close(output)


def in_gang(spec: Json) -> bool:
    """Whether this node's part of the job is led by a gang: several nodes, or several attempts."""
    return spec.get("node_count", 1) > 1 or bool(spec.get("max_restarts"))


def start(folder: str, secrets: Mapping[str, str], gang: Json | None = None) -> None:
    """Start the job of `folder` unless that was done before; return once it is under way.

    Raises ``OSError`` when the node cannot: nothing is left running then.
    """
    run = Run(folder)
    spec = run.spec
    if spec is None:
        raise FileNotFoundError(errno.ENOENT, f"there is no spec.json in {run.folder}")
    if in_gang(spec) and not os.path.isdir(spec["cwd"]):
        raise NotADirectoryError(errno.ENOENT, f"the working directory {spec['cwd']} is not there")
    if not _begin(run):
        return
    if in_gang(spec):
        detached(run, lambda ready: _join(run, spec, dict(secrets), gang or {}, ready))
    else:
        detached(run, lambda ready: _supervise(run, spec, secrets, ready))


def _begin(run: Run) -> bool:
    """Lay out what a job that runs needs; return whether it is ours to start."""
    try:
        # The directory is the lock: whoever makes it starts the job, however often this is asked.
        os.mkdir(run.path("logs"), 0o700)
    except FileExistsError:
        return False
    os.mkdir(run.path("ranks"), 0o700)
    run.write("begun.json", clock(), durable=False)
    for name in ("exit.json", "stop.json"):
        set_aside(run.path(name))
    return True


def start_here(folder: str, secrets: Mapping[str, str], launcher: Launcher, ready: _Ready) -> None:
    """Start the job of `folder` as its supervisor: this very process, until it is over.

    It is one that :func:`detached` would have made. `launcher` starts the ranks.

    Raises
    ------
    OSError
        The node cannot; nothing is left running then.
    """
    run = Run(folder)
    spec = run.spec
    if spec is None or in_gang(spec):
        raise OSError(errno.EINVAL, f"there is no job of one node and attempt in {run.folder}")
    if _begin(run):
        _detach_files(run)
        _supervise(run, spec, secrets, ready, launcher)
    ready("")


def adopt(folder: str, secrets: Mapping[str, str] | None = None) -> None:
    """Put a new supervisor beside a job whose own is gone. A no-op where one lives, or at the end.

    Any number of processes may adopt at once: the lock lets one of them stay. Without `secrets` a
    job that has some cannot be begun again after a loss.
    """
    run = Run(folder)
    spec = run.spec
    if spec is None or run.json("exit.json") is not None or supervised(run):
        return
    # Of a job that was never started it is this that keeps it from starting after all.
    for name in ("logs", "ranks"):
        os.makedirs(run.path(name), 0o700, exist_ok=True)
    if in_gang(spec) and run.json("gang.json") is not None:
        detached(run, lambda ready: _join(run, spec, secrets, None, ready))
    else:
        detached(run, lambda ready: _supervise(run, spec, None, ready))


def _join(
    run: Run, spec: Json, secrets: Mapping[str, str] | None, given: Json | None, ready: _Ready
) -> None:
    """Run in the detached process, for a job on several nodes or of several attempts."""
    gang = _neighbour("gang")
    with only_one(run, _ADOPT_SECONDS if given is None else _START_SECONDS) as mine:
        if mine:
            gang.begin(run, spec, secrets, given, ready)
        ready("")


def _supervise(
    run: Run,
    spec: Json,
    secrets: Mapping[str, str] | None,
    ready: _Ready,
    launcher: Launcher | None = None,
) -> None:
    """Run in the detached process: hold the lock, start or adopt, report readiness, watch."""
    patience = _ADOPT_SECONDS if secrets is None else _START_SECONDS
    with only_one(run, patience) as mine:
        if not mine:
            ready("")
            return
        me = myself()
        if secrets is None:
            old = run.json("supervisor.json") or {}
            record = {**me, "wrapper": old.get("wrapper"), "adopted": True}
            run.write("supervisor.json", record, durable=False)
            supervisor = Supervisor(run, spec)
        else:
            run.write("supervisor.json", {**me, "wrapper": None}, durable=False)
            supervisor = Supervisor(run, spec)
            told = contract(spec, run)
            child: Child = (launcher or launch)(run, spec, secrets, told)
            supervisor.child = child
            wrapper = identity(child.pid)
            try:
                run.write("supervisor.json", {**me, "wrapper": wrapper}, durable=False)
                supervisor.tracker = launch_tracker(run, spec, secrets, told)
            except OSError:
                # Half a start is no start: take back what runs before saying so.
                while Stopper(run, spec["job"], 0.0).step():
                    time.sleep(_STOPPING_POLL_SECONDS)
                raise
        ready("")
        supervisor.main()


def detached(run: Run, body: Callable[[_Ready], None]) -> None:
    """Run `body` in a process of its own session, with nobody's terminal; wait until it is ready.

    `body` gets a function to call with an empty string once ready, or an error text; an exception
    before that call becomes an ``OSError`` here.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _daemon(run, body, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(pid, 0)
    if answer != "ready":
        number, _, text = answer.partition(" ")
        raise OSError(int(number or errno.EIO), text or "the supervisor could not be started")


def _daemon(run: Run, body: Callable[[_Ready], None], writer: int) -> NoReturn:
    """Never returns."""
    code = 1
    try:
        os.setsid()
        # A handler, not SIG_IGN: what is ignored stays ignored in the ranks, a handler does not.
        # SIGUSR1 as well: it is sent to whom `supervisor.json` names, as soon as it does.
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, ignore)
        if os.fork() != 0:
            os._exit(0)
        _detach_files(run)
        become_subreaper()
        answered: list[bool] = []

        def ready(text: str) -> None:
            if not answered:
                answered.append(True)
                os.write(writer, (text or "ready").encode())
                os.close(writer)

        try:
            body(ready)
            code = 0
        except BaseException as error:  # noqa: BLE001 - the last frame of a daemon: say it, and end
            traceback.print_exc()
            text = getattr(error, "strerror", None) or error
            ready(f"{getattr(error, 'errno', None) or errno.EIO} {text}")
    finally:
        os._exit(code)


def ignore(*_: object) -> None:
    """Take a signal and do nothing."""


def _detach_files(run: Run) -> None:
    """Point stdin at nothing and stdout and stderr at our own log; keep no other descriptor."""
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(run.path("logs", "supervisor.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for descriptor in (null, log):
        if descriptor > 2:  # noqa: PLR2004 - standard error
            os.close(descriptor)


def become_subreaper() -> None:
    """Make orphans of the job our children, so that they are reaped (Linux; prctl(2) option 36)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def is_subreaper() -> bool:
    """Whether orphans among our descendants become our children (prctl(2) option 37)."""
    told = ctypes.c_int(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(37, ctypes.byref(told), 0, 0, 0)
    return bool(told.value)


def has_children() -> bool:
    """Whether this process has any child, dead ones included; they stay what they are."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _start_verb(folder: str) -> int:
    secrets, gang = _given()
    try:
        start(folder, secrets, gang)
    except OSError as error:
        print(json.dumps({"errno": error.errno, "error": error.strerror or str(error)}))
        return 1
    known = Run(folder).json("gang.json") or {}
    print(json.dumps({"started": True, "gang_port": known.get("port")}))
    return 0


def _given() -> tuple[dict[str, str], Json | None]:
    """Return what stands on standard input: secrets, and what a gang needs."""
    text = "" if sys.stdin.isatty() else sys.stdin.read()
    given = json.loads(text) if text.strip() else {}
    gang = given.pop("gang") if isinstance(given.get("gang"), dict) else None
    return given, gang


def main(argv: Sequence[str]) -> int:
    """Run one verb; return the exit status."""
    words = {"start": 1, "status": 1, "kill": 2, "adopt": 1}
    if len(argv) < 2 or len(argv) - 2 != words.get(argv[1]):  # noqa: PLR2004 - program and verb
        print(__doc__, file=sys.stderr)
        return 2
    verb, folder = argv[1], argv[2]
    if verb == "start":
        return _start_verb(folder)
    if verb == "status":
        print(json.dumps(status(folder)))
    elif verb == "kill":
        request_stop(folder, float(argv[3]))
    else:
        adopt(folder, _given()[0] or None)
    return 0


if __name__ == "__main__":
    # What a neighbour imports by this name is this very module, which is compiled once then.
    sys.modules.setdefault("supervise", sys.modules["__main__"])
    sys.exit(main(sys.argv))
