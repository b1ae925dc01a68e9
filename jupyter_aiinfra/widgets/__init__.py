"""What a job looks like in a notebook.

The static forms need no widget library, so a command line may use them; :class:`JobView` is loaded
when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_aiinfra.widgets.render import render_html, render_text

if TYPE_CHECKING:
    from jupyter_aiinfra.widgets.job import JobView

__all__ = ["JobView", "render_html", "render_text"]


def __getattr__(name: str) -> Any:
    if name == "JobView":
        from jupyter_aiinfra.widgets.job import JobView  # noqa: PLC0415 - brings ipywidgets

        return JobView
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
