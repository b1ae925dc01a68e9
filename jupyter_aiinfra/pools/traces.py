"""Traces: what the probes of a pool's nodes said, in a file, to be looked at again.

Lines of JSON, compressed by gzip or not. The first says what it is, and has the facts of the nodes:

    {"format": "aiinfra-gpus", "version": 1, "interval": 1.0, "pool": "lab", "nodes": [{"name": …}]}

and each other line is what a probe prints (``node/probe.py``), with the name of its node:

    {"node": "gpu1", "at": 1764088320.1, "cpu": {…}, …, "gpus": [{…}, …], "problems": []}

``at`` is in seconds and goes forward on each node. What is not known is left out or ``null``.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
import zlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import msgspec

from jupyter_aiinfra.errors import StorageFull, UsageError
from jupyter_aiinfra.model import Node, from_wire, to_wire

__all__ = ["VERSION", "Trace", "TraceWriter", "read_head", "read_trace"]

_FORMAT: Final = "aiinfra-gpus"
VERSION: Final = 1
_GZIP: Final = b"\x1f\x8b"
_LONGEST_LINE: Final = 8 << 20
_MOST_BYTES: Final = 1 << 30
_OURS: Final = ("node", "v", "seq", "at", "up")


class Trace:
    """A trace in memory, that begins anew at its end.

    Attributes
    ----------
    nodes
        The facts of the nodes.
    interval
        Seconds from one line of a node to the next.
    duration
        Seconds from its beginning to where it begins anew.
    """

    def __init__(self, nodes: Sequence[Node], interval: float) -> None:
        self.nodes = tuple(nodes)
        self.interval = interval
        self.duration = interval
        self._times = {node.name: array("d") for node in nodes}
        self._lines: dict[str, list[str]] = {node.name: [] for node in nodes}
        self._start = 0.0

    def add(self, line: Mapping[str, Any]) -> None:
        """Take in a line.

        Raises
        ------
        ValueError
            It is none; says what was expected.
        """
        node, at = line.get("node"), line.get("at")
        if node not in self._times:
            raise ValueError(f'expected "node" to be one of the first line, not {node!r}')
        if isinstance(at, bool) or not isinstance(at, (int, float)) or not math.isfinite(at):
            raise ValueError(f'expected "at" to be a time in seconds, not {at!r}')
        times = self._times[node]
        if times and at <= times[-1]:
            raise ValueError(f'expected "at" to be after {times[-1]!r}, the last of {node}')
        if not isinstance(line.get("gpus", []), list):
            raise ValueError('expected "gpus" to be a list')  # noqa: TRY004 - bad input
        rest = {key: value for key, value in line.items() if key not in _OURS}
        times.append(at)
        self._lines[node].append(json.dumps(rest, separators=(",", ":"))[1:])

    def end(self) -> None:
        """Be complete.

        Raises
        ------
        ValueError
            There is nothing in it.
        """
        filled = [times for times in self._times.values() if times]
        if not filled:
            raise ValueError("expected at least one line of readings")
        self._start = min(times[0] for times in filled)
        self.duration = max(times[-1] for times in filled) - self._start + self.interval

    def members(self, node: str, at: float, *, reach: float) -> str | None:
        """Return the newest line of a node `at` seconds after the beginning.

        Without its times, and the brace at its beginning; ``None`` where the newest is more than
        `reach` seconds older.
        """
        times = self._times[node]
        position = self._start + at % self.duration
        place = bisect_right(times, position) - 1
        if place < 0 and times and times[0] - position <= self.interval:
            place = 0  # nodes do not begin at the same instant
        if place < 0 or position - times[place] > reach:
            return None
        return self._lines[node][place]


def read_head(path: Path) -> tuple[Sequence[Node], float]:
    """Return the facts of the nodes of a trace, and its interval, from its first line.

    Raises
    ------
    UsageError
        It cannot be read, or is no trace.
    """
    with _reading(path) as lines:
        return _head(path, lines)


def read_trace(path: Path) -> Trace:
    """Return a trace.

    Raises
    ------
    UsageError
        It cannot be read; names the line that is wrong, and what was expected of it.
    """
    with _reading(path) as lines:
        trace = Trace(*_head(path, lines))
        number = 1
        for number, line in lines:
            if not line.strip():
                continue
            try:
                trace.add(_object(line))
            except (ValueError, RecursionError) as error:
                raise _bad(path, number, str(error)) from error
        try:
            trace.end()
        except ValueError as error:
            raise _bad(path, number + 1, str(error)) from error
    return trace


@contextmanager
def _reading(path: Path) -> Iterator[Iterator[tuple[int, bytes]]]:
    """Yield the lines of a trace with their numbers; what cannot be read is an error of its own."""
    number = 0

    def lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        nonlocal number
        total = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            total += len(line)
            if len(line) == _LONGEST_LINE:
                raise _bad(path, number, f"expected a line of less than {_LONGEST_LINE:,} bytes")
            if total > _MOST_BYTES:
                raise _bad(path, number, f"expected {_MOST_BYTES:,} bytes at most")
            yield number, line

    try:
        with path.open("rb") as plain:
            packed = plain.read(len(_GZIP)) == _GZIP
            plain.seek(0)
            yield lines(gzip.GzipFile(fileobj=plain) if packed else plain)  # type: ignore[arg-type]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _bad(path, number + 1, f"expected more: the file is cut off ({error})") from error
    except OSError as error:
        raise UsageError(
            f"the trace {path} cannot be read: {error.strerror or error}",
            hint="%gpus POOL --record FILE makes one",
            option="trace",
        ) from error


def _head(path: Path, lines: Iterator[tuple[int, bytes]]) -> tuple[Sequence[Node], float]:
    number, line = next(lines, (1, b""))
    try:
        return _facts_of(_object(line))
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise _bad(path, number, str(error)) from error


def _facts_of(data: Mapping[str, Any]) -> tuple[Sequence[Node], float]:
    if data.get("format") != _FORMAT:
        raise ValueError(f'expected "format": "{_FORMAT}"')
    if data.get("version") != VERSION:
        raise ValueError(f'expected "version": {VERSION}, not {data.get("version")!r}')
    interval = data.get("interval", 1.0)
    if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not interval > 0:
        raise ValueError(f'expected "interval" to be seconds, not {interval!r}')
    nodes = from_wire(data.get("nodes"), tuple[Node, ...])
    if not nodes or len({node.name for node in nodes}) < len(nodes):
        raise ValueError('expected "nodes" to name each node once')
    return nodes, float(interval)


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise ValueError(f"expected a JSON object ({error})") from error
    if not isinstance(data, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 - not a type, but bad input
    return data


def _bad(path: Path, number: int, expected: str) -> UsageError:
    return UsageError(
        f"{path} is no trace, line {number}: {expected}",
        hint="%gpus POOL --record FILE makes one; docs/guide/gpus.md tells how it is written",
        option="trace",
    )


class TraceWriter:
    """Writes a trace. A file that is there already is left alone.

    Parameters
    ----------
    path
        Compressed where its name ends with ``.gz``.
    nodes
        Their facts; what is used of their GPUs just now is left out.
    anonymous
        Whether the names of users, commands, nodes and GPUs are replaced, each by the same one
        each time.

    Raises
    ------
    UsageError, StorageFull
        The file cannot be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        pool: str,
        nodes: Sequence[Node],
        recorded_at: float,
        interval: float = 1.0,
        anonymous: bool = False,
    ) -> None:
        self.path = path
        self.lines = 0
        self.nodes: set[str] = set()
        self._names = _Names() if anonymous else None
        try:
            self._raw = path.open("xb")
        except FileExistsError as error:
            raise UsageError(f"{path} is there already", hint="name another file") from error
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        # The time in its head would make two files of the same readings differ.
        self._file: IO[bytes] = (
            gzip.GzipFile(filename="", fileobj=self._raw, mode="wb", compresslevel=6, mtime=0)  # type: ignore[assignment]
            if path.suffix == ".gz"
            else self._raw
        )
        self._write(
            {
                "format": _FORMAT,
                "version": VERSION,
                "interval": interval,
                "pool": "pool" if anonymous else pool,
                "recorded_at": round(recorded_at, 3),
                "anonymous": anonymous,
                "nodes": [to_wire(self._facts(node)) for node in nodes],
            }
        )

    def add(self, node: str, at: float, line: Mapping[str, Any]) -> None:
        """Write what a probe has said; `at` is when, by our clock."""
        told = {key: value for key, value in line.items() if key not in _OURS}
        if self._names is not None:
            names, node = self._names, self._names.of("node", node)
            told["gpus"] = [self._unnamed(gpu, names) for gpu in told.get("gpus", ())]
        self._write({"node": node, "at": round(at, 3), **told})
        self.lines += 1
        self.nodes.add(node)

    def close(self) -> None:
        """Write what is left. Idempotent."""
        try:
            self._file.close()
        except OSError as error:
            raise _full(self.path, error) from error
        finally:
            self._raw.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n"
        try:
            self._file.write(text.encode("utf-8", "replace"))
        except OSError as error:
            raise _full(self.path, error) from error

    def _facts(self, node: Node) -> Node:
        """Return what stays of a node, whatever it does."""
        names = self._names
        kept = dataclasses.replace(
            node,
            gpus=tuple(
                dataclasses.replace(gpu, memory_used_bytes=None, used_by=()) for gpu in node.gpus
            ),
        )
        if names is None:
            return kept
        name = names.of("node", node.name)
        return dataclasses.replace(
            kept,
            name=name,
            address=name,
            gpus=tuple(dataclasses.replace(gpu, uuid=names.uuid(gpu.uuid)) for gpu in kept.gpus),
            python=None
            if node.python is None
            else dataclasses.replace(node.python, executable="python"),
            problem=None if node.problem is None else "it does not answer",
        )

    def _unnamed(self, gpu: Mapping[str, Any], names: _Names) -> Mapping[str, Any]:
        return {
            **gpu,
            "uuid": names.uuid(gpu["uuid"]),
            "parent": names.uuid(gpu.get("parent")),
            "procs": None
            if gpu.get("procs") is None
            else [
                {
                    **process,
                    "user": names.of("user", process.get("user")),
                    "cmd": names.of("program", process.get("cmd")),
                }
                for process in gpu["procs"]
            ],
        }


_Name = TypeVar("_Name", str, "str | None")


class _Names:
    """Other names in place of those that are there, the same for the same each time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._counts: Counter[str] = Counter()

    def of(self, kind: str, name: _Name) -> _Name:
        """Return ``user1`` for the first user, and so on; the unknown stays unknown."""
        if name is None:
            return name
        if (kind, name) not in self._known:
            self._counts[kind] += 1
            self._known[kind, name] = f"{kind}{self._counts[kind]}"
        return self._known[kind, name]

    def uuid(self, uuid: _Name) -> _Name:
        """Return a UUID that tells nothing but of what kind it is."""
        if uuid is None:
            return uuid
        number = self.of("", uuid)
        return f"{uuid.partition('-')[0]}-{int(number):08x}-0000-0000-0000-000000000000"


def _full(path: Path, error: OSError) -> StorageFull:
    return StorageFull(f"{path} could not be written to its end: {error.strerror or error}")
