"""What is told of budgets and of idle GPUs, the same on every surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jupyter_aiinfra.cost.money import Money
from jupyter_aiinfra.governance.budget import Verdict, Window
from jupyter_aiinfra.model import Budget, IdleRule

__all__ = ["BudgetView", "IdleJob", "IdleKernel", "IdleReport"]


@dataclass(frozen=True, kw_only=True)
class BudgetView:
    """A budget as of now.

    Parameters
    ----------
    name
        What it is called.
    window
        The period that is counted.
    jobs
        Those that it counts and that are not over.
    rate
        What these cost an hour, in its currency; ``None`` where that is not known.
    spent_at
        When it is spent, if nothing changes.
    asks_until
        While it asks whether its jobs may go on: when they are stopped if nobody answers.
    decided_at
        When it last decided anything.
    """

    budget: Budget
    name: str
    window: Window
    verdict: Verdict
    jobs: tuple[str, ...] = ()
    rate: Money | None = None
    spent_at: float | None = None
    asks_until: float | None = None
    decided_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class IdleJob:
    """A job that does not use its GPUs.

    ``state`` and ``why`` are as in :class:`.idle.IdleVerdict`; ``stops_at`` is when it is stopped,
    ``cost`` what it has cost since then, ``rate`` what it costs an hour; ``None`` is unknown.
    """

    job: str
    name: str
    pool: str
    gpus: int
    state: Literal["waits", "idle", "hung"]
    since: float | None
    why: str
    rule: IdleRule
    stops_at: float | None = None
    rate: Money | None = None
    cost: Money | None = None


@dataclass(frozen=True, kw_only=True)
class IdleKernel:
    """A notebook's kernel that holds memory of a GPU which computes nothing.

    ``since`` is when the GPU last computed, as far back as it was read; ``cost`` is what it has
    cost since then, ``rate`` what it costs an hour.
    """

    pool: str
    node: str
    gpu: str
    index: int | None
    pid: int
    user: str | None
    command: str
    memory_bytes: int | None
    since: float | None = None
    rate: Money | None = None
    cost: Money | None = None


@dataclass(frozen=True, kw_only=True)
class IdleReport:
    """Who holds GPUs without using them; ``silent`` are pools that could not be read, and why."""

    at: float
    jobs: tuple[IdleJob, ...]
    kernels: tuple[IdleKernel, ...]
    silent: tuple[tuple[str, str], ...] = ()
