"""GPUs in a cell: live while somebody looks, and a table that stays.

The cell ends at once. From then on the loop of the engine tells the page once a second what has
changed, whatever the kernel's own thread does: a long cell below keeps it from hearing the page,
and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar, Final

import anywidget
import traitlets

from jupyter_aiinfra.widgets.attention import Attention
from jupyter_aiinfra.widgets.gpuwire import FrameWire, GpusSource, Reading

__all__ = ["GPUS_MIME", "GpusView"]

GPUS_MIME: Final = "application/vnd.aiinfra.gpus+json"
"""Marks the output for a front end that shows the table where there is no living widget."""

_LOG = logging.getLogger(__name__)
_HERE = Path(__file__).parent
_BUILT = _HERE / "static" / "gpus.js"
_STYLE = _HERE / "static" / "gpus.css"
_NOT_BUILT = """
export default {
  render({ el }) { el.textContent = 'the widget of GPUs is not built (npm run build)'; }
};
"""


class GpusView(anywidget.AnyWidget):
    """The view of some GPUs: a message a second at most, bounded in size.

    Reading goes on while a page says that it is looked at, and while a cell runs, in which the
    kernel hears no page. It begins anew when a page says so again.

    Parameters
    ----------
    source
        Where the readings are from.
    first
        What is shown at first.
    static
        Plain text and HTML of that, which stay in the notebook.
    attention
        Who looks.
    """

    _esm: ClassVar[Any] = _BUILT if _BUILT.is_file() else _NOT_BUILT
    _css: ClassVar[Any] = _STYLE if _STYLE.is_file() else ""

    # What they hold is kept beside them, where other threads may change it: see `get_state`.
    about = traitlets.Dict().tag(sync=True)
    gpus = traitlets.Dict().tag(sync=True)
    delta = traitlets.Dict().tag(sync=True)
    past: traitlets.List[Any] = traitlets.List().tag(sync=True)
    life = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        source: GpusSource,
        first: Sequence[Reading],
        *,
        static: Mapping[str, str],
        attention: Attention | None = None,
    ) -> None:
        self._source = source
        self._static = dict(static)
        self._attention = attention or Attention()
        self._guard = threading.RLock()
        self._reading = False
        self._life: dict[str, Any] = {"state": "live"}
        self._wire = FrameWire()
        self._wire.take(first)
        self._delta: dict[str, Any] = {}
        self._parent = _parent()
        super().__init__()
        self.on_msg(self._on_message)
        if self.comm is not None:
            self.comm.on_close(lambda _: self.end("it was closed"))

    # --- reading ---------------------------------------------------------------------------------

    @property
    def attention(self) -> Attention:
        """Who looks."""
        return self._attention

    @property
    def is_reading(self) -> bool:
        """Whether GPUs are read for this view now."""
        return self._reading

    def begin(self) -> None:
        """Read from now on, while somebody looks. May be called at any time, from any thread."""
        with self._guard:
            if self._reading or self._life["state"] == "ended":
                return
            self._reading = True
            self._live("live")
        self._source.submit(self._follow())

    async def _follow(self) -> None:
        try:
            async with aclosing(self._source.stream()) as stream:
                async for readings in stream:
                    if not self._goes_on():
                        return
                    self._tell(readings)
        except Exception:  # noqa: BLE001 - one of the loops
            _LOG.exception("GPUs are not read any more")
            self.end("reading them has failed; the log of the kernel says why")
        finally:
            # Cancelled: the engine goes, and nothing will be read again.
            if self._reading:
                self.end("the extension was unloaded")

    def _goes_on(self) -> bool:
        with self._guard:
            if self._life["state"] == "ended":
                self._reading = False
            elif not self._attention.is_wanted:
                self._reading = False
                self._live("paused")
            return self._reading

    def end(self, why: str) -> None:
        """Read no more, for good. Idempotent."""
        with self._guard:
            self._reading = False
            if self._life["state"] != "ended":
                self._live("ended", why)

    def _live(self, state: str, why: str = "") -> None:
        life = {"state": state, "why": why} if why else {"state": state}
        if life != self._life:
            self._life = life
            self.send_state("life")

    def _tell(self, readings: Sequence[Reading]) -> None:
        with self._guard:
            told = self._wire.take(readings)
            keys = []
            if told.delta is not None:
                self._delta = {**told.delta, "heard": dict(self._attention.heard)}
                keys.append("delta")
            if told.whole is not None:
                keys.append("gpus")
            if keys:
                self.send_state(keys)

    # --- the page --------------------------------------------------------------------------------

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        if not isinstance(content, dict):
            return
        kind, view = content.get("type"), str(content.get("view"))[:64]
        if kind == "look":
            number = content.get("number")
            self._attention.look(view, number if isinstance(number, int) else 0)
            self.begin()
        elif kind == "leave":
            self._attention.leave(view)
        elif kind == "resync":
            with self._guard:
                self.send_state("gpus")

    def get_state(
        self,
        key: str | Collection[str] | None = None,
        drop_defaults: bool = False,  # noqa: FBT001, FBT002 - ipywidgets' signature
    ) -> dict[str, Any]:
        """Return the state, as of now. The newest change is told only as such."""
        state: dict[str, Any] = super().get_state(key=key, drop_defaults=drop_defaults)
        with self._guard:
            own: dict[str, Callable[[], Any]] = {
                "about": lambda: {"title": self._source.title, "job": self._source.job},
                "gpus": self._wire.whole,
                "delta": lambda: {} if key is None else self._delta,
                "past": list,
                "life": lambda: self._life,
            }
            state.update({name: make() for name, make in own.items() if name in state})
        # Not while others wait for us: it asks the loop, which may.
        if "past" in state and key is None and self._life["state"] != "ended":
            state["past"] = list(self._source.past())
        return state

    def _send(self, msg: Any, buffers: Any = None) -> None:
        """Send to the page, from whichever thread, as a part of the cell that made the view.

        ipykernel's own way takes whatever it heard last for the cause, which may be a page that is
        gone; it would send there what other pages say next.
        """
        with self._guard:
            comm = self.comm
            kernel = getattr(comm, "kernel", None)
            if comm is None or kernel is None or buffers or self._parent is None:
                super()._send(msg, buffers=buffers)
                return
            kernel.session.send(
                kernel.iopub_socket,
                "comm_msg",
                {"data": msg, "comm_id": comm.comm_id},
                metadata={},
                parent=self._parent,
                ident=comm.topic,
            )

    def close(self) -> None:
        """Close the view: it is read no more, and every page loses it."""
        if hasattr(self, "_guard"):
            self.end("it was closed")
        super().close()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_() or ({}, {})
        return {**data, GPUS_MIME: {"title": self._source.title}, **self._static}, metadata


def _parent() -> Mapping[str, Any] | None:
    """Return the request of the cell that runs; ``None`` where there is no kernel of IPython's."""
    from IPython.core.getipython import get_ipython  # noqa: PLC0415 - the tests have none

    kernel = getattr(get_ipython(), "kernel", None)
    found = None if kernel is None else kernel.get_parent("shell")
    return found if found and found.get("header") else None
