"""``/aiinfra/endpoints`` and ``/aiinfra/endpoint/{id}``: what is served, and how that changes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.endpoint import ReplicaOptions
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.endpointviews import Asked, EndpointView, base_of
from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.promote.endpointjob import read_package
from jupyter_aiinfra.server import queries
from jupyter_aiinfra.server.endpointrequests import (
    DeployRequest,
    EndpointKeyRequest,
    EndpointOptionsRequest,
    ReplicasAsked,
    RollbackToRequest,
    ScaleRequest,
    TrafficRequest,
    UpdateRequest,
    given_of,
)
from jupyter_aiinfra.server.endpointwire import (
    EndpointDetail,
    EndpointItem,
    EndpointKeyItem,
    EndpointSecretItem,
    EndpointsItem,
    event_item,
    item_of,
    key_item,
)
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Query, Route

__all__ = [
    "ROUTES",
    "ConfigureHandler",
    "EndpointHandler",
    "EndpointsHandler",
    "KeyHandler",
    "KeysHandler",
    "PromoteHandler",
    "PutBackHandler",
    "RotateHandler",
    "ScaleHandler",
    "TakeBackHandler",
    "TrafficHandler",
    "UpdateHandler",
    "known",
]


class _Handler(AiInfraHandler):
    """What handlers of endpoints share."""

    async def change(
        self, endpoint_id: str, work: Callable[[Engine], Coroutine[Any, Any, EndpointView]]
    ) -> None:
        """Change an endpoint, and write it as it is then."""

        async def changed(engine: Engine) -> EndpointItem:
            known(engine, endpoint_id)
            return item_of(await work(engine))

        self.answer(await self.engine.run(changed))

    def environment(self, asked: ReplicasAsked) -> str | None:
        """Return where the file is that an environment is made of, or the word for the pool's."""
        if asked.environment in (None, "current"):
            return asked.environment
        return str(self.local_path(asked.environment, option="environment"))


def known(engine: Engine, endpoint_id: str) -> None:
    """Refuse what is not exactly the id of an endpoint: an address names one."""
    if engine.store.find_endpoint(endpoint_id) is None:
        raise NotFound(f"there is no endpoint {endpoint_id!r}", hint="it may be another's by now")


class EndpointsHandler(_Handler):
    """All endpoints."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write them."""
        removed = queries.flag(self, "removed")

        async def read(engine: Engine) -> EndpointsItem:
            views = await engine.endpoints.views(removed=removed)
            return EndpointsItem(endpoints=tuple(item_of(view) for view in views))

        self.answer(await self.engine.run(read))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Deploy one; it comes up beside this."""
        asked = self.body(DeployRequest)
        folder = self.local_path(asked.folder, option="folder")
        own = Asked(
            options=asked.replicas(ReplicaOptions()),
            environment=self.environment(asked),
            replay=asked.replay,
            note=asked.note,
            by=self.who,
        )

        async def deploy(engine: Engine) -> EndpointItem:
            name = asked.name or read_package(folder)[0].name
            view = await engine.endpoints.deploy(
                name,
                folder,
                pool=asked.pool,
                options=replace(asked.options),  # with all that was left out
                scaling=replace(asked.scaling),
                asked=own,
            )
            return item_of(view)

        self.answer(await self.engine.run(deploy), status=201)


class EndpointHandler(_Handler):
    """One endpoint."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002 - the parameter's name in the path
        """Write it, with what has happened to it."""

        async def read(engine: Engine) -> EndpointDetail:
            known(engine, id)
            view = await engine.endpoints.show(id)
            events = tuple(event_item(each) for each in engine.endpoints.events(id))
            return EndpointDetail(item=item_of(view), events=events)

        self.answer(await self.engine.run(read))

    @web.authenticated
    @authorized
    async def delete(self, id: str) -> None:  # noqa: A002
        """Serve it no more; it can be put back."""

        async def remove(engine: Engine) -> None:
            known(engine, id)
            await engine.endpoints.remove(id)

        await self.engine.run(remove)
        self.answer(None)


class UpdateHandler(_Handler):
    """Another version."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Have it served, as is asked."""
        asked = self.body(UpdateRequest)
        folder = None if asked.folder is None else self.local_path(asked.folder, option="folder")
        how = Asked(
            pool=asked.pool,
            environment=self.environment(asked),
            replay=asked.replay,
            how=asked.how,
            steps=asked.steps,
            step_seconds=asked.step_seconds,
            least_requests=asked.least_requests,
            gates=replace(asked.gates),  # with all that was left out
            header=asked.header,
            note=asked.note,
            by=self.who,
        )

        async def update(engine: Engine) -> EndpointView:
            old = base_of(engine.store.whole_endpoint(id)).options
            own = replace(how, options=asked.replicas(old))
            return await engine.endpoints.update(id, folder, own)

        await self.change(id, update)


class PromoteHandler(_Handler):
    """All traffic for what is tried out."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Give it."""
        await self.change(id, lambda engine: engine.endpoints.promote(id))


class TakeBackHandler(_Handler):
    """The way back."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Go it."""
        asked = self.body(RollbackToRequest)
        reason = asked.reason or f"by {self.who}"
        await self.change(
            id, lambda engine: engine.endpoints.rollback(id, to=asked.to, reason=reason)
        )


