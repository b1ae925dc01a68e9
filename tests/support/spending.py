"""A record of what pools and jobs have cost, written as if days had gone by."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest import mock

from jupyter_aiinfra.cost.catalog import Terms
from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.model import (
    Job,
    JobKind,
    JobSpec,
    JobState,
    Observation,
    Origin,
    Placement,
    PoolRecord,
)
from jupyter_aiinfra.store import Store, charging, leasing, records
from jupyter_aiinfra.store.charging import Held
from jupyter_aiinfra.store.readings import ChunkKey
from jupyter_aiinfra.telemetry.packing import Bucket, Chunk, pack

__all__ = ["DAY", "HOUR", "Spender"]

HOUR, DAY = 3600, 86400


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now


@dataclass(frozen=True)
class _Pool:
    node: str
    gpus: tuple[str, ...]


class Spender:
    """Writes pools, jobs and readings of GPUs at times that have gone by."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._clock = _Clock()
        self._ledger = Ledger(store, wall=self._clock.time)
        self._pools: dict[str, _Pool] = {}
        self._jobs = 0

    @contextmanager
    def _at(self, now: float) -> Iterator[None]:
        """Have the record believe that it is this time."""
        self._clock.now = now
        with (
            mock.patch.object(charging, "time", self._clock),
            mock.patch.object(leasing, "time", self._clock),
            mock.patch.object(records, "time", self._clock),
        ):
            yield

    def attach(
        self, name: str, *, at: float, gpus: int, amount: str | None, currency: str = "USD"
    ) -> None:
        """Attach a pool with one node, whose GPU-hours cost so much; ``None`` is unknown."""
        slots = tuple(f"GPU-{name}-{number}" for number in range(gpus))
        node = f"{name}-1"
        self._pools[name] = _Pool(node, slots)
        with self._at(at):
            self.store.add_pool(PoolRecord(name=name, kind="simulated"))
            self.store.note_capacity(name, {node: [Held(slot, "H100") for slot in slots]}, at=at)
            if amount is not None:
                terms = Terms(
                    amount=amount,
                    currency=currency,
                    source="the contract",
                    as_of=time.strftime("%Y-%m-%d", time.gmtime(at)),
                    confidence="owner",
                )
                self._ledger.set_price(name, terms)

    def detach(self, name: str, *, at: float) -> None:
        """Take the GPUs of a pool away; what they cost until then stays."""
        with self._at(at):
            self.store.note_capacity(name, {self._pools[name].node: []}, at=at)

    def job(
        self,
        name: str,
        pool: str,
        *,
        at: float,
        hours: float,
        gpus: int = 1,
        busy: int | None = None,
        user: str | None = None,
        notebook: str | None = None,
        **tags: str,
    ) -> str:
        """Write a job that held GPUs for so long, which were so busy (percent; not known)."""
        self._jobs += 1
        job_id = f"1made{self._jobs:04}"
        where = self._pools[pool]
        held = where.gpus[:gpus]
        job = Job(
            id=job_id,
            pool=pool,
            spec=JobSpec(
                kind=JobKind.TRAIN,
                name=name,
                argv=("python",),
                gpus=gpus,
                tags=tags,
                origin=Origin(user=user, notebook=notebook),
            ),
            placement=(Placement(node=where.node, gpus=held),),
            created_at=at,
        )
        with self._at(at):
            assert self.store.add_placed(job)
        if busy is not None:
            self._read(pool, held, at=at, hours=hours, busy=busy)
        end = at + hours * HOUR
        with self._at(end):
            seen = Observation(state=JobState.SUCCEEDED, seen_at=end, ended_at=end)
            version = self.store.get_job(job_id).version
            assert self.store.advance(job_id, expected=version, seen=seen)
            # While minutes are still kept of it.
            self._ledger.settle(now=end)
        return job_id

    def _read(
        self, pool: str, gpus: tuple[str, ...], *, at: float, hours: float, busy: int
    ) -> None:
        """Write the readings of GPUs, an hour's minutes at a time."""
        node = self._pools[pool].node
        first = int(at) // HOUR * HOUR
        for start in range(first, int(at + hours * HOUR), HOUR):
            chunk = Chunk()
            for gpu in gpus:
                column = chunk.column(gpu, "utilization")
                column.update({minute: Bucket(busy, busy, busy, 60) for minute in range(60)})
            written = {ChunkKey(pool, node, 60, start): pack(chunk)}
            self.store.change_chunks(list(written), partial(_replaced, written))


def _replaced(
    written: Mapping[ChunkKey, bytes], _known: Mapping[ChunkKey, bytes]
) -> Mapping[ChunkKey, bytes]:
    return written
