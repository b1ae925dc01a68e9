"""What is kept of the requests to an endpoint, read a page at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_aiinfra.endpoint import EndpointKey
from jupyter_aiinfra.engine.endpointchanges import ChangeVerbs
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.routing.samples import Line, read_lines

__all__ = ["EndpointSample", "SamplePage", "SampleVerbs", "SamplesAsked"]

_DAY_SECONDS = 86_400.0
_FAILED = 400


@dataclass(frozen=True, kw_only=True)
class SamplesAsked:
    """Which samples are wanted.

    Parameters
    ----------
    since
        Not those before, in seconds since 1970.
    before
        Only those older than the one of this id: the next page.
    errors
        Only those that were answered with a status from 400 on.
    limit
        How many at most; ``None``: all.
    """

    version: int | None = None
    since: float | None = None
    before: str | None = None
    errors: bool = False
    limit: int | None = 100


@dataclass(frozen=True, kw_only=True)
class EndpointSample:
    """A request as it was kept.

    Parameters
    ----------
    key
        The caller's key by name; ``None``: none was asked for.
    request, answer
        JSON, redacted; ``None`` where it could not be, or was too large.
    request_bytes, answer_bytes
        How large the bodies were as sent; ``None``: unknown.
    hidden
        Something was left out of them.
    """

    id: str
    at: float
    version: int
    replica: str
    path: str
    status: int
    milliseconds: float
    key: str | None = None
    request: Any = None
    answer: Any = None
    request_bytes: int | None = None
    answer_bytes: int | None = None
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class SamplePage:
    """Samples, the newest first.

    Parameters
    ----------
    found
        How many there are of what was asked for, on all pages.
    next
        What `before` is for the next page; ``None``: there is none.
    """

    samples: tuple[EndpointSample, ...] = field(default=())
    found: int = 0
    next: str | None = None


class SampleVerbs(ChangeVerbs):
    """The verbs on samples; a part of :class:`~.endpoints.Endpoints`."""

    _clock: Callable[[], float]

    async def samples(self, name: str, asked: SamplesAsked | None = None) -> SamplePage:
        """Return what is kept of the requests to an endpoint.

        Raises
        ------
        Conflict
            It is served from elsewhere, and what is kept lies there.
        UsageError
            `before` is no id of a sample.
        """
        asked = asked or SamplesAsked()
        endpoint = self._ours(name)
        whole = self._store.whole_endpoint(endpoint.id)
        before = _number(asked.before)
        path = self.router.places.samples(endpoint.name)
        oldest = max(
            endpoint.created_at,
            self._clock() - endpoint.options.sample_days * _DAY_SECONDS,
            asked.since or 0.0,
        )
        version = None if asked.version is None else str(whole.version(asked.version).number)

        def read() -> SamplePage:
            fits = [
                line
                for line in reversed(read_lines(path))
                if line.at >= oldest
                and version in {None, line.version}
                and (not asked.errors or line.status >= _FAILED)
            ]
            return _page(fits, before=before, limit=asked.limit, keys=whole.keys)

        return await asyncio.to_thread(read)


def _number(before: str | None) -> int | None:
    if before is None:
        return None
    if not before.isascii() or not before.isdigit():
        raise UsageError(
            f"{before!r} is no id of a sample", hint="as `next` of a page tells it", option="before"
        )
    return int(before)


def _page(
    lines: Sequence[Line], *, before: int | None, limit: int | None, keys: Sequence[EndpointKey]
) -> SamplePage:
    names = {key.id: key.name for key in keys}
    rest = [line for line in lines if before is None or line.id < before]
    shown = rest if limit is None else rest[:limit]
    more = len(shown) < len(rest) and bool(shown)
    return SamplePage(
        samples=tuple(_sample(line, names) for line in shown),
        found=len(lines),
        next=str(shown[-1].id) if more else None,
    )


def _sample(line: Line, names: dict[str, str]) -> EndpointSample:
    return EndpointSample(
        id=str(line.id),
        at=line.at,
        version=int(line.version),
        replica=line.replica,
        path=line.path,
        status=line.status,
        milliseconds=line.milliseconds,
        key=None if line.key is None else names.get(line.key, line.key),
        request=json.loads(bytes(line.request)),
        answer=json.loads(bytes(line.answer)),
        request_bytes=line.request_bytes,
        answer_bytes=line.answer_bytes,
        hidden=line.hidden,
    )
