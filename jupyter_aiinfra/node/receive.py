"""The far end of a bundle: stores what comes by digest, lays out run directories, gives folders.

One file, standard library only, Python 3.8 or newer. Its text is run as ``python -I -S -c TEXT VERB
TOKEN …`` with the request on standard input; the answer stands between markers made of TOKEN, for
a login shell may print what it likes around it. The same functions serve this machine's own disk.

``take BLOBS RUN_DIR`` reads one line of JSON ``{"files": [[path, digest, size], …]}``, then frames
(a line ``[digest, offset, length]`` and that many bytes). It answers which digests are missing and
how much of each is here; when none is missing, the run directory is complete.

``give FOLDER`` reads one line of JSON ``{"have": {path: size}}`` and answers with frames (a line
``[path, size]``, the bytes, a line with their digest), deepest files first, then ``null``.

A blob is written to ``BLOBS/incoming/DIGEST`` and gets its final name when it is whole and its
digest is right; a cut transfer is gone on with from where it stopped.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from typing import Any, Callable, Iterable, Iterator

__all__ = [
    "FULL",
    "Damaged",
    "Full",
    "Refused",
    "blob_path",
    "give",
    "is_whole",
    "lay",
    "main",
    "make_folder",
    "require_room",
    "safe_parts",
    "safe_target",
    "store",
    "sweep",
    "take",
]

_CHUNK_BYTES = 1 << 20
_STALE_SECONDS = 86_400.0
_DIGEST = re.compile("[0-9a-f]{64}")
FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


class Refused(Exception):
    """A name that leads out of its folder, or is no digest."""


class Damaged(Exception):
    """Bytes that do not have the digest they came under. They are not kept."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"what came as {digest} has another digest")
        self.digest = digest


class Full(Exception):
    """No room in `folder`; what was half-written is gone."""

    def __init__(self, folder: str, needed_bytes: int) -> None:
        super().__init__(f"{folder} is full")
        self.folder = folder
        self.needed_bytes = needed_bytes
        self.free_bytes = _free_bytes(folder)


# --- names ---------------------------------------------------------------------------------------


def blob_path(blobs: str, digest: str) -> str:
    """Return where the blob of a digest lives."""
    if not _DIGEST.fullmatch(digest):
        raise Refused(f"{digest!r} is not a SHA-256 digest")
    return os.path.join(blobs, digest[:2], digest)


def safe_parts(path: str) -> list[str]:
    """Return the parts of a relative path that cannot leave its folder, or raise Refused."""
    parts = path.split("/")
    if "\0" in path or os.path.isabs(path) or any(part in ("", ".", "..") for part in parts):
        raise Refused(f"{path!r} is not a plain relative path")
    return parts


def safe_target(folder: str, path: str) -> str:
    """Return `path` below `folder`; raise Refused if it leads out, by links already there too."""
    target = folder
    parts = safe_parts(path)
    for part in parts[:-1]:
        target = os.path.join(target, part)
        if os.path.islink(target):
            raise Refused(f"{path!r} goes through the link {target}")
    target = os.path.join(target, parts[-1])
    if os.path.isdir(target) and not os.path.islink(target):
        raise Refused(f"{path!r} is a folder")
    return target


def is_whole(path: str, size: int) -> bool:
    """Whether a plain file of that size is there."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


# --- storing -------------------------------------------------------------------------------------


def store(blobs: str, digest: str, size: int, source: Callable[[int], Iterable[Any] | None]) -> int:
    """Write one blob, or go on with it; return how many of its bytes are now here.

    Any number of processes may store the same blob: one writes, the others wait for it or go on
    where it stopped.

    Parameters
    ----------
    source
        Given the number of bytes that are here, returns buffers with what follows (not
        necessarily all), or ``None`` if it cannot go on from there.

    Raises
    ------
    Damaged, Full
        What was written of it is gone.
    """
    final = blob_path(blobs, digest)
    incoming = os.path.join(blobs, "incoming")
    for folder in (blobs, incoming, os.path.dirname(final)):
        make_folder(folder)
    partial = os.path.join(incoming, digest)
    while not is_whole(final, size):
        with _locked(partial) as handle:
            if handle is None:
                continue  # another process finished it meanwhile
            try:
                return _append(handle, partial, final, size, source)
            except OSError as error:
                if error.errno in FULL:
                    os.unlink(partial)
                    raise Full(blobs, size) from error
                raise
    return size


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int | None]:
    """Open `path` to append, alone; ``None`` if the name means another file by then."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        # Without locks (some network file systems) the digest still tells what went wrong.
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            same = os.path.samestat(os.fstat(handle), os.stat(path))
        except FileNotFoundError:
            same = False
        yield handle if same else None
    finally:
        os.close(handle)


