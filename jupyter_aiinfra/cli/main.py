"""``jupyter aiinfra``: pools, jobs, GPUs, run; ``--json`` on each; shell completion."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import click
from click.shell_completion import CompletionItem, get_completion_class

from jupyter_aiinfra.cli.serve import serve
from jupyter_aiinfra.commands.budgetverbs import budget, idle
from jupyter_aiinfra.commands.context import Context, Surface
from jupyter_aiinfra.commands.costverbs import cost
from jupyter_aiinfra.commands.endpointverbs import endpoint
from jupyter_aiinfra.commands.gpus import gpus
from jupyter_aiinfra.commands.notifyverbs import notify
from jupyter_aiinfra.commands.scheduleverbs import promote, schedule
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.show import exit_status, launched_text
from jupyter_aiinfra.commands.terminal import JsonSurface, TerminalSurface, as_typed
from jupyter_aiinfra.commands.tree import invoke, jobs, pool
from jupyter_aiinfra.errors import AiInfraError, JobFailed, UnknownOption, UsageError
from jupyter_aiinfra.model import Job, to_wire

__all__ = ["cli", "main"]

_STDERR = 2
_USAGE_ERROR = 2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_COMPLETE_VARIABLE = "_JUPYTER_AIINFRA_COMPLETE"
_SETTINGS = {"help_option_names": ["-h", "--help"]}
_RUN_USAGE = "jupyter aiinfra run SCRIPT [OPTIONS] [-- SCRIPT ARGUMENTS]"
_RUN_EXAMPLES = (
    "jupyter aiinfra run train.py --pool here --procs 2",
    "jupyter aiinfra run train.py --pool here --procs 2 --mixed-precision bf16 -- --lr 0.1",
    "jupyter aiinfra run train.py --pool here --detach --json",
)


@click.group(context_settings=_SETTINGS)
@click.version_option(package_name="jupyter_aiinfra", prog_name="jupyter-aiinfra")
def cli() -> None:
    """GPU pools, distributed training and jobs.

    Every verb takes --json: one JSON value on standard output, everything else on standard error.

    \b
    Examples:
      jupyter aiinfra pool attach here --kind local
      jupyter aiinfra run train.py --pool here --procs 2
      jupyter aiinfra jobs
      jupyter aiinfra jobs logs 1mz4k --follow
    """  # noqa: D301 - click keeps the lines below its \b


cli.add_command(pool)
cli.add_command(jobs)
cli.add_command(gpus)
cli.add_command(cost)
cli.add_command(budget)
cli.add_command(schedule)
cli.add_command(endpoint)
cli.add_command(promote)
cli.add_command(idle)
cli.add_command(notify)
cli.add_command(serve)


class _Run(click.Command):
    """``run`` reads its own line: our options, accelerate's, and the script's after ``--``."""

    def get_help(self, ctx: click.Context) -> str:
        from jupyter_aiinfra.commands.launch_line import help_text  # noqa: PLC0415

        del ctx
        return help_text(_RUN_USAGE, examples=_RUN_EXAMPLES, pool_option=True)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = args[: args.index("--")] if "--" in args else args
        if "--help" in words or "-h" in words:
            click.echo(self.get_help(ctx))
            ctx.exit()
        ctx.params["words"] = tuple(args)
        return []

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from jupyter_aiinfra.accelerate import option_table  # noqa: PLC0415
        from jupyter_aiinfra.commands.launch_line import OPTIONS  # noqa: PLC0415

        del ctx
        item = CompletionItem
        if not incomplete.startswith("-"):
            return [item(incomplete, type="file")]
        names = [option.name for option in OPTIONS] + list(option_table()) + ["--pool", "--help"]
        return [item(name) for name in names if name.startswith(incomplete)]


@cli.command("run", cls=_Run)
@click.make_pass_decorator(Context)
def _run(context: Context, words: tuple[str, ...]) -> Job | None:
    """Run a script on a pool with accelerate launch."""
    from jupyter_aiinfra.capture import capture_script  # noqa: PLC0415 - only run needs it
    from jupyter_aiinfra.commands import launch as launching  # noqa: PLC0415
    from jupyter_aiinfra.commands.launch_line import parse_launch, split_script  # noqa: PLC0415
    from jupyter_aiinfra.training import Code  # noqa: PLC0415

    script, options, arguments = split_script(words)
    try:
        asked = parse_launch(options, pool_positional=False)
    except UsageError as error:
        # Most often an argument of the script: what follows -- is not accelerate's here.
        if isinstance(error, UnknownOption) or "is neither an option" in error.message:
            near, own = error.hint.split(";")[0], f"run {script} --pool POOL -- ARGUMENTS"
            near = f"{near} " if near.startswith("did you mean") else ""
            error.hint = f"{near}The script's own arguments go behind a bare --: {own}"
        raise
    path = Path(script)
    if not path.is_file():
        raise UsageError(f"there is no script {script}", hint=f"looked in {Path.cwd()}")
    captured = capture_script(path, root=path.parent.absolute())
    code = Code(
        entry=f"src/{path.name}",
        is_cell=False,
        manifest=captured.manifest,
        files={
            f"src/{path.name}": captured.cell,
            **{f"src/{name}": file for name, file in captured.sources.items()},
        },
        arguments=arguments,
        text=captured.cell,
        line=" ".join(words),
    )
    prepared = launching.prepare(context.session, asked, code)
    surface = context.surface
    surface.hide(prepared.secrets.values())
    if asked.dry_run:
        rows = launching.manifest_rows(captured.manifest)
        surface.table(launching.MANIFEST_COLUMNS, rows, empty="the script needs no other file")
        surface.text(launching.dry_run_text(prepared))
        surface.value(launching.dry_run_value(prepared))
        return None
    job = launching.launch(context.session, prepared, tell=surface.text, ask=surface.ask)
    if asked.detach:
        surface.text(launched_text(job))
    else:
        job = surface.watch(job, fetch=True)
    surface.value(to_wire(job))
    return None if asked.detach else job


@cli.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def _completion(shell: str) -> None:
    """Print what to put into your shell's start-up file for tab completion.

    \b
    Example:
      jupyter aiinfra completion bash >> ~/.bashrc
    """  # noqa: D301 - click keeps the lines below its \b
    source = get_completion_class(shell)
    assert source is not None  # noqa: S101 - one of the choices above
    click.echo(source(cli, {}, "jupyter-aiinfra", _COMPLETE_VARIABLE).source())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status.

    0 done; 1 an error of ours, or a check that found one; 2 a command that cannot be understood;
    for a job that was waited for, what :func:`~jupyter_aiinfra.commands.show.exit_status` says.
    """
    _open_closed()
    if _COMPLETE_VARIABLE in os.environ:
        cli.main(prog_name="jupyter-aiinfra", complete_var=_COMPLETE_VARIABLE)
        return 0
    try:
        return _obey(argv)
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        said = f"StorageFull: the output cannot be written: {error.strerror}"
        _last_words(sys.stdout, "")
        _last_words(sys.stderr, f"{said}\n")
        return 1


