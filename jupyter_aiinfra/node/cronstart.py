"""What a node's own cron runs: starts the jobs of a schedule with none of us there.

One file, standard library only, Python 3.8 or newer. It lies in a folder of its schedule, beside
what the schedule runs; the last line of a crontab that names that folder wakes it every minute.
Verbs::

    cronstart.py install   read orders from standard input, keep them, have cron wake us
    cronstart.py remove    have cron wake us no more; what runs goes on
    cronstart.py report    print what has become of slots after the event number on standard input
    cronstart.py wake      start what is due

``current.json`` holds the orders in force, ``vN/`` the files of version N, ``state.json`` how far
slots are decided and what waits, and ``events.jsonl`` what has become of each slot, numbered. A
slot is decided by one process at a time, and the id of its job follows from schedule and slot: who
goes on after a death starts no second one. Run directories are those of any job.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Iterator, Sequence

__all__ = [
    "LATE_SECONDS",
    "Json",
    "Refused",
    "crontab_with",
    "crontab_without",
    "job_id",
    "look",
    "main",
    "slots_between",
]

Json = Dict[str, Any]

LATE_SECONDS = 90.0
_MARK = "# jupyter-aiinfra "
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_MOST_WAITING = 1000
_MOST_AT_ONCE = 1000
_KEPT_EVENTS = 500
_MINUTE = 60.0
_START_SECONDS = 60
# Of the login that brought the orders, what cron does not give: there programs are found.
_ENVIRON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


class Refused(Exception):
    """It cannot be done here; the sentence says why."""


# --- the crontab -------------------------------------------------------------------------------


def crontab_with(text: str, schedule: str, command: str) -> str:
    """Return a crontab in which cron runs a command every minute for a schedule; pure.

    All lines but that of the schedule itself stay as they are.
    """
    kept = crontab_without(text, schedule)
    if kept and not kept.endswith("\n"):
        kept += "\n"
    # In a crontab a percent sign ends the command.
    return kept + f"* * * * * {command.replace('%', chr(92) + '%')} {_MARK}{schedule}\n"


def crontab_without(text: str, schedule: str) -> str:
    """Return a crontab without the line of a schedule; all others stay as they are. Pure."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not _is_of(line, schedule))


def _is_of(line: str, schedule: str) -> bool:
    return line.rstrip("\n").endswith(f" {_MARK}{schedule}")


def _crontab(*arguments: str, given: str | None = None) -> str:
    program = shutil.which("crontab", path=os.environ.get("PATH", os.defpath) + ":/usr/bin")
    if program is None:
        raise Refused("there is no crontab on this machine: install cron")
    done = subprocess.run(
        [program, *arguments],
        input=given or "",
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
    # Who has none yet is told so, with status 1.
    if done.returncode and not (arguments == ("-l",) and "no crontab" in done.stderr.lower()):
        raise Refused(f"crontab: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout if not done.returncode else ""


def _change_crontab(folder: str, change: Callable[[str], str]) -> None:
    with _locked(os.path.join(os.path.dirname(folder), "crontab.lock")):
        before = _crontab("-l")
        after = change(before)
        if after != before:
            _crontab("-", given=after)


# --- files -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, after a power cut as well."""
    made = f"{path}.new"
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(made, path)


def _write_json(path: str, value: Any) -> None:
    _write(path, json.dumps(value, sort_keys=True).encode() + b"\n")


def _read_json(path: str) -> Json | None:
    try:
        with open(path, encoding="utf-8") as file:
            found: Json = json.load(file)
    except FileNotFoundError:
        return None
    return found


def _events(folder: str) -> list[Json]:
    try:
        with open(os.path.join(folder, "events.jsonl"), encoding="utf-8") as file:
            # A death in the middle of a line leaves a part of one; it is said again then.
            lines = [line for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.strip()]


def _tell(folder: str, **event: Any) -> None:
    path = os.path.join(folder, "events.jsonl")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8192))
        tail = file.read()
        end = tail.rfind(b"\n") + 1
        # Half a line of one who died: what it was to tell is told again.
        file.truncate(size - (len(tail) - end))
        number = json.loads(tail[:end].splitlines()[-1])["n"] + 1 if end else 1
        line = json.dumps({"n": number, "at": time.time(), **event}, sort_keys=True)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


