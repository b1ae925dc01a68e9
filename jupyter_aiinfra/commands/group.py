"""What the groups of verbs share: a default verb, lengths of time, and completion of names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.launch_line import parse_seconds
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.errors import AiInfraError

if TYPE_CHECKING:
    from jupyter_aiinfra.store import Store

__all__ = [
    "SETTINGS",
    "TAKES_CONTEXT",
    "Verbs",
    "complete_budget",
    "complete_endpoint",
    "complete_job",
    "complete_pool",
    "complete_pool_or_job",
    "complete_schedule",
    "seconds_of_option",
]

TAKES_CONTEXT = click.make_pass_decorator(Context)
SETTINGS = {"help_option_names": ["-h", "--help"]}


class Verbs(click.Group):
    """A group that, without a verb, does what its first verb does: ``%jobs`` lists."""

    default: str

    def __init__(self, *args: Any, default: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default verb first where there is none."""
        verb = bool(args) and (not args[0].startswith("-") or args[0] in ("--help", "-h"))
        # While a word is completed (click's resilient parsing) the verb may be still to come.
        if not verb and not ctx.resilient_parsing:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def seconds_of_option(
    flag: str,
) -> Callable[[click.Context, click.Parameter, str | None], float | None]:
    """Return a callback that reads the value of the option `flag` as a length of time."""

    def read(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
        return None if text is None else parse_seconds(flag, text)

    return read


def complete_pool(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of attached pools that begin so."""
    return _begin(incomplete, lambda store: [record.name for record in store.list_pools()])


def complete_job(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of jobs that begin so."""
    return _begin(incomplete, lambda store: [job.id for job in store.list_jobs(limit=50)])


def complete_budget(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of budgets that begin so."""
    return _begin(incomplete, lambda store: [each.id for each in store.budgets()])


def complete_endpoint(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of endpoints that begin so."""
    return _begin(incomplete, lambda store: [each.name for each in store.endpoints()])


def complete_schedule(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of schedules that begin so."""
    return _begin(incomplete, lambda store: [each.name for each in store.schedules()])


def complete_pool_or_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the pools and the jobs whose name begins so."""
    return [*complete_pool(ctx, param, incomplete), *complete_job(ctx, param, incomplete)]


def _begin(incomplete: str, words: Callable[[Store], list[str]]) -> list[str]:
    """Return those of `words` that begin like `incomplete`, from a session of their own."""
    session = Session()
    try:
        return [word for word in words(session.engine.store) if word.startswith(incomplete)]
    except AiInfraError:
        # A store that cannot be opened is told by the command, not by the tab key.
        return []
    finally:
        session.close()
