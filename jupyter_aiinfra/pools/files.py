"""What pools share that keep a run directory on their nodes: orders out, observations back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_aiinfra.model import (
    Artifacts,
    Health,
    JobSpec,
    JobState,
    NodePlan,
    NodeStatus,
    Observation,
    RankError,
    RankStatus,
    Restart,
    TrackingRun,
)
from jupyter_aiinfra.node.supervise import FORMAT

__all__ = ["observation_from_status", "orders"]

# The words of a node's status, and nothing else, become states.
_STATES = {
    "starting": JobState.STARTING,
    "running": JobState.RUNNING,
    "succeeded": JobState.SUCCEEDED,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
    "lost": JobState.LOST,
    "absent": JobState.LOST,
}


def orders(
    job_id: str,
    spec: JobSpec,
    node: NodePlan,
    *,
    head: str,
    blobs: str,
    nodes: Sequence[NodePlan] = (),
    checkpoints: str | None = None,
) -> dict[str, Any]:
    """Return the content of a node's ``spec.json`` (see ``docs/run-directory.md``).

    `nodes` are all nodes of the job where there are several, `checkpoints` the folder that its
    ranks are told to keep checkpoints in (``None``: one in the run directory).
    """
    return {
        "format": FORMAT,
        "job": job_id,
        "name": spec.name,
        "kind": spec.kind.value,
        "origin": {"host": spec.origin.host, "user": spec.origin.user},
        "node_rank": node.node_rank,
        "node_count": len(nodes) or spec.nodes,
        "nodes": [{"name": each.node, "address": each.address} for each in nodes or (node,)],
        "min_nodes": spec.min_nodes,
        "max_restarts": spec.max_restarts,
        "dead_peer_seconds": spec.dead_peer_seconds,
        "join_seconds": spec.join_seconds,
        "checkpoints": checkpoints,
        "artifacts": list(spec.artifacts),
        "secrets": bool(spec.secrets),
        "procs": spec.procs,
        "world": (len(nodes) or spec.nodes) * spec.procs,
        "head": head,
        "port": spec.port,
        "gpus": ",".join(node.gpus) or None,
        "argv": list(node.argv),
        "argv_alone": list(spec.argv_alone) or None,
        "env": dict(spec.env),
        "cwd": node.cwd,
        "blobs": blobs,
        "verify_world": spec.verify_world,
        "grace_seconds": spec.grace_seconds,
        "start_timeout_seconds": spec.start_timeout_seconds,
        "time_limit_seconds": spec.time_limit_seconds,
        "stall_seconds": spec.stall_seconds,
        "tracker": _companion(spec, node),
    }


def _companion(spec: JobSpec, node: NodePlan) -> list[str] | None:
    """Return what runs beside the ranks of a node: on all but the first it only reads the node."""
    if not spec.companion:
        return None
    return [*spec.companion, "meter"] if node.node_rank else list(spec.companion)


def observation_from_status(status: Mapping[str, Any], *, seen_at: float) -> Observation:
    """Translate what ``supervise.status`` says of a node into an observation of its job."""
    reason = status.get("reason")
    if status["state"] == "absent":
        reason = "its run directory is gone"
    tracking = status.get("tracking")
    return Observation(
        state=_STATES[status["state"]],
        seen_at=seen_at,
        started_at=status.get("started_at"),
        ended_at=status.get("ended_at"),
        exit_code=status.get("rc"),
        reason=reason,
        failed_rank=status.get("failed_rank"),
        ranks=tuple(_rank(record) for record in status.get("ranks", ())),
        supervised=status.get("supervised", True),
        stopping=status.get("stop") is not None,
        ended_by={name: tuple(ranks) for name, ranks in status.get("ended_by", {}).items()},
        strays=status.get("strays", 0),
        tracking=TrackingRun(
            uri=tracking["uri"],
            run_id=tracking.get("run_id"),
            experiment_id=tracking.get("experiment_id"),
            error=tracking.get("error"),
        )
        if tracking
        else None,
        results=tuple(status.get("results", ())),
        attempt=status.get("attempt", 1),
        restarts=tuple(_restart(entry) for entry in status.get("restarts", ())),
        nodes=tuple(_health(node) for node in status.get("nodes", ())),
        waiting=status.get("waiting"),
        artifacts=_artifacts(status.get("artifacts")),
        stalled_since=status.get("stalled_since"),
        ended_ago_seconds=status.get("ended_ago"),
        lasted_seconds=status.get("lasted"),
        said_at=_ago(status.get("said_ago"), seen_at),
        worked_at=_ago(status.get("worked_ago"), seen_at),
    )


def _ago(seconds: float | None, seen_at: float) -> float | None:
    return None if seconds is None else seen_at - seconds


def _artifacts(record: Mapping[str, Any] | None) -> Artifacts | None:
    if record is None:
        return None
    return Artifacts(
        files=record["files"],
        size_bytes=record["bytes"],
        problems=tuple(record["problems"]),
    )


def _restart(entry: Mapping[str, Any]) -> Restart:
    return Restart(
        attempt=entry["attempt"],
        at=entry["at"],
        reason=entry["reason"],
        nodes=tuple(entry.get("nodes", ())),
    )


def _health(node: Mapping[str, Any]) -> NodeStatus:
    return NodeStatus(
        name=node["name"],
        health=Health(node["health"]),
        since=node.get("since"),
        reason=node.get("reason"),
    )


def _rank(record: Mapping[str, Any]) -> RankStatus:
    error = record.get("error")
    return RankStatus(
        rank=record["rank"],
        node=record.get("node") or "",
        pid=record.get("pid"),
        started_at=record.get("started_at"),
        ended_at=record.get("ended_at"),
        exit_code=record.get("exit_code"),
        signal=record.get("signal"),
        max_memory_bytes=record.get("max_memory_bytes"),
        error=RankError(
            type=error["type"],
            message=error["message"],
            traceback=error.get("traceback", ""),
            line=error.get("line"),
        )
        if error
        else None,
        step=record.get("step"),
        step_at=record.get("step_at"),
        step_seconds=record.get("step_seconds"),
        step_cpu_seconds=record.get("step_cpu_seconds"),
        step_of=record.get("step_of"),
        metrics=record.get("metrics") or {},
    )