# --- slots -------------------------------------------------------------------------------------


def slots_between(
    segments: Sequence[Sequence[float]], after: float, until: float, most: int = _MOST_AT_ONCE
) -> list[float]:
    """Return the slots after one moment up to and with another, at most so many.

    A segment is its first slot, the seconds from each to the next, and how many there are.
    """
    found: list[float] = []
    for first, step, count in segments:
        if first + step * (count - 1) <= after:
            continue
        number = 0 if first > after else int((after - first) // step) + 1
        while number < count and len(found) < most:
            slot = first + step * number
            if slot > until:
                return found
            if slot > after:
                found.append(slot)
            number += 1
    return found


def job_id(schedule: str, slot: float) -> str:
    """Return the id of the job of a slot: as all are, sorted by time, and always the same."""
    seconds = int(slot)
    head = "".join(_ALPHABET[(seconds >> shift) & 31] for shift in range(30, -1, -5))
    digest = hashlib.sha256(f"{schedule}/{slot!r}".encode()).digest()
    return head + "".join(_ALPHABET[byte & 31] for byte in digest[:5])


def look(folder: str, now: float) -> None:
    """Decide about the slots that have come, and start what may begin. The caller has the lock."""
    orders = _read_json(os.path.join(folder, "current.json"))
    if orders is None:
        return
    path = os.path.join(folder, "state.json")
    state = _read_json(path) or {"decided": orders["since"], "waiting": [], "active": []}
    state["woke_at"] = now
    # A clock that was put back decides nothing until it is where it was.
    due = slots_between(orders["segments"], state["decided"], now)
    if state["active"]:
        state["active"] = [each for each in state["active"] if _is_active(folder, orders, each)]
    for slot, queue in _caught_up(folder, orders, due, now):
        _admit(folder, orders, state, slot, queue=queue)
    state["decided"] = max(state["decided"], due[-1] if len(due) >= _MOST_AT_ONCE else now)
    _write_json(path, state)
    places = orders["places"]
    while state["waiting"] and len(state["active"]) < places:
        slot, version = state["waiting"][0]
        started = _start(folder, orders, slot, version)
        # Written down only now: who dies before comes to it again, and to the same job.
        del state["waiting"][0]
        if started is not None:
            state["active"].append(started)
        _write_json(path, state)


def _caught_up(
    folder: str, orders: Json, due: list[float], now: float
) -> Iterator[tuple[float, bool]]:
    """Yield the slots that are to run, each with whether it waits in any case; tell the others."""
    late = [slot for slot in due if slot <= now - LATE_SECONDS]
    on_time = due[len(late) :]
    policy, window = orders["catch_up"], orders["window_seconds"]
    missed, again = late, []
    why = "cron was not there, and missed slots are not caught up"
    if policy != "none" and late:
        oldest = now - max(window, LATE_SECONDS) if window is not None else late[0]
        young = [slot for slot in late if slot >= oldest]
        why = "older than what is caught up"
        if policy == "last":
            young = [] if on_time else young[-1:]
            why = "cron was not there, and only the newest slot is caught up"
        again = young
        missed = [slot for slot in late if slot not in young]
    if missed:
        last, count = missed[-1], len(missed)
        _tell(folder, what="missed", slot=missed[0], last_slot=last, slots=count, reason=why)
    yield from ((slot, policy == "all") for slot in again)
    yield from ((slot, False) for slot in on_time)


def _admit(folder: str, orders: Json, state: Json, slot: float, *, queue: bool) -> None:
    busy = len(state["waiting"]) + len(state["active"])
    if busy >= orders["places"] and orders["overlap"] == "skip" and not queue:
        reason = f"job {state['active'][0]['job']} is not over" if state["active"] else "one waits"
        _tell(folder, what="skipped", slot=slot, version=orders["version"], reason=reason)
    elif len(state["waiting"]) >= _MOST_WAITING:
        reason = f"{_MOST_WAITING} runs wait already"
        _tell(folder, what="skipped", slot=slot, version=orders["version"], reason=reason)
    else:
        state["waiting"].append([slot, orders["version"]])


# --- jobs --------------------------------------------------------------------------------------


def _supervise(folder: str, version: int) -> Any:
    """Return the supervisor's module, as it lies among the files of a version."""
    place = os.path.join(folder, f"v{version}", "files", "aiinfra")
    if place not in sys.path:
        sys.path.insert(0, place)
    return importlib.import_module("supervise")


def _is_active(folder: str, orders: Json, job: Json) -> bool:
    status = _supervise(folder, orders["version"]).status(job["run_dir"])
    return status["state"] in ("starting", "running")


def _start(folder: str, orders: Json, slot: float, version: int) -> Json | None:
    """Start the job of a slot, or tell why it cannot be; again is no error."""
    job = job_id(orders["schedule"], slot)
    try:
        run_dir = _lay_out(folder, orders, job, version)
        _begin(orders, run_dir)
    except (OSError, Refused) as error:
        # Not what takes too long: it may have begun, so that it stays first and is begun again.
        _tell(folder, what="failed", slot=slot, version=version, reason=str(error))
        return None
    _tell(folder, what="started", slot=slot, version=version, job=job)
    return {"job": job, "run_dir": run_dir}


def _lay_out(folder: str, orders: Json, job: str, version: int) -> str:
    """Make the run directory of a job; leave one that is there as it is."""
    place = os.path.join(folder, f"v{version}")
    run_dir: str = orders["run_dir"].replace(orders["placeholder"], job)
    if os.path.exists(os.path.join(run_dir, "spec.json")):
        return run_dir
    os.makedirs(os.path.dirname(run_dir), mode=0o700, exist_ok=True)
    for left in (run_dir, f"{run_dir}.new"):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(os.path.join(place, "files"), f"{run_dir}.new", symlinks=True)
    os.rename(f"{run_dir}.new", run_dir)
    spec = _read_json(os.path.join(place, "spec.json"))
    # With its orders it is a run directory: they come last, and whole.
    _write_json(os.path.join(run_dir, "spec.json"), _named(spec, orders["placeholder"], job))
    return run_dir


def _named(value: Any, placeholder: str, job: str) -> Any:
    """Return orders with the id of their job in the place of another."""
    if isinstance(value, str):
        return value.replace(placeholder, job)
    if isinstance(value, list):
        return [_named(each, placeholder, job) for each in value]
    if isinstance(value, dict):
        return {name: _named(each, placeholder, job) for name, each in value.items()}
    return value


def _begin(orders: Json, run_dir: str) -> None:
    program = os.path.join(run_dir, "aiinfra", "supervise.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, "start", run_dir],
        input=b"{}",
        capture_output=True,
        env={**os.environ, **orders["environ"]},
        timeout=_START_SECONDS,
        check=False,
    )
    if done.returncode:
        try:
            said = json.loads(done.stdout)["error"]
        except (ValueError, KeyError):
            said = done.stderr.decode(errors="replace").strip() or "no answer"
        shutil.rmtree(run_dir, ignore_errors=True)
        raise Refused(f"the job could not be started: {said}")


# --- verbs -------------------------------------------------------------------------------------


def _install(folder: str, given: Json) -> None:
    orders = given["orders"]
    current = os.path.join(folder, "current.json")
    with _locked(os.path.join(folder, "lock")):
        known = _read_json(current)
        if known is not None and known["revision"] > orders["revision"]:
            return  # somebody else has brought newer ones
        look(folder, time.time())
        place = os.path.join(folder, f"v{orders['version']}")
        if not os.path.exists(os.path.join(place, "spec.json")):
            _unpack(place, given)
        orders["installed_at"] = time.time()
        orders["environ"] = {name: os.environ[name] for name in _ENVIRON if name in os.environ}
        path = os.path.join(folder, "state.json")
        state = _read_json(path) or {"decided": 0.0, "waiting": [], "active": []}
        # While it was not here, nothing was due here.
        state["decided"] = max(state["decided"], orders["since"])
        _write_json(path, state)
        _write_json(current, orders)
    program = os.path.join(folder, os.path.basename(__file__))
    words = [sys.executable, "-I", "-S", program, "wake"]
    command = " ".join(shlex.quote(word) for word in words)
    _change_crontab(folder, lambda text: crontab_with(text, orders["schedule"], command))


def _unpack(place: str, given: Json) -> None:
    made = f"{place}.new"
    shutil.rmtree(made, ignore_errors=True)
    for path, data in given["files"].items():
        target = os.path.join(made, "files", path)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        _write(target, base64.b64decode(data))
    _write_json(os.path.join(made, "spec.json"), given["spec"])
    _write_json(os.path.join(made, "job.json"), given["job"])
    shutil.rmtree(place, ignore_errors=True)
    os.rename(made, place)


def _remove(folder: str, given: Json) -> None:
    _change_crontab(folder, lambda text: crontab_without(text, given["schedule"]))
    with _locked(os.path.join(folder, "lock")):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, "current.json"))
        path = os.path.join(folder, "state.json")
        state = _read_json(path)
        if state is None:
            return
        for slot, version in state["waiting"]:
            reason = "the schedule was taken off the node before it began"
            _tell(folder, what="skipped", slot=slot, version=version, reason=reason)
        _write_json(path, {**state, "waiting": []})


