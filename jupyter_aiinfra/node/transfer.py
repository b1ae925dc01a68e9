"""Files to and from a node, in pieces, gone on with where they were cut, checked at the end.

What comes is written to ``NAME.part`` and gets its name when it is whole and its digest is right.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import browse, frames, receive
    from jupyter_aiinfra.node.channel import Call, Cancelled, Refusal
else:  # its neighbours in the payload
    import browse
    import frames
    import receive
    from channel import Call, Cancelled, Refusal

__all__ = ["get", "look", "open_file", "place_of", "put", "take"]

_PART = ".part"
_READ_BYTES = 1 << 20
_LINE_BYTES = 1 << 12


def place_of(text: str) -> str:
    """Return an absolute path; one that is not is meant from the home folder."""
    if not text or "\0" in text:
        raise Refusal("usage", f"{text!r} is no path", hint="name a file on the node")
    home = os.path.expanduser("~")
    return os.path.normpath(os.path.join(home, os.path.expanduser(text)))


def look(call: Call) -> dict[str, Any]:
    """Return what is at ``path``: ``kind`` (``null`` for nothing), size, time; and the free bytes.

    ``part_bytes`` is how much of an unfinished transfer to this name is there.
    """
    path = place_of(call.argument("path", str))
    answer: dict[str, Any] = {"path": path, "kind": None, "size_bytes": None, "modified_at": None}
    try:
        status = os.stat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _refusal(path, error) from error
    else:
        kind = "file" if stat.S_ISREG(status.st_mode) else "other"
        answer["kind"] = "folder" if stat.S_ISDIR(status.st_mode) else kind
        answer["size_bytes"], answer["modified_at"] = status.st_size, status.st_mtime
    try:
        answer["part_bytes"] = os.lstat(path + _PART).st_size
    except OSError:
        answer["part_bytes"] = 0
    answer["free_bytes"] = _free_bytes(path)
    return answer


def _free_bytes(path: str) -> int:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


# --- to the node ---------------------------------------------------------------------------------


def put(call: Call) -> None:
    """Take in a file: arguments ``path``, ``size``, ``mode``, ``fresh`` (forget what is there).

    ``modified_at``, if given, is the time it gets. The head has ``offset``, where to go on from;
    the client then sends the rest, and at the end ``sha256`` of the whole.
    """
    path = place_of(call.argument("path", str))
    size = call.argument("size", int)
    mode = call.argument("mode", int, 0o600) & 0o777
    if os.path.isdir(path):
        raise Refusal("usage", f"{path} is a folder", hint="name the file to write")
    try:
        handle = os.open(path + _PART, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        _take_in(call, handle, path, size, mode)
    except OSError as error:
        if error.errno in receive.FULL:
            os.unlink(path + _PART)
        raise _refusal(path, error) from error
    finally:
        os.close(handle)


def _take_in(call: Call, handle: int, path: str, size: int, mode: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            text = f"somebody else is writing {path} just now"
            raise Refusal("conflict", text, hint="wait for that to end") from error
        # Without locks (some network file systems) the digest still tells what went wrong.
    have = os.fstat(handle).st_size
    if have > size or call.flag("fresh"):
        os.ftruncate(handle, 0)
        have = 0
    free = _free_bytes(path)
    if free < size - have:
        os.unlink(path + _PART)
        raise Refusal("full", f"{path} needs {size - have} bytes, and {free} are free there")
    sha = hashlib.sha256()
    _hash_file(call, handle, have, sha)
    call.head({"offset": have})
    os.lseek(handle, have, os.SEEK_SET)
    data = call.take()
    while data is not None:
        sha.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        have += len(data)
        data = call.take()
    if have != size or sha.hexdigest() != call.eof.get("sha256"):
        os.unlink(path + _PART)
        raise Refusal("damaged", f"what came for {path} has another digest", hint="send it again")
    os.fchmod(handle, mode)
    modified_at = call.argument("modified_at", (int, float), -1.0)
    if modified_at >= 0:
        os.utime(handle, (modified_at, modified_at))
    os.fsync(handle)
    os.replace(path + _PART, path)
    with contextlib.suppress(OSError):  # not every file system can
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    call.end({"path": path, "size_bytes": size})


def take(call: Call) -> None:
    """Take in a bundle: arguments ``blobs``, ``run_dir``; then what ``receive.take`` reads.

    The head is empty, and says that the client may send. The end has what is still missing.
    """
    blobs = place_of(call.argument("blobs", str))
    run_dir = place_of(call.argument("run_dir", str))
    call.head({})
    try:
        answer = receive.take(_Taken(call), blobs, run_dir)
    except receive.Full as full:
        text = f"no room in {full.folder}: {full.free_bytes:,} bytes are free, "
        text += f"{full.needed_bytes:,} are needed"
        raise Refusal("full", text, hint="free some space there") from full
    except (OSError, EOFError, ValueError) as error:
        raise Refusal("pool", str(error), hint="look at that folder there") from error
    call.end(answer)


class _Taken:
    """What the client sends for a request, as a file, and without a copy of it."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._left = memoryview(b"")

    def read1(self, limit: int) -> memoryview:
        """Return what comes next, `limit` bytes at most; it is there until the next call."""
        self._fetch()
        piece, self._left = self._left[:limit], self._left[limit:]
        return piece

    def readline(self) -> bytes:
        """Return what comes until the end of a line, which is part of it."""
        line = bytearray()
        while self._fetch():
            text = bytes(self._left[:_LINE_BYTES])
            end = text.find(b"\n") + 1
            line += text[: end or None]
            self._left = self._left[end or len(text) :]
            if end:
                break
        return bytes(line)

    def _fetch(self) -> bool:
        """Return whether there is something to read; wait for it."""
        if not self._left:
            self._left = memoryview(self._call.take() or b"")
        return bool(self._left)


