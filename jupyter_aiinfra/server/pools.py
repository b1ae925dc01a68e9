"""``/aiinfra/pools``: what is attached, and whether it answers."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.cost.bill import PoolPrice, pool_price
from jupyter_aiinfra.engine import Engine, PoolView
from jupyter_aiinfra.errors import AiInfraError, HostKeyUnknown, PoolError
from jupyter_aiinfra.model import Health, Lease, Node, PoolRecord
from jupyter_aiinfra.server.costwire import price_item
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.queries import flag
from jupyter_aiinfra.server.routes import Operation, Query, Route
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import AttachRequest, PoolItem, PoolStatus

__all__ = [
    "BOARD_SETTING",
    "ROUTES",
    "CheckHandler",
    "PoolBoard",
    "PoolHandler",
    "PoolsHandler",
]

BOARD_SETTING = "jupyter_aiinfra_pools"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What a pool said when it was last asked; it counts for this record of it only."""

    record: PoolRecord
    status: PoolStatus
    since: float | None
    problem: str | None
    nodes: tuple[Node, ...] | None
    leases: tuple[Lease, ...] | None
    checked_at: float


class PoolBoard:
    """What is known of the pools without asking them: the record, and each one's last answer.

    Lives in the server's event loop. A pool that is listed for the first time is asked once in the
    background, so that it is not unknown for long; after that it is asked when somebody wants it.

    Attributes
    ----------
    changed
        Called, in the server's loop, whenever :meth:`items` would now say something else that the
        store does not tell of. Add to it and remove from it at any time.
    """

    def __init__(self, engine: SharedEngine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._answers: dict[str, _Answer] = {}
        self._asking: dict[str, asyncio.Task[PoolItem]] = {}
        self._listed: dict[str, PoolRecord] = {}
        self.changed: list[Callable[[], None]] = []

    async def items(self) -> tuple[PoolItem, ...]:
        """Return every attached pool, by name, as it was when last asked. Waits for no pool."""
        records, active, prices = await self._engine.call(_recorded)
        known = {record.name for record in records}
        for name in self._listed.keys() - known:
            self.forget(name)
        for record in records:
            if self._listed.get(record.name) != record:
                self._listed[record.name] = record
                if self._answer(record) is None and record.name not in self._asking:
                    self._ask(record.name)
        return tuple(
            self._item(record, active.get(record.name, 0), prices.get(record.name))
            for record in records
        )

    async def item(self, name: str) -> PoolItem:
        """Return one attached pool as it was when last asked, or raise PoolNotFound."""

        def recorded(engine: Engine) -> tuple[PoolRecord, int, PoolPrice | None]:
            active = engine.store.count_active().get(name, 0)
            return engine.store.get_pool(name), active, engine.ledger.price(name)

        return self._item(*await self._engine.call(recorded))

    async def check(self, name: str) -> PoolItem:
        """Ask the pool itself and return what it says; an unreachable one is no error.

        Several callers at once share one question.

        Raises
        ------
        PoolNotFound
            No such pool is attached.
        """
        task = self._asking.get(name) or self._ask(name)
        # A caller that goes away must not take the answer from the others.
        return await asyncio.shield(task)

    def note(self, view: PoolView) -> PoolItem:
        """Remember what a pool has just said."""
        self._listed[view.record.name] = view.record
        self._note(view)
        return self._item(view.record, view.active_jobs, view.price)

    def _note(self, view: PoolView) -> None:
        self._answers[view.record.name] = _noted(
            view, before=self._answer(view.record), now=self._clock()
        )
        self._tell()

    def forget(self, name: str) -> None:
        """Forget what is known of a pool that is no longer attached. Idempotent."""
        # Who still waits for an answer gets it; it counts for nobody else.
        self._asking.pop(name, None)
        self._listed.pop(name, None)
        if self._answers.pop(name, None) is not None:
            self._tell()

    async def close(self) -> None:
        """Ask nothing any more. Idempotent."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _answer(self, record: PoolRecord) -> _Answer | None:
        answer = self._answers.get(record.name)
        # Detached and attached anew, a pool of that name is another one.
        return answer if answer is not None and answer.record == record else None

    def _item(self, record: PoolRecord, active_jobs: int, price: PoolPrice | None) -> PoolItem:
        answer = self._answer(record)
        return PoolItem(
            name=record.name,
            kind=record.kind,
            options=record.options,
            created_at=record.created_at,
            active_jobs=active_jobs,
            status=answer.status if answer else PoolStatus.UNKNOWN,
            problem=(answer.problem or "") if answer else "",
            since=answer.since if answer else None,
            checked_at=answer.checked_at if answer else None,
            nodes=answer.nodes if answer else None,
            leases=answer.leases if answer else None,
            price=price_item(price),
        )

    def _ask(self, name: str) -> asyncio.Task[PoolItem]:
        task = asyncio.create_task(self._look(name), name=f"aiinfra-check-{name}")
        self._asking[name] = task
        task.add_done_callback(lambda done: self._asked(name, done))
        return task

    async def _look(self, name: str) -> PoolItem:
        view = await self._engine.run(lambda engine: _view(engine, name))
        if self._asking.get(name) is asyncio.current_task():
            self._note(view)
        return self._item(view.record, view.active_jobs, view.price)

    def _asked(self, name: str, task: asyncio.Task[PoolItem]) -> None:
        if self._asking.get(name) is task:
            del self._asking[name]
        # Looked at here also because nobody may be waiting for it.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, AiInfraError):
            _log.error("checking pool %s failed", name, exc_info=error)

    def _tell(self) -> None:
        for callback in tuple(self.changed):
            callback()


def _noted(view: PoolView, *, before: _Answer | None, now: float) -> _Answer:
    """Return what a pool has said as an answer, with since when it is so."""
    known = {node.name: node for node in (before.nodes if before else None) or ()}
    leases = view.leases
    if view.nodes is not None:
        nodes: tuple[Node, ...] | None = view.nodes
        status = PoolStatus.LIVE
        if view.problem is not None:
            status = PoolStatus.UNREACHABLE
        elif any(node.health is not Health.LIVE for node in view.nodes):
            status = PoolStatus.DEGRADED
    else:
        # Who looks at it still wants to know what there is, or was.
        nodes = tuple(map(_silent, known.values())) or None
        leases = before.leases if before else None
        status = PoolStatus.UNREACHABLE
    if nodes is not None:
        nodes = tuple(_dated(node, known.get(node.name), now) for node in nodes)
    if before is not None and before.status is status:
        since = before.since
    else:
        # That it answers when it is first asked is no news.
        since = None if before is None and status is PoolStatus.LIVE else now
    return _Answer(
        record=view.record,
        status=status,
        since=since,
        problem=view.problem,
        nodes=nodes,
        leases=leases,
        checked_at=now,
    )


def _silent(node: Node) -> Node:
    if node.health is Health.UNREACHABLE:
        return node
    return dataclasses.replace(node, health=Health.UNREACHABLE, since=None, problem=None)


def _dated(node: Node, before: Node | None, now: float) -> Node:
    """Return a node that is not well with since when that is so, where it does not say."""
    if node.health is Health.LIVE or node.since is not None:
        return node
    same = before is not None and before.health is node.health
    return dataclasses.replace(node, since=before.since if before and same else now)


def _recorded(
    engine: Engine,
) -> tuple[list[PoolRecord], Mapping[str, int], Mapping[str, PoolPrice]]:
    prices = {row.pool: pool_price(row) for row in engine.store.prices()}  # the newest is the last
    return list(engine.store.list_pools()), engine.store.count_active(), prices


async def _view(engine: Engine, name: str) -> PoolView:
    try:
        return await engine.show_pool(name)
    except PoolError as error:
        # It answered, and not as a pool that can be used does.
        record = engine.store.get_pool(name)
        active = engine.store.count_active().get(name, 0)
        return PoolView(record=record, nodes=None, problem=error.message, active_jobs=active)


class _PoolsHandler(AiInfraHandler):
    @property
    def board(self) -> PoolBoard:
        """What is known of the pools."""
        board: PoolBoard = self.settings[BOARD_SETTING]
        return board


class PoolsHandler(_PoolsHandler):
    """All pools."""

    _attaching: asyncio.Future[PoolView] | None = None
    _is_gone = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write them, by name, as they were when last asked."""
        self.answer(await self.board.items())

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Attach one. Attaching the same again under its name is no error."""
        asked = self.body(AttachRequest)
        # A field left empty in a form is an option that was not given.
        options = {name: value for name, value in asked.options.items() if value != ""}
        lines = {key.line for key in asked.accept}

        async def is_accepted(shown: HostKeyUnknown) -> bool:
            return shown.line in lines

        self._attaching = asyncio.ensure_future(
            self.engine.run(
                lambda engine: engine.attach(
                    asked.name, kind=asked.kind, options=options, confirm=is_accepted
                )
            )
        )
        try:
            view = await self._attaching
        except asyncio.CancelledError:
            if not self._is_gone:
                raise
            self.log.info("who attached pool %s did not wait for it", asked.name)
            return
        self.answer(self.board.note(view), status=201)

    def on_connection_close(self) -> None:
        """Stop what nobody waits for any more: hosts that do not answer take long to say so."""
        super().on_connection_close()
        self._is_gone = True
        if self._attaching is not None:
            self._attaching.cancel()


class PoolHandler(_PoolsHandler):
    """One pool."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """Write it, as it was when last asked."""
        self.answer(await self.board.item(name))

    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        """Detach it; with ``force`` also where jobs on it are not over."""
        force = flag(self, "force")
        await self.engine.run(lambda engine: engine.detach(name, force=force))
        self.board.forget(name)
        self.answer(None)


class CheckHandler(_PoolsHandler):
    """Whether a pool answers."""

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """Ask it now, and write what it says."""
        self.answer(await self.board.check(name))


_FORCE = Query(
    name="force", type="boolean", description="also where jobs on it are not over: they go on"
)

ROUTES = (
    Route(
        path="pools",
        handler=PoolsHandler,
        operations={
            "get": Operation(
                summary="The attached pools, as they were when last asked",
                answer=list[PoolItem],
            ),
            "post": Operation(
                summary="Attach a pool", answer=PoolItem, body=AttachRequest, status=201
            ),
        },
    ),
    Route(
        path="pools/{name}",
        handler=PoolHandler,
        operations={
            "get": Operation(summary="A pool, as it was when last asked", answer=PoolItem),
            "delete": Operation(summary="Detach a pool", answer=None, status=204, query=(_FORCE,)),
        },
    ),
    Route(
        path="pools/{name}/check",
        handler=CheckHandler,
        operations={"post": Operation(summary="Ask a pool now", answer=PoolItem)},
    ),
)
