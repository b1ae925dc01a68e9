"""What every verb is given: the session, and the surface that shows what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.model import Job

if TYPE_CHECKING:
    from jupyter_aiinfra.widgets.gpuwire import GpusSource, Reading

__all__ = ["Context", "FollowsGpus", "Live", "Surface"]


class Live(Protocol):
    """A place on a surface that is drawn over, again and again."""

    def show(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, below: str, value: Any
    ) -> None:
        """Draw a table with a line below it; `value` is the same for a program."""
        ...


class Surface(Protocol):
    """Where the user looks: a terminal, JSON for a program, or a notebook's cell."""

    def text(self, text: str) -> None:
        """Show a few lines for a person."""
        ...

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        """Show rows under columns, or the sentence `empty` where there are none."""
        ...

    def live(self) -> AbstractContextManager[Live]:
        """Return a place to draw a table in that changes; what was drawn last stays."""
        ...

    def value(self, value: Any) -> None:
        """Give the machine-readable result; only a JSON surface shows it."""
        ...

    def log(self, data: bytes) -> None:
        """Show bytes of a log as they are."""
        ...

    def ask(self, question: str) -> bool | None:
        """Ask a person for yes or no; ``None`` where nobody can answer, without waiting."""
        ...

    def progress(self, text: str) -> None:
        """Show how far something is, in one line that the next call replaces; "" ends it."""
        ...

    def hide(self, values: Iterable[str]) -> None:
        """Show these values, secrets of a job, in no log or message from now on."""
        ...

    def watch(self, job: Job, *, fetch: bool) -> Job:
        """Show the job's output until it has ended; return its last record.

        The first interrupt asks the job to stop, the second leaves it running and returns. With
        `fetch` the names it saved are brought into the notebook; a surface without one says where
        they lie.
        """
        ...


@runtime_checkable
class FollowsGpus(Protocol):
    """A surface on which a table of GPUs may stay live while the user goes on."""

    def follows(self) -> bool:
        """Whether anybody is there to see it."""
        ...

    def follow(
        self,
        source: GpusSource,
        first: Sequence[Reading],
        *,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        below: str,
    ) -> None:
        """Show readings as they come; the table of the first ones is what stays on record."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """Passed through click as ``ctx.obj``."""

    session: Session
    surface: Surface