def _append(
    handle: int, partial: str, final: str, size: int, source: Callable[[int], Iterable[Any] | None]
) -> int:
    have = os.fstat(handle).st_size
    if have > size:
        os.ftruncate(handle, 0)
        have = 0
    # What was here before has to be read again; what comes now is hashed on its way.
    sha = hashlib.sha256() if have == 0 else None
    for buffer in (source(have) or ()) if have < size else ():
        view = memoryview(buffer).cast("B")
        if have + len(view) > size:
            os.unlink(partial)
            raise Damaged(os.path.basename(final))
        if sha is not None:
            sha.update(view)
        have += len(view)
        while len(view) > 0:
            view = view[os.write(handle, view) :]
    if have < size:
        return have
    if (_digest_of(partial) if sha is None else sha.hexdigest()) != os.path.basename(final):
        os.unlink(partial)
        raise Damaged(os.path.basename(final))
    # No fsync: where a crash of the machine could lose data under the final name it also loses
    # the size, and a blob of the wrong size is written again.
    os.replace(partial, final)
    return size


def _digest_of(path: str) -> str:
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
            sha.update(chunk)
    return sha.hexdigest()


def sweep(blobs: str) -> None:
    """Delete what transfers left unfinished a day ago or longer."""
    incoming = os.path.join(blobs, "incoming")
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(incoming):
            path = os.path.join(incoming, name)
            with contextlib.suppress(FileNotFoundError):
                if time.time() - os.lstat(path).st_mtime > _STALE_SECONDS:
                    os.unlink(path)


def require_room(folder: str, needed_bytes: int) -> None:
    """Raise Full if less than `needed_bytes` are free where `folder` is or will be."""
    if _free_bytes(folder) < needed_bytes:
        raise Full(folder, needed_bytes)


def _free_bytes(folder: str) -> int:
    while not os.path.exists(folder):
        folder = os.path.dirname(folder) or "."
    return shutil.disk_usage(folder).free


# --- run directories -----------------------------------------------------------------------------


def lay(blobs: str, run_dir: str, files: Iterable[tuple[str, str]]) -> None:
    """Copy blobs to their places in the run directory; `files` are pairs of path and digest.

    Raises
    ------
    Refused, Full
        Nothing that was not there before is left.
    """
    made: list[tuple[Callable[[str], None], str]] = []
    plan = [(safe_target(run_dir, path), blob_path(blobs, digest)) for path, digest in files]
    try:
        make_folder(run_dir, made)
        for target, blob in plan:
            make_folder(os.path.dirname(target), made)
            _copy(blob, target, made)
    except BaseException as error:
        for undo, path in reversed(made):
            with contextlib.suppress(OSError):
                undo(path)
        if isinstance(error, OSError) and error.errno in FULL:
            needed = sum(os.stat(blob).st_size for _, blob in plan)
            raise Full(run_dir, needed) from error
        raise


def make_folder(folder: str, made: list[tuple[Callable[[str], None], str]] | None = None) -> None:
    """Make a folder and those above it, 0700; note in `made` how to undo it."""
    if not os.path.isdir(folder):
        make_folder(os.path.dirname(folder) or ".", made)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
            if made is not None:
                made.append((os.rmdir, folder))


def _copy(blob: str, target: str, made: list[tuple[Callable[[str], None], str]]) -> None:
    try:
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        _replace(blob, target)
        return
    # In its place at once: nobody looks at a run directory before its spec is there.
    made.append((os.unlink, target))
    _fill(descriptor, blob)


