"""The pools that are attached, and the open ones among them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jupyter_aiinfra.cost.catalog import Terms, bundled, imported
from jupyter_aiinfra.cost.ledger import Ledger, PoolPrice
from jupyter_aiinfra.cost.terms import PriceOptions, agree, split_options
from jupyter_aiinfra.errors import (
    HostKeyUnknown,
    PoolError,
    PoolExists,
    PoolInUse,
    StorageFull,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.model import Health, Lease, Node, PoolRecord, Severity
from jupyter_aiinfra.pools.abilities import Checking, Confirm, NodeCheck, Tell
from jupyter_aiinfra.pools.base import Leased, Pool, Trusting
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.charging import Held

__all__ = ["Attached", "PoolCheck", "PoolOpener", "PoolView", "check_name", "settle_keys"]

PoolOpener = Callable[[PoolRecord, Settings], Pool]

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_NAME_LENGTH = 63


@dataclass(frozen=True, kw_only=True)
class PoolView:
    """A pool as seen now: its nodes, or why they cannot be told.

    ``leases`` are those of the GPUs that are there, of other pools as well; ``None`` where the
    engine leases none. ``price`` is what it costs now, where anybody has said.
    """

    record: PoolRecord
    nodes: tuple[Node, ...] | None
    problem: str | None
    active_jobs: int
    leases: tuple[Lease, ...] | None = None
    price: PoolPrice | None = None


@dataclass(frozen=True, kw_only=True)
class PoolCheck:
    """What a check of a pool found, a node each; ``leases`` as in :class:`PoolView`."""

    record: PoolRecord
    nodes: tuple[NodeCheck, ...]
    leases: tuple[Lease, ...] | None = None

    @property
    def verdict(self) -> Severity:
        """The worst of its nodes."""
        known = {each.verdict for each in self.nodes}
        worst = (Severity.ERROR, Severity.WARNING)
        return next((each for each in worst if each in known), Severity.OK)


class Attached:
    """What is attached, opened when it is first asked for."""

    def __init__(
        self, store: Store, settings: Settings, *, opener: PoolOpener, ledger: Ledger
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.settings = settings
        self._opener = opener
        self._open: dict[str, tuple[PoolRecord, Pool]] = {}

    async def attach(
        self,
        name: str,
        *,
        kind: str,
        options: Mapping[str, Any] | None = None,
        confirm: Confirm | None = None,
    ) -> PoolView:
        """Attach a pool under `name`; see the engine's verb."""
        check_name("pool", name)
        own, price = split_options(options or {})
        terms = self.terms(price) if price.given else None
        record = PoolRecord(name=name, kind=kind, options=own)
        pool = self._opener(record, self.settings)
        try:
            nodes = await _nodes_trusted(pool, confirm)
            record = self._add_pool(record)
        except BaseException:
            await pool.aclose()
            raise
        self._open[name] = (record, pool)
        if terms is not None:
            known = self.ledger.price(name)
            # Said again in a notebook that is run again, it is no other price.
            if known is None or known.terms.rate != terms.rate or known.terms.sku != terms.sku:
                self.ledger.set_price(name, terms)
        return self._view(record, pool, tuple(nodes))

    def terms(self, asked: PriceOptions) -> Terms:
        """Return what a price that somebody has said comes to."""
        return agree(asked, [*imported(self.store.catalog_rows()), *bundled()])

    def _note_capacity(self, name: str, nodes: Sequence[Node]) -> None:
        """Write down which GPUs a pool has: what it costs is made of that."""
        here = {
            node.name: [Held(gpu.uuid, gpu.name) for gpu in node.gpus] or [Held("")]
            for node in nodes
            # Of a node that does not answer nothing is known, and it costs as before.
            if node.problem is None and node.health in (Health.LIVE, Health.DEGRADED)
        }
        # Bookkeeping must not keep anybody from his pools; it is done with the next look.
        with contextlib.suppress(StorageFull):
            self.store.note_capacity(name, here, at=time.time())

    def _view(self, record: PoolRecord, pool: Pool, nodes: tuple[Node, ...]) -> PoolView:
        self._note_capacity(record.name, nodes)
        leases = None
        if isinstance(pool, Leased):
            here = {gpu.uuid for node in nodes for gpu in node.gpus}
            leases = tuple(lease for lease in self.store.leases() if lease.gpu in here)
        return PoolView(
            record=record,
            nodes=nodes,
            problem=None,
            active_jobs=len(self.store.list_jobs(pool=record.name, active=True)),
            leases=leases,
            price=self.ledger.price(record.name),
        )

    def _add_pool(self, record: PoolRecord) -> PoolRecord:
        try:
            self.store.add_pool(record)
        except PoolExists:
            old = self.store.get_pool(record.name)
            if (old.kind, dict(old.options)) != (record.kind, dict(record.options)):
                raise
            return old
        return record

    async def detach(self, name: str, *, force: bool = False) -> None:
        """Forget a pool. Its jobs and their run directories stay as they are.

        Raises
        ------
        PoolInUse
            Jobs on it are not over, and `force` is false.
        """
        self.store.get_pool(name)
        active = self.store.list_jobs(pool=name, active=True)
        if active and not force:
            ids = ", ".join(job.id for job in active)
            raise PoolInUse(
                f"pool {name!r} has jobs that are not over: {ids}",
                hint=f"cancel them (%jobs cancel ID), or %pool detach {name} --force: "
                "they go on, and are found again when the pool is attached under this name",
            )
        self.store.remove_pool(name)
        opened = self._open.pop(name, None)
        if opened is not None:
            await opened[1].aclose()

    def pool(self, name: str) -> Pool:
        """Return the open pool of that name.

        Raises
        ------
        PoolNotFound
            No such pool is attached.
        Unreachable
            What it was attached with holds no longer.
        """
        record = self.store.get_pool(name)
        opened = self._open.get(name)
        if opened is None or opened[0] != record:
            try:
                opened = (record, self._opener(record, self.settings))
            except UsageError as error:
                # It was right when it was attached; its interpreter, say, has been removed since.
                hint = f"%pool detach {name}, and attach it anew"
                raise Unreachable(error.message, hint=hint) from error
            self._open[name] = opened
        return opened[1]

    async def pools(self) -> Sequence[PoolView]:
        """Return every attached pool as seen now, by name."""
        return [await self.show_pool(record.name) for record in self.store.list_pools()]

    async def show_pool(self, name: str) -> PoolView:
        """Return one attached pool as seen now; an unreachable one says so and is no error."""
        record = self.store.get_pool(name)
        try:
            pool = self.pool(name)
            return self._view(record, pool, tuple(await pool.nodes()))
        except (Unreachable, UsageError) as error:
            # A file that it was attached with may be another one by now.
            active = len(self.store.list_jobs(pool=name, active=True))
            return PoolView(
                record=record,
                nodes=None,
                problem=error.message,
                active_jobs=active,
                price=self.ledger.price(name),
            )

    async def check(
        self, name: str, *, confirm: Confirm | None = None, tell: Tell | None = None
    ) -> PoolCheck:
        """Look into all that jobs need of a pool; see the engine's verb."""
        record, pool = self.store.get_pool(name), self.pool(name)
        asked: set[str] = set()
        while True:
            checks = tuple(await _checked(pool, tell or _unheard))
            try:
                if confirm is None or not await settle_keys(pool, confirm, asked):
                    break
            except HostKeyUnknown:
                break  # it is among what was found
        nodes = tuple(each.node for each in checks if each.node is not None)
        return PoolCheck(record=record, nodes=checks, leases=self._view(record, pool, nodes).leases)

    async def nodes(self, name: str) -> Sequence[Node]:
        """Return the nodes of a pool as of now; raises Unreachable where it does not answer."""
        nodes = await self.pool(name).nodes()
        self._note_capacity(name, nodes)
        return nodes

    async def aclose(self) -> None:
        """Let go of the open pools. Idempotent."""
        for _, pool in self._open.values():
            await pool.aclose()
        self._open.clear()


