"""The files of a job: content-addressed, sent once, placed here or on another machine.

What arrives is checked against its digest; what is there already is not sent again. The far end
is ``node/receive.py``, whose text travels with the request, so nothing has to be installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import tempfile
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from jupyter_aiinfra.errors import Conflict, NotFound, PoolError, StorageFull, UsageError
from jupyter_aiinfra.model import FileRef
from jupyter_aiinfra.node import receive
from jupyter_aiinfra.shell import Shell

__all__ = [
    "Bundle",
    "BundleFile",
    "Part",
    "Take",
    "Transfer",
    "all_frames",
    "bundle_file",
    "deliver",
    "keep",
    "place",
    "pull",
    "push",
    "request_line",
    "stored",
]

_READ_BYTES = 1 << 20
# One request carries this much at first, and four times as much whenever that went quickly: a cut
# line costs little, a fast one is not held up by round trips.
_FIRST_REQUEST_BYTES = 1 << 22
_MOST_REQUEST_BYTES = 1 << 26
_QUICK_SECONDS = 2.0
_REQUEST_TIMEOUT_SECONDS = 300.0

Part = bytes | memoryview | Path


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """One file: its parts in order, in memory or on disk, are read when it is sent.

    ``path`` is relative to the run directory; ``None`` leaves the file in the blob store.
    """

    path: str | None
    digest: str
    size_bytes: int
    parts: tuple[Part, ...]

    def read(self, offset: int = 0, limit: int | None = None) -> Iterator[bytes | memoryview]:
        """Yield the content from `offset`, at most `limit` bytes of it, memory without a copy."""
        left = self.size_bytes if limit is None else limit
        if self.size_bytes and not self.parts:
            raise _not_stored(self, "the nodes, nor here")
        for part in self.parts:
            size = part.stat().st_size if isinstance(part, Path) else len(part)
            if offset >= size:
                offset -= size
                continue
            for piece in _pieces(part, offset, min(left, size - offset)):
                left -= len(piece)
                yield piece
            offset = 0
            if left <= 0:
                return


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What a placement moved, and what it found there. Files of equal content count once."""

    sent_files: int
    sent_bytes: int
    kept_files: int
    kept_bytes: int


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Everything that travels with a job."""

    files: tuple[BundleFile, ...]

    @property
    def blobs(self) -> dict[str, BundleFile]:
        """One file for each digest."""
        return {file.digest: file for file in self.files}

    @property
    def size_bytes(self) -> int:
        """The bytes there are to send where nothing is stored yet."""
        return sum(file.size_bytes for file in self.blobs.values())

    def refs(self) -> tuple[FileRef, ...]:
        """Return what a job's record keeps: enough to bring the same bundle again."""
        return tuple(
            FileRef(digest=file.digest, size_bytes=file.size_bytes, path=file.path)
            for file in self.files
        )


def bundle_file(
    path: str | None,
    content: bytes | str | Path | Sequence[bytes | memoryview],
    *,
    digest: str | None = None,
) -> BundleFile:
    """Make one file of a bundle.

    Parameters
    ----------
    path
        Where it goes in the run directory; ``None`` leaves it in the blob store.
    content
        Bytes, text (written as UTF-8), a file, or buffers that follow each other; buffers are not
        copied.
    digest
        Its SHA-256 if it is known; otherwise the content is read to find it.

    Raises
    ------
    UsageError
        `path` is absolute or leads out of the run directory.
    """
    if path is not None:
        try:
            receive.safe_parts(path)
        except receive.Refused as error:
            hint = "name files of a job relative to its run directory"
            raise UsageError(str(error), hint=hint) from error
    parts: tuple[Part, ...]
    if isinstance(content, str):
        parts = (content.encode(),)
    elif isinstance(content, (bytes, Path)):
        parts = (content,)
    else:
        parts = tuple(memoryview(buffer).cast("B") for buffer in content)
    size = sum(part.stat().st_size if isinstance(part, Path) else len(part) for part in parts)
    file = BundleFile(path=path, digest=digest or "", size_bytes=size, parts=parts)
    if digest is not None:
        return file
    sha = hashlib.sha256()
    for piece in file.read():
        sha.update(piece)
    return BundleFile(path=path, digest=sha.hexdigest(), size_bytes=size, parts=parts)


