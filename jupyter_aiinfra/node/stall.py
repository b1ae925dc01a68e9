"""Ranks that make no progress: noticed on their node, and their stacks put into their logs.

One file, standard library only, Python 3.8 or newer (and its neighbours ``supervise.py`` and
``step.py``). The supervisor looks every now and then; nobody has to be connected. One verb::

    stall.py dump DIR [WHY]    put the stacks of all ranks of DIR into their logs, now

It prints one JSON object a rank: its number, and which way its stacks were had, if any. py-spy is
asked where it is installed: it reads a process from outside, and sees more. Else the rank is sent
the signal that it named in its report, which has faulthandler write (see ``rank.py``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Mapping, Sequence

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import supervise
    from jupyter_aiinfra.node.step import read_steps
else:  # its neighbours in the bundle
    _HERE = os.path.dirname(os.path.abspath(__file__))
    if _HERE not in sys.path:
        sys.path.insert(0, _HERE)
    import supervise
    from step import read_steps

__all__ = ["RECORD", "StallWatch", "dump", "main"]

RECORD = "stall.json"

# A step that takes long is no stall: so many of them must be missing, too.
_STEPS_MISSED = 10
_PY_SPY_SECONDS = 20.0
_AT_ONCE = 8


class StallWatch:
    """Looks whether any rank of this node makes progress, and has the stacks dumped if none does.

    That is done once a stall. ``stall.json`` is there while one lasts: since when, and when it was
    noticed. A script that never reports a step is never found stalled.

    Parameters
    ----------
    run
        The run directory.
    spec
        What the supervisor is to do. ``stall_seconds`` is how long no rank may make a step, and
        ten of their usual steps at least; ``None`` never looks.
    """

    def __init__(self, run: supervise.Run, spec: Mapping[str, Any]) -> None:
        self._run = run
        self._limit: float | None = spec.get("stall_seconds")
        self._seen: dict[int, tuple[int, float]] = {}
        self._moved: float | None = None
        self._stalled = run.json(RECORD) is not None
        self._dumping: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Look once; it never waits."""
        if self._limit is None:
            return
        if self._dumping is not None and self._dumping.poll() is not None:
            self._dumping = None
        reported = read_steps(self._run.folder)
        # Those of an attempt that is over are not waited for.
        steps = {seat: reported[seat] for seat in _living(self._run) if seat in reported}
        now = time.monotonic()
        at = max((record["step_at"] for record in steps.values()), default=0.0)
        seen = {seat: (record["step"], record["step_at"]) for seat, record in steps.items()}
        moved = any(self._seen.get(seat) != value for seat, value in seen.items())
        if not steps:
            self._moved = None
            self._resume()
        elif self._moved is None:
            # A supervisor that was put beside a running job goes on where the last one was.
            self._moved = now - max(0.0, time.time() - at)
            known = self._run.json(RECORD) or {}
            if known.get("since") != at:
                self._resume()
        elif moved:
            self._moved = now
            self._resume()
        elif not self._stalled and now - self._moved >= self._patience(steps):
            self._stall(at, now - self._moved)
        self._seen = seen

    def _patience(self, steps: Mapping[int, Mapping[str, Any]]) -> float:
        took = sorted(r["step_seconds"] for r in steps.values() if r["step_seconds"] is not None)
        usual = took[len(took) // 2] if took else 0.0
        return max(self._limit or 0.0, _STEPS_MISSED * usual)

    def _stall(self, since: float, seconds: float) -> None:
        self._stalled = True
        tool = self._run.path("aiinfra", "stall.py")
        if not os.path.exists(tool):
            tool = os.path.abspath(__file__)
        why = f"no rank has made a step for {seconds:.0f} s"
        # A full disk, no process to be had: the ranks still need their supervisor.
        with contextlib.suppress(OSError):
            self._run.write(RECORD, {"since": since, "at": time.time()}, durable=False)
        with contextlib.suppress(OSError):
            # A process of its own: py-spy may take seconds, and there is a heartbeat to keep.
            self._dumping = subprocess.Popen(
                [sys.executable, "-I", "-S", tool, "dump", self._run.folder, why],
                stdin=subprocess.DEVNULL,
            )

    def _resume(self) -> None:
        if self._stalled:
            self._stalled = False
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._run.path(RECORD))