def _last_words(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        # At its end Python flushes what is left once more: that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_closed() -> None:
    """Open the standard streams that we were started without, as ``command >&-`` does.

    The next file to be opened would take the number of one, and what a program of ours prints
    would be written into it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(number, True)  # noqa: FBT003 - takes no keyword
    os.close(number)
    nowhere = Path(os.devnull)
    sys.stdin = sys.stdin or nowhere.open(encoding="utf-8")
    sys.stdout = sys.stdout or nowhere.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")


def _obey(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    words, as_json = _take_json(words)
    session = Session()
    surface: Surface = JsonSurface(session) if as_json else TerminalSurface(session)
    # A pager or head that closes the pipe ends us quietly. Not by a signal, though: that would come
    # of any pipe, also of the one to an ssh that has ended before it had read everything.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        result: Any = invoke(
            cli, words, name="jupyter-aiinfra", context=Context(session=session, surface=surface)
        )
        sys.stdout.flush()
        if isinstance(result, Job):
            return exit_status(result)
        return result if isinstance(result, int) else 0
    except AiInfraError as error:
        return _report(error, as_json=as_json, surface=surface)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # At its end Python flushes what is left once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    finally:
        session.close()


def _take_json(words: list[str]) -> tuple[list[str], bool]:
    """Take ``--json`` out of the words before a bare ``--``, wherever it stands."""
    cut = words.index("--") if "--" in words else len(words)
    before = [word for word in words[:cut] if word != "--json"]
    return before + words[cut:], len(before) < cut


def _report(error: AiInfraError, *, as_json: bool, surface: Surface) -> int:
    message, hint = as_typed(error.message), as_typed(error.hint)
    if as_json:
        surface.value({"error": type(error).__name__, "message": message, "hint": hint})
    text = f"{type(error).__name__}: {message}" + (f"\n  {hint}" if hint else "")
    print(text, file=sys.stderr)
    if isinstance(error, JobFailed):
        return 130
    return _USAGE_ERROR if isinstance(error, UsageError) else 1
