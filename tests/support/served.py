"""An engine beside the server's, on the same record and cluster, and requests to the server."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from jupyter_aiinfra.engine import Engine, PoolOpener
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.server.app import ROUTES
from jupyter_aiinfra.server.openapi import openapi
from jupyter_aiinfra.settings import Settings, load_settings
from jupyter_aiinfra.store import open_store
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import POOL

__all__ = ["Api", "beside", "eventually", "opener_of"]


def beside(cluster: FakeCluster) -> Engine:
    """Open an engine as another process would, with the fake pool attached. The caller closes."""
    settings = load_settings()
    engine = Engine(open_store(settings), settings, opener=cluster.opener)
    if not engine.store.list_pools():
        engine.store.add_pool(PoolRecord(name=POOL, kind="fake"))
    return engine


def opener_of(cluster: FakeCluster) -> PoolOpener:
    """Return the cluster's opener as a plain function: configuration copies what has a self."""

    def opener(record: PoolRecord, settings: Settings) -> Pool:
        return cluster.opener(record, settings)

    return opener


async def eventually(look: Callable[[], Awaitable[Any]], *, seconds: float = 60) -> None:
    """Return once `look` answers with something true."""
    deadline = time.monotonic() + seconds
    while not await look():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.01)


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(openapi(ROUTES)))
    return document


def _hold_to_the_document(verb: str, path: str, status: int, answer: Any) -> None:
    """Fail unless the OpenAPI document says that this endpoint may answer so."""
    (route,) = [each for each in ROUTES if re.fullmatch(each.pattern, path)]
    told = _document()["paths"][f"/aiinfra/{route.path}"][verb.lower()]["responses"]
    said = told.get(str(status)) or told["default"]
    assert str(status) in told or status >= 400
    if "content" not in said:
        assert answer is None
        return
    schema = said["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": _document()["components"]}).validate(answer)


class Api:
    """Asks the endpoints; what is refused is an answer too, and the document knows all answers."""

    def __init__(self, client: Any, *, base_url: str, headers: Mapping[str, str]) -> None:
        self._client = client
        self._base_url = base_url
        self._headers = dict(headers)

    async def fetch(self, verb: str, path: str, body: Any = None, **query: Any) -> Any:
        """Return the response to ``verb /aiinfra/path``; what is %-quoted in it stays so."""
        sent: dict[str, Any] = {"method": verb, "allow_nonstandard_methods": True}
        if body is not None:
            sent["body"] = body if isinstance(body, (str, bytes)) else json.dumps(body)
        url = f"{self._base_url}aiinfra/{quote(path, safe='/%')}?{urlencode(query)}"
        return await self._client.fetch(url, headers=self._headers, raise_error=False, **sent)

    async def ask(self, verb: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """Return status and JSON of ``verb /aiinfra/path``."""
        response = await self.fetch(verb, path, body, **query)
        answer = json.loads(response.body or b"null")
        _hold_to_the_document(verb, path, response.code, answer)
        return response.code, answer

    async def get(self, path: str, **query: Any) -> Any:
        """Return what is answered with 200."""
        status, answer = await self.ask("GET", path, **query)
        assert status == 200, answer
        return answer

    async def refused(self, verb: str, path: str, body: Any = None, **query: Any) -> Any:
        """Return status, message and hint of a refusal."""
        status, answer = await self.ask(verb, path, body, **query)
        assert status >= 400, answer
        return status, answer["message"], answer["hint"]
