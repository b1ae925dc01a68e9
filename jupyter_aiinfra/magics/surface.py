"""The surface of a notebook's cell."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jupyter_aiinfra.commands.artifacts import bring_artifacts
from jupyter_aiinfra.commands.context import Live, Surface
from jupyter_aiinfra.commands.live import live_table
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.show import log_folder
from jupyter_aiinfra.commands.terminal import TerminalSurface, table_text
from jupyter_aiinfra.commands.watch import check_outcome, watch
from jupyter_aiinfra.errors import ResultError
from jupyter_aiinfra.follow import News
from jupyter_aiinfra.logview import LogSnapshot, LogView
from jupyter_aiinfra.magics.gpuscreen import GpuScreens
from jupyter_aiinfra.magics.jobcost import JobCosts
from jupyter_aiinfra.magics.jobgpus import JobGpus
from jupyter_aiinfra.model import Job, JobState
from jupyter_aiinfra.node import parcel

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_aiinfra.widgets import JobView
    from jupyter_aiinfra.widgets.gpuwire import GpusSource, Reading

__all__ = ["NotebookSurface", "ShellSurface", "ValueSurface", "bring_results", "surface_for"]

_ENDING_SECONDS = 0.5  # how soon after its interrupt a kernel that is to end is told so


def surface_for(shell: InteractiveShell, session: Session) -> Surface:
    """Return the surface for `shell`: cells where there is a kernel, else the terminal."""
    if hasattr(shell, "kernel"):
        return NotebookSurface(shell, session)
    return ShellSurface(shell, session)


def bring_results(shell: InteractiveShell, session: Session, job: Job) -> str:
    """Load what the job saved into the notebook's variables; return what to say about it.

    Raises
    ------
    ResultError
        A name that was asked for and is not there, or cannot be loaded here. The others are set.
    """
    if not job.spec.fetch:
        return ""
    folder = session.run(session.engine.results(job.id))
    if folder is None:
        raise ResultError(
            f"job {job.id} left no results", hint=f"%jobs show {job.id} tells how it ended"
        )
    values, problems = parcel.read_results(str(folder), job.spec.fetch)
    shell.user_ns.update(values)
    if problems:
        said = "; ".join(f"{name}: {why}" for name, why in problems.items())
        raise ResultError(
            f"not fetched from job {job.id}: {said}",
            hint=f"fetched were {', '.join(values) or 'none'}; the files are in {folder}",
        )
    return f"fetched {', '.join(values)}"


class ValueSurface:
    """Keeps the machine-readable result, for ``value = %pool list --json``.

    What is for a person is left out but for logs, questions and progress, which go where they
    always do.

    Attributes
    ----------
    kept
        The result, as JSON would hold it; ``None`` where the verb has none.
    """

    def __init__(self, shown: Surface) -> None:
        self.kept: Any = None
        self._shown = shown

    def text(self, text: str) -> None:
        """Show nothing: the value says it."""

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        """Show nothing: the value says it."""

    def live(self) -> AbstractContextManager[Live]:
        """Return a place whose last value is kept."""
        return nullcontext(self)

    def show(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, below: str, value: Any
    ) -> None:
        """Keep `value`; see Live."""
        del columns, rows, below
        self.kept = value

    def value(self, value: Any) -> None:
        """Keep `value`."""
        self.kept = value

    def log(self, data: bytes) -> None:
        """Show it; see Surface."""
        self._shown.log(data)

    def ask(self, question: str) -> bool | None:
        """Ask; see Surface."""
        return self._shown.ask(question)

    def progress(self, text: str) -> None:
        """Show it; see Surface."""
        self._shown.progress(text)

    def hide(self, values: Iterable[str]) -> None:
        """Redact these values; see Surface."""
        self._shown.hide(values)

    def watch(self, job: Job, *, fetch: bool) -> Job:
        """Follow the job; see Surface."""
        return self._shown.watch(job, fetch=fetch)


class ShellSurface(TerminalSurface):
    """IPython in a terminal: as the command line, with results brought into the namespace."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(session)
        self._shell = shell

    def text(self, text: str) -> None:
        """Print `text` as it is: here magics are typed."""
        print(text)  # noqa: T201 - the shell's output

    def live(self) -> AbstractContextManager[Live]:
        """Return a place that is drawn over; see Surface."""
        return live_table(str)

    def watch(self, job: Job, *, fetch: bool) -> Job:
        """Print the log, bring the results, raise if the job failed; see Surface."""
        job = super().watch(job, fetch=False)
        check_outcome(job)
        said = bring_results(self._shell, self._session, job) if fetch else ""
        if said:
            self.text(said)
        return job


