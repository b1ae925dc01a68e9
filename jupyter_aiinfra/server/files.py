"""``/aiinfra/jobs/{id}/files``: what is in a job's run directory, to look at and to download."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import NotFound, PoolError
from jupyter_aiinfra.pools.base import Browsing, FileReader
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.jobs import recorded_job
from jupyter_aiinfra.server.routes import Operation, Route
from jupyter_aiinfra.server.wire import FileItem

__all__ = ["ROUTES", "FileHandler", "FilesHandler"]

_MOST_FILES = 5000
_BYTES = "application/octet-stream"


def _browsed(engine: Engine, pool: str) -> Browsing:
    opened = engine.pool(pool)
    if not isinstance(opened, Browsing):
        raise PoolError(
            f"pool {pool!r} does not show the files of its jobs",
            hint="what --fetch names is brought back when the job ends",
        )
    return opened


async def _list(engine: Engine, job_id: str) -> Sequence[FileItem]:
    job = recorded_job(engine, job_id)
    if job.handle is None:  # no pool has accepted it: there is no run directory
        return []
    files = await _browsed(engine, job.pool).files(job.handle, limit=_MOST_FILES)
    return [
        FileItem(path=file.path, size_bytes=file.size_bytes, modified_at=file.modified_at)
        for file in files
    ]


async def _open(engine: Engine, job_id: str, path: str) -> FileReader:
    job = recorded_job(engine, job_id)
    if job.handle is None:
        raise NotFound(f"job {job_id} has no files yet", hint="its pool has not accepted it")
    return await _browsed(engine, job.pool).open_file(job.handle, path)


class FilesHandler(AiInfraHandler):
    """The files of a job."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002 - the parameter's name in the path
        """Write them, by path."""
        self.answer(await self.engine.run(lambda engine: _list(engine, id)))


class FileHandler(AiInfraHandler):
    """One file of a job."""

    @web.authenticated
    @authorized
    async def get(self, id: str, path: str) -> None:  # noqa: A002
        """Write its bytes, as a download: what a job wrote is never shown as a page of ours."""
        reader = await self.engine.run(lambda engine: _open(engine, id, path))
        try:
            await self._send(reader)
        except StreamClosedError:
            self.log.debug("who downloaded %r of job %s is gone", path, id)
        finally:
            await self.engine.run(lambda _: reader.aclose())

    async def _send(self, reader: FileReader) -> None:
        name = reader.file.path.rpartition("/")[2]
        self.set_header("Content-Type", _BYTES)
        self.set_header("Content-Length", reader.file.size_bytes)
        self.set_header(
            "Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-cache")
        await self.flush()
        # A piece at a time: the next is read when this one is on its way.
        left = reader.file.size_bytes
        while data := await self.engine.run(lambda _: reader.read()):
            left -= len(data)
            self.write(data)
            await self.flush()
        if left:
            self.log.warning("the file %r became shorter while it was downloaded", name)
            self.detach().close()  # nothing else tells the other side that this is not all
            return
        await self.finish(set_content_type=_BYTES)


ROUTES = (
    Route(
        path="jobs/{id}/files",
        handler=FilesHandler,
        operations={
            "get": Operation(
                summary=f"The files of a job, by path: the first {_MOST_FILES:,}",
                answer=list[FileItem],
            )
        },
    ),
    Route(
        path="jobs/{id}/files/{path}",
        handler=FileHandler,
        operations={"get": Operation(summary="A file of a job", answer=bytes)},
    ),
)
