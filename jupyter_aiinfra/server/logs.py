"""``/aiinfra/jobs/{id}/logs/{rank}``: a log as a file, its rows, and where a text is in it."""

from __future__ import annotations

import re
from typing import NamedTuple

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from jupyter_aiinfra.errors import NotFound
from jupyter_aiinfra.model import LAUNCHER, Job
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.logbook import MOST_MATCHES, MOST_ROWS, LogBook
from jupyter_aiinfra.server.queries import flag, integer
from jupyter_aiinfra.server.routes import Operation, Query, Route
from jupyter_aiinfra.server.wire import LogRows, LogSearch, Problem

__all__ = ["BOOK_SETTING", "ROUTES", "LogBook", "LogHandler", "RowsHandler", "SearchHandler"]

BOOK_SETTING = "jupyter_aiinfra_logs"

_LAUNCHER = re.compile(r"launcher(?:-([0-9]{1,5}))?")
_PLAIN = "text/plain; charset=utf-8"
_RANGE = re.compile(r"\s*bytes\s*=\s*(?:([0-9]{1,18})\s*-\s*([0-9]{1,18})?|-\s*([0-9]{1,18}))\s*")
_FARTHEST = 10**15
_MOST_DIGITS = 9
_ROWS = 200
_MATCHES = 1000


class _Part(NamedTuple):
    """The bytes from `begin` to before `end`."""

    begin: int
    end: int


class _LogHandler(AiInfraHandler):
    @property
    def book(self) -> LogBook:
        """The server's logs."""
        book: LogBook = self.settings[BOOK_SETTING]
        return book


class LogHandler(_LogHandler):
    """A whole log, or a range of its bytes, as a download."""

    @web.authenticated
    @authorized
    async def get(self, id: str, rank: str) -> None:  # noqa: A002 - the parameter's name
        """Write the bytes there are now, whole or those that ``Range`` asks for.

        Secrets are overwritten, not cut out: a range is the same with and without them around it.
        """
        number = _number(rank)
        job, size = await self.book.size(id, number)
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        asked = self._asked()
        part = _part(asked, size) if asked else _Part(0, size)
        if part is None:
            self.set_header("Content-Range", f"bytes */{size}")
            self.answer(Problem(message=f"the log has {size:,} bytes"), status=416)
            return
        if asked:
            self.set_status(206)
            self.set_header("Content-Range", f"bytes {part.begin}-{part.end - 1}/{size}")
        self.set_header("Content-Type", _PLAIN)
        self.set_header("Content-Length", part.end - part.begin)
        self.set_header("Content-Disposition", f'attachment; filename="{_file_name(job, number)}"')
        try:
            await self._send(id, number, part)
        except StreamClosedError:
            self.log.debug("who downloaded the log of job %s is gone", id)

    def _asked(self) -> re.Match[str] | None:
        """Return the range that is asked for; one that is none is passed over, and so are many."""
        headers = self.request.headers
        asked = _RANGE.fullmatch(headers.get("Range", ""))
        if asked is None or "If-Range" in headers:
            # We give no validator, so a condition on one cannot hold.
            return None
        first, last, _ = asked.groups()
        return None if last and int(last) < int(first) else asked

    async def _send(self, job_id: str, rank: int, part: _Part) -> None:
        sent = 0
        async for piece in self.book.pieces(job_id, rank, *part):
            sent += len(piece)
            self.write(piece)
            # The next is read when this one is on its way.
            await self.flush()
        if sent < part.end - part.begin:
            self.log.warning("the log of job %s ended while it was downloaded", job_id)
            self.detach().close()  # nothing else tells the other side that this is not all
            return
        await self.finish(set_content_type=_PLAIN)


class RowsHandler(_LogHandler):
    """Rows of a log."""

    @web.authenticated
    @authorized
    async def get(self, id: str, rank: str) -> None:  # noqa: A002
        """Write ``count`` rows from ``first`` on."""
        first = integer(self, "first", default=0, least=-_FARTHEST, most=_FARTHEST)
        count = integer(self, "count", default=_ROWS, least=1, most=MOST_ROWS)
        self.answer(await self.book.rows(id, _number(rank), first, count))


class SearchHandler(_LogHandler):
    """A search through a log."""

    @web.authenticated
    @authorized
    async def get(self, id: str, rank: str) -> None:  # noqa: A002
        """Write the numbers of the rows that hold ``query``."""
        first = integer(self, "from", default=0, least=0, most=_FARTHEST)
        limit = integer(self, "limit", default=_MATCHES, least=1, most=MOST_MATCHES)
        found = await self.book.search(
            id,
            _number(rank),
            self.get_query_argument("query", "", strip=False),
            first=first,
            limit=limit,
            match_case=flag(self, "case"),
        )
        self.answer(found)


def _number(rank: str) -> int:
    launcher = _LAUNCHER.fullmatch(rank)
    if launcher:
        return LAUNCHER - int(launcher[1] or 0)
    if len(rank) > _MOST_DIGITS:
        raise NotFound(f"no job has a rank {rank[:_MOST_DIGITS]}…")
    return int(rank)


def _part(asked: re.Match[str], size: int) -> _Part | None:
    """Return which bytes of `size` a range means, or None where there are none of them."""
    first, last, suffix = asked.groups()
    if suffix is not None:
        begin, end = max(0, size - int(suffix)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
    return _Part(begin, end) if begin < end else None


def _file_name(job: Job, rank: int) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", job.spec.name)
    what = f"rank{rank}" if rank >= 0 else f"launcher{LAUNCHER - rank or ''}"
    return f"{name}-{job.id}-{what}.log"


ROUTES = (
    Route(
        path="jobs/{id}/logs/{rank}",
        handler=LogHandler,
        operations={
            "get": Operation(
                summary="A rank's log as a file, or a range of its bytes; the rank may be "
                "launcher, or launcher-1 of the second node",
                answer=bytes,
                kind="text/plain",
            )
        },
    ),
    Route(
        path="jobs/{id}/logs/{rank}/rows",
        handler=RowsHandler,
        operations={
            "get": Operation(
                summary="Rows of a rank's log",
                answer=LogRows,
                query=(
                    Query(
                        name="first",
                        type="integer",
                        description="the first row, from 0; a negative one counts from the end",
                    ),
                    Query(
                        name="count",
                        type="integer",
                        description=f"how many rows, up to {MOST_ROWS:,}; {_ROWS} without it",
                    ),
                ),
            )
        },
    ),
    Route(
        path="jobs/{id}/logs/{rank}/search",
        handler=SearchHandler,
        operations={
            "get": Operation(
                summary="The rows of a rank's log that hold a text",
                answer=LogSearch,
                query=(
                    Query(name="query", type="string", description="the text"),
                    Query(name="from", type="integer", description="the first row to look in"),
                    Query(
                        name="limit",
                        type="integer",
                        description=f"how many rows, up to {MOST_MATCHES:,}; "
                        f"{_MATCHES:,} without it",
                    ),
                    Query(
                        name="case",
                        type="boolean",
                        description="whether capital and small letters differ",
                    ),
                ),
            )
        },
    ),
)