# --- stacks ------------------------------------------------------------------------------------


def dump(run_dir: str, why: str = "stacks were asked for") -> list[dict[str, Any]]:
    """Put the stacks of all living ranks into their logs; return how that went, by rank.

    Returns once every rank was asked. ``how`` is ``py-spy``, ``faulthandler`` or ``None``; then
    ``problem`` says why.
    """
    run = supervise.Run(run_dir)
    spec = run.spec or {}
    seats = _living(run)
    tool = _py_spy(spec)
    with ThreadPoolExecutor(_AT_ONCE) as several:
        return list(several.map(lambda seat: _dump_rank(run, seat, seats[seat], tool, why), seats))


def _living(run: supervise.Run) -> dict[int, supervise.Json]:
    """Return the reports of the ranks that still run, by seat: what their files are named by."""
    reports: dict[int, supervise.Json] = {}
    try:
        names = sorted(os.listdir(run.path("ranks")))
    except FileNotFoundError:
        return {}  # nothing was started yet
    for name in names:
        seat = name[: -len(".json")]
        if name.endswith(".json") and seat.isdigit():
            report = run.json("ranks", name)
            if report is not None and _runs(report):
                reports[int(seat)] = report
    return reports


def _runs(report: supervise.Json) -> bool:
    who = supervise.identity(report["pid"])
    return who is not None and who["start"] == report["start"]


def _py_spy(spec: supervise.Json) -> str | None:
    """Return where py-spy is: beside the job's Python, or on the path."""
    argv = spec.get("argv") or [""]
    place = os.path.dirname(argv[0])
    path = os.pathsep.join(
        [
            *([place] if place else []),
            spec.get("env", {}).get("PATH", ""),
            os.environ.get("PATH", ""),
        ]
    )
    return shutil.which("py-spy", path=path)


def _dump_rank(
    run: supervise.Run, seat: int, report: supervise.Json, tool: str | None, why: str
) -> dict[str, Any]:
    log = os.open(run.path("logs", f"rank-{seat}.log"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        text, problem = _stacks_by_py_spy(tool, report["pid"]) if tool else (b"", "no py-spy")
        how: str | None = "py-spy"
        headline = f"aiinfra: {why}; stacks of rank {report['rank']} follow"
        if not text:
            number = report.get("stacks")
            how = "faulthandler" if number and _catches(report["pid"], number) else None
        if how is None:
            problem = f"{problem}, and faulthandler does not listen"
            headline = (
                f"aiinfra: {why}; the stacks of rank {report['rank']} cannot be had: {problem}"
            )
        _append(log, headline.encode() + b"\n" + text)
        if how == "faulthandler" and _runs(report):
            os.kill(report["pid"], report["stacks"])
    except OSError as error:
        how, problem = None, error.strerror or str(error)
    finally:
        os.close(log)
    return {"rank": report["rank"], "how": how, "problem": None if how else problem}


def _stacks_by_py_spy(tool: str, pid: int) -> tuple[bytes, str]:
    """Return the stacks, or nothing and why: it may lack the right to look."""
    try:
        done = subprocess.run(
            [tool, "dump", "--pid", str(pid)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PY_SPY_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return b"", f"py-spy: {error}"
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return b"", f"py-spy: {said[-1] if said else f'status {done.returncode}'}"
    return done.stdout, ""


def _catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal: without one it would end of it."""
    text = supervise.read_text(f"/proc/{pid}/status") or ""
    for line in text.splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _append(log: int, text: bytes) -> None:
    """Write `text` on lines of its own: a progress bar may stand there unfinished."""
    size = os.fstat(log).st_size
    if size and os.pread(log, 1, size - 1) != b"\n":
        text = b"\n" + text
    view = memoryview(text)
    while view:
        view = view[os.write(log, view) :]


def main(argv: Sequence[str]) -> int:
    """Run the verb; return the exit status."""
    if len(argv) not in (3, 4) or argv[1] != "dump":
        print(__doc__, file=sys.stderr)
        return 2
    for answer in dump(*argv[2:]):
        print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
