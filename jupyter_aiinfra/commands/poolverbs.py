"""The verbs of pools, run by magics and command line alike."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import click

from jupyter_aiinfra.commands.asking import KeyQuestion, Progress
from jupyter_aiinfra.commands.budgetshow import rule_text
from jupyter_aiinfra.commands.checkshow import CHECK_COLUMNS, check_lines, check_rows
from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.costshow import price_line, price_value
from jupyter_aiinfra.commands.filenews import FileNews, transferred_lines
from jupyter_aiinfra.commands.group import SETTINGS, TAKES_CONTEXT, Verbs, complete_pool
from jupyter_aiinfra.commands.launch_line import idle_rule
from jupyter_aiinfra.commands.periods import parse_moment
from jupyter_aiinfra.commands.reconcileshow import reclaimed_lines, reconciled_lines
from jupyter_aiinfra.commands.show import (
    ENVIRONMENT_COLUMNS,
    POOL_COLUMNS,
    environment_rows,
    pool_lines,
    pool_rows,
)
from jupyter_aiinfra.cost.bill import pool_price
from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.engine import PoolView, Reconciled
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import Severity, to_wire
from jupyter_aiinfra.pools import kinds, pool_class

__all__ = ["pool"]


@click.group(cls=Verbs, default="list", context_settings=SETTINGS)
def pool() -> None:
    """Attach GPU pools and see what is there.

    \b
    Examples:
      pool attach here --kind local
      pool attach other --kind local --python ~/envs/torch/bin/python --max-procs 4
      pool list
      pool show here
      pool detach here
    """  # noqa: D301 - click keeps the lines below its \b


_ACCEPT_KEY = click.option(
    "--accept-key",
    multiple=True,
    metavar="SHA256:…",
    help="a host key that is right, without a question; may be given several times",
)


class _Attach(click.Command):
    """Adds the options of the pool kind that was named: each kind declares its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["kind"] = _named_kind(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        kind = ctx.meta.get("kind", "local")
        options: list[click.Parameter] = [
            click.Option([f"--{field.name.replace('_', '-')}"], help=field.metadata.get("help", ""))
            for field in dataclasses.fields(pool_class(kind).options_type)
        ]
        options += [_price_option(field) for field in dataclasses.fields(PriceOptions)]
        own = [each for each in params if isinstance(each, click.Argument) or each.name == "kind"]
        return [*own, *options, *(each for each in params if each not in own)]


def _price_option(field: dataclasses.Field[Any]) -> click.Option:
    return click.Option(
        [f"--{field.name}"],
        help=field.metadata.get("help", ""),
        is_flag=field.default is False,
        default=None,
    )


def _named_kind(args: list[str]) -> str:
    for index, word in enumerate(args):
        if word == "--kind" and index + 1 < len(args):
            return args[index + 1]
        if word.startswith("--kind="):
            return word.partition("=")[2]
    return "local"


@pool.command("attach", cls=_Attach)
@click.argument("name")
@click.option("--kind", default="local", show_default=True, help="what the pool is")
@click.option(
    "--idle-stop",
    metavar="TIME|warn|never",
    help="what is done when jobs there do not use their GPUs, as by idle set: 30m",
)
@_ACCEPT_KEY
@TAKES_CONTEXT
def _attach(
    context: Context,
    /,
    name: str,
    kind: str,
    accept_key: tuple[str, ...],
    idle_stop: str | None,
    **options: str | bool | None,
) -> None:
    """Attach a pool under NAME, after asking it what is there.

    A host whose key nobody has accepted yet is asked about, once. Where nobody can answer,
    --accept-key says which key is the right one. What an hour costs is said by --price, or looked
    up by --sku; without either it is unknown, and so is what jobs there cost.

    \b
    Examples:
      pool attach here --kind local
      pool attach four --kind local --max-procs 4
      pool attach lab --kind ssh --hosts gpu1,gpu2,me@gpu3:2222
      pool attach lab --kind ssh --hosts-from '~/.ssh/config:gpu*'
      pool attach aws --kind ssh --hosts p5a,p5b --sku aws:p5.48xlarge --region us-east-1
      pool attach own --kind ssh --hosts gpu1 --price 0.85eur/gpu-h --idle-stop 30m
    """  # noqa: D301 - click keeps the lines below its \b
    rule = None if idle_stop is None else idle_rule("--idle-stop", idle_stop)
    given = {key: value for key, value in options.items() if value not in (None, False)}
    for field in dataclasses.fields(pool_class(kind).options_type):
        if field.metadata.get("path") and field.name in given:
            # Whoever opens the pool may be in another folder.
            given[field.name] = str(Path(str(given[field.name])).expanduser().absolute())
    engine = context.session.engine
    question = KeyQuestion(context.surface, accept_key)
    attaching = engine.attach(name, kind=kind, options=given, confirm=question)
    view = context.session.run(attaching, meanwhile=question.meanwhile)
    said = ["attached", *_priced(view)]
    if rule is not None:
        engine.governor.set_idle(name, rule)
        said.append(f"  idle    jobs that do not use their GPUs: {rule_text(rule)}")
    context.surface.text("\n".join(said))
    context.surface.value(_view_value(view))


def _priced(view: PoolView) -> list[str]:
    """Return all lines of a pool, with what it costs below its name."""
    head, *rest = pool_lines(view)
    return [head, price_line(view.price, view.record.name), *rest]


def _view_value(view: PoolView) -> dict[str, Any]:
    value: dict[str, Any] = to_wire(dataclasses.replace(view, price=None))
    return {**value, "price": price_value(view.price)}


@pool.command("list")
@TAKES_CONTEXT
def _list_pools(context: Context) -> None:
    """List the attached pools, with what each has as of now.

    \b
    Example:
      pool list
    """  # noqa: D301 - click keeps the lines below its \b
    views = context.session.run(context.session.engine.pools())
    empty = "no pool is attached yet; attach this machine: %pool attach here --kind local"
    context.surface.table(POOL_COLUMNS, pool_rows(views), empty=empty)
    context.surface.value([_view_value(view) for view in views])


@pool.command("show")
@click.argument("name", shell_complete=complete_pool)
@TAKES_CONTEXT
def _show_pool(context: Context, name: str) -> None:
    """Show one pool: its nodes, their GPUs, Python and packages.

    \b
    Example:
      pool show lab
    """  # noqa: D301 - click keeps the lines below its \b
    view = context.session.run(context.session.engine.show_pool(name))
    context.surface.text("\n".join(_priced(view)))
    context.surface.value(_view_value(view))


@pool.command("price")
@click.argument("name", shell_complete=complete_pool)
@click.option("--price", help="what an hour costs: 2.49/gpu-h, 1.20eur/node-h")
@click.option("--sku", help="or what its machines are in a catalog: aws:p5.48xlarge")
@click.option("--region", help="where they are: us-east-1")
@click.option("--spot", is_flag=True, help="they are spot machines")
@click.option("--currency", help="the price's currency: eur")
@click.option("--since", metavar="TIME", help="from an earlier time on: 2026-11-09T14:30")
@TAKES_CONTEXT
def _price(context: Context, /, name: str, since: str | None, **said: Any) -> None:
    """Show what a pool costs, and did; or say what it costs from now on.

    With --since what has been since then is counted anew.

    \b
    Examples:
      pool price lab
      pool price lab --price 2.49/gpu-h
      pool price lab --sku aws:p5.48xlarge --spot --since 2026-11-01
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    asked = PriceOptions(**said)
    if asked.given:
        engine.set_price(name, asked, since=None if since is None else parse_moment(since))
    elif since is not None:
        raise UsageError("--since says from when, and not what", hint="add --price or --sku")
    engine.store.get_pool(name)
    history = [pool_price(row) for row in engine.store.prices(pool=name)]
    lines = [f"pool {name}", price_line(history[-1] if history else None, name)]
    for each in reversed(history):
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.since))
        lines.append(f"    since {at}: {each.terms.text()}")
    context.surface.text("\n".join(lines))
    context.surface.value({"pool": name, "prices": [price_value(each) for each in history]})


@pool.command("check")
@click.argument("name", shell_complete=complete_pool)
@_ACCEPT_KEY
@TAKES_CONTEXT
def _check(context: Context, name: str, accept_key: tuple[str, ...]) -> int:
    """Look into all that jobs need of a pool's nodes, and say what to mend.

    Whether each node answers, how quickly, its Python, GPUs and disk, its clock, and whether the
    nodes reach each other's ports. The exit status is 1 where something is wrong.

    \b
    Examples:
      pool check lab
      pool check lab --accept-key SHA256:Jr0pVq
    """  # noqa: D301 - click keeps the lines below its \b
    question = KeyQuestion(context.surface, accept_key)
    news = Progress(context.surface)
    checking = context.session.engine.check(name, confirm=question, tell=news.hear)

    def meanwhile() -> None:
        question.meanwhile()
        news.tell()

    try:
        found = context.session.run(checking, meanwhile=meanwhile)
    finally:
        news.end()
    context.surface.table(CHECK_COLUMNS, check_rows(found), empty="it has no nodes")
    context.surface.text("\n".join(check_lines(found)))
    context.surface.value({**to_wire(found), "verdict": found.verdict.value})
    return int(found.verdict is Severity.ERROR)


@pool.command("detach")
@click.argument("name", shell_complete=complete_pool)
@click.option("--force", is_flag=True, help="even while jobs on it are not over; they go on")
@TAKES_CONTEXT
def _detach(context: Context, name: str, *, force: bool) -> None:
    """Forget a pool. Nothing on it is touched; attach it again to undo.

    \b
    Example:
      pool detach lab
    """  # noqa: D301 - click keeps the lines below its \b
    context.session.run(context.session.engine.detach(name, force=force))
    context.surface.text(f"detached {name}; its jobs and files stay as they are")
    context.surface.value({"detached": name})


_ALL = "all"


@pool.command("put")
@click.argument("name", shell_complete=complete_pool)
@click.argument("local", type=click.Path())
@click.argument("remote")
@click.option("--node", default=_ALL, show_default=True, help="to which node: its name, or all")
@TAKES_CONTEXT
def _put(context: Context, name: str, local: str, remote: str, node: str) -> int:
    """Copy a file, or what is in a folder, to nodes of a pool.

    REMOTE is a path there, meant from the home folder unless it begins with /. Only what differs
    is sent; what was cut off is gone on with. Nothing is deleted there.

    \b
    Examples:
      pool put lab data/digits.npz data/digits.npz
      pool put lab data /scratch/data --node gpu1
    """  # noqa: D301 - click keeps the lines below its \b
    news = Progress(context.surface)
    nodes = () if node == _ALL else (node,)
    begun = time.monotonic()
    putting = context.session.engine.put_files(
        name, Path(local), remote, nodes=nodes, report=FileNews(news).hear
    )
    try:
        moved = context.session.run(putting, meanwhile=news.tell)
    finally:
        news.end()
    took = time.monotonic() - begun
    context.surface.text("\n".join(transferred_lines(moved, seconds=took, to=True)))
    context.surface.value(to_wire(list(moved)))
    return int(any(each.problem is not None for each in moved))


@pool.command("get")
@click.argument("name", shell_complete=complete_pool)
@click.argument("remote")
@click.argument("local", type=click.Path())
@click.option("--node", help="from which node; the first that answers when left out")
@TAKES_CONTEXT
def _get(context: Context, name: str, remote: str, local: str, node: str | None) -> None:
    """Copy a file, or what is in a folder, from a node of a pool to here.

    \b
    Examples:
      pool get lab out/model.safetensors .
      pool get lab /scratch/run7 run7 --node gpu2
    """  # noqa: D301 - click keeps the lines below its \b
    news = Progress(context.surface)
    begun = time.monotonic()
    getting = context.session.engine.get_files(
        name, remote, Path(local), node=node, report=FileNews(news).hear
    )
    try:
        moved = context.session.run(getting, meanwhile=news.tell)
    finally:
        news.end()
    took = time.monotonic() - begun
    context.surface.text("\n".join(transferred_lines([moved], seconds=took, to=False)))
    context.surface.value(to_wire(moved))


@pool.command("reconcile")
@click.argument("name", shell_complete=complete_pool)
@click.option("--dry-run", is_flag=True, help="say what would be done, and change nothing")
@click.option("--adopt", multiple=True, metavar="ID", help="take this orphan into the record")
@click.option("--reclaim", is_flag=True, help="end the orphans, and remove what is left of them")
@click.option("--yes", is_flag=True, help="do not ask before that")
@TAKES_CONTEXT
def _reconcile(
    context: Context,
    name: str,
    *,
    dry_run: bool,
    adopt: tuple[str, ...],
    reclaim: bool,
    yes: bool,
) -> int:
    """Hold the record of a pool against what really runs there.

    Half-done launches are bound or failed, and what is gone is noted. What is there and in no
    record, an orphan, is only shown unless --adopt or --reclaim says what to do with it.

    \b
    Examples:
      pool reconcile lab
      pool reconcile lab --dry-run
      pool reconcile lab --adopt 1ng9dkb4fpfh
      pool reconcile lab --reclaim
    """  # noqa: D301 - click keeps the lines below its \b
    engine, surface = context.session.engine, context.surface
    if dry_run and adopt:
        raise UsageError("--dry-run and --adopt contradict each other", hint="give one of them")
    adopted = [context.session.run(engine.adopt_orphan(name, job_id)) for job_id in adopt]
    found = context.session.run(engine.reconcile(name, dry_run=dry_run))
    lines = [f"adopted  {job.id}: {job.spec.name}, {job.state.value}" for job in adopted]
    surface.text("\n".join([*lines, *reconciled_lines(name, found)]))
    value = {**to_wire(found), "adopted": [job.id for job in adopted], "reclaimed": []}
    wrong = False
    if reclaim and found.found and not dry_run:
        _must_agree(context, found, yes=yes)
        done = [
            each
            for orphan in found.found
            for each in context.session.run(engine.reclaim(name, orphan.job))
        ]
        surface.text("\n".join(reclaimed_lines(done)))
        value["reclaimed"] = to_wire(done)
        wrong = any(each.problem is not None for each in done)
    surface.value(value)
    return int(wrong)


def _must_agree(context: Context, found: Reconciled, *, yes: bool) -> None:
    """Have a person say that what was shown is to be ended.

    Raises
    ------
    UsageError
        They do not, or there is nobody to ask.
    """
    count = len(found.found)
    question = f"End {'it' if count == 1 else f'these {count}'}, and remove the files there?"
    answer = True if yes else context.surface.ask(question)
    if answer is None:
        raise UsageError("there is nobody to ask about --reclaim", hint="add --yes if it is meant")
    if not answer:
        raise UsageError("nothing was reclaimed", hint="--adopt ID keeps one")


@pool.command("env")
@click.argument("name", shell_complete=complete_pool)
@click.option("--remove", metavar="DIGEST", help="remove those whose digest begins so")
@TAKES_CONTEXT
def _environments(context: Context, name: str, *, remove: str | None) -> None:
    """List the environments built on a pool's nodes, or remove one that is not in use.

    \b
    Examples:
      pool env here
      pool env here --remove 3fa85f64
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    if remove is not None:
        gone = context.session.run(engine.remove_environment(name, remove))
        lines = [f"removed {each.digest[:12]} from {node}" for node, each in gone]
        context.surface.text("\n".join(lines))
    else:
        gone = context.session.run(engine.environments(name))
        empty = f"no environment was built on {name} yet; --env requirements.txt builds one"
        context.surface.table(ENVIRONMENT_COLUMNS, environment_rows(gone), empty=empty)
    context.surface.value([{"node": node, **to_wire(each)} for node, each in gone])


@pool.command("kinds")
@TAKES_CONTEXT
def _kinds(context: Context) -> None:
    """List the kinds of pools that can be attached.

    \b
    Example:
      pool kinds
    """  # noqa: D301 - click keeps the lines below its \b
    found = sorted(kinds())
    context.surface.text("\n".join(found))
    context.surface.value(found)