def stored(refs: Iterable[FileRef], *, blobs: Path, elsewhere: bool = False) -> Bundle:
    """Rebuild a bundle from a blob store.

    What is not there may still be `elsewhere`, where the bundle is to go: then it is in the bundle
    without its content, and NotFound is raised only when that has to be sent.

    Raises
    ------
    NotFound
        A blob is not there any more; names the file.
    """
    files = []
    for ref in refs:
        blob = receive.blob_path(str(blobs), ref.digest)
        here = receive.is_whole(blob, ref.size_bytes)
        parts: tuple[Part, ...] = (Path(blob),) if here else ()
        file = BundleFile(path=ref.path, digest=ref.digest, size_bytes=ref.size_bytes, parts=parts)
        if not here and not elsewhere:
            raise _not_stored(file, str(blobs))
        files.append(file)
    return Bundle(files=tuple(files))


def _not_stored(file: BundleFile, where: str) -> NotFound:
    name = file.path or f"a variable's data ({file.digest[:12]}…)"
    return NotFound(
        f"{name} of this job is no longer stored in {where}",
        hint="launch it again from the notebook",
    )


def place(bundle: Bundle, *, blobs: Path, run_dir: Path) -> Transfer:
    """Put a bundle on this machine's disk: blobs first, then copies in the run directory.

    Any number of processes may place at the same time; placing again changes nothing.

    Raises
    ------
    StorageFull
        Names the folder, what is free and what is needed. Nothing half-made is left.
    Conflict
        The content changed since its digest was taken.
    UsageError
        A path leads out of the run directory, or through a link in it.
    """
    store = str(blobs)
    missing = _missing(bundle, store)
    laid = [(file.path, file.digest) for file in bundle.files if file.path is not None]
    copies_bytes = sum(file.size_bytes for file in bundle.files if file.path is not None)
    try:
        for path, _ in laid:
            receive.safe_target(str(run_dir), path)
        receive.sweep(store)
        receive.require_room(store, sum(file.size_bytes for file in missing) + copies_bytes)
        for file in missing:
            _store(store, file)
        receive.lay(store, str(run_dir), laid)
    except receive.Full as error:
        raise _storage_full(error.folder, error.free_bytes, error.needed_bytes) from error
    except receive.Refused as error:
        raise UsageError(
            str(error), hint="remove the link, or give the file another name"
        ) from error
    return _transfer(bundle, missing, sent_bytes=sum(file.size_bytes for file in missing))


def keep(bundle: Bundle, *, blobs: Path) -> None:
    """Put the files of a bundle into a blob store, where :func:`stored` finds them again.

    Raises StorageFull and Conflict as :func:`place` does.
    """
    store = str(blobs)
    missing = _missing(bundle, store)
    try:
        receive.sweep(store)
        receive.require_room(store, sum(file.size_bytes for file in missing))
        for file in missing:
            _store(store, file)
    except receive.Full as error:
        raise _storage_full(error.folder, error.free_bytes, error.needed_bytes) from error


def _missing(bundle: Bundle, store: str) -> list[BundleFile]:
    return [
        file
        for digest, file in bundle.blobs.items()
        if not receive.is_whole(receive.blob_path(store, digest), file.size_bytes)
    ]


def _store(blobs: str, file: BundleFile) -> None:
    def write() -> None:
        receive.store(blobs, file.digest, file.size_bytes, file.read)

    try:
        try:
            write()
        except receive.Damaged:
            # What a killed process left may have been at fault; it is gone now.
            write()
    except receive.Damaged as error:
        raise _changed(file) from error
    if not receive.is_whole(receive.blob_path(blobs, file.digest), file.size_bytes):
        raise _changed(file)


def _changed(file: BundleFile) -> Conflict:
    return Conflict(
        f"{file.path or 'a variable'} changed while it was being sent",
        hint="launch it again, and leave its values alone until it has started",
    )


def _storage_full(folder: str, free_bytes: int, needed_bytes: int) -> StorageFull:
    return StorageFull(
        f"no room in {folder}: {free_bytes:,} bytes are free, {needed_bytes:,} are needed",
        hint="free some space there"
        if needed_bytes > free_bytes
        else "a quota may be used up: free some space there",
    )


def _transfer(bundle: Bundle, missing: Sequence[BundleFile], *, sent_bytes: int) -> Transfer:
    return Transfer(
        sent_files=len(missing),
        sent_bytes=sent_bytes,
        kept_files=len(bundle.blobs) - len(missing),
        kept_bytes=bundle.size_bytes - sum(file.size_bytes for file in missing),
    )