def _report(folder: str, given: Json) -> Json:
    """Return what has become of slots since; what was told before is let go of."""
    with _locked(os.path.join(folder, "lock")):
        events = _events(folder)
        new = [event for event in events if event["n"] > given["after"]]
        if len(events) > _KEPT_EVENTS + len(new):
            lines = [json.dumps(event, sort_keys=True) for event in events[-len(new) - 1 :]]
            _write(os.path.join(folder, "events.jsonl"), "\n".join([*lines, ""]).encode())
        state = _read_json(os.path.join(folder, "state.json")) or {}
        orders = _read_json(os.path.join(folder, "current.json")) or {}
        versions = {event["version"] for event in new if "version" in event}
        _clear(
            folder, {*versions, orders.get("version"), *(n for _, n in state.get("waiting", ()))}
        )
    jobs = {str(n): _read_json(os.path.join(folder, f"v{n}", "job.json")) for n in versions}
    return {
        "events": new,
        "jobs": jobs,
        "now": time.time(),
        "woke_at": state.get("woke_at"),
        "version": orders.get("version"),
        "revision": orders.get("revision"),
        "since": orders.get("since"),
        "until": orders.get("until"),
        "installed_at": orders.get("installed_at"),
    }


def _clear(folder: str, wanted: set[Any]) -> None:
    """Remove the files of versions that nobody needs any more."""
    for name in os.listdir(folder):
        if name[:1] == "v" and name[1:].isdigit() and int(name[1:]) not in wanted:
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _wake(folder: str) -> None:
    """Start what is due until this minute is over: then cron wakes another."""
    until = (time.time() // _MINUTE + 1) * _MINUTE
    while True:
        with _locked(os.path.join(folder, "lock")):
            now = time.time()
            look(folder, now)
            orders = _read_json(os.path.join(folder, "current.json"))
        coming = slots_between(orders["segments"], now, until, 1) if orders else []
        if not coming or coming[0] >= until:
            return
        # Others may change something meanwhile: what is due then is read anew.
        time.sleep(max(0.0, coming[0] - time.time()))


def main(argv: Sequence[str]) -> int:
    """Do what the verb says; print one JSON object. 1 where it cannot be done, which is said."""
    folder = os.path.dirname(os.path.abspath(__file__))
    os.umask(0o077)
    verb = "".join(argv[1:])
    try:
        if verb == "wake":
            _wake(folder)
            return 0
        given = json.load(sys.stdin)
        if verb in _VERBS:
            _VERBS[verb](folder, given)
        answer = _report(folder, given)
    except (OSError, Refused, subprocess.SubprocessError) as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(answer))
    return 0


_VERBS: Any = {"install": _install, "remove": _remove}

if __name__ == "__main__":
    sys.exit(main(sys.argv))
