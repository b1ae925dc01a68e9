"""The surface of a terminal: tables, raw log bytes, and JSON where a program asked for it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO, TextIO

from jupyter_aiinfra.commands.artifacts import bring_artifacts
from jupyter_aiinfra.commands.asking import ask_in_terminal
from jupyter_aiinfra.commands.context import Live
from jupyter_aiinfra.commands.live import live_table
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.show import log_folder, waits_text
from jupyter_aiinfra.commands.watch import watch
from jupyter_aiinfra.follow import News
from jupyter_aiinfra.logview import ByteRedactor, LogView, log_text
from jupyter_aiinfra.model import Job, JobState, LogChunk

__all__ = ["JsonSurface", "TerminalSurface", "as_typed", "table_text"]

_MAGIC = re.compile(
    r"(?<![\w%])%(pool|jobs|gpus|cost|budget|idle|schedule|endpoint|promote|notify)\b(?!%)"
)


def table_text(columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int = 160) -> str:
    """Return rows under columns as plain text, aligned, without lines."""
    import io  # noqa: PLC0415

    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - costs more than most commands
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    stream = io.StringIO()
    # In a kernel rich would display the table by itself, and write nothing to the stream.
    console = Console(file=stream, width=width, color_system=None, force_jupyter=False)
    console.print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def as_typed(text: str) -> str:
    """Return `text` with magics written as commands: ``jupyter aiinfra jobs`` for ``%jobs``."""
    text = text.replace("%%accelerate POOL", "jupyter aiinfra run SCRIPT --pool POOL")
    return _MAGIC.sub(r"jupyter aiinfra \1", text)


class TerminalSurface:
    """Shows things in a terminal, or in whatever the output was sent to."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._hidden: tuple[str, ...] = ()

    def text(self, text: str) -> None:
        """Print `text`, naming commands as they are typed here."""
        print(as_typed(text))  # noqa: T201 - this is where the command line speaks

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        """Print a table, or `empty`."""
        self.text(table_text(columns, rows) if rows else empty)

    def live(self) -> AbstractContextManager[Live]:
        """Return a place that is drawn over; where the output goes to no terminal, below it."""
        return live_table(as_typed)

    def value(self, value: Any) -> None:
        """Show nothing: the text has said it."""

    def log(self, data: bytes) -> None:
        """Write bytes of a log as they are."""
        _write(sys.stdout, data)

    def ask(self, question: str) -> bool | None:
        """Ask in the terminal, if there is one."""
        return ask_in_terminal(question)

    def progress(self, text: str) -> None:
        """Write over the last line of the terminal, if there is one."""
        _write_over(sys.stderr, text)

    def hide(self, values: Iterable[str]) -> None:
        """Redact these values in logs from now on."""
        self._hidden = (*self._hidden, *values)

    def watch(self, job: Job, *, fetch: bool) -> Job:
        """Print rank 0's log as it grows, then what the others had to say; see Surface."""
        screen = _Scroll(self._session, self._hidden, stream=sys.stdout)
        job = watch(self._session, job, screen)
        screen.finish(job)
        if fetch and job.seen is not None and job.seen.results:
            folder = self._session.run(self._session.engine.results(job.id))
            self.text(f"results: {', '.join(job.seen.results)} in {folder}")
        said = bring_artifacts(self._session, job) if fetch else ""
        if said:
            self.text(said)
        return job