def _fill(descriptor: int, blob: str) -> None:
    """Write all of a blob, and close.

    Most are small, and shutil looks at both files first, by name, for longer than that takes.
    """
    with open(descriptor, "wb", buffering=0) as copy, open(blob, "rb", buffering=0) as source:
        while data := source.read(_CHUNK_BYTES):
            while data:  # less may be taken than is given
                data = data[copy.write(data) :]


def _replace(blob: str, target: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".part-")
    try:
        _fill(handle, blob)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


# --- verbs ---------------------------------------------------------------------------------------


def take(stdin: Any, blobs: str, run_dir: str) -> dict[str, Any]:
    """Store the frames that come, lay out what is whole; return what is still missing."""
    files = json.loads(stdin.readline())["files"]
    sizes = {digest: size for _, digest, size in files}
    sweep(blobs)
    damaged = []
    while line := stdin.readline():
        digest, offset, length = json.loads(line)
        frame = _Frame(stdin, offset, length)
        try:
            store(blobs, digest, sizes[digest], frame.source)
        except Damaged:
            damaged.append(digest)
        frame.skip()
    missing = {
        digest: _size(os.path.join(blobs, "incoming", digest))
        for digest, size in sizes.items()
        if not is_whole(blob_path(blobs, digest), size)
    }
    require_room(blobs, sum(sizes[digest] - have for digest, have in missing.items()))
    if not missing:
        lay(blobs, run_dir, [(path, digest) for path, digest, _ in files if path is not None])
    return {"missing": missing, "damaged": damaged}


class _Frame:
    """The bytes of one frame; they are read from the stream once, wanted or not."""

    def __init__(self, stdin: Any, offset: int, length: int) -> None:
        self._stdin = stdin
        self._offset = offset
        self._left = length

    def source(self, have: int) -> Iterator[Any] | None:
        return self._chunks() if have == self._offset else None

    def skip(self) -> None:
        for _ in self._chunks():
            pass

    def _chunks(self) -> Iterator[Any]:
        while self._left:
            # Not `read`: that would put pieces together, and copy them for it.
            chunk = self._stdin.read1(min(self._left, _CHUNK_BYTES))
            if not chunk:
                raise EOFError("the transfer was cut")
            self._left -= len(chunk)
            yield chunk


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def give(stdin: Any, stdout: Any, folder: str) -> None:
    """Write the plain files below `folder`, except those the other side has, to `stdout`."""
    have = json.loads(stdin.readline())["have"]
    paths = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path) and not name.startswith("."):
                paths.append(os.path.relpath(path, folder))
    # What a manifest speaks of lies deeper than the manifest, and is there before it.
    for path in sorted(paths, key=lambda path: (-path.count(os.sep), path)):
        with open(os.path.join(folder, path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if have.get(path) == size and _DIGEST.fullmatch(os.path.basename(path)):
                _say(stdout, [path, size, True])
                continue
            _say(stdout, [path, size, False])
            sha = hashlib.sha256()
            while size:
                chunk = file.read(min(size, _CHUNK_BYTES))
                if not chunk:
                    raise EOFError(f"{path} became shorter while it was read")
                size -= len(chunk)
                sha.update(chunk)
                stdout.write(chunk)
            _say(stdout, sha.hexdigest())
    _say(stdout, None)


def _say(stdout: Any, message: Any) -> None:
    stdout.write(json.dumps(message).encode() + b"\n")


def main(arguments: list[str]) -> int:
    """Serve one request; see the head of this file."""
    verb, token, *names = arguments
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    os.umask(0o077)
    stdout.write(f"\n<<{token}\n".encode())
    names = [os.path.expanduser(name) for name in names]
    try:
        if verb == "give":
            give(stdin, stdout, *names)
        else:
            _say(stdout, take(stdin, *names))
    except Full as full:
        _say(stdout, {"full": [full.folder, full.free_bytes, full.needed_bytes]})
    except Refused as error:
        _say(stdout, {"refused": str(error)})
    except (OSError, EOFError, ValueError) as error:
        _say(stdout, {"error": str(error)})
    stdout.write(f"{token}>>\n".encode())
    stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
