"""The event of a ``%%accelerate`` cell: capture, plan, launch, watch, fetch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jupyter_aiinfra.capture import Capture, capture_cell
from jupyter_aiinfra.commands.launch import (
    MANIFEST_COLUMNS,
    dry_run_text,
    launch,
    manifest_rows,
    prepare,
)
from jupyter_aiinfra.commands.show import launched_text
from jupyter_aiinfra.magics.surface import surface_for
from jupyter_aiinfra.model import CaptureKind
from jupyter_aiinfra.training import Code, LaunchLine

if TYPE_CHECKING:
    from jupyter_aiinfra.magics.core import AiInfraMagics

__all__ = ["train"]


def train(magics: AiInfraMagics, asked: LaunchLine, *, line: str, cell: str) -> None:
    """Run `cell` on a pool as `asked`.

    Raises
    ------
    CaptureError, PreflightError, UsageError
        Nothing was started.
    JobFailed
        The job did not succeed.
    """
    shell, session = magics.shell, magics.session
    # The magic's own line stays as a comment, so that line numbers are those of the cell.
    source = f"# %%accelerate {line.strip()}\n{cell}"
    captured = capture_cell(
        source,
        shell.user_ns,
        index=magics.index,
        send=asked.send,
        keep=asked.keep,
        fetch=asked.fetch,
        secrets=asked.secrets,
        root=magics.folder,
    )
    code = _code(captured, text=cell, line=line, notebook=magics.notebook)
    # A secret may be a variable of the notebook as well as one of its environment.
    variables = {name: shell.user_ns.get(name) for name in asked.secrets}
    known = {name: value for name, value in variables.items() if isinstance(value, str)}
    prepared = prepare(session, asked, code, environ={**known, **os.environ})
    surface = surface_for(shell, session)
    surface.hide(prepared.secrets.values())
    if asked.dry_run:
        rows = manifest_rows(captured.manifest)
        surface.table(MANIFEST_COLUMNS, rows, empty="the cell needs nothing of the notebook")
        surface.text(dry_run_text(prepared))
        return
    for item in captured.manifest.items:
        if item.kind is CaptureKind.MISSING:
            surface.text(f"note: {item.reason}" + (f"; {item.hint}" if item.hint else ""))
    job = launch(session, prepared, tell=surface.text, ask=surface.ask)
    if asked.detach:
        surface.text(launched_text(job))
        return
    surface.watch(job, fetch=True)


def _code(captured: Capture, *, text: str, line: str, notebook: str | None) -> Code:
    return Code(
        entry="cell.py",
        is_cell=True,
        manifest=captured.manifest,
        files={
            "cell.py": captured.cell,
            **{f"src/{path}": file for path, file in captured.sources.items()},
        },
        context=captured.context or None,
        variables=captured.variables if captured.variables.get("variables") else None,
        blobs=captured.blobs,
        text=text,
        line=line,
        notebook=notebook,
    )
