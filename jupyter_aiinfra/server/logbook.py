"""The logs of jobs by rows and by bytes, for whoever asks: each is read once and indexed.

Reading is done on the engine's thread and what takes computing on another; between two steps of
either the server's loop and the engine serve others.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import Conflict, NotFound, UsageError
from jupyter_aiinfra.logview import Redactor
from jupyter_aiinfra.logview.masking import ByteMask
from jupyter_aiinfra.logview.rows import LineDrawer, RowIndex, Span, TextRow
from jupyter_aiinfra.logview.search import RowFinder
from jupyter_aiinfra.model import Job
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.server.jobs import recorded_job
from jupyter_aiinfra.server.logreads import log_end, read_news, read_range
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import LogRow, LogRows, LogSearch

__all__ = ["MOST_MATCHES", "MOST_ROWS", "LogBook"]

MOST_ROWS = 2000
MOST_MATCHES = 10_000

_LOGS_KEPT = 64
_JOB_SECONDS = 0.5  # how long the record of a job counts: a log is asked for more often
_TAIL_BYTES = 64
_STEP_BYTES = 4 << 20
_PIECE_BYTES = 1 << 20
_SLICE_BYTES = 256 << 10
_SMALL_BYTES = 32 << 10  # what is computed at once: another thread would cost more
_CATCH_UP_SECONDS = 0.25
_DRAW_SECONDS = 2.0
_SEARCH_SECONDS = 1.0
_FRUITLESS_SECONDS = 10.0
_LONGEST_QUERY = 1000


@dataclass
class _Look:
    """The record of a job as it was read last, and what to ask for its logs; None: nothing yet."""

    job: Job
    pool: Pool | None
    at: float
    secrets: tuple[str, ...]
    drawer: LineDrawer


@dataclass
class _Log:
    """What is known of one rank's log. `lock` guards the index."""

    job_id: str
    rank: int
    index: RowIndex = field(default_factory=RowIndex)
    tail: bytes = b""
    complete: bool = False
    look: _Look | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    made: tuple[object, LogRows] | None = None

    def begin_anew(self) -> None:
        """Forget what was read: it is not there any more."""
        self.index, self.tail, self.complete, self.made = RowIndex(), b"", False, None


