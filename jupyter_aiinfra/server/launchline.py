"""``/aiinfra/launch-line``: what may stand after ``%%accelerate``, and what is wrong with a line.

Answered by the parser that the magic itself uses, so that the editor never disagrees with it, and
by the server, so that it answers while the kernel computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click
from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.accelerate import OptionInfo, option_table
from jupyter_aiinfra.commands import tree
from jupyter_aiinfra.commands.gpus import gpus
from jupyter_aiinfra.commands.launch_line import OPTIONS, launch_problems, pool_word
from jupyter_aiinfra.commands.words import OpenQuote, Word, split_words
from jupyter_aiinfra.errors import AiInfraError, PoolNotFound, UsageError
from jupyter_aiinfra.pools import kinds
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Route
from jupyter_aiinfra.server.wire import LineProblem, LineReport, LineRequest, LineWords, OptionItem

__all__ = ["ROUTES", "LaunchLineHandler", "check_line", "line_words"]


def check_line(line: str, pools: Sequence[str] | None) -> LineReport:
    """Report on the words after ``%%accelerate``; `pools` are those attached, where known.

    The report's pool is the one that the job would run on. Positions count code points.
    """
    try:
        words = split_words(line)
    except OpenQuote as error:
        return LineReport(pool=None, problems=(_problem(error.start, len(line), error),))
    texts = [word.text for word in words]
    if "--help" in texts or "-h" in texts:
        return LineReport(pool=None, problems=())
    at = pool_word(texts)
    pool = texts[at] if at is not None else None
    found = [
        _problem(words[each.first].start, words[each.end - 1].end, each.error)
        for each in launch_problems(texts)
    ]
    if pools is not None:
        if pool is None and len(pools) == 1:
            pool = pools[0]
        found += _pool_problems(words[at] if at is not None else None, pools)
    return LineReport(pool=pool, problems=tuple(sorted(found, key=lambda each: each.start)))


def _pool_problems(word: Word | None, pools: Sequence[str]) -> Iterator[LineProblem]:
    if word is not None:
        if word.text not in pools:
            yield _problem(word.start, word.end, PoolNotFound(word.text, pools))
    elif not pools:
        hint = "attach this machine first: %pool attach here --kind local"
        yield _problem(0, 0, UsageError("no pool is attached yet", hint=hint))
    elif len(pools) > 1:
        hint = f"attached are {', '.join(pools)}: name one"
        yield _problem(0, 0, UsageError("which pool?", hint=hint))


def _problem(start: int, end: int, error: AiInfraError) -> LineProblem:
    return LineProblem(start=start, end=end, message=error.message, hint=error.hint)


def line_words() -> LineWords:
    """Return what completion offers. Positional words stand among the options, without dashes."""
    options: dict[str, tuple[OptionItem, ...]] = {
        "accelerate": (
            OptionItem(name="POOL", help="where to run", values="pools"),
            *(
                OptionItem(name=o.name, metavar=o.metavar, help=o.help, values=o.values)
                for o in OPTIONS
            ),
            *(_passed(name, info) for name, info in option_table().items()),
            OptionItem(name="--help", help="what may stand in this line"),
        )
    }
    verbs: dict[str, tuple[str, ...]] = {}
    for magic, group in (("pool", tree.pool), ("jobs", tree.jobs)):
        verbs[magic] = tuple(group.commands)
        options[magic] = tuple(_words_of(group))
        for verb, command in group.commands.items():
            options[f"{magic} {verb}"] = tuple(_words_of(command))
    options["gpus"] = tuple(_words_of(gpus))
    return LineWords(options=options, verbs=verbs)


_METAVARS = {"int": "N", "float": "X", "nothing": ""}


def _passed(name: str, info: OptionInfo) -> OptionItem:
    metavar = "|".join(info.choices) or _METAVARS.get(info.takes, "VALUE")
    return OptionItem(name=name, metavar=metavar, help=info.help, choices=info.choices)


_VALUES = {"pool_name": "pools", "job_id": "jobs"}


def _words_of(command: click.Command) -> Iterator[OptionItem]:
    context = click.Context(command)
    for each in command.get_params(context):
        if isinstance(each, click.Option):
            yield _option(each, context)
        else:
            # A pool is attached under a new name; all other verbs name one that is there.
            taken = "" if command.name == "attach" else "pools"
            values = taken if each.name == "name" else _VALUES.get(each.name or "", "")
            yield OptionItem(name=each.make_metavar(context), values=values)


def _option(option: click.Option, context: click.Context) -> OptionItem:
    return OptionItem(
        name=max(option.opts, key=len),
        metavar="" if option.is_flag else option.make_metavar(context),
        help=option.help or "",
        values=_VALUES.get(option.name or "", ""),
        choices=tuple(kinds()) if option.name == "kind" else (),
    )


class LaunchLineHandler(AiInfraHandler):
    """The words of a launch line, and what is wrong with one."""

    asks_only = True

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with what completion offers."""
        self.answer(line_words())

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Answer with what is wrong with a line. Changes nothing: who may read may ask."""
        asked = self.body(LineRequest)
        self.answer(check_line(asked.line, await self._pools()))

    async def _pools(self) -> Sequence[str] | None:
        def names(engine: Any) -> list[str]:
            return [record.name for record in engine.store.list_pools()]

        try:
            return await self.engine.call(names)
        except AiInfraError as error:
            # The rest of the line can be told all the same; the panel tells of the database.
            self.log.debug("a launch line is checked without the pools: %s", error.message)
            return None


ROUTES = (
    Route(
        path="launch-line",
        handler=LaunchLineHandler,
        operations={
            "get": Operation(summary="What may stand in the line of a magic", answer=LineWords),
            "post": Operation(
                summary="What is wrong with the words after %%accelerate",
                answer=LineReport,
                body=LineRequest,
            ),
        },
    ),
)