def _pieces(part: Part, offset: int, size: int) -> Iterator[bytes | memoryview]:
    if not isinstance(part, Path):
        if size > 0:
            yield memoryview(part)[offset : offset + size]
        return
    with part.open("rb") as file:
        file.seek(offset)
        while size > 0 and (piece := file.read(min(size, _READ_BYTES))):
            size -= len(piece)
            yield piece


# --- through a shell -----------------------------------------------------------------------------


async def push(bundle: Bundle, shell: Shell, *, python: str, blobs: str, run_dir: str) -> Transfer:
    """Put a bundle where `shell` leads; only what is missing there is sent.

    A transfer that is cut is gone on with by the next push. `blobs` and `run_dir` may begin with
    ``~``.

    Raises
    ------
    StorageFull, Conflict, UsageError
        As :func:`place`.
    PoolError
        `python` gave no answer there, or refused.
    Unreachable
        The shell did not get through.
    """
    head = request_line(bundle)
    limit = _FIRST_REQUEST_BYTES

    async def take(missing: Mapping[str, int]) -> tuple[dict[str, Any], int]:
        nonlocal limit
        frames, size = _frames(bundle, missing, limit)
        begun = time.monotonic()
        answer = await _take(shell, python, head + frames, blobs, run_dir)
        if missing and time.monotonic() - begun < _QUICK_SECONDS:
            limit = min(_MOST_REQUEST_BYTES, limit * 4)
        return answer, size

    return await deliver(bundle, take, blobs=blobs)


Take = Callable[[Mapping[str, int]], Awaitable[tuple[Mapping[str, Any], int]]]


async def deliver(bundle: Bundle, take: Take, *, blobs: str) -> Transfer:
    """Put a bundle where `take` leads, in as many requests as it needs.

    Parameters
    ----------
    take
        Sends the request, with frames of what is missing there and how much of each there is;
        returns what ``take`` of ``node/receive.py`` answers, and how many bytes of blobs it sent.
        With nothing missing it only asks.
    blobs
        What the store there is called in messages.
    """
    answer, _ = await take({})
    at_first = [bundle.blobs[digest] for digest in answer["missing"]]
    sent, faults = 0, 0
    while missing := answer["missing"]:
        last, (answer, size) = answer, await take(missing)
        sent += size
        # Another process may be sending the same blob, so one standstill proves nothing.
        faults = faults + 1 if answer["damaged"] or answer["missing"] == last["missing"] else 0
        if faults > 1 and answer["damaged"]:
            raise _changed(bundle.blobs[answer["damaged"][0]])
        if faults > 2:  # noqa: PLR2004
            raise PoolError(f"{blobs} takes nothing more", hint="look at that folder there")
    return _transfer(bundle, at_first, sent_bytes=sent)


def request_line(bundle: Bundle) -> bytes:
    """Return what a request to ``node/receive.py`` begins with."""
    request = {"files": [[file.path, file.digest, file.size_bytes] for file in bundle.files]}
    return json.dumps(request).encode() + b"\n"


def all_frames(bundle: Bundle, missing: Mapping[str, int]) -> Iterator[bytes | memoryview]:
    """Yield frames with all that is missing, read as they are asked for.

    Raises
    ------
    Conflict
        A file has become shorter since its digest was taken.
    """
    for digest, have in missing.items():
        file = bundle.blobs[digest]
        at = have if have <= file.size_bytes else 0
        left = file.size_bytes - at
        yield json.dumps([digest, at, left]).encode() + b"\n"
        for piece in file.read(at):
            left -= len(piece)
            yield piece
        if left:
            raise _changed(file)


def _frames(bundle: Bundle, missing: Mapping[str, int], limit: int) -> tuple[bytes, int]:
    """Return the next frames to send, and how many bytes of blobs are in them."""
    buffers: list[bytes | memoryview] = []
    size = 0
    for digest, have in missing.items():
        file = bundle.blobs[digest]
        at = have if have <= file.size_bytes else 0  # what is too long is begun again there
        pieces = list(file.read(at, limit - size))
        length = sum(len(piece) for piece in pieces)
        if at < file.size_bytes and not length:
            raise _changed(file)
        buffers += [json.dumps([digest, at, length]).encode() + b"\n", *pieces]
        size += length
        if size >= limit:
            break
    return b"".join(buffers), size