class LogBook:
    """The logs of all jobs, as far as somebody asked. Lives in the server's event loop.

    Values of a job's secrets, where this process's environment has them, are in nothing of it.
    Every method raises JobNotFound, NotFound for a rank that the job has not, and what its pool
    raises: Unreachable, above all.
    """

    def __init__(self, engine: SharedEngine) -> None:
        self._engine = engine
        self._logs: OrderedDict[tuple[str, int], _Log] = OrderedDict()

    async def rows(self, job_id: str, rank: int, first: int, count: int) -> LogRows:
        """Return `count` rows from `first` on; a negative `first` counts from the end.

        What is new of the log is read before, for a quarter of a second at most: of a huge one
        that nobody looked at before the answer may tell of the beginning only, and later ones of
        more. Fewer rows than asked for come where there are no more, or where making them takes
        seconds. Asking again when nothing is new costs no more than the question to the pool.

        Raises
        ------
        UsageError
            `count` is not from 1 to 2,000.
        """
        if not 1 <= count <= MOST_ROWS:
            raise UsageError(f"count={count}: expected a whole number from 1 to {MOST_ROWS:,}")
        log = self._log(job_id, rank)
        known = first >= 0 and first + count < log.index.total_rows
        await self._catch_up(log, 0.0 if known else _CATCH_UP_SECONDS)
        answer = await self._answer(log, first, count)
        if answer is None:  # replaced between the two
            await self._catch_up(log, _CATCH_UP_SECONDS)
            answer = await self._answer(log, first, count)
        if answer is None:
            raise _changing(log)
        return answer

    async def search(
        self, job_id: str, rank: int, query: str, *, first: int, limit: int, match_case: bool
    ) -> LogSearch:
        """Return the rows from `first` on that hold `query` in what is shown of them.

        Takes a second, and as long as nothing is found, ten. ``next`` where there may be others.

        Raises
        ------
        UsageError
            A query without a character or of too many.
        """
        if not 1 <= len(query) <= _LONGEST_QUERY:
            raise UsageError(f"expected a text of 1 to {_LONGEST_QUERY:,} characters to look for")
        log = self._log(job_id, rank)
        begun_at = time.monotonic()
        found: list[int] = []
        behind = await self._catch_up(log, _CATCH_UP_SECONDS)
        finder = RowFinder(query, self._drawer(log), match_case=match_case)
        while len(found) <= limit:
            async with log.lock:
                spans = _some(log.index, first)
            if not (spans or behind):
                break
            if spans:
                found += await self._find(log, finder, spans, first)
                first = spans[-1].end.row
            else:
                behind = await self._catch_up(log, _CATCH_UP_SECONDS)
            # After a step, however long it took: who asks again gets on.
            patience = _SEARCH_SECONDS if found else _FRUITLESS_SECONDS
            if time.monotonic() - begun_at > patience and len(found) <= limit:
                return LogSearch(rows=tuple(found), more=True, next=first)
        if len(found) > limit:
            return LogSearch(rows=tuple(found[:limit]), more=True, next=found[limit - 1] + 1)
        return LogSearch(rows=tuple(found), more=False, next=None)

    async def _find(
        self, log: _Log, finder: RowFinder, spans: Sequence[Span], first: int
    ) -> list[int]:
        pieces = await self._pieces(log, spans)
        if pieces is None:
            raise _changing(log)
        found: list[int] = []
        for span, each in zip(spans, pieces, strict=True):
            found += await asyncio.to_thread(finder.find, span, each, first=first)
        return found

    async def size(self, job_id: str, rank: int) -> tuple[Job, int]:
        """Return the job, and the size of the log in bytes as of now."""
        log = self._log(job_id, rank)
        more = await self._catch_up(log, 0.0)
        look, known = self._looked(log), log.index.total_bytes
        if not more or look.pool is None or look.job.handle is None:
            return look.job, known
        pool, handle = look.pool, look.job.handle
        size = await self._engine.run(lambda _: log_end(pool, handle, rank=rank, known=known))
        return look.job, size

    async def pieces(self, job_id: str, rank: int, begin: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `begin` to before `end`, a mebibyte at most at a time.

        Secrets are overwritten by asterisks, so that each byte stays where it is. Ends early where
        the log does.
        """
        log = self._log(job_id, rank)
        await self._look(log)
        look = self._looked(log)
        mask = ByteMask(look.secrets)
        while begin < end:
            low = max(0, begin - mask.reach)
            until = min(begin + _PIECE_BYTES, end)
            data = (await self._read(look, rank, [(low, until + mask.reach - low)]))[0]
            data = mask(data)[begin - low : until - low]
            if not data:
                return
            yield data
            begin += len(data)

    # --- what is known -------------------------------------------------------------------------

    def _log(self, job_id: str, rank: int) -> _Log:
        log = self._logs.setdefault((job_id, rank), _Log(job_id, rank))
        self._logs.move_to_end((job_id, rank))
        while len(self._logs) > _LOGS_KEPT:
            self._logs.popitem(last=False)
        return log

    async def _look(self, log: _Log) -> _Look:
        """Read the record of the job, unless that was done just now."""
        look = log.look
        if look is not None and time.monotonic() - look.at < _JOB_SECONDS:
            return look
        try:
            job, pool = await self._engine.call(lambda engine: _recorded(engine, log.job_id))
        except NotFound:
            self._logs.pop((log.job_id, log.rank), None)
            raise
        if not -job.spec.nodes <= log.rank < job.spec.world:
            self._logs.pop((log.job_id, log.rank), None)
            hint = f"it has {job.spec.world}, from 0 on"
            raise NotFound(f"job {job.id} has no rank {log.rank}", hint=hint)
        secrets = tuple(os.environ[name] for name in job.spec.secrets if name in os.environ)
        if look is not None and look.secrets == secrets:
            drawer = look.drawer
        else:
            drawer = LineDrawer(Redactor(secrets))
        log.look = _Look(job=job, pool=pool, at=time.monotonic(), secrets=secrets, drawer=drawer)
        return log.look

    def _looked(self, log: _Log) -> _Look:
        assert log.look is not None  # noqa: S101 - everything begins with a look
        return log.look

    def _drawer(self, log: _Log) -> LineDrawer:
        return self._looked(log).drawer

    async def _catch_up(self, log: _Log, seconds: float) -> bool:
        """Read and index what is new, one step at least; return whether there may be more."""
        until = time.monotonic() + seconds
        while True:
            async with log.lock:
                more = await self._step(log)
            if not more or time.monotonic() >= until:
                return more

    async def _step(self, log: _Log) -> bool:
        # The record first: what is read after the job was seen to be over is everything.
        look = await self._look(log)
        if look.pool is None or look.job.handle is None:
            log.complete = look.job.state.final
            return False
        pool, handle, index, tail = look.pool, look.job.handle, log.index, log.tail
        news = await self._engine.run(
            lambda _: read_news(
                pool, handle, rank=log.rank, offset=index.total_bytes, tail=tail, most=_STEP_BYTES
            )
        )
        if news.replaced:
            log.begin_anew()
            return True
        try:
            await _feed(index, news.data)
        except asyncio.CancelledError:
            log.begin_anew()  # part of it may be in, or a thread still be putting it in
            raise
        log.tail = (tail + news.data)[-_TAIL_BYTES:] if news.data else tail
        log.complete = look.job.state.final and not news.more
        return news.more

    # --- rows ----------------------------------------------------------------------------------

    async def _answer(self, log: _Log, first: int, count: int) -> LogRows | None:
        """Return the rows as far as they are indexed; None where the log is another by now."""
        async with log.lock:
            index, drawer = log.index, self._drawer(log)
            if first < 0:
                first = max(0, index.total_rows + first)
            key = (first, count, index.total_bytes, log.complete, drawer)
            if log.made is not None and log.made[0] == key:
                return log.made[1]
            spans = list(index.spans(first, count))
            counts = (index.total_rows, index.total_lines, index.total_bytes, log.complete)
        rows = await self._draw(log, spans, first, count)
        if rows is None:
            return None
        total_rows, total_lines, total_bytes, complete = counts
        answer = LogRows(
            rank=log.rank,
            first=first,
            rows=tuple(
                LogRow(text=row.text, line=row.line, repeat=row.repeat, left_out=row.left_out)
                for row in rows
            ),
            total_rows=total_rows,
            total_lines=total_lines,
            total_bytes=total_bytes,
            complete=complete,
        )
        if log.index is index:
            log.made = (key, answer)
        return answer

    async def _draw(
        self, log: _Log, spans: Sequence[Span], first: int, count: int
    ) -> list[TextRow] | None:
        drawer = self._drawer(log)
        until = time.monotonic() + _DRAW_SECONDS
        rows: list[TextRow] = []
        for some in _batches(spans):
            pieces = await self._pieces(log, some)
            if pieces is None:
                return None
            rows += await asyncio.to_thread(_drawn, drawer, some, pieces, first, first + count)
            if time.monotonic() > until:
                break
        return rows

    async def _pieces(self, log: _Log, spans: Sequence[Span]) -> list[list[bytes]] | None:
        """Read what `spans` need; None, and nothing is known of the log, where it is gone."""
        reads = [each for span in spans for each in span.reads]
        data = await self._read(self._looked(log), log.rank, reads)
        if any(len(piece) < size for piece, (_, size) in zip(data, reads, strict=True)):
            async with log.lock:
                log.begin_anew()
            return None
        rest = iter(data)
        return [[next(rest) for _ in span.reads] for span in spans]

    async def _read(self, look: _Look, rank: int, reads: Sequence[tuple[int, int]]) -> list[bytes]:
        if look.pool is None or look.job.handle is None:
            return [b""] * len(reads)
        pool, handle = look.pool, look.job.handle
        return await self._engine.run(lambda _: read_range(pool, handle, rank=rank, reads=reads))


async def _feed(index: RowIndex, data: bytes) -> None:
    if len(data) <= _SMALL_BYTES:
        index.feed(data)
        return
    for at in range(0, len(data), _SLICE_BYTES):
        # A slice a time: a thread that computes without a pause would keep the loop waiting.
        await asyncio.to_thread(index.feed, data[at : at + _SLICE_BYTES])


def _recorded(engine: Engine, job_id: str) -> tuple[Job, Pool | None]:
    job = recorded_job(engine, job_id)
    return job, engine.pool(job.pool) if job.handle is not None else None


def _changing(log: _Log) -> Conflict:
    return Conflict(f"the log of rank {log.rank} has become another", hint="ask for it again")


def _bytes_to_read(span: Span) -> int:
    return sum(size for _, size in span.reads)


def _some(index: RowIndex, first: int) -> list[Span]:
    """Return the next spans from row `first` on, of a few mebibytes together."""
    some: list[Span] = []
    size = 0
    for span in index.spans(first, index.total_rows):
        some.append(span)
        size += _bytes_to_read(span)
        if size >= _STEP_BYTES:
            break
    return some


def _batches(spans: Sequence[Span]) -> list[list[Span]]:
    """Part `spans` into such as are read at once."""
    batches: list[list[Span]] = []
    size = _STEP_BYTES
    for span in spans:
        if size >= _STEP_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(span)
        size += _bytes_to_read(span)
    return batches


def _drawn(
    drawer: LineDrawer, spans: Sequence[Span], pieces: Sequence[list[bytes]], first: int, end: int
) -> list[TextRow]:
    rows: list[TextRow] = []
    for span, each in zip(spans, pieces, strict=True):
        rows += span.rows(each, drawer, first=first, end=end)
    return rows
