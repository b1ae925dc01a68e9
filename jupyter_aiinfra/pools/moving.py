"""Files and folders to and from a node: only what differs, and nothing through links that leave."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jupyter_aiinfra.channel import Channel
from jupyter_aiinfra.errors import NotFound, PoolError, UsageError
from jupyter_aiinfra.node.folders import entries
from jupyter_aiinfra.pools.abilities import Transferred, TransferStep

__all__ = ["Entry", "Tree", "get_tree", "look_local", "put_tree"]

_AT_ONCE = 4
# Longer than the far end of a channel that was cut holds on to the file it was writing.
_RESUME_SECONDS = 120.0
_MAKE_SECONDS = 60.0
_MAKE_AT_ONCE = 2000
_LEAST_HASH_SECONDS = 60.0
_HASHED_BYTES_A_SECOND = 20e6
# File systems keep times with less than what a float has.
_SAME_SECONDS = 1e-3
_NAMED = 5

_Report = Callable[[TransferStep], None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something in a folder, or the file itself (with an empty path)."""

    path: str
    kind: str
    size_bytes: int
    modified_at: float


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What is at a place: ``kind`` is file, folder, other, or ``None`` for nothing."""

    place: str
    kind: str | None
    entries: Mapping[str, Entry]

    @property
    def files(self) -> list[Entry]:
        """The files in it."""
        return [each for each in self.entries.values() if each.kind == "file"]


def look_local(source: Path) -> Tree:
    """Return what there is to be copied.

    Raises
    ------
    NotFound
        There is nothing.
    UsageError
        Something in it is neither file nor folder, or is a link that leads out of it.
    """
    place = Path(os.path.abspath(source.expanduser()))  # noqa: PTH100 - a link stays one
    if not place.exists():
        raise NotFound(f"there is no {source}", hint=f"looked for {place}")
    if place.is_file():
        found = place.stat()
        only = Entry(path="", kind="file", size_bytes=found.st_size, modified_at=found.st_mtime)
        return Tree(place=str(place), kind="file", entries={"": only})
    if not place.is_dir():
        raise UsageError(f"{source} is neither a file nor a folder")
    return _checked(str(place), "folder", map(_entry, entries(str(place))))


def _entry(words: Sequence[object]) -> Entry:
    path, kind, size, modified_at = words[:4]
    return Entry(
        path=str(path),
        kind=str(kind),
        size_bytes=int(str(size)),
        modified_at=float(str(modified_at)),
    )


def _checked(place: str, kind: str | None, found: Iterable[Entry]) -> Tree:
    known = {each.path: each for each in found}
    for odd, what in (("link", "links that lead elsewhere"), ("other", "neither file nor folder")):
        names = [each.path for each in known.values() if each.kind == odd]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise UsageError(
                f"{place}: {what}: {', '.join(names[:_NAMED])}{more}",
                hint="copy what they lead to by its own name, or take them out of the folder",
            )
    return Tree(place=place, kind=kind, entries=known)


async def _look_there(channel: Channel, path: str, *, strict: bool) -> Tree:
    """Return what is at `path` on the node; with `strict`, refuse what cannot be copied."""
    async with channel.stream("tree", path=path, resume_seconds=_RESUME_SECONDS) as stream:
        head = await stream.head()
        data = b"".join([piece.data async for piece in stream])
    found = [_entry(json.loads(line)) for line in data.splitlines()]
    for each in found:
        parts = each.path.split("/") if each.path else []
        if each.path.startswith("/") or {"", ".", ".."} & set(parts):
            raise PoolError(f"the node told of a file {each.path!r}, which is no path in a folder")
    if strict:
        return _checked(head["path"], head["kind"], found)
    return Tree(place=head["path"], kind=head["kind"], entries={each.path: each for each in found})


def _named(path: str, kind: str | None, name: str) -> str:
    """Return the name that a file gets: `path`, or below it where that is meant as a folder."""
    return f"{path.rstrip('/')}/{name}" if kind == "folder" or path.endswith("/") else path


class _Count:
    """How many bytes are where they are to be, over several files at once."""

    def __init__(self, node: str, total_bytes: int, report: _Report) -> None:
        self._node = node
        self._total_bytes = total_bytes
        self._report = report
        self._done: dict[str, int] = {}
        self._sum = 0

    def done(self, path: str, count: int) -> None:
        self._sum += count - self._done.get(path, 0)
        self._done[path] = count
        self._report(
            TransferStep(
                node=self._node, done_bytes=self._sum, total_bytes=self._total_bytes, path=path
            )
        )


async def put_tree(
    channel: Channel, source: Tree, target: str, *, node: str, report: _Report
) -> Transferred:
    """Copy what was looked at to a node.

    Raises
    ------
    NotFound, UsageError, StorageFull, Conflict, Unreachable, PoolError
        What was copied until then stays.
    """
    there = await _look_there(channel, target, strict=False)
    name = PurePosixPath(source.place).name
    if source.kind == "file":
        place = _named(there.place + "/" * target.endswith("/"), there.kind, name)
        there = await _look_there(channel, place, strict=False)
        if there.kind == "folder":
            raise UsageError(f"{place} is a folder on {node}", hint="name the file to write")
        folders, base = [], str(PurePosixPath(place).parent)
    else:
        place = base = there.place
        folders = [each.path for each in source.entries.values() if each.kind == "folder"]
        if there.kind not in {None, "folder"}:
            raise UsageError(f"{place} is no folder on {node}", hint="name a folder")
    for at in range(0, max(len(folders), 1), _MAKE_AT_ONCE):
        names = folders[at : at + _MAKE_AT_ONCE]
        await channel.call("folders", path=base, names=names, timeout=_MAKE_SECONDS)

    async def same(entry: Entry) -> bool:
        return await _same(
            channel, Path(source.place) / entry.path, _join(place, entry.path), entry.size_bytes
        )

    async def copy(entry: Entry, moved: Callable[[int], None]) -> int:
        return await channel.put(
            Path(source.place) / entry.path,
            _join(place, entry.path),
            resume_seconds=_RESUME_SECONDS,
            moved=moved,
        )

    return await _move(source, there, same, copy, node=node, place=place, report=report)


async def get_tree(
    channel: Channel, source: str, target: Path, *, node: str, report: _Report
) -> Transferred:
    """Copy a file or a folder of a node to here.

    Raises
    ------
    NotFound, UsageError, StorageFull, Unreachable, PoolError
        What was copied until then stays.
    """
    there = await _look_there(channel, source, strict=True)
    if there.kind is None:
        raise NotFound(f"there is no {there.place} on {node}")
    if there.kind == "other":
        raise UsageError(f"{there.place} on {node} is neither a file nor a folder")
    place = await asyncio.to_thread(_place_here, target, there)
    here = await asyncio.to_thread(_prepare, place, there)

    async def same(entry: Entry) -> bool:
        return await _same(
            channel, place / entry.path, _join(there.place, entry.path), entry.size_bytes
        )

    async def copy(entry: Entry, moved: Callable[[int], None]) -> int:
        return await channel.get(
            _join(there.place, entry.path),
            place / entry.path,
            resume_seconds=_RESUME_SECONDS,
            moved=moved,
        )

    return await _move(there, here, same, copy, node=node, place=str(place), report=report)


def _place_here(target: Path, there: Tree) -> Path:
    place = Path(os.path.abspath(target.expanduser()))  # noqa: PTH100 - a link stays one
    if there.kind == "file" and place.is_dir():
        return place / PurePosixPath(there.place).name
    return place


def _prepare(place: Path, there: Tree) -> Tree:
    """Make the folders here, and return what is in them already."""
    try:
        if there.kind == "file":
            place.parent.mkdir(parents=True, exist_ok=True)
        else:
            place.mkdir(parents=True, exist_ok=True)
            root = place.resolve()
            for each in there.entries.values():
                made = place / each.path
                folder = made if each.kind == "folder" else made.parent
                if not folder.resolve().is_relative_to(root):
                    raise UsageError(
                        f"{folder} leads out of {place}", hint="remove that link, or copy elsewhere"
                    )
                folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from error
    found = {}
    for each in there.files:
        path = place / each.path
        if path.is_file():
            known = path.stat()
            found[each.path] = Entry(
                path=each.path,
                kind="file",
                size_bytes=known.st_size,
                modified_at=known.st_mtime,
            )
    return Tree(place=str(place), kind=there.kind, entries=found)


def _join(place: str, path: str) -> str:
    return f"{place.rstrip('/')}/{path}" if path else place


async def _same(channel: Channel, here: Path, there: str, size_bytes: int) -> bool:
    """Say whether two files of one size hold the same."""
    seconds = _LEAST_HASH_SECONDS + size_bytes / _HASHED_BYTES_A_SECOND
    answer, ours = await asyncio.gather(
        channel.call("digest", path=there, timeout=seconds), asyncio.to_thread(_digest, here)
    )
    return bool(answer["sha256"] == ours)


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            sha.update(data)
    return sha.hexdigest()


async def _move(
    source: Tree,
    target: Tree,
    same: Callable[[Entry], Awaitable[bool]],
    copy: Callable[[Entry, Callable[[int], None]], Awaitable[int]],
    *,
    node: str,
    place: str,
    report: _Report,
) -> Transferred:
    """Copy the files of `source` that `target` does not hold as they are."""
    total = sum(each.size_bytes for each in source.files)
    count = _Count(node, total, report)
    limit = asyncio.Semaphore(_AT_ONCE)
    unchanged = 0
    moved_bytes = 0

    async def one(entry: Entry) -> None:
        nonlocal unchanged, moved_bytes
        async with limit:
            old = target.entries.get(entry.path)
            if old is not None and old.kind == "file" and old.size_bytes == entry.size_bytes:
                as_old = abs(old.modified_at - entry.modified_at) < _SAME_SECONDS
                if as_old or await same(entry):
                    unchanged += 1
                    count.done(entry.path, entry.size_bytes)
                    return
            sent = await copy(entry, lambda done: count.done(entry.path, done))
            moved_bytes += sent
            count.done(entry.path, entry.size_bytes)

    tasks = [asyncio.ensure_future(one(each)) for each in source.files]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Transferred(
        node=node,
        path=place,
        files=len(source.files),
        size_bytes=total,
        unchanged=unchanged,
        moved_bytes=moved_bytes,
    )
