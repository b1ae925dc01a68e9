"""A sample of requests with their answers, redacted, in a file that stays small.

What cannot be redacted is not kept: a body that is no JSON is told by its size only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import msgspec

from jupyter_aiinfra.routing.comparing import unpacked
from jupyter_aiinfra.routing.config import Sampling

__all__ = ["REDACTED", "Sample", "Samples", "pointer_of", "redacted"]

_log = logging.getLogger(__name__)

REDACTED = "[redacted]"
# What is not yet written; more is not kept, and the request does not wait.
_MOST_WAITING = 256


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request as kept.

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


class Samples:
    """The samples of one endpoint: in a file, and when that is half full, in another before it."""

    def __init__(self, path: Path, told: Sampling, executor: Executor) -> None:
        self._path = path
        self._executor = executor
        self._pointers = [pointer_of(text) for text in told.redact]
        self._told = told
        self._share = 0.0
        self._waiting: list[Sample] = []
        self._writing: asyncio.Future[None] | None = None
        self._lines: int | None = None

    def told(self, told: Sampling) -> None:
        """Go by another configuration."""
        if told != self._told:
            self._told = told
            self._pointers = [pointer_of(text) for text in told.redact]

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
        self._waiting.append(sample)

    def flush(self) -> None:
        """Write what waits, in a thread; called now and then."""
        if not self._waiting or (self._writing is not None and not self._writing.done()):
            return
        batch, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._executor, self._write, batch)

    async def close(self) -> None:
        """Write the rest."""
        if self._writing is not None:
            await self._writing
        self.flush()
        if self._writing is not None:
            await self._writing

    def _write(self, batch: Sequence[Sample]) -> None:
        try:
            if self._lines is None:
                self._lines = _lines_of(self._path)
            most = max(1, self._told.keep // 2)
            for begin in range(0, len(batch), most):
                part = batch[begin : begin + most]
                if self._lines + len(part) > most:
                    if self._path.exists():
                        self._path.replace(self._path.with_suffix(".1.jsonl"))
                    self._lines = 0
                self._append(part)
                self._lines += len(part)
        except OSError as error:
            _log.warning("samples cannot be kept in %s: %s", self._path, error)

    def _append(self, part: Sequence[Sample]) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "ab") as file:
            file.write(b"".join(self._line(sample) + b"\n" for sample in part))

    def _line(self, sample: Sample) -> bytes:
        told = msgspec.structs.asdict(sample)
        told["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(sample.at))
        for name in ("request", "answer"):
            told[name] = _shown(told[name], told.pop(f"{name}_lines"), self._pointers)
        return msgspec.json.encode(told)


def _lines_of(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0


def _shown(body: bytes | None, lines: bytes, pointers: Sequence[tuple[str, ...]]) -> Any:
    if body is None:
        return None
    try:
        value = msgspec.json.decode(unpacked(lines, body) or b"")
    except (msgspec.DecodeError, RecursionError):
        return {"bytes": len(body)}
    for pointer in pointers:
        value = redacted(value, pointer)
    return value


def pointer_of(text: str) -> tuple[str, ...]:
    """Return the parts of a JSON pointer (RFC 6901)."""
    return tuple(
        part.replace("~1", "/").replace("~0", "~") for part in text.removeprefix("/").split("/")
    )


def redacted(value: Any, pointer: Sequence[str]) -> Any:
    """Return `value` without what is at `pointer`, where ``*`` is any member."""
    if not pointer:
        return REDACTED
    name, rest = pointer[0], pointer[1:]
    if isinstance(value, dict):
        return {
            key: redacted(one, rest) if name in {"*", key} else one for key, one in value.items()
        }
    if isinstance(value, list):
        return [
            redacted(one, rest) if name in {"*", str(number)} else one
            for number, one in enumerate(value)
        ]
    return value