class JsonSurface:
    """Prints one JSON value; what is for a person goes to standard error."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._hidden: tuple[str, ...] = ()

    def text(self, text: str) -> None:
        """Show nothing: the value says it."""

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        """Show nothing: the value says it."""

    def live(self) -> AbstractContextManager[Live]:
        """Print each value as a line of JSON."""
        return nullcontext(_JsonLines())

    def value(self, value: Any) -> None:
        """Print `value` as JSON."""
        print(json.dumps(value, indent=2, sort_keys=True))  # noqa: T201

    def log(self, data: bytes) -> None:
        """Write the log to standard error: standard output is for the value."""
        _write(sys.stderr, data)

    def ask(self, question: str) -> bool | None:
        """Ask nobody: a program reads this."""
        del question
        return None

    def progress(self, text: str) -> None:
        """Write over the last line of the terminal, if there is one."""
        _write_over(sys.stderr, text)

    def hide(self, values: Iterable[str]) -> None:
        """Redact these values in logs from now on."""
        self._hidden = (*self._hidden, *values)

    def watch(self, job: Job, *, fetch: bool) -> Job:
        """Follow the job with its log on standard error; see Surface."""
        del fetch
        screen = _Scroll(self._session, self._hidden, stream=sys.stderr)
        job = watch(self._session, job, screen)
        screen.finish(job)
        return job


def _write_over(stream: TextIO, text: str) -> None:
    if stream.isatty():
        stream.write(f"\r\x1b[K{text}")
        stream.flush()


class _JsonLines:
    """A value a line, for a program that reads them as they come."""

    def show(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, below: str, value: Any
    ) -> None:
        """Print `value`; see Live."""
        del columns, rows, below
        print(json.dumps(value, sort_keys=True), flush=True)  # noqa: T201


def _write(stream: TextIO, data: bytes) -> None:
    raw: BinaryIO | None = getattr(stream, "buffer", None)
    if raw is None:
        stream.write(data.decode(errors="replace"))
    else:
        stream.flush()
        raw.write(data)
    stream.flush()


class _Scroll:
    """Rank 0 in full as it comes; the other ranks in a line each, unless one of them failed."""

    def __init__(self, session: Session, hidden: Sequence[str], *, stream: TextIO) -> None:
        self._session = session
        self._stream = stream
        self._redactor = ByteRedactor(hidden)
        self._view = LogView(redact=hidden, tail_lines=50)
        self._note = ""
        self._offset: int | None = None
        self._in_line = False

    def show(self, news: News, note: str) -> None:
        """Write what rank 0 printed; see Screen."""
        for chunk in news.chunks:
            self._view.feed(chunk.rank, chunk.offset, chunk.data)
            if chunk.rank == 0:
                self._print(self._redactor.feed(self._unseen(chunk)))
        if news.complete:
            self._print(self._redactor.feed(b"", last=True))
        if not note and news.job.state is JobState.QUEUED:
            note = f"queued: {waits_text(news.job)}"
        if note and note != self._note:
            _write(self._stream, f"\n{note}\n".encode())
        self._note = note

    def _print(self, data: bytes) -> None:
        _write(self._stream, data)
        if data:
            self._in_line = not data.endswith(b"\n")

    def _unseen(self, chunk: LogChunk) -> bytes:
        """Return what was not printed of `chunk`: news may come twice (see Screen)."""
        begin = chunk.offset if self._offset is None else max(self._offset, chunk.offset)
        self._offset = max(begin, chunk.offset + len(chunk.data))
        return chunk.data[begin - chunk.offset :]

    def finish(self, job: Job) -> None:
        """Say how it ended, with the log of the rank that failed where that was not rank 0."""
        lines = []
        failed = job.seen.failed_rank if job.seen else None
        for log in self._view.snapshot().ranks:
            if log.rank == 0 or not log.lines_seen:
                continue
            if log.rank == failed or (log.rank < 0 and failed is None and not _went_well(job)):
                lines.append(f"--- {'launcher' if log.rank < 0 else f'rank {log.rank}'} ---")
                lines.append(log_text(log).rstrip())
            elif log.rank > 0:
                lines.append(f"rank {log.rank}: {log.summary}")
        folder = log_folder(job)
        if folder is not None:
            lines.append(f"whole logs: {folder}")
        reason = f": {job.seen.reason}" if job.seen and job.seen.reason else ""
        lines.append(f"job {job.id} ({job.spec.name}) {job.state.value}{reason}")
        begin = "\n" if self._in_line else ""
        _write(self._stream, (begin + "\n".join(lines) + "\n").encode())


def _went_well(job: Job) -> bool:
    return job.state in (JobState.SUCCEEDED, JobState.CANCELLED)
