"""Whose a process is: its user, what it runs, and the job and seat of ours that it belongs to.

Standard library only, Python 3.8 and later; sent to nodes. All of it comes from ``/proc`` and is
``None`` where the process has ended, is not for us to see, or is numbered in another namespace.
"""

from __future__ import annotations

import json
import os
import pwd
import re
from typing import Any, Mapping, NamedTuple

__all__ = ["Owner", "Owners", "user_and_command"]

_ANCESTORS = 16
_SURE_SECONDS = 5.0
_MOST_KNOWN = 4096
_COMMAND_CHARACTERS = 80
_INTERPRETER = re.compile(r"^(?:python|pypy|perl|ruby|node|bash|sh|julia|Rscript)[\d.]*$")
_SCRIPT = re.compile(r"\.[A-Za-z]{1,4}$|/")
_SHOWN = b"AIINFRA_JOB=", b"AIINFRA_", b"RANK=", b"LOCAL_RANK=", b"OMPI_COMM_WORLD_", b"PMI_RANK="


class Owner(NamedTuple):
    """Whose a process is."""

    user: str | None = None
    command: str | None = None
    job: str | None = None
    seat: int | None = None


class _Known(NamedTuple):
    until: float
    started: str
    owner: Owner


class Owners:
    """Remembers the owners of processes; a number that is used again is another process."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._known: dict[int, _Known] = {}

    def of(self, pid: int, now: float) -> Owner:
        """Return whose `pid` is; looked up again after some seconds, of a monotonic clock."""
        known = self._known.get(pid)
        if known is not None and now < known.until:
            return known.owner
        stat = self._stat(pid)
        parent, started = (0, "") if stat is None else stat
        owner = Owner() if known is None or known.started != started else known.owner
        # A rank that was forked says a little later which one it is.
        if stat is not None and (owner.user is None or (owner.job and owner.seat is None)):
            user, command = user_and_command(pid, proc=self._proc)
            said = self._said(pid, parent)
            job = said.get("AIINFRA_JOB")
            seat = self._seat(pid, said) if job is not None else None
            owner = Owner(user, command, job, seat)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[pid] = _Known(now + _SURE_SECONDS, started, owner)
        return owner

    def _said(self, pid: int, parent: int) -> dict[str, str]:
        """Return the variables of `pid` that tell of a job, or else those of who started it."""
        said: dict[str, str] = {}
        for _ in range(_ANCESTORS):
            said = self._environ(pid)
            if "AIINFRA_JOB" in said or parent <= 1:
                break
            stat = self._stat(parent)
            pid, parent = parent, stat[0] if stat is not None else 0
        return said

    def _stat(self, pid: int) -> tuple[int, str] | None:
        try:
            with open(f"{self._proc}/{pid}/stat", "rb") as file:
                words = file.read().rpartition(b")")[2].split()
            return int(words[1]), words[19].decode()
        except (OSError, IndexError, ValueError):
            return None

    def _environ(self, pid: int) -> dict[str, str]:
        try:
            with open(f"{self._proc}/{pid}/environ", "rb") as file:
                lines = file.read().split(b"\0")
        except OSError:
            return {}
        texts = [line.decode(errors="replace") for line in lines if line.startswith(_SHOWN)]
        return {name: value for name, _, value in (each.partition("=") for each in texts)}

    def _seat(self, pid: int, said: Mapping[str, str]) -> int | None:
        """Return the seat, as ``rank.py`` computes it, or as a rank that was forked reported it."""
        rank = _number(said, "RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
        local = _number(said, "LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
        slot, node = _number(said, "AIINFRA_NODE_SLOT"), _number(said, "AIINFRA_NODE_RANK")
        procs = _number(said, "AIINFRA_PROCS")
        if rank is not None and (slot or 0) == node:
            return rank
        if None not in {slot, procs, local}:
            return slot * procs + local  # type: ignore[operator]
        return _reported(said.get("AIINFRA_RUN_DIR"), pid)


def _number(said: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        if said.get(name, "").isdigit():
            return int(said[name])
    return None


def _reported(run_dir: str | None, pid: int) -> int | None:
    """Return the seat under which `pid` reported; a forked rank's environment is its parent's."""
    folder = os.path.join(run_dir, "ranks") if run_dir else ""
    try:
        names = os.listdir(folder) if folder else []
    except OSError:
        return None
    for name in names:
        seat, ending = os.path.splitext(name)
        if ending != ".json" or not seat.isdigit():
            continue
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                report: Any = json.load(file)
        except (OSError, ValueError):
            continue
        if isinstance(report, dict) and report.get("pid") == pid:
            return int(seat)
    return None


def user_and_command(
    pid: int, *, proc: str = "/proc", short: bool = False
) -> tuple[str | None, str | None]:
    """Return a process's user and command; `short` is the name that the kernel keeps.

    Otherwise it is the program and, of an interpreter, the script or module. Never the arguments:
    there may be secrets among them.
    """
    folder = f"{proc}/{pid}"
    try:
        number = os.stat(folder).st_uid
        with open(folder + "/comm", encoding="utf-8", errors="replace") as file:
            command = file.read().strip()
        if not short:
            with open(folder + "/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            command = _told(words) or command
    except OSError:
        return None, None
    try:
        return pwd.getpwuid(number).pw_name, command
    except KeyError:
        return str(number), command


def _told(words: list[str]) -> str:
    program = os.path.basename(words[0])
    if _INTERPRETER.match(program):
        for before, word in zip(words, words[1:]):
            if before == "-m":
                program = f"{program} -m {word}"
                break
            if before == "-c" or word == "-c":
                break
            if not word.startswith("-") and _SCRIPT.search(word):
                program = f"{program} {os.path.basename(word)}"
                break
    return program[:_COMMAND_CHARACTERS]