def _unheard(_text: str) -> None:
    """Take what nobody wants to hear."""


async def _checked(pool: Pool, tell: Tell) -> Sequence[NodeCheck]:
    if isinstance(pool, Checking):
        return await pool.check(tell)
    return [
        NodeCheck(name=node.name, reachable=True, node=node, address=node.address)
        for node in await pool.nodes()
    ]


async def _nodes_trusted(pool: Pool, confirm: Confirm | None) -> Sequence[Node]:
    """Return the nodes of a pool, once every key that they show is one that a person accepts."""
    error: PoolError | None = None
    nodes: Sequence[Node] = ()
    asked: set[str] = set()
    while True:
        try:
            nodes, error = await pool.nodes(), None
        except PoolError as problem:
            error = problem
        if not await settle_keys(pool, confirm, asked):
            if error is not None:
                raise error
            return nodes


async def settle_keys(pool: Pool, confirm: Confirm | None, asked: set[str]) -> bool:
    """Ask about each unknown key that the pool has met; whether there was one.

    `asked` are those that were asked about already.

    Raises
    ------
    HostKeyUnknown
        One was not accepted, or there is nobody to ask.
    """
    keys = list(pool.untrusted) if isinstance(pool, Trusting) else []
    for key in keys:
        assert isinstance(pool, Trusting)  # noqa: S101 - it has shown the key
        if key.line not in {each.line for each in pool.untrusted}:
            continue  # several nodes lie behind the same host
        # One that is met again was accepted in vain: its file is not one that ssh reads.
        if key.line in asked or confirm is None or not await confirm(key):
            raise key
        asked.add(key.line)
        await pool.trust(key)
    return bool(keys)


def check_name(what: str, name: str) -> None:
    """Refuse what cannot be the name of a pool or a job."""
    if not name or len(name) > _NAME_LENGTH or not set(name) <= _NAME_CHARACTERS:
        raise UsageError(
            f"{name!r} is no name for a {what}",
            hint=f"up to {_NAME_LENGTH} letters, digits and - _ . make a name",
        )
