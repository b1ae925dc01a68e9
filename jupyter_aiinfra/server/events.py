"""What is told on Jupyter's own event bus; each kind has its schema in ``events/``.

Anything may listen there: another extension, a log handler of ``EventLogger``, or a browser
through ``/api/events/subscribe``. No event holds code, options, messages or values of a job; of the
run of a schedule it is said why it has ended as it did, with secrets masked.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jupyter_aiinfra.model import Event
from jupyter_aiinfra.schedule import RunState
from jupyter_aiinfra.server.wire import JobItem, PoolItem, PoolStatus

if TYPE_CHECKING:
    from jupyter_events import EventLogger

__all__ = [
    "BUDGET",
    "JOB_NOTICE",
    "JOB_STATE",
    "POOL",
    "POOL_REACHABILITY",
    "RUN",
    "SCHEMAS",
    "EventBus",
]

_BASE: Final = "https://schema.jupyter.org/jupyter_aiinfra"
BUDGET: Final = f"{_BASE}/budget/v1"
JOB_NOTICE: Final = f"{_BASE}/job_notice/v1"
JOB_STATE: Final = f"{_BASE}/job_state/v1"
POOL: Final = f"{_BASE}/pool/v1"
POOL_REACHABILITY: Final = f"{_BASE}/pool_reachability/v1"
RUN: Final = f"{_BASE}/run/v1"

_FOLDER: Final = Path(__file__).parent / "events"
SCHEMAS: Final = {
    BUDGET: _FOLDER / "budget.yaml",
    JOB_NOTICE: _FOLDER / "job_notice.yaml",
    JOB_STATE: _FOLDER / "job_state.yaml",
    POOL: _FOLDER / "pool.yaml",
    POOL_REACHABILITY: _FOLDER / "pool_reachability.yaml",
    RUN: _FOLDER / "run.yaml",
}
"""Where the schema of each kind of event is."""

_POOL_ACTIONS: Final = {"pool.added": "attached", "pool.removed": "detached"}


class EventBus:
    """Tells what the record says, in the words of our schemas.

    Parameters
    ----------
    logger
        The server's; our schemas are registered with it, once.
    """

    def __init__(self, logger: EventLogger) -> None:
        self._logger = logger
        self._reachable: dict[str, PoolStatus] = {}
        for schema, path in SCHEMAS.items():
            if schema not in logger.schemas:
                logger.register_event_schema(path)

    def tell(self, event: Event, job: JobItem | None, *, schedule: str | None = None) -> None:
        """Tell one entry of the record's timeline; `job` is the one it is about, if it is there.

        `schedule` is the name of the one that a run is of, where it is about a run.

        Entries of a kind that has no schema are not told.
        """
        if event.kind == "job.state":
            known = {} if job is None else {"name": job.name, "pool": job.pool}
            moved = {"from": event.detail["from"], "to": event.detail["to"]}
            self._emit(JOB_STATE, {"job": event.subject, **known, **moved})
        elif event.kind == "job.notice":
            known = {} if job is None else {"name": job.name, "pool": job.pool}
            by = event.detail["by"]
            who = {"by": "idle"} if by == "idle" else {"by": "budget", "budget": by}
            said = {"job": event.subject, **known, "kind": event.detail["kind"], **who}
            self._emit(JOB_NOTICE, said)
        elif event.kind == "run.state":
            if RunState(event.detail["to"]).final:
                self._emit(RUN, _run(event, schedule))
        elif event.kind.startswith("budget."):
            action = event.kind.removeprefix("budget.")
            if action == "decided":
                action = event.detail["kind"]
            about = {"job": event.detail["job"]} if event.detail.get("job") else {}
            self._emit(BUDGET, {"budget": event.subject, "action": action, **about})
        elif event.kind in _POOL_ACTIONS:
            kind = {"kind": event.detail["kind"]} if "kind" in event.detail else {}
            action = _POOL_ACTIONS[event.kind]
            self._emit(POOL, {"action": action, "pool": event.subject, **kind})

    def tell_reachability(self, pools: Iterable[PoolItem]) -> None:
        """Tell which of `pools`, all that are attached, answer differently than when last told.

        That a pool answers when it is asked for the first time is no news.
        """
        before = self._reachable
        now: dict[str, PoolStatus] = {
            pool.name: pool.status for pool in pools if pool.status is not PoolStatus.UNKNOWN
        }
        self._reachable = now
        for name, status in now.items():
            if before.get(name, PoolStatus.LIVE) is not status:
                self._emit(POOL_REACHABILITY, {"pool": name, "status": status.value})

    def _emit(self, schema: str, data: dict[str, Any]) -> None:
        self._logger.emit(schema_id=schema, data=data)


def _run(event: Event, schedule: str | None) -> dict[str, Any]:
    told = {
        "run": event.subject,
        "schedule": event.detail["schedule"],
        "name": schedule,
        "state": event.detail["to"],
        "reason": event.detail.get("reason"),
    }
    return {name: value for name, value in told.items() if value is not None}