def _hash_file(call: Call, handle: int, size: int, sha: Any) -> None:
    at = 0
    while at < size:
        if call.cancelled:
            raise Cancelled
        data = os.pread(handle, min(_READ_BYTES, size - at), at)
        if not data:
            raise Refusal("damaged", "the file became shorter while it was read")
        sha.update(data)
        at += len(data)


# --- from the node -------------------------------------------------------------------------------


def get(call: Call) -> None:
    """Give a file: arguments ``path``, ``offset``.

    The head has ``size_bytes``, ``modified_at``, ``mode``; the end has ``sha256`` of the whole, the
    part before the offset too.
    """
    path = place_of(call.argument("path", str))
    offset = call.argument("offset", int, 0)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Refusal("usage", f"{path} is no plain file", hint="name a file")
        if not 0 <= offset <= status.st_size:
            raise Refusal("damaged", f"{path} has {status.st_size} bytes, not {offset} and more")
        call.head(
            {
                "path": path,
                "size_bytes": status.st_size,
                "modified_at": status.st_mtime,
                "mode": stat.S_IMODE(status.st_mode),
            }
        )
        sha = hashlib.sha256()
        _hash_file(call, handle, offset, sha)
        _send(call, handle, offset, status.st_size, sha)
        call.end({"sha256": sha.hexdigest()})
    finally:
        os.close(handle)


def open_file(call: Call) -> None:
    """Give a file of a run directory, as ``files`` lists it: ``run_dir``, ``path``, ``offset``."""
    run_dir = place_of(call.argument("run_dir", str))
    handle, found = browse.open_file(run_dir, call.argument("path", str))
    try:
        call.head(found._asdict())
        _send(call, handle, call.argument("offset", int, 0), found.size_bytes, None)
        call.end({})
    finally:
        os.close(handle)


def _send(call: Call, handle: int, offset: int, size: int, sha: Any) -> None:
    while offset < size:
        room = call.wait_for_room()
        data = os.pread(handle, min(frames.CHUNK_BYTES, room, size - offset), offset)
        if not data:
            raise Refusal("damaged", "the file became shorter while it was read")
        if sha is not None:
            sha.update(data)
        call.data(offset, data)
        offset += len(data)


def _refusal(path: str, error: OSError) -> Refusal:
    if error.errno in receive.FULL:
        return Refusal("full", f"no room for {path}: {error.strerror}", hint="free some space")
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        missing = path if os.path.isdir(os.path.dirname(path)) else os.path.dirname(path)
        return Refusal("not_found", f"there is no {missing} on the node")
    return Refusal("pool", f"{path}: {error.strerror}")
