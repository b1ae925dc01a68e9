"""The magics themselves: parse, call the engine, show."""

from __future__ import annotations

import importlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.magics.gpuscreen import GpuScreens

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_aiinfra.capture import SourceIndex

__all__ = ["AiInfraMagics", "split"]

_USAGE = "%%accelerate [POOL] [OPTIONS]    (the cell below is what every rank runs)"
_EXAMPLES = (
    "%%accelerate here --procs 2",
    "%%accelerate here --procs 2 --mixed-precision no --fetch history,state --name digits",
    "%%accelerate here --procs 4 --use_fsdp --dry-run",
)


@magics_class
class AiInfraMagics(Magics):
    """``%pool``, ``%jobs``, ``%gpus``, ``%cost``, ``%schedule`` and others; ``%%accelerate``."""

    shell: InteractiveShell  # ours always have one

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.session = Session()
        self._index: SourceIndex | None = None
        self._cells: list[str] = []

    def begin(self) -> None:
        """Note the cells run so far, and listen for those to come."""
        self._cells += self.shell.user_ns.get("In", ())[1:]
        self.shell.events.register("post_run_cell", self._note)
        self._complete(on=True)

    def end(self) -> None:
        """Stop listening and let go of the engine."""
        self.shell.events.unregister("post_run_cell", self._note)
        self._complete(on=False)
        GpuScreens.forget(self.shell)
        self.session.close()

    def _note(self, result: Any) -> None:
        source = result.info.raw_cell if result.info is not None else None
        if source:
            self._cells.append(source)

    @property
    def index(self) -> SourceIndex:
        """The definitions in the cells run so far; read when a launch first needs them."""
        from jupyter_aiinfra.capture import SourceIndex  # noqa: PLC0415 - `%load_ext` is to be quick

        if self._index is None:
            self._index = SourceIndex()
        for source in self._cells:
            text: str = self.shell.transform_cell(source)  # type: ignore[no-untyped-call]
            self._index.record(text)
        self._cells.clear()
        return self._index

    @line_magic
    def pool(self, line: str) -> Any:
        """Attach GPU pools and see what is there: ``%pool --help``."""
        from jupyter_aiinfra.commands import tree  # noqa: PLC0415 - at first use

        value = self._run(tree.pool, line, "%pool")
        # A training cell comes next: what it imports had better not keep its ranks waiting.
        importlib.import_module("jupyter_aiinfra.magics.train")
        if hasattr(self.shell, "kernel"):
            importlib.import_module("jupyter_aiinfra.widgets")
        return value

    @line_magic
    def jobs(self, line: str) -> Any:
        """See, follow, stop and repeat jobs: ``%jobs --help``."""
        from jupyter_aiinfra.commands import tree  # noqa: PLC0415

        return self._run(tree.jobs, line, "%jobs")

    @line_magic
    def gpus(self, line: str) -> Any:
        """Show what GPUs do: ``%gpus --help``."""
        from jupyter_aiinfra.commands.gpus import gpus  # noqa: PLC0415

        return self._run(gpus, line, "%gpus")

    @line_magic
    def cost(self, line: str) -> Any:
        """Show what jobs and pools have cost: ``%cost --help``."""
        from jupyter_aiinfra.commands.costverbs import cost  # noqa: PLC0415

        return self._run(cost, line, "%cost")

    @line_magic
    def budget(self, line: str) -> Any:
        """Say what may be spent, and what is done once it is: ``%budget --help``."""
        from jupyter_aiinfra.commands.budgetverbs import budget  # noqa: PLC0415

        return self._run(budget, line, "%budget")

    @line_magic
    def idle(self, line: str) -> Any:
        """See who holds GPUs without using them: ``%idle --help``."""
        from jupyter_aiinfra.commands.budgetverbs import idle  # noqa: PLC0415

        return self._run(idle, line, "%idle")

    @line_magic
    def schedule(self, line: str) -> Any:
        """Have notebooks run by themselves: ``%schedule --help``."""
        from jupyter_aiinfra.commands.scheduleverbs import schedule  # noqa: PLC0415

        return self._run(schedule, line, "%schedule")

    @line_magic
    def promote(self, line: str) -> Any:
        """Have a notebook run without you: ``%promote schedule --help``."""
        from jupyter_aiinfra.commands.scheduleverbs import promote  # noqa: PLC0415

        return self._run(promote, line, "%promote")

    @line_magic
    def endpoint(self, line: str) -> Any:
        """Serve models at URLs that others call: ``%endpoint --help``."""
        from jupyter_aiinfra.commands.endpointverbs import endpoint  # noqa: PLC0415

        return self._run(endpoint, line, "%endpoint")

    def _run(self, command: Any, line: str, name: str) -> Any:
        """Run a verb; with ``--json`` show nothing, and return what a program would be told."""
        from jupyter_aiinfra.commands.context import Context  # noqa: PLC0415
        from jupyter_aiinfra.commands.tree import invoke  # noqa: PLC0415
        from jupyter_aiinfra.magics.surface import ValueSurface, surface_for  # noqa: PLC0415

        words = split(line)
        surface = surface_for(self.shell, self.session)
        if "--json" not in words:
            invoke(
                command, words, name=name, context=Context(session=self.session, surface=surface)
            )
            return None
        kept = ValueSurface(surface)
        words = [word for word in words if word != "--json"]
        invoke(command, words, name=name, context=Context(session=self.session, surface=kept))
        return kept.kept

    @line_magic
    @cell_magic
    def accelerate(self, line: str, cell: str | None = None) -> None:
        """Train on an attached pool: the cell is what every rank runs."""
        from jupyter_aiinfra.commands.launch_line import help_text, parse_launch  # noqa: PLC0415
        from jupyter_aiinfra.magics.train import train  # noqa: PLC0415

        words = split(line)
        if "--help" in words or "-h" in words:
            print(help_text(_USAGE, examples=_EXAMPLES))  # noqa: T201 - a magic shows text
            return
        if cell is None:
            raise UsageError(
                "%accelerate needs a cell", hint="write %%accelerate and the script below it"
            )
        train(self, parse_launch(words), line=line, cell=cell)

    @property
    def folder(self) -> Path:
        """The folder that relative paths and local modules are looked for from."""
        return Path.cwd()

    @property
    def notebook(self) -> str | None:
        """The path of the notebook, where the front end tells it."""
        # jupyter_server names the kernel's session after the notebook's path.
        named = os.environ.get("JPY_SESSION_NAME")
        path = self.shell.user_ns.get("__vsc_ipynb_file__") or named
        return str(path) if path else None

    def _complete(self, *, on: bool) -> None:
        from jupyter_aiinfra.magics.completion import Completion  # noqa: PLC0415

        completer = getattr(self.shell, "Completer", None)
        if completer is None:
            return
        if on:
            self._matcher = Completion(self)
            completer.custom_matchers.insert(0, self._matcher.matches)
        else:
            completer.custom_matchers.remove(self._matcher.matches)


def split(line: str) -> list[str]:
    """Split a magic's line as a shell would.

    Raises
    ------
    UsageError
        A quote without its fellow.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line!r}: {error}", hint="close the quote") from None
