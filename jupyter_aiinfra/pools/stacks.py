"""Stacks of ranks: what a node answers that was told to put them into the logs."""

from __future__ import annotations

import json

from jupyter_aiinfra.errors import PoolError
from jupyter_aiinfra.pools.base import RankStacks
from jupyter_aiinfra.shell import Completed

__all__ = ["DUMP_SECONDS", "stacks_from_answer"]

DUMP_SECONDS = 120.0
"""How long ``stall.py dump`` may take: py-spy takes its time, and is given up after a while."""


def stacks_from_answer(done: Completed) -> tuple[RankStacks, ...]:
    """Translate what ``stall.py dump`` printed.

    Raises
    ------
    PoolError
        It failed; its last line says why.
    """
    if not done.ok:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"]
        raise PoolError(f"the ranks could not be asked for their stacks: {lines[-1]}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return tuple(
        RankStacks(rank=answer["rank"], how=answer["how"], problem=answer["problem"])
        for answer in answers
    )
