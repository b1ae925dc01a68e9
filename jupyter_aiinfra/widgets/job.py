"""A job in a cell: the widget that is there while it runs, and what stays when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets
from IPython.display import DisplayHandle, display

from jupyter_aiinfra.logview import LogSnapshot
from jupyter_aiinfra.model import Job, JobState, to_wire
from jupyter_aiinfra.telemetry import Frame
from jupyter_aiinfra.widgets.card import Card, describe
from jupyter_aiinfra.widgets.costwire import JobCostItem
from jupyter_aiinfra.widgets.gpuuse import UseOfGpus, use_wire
from jupyter_aiinfra.widgets.gpuwire import FrameWire
from jupyter_aiinfra.widgets.render import render_html, render_text
from jupyter_aiinfra.widgets.wire import (
    RankFrame,
    frames,
    header_wire,
    keyframe,
    manifest_wire,
    rank_delta,
    ranks_wire,
)

__all__ = ["JOB_MIME", "JobView", "render_html", "render_text"]

JOB_MIME = "application/vnd.aiinfra.job+json"
"""Names the job of an output to a front end that can draw it from the server."""

_HERE = Path(__file__).parent
_BUILT = _HERE / "static" / "job.js"
_STYLE = _HERE / "static" / "job.css"
_NOT_BUILT = """
export default {
  render({ model, el }) {
    el.textContent = `job ${model.get('header').id}: the cell widget is not built (npm run build)`;
  }
};
"""
_YOUNG_SECONDS = 5.0
_KEYFRAME_SECONDS = 5.0
_YOUNG_KEYFRAME_SECONDS = 1.0
_MANY_RANKS = 8
_MANY_RANKS_SECONDS = 1.0


class JobView(anywidget.AnyWidget):
    """The view of one job. What crosses to the page is bounded, and only what changed.

    A call of :meth:`update` sends one message or none; the caller calls it at most ten times a
    second. Nothing needs the page to answer: a kernel does not hear it while a cell runs. Instead
    the whole state is repeated every few seconds, so that a page that missed something (it was
    opened late, or reloaded) is right again soon.

    Parameters
    ----------
    job
        The job as last recorded; nothing is drawn before there is one.
    snapshot
        Its logs so far.
    log_path
        Where the whole log is; without it, the command that prints it is named.
    redact
        Applied to errors and messages; the logs of `snapshot` are redacted already. ``None`` where
        there is nothing to hide; else the output says so, because the server's log is not redacted.
    clock
        Seconds that only grow, for tests.
    """

    _esm: ClassVar[Any] = _BUILT if _BUILT.is_file() else _NOT_BUILT
    _css: ClassVar[Any] = _STYLE if _STYLE.is_file() else _HERE / "job.css"

    header = traitlets.Dict().tag(sync=True)
    ranks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    manifest = traitlets.Dict().tag(sync=True)
    log = traitlets.Dict().tag(sync=True)
    delta = traitlets.Dict().tag(sync=True)
    cost = traitlets.Dict().tag(sync=True)
    gpus = traitlets.Dict().tag(sync=True)
    gpus_delta = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        job: Job | None = None,
        snapshot: LogSnapshot | None = None,
        *,
        log_path: str | None = None,
        redact: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._snapshot = snapshot or LogSnapshot()
        self._note = ""
        self._log_path = log_path
        self._redact = redact or str
        self._hides = redact is not None
        self._clock = clock
        self._number = 0
        self._frames: dict[int, RankFrame] = {}
        self._made_at = clock()
        self._keyframe_at = self._made_at
        self._keyframe_number = 0
        self._others_at = self._made_at
        self._handle: DisplayHandle | None = None
        self._gpus = FrameWire(clock=clock)
        self._gpus_frame: Frame | None = None
        self._use: UseOfGpus | None = None
        self._cost: JobCostItem | None = None
        first: dict[str, Any] = {}
        if job is not None:
            card = self._card(job)
            self._frames = frames(self._snapshot, in_full=_in_full(card))
            first = {
                "header": header_wire(card),
                "ranks": ranks_wire(card),
                "manifest": manifest_wire(job.spec),
            }
        super().__init__(**first, log=keyframe(0, self._frames))
        self.on_msg(self._on_message)

    def update(
        self,
        job: Job,
        snapshot: LogSnapshot,
        *,
        note: str = "",
        gpus: Frame | None = None,
        cost: JobCostItem | None = None,
    ) -> None:
        """Show the job and its logs as they are now; send what changed, in one message at most.

        `note` is said beside the state, until the next update. `gpus` are those of its ranks, and
        `cost` is what it has cost, as last read; ``None`` where that is not known, or nothing new.
        """
        self._job, self._snapshot, self._note = job, snapshot, note
        card = self._card(job)
        with self.hold_sync():
            self._update_header(card)
            self.ranks = ranks_wire(card)
            self.manifest = manifest_wire(job.spec)
            self._update_log(card)
            self._update_gpus(job, gpus)
            self._update_cost(cost)

    def show(self) -> None:
        """Display the widget in the cell that is running."""
        handle = display(self, display_id=True)  # type: ignore[no-untyped-call]
        self._handle = handle if isinstance(handle, DisplayHandle) else None

    def finish(
        self, job: Job, snapshot: LogSnapshot, *, note: str = "", cost: JobCostItem | None = None
    ) -> None:
        """Replace the widget by its static form, where :meth:`show` put it. May be called twice.

        The static form needs no kernel, no script and no network: it is what the notebook file,
        its exports and code hosts show.
        """
        if self.comm is None:
            self._job, self._snapshot, self._note = job, snapshot, note
            self._cost = cost or self._cost
        else:
            self.update(job, snapshot, note=note, cost=cost)
        if self._handle is not None:
            self._handle.update(self.static_bundle(), raw=True)  # type: ignore[no-untyped-call]
        self.close()

    def static_bundle(self) -> dict[str, Any]:
        """Return what needs no kernel, by MIME type; empty before there is a job.

        It is the name of the job for a front end that draws it from the server, and the static
        forms for all others.
        """
        if self._job is None:
            return {}
        use = self._use.ranks if self._use is not None else ()
        how: dict[str, Any] = {
            "note": self._note,
            "log_path": self._log_path,
            "gpus": use,
            "cost": self._cost,
        }
        return {
            JOB_MIME: self._reference(self._job),
            "text/plain": render_text(self._job, self._snapshot, redact=self._redact, **how),
            "text/html": render_html(self._job, self._snapshot, redact=self._redact, **how),
        }

    def get_state(
        self,
        key: str | Collection[str] | None = None,
        drop_defaults: bool = False,  # noqa: FBT001, FBT002 - ipywidgets' signature
    ) -> dict[str, Any]:
        """Return the state, as of now: the page counts seconds, and deltas add to the log."""
        state: dict[str, Any] = super().get_state(key=key, drop_defaults=drop_defaults)
        if "header" in state and self._job is not None:
            state["header"] = header_wire(self._card(self._job))
        if "log" in state:
            state["log"] = keyframe(self._number, self._frames)
        if "gpus" in state and self._gpus_frame is not None:
            state["gpus"] = self._gpus.whole()
        return state

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        made = super()._repr_mimebundle_()
        data, metadata = made or ({}, {})
        return {**data, **self.static_bundle()}, metadata

    def _reference(self, job: Job) -> dict[str, Any]:
        named: dict[str, Any] = {
            "id": job.id,
            "name": job.spec.name,
            "pool": job.pool,
            "state": job.state.value,
        }
        if self._use is not None and self._use.ranks:
            named["gpus"] = use_wire(self._use.ranks)
        return {**named, "hides": True} if self._hides else named

    def _card(self, job: Job) -> Card:
        return describe(job, note=self._note, log_path=self._log_path, redact=self._redact)

    def _update_header(self, card: Card) -> None:
        wire = header_wire(card)
        # The page counts seconds by itself; they alone are no reason to write.
        if wire | {"elapsed_seconds": 0} != self.header | {"elapsed_seconds": 0}:
            self.header = wire

    def _update_log(self, card: Card) -> None:
        final = card.state.final
        in_full = _in_full(card)
        new = frames(self._snapshot, in_full=in_full)
        now = self._clock()
        if len(new) > _MANY_RANKS and not final:
            if now < self._others_at:
                new = {
                    rank: frame if rank in in_full else self._frames.get(rank, frame)
                    for rank, frame in new.items()
                }
            else:
                self._others_at = now + _MANY_RANKS_SECONDS
        changes = {
            str(rank): change
            for rank, frame in new.items()
            if (change := rank_delta(self._frames.get(rank), frame))
        }
        if changes:
            self._frames = new
            self._number += 1
            self.delta = {"seq": self._number, "base": self._number - 1, "ranks": changes}
        due = final or now >= self._keyframe_at
        if due and self._keyframe_number != self._number:
            young = now - self._made_at < _YOUNG_SECONDS
            self._keyframe_at = now + (_YOUNG_KEYFRAME_SECONDS if young else _KEYFRAME_SECONDS)
            self._keyframe_number = self._number
            self.log = keyframe(self._number, self._frames)

    def _update_gpus(self, job: Job, frame: Frame | None) -> None:
        if frame is None or frame is self._gpus_frame:
            return
        self._gpus_frame = frame
        self._use = self._use or UseOfGpus(job.id)
        self._use.take(frame)
        told = self._gpus.take([(job.pool, frame)])
        if told.delta is not None:
            self.gpus_delta = told.delta
        if told.whole is not None:
            self.gpus = told.whole

    def _update_cost(self, cost: JobCostItem | None) -> None:
        if cost is not None and cost != self._cost:
            self._cost = cost
            self.cost = to_wire(cost)

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        """Answer a page that knows it missed something (heard only while no cell runs)."""
        if isinstance(content, dict) and content.get("type") == "resync":
            self.send_state(("log", "gpus"))


def _in_full(card: Card) -> tuple[int, ...]:
    failed = card.error.rank if card.error else None
    return (0,) if failed is None or card.state is JobState.LOST else (failed, 0)
