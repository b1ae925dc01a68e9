"""Where a job's code came from, and what was installed: the git state and the environment lock."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from jupyter_aiinfra.node import track
from jupyter_aiinfra.tracking.secrecy import host

__all__ = ["environment_lock", "git_state"]

_LOG = logging.getLogger(__name__)

_GIT_SECONDS = 2.0
_LOCK_SECONDS = 30.0


def git_state(
    folder: str | Path, *, run: Callable[[Sequence[str]], str | None] | None = None
) -> dict[str, str]:
    """Return ``commit``, ``branch``, ``dirty`` and ``remote`` of the repository around `folder`.

    What is not known is left out; outside a repository, without git, or when git takes too long
    that is everything. ``dirty`` is ``"true"`` when a tracked file was changed. Never fails.

    Parameters
    ----------
    folder
        Where to look.
    run
        Returns what git prints when given these arguments, ``None`` where it fails; for tests.
    """
    run = functools.partial(_git, folder) if run is None else run
    status = run(["status", "--porcelain=v2", "--branch", "--untracked-files=no"])
    if status is None:
        # A huge or slow work tree: the commit alone is quick.
        commit = (run(["rev-parse", "HEAD"]) or "").strip()
        return {"commit": commit} if commit else {}
    state = _parse_status(status)
    remote = (run(["config", "--get", "remote.origin.url"]) or "").strip()
    if remote:
        state["remote"] = _public_remote(remote)
    return state


def _parse_status(text: str) -> dict[str, str]:
    state = {"dirty": "false"}
    for line in text.splitlines():
        if line.startswith("# branch.oid ") and "(initial)" not in line:
            state["commit"] = line.split(" ", 2)[2]
        elif line.startswith("# branch.head ") and "(detached)" not in line:
            state["branch"] = line.split(" ", 2)[2]
        elif not line.startswith("#"):
            state["dirty"] = "true"
    return state


def _public_remote(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        return url  # git@host:path, or a folder: there is no room for a password
    user = f"{parts.username}@" if parts.scheme == "ssh" and parts.username else ""
    return urlunsplit(parts._replace(netloc=user + host(parts), query="", fragment=""))


def _git(folder: str | Path, arguments: Sequence[str]) -> str | None:
    # A repository's own settings may name a program to run as its file system monitor.
    argv = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments]
    environment = {
        **os.environ,
        "GIT_OPTIONAL_LOCKS": "0",  # to look must not hinder the user's own git
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    return _output(argv, seconds=_GIT_SECONDS, environment=environment)


def _output(
    argv: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None
) -> str | None:
    """Return what a short-lived program prints, or ``None`` where it fails."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=seconds,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.debug("%s: %s", argv[0], error)
        return None
    return done.stdout.decode("utf-8", errors="replace")


def environment_lock(python: str | None = None) -> str:
    """Return what is installed in a Python as sorted ``name==version`` lines.

    For this process's own Python (the default) the answer is kept until something is installed or
    removed; another one is started to tell, which takes a moment.
    """
    if python is None or python == sys.executable:
        return _lock_here(_sys_path_stamp())
    text = _output([python, track.__file__, "--lock"], seconds=_LOCK_SECONDS)
    return f"# {python} did not tell what is installed\n" if text is None else text


@functools.lru_cache(maxsize=1)
def _lock_here(stamp: tuple[tuple[str, int], ...]) -> str:
    _LOG.debug("reading the packages of %d folders", len(stamp))
    return track.environment_lock()


def _sys_path_stamp() -> tuple[tuple[str, int], ...]:
    """Return what changes when a package comes or goes: the times of the folders it lies in."""
    folders = (Path(entry) for entry in sys.path if entry)
    return tuple((str(path), path.stat().st_mtime_ns) for path in folders if path.exists())
