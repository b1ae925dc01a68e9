"""What of ours is on a node, whether any record knows of it or not, and the end of what none does.

One file, standard library only, Python 3.8 or newer. Ours are the run directories in one folder,
the processes of this user that carry a job's tag and name a run directory in there, and the
supervisors that run from one. Nothing else is ever told of, or ended.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any, Dict, Mapping

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import receive, supervise, transfer
    from jupyter_aiinfra.node.channel import Call
else:  # its neighbours in the payload
    import receive
    import supervise
    import transfer
    from channel import Call

__all__ = ["processes", "reclaim", "survey"]

_Json = Dict[str, Any]

_END_SECONDS = 10.0
_POLL_SECONDS = 0.05
_SUPERVISOR = "aiinfra/supervise.py"


def survey(call: Call) -> _Json:
    """Return ``runs``, with the orders and the state of each, and ``processes`` of ``folder``."""
    folder = transfer.place_of(call.argument("folder", str))
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    runs = []
    for name in names:
        run_dir = os.path.join(folder, name)
        spec = supervise.read_json(os.path.join(run_dir, "spec.json"))
        if spec is not None:
            runs.append(_run(name, run_dir, spec))
    return {"folder": folder, "runs": runs, "processes": processes(folder)}


def _run(name: str, run_dir: str, spec: _Json) -> _Json:
    task = supervise.read_json(os.path.join(run_dir, "task.json")) or {}
    try:
        status = supervise.status(run_dir)
    except (OSError, ValueError, KeyError, TypeError) as error:  # damaged
        status = {"state": "unknown", "reason": f"{type(error).__name__}: {error}"}
    told = ("state", "supervised", "never", "gone", "started_at", "ended_at")
    return {
        "name": name,
        "run_dir": run_dir,
        "spec": spec,
        "fetch": task.get("fetch") or [],
        "status": {key: status[key] for key in told if key in status},
    }


def processes(folder: str, run_dir: str | None = None) -> list[_Json]:
    """Return the living processes of run directories in `folder` (of one of them, if given)."""
    root = os.path.normpath(folder) + "/"
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        pid = int(entry)
        try:
            if os.stat(f"/proc/{entry}").st_uid != os.getuid():
                continue
            known = _process(pid, root)
            who = supervise.identity(pid) if known is not None else None
        except OSError:  # gone
            continue
        if known is not None and who is not None and run_dir in (None, known["run_dir"]):
            found.append({**who, **known})
    return found


def _process(pid: int, root: str) -> _Json | None:
    with open(f"/proc/{pid}/environ", "rb") as file:
        variables = _variables(file.read())
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        name = file.read().strip()
    job, run_dir = variables.get(supervise.TAG), variables.get(supervise.RUN_TAG, "")
    if job and _is_below(run_dir, root):
        return {"job": job, "run_dir": run_dir, "name": name, "role": "rank"}
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().decode(errors="replace").split("\0")
    for word in words:
        run_dir = word[: -len(_SUPERVISOR) - 1]
        if word.endswith("/" + _SUPERVISOR) and _is_below(run_dir, root):
            job = os.path.basename(run_dir).partition("@")[0]
            return {"job": job, "run_dir": run_dir, "name": name, "role": "supervisor"}
    return None


def _is_below(run_dir: str, root: str) -> bool:
    """Whether this is the path of a run directory just below `root`, there or not."""
    rest = run_dir[len(root) :] if run_dir.startswith(root) else ""
    return bool(rest) and "/" not in rest and rest not in (".", "..")


def _variables(environ: bytes) -> Mapping[str, str]:
    found = {}
    for variable in environ.split(b"\0"):
        name, _, value = variable.decode(errors="replace").partition("=")
        if name in (supervise.TAG, supervise.RUN_TAG):
            found[name] = value
    return found


def reclaim(call: Call) -> _Json:
    """Kill what runs for the run directory ``name`` in ``folder``; ``left`` are who still live.

    A supervisor goes first: it would take the end of its ranks for a failure of the job.
    """
    folder, name = transfer.place_of(call.argument("folder", str)), call.argument("name", str)
    if len(receive.safe_parts(name)) != 1:
        raise receive.Refused(f"{name!r} is no run directory")
    run_dir = os.path.join(folder, name)
    deadline = time.monotonic() + _END_SECONDS
    ended: set[int] = set()
    while True:
        living = processes(folder, run_dir)
        if not living or time.monotonic() > deadline or call.cancelled:
            return {"ended": len(ended), "left": [each["pid"] for each in living]}
        for each in sorted(living, key=lambda one: one["role"] != "supervisor"):
            if supervise.send(each, signal.SIGKILL):
                ended.add(each["pid"])
        time.sleep(_POLL_SECONDS)
