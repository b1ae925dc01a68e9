"""A sample of requests with their answers, redacted, in files that stay small and do not grow old.

What cannot be redacted is not kept: a body that is no JSON is told by its size only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

import msgspec

from jupyter_aiinfra.routing.comparing import unpacked
from jupyter_aiinfra.routing.config import Sampling
from jupyter_aiinfra.routing.files import replace_file
from jupyter_aiinfra.routing.redacting import Redaction

__all__ = ["Line", "Sample", "Samples", "read_lines"]

_log = logging.getLogger(__name__)

# What is not yet written; more is not kept, and the request does not wait.
_MOST_WAITING = 256
_WAITING_BYTES = 16 << 20
# A body that is larger is told by its size.
_BODY_BYTES = 256 << 10
# Of each of the two files, however many samples are to be kept.
_FILE_BYTES = 32 << 20
_PRUNE_SECONDS = 60.0
_DAY_SECONDS = 86_400.0


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came.

    Parameters
    ----------
    at
        Seconds since 1970.
    key
        The caller's key by its id; ``None``: none was asked for.
    request, answer
        Bodies as they were sent; `request_lines` and `answer_lines` say how they are packed.
    """

    at: float
    path: str
    version: str
    replica: str
    status: int
    milliseconds: float
    key: str | None = None
    request: bytes | None = None
    request_lines: bytes = b""
    answer: bytes | None = None
    answer_lines: bytes = b""

    @property
    def size_bytes(self) -> int:
        """How much it holds."""
        return len(self.request or b"") + len(self.answer or b"")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it is kept, a line of a file.

    Parameters
    ----------
    id
        Grows from one to the next.
    request, answer
        JSON, redacted; ``null`` where it could not be, or was too large.
    request_bytes, answer_bytes
        How large the bodies were as sent; ``None``: nobody knows any more.
    hidden
        Something was left out of them.
    """

    id: int
    at: float
    path: str
    version: str
    replica: str
    status: int
    milliseconds: float
    key: str | None = None
    request: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    answer: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    request_bytes: int | None = None
    answer_bytes: int | None = None
    hidden: bool = False


# Made under the import's lock, as the decoder of the configuration is.
_decoder = msgspec.json.Decoder(Line)


def _before(path: Path) -> Path:
    return path.with_suffix(".1.jsonl")


def read_lines(path: Path) -> list[Line]:
    """Return what is kept in `path` and in the file before it, oldest first; any process may."""
    found: dict[int, Line] = {}
    # In this order: what becomes the file before meanwhile is read twice, not never.
    for place in (path, _before(path)):
        found.update((line.id, line) for line in _lines_in(place))
    return [found[number] for number in sorted(found)]


def _lines_in(path: Path) -> list[Line]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found = (_read(text) for text in data.splitlines())
    return [line for line in found if line is not None]


def _read(text: bytes) -> Line | None:
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError:
        # The end of a file that is written to just now, or by who was killed.
        return None


class Samples:
    """The samples of one endpoint: in a file, and when that is half full, in another before it."""

    def __init__(
        self,
        path: Path,
        told: Sampling,
        executor: Executor,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._executor = executor
        self._told = told
        self._redaction = Redaction(told.redact)
        self._clock = clock
        self._share = 0.0
        self._waiting: list[Sample] = []
        self._waiting_bytes = 0
        self._writing: asyncio.Future[None] | None = None
        self._lines: int | None = None
        self._size = 0
        self._last = 0
        # What is there may have been written by other rules.
        self._stale = True
        self._pruned = 0.0

    def told(self, told: Sampling) -> None:
        """Go by another configuration, also for what is kept already."""
        if told != self._told:
            self._told = told
            self._redaction = Redaction(told.redact)
            self._stale = True

    def wanted(self) -> bool:
        """Whether the next request is one to keep: evenly, so many of each hundred."""
        rate = self._told.rate
        if not rate or not self._told.keep:
            return False
        self._share += rate
        if self._share < 1:
            return False
        self._share -= 1
        return len(self._waiting) < _MOST_WAITING

    def keep(self, sample: Sample) -> None:
        """Keep it soon."""
        size = sample.size_bytes
        if self._waiting_bytes + size <= _WAITING_BYTES:
            self._waiting.append(sample)
            self._waiting_bytes += size

    def flush(self) -> None:
        """Write what waits, and drop what is too old, in a thread; called now and then."""
        if self._writing is not None and not self._writing.done():
            return
        now = time.monotonic()
        prunes = self._stale or now - self._pruned > _PRUNE_SECONDS
        if not self._waiting and not prunes:
            return
        if prunes:
            self._pruned = now
        again, self._stale = self._stale, False
        batch, self._waiting = self._waiting, []
        self._waiting_bytes = 0
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._executor, self._work, batch, prunes, again)

    async def close(self) -> None:
        """Write the rest."""
        if self._writing is not None:
            await self._writing
        self.flush()
        if self._writing is not None:
            await self._writing

    def remove(self) -> None:
        """Drop all of them, in the thread that writes them: their endpoint is gone."""
        self._executor.submit(self._remove)

    # --- in the thread -----------------------------------------------------------------------

    def _remove(self) -> None:
        try:
            for place in (self._path, _before(self._path)):
                place.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("samples cannot be removed from %s: %s", self._path, error)

    def _work(self, batch: Sequence[Sample], prunes: bool, again: bool) -> None:  # noqa: FBT001 - by run_in_executor
        try:
            if prunes:
                self._prune(again=again)
            self._write(batch)
        except OSError as error:
            self._lines = None
            _log.warning("samples cannot be kept in %s: %s", self._path, error)

    def _write(self, batch: Sequence[Sample]) -> None:
        if self._lines is None:
            found = read_lines(self._path)
            self._last = max((line.id for line in found), default=0)
            self._lines, self._size = _measured(self._path)
        most = max(1, self._told.keep // 2)
        made: list[bytes] = []
        for sample in batch:
            text = self._line(sample)
            full = self._lines + len(made) >= most
            if full or self._size + len(text) > _FILE_BYTES:
                self._append(made)
                made = []
                if self._path.exists():
                    self._path.replace(_before(self._path))
                self._lines = self._size = 0
            made.append(text)
            self._size += len(text)
        self._append(made)

    def _append(self, made: Sequence[bytes]) -> None:
        if made:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "ab") as file:
                file.write(b"".join(made))
            self._lines = (self._lines or 0) + len(made)

    def _line(self, sample: Sample) -> bytes:
        request, some = self._shown(sample.request, sample.request_lines)
        answer, more = self._shown(sample.answer, sample.answer_lines)
        # By microseconds: another process goes on with greater ones.
        self._last = max(self._last + 1, int(1e6 * self._clock()))
        line = Line(
            id=self._last,
            at=sample.at,
            path=self._redaction.text(sample.path),
            version=sample.version,
            replica=sample.replica,
            status=sample.status,
            milliseconds=sample.milliseconds,
            key=sample.key,
            request=request,
            answer=answer,
            request_bytes=None if sample.request is None else len(sample.request),
            answer_bytes=None if sample.answer is None else len(sample.answer),
            hidden=some or more,
        )
        return msgspec.json.encode(line) + b"\n"

    def _shown(self, body: bytes | None, lines: bytes) -> tuple[msgspec.Raw, bool]:
        nothing = msgspec.Raw(b"null")
        if body is None:
            return nothing, False
        plain = unpacked(lines, body)
        if plain is None or len(plain) > _BODY_BYTES:
            return nothing, False
        try:
            kept, hidden = self._redaction.shown(msgspec.json.decode(plain))
        except (msgspec.DecodeError, RecursionError):
            return nothing, False
        return msgspec.Raw(msgspec.json.encode(kept)), hidden

    def _prune(self, *, again: bool) -> None:
        """Drop what is too old or too many; `again`: redact the rest by today's rules, too."""
        oldest = max(self._clock() - self._told.days * _DAY_SECONDS, self._told.since)
        room = self._told.keep
        for place in (self._path, _before(self._path)):
            found = _lines_in(place)
            kept = [line for line in found if line.at >= oldest][-room:] if room else []
            room -= len(kept)
            made = [self._again(line) for line in kept] if again else kept
            if made == found:
                continue
            if made:
                replace_file(place, b"".join(msgspec.json.encode(line) + b"\n" for line in made))
            else:
                place.unlink(missing_ok=True)
            self._lines = None

    def _again(self, line: Line) -> Line:
        request, some = self._redaction.shown(msgspec.json.decode(line.request))
        answer, more = self._redaction.shown(msgspec.json.decode(line.answer))
        if not some and not more:
            return line
        return msgspec.structs.replace(
            line,
            request=msgspec.Raw(msgspec.json.encode(request)),
            answer=msgspec.Raw(msgspec.json.encode(answer)),
            hidden=True,
        )


def _measured(path: Path) -> tuple[int, int]:
    """Return how many lines a file has, and how many bytes."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0, 0
    if data and not data.endswith(b"\n"):
        # Whoever wrote it was killed: what comes next begins a line.
        replace_file(path, data[: data.rfind(b"\n") + 1])
        data = data[: data.rfind(b"\n") + 1]
    return data.count(b"\n"), len(data)