class NotebookSurface:
    """A cell: text tables with an HTML form beside them, and the job widget."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        self._shell = shell
        self._session = session
        self._hidden: tuple[str, ...] = ()
        self._progress_width = 0

    def text(self, text: str) -> None:
        """Print `text` in the cell."""
        print(text)  # noqa: T201 - the cell's output

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        """Show a table: HTML where that is drawn, text everywhere else."""
        from IPython.display import display  # noqa: PLC0415 - the kernel has it, the tests may not

        if not rows:
            self.text(empty)
            return
        data = {"text/plain": table_text(columns, rows), "text/html": _table_html(columns, rows)}
        display(data, raw=True)  # type: ignore[no-untyped-call]

    def live(self) -> AbstractContextManager[Live]:
        """Return a place in the cell's output that is drawn over."""
        return nullcontext(_CellTable())

    def follows(self) -> bool:
        """Whether a page shows the cell: one that can be asked; papermill and nbconvert cannot."""
        kernel: Any = getattr(self._shell, "kernel", None)
        asked = kernel.get_parent("shell") if hasattr(kernel, "get_parent") else {}
        return bool(asked.get("content", {}).get("allow_stdin", False))

    def follow(
        self,
        source: GpusSource,
        first: Sequence[Reading],
        *,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        below: str,
    ) -> None:
        """Show readings in the cell as they come, also when it is over; see FollowsGpus."""
        from IPython.display import display  # noqa: PLC0415 - as above

        from jupyter_aiinfra.widgets.gpus import GpusView  # noqa: PLC0415 - brings ipywidgets

        note = f"{below}; as of {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}"
        static = {
            "text/plain": f"{table_text(columns, rows)}\n{note}",
            "text/html": f"{_table_html(columns, rows)}<p>{html.escape(note)}</p>",
        }
        screens = GpuScreens.of(self._shell)
        view = GpusView(source, first, static=static, attention=screens.attention())
        screens.add(view)
        display(view)  # type: ignore[no-untyped-call]
        view.begin()

    def value(self, value: Any) -> None:
        """Show nothing: the text has said it."""

    def log(self, data: bytes) -> None:
        """Print bytes of a log, decoded."""
        print(data.decode(errors="replace"), end="")  # noqa: T201

    def ask(self, question: str) -> bool | None:
        """Ask below the cell; nobody can answer where the notebook runs without a person."""
        from IPython.core.error import StdinNotImplementedError  # noqa: PLC0415

        try:
            answer = input(f"{question} [yes/no] ")
        except (StdinNotImplementedError, EOFError):
            return None
        return answer.strip().lower() in {"y", "yes"}

    def progress(self, text: str) -> None:
        """Write over the last line of the cell's output."""
        # What is left of a longer line before is to go too.
        print(f"\r{text:<{self._progress_width}}", end="" if text else "\r")  # noqa: T201
        self._progress_width = len(text)

    def hide(self, values: Iterable[str]) -> None:
        """Redact these values in logs and errors from now on."""
        self._hidden = (*self._hidden, *values)

    def watch(self, job: Job, *, fetch: bool) -> Job:
        """Draw the job live in the cell, and its last state for good; see Surface."""
        screen = _Cell(self._session, self._hidden)
        try:
            job = watch(self._session, job, screen, is_ending=self._is_ending)
            said = ""
            if fetch and job.state is JobState.SUCCEEDED:
                said = bring_results(self._shell, self._session, job)
        finally:
            screen.close()
        brought = bring_artifacts(self._session, job) if fetch else ""
        for text in (brought, said):
            if text:
                self.text(text)
        check_outcome(job)
        return job

    def _is_ending(self) -> bool:
        """Whether the kernel was told to end just after it was interrupted.

        A restart or the end of the server begins with an interrupt, as a user's own does; the order
        to end follows at once, and the kernel takes it in another thread.
        """
        deadline = time.monotonic() + _ENDING_SECONDS
        while not getattr(self._shell, "exit_now", False):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_ENDING_SECONDS / 25)
        return True


class _Cell:
    """The widget while the job runs; its static form, which survives everything, after that."""

    def __init__(self, session: Session, hidden: Sequence[str]) -> None:
        self._logs = LogView(redact=hidden, tail_lines=session.settings.display_lines)
        self._hides = bool(hidden)
        self._widget: JobView | None = None
        self._last: tuple[object, ...] | None = None
        self._job: Job | None = None
        self._note = ""
        self._gpus = JobGpus(session)
        self._costs = JobCosts(session)

    def show(self, news: News, note: str) -> None:
        """Hand what is new to the widget; send nothing where nothing is new."""
        for chunk in news.chunks:
            self._logs.feed(chunk.rank, chunk.offset, chunk.data)
        self._job, self._note = news.job, note
        self._gpus.follow(news.job)
        self._costs.follow(news.job)
        snapshot, gpus, cost = self._logs.snapshot(), self._gpus.newest, self._costs.newest
        state = (news.job.version, snapshot.version, note, gpus and gpus.seq, cost and cost.at)
        if state == self._last:
            return
        self._last = state
        if self._widget is None:
            self._widget = self._open(news.job, snapshot)
            if gpus is None and cost is None:
                return
        self._widget.update(news.job, snapshot, note=note, gpus=gpus, cost=cost)

    def _open(self, job: Job, snapshot: LogSnapshot) -> JobView:
        from jupyter_aiinfra.widgets import JobView  # noqa: PLC0415 - needs ipywidgets

        path = log_folder(job)
        redact = self._logs.redactor if self._hides else None
        widget = JobView(job, snapshot, log_path=path, redact=redact)
        widget.show()
        return widget

    def close(self) -> None:
        """Replace the widget by what it last showed."""
        self._gpus.close()
        if self._widget is not None and self._job is not None:
            try:
                self._costs.last(self._job)
            finally:
                cost = self._costs.newest
                self._widget.finish(self._job, self._logs.snapshot(), note=self._note, cost=cost)


class _CellTable:
    """A table in a cell's output, replaced by the next."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, below: str, value: Any
    ) -> None:
        """Show the table; see Live."""
        from IPython.display import display  # noqa: PLC0415 - as above

        del value
        text = f"{table_text(columns, rows)}\n{below}"
        shown = f"{_table_html(columns, rows)}<p>{html.escape(below)}</p>"
        data = {"text/plain": text, "text/html": shown}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)


def _table_html(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th style="text-align:left">{html.escape(c)}</th>' for c in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    # A notebook puts tables in the middle.
    return f'<table style="margin:0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
