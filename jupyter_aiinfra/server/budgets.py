"""``/aiinfra/budgets`` and ``/aiinfra/idle``: what acts on cost and waste."""

from __future__ import annotations

import time

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.governance import make_budget
from jupyter_aiinfra.server import queries
from jupyter_aiinfra.server.governwire import (
    BudgetDetail,
    BudgetItem,
    BudgetRequest,
    BudgetsNews,
    IdleItem,
    IdleRequest,
    SnoozeRequest,
    StoppedItem,
    budget_detail,
    budget_item,
    idle_item,
)
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Query, Route

__all__ = [
    "ROUTES",
    "BudgetHandler",
    "BudgetsHandler",
    "IdleHandler",
    "IdleRuleHandler",
    "SnoozeHandler",
    "StopHandler",
    "all_budgets",
]

_DECISIONS = 200
_SHORTEST_IDLE = 300.0


def all_budgets(engine: Engine) -> BudgetsNews:
    """Return all budgets as they are now."""
    return BudgetsNews(budgets=tuple(budget_item(each) for each in engine.governor.views()))


class BudgetsHandler(AiInfraHandler):
    """All budgets."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write them, with how far each is spent."""
        self.answer(await self.engine.call(all_budgets))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Set one, and act on it at once."""
        asked = self.body(BudgetRequest)
        made = make_budget(
            asked.amount,
            scope=asked.scope,
            subject=asked.subject,
            period=asked.period,
            action=asked.action,
            warn_at=asked.warn_share,
            grace_seconds=asked.grace_seconds,
            ask_seconds=asked.ask_seconds,
            by=self.who,
            now=time.time(),
        )

        async def put(engine: Engine) -> BudgetItem:
            kept = engine.governor.set_budget(made)
            await engine.govern()
            return budget_item(engine.governor.view(kept.id))

        self.answer(await self.engine.run(put), status=201)


class BudgetHandler(AiInfraHandler):
    """One budget."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002 - the parameter's name in the path
        """Write it, with what was decided by it."""

        def read(engine: Engine) -> BudgetDetail:
            _known(engine, id)
            decisions = engine.store.decisions(by=id, limit=_DECISIONS)
            return budget_detail(engine.governor.view(id), decisions)

        self.answer(await self.engine.call(read))

    @web.authenticated
    @authorized
    async def delete(self, id: str) -> None:  # noqa: A002
        """Forget it."""

        def remove(engine: Engine) -> None:
            _known(engine, id)
            engine.governor.remove(id)

        await self.engine.call(remove)
        self.answer(None)


class SnoozeHandler(AiInfraHandler):
    """Rest for a budget."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Have it do nothing for a while, or wake it up."""
        seconds = self.body(SnoozeRequest).seconds

        def snooze(engine: Engine) -> BudgetItem:
            _known(engine, id)
            engine.governor.snooze(id, seconds=seconds, by=self.who)
            return budget_item(engine.governor.view(id))

        self.answer(await self.engine.call(snooze))


class StopHandler(AiInfraHandler):
    """The end of a budget's jobs."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Stop the jobs that it counts, with time to save."""

        async def stop(engine: Engine) -> StoppedItem:
            _known(engine, id)
            stopped = await engine.governor.stop_jobs(id, by=self.who)
            return StoppedItem(stopped=tuple(stopped))

        self.answer(await self.engine.run(stop))


def _known(engine: Engine, budget_id: str) -> None:
    """Refuse what is not exactly the id of a budget: an address names one."""
    if not any(each.id == budget_id for each in engine.store.budgets()):
        raise NotFound(f"there is no budget {budget_id!r}", hint="it may have been removed")


class IdleHandler(AiInfraHandler):
    """Idle GPUs."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write who holds GPUs without using them."""
        pool = queries.text(self, "pool")

        async def read(engine: Engine) -> IdleItem:
            if pool is not None:
                engine.store.get_pool(pool)
            report = await engine.governor.idle(pool=pool)
            return idle_item(report, sorted(engine.store.idle_rules().items()))

        self.answer(await self.engine.run(read))


class IdleRuleHandler(AiInfraHandler):
    """What is done about idle GPUs of a pool or a job."""

    @web.authenticated
    @authorized
    async def put(self, name: str) -> None:
        """Say it."""
        rule = self.body(IdleRequest).rule
        for each in () if rule is None else (rule.stop_seconds, rule.warn_seconds):
            if each is not None and not _SHORTEST_IDLE <= each <= 30 * 86400:
                raise UsageError(f"{each:g} s: expected 5 minutes to 30 days")
        await self.engine.call(lambda engine: engine.governor.set_idle(name, rule))
        self.answer(None)


ROUTES = (
    Route(
        path="budgets",
        handler=BudgetsHandler,
        operations={
            "get": Operation(summary="All budgets, and how far they are spent", answer=BudgetsNews),
            "post": Operation(
                summary="Set a budget, or change it",
                answer=BudgetItem,
                body=BudgetRequest,
                status=201,
            ),
        },
    ),
    Route(
        path="budgets/{id}",
        handler=BudgetHandler,
        operations={
            "get": Operation(summary="A budget, and what was decided by it", answer=BudgetDetail),
            "delete": Operation(summary="Forget a budget", answer=None, status=204),
        },
    ),
    Route(
        path="budgets/{id}/snooze",
        handler=SnoozeHandler,
        operations={
            "post": Operation(
                summary="Have a budget do nothing for a while, or wake it up",
                answer=BudgetItem,
                body=SnoozeRequest,
            )
        },
    ),
    Route(
        path="budgets/{id}/stop",
        handler=StopHandler,
        operations={
            "post": Operation(
                summary="Stop the jobs that a budget counts, with time to save",
                answer=StoppedItem,
            )
        },
    ),
    Route(
        path="idle",
        handler=IdleHandler,
        operations={
            "get": Operation(
                summary="Who holds GPUs without using them, and what that costs",
                answer=IdleItem,
                query=(Query(name="pool", type="string", description="of this pool alone"),),
            )
        },
    ),
    Route(
        path="idle/{name}",
        handler=IdleRuleHandler,
        operations={
            "put": Operation(
                summary="Say what is done about idle GPUs of a pool or a job",
                answer=None,
                body=IdleRequest,
                status=204,
            )
        },
    ),
)
