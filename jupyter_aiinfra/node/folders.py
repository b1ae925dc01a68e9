"""Folders of a node as a client copies them: what is in one, making some, and what files hold.

One file, standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING, Any, Iterator

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import receive, transfer
    from jupyter_aiinfra.node.channel import Call, Cancelled, Refusal
else:  # its neighbours in the payload
    import receive
    import transfer
    from channel import Call, Cancelled, Refusal

__all__ = ["digest", "entries", "make_folders", "tree"]

_PIECE_BYTES = 1 << 16
_READ_BYTES = 1 << 20


def tree(call: Call) -> None:
    """Give everything below ``path``: a line of JSON each, ``[path, kind, size, time, mode]``.

    The head has ``path`` and ``kind``: ``file``, ``folder``, ``other`` or ``null`` for nothing. A
    file is told by itself, with an empty path. See :func:`entries` for links.
    """
    path = transfer.place_of(call.argument("path", str))
    kind = _kind(path)
    call.head({"path": path, "kind": kind})
    at, waiting = 0, bytearray()
    found = entries(path) if kind == "folder" else [_entry("", path)] if kind == "file" else []
    for entry in found:
        if call.cancelled:
            raise Cancelled
        waiting += json.dumps(entry).encode() + b"\n"
        if len(waiting) >= _PIECE_BYTES:
            at = _flush(call, at, waiting)
    _flush(call, at, waiting)
    call.end({})


def _flush(call: Call, at: int, waiting: bytearray) -> int:
    while waiting:
        room = call.wait_for_room()
        data = bytes(waiting[:room])
        del waiting[: len(data)]
        call.data(at, data)
        at += len(data)
    return at


def entries(folder: str) -> Iterator[list[Any]]:
    """Yield what is below `folder`, folders before what is in them.

    A link to a file in `folder` is that file. All other links are told as ``link``: what they lead
    to is not part of the folder, or is in it under its own name.
    """
    root = os.path.realpath(folder)
    for place, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(place, name)
            rest = os.path.relpath(path, root)
            try:
                if os.path.islink(path) and not _is_file_within(root, path):
                    yield [rest, "link", 0, 0.0, 0]
                else:
                    yield _entry(rest, path)
            except FileNotFoundError:
                continue  # it was there a moment ago


def _is_file_within(root: str, path: str) -> bool:
    real = os.path.realpath(path)
    return real.startswith(root.rstrip("/") + "/") and os.path.isfile(real)


def _entry(rest: str, path: str) -> list[Any]:
    found = os.stat(path)
    return [rest, _kind(path), found.st_size, found.st_mtime, stat.S_IMODE(found.st_mode)]


def _kind(path: str) -> str | None:
    if os.path.isdir(path):
        return "folder"
    if os.path.isfile(path):
        return "file"
    return "other" if os.path.lexists(path) else None


def make_folders(call: Call) -> dict[str, Any]:
    """Make ``path``, and the folders ``names`` below it, where they are not there yet."""
    path = transfer.place_of(call.argument("path", str))
    made = 0
    for name in ["", *call.argument("names", list, [])]:
        folder = os.path.join(path, *receive.safe_parts(name)) if name else path
        # Not through a link: what is put below this folder stays below it.
        if name and not os.path.realpath(folder).startswith(os.path.realpath(path) + "/"):
            raise Refusal("usage", f"{folder} leads out of {path}", hint="remove that link there")
        if not os.path.isdir(folder):
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise Refusal("pool", f"cannot make {folder}: {error.strerror}") from error
            made += 1
    return {"made": made}


def digest(call: Call) -> dict[str, Any]:
    """Return the SHA-256 of the file ``path``; ``null`` where there is none to read."""
    path = transfer.place_of(call.argument("path", str))
    sha = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while True:
                if call.cancelled:
                    raise Cancelled
                data = file.read(_READ_BYTES)
                if not data:
                    break
                sha.update(data)
    except OSError:
        return {"sha256": None}
    return {"sha256": sha.hexdigest()}