class TrafficHandler(_Handler):
    """Traffic, divided by hand."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Divide it."""
        given = self.body(TrafficRequest).weights
        wrong = [each for each in given if not each.isascii() or not each.isdigit()]
        if wrong:
            raise UsageError(f"{wrong[0]!r} is no version", hint="a number", option="weights")
        weights = {int(number): weight for number, weight in given.items()}
        await self.change(id, lambda engine: engine.endpoints.split(id, weights))


class ScaleHandler(_Handler):
    """How many replicas there are."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Say it."""
        asked = self.body(ScaleRequest)
        values = given_of(asked)
        await self.change(id, lambda engine: engine.endpoints.scale(id, **values))


class ConfigureHandler(_Handler):
    """What the router does for an endpoint, whatever the version."""

    @web.authenticated
    @authorized
    async def put(self, id: str) -> None:  # noqa: A002
        """Say all of it: what is left out is as in a new endpoint."""
        asked = self.body(EndpointOptionsRequest)
        values = given_of(asked)
        await self.change(id, lambda engine: engine.endpoints.configure(id, **values))


class PutBackHandler(_Handler):
    """A removed endpoint."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Serve it once more."""
        await self.change(id, lambda engine: engine.endpoints.restore(id))


class KeysHandler(_Handler):
    """Keys of callers."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Make one; its secret is in this answer only."""
        asked = self.body(EndpointKeyRequest)

        async def make(engine: Engine) -> EndpointSecretItem:
            known(engine, id)
            secret, key = await engine.endpoints.add_key(
                id, asked.name, scopes=asked.scopes, per_second=asked.per_second, by=self.who
            )
            return EndpointSecretItem(secret=secret, key=key_item(key))

        self.answer(await self.engine.run(make), status=201)


class KeyHandler(_Handler):
    """One key."""

    @web.authenticated
    @authorized
    async def delete(self, id: str, name: str) -> None:  # noqa: A002
        """Have it hold no more."""

        async def revoke(engine: Engine) -> EndpointKeyItem:
            known(engine, id)
            return key_item(await engine.endpoints.revoke_key(id, name))

        self.answer(await self.engine.run(revoke))


class RotateHandler(_Handler):
    """A key in place of another."""

    @web.authenticated
    @authorized
    async def post(self, id: str, name: str) -> None:  # noqa: A002
        """Make it; the other holds for an hour more."""

        async def rotate(engine: Engine) -> EndpointSecretItem:
            known(engine, id)
            secret, key = await engine.endpoints.rotate_key(id, name, by=self.who)
            return EndpointSecretItem(secret=secret, key=key_item(key))

        self.answer(await self.engine.run(rotate), status=201)


def _one(path: str, handler: Any, verb: str, summary: str, answer: Any, **more: Any) -> Route:
    operation = Operation(summary=summary, answer=answer, **more)
    return Route(path=path, handler=handler, operations={verb: operation})


def _change(
    path: str, handler: Any, summary: str, body: Any = None, *, verb: str = "post"
) -> Route:
    return _one(f"endpoint/{{id}}/{path}", handler, verb, summary, EndpointItem, body=body)


ROUTES = (
    Route(
        path="endpoints",
        handler=EndpointsHandler,
        operations={
            "get": Operation(
                summary="All endpoints, and how their versions do",
                answer=EndpointsItem,
                query=(Query(name="removed", type="boolean", description="also those removed"),),
            ),
            "post": Operation(
                summary="Serve the model in a folder; it comes up beside this",
                answer=EndpointItem,
                body=DeployRequest,
                status=201,
            ),
        },
    ),
    Route(
        path="endpoint/{id}",
        handler=EndpointHandler,
        operations={
            "get": Operation(
                summary="An endpoint, and what has happened to it", answer=EndpointDetail
            ),
            "delete": Operation(
                summary="Serve an endpoint no more; it can be put back", answer=None, status=204
            ),
        },
    ),
    _change("update", UpdateHandler, "Have another version served", UpdateRequest),
    _change("promote", PromoteHandler, "Give all traffic to the version that is tried out"),
    _change("rollback", TakeBackHandler, "End a change, or go back", RollbackToRequest),
    _change("traffic", TrafficHandler, "Divide the traffic by hand", TrafficRequest),
    _change("scale", ScaleHandler, "Say how many replicas there are", ScaleRequest),
    _change(
        "options",
        ConfigureHandler,
        "Say limits, pages, samples",
        EndpointOptionsRequest,
        verb="put",
    ),
    _change("restore", PutBackHandler, "Put a removed one back"),
    _one(
        "endpoint/{id}/keys",
        KeysHandler,
        "post",
        "Make a key; its secret is shown this once",
        EndpointSecretItem,
        body=EndpointKeyRequest,
        status=201,
    ),
    _one("endpoint/{id}/keys/{name}", KeyHandler, "delete", "Revoke a key", EndpointKeyItem),
    _one(
        "endpoint/{id}/keys/{name}/rotate",
        RotateHandler,
        "post",
        "Make a key in place of another, which holds for an hour more",
        EndpointSecretItem,
        status=201,
    ),
)
