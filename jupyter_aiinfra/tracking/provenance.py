"""Where a job's code came from: the git state."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from jupyter_aiinfra.tracking.secrecy import host

__all__ = ["git_state"]

_LOG = logging.getLogger(__name__)

_GIT_SECONDS = 2.0


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
