"""Looking into a run directory on its machine, and never out of it.

What is in there was written by the user's job, and the path is what somebody sent: both may be
anything. A file is opened part by part, and no link is followed but those that stay within.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING, Iterator, NamedTuple, Sequence

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import receive
else:  # its neighbour in the payload
    import receive

__all__ = ["Found", "Missing", "list_files", "open_below", "open_file", "open_plain"]

# What only supervisor and ranks need of a run directory (`docs/run-directory.md`).
_INTERNAL = frozenset(
    ("aiinfra", "go", "heartbeat", "ranks", "rc", "rc.new", "supervisor.json", "supervisor.lock")
)
_TEMPORARY = re.compile(r"\.json(\.\d+\.new|\.reserve)\Z")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A named pipe would keep who opens it waiting for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Missing(Exception):
    """No such file that a person may want; `path` is ``None`` where the whole folder is gone."""

    def __init__(self, path: str | None) -> None:
        super().__init__(
            "the run directory of this job is gone"
            if path is None
            else f"no file {path!r} in the run directory"
        )
        self.path = path


class Found(NamedTuple):
    """A file below a run directory; `path` is relative to it, with slashes."""

    path: str
    size_bytes: int
    modified_at: float


def list_files(run_dir: str, *, limit: int) -> list[Found]:
    """Return the first `limit` files below `run_dir` that a person may want, by path.

    Raises
    ------
    Missing
        There is no such folder.
    """
    root = _root(run_dir)
    found: list[Found] = []
    for path in _walk(root):
        if len(found) >= limit:
            break
        try:
            descriptor = _open_within(root, path)
        except (OSError, Missing):  # gone since, a link that leads out, or not ours to read
            continue
        try:
            found.append(_described(path, descriptor))
        finally:
            os.close(descriptor)
    return found


def open_file(run_dir: str, path: str) -> tuple[int, Found]:
    """Open the file `path` below `run_dir`; the caller closes the descriptor.

    Raises
    ------
    receive.Refused
        `path` is absolute, empty, or has a part that is none.
    Missing
        No such file that a person may want; also where the path leads out by a link.
    """
    receive.safe_parts(path)
    root = _root(run_dir)
    try:
        descriptor = _open_within(root, path)
    except (OSError, ValueError) as error:  # ValueError: characters no file name can have
        raise Missing(path) from error
    return descriptor, _described(path, descriptor)


def open_plain(path: str) -> int:
    """Open a file that only a supervisor should have made, and return its descriptor.

    Raises
    ------
    FileNotFoundError
        It is not there.
    Missing
        It, or the folder it is in, is something else, which the job has put there: a link, a pipe.
    """
    folder, name = os.path.split(path)
    return open_below(folder, [name])


def open_below(folder: str, parts: Sequence[str]) -> int:
    """Open the plain file at `parts` below `folder`, itself no link, and return its descriptor.

    Raises
    ------
    FileNotFoundError
        It is not there.
    Missing
        It, or a folder on the way, is something else: a link, a pipe.
    """
    *folders, name = parts
    try:
        descriptor = _open_parts(folder, folders, name)
    except OSError as error:
        # A link; no folder; a socket or a device that cannot be opened.
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
            raise Missing(name) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Missing(name)
    return descriptor


def _open_parts(root: str, folders: Sequence[str], name: str) -> int:
    at = os.open(root, _FOLDER)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        return os.open(name, _FILE, dir_fd=at)
    finally:
        os.close(at)


def _root(run_dir: str) -> str:
    root = os.path.realpath(run_dir)
    if not os.path.isdir(root):
        raise Missing(None)
    return root


def _walk(root: str) -> Iterator[str]:
    """Yield the paths below `root` of what is no folder, sorted part by part."""
    waiting = [("", True)]
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            yield path
            continue
        try:
            with os.scandir(os.path.join(root, path)) as entries:
                below = sorted((each.name, each.is_dir(follow_symlinks=False)) for each in entries)
        except OSError:  # gone since, or not ours to read
            continue
        inside = [(f"{path}/{name}" if path else name, folder) for name, folder in below]
        waiting += reversed([each for each in inside if _wanted(each[0])])


def _wanted(path: str) -> bool:
    parts = path.split("/")
    # A name that is no text cannot be said to a browser, nor asked for by one.
    is_text = not any("\ud800" <= character <= "\udfff" for character in path)
    internal = parts[0] in _INTERNAL or "__pycache__" in parts
    return is_text and not internal and not _TEMPORARY.search(path)


def _open_within(root: str, path: str) -> int:
    """Open the plain file that `path` is, or raise OSError or Missing.

    Links are resolved first; what they lead to is opened as what it then is, so that one put there
    in between is refused.
    """
    if not _wanted(path):
        raise Missing(path)
    target = os.path.realpath(os.path.join(root, path))
    inside = os.path.relpath(target, root)
    if not target.startswith(root.rstrip("/") + "/") or not _wanted(inside):
        raise Missing(path)
    *folders, name = inside.split("/")
    descriptor = _open_parts(root, folders, name)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Missing(path)
    return descriptor


def _described(path: str, descriptor: int) -> Found:
    status = os.fstat(descriptor)
    return Found(path, status.st_size, status.st_mtime)
