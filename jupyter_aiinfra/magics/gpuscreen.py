"""The views of GPUs that one shell has open: told when a cell runs, and not too many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_aiinfra.widgets.attention import Attention
    from jupyter_aiinfra.widgets.gpus import GpusView

__all__ = ["GpuScreens"]

_MOST: Final = 16
_OPEN: dict[int, GpuScreens] = {}


class GpuScreens:
    """The views in one shell's cells, oldest first."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._views: list[GpusView] = []
        shell.events.register("pre_run_cell", self._begin)
        shell.events.register("post_run_cell", self._end)

    @classmethod
    def of(cls, shell: InteractiveShell) -> GpuScreens:
        """Return those of `shell`."""
        found = _OPEN.get(id(shell))
        if found is None:
            found = _OPEN[id(shell)] = cls(shell)
        return found

    @classmethod
    def forget(cls, shell: InteractiveShell) -> None:
        """End all views in `shell`; what they show last stays."""
        found = _OPEN.pop(id(shell), None)
        if found is not None:
            found.close()

    def attention(self) -> Attention:
        """Return who looks at a view that the running cell makes."""
        from jupyter_aiinfra.widgets.attention import Attention  # noqa: PLC0415 - at first use

        return Attention(busy=True)

    def add(self, view: GpusView) -> None:
        """Keep a view. Where there are many, the oldest that nobody looks at goes."""
        self._views.append(view)
        idle = [each for each in self._views[:-1] if not each.is_reading]
        for old in idle[: max(0, len(self._views) - _MOST)]:
            self._views.remove(old)
            old.close()

    def close(self) -> None:
        """Listen no more, and end all views."""
        self._shell.events.unregister("pre_run_cell", self._begin)
        self._shell.events.unregister("post_run_cell", self._end)
        for view in self._views:
            view.end("the extension was unloaded")
        self._views.clear()

    def _begin(self, _: Any) -> None:
        for view in self._views:
            view.attention.begin()

    def _end(self, _: Any) -> None:
        for view in self._views:
            view.attention.end()
