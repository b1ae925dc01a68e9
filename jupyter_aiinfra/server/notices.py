"""``/aiinfra/notify-targets``: who can be told elsewhere what has become of runs and budgets."""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.notifying import TargetView
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Route

__all__ = ["ROUTES", "NotifyTarget", "NotifyTargets", "TargetTestHandler", "TargetsHandler"]


@dataclass(frozen=True, kw_only=True)
class NotifyTarget:
    """A target of the settings: its name, and what kind of URL it is; never the URL.

    ``kind`` is empty where all of the URL is a secret; ``problem`` says what keeps this server from
    sending to it.
    """

    name: str
    kind: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class NotifyTargets:
    """All targets, by name."""

    targets: tuple[NotifyTarget, ...]


class TargetsHandler(AiInfraHandler):
    """The targets of the settings."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write them."""
        views = await self.engine.call(lambda engine: engine.notifying.targets())
        self.answer(NotifyTargets(targets=tuple(_item(view) for view in views)))


class TargetTestHandler(AiInfraHandler):
    """A try of one."""

    asks_only = True

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """Send it a message that says that it is a test; return once it was taken."""

        async def test(engine: Engine) -> None:
            await engine.notifying.test(name)

        await self.engine.run(test)
        self.answer(None)


def _item(view: TargetView) -> NotifyTarget:
    return NotifyTarget(name=view.name, kind=view.kind, problem=view.problem)


ROUTES = (
    Route(
        path="notify-targets",
        handler=TargetsHandler,
        operations={"get": Operation(summary="Who can be notified, by name", answer=NotifyTargets)},
    ),
    Route(
        path="notify-targets/{name}/test",
        handler=TargetTestHandler,
        operations={"post": Operation(summary="Send a test to a target", answer=None, status=204)},
    ),
)