async def _take(
    shell: Shell, python: str, stdin: bytes, blobs: str, run_dir: str
) -> dict[str, Any]:
    token, argv = _argv(python, "take", blobs, run_dir)
    done = await shell.run(argv, stdin=stdin, timeout=_REQUEST_TIMEOUT_SECONDS)
    begin, end = _markers(token)
    _, found, rest = done.stdout.partition(begin)
    text, whole, _ = rest.partition(end)
    if not found or not whole:
        tail = done.stderr.decode(errors="replace").strip()[-500:]
        raise PoolError(
            f"{python} gave no answer (status {done.status}){': ' + tail if tail else ''}",
            hint="is it a Python 3.8 or newer there? name one: --python",
        )
    answer: dict[str, Any] = json.loads(text)
    _raise_refusal(answer)
    return answer


def _argv(python: str, verb: str, *names: str) -> tuple[str, list[str]]:
    token = secrets.token_hex(12)
    text = Path(receive.__file__).read_text(encoding="utf-8")
    return token, [python, "-I", "-S", "-c", text, verb, token, *names]


def _markers(token: str) -> tuple[bytes, bytes]:
    return f"\n<<{token}\n".encode(), f"{token}>>\n".encode()


def _raise_refusal(answer: dict[str, Any]) -> None:
    if "full" in answer:
        raise _storage_full(*answer["full"])
    if "refused" in answer:
        raise UsageError(answer["refused"], hint="remove the link, or give the file another name")
    if "error" in answer:
        raise PoolError(answer["error"], hint="look at that folder there")


async def pull(shell: Shell, *, python: str, folder: str, into: Path) -> int:
    """Bring the files below `folder` from where `shell` leads; return how many it holds.

    Each file is there as a whole or not at all, a manifest after what it speaks of. Files named by
    their digest are not brought twice.

    Raises
    ------
    PoolError
        The transfer was cut or refused; files that came whole are kept, to be asked for again.
    """
    have = await asyncio.to_thread(_sizes, into)
    token, argv = _argv(python, "give", folder)
    stdin = json.dumps({"have": have}).encode() + b"\n"
    stream = shell.stream(argv, stdin=stdin)
    source = _Incoming(stream)
    count = 0
    try:
        await source.skip_past(_markers(token)[0])
        while (message := json.loads(await source.line())) is not None:
            if isinstance(message, dict):
                _raise_refusal(message)
            name, size, kept = message
            if not kept:
                await _bring(source, name, size, into)
            count += 1
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    return count


def _sizes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


async def _bring(source: _Incoming, name: str, size: int, into: Path) -> None:
    try:
        target = receive.safe_target(str(into), name)
    except receive.Refused as error:
        raise PoolError(f"a file was refused: {error}", hint="look at that folder there") from error
    with _landing(Path(target), size) as file:
        sha = hashlib.sha256()
        async for piece in source.bytes(size):
            sha.update(piece)
            file.write(piece)
        if json.loads(await source.line()) != sha.hexdigest():
            raise PoolError(f"{name} was damaged on its way", hint="try again")


@contextlib.contextmanager
def _landing(target: Path, size_bytes: int) -> Iterator[BinaryIO]:
    """Give a file that takes the name `target` when the block ends well, and is gone otherwise."""
    receive.make_folder(str(target.parent))
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - it is open already
            yield file
        Path(temporary).replace(target)
    except BaseException as error:
        Path(temporary).unlink()
        if isinstance(error, OSError) and error.errno in receive.FULL:
            full = receive.Full(str(target.parent), size_bytes)
            raise _storage_full(full.folder, full.free_bytes, full.needed_bytes) from error
        raise


class _Incoming:
    """A stream of chunks read by lines and by sizes."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = bytearray()

    async def _more(self) -> None:
        try:
            self._buffer += await anext(self._chunks)
        except StopAsyncIteration:
            raise PoolError("the transfer was cut", hint="try again: it goes on") from None

    async def skip_past(self, marker: bytes) -> None:
        while (at := self._buffer.find(marker)) < 0:
            # What cannot be the marker's beginning is noise.
            del self._buffer[: max(0, len(self._buffer) - len(marker))]
            await self._more()
        del self._buffer[: at + len(marker)]

    async def line(self) -> bytes:
        while (at := self._buffer.find(b"\n")) < 0:
            await self._more()
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        return line

    async def bytes(self, size: int) -> AsyncIterator[bytes]:
        while size:
            if not self._buffer:
                await self._more()
            piece = bytes(self._buffer[:size])
            del self._buffer[: len(piece)]
            size -= len(piece)
            yield piece
