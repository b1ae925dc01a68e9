"""What of ours is on nodes that are elsewhere, and the end of what nobody records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_aiinfra.errors import NotFound, PoolError
from jupyter_aiinfra.pools.abilities import NodeSurvey, ProcessTrace, Reclaimed, RunTrace
from jupyter_aiinfra.pools.remote import RemoteNode

__all__ = ["reclaim_on_node", "survey_node"]

_SURVEY_SECONDS = 30.0
_END_SECONDS = 20.0
_MARGIN_SECONDS = 5.0
_POLL_SECONDS = 0.2
_FINAL = frozenset({"succeeded", "failed", "cancelled", "lost"})


async def survey_node(node: RemoteNode, runs: str) -> NodeSurvey:
    """Return everything of ours on a node whose run directories are in `runs`."""
    found = await node.call("survey", folder=runs, timeout=_SURVEY_SECONDS)
    runs_seen = [_run(node.name, each) for each in found["runs"]]
    return NodeSurvey(
        node=node.name,
        runs=tuple(each for each in runs_seen if _is_here(each)),
        processes=tuple(
            ProcessTrace(
                job=each["job"],
                node=node.name,
                pid=each["pid"],
                name=each["name"],
                role=each["role"],
                run_dir=each["run_dir"],
            )
            for each in found["processes"]
        ),
    )


def _is_here(run: RunTrace) -> bool:
    """Whether the node can tell of the run: where they share a home, it sees others' as well."""
    return run.node not in run.nodes or run.nodes[run.slot : run.slot + 1] == (run.node,)


def _run(node: str, told: Mapping[str, Any]) -> RunTrace:
    orders, status = told["spec"], told["status"]
    return RunTrace(
        job=orders["job"],
        node=node,
        slot=int(orders.get("node_rank") or 0),
        run_dir=told["run_dir"],
        state=status["state"],
        over=status["state"] in _FINAL or bool(status.get("never") or status.get("gone")),
        nodes=tuple(each["name"] for each in orders.get("nodes") or ()),
        orders=orders,
        fetch=tuple(told.get("fetch") or ()),
    )


async def reclaim_on_node(
    node: RemoteNode, runs: str, names: Sequence[str], *, job: str, grace: float
) -> Reclaimed:
    """End what runs for these run directories of a job, and remove them."""
    ended, removed = 0, False
    try:
        for name in names:
            await _end_kindly(node, f"{runs}/{name}", grace)
            answer = await node.call("reclaim", folder=runs, name=name, timeout=_END_SECONDS)
            ended += answer["ended"]
            if answer["left"]:
                pids = ", ".join(map(str, answer["left"]))
                problem = f"processes {pids} cannot be killed"
                return Reclaimed(job=job, node=node.name, ended=ended, problem=problem)
            gone = await node.call("remove", folder=runs, job=name)
            removed = removed or gone["removed"]
    except PoolError as error:
        return Reclaimed(
            job=job, node=node.name, ended=ended, removed=removed, problem=error.message
        )
    return Reclaimed(job=job, node=node.name, ended=ended, removed=removed)


async def _end_kindly(node: RemoteNode, run_dir: str, grace: float) -> None:
    """Ask for the end as a cancel does, and wait for it as long as that may take."""
    deadline = time.monotonic() + grace + _MARGIN_SECONDS
    asked = False
    while time.monotonic() < deadline:
        status = (await node.call("status", run_dirs=[run_dir]))["runs"][run_dir]
        if status.get("state") in {*_FINAL, "absent", None} or status.get("never"):
            return
        if not asked:
            try:
                await node.call("kill", run_dir=run_dir, grace=grace)
            except NotFound:
                return  # its program is gone: there is nobody to ask
            asked = True
        await asyncio.sleep(_POLL_SECONDS)
