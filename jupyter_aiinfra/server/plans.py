"""``/aiinfra/jobs/{id}/plan``: what each node of a job is told to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import NotFound
from jupyter_aiinfra.logview import Redactor
from jupyter_aiinfra.model import Handle, NodePlan, from_wire
from jupyter_aiinfra.pools.base import Browsing, Pool
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.jobs import recorded_job, secret_values
from jupyter_aiinfra.server.routes import Operation, Route
from jupyter_aiinfra.server.wire import PlanText

__all__ = ["ROUTES", "PlanHandler"]

_ORDERS_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class _Orders:
    """What a run directory's ``spec.json`` says of how a node was told to run the job."""

    node_rank: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str


async def _plan(engine: Engine, job_id: str) -> PlanText:
    job = recorded_job(engine, job_id)
    pool = engine.pool(job.pool)
    plan = await pool.plan(job)
    orders = await _orders(pool, job.handle) if job.handle else None
    hide = secret_values(job.spec)
    nodes = tuple(_hidden(_as_run(node, orders), hide) for node in plan.nodes)
    return PlanText(text=hide(replace(plan, nodes=nodes).text))


def _hidden(node: NodePlan, hide: Redactor) -> NodePlan:
    """Return `node` without secrets: in its text a shell's quotes may stand within one."""
    return replace(
        node,
        argv=tuple(hide(word) for word in node.argv),
        env={name: hide(value) for name, value in node.env.items()},
        cwd=hide(node.cwd),
    )


def _as_run(node: NodePlan, orders: _Orders | None) -> NodePlan:
    if orders is None or orders.node_rank != node.node_rank:
        return node
    return replace(node, argv=orders.argv, env=orders.env, cwd=orders.cwd)


async def _orders(pool: Pool, handle: Handle) -> _Orders | None:
    """Return what was really run, where it can be read: the pool may plan differently by now."""
    if not isinstance(pool, Browsing):
        return None
    try:
        reader = await pool.open_file(handle, "spec.json")
    except NotFound:
        return None
    try:
        text = b""
        while (data := await reader.read()) and len(text) < _ORDERS_BYTES:
            text += data
    finally:
        await reader.aclose()
    try:
        return from_wire(json.loads(text), _Orders)
    except (ValueError, RecursionError):  # the job may have written over it
        return None


class PlanHandler(AiInfraHandler):
    """What each node of a job is told to do."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002
        """Write it, as it was run where that can be told."""
        self.answer(await self.engine.run(lambda engine: _plan(engine, id)))


ROUTES = (
    Route(
        path="jobs/{id}/plan",
        handler=PlanHandler,
        operations={"get": Operation(summary="What each node is told to do", answer=PlanText)},
    ),
)
