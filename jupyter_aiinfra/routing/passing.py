"""The Open Inference Protocol over gRPC, asked of the router's own port over HTTP.

So keys, limits, the division of traffic, copies, samples and counts are the same for both, at the
price of one more connection within this process. A model has the name of its endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from jupyter_aiinfra.serving.faults import BadInput, Fault
from jupyter_aiinfra.serving.grpc import Calls, asked_as_http, begun

__all__ = ["Passing", "opened"]

_GOOD: Final = 200
_NO_KEY: Final = (401, 403)
# More is not read into memory, whatever an endpoint takes over HTTP.
_MOST_BYTES: Final = 256 << 20
_MOST_CALLS: Final = 1024
# What gRPC says about its own messages, and what is said anew about those over HTTP.
_OWN: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "te", "user-agent"}
)
_HEAD_SIZE: Final = "inference-header-content-length"


class _Refused(Fault):
    """What an endpoint answers instead."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Passing(Calls):
    """Asks endpoints by `client`, to which paths are those of the router."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__()
        self._client = client

    async def ready(self) -> bool:
        """Say yes: which endpoint is meant is not asked here."""
        return True

    async def model_ready(self, name: str, version: str, context: Any) -> bool:
        """Ask a replica; who has no key is told that rather than no."""
        answer = await self._asked("GET", f"{_path(name, version)}/ready", _headers(context))
        if answer.status_code in _NO_KEY:
            _checked(answer, context)
        return answer.status_code == _GOOD

    def admit(self, context: Any) -> None:
        """Tell everybody what the router's version says, too."""

    async def metadata(self, name: str, version: str, context: Any) -> Mapping[str, Any]:
        """Ask a replica."""
        answer = await self._asked("GET", _path(name, version), _headers(context))
        return dict(msgspec.json.decode(_checked(answer, context).content))

    async def infer(self, asked: Any, context: Any) -> tuple[bytes, int]:
        """Ask a replica."""
        head, raw = asked_as_http(asked)
        headers = _headers(context)
        headers[_HEAD_SIZE] = str(len(head))
        headers["content-type"] = "application/octet-stream"
        path = f"{_path(asked.model_name, asked.model_version)}/infer"
        answer = await self._asked("POST", path, headers, b"".join([head, *raw]))
        body = _checked(answer, context).content
        return body, int(answer.headers.get(_HEAD_SIZE, len(body)))

    async def _asked(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> httpx.Response:
        try:
            return await self._client.request(method, path, headers=dict(headers), content=body)
        except httpx.HTTPError as error:
            raise _Refused(503, f"the router does not answer: {error!r}") from error


def _path(name: str, version: str) -> str:
    if not name:
        raise BadInput("is empty; it is the name of an endpoint", field="model_name")
    part = quote(name, safe="")
    versions = f"/versions/{quote(version, safe='')}" if version else ""
    return f"/{part}/v2/models/{part}{versions}"


def _headers(context: Any) -> dict[str, str]:
    """Return what a call says beside its message, as headers: its key, its session, its trace."""
    told = context.invocation_metadata() or ()
    return {
        name: value
        for name, value in told
        if isinstance(value, str) and name not in _OWN and not name.startswith("grpc-")
    }


def _checked(answer: httpx.Response, context: Any) -> httpx.Response:
    """Return a good answer, and tell what stands in the headers of any."""
    told = [
        (name, answer.headers[name])
        for name in ("x-endpoint-version", "retry-after")
        if name in answer.headers
    ]
    context.set_trailing_metadata(tuple(told))
    if answer.status_code == _GOOD:
        return answer
    try:
        text = str(msgspec.json.decode(answer.content)["error"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        text = f"status {answer.status_code}"
    raise _Refused(answer.status_code, text)


async def opened(address: str, url: str) -> tuple[Any, httpx.AsyncClient, int]:
    """Return a server of gRPC on `address`, what it asks `url` with, and its port.

    Raises
    ------
    OSError
        The address cannot be had.
    """
    client = httpx.AsyncClient(
        base_url=url,
        headers={"accept-encoding": "identity"},
        # How long an answer may take, and how many may be under way, is the router's affair.
        timeout=None,  # noqa: S113
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        trust_env=False,
    )
    try:
        server, port = await begun(
            Passing(client), address, body_bytes=_MOST_BYTES, most=_MOST_CALLS
        )
    except BaseException:
        await client.aclose()
        raise
    return server, client, port
