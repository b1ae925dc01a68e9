"""``endpoint``: models as URLs that others call; run by magics and command line alike."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.endpointexport import export
from jupyter_aiinfra.commands.endpointsampling import samples, sampling
from jupyter_aiinfra.commands.endpointshow import (
    ENDPOINT_COLUMNS,
    EVENT_COLUMNS,
    KEY_COLUMNS,
    VERSION_COLUMNS,
    endpoint_lines,
    endpoint_rows,
    endpoint_value,
    event_rows,
    key_rows,
    key_value,
    version_rows,
)
from jupyter_aiinfra.commands.group import (
    SETTINGS,
    TAKES_CONTEXT,
    Verbs,
    complete_endpoint,
    complete_pool,
    seconds_of_option,
)
from jupyter_aiinfra.endpoint import (
    SCOPES,
    EndpointOptions,
    Gates,
    ReplicaOptions,
    Scaling,
    check_endpoint_name,
)
from jupyter_aiinfra.engine.endpointviews import Asked, EndpointView, base_of, replicas_of
from jupyter_aiinfra.errors import AiInfraError, UsageError
from jupyter_aiinfra.logview import ByteRedactor
from jupyter_aiinfra.model import to_wire

__all__ = [
    "DEPLOYING",
    "DETACH",
    "UPDATING",
    "WAIT",
    "deploy_folder",
    "endpoint",
    "keys",
    "options_of",
    "update_folder",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_WAIT_SECONDS: Final = 600.0
_SECONDS = seconds_of_option
_NAME = click.argument("name", metavar="ENDPOINT", shell_complete=complete_endpoint)
WAIT = click.option(
    "--wait",
    "wait_seconds",
    metavar="TIME",
    default=f"{_WAIT_SECONDS:g}",
    callback=_SECONDS("--wait"),
    help="how long at most until it is as it is wanted (10m)",
)
DETACH = click.option("--detach", is_flag=True, help="do not wait; others go on with it")


@click.group(cls=Verbs, default="list", context_settings=SETTINGS)
def endpoint() -> None:
    """Serve models to other programs, at a URL, on any attached pool.

    Replicas are jobs, and live on without you; so does the router in front of them. Each Jupyter
    server with this extension, and `jupyter aiinfra serve`, keeps endpoints as they are wanted.

    \b
    Examples:
      endpoint deploy FOLDER --name digits --pool lab --replicas 2
      endpoint                              what there is, and how it does
      endpoint call digits '[[0, 0.5]]'
      endpoint call digits --data - < inputs.json
      endpoint update digits FOLDER --canary 5
      endpoint rollback digits
    """  # noqa: D301 - click keeps the lines below its \b


# --- what a version is ---------------------------------------------------------------------------

_VERSION: Final[Sequence[Any]] = (
    click.option("--workers", type=click.IntRange(1), help="processes of each replica"),
    click.option("--gpus", type=click.IntRange(0), help="GPUs of each replica (0)"),
    click.option("--share", is_flag=True, default=None, help="GPUs may be shared"),
    click.option(
        "--spot/--no-spot", default=None, help="the pool's machines may be taken back, or not"
    ),
    click.option("--fallback-pool", metavar="POOL", help="that takes the place of what is lost"),
    click.option("--max-batch", type=click.IntRange(1), help="examples in a forward pass (64)"),
    click.option("--max-queue", type=click.IntRange(1), help="examples that may wait (1024)"),
    click.option("--env", "environment", metavar="FILE", help="an environment built for it"),
    click.option("--set", "variables", nargs=2, multiple=True, metavar="NAME VALUE"),
    click.option("--secret", "secrets", multiple=True, metavar="NAME", help="a secret it needs"),
    click.option("--drain", metavar="TIME", callback=_SECONDS("--drain"), help="to end in (30s)"),
    click.option("--note", default="", help="what this version is about"),
    click.option("--no-replay", is_flag=True, help="whatever it answers to recorded calls"),
)
_ROUTER: Final[Sequence[Any]] = (
    click.option("--timeout", metavar="TIME", callback=_SECONDS("--timeout"), help="30s"),
    click.option("--max-body", type=click.IntRange(1), metavar="MIB", help="of a request (16)"),
    click.option("--cors", multiple=True, metavar="ORIGIN", help="whose pages may call it"),
    click.option("--hold", metavar="TIME", callback=_SECONDS("--hold"), help="for a replica (60s)"),
    click.option("--keep", metavar="TIME", callback=_SECONDS("--keep"), help="the version before"),
    click.option("--sample", type=click.FloatRange(0, 1), help="part of requests kept (0)"),
    click.option("--redact", multiple=True, metavar="WHAT", help="left out: a pointer, or a name"),
    click.option(
        "--idempotent/--not-idempotent",
        default=None,
        help="what is lost with a replica is asked again elsewhere, or not (it is)",
    ),
    click.option(
        "--sticky", metavar="HEADER", help="its value decides on the version (X-Session-Id)"
    ),
    click.option(
        "--tolerance",
        type=click.FloatRange(0, 1),
        help="by which numbers of answers that agree may differ (0.001)",
    ),
)
_SCALING: Final[Sequence[Any]] = (
    click.option("--min", "least", type=click.IntRange(0), help="replicas at least; 0 may sleep"),
    click.option("--max", "most", type=click.IntRange(1), help="replicas at most"),
    click.option("--in-flight", type=click.FloatRange(0, min_open=True), help="a replica (8)"),
    click.option("--p95", "p95_ms", type=click.FloatRange(0, min_open=True), metavar="MS"),
    click.option("--idle", metavar="TIME", callback=_SECONDS("--idle"), help="until 0 (5m)"),
    click.option("--cool", metavar="TIME", callback=_SECONDS("--cool"), help="until fewer (1m)"),
)
_CHANGE: Final[Sequence[Any]] = (
    click.option("--canary", metavar="PERCENT", help="steps such as 5 or 5,25,50"),
    click.option("--blue-green", is_flag=True, help="all at once, when it answers"),
    click.option("--shadow", is_flag=True, help="it gets copies; nobody gets its answers"),
    click.option("--header", metavar="NAME=VALUE", help="only requests that carry it"),
    click.option("--step", metavar="TIME", callback=_SECONDS("--step"), help="a step lasts (1m)"),
    click.option("--least-requests", type=click.IntRange(0), help="seen in each step (50)"),
    click.option("--max-errors", type=click.FloatRange(0, 1), default=0.02, show_default=True),
    click.option("--max-p95", type=float, default=200.0, show_default=True, metavar="MS"),
    click.option("--min-agreement", type=click.FloatRange(0, 1), help="with the version before"),
    click.option("--no-gates", is_flag=True, help="whatever it answers"),
    click.option("--through", is_flag=True, help="wait until a canary is promoted or rolled back"),
)
DEPLOYING: Final[Sequence[Any]] = (*_SCALING, *_VERSION, *_ROUTER)
UPDATING: Final[Sequence[Any]] = (*_CHANGE, *_VERSION)


def options_of(*groups: Sequence[Any]) -> Callable[[F], F]:
    """Return what gives a command all of these options."""

    def decorated(command: F) -> F:
        for option in reversed([each for group in groups for each in group]):
            command = option(command)
        return command

    return decorated


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _replica_options(given: Mapping[str, Any], old: ReplicaOptions) -> ReplicaOptions:
    values = {
        "workers": given["workers"],
        "gpus": given["gpus"],
        "share": given["share"],
        "max_batch": given["max_batch"],
        "max_queue": given["max_queue"],
        "env": dict(given["variables"]) or None,
        "secrets": tuple(given["secrets"]) or None,
        "drain_seconds": given["drain"],
        "fallback_pool": given["fallback_pool"],
    }
    return replicas_of(old, values, spot=given["spot"])


def _router_options(given: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        "timeout_seconds": given["timeout"],
        "max_body_bytes": None if given["max_body"] is None else given["max_body"] << 20,
        "cors": tuple(given["cors"]) or None,
        "hold_seconds": given["hold"],
        "keep_seconds": given["keep"],
        "sampling": given["sample"],
        "redact": tuple(given["redact"]) or None,
        "idempotent": given["idempotent"],
        "sticky": given["sticky"],
        "tolerance": given["tolerance"],
    }
    return _given(values)


def _scaling(given: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        "least": given["least"],
        "most": given["most"],
        "in_flight": given["in_flight"],
        "p95_ms": given["p95_ms"],
        "idle_seconds": given["idle"],
        "cool_seconds": given["cool"],
    }
    return _given(values)


def _asked(given: Mapping[str, Any], old: ReplicaOptions) -> Asked:
    """Return what the options of a line say of a version, and of how it comes."""
    ways = [name for name in ("canary", "blue_green", "shadow", "header") if given[name]]
    if len(ways) > 1:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in ways)
        raise UsageError(f"{flags} contradict each other", hint="choose one", option=ways[1])
    gates = Gates(
        error_rate=given["max_errors"], p95_ms=given["max_p95"], agreement=given["min_agreement"]
    )
    if given["no_gates"]:
        gates = Gates(error_rate=None, p95_ms=None)
    name = ways[0] if ways else "rolling"
    return Asked(
        options=_replica_options(given, old),
        environment=given["environment"],
        how={"blue_green": "blue-green", "header": "canary"}.get(name, name),  # type: ignore[arg-type]
        steps=_percent(given["canary"]),
        step_seconds=given["step"],
        least_requests=given["least_requests"],
        gates=gates,
        header=_header(given["header"]),
        replay=not given["no_replay"],
        note=given["note"],
    )


def _percent(text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.rstrip("%").split(","))
    except ValueError:
        raise UsageError(
            f"--canary {text!r} is no percentage", hint="such as 5, or 5,25,50", option="canary"
        ) from None


def _header(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError(
            f"--header {text!r} is no header", hint="such as X-Version=2", option="header"
        )
    return {name: value}


# --- verbs ---------------------------------------------------------------------------------------


def _looked(context: Context, work: Coroutine[Any, Any, T]) -> T:
    """Do `work` once what was decided meanwhile, perhaps with nobody there, is on record."""
    return context.session.run(_after_look(context, work))


async def _after_look(context: Context, work: Coroutine[Any, Any, T]) -> T:
    try:
        await context.session.engine.endpoints.tick()
    except BaseException:
        work.close()  # or Python says, above what is wrong, that nobody has waited for it
        raise
    return await work


def _show_one(context: Context, view: EndpointView) -> None:
    context.surface.text("\n".join(endpoint_lines(view)))
    context.surface.table(VERSION_COLUMNS, version_rows(view), empty="no version")
    context.surface.value(endpoint_value(view))


def _done(
    context: Context,
    work: Coroutine[Any, Any, EndpointView],
    *,
    detach: bool,
    wait_seconds: float | None,
    through: bool = False,
) -> None:
    """Have something done to an endpoint, wait until that is so, and show it."""
    engine = context.session.engine

    async def do() -> EndpointView:
        view = await _after_look(context, work)
        if detach:
            await engine.endpoints.tick()
            await engine.endpoints.keeping.settled()
            return await engine.endpoints.show(view.endpoint.id)
        seconds = _WAIT_SECONDS if wait_seconds is None else wait_seconds
        return await engine.endpoints.wait(view.endpoint.id, seconds=seconds, through=through)

    view = context.session.run(do())
    _show_one(context, view)
    if view.state == "failed":
        main = view.whole.version(view.endpoint.main or 1)
        raise AiInfraError(
            f"endpoint {view.endpoint.name} does not answer: {main.reason}",
            hint=f"endpoint logs {view.endpoint.name}",
        )


@endpoint.command("list")
@click.option("--removed", is_flag=True, help="also those that can be put back")
@TAKES_CONTEXT
def _list(context: Context, *, removed: bool) -> None:
    """List the endpoints, with what the router in front of them says.

    \b
    Examples:
      endpoint list
      endpoint list --removed
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    views = _looked(context, engine.endpoints.views(removed=removed))
    empty = "nothing is deployed: endpoint deploy FOLDER --name NAME --pool POOL"
    context.surface.table(ENDPOINT_COLUMNS, endpoint_rows(views), empty=empty)
    context.surface.value([endpoint_value(view) for view in views])


@endpoint.command("deploy")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", help="what it is called, in its URL too (as endpoint.json says)")
@click.option("--pool", required=True, shell_complete=complete_pool, help="where it runs")
@click.option("--replicas", type=click.IntRange(1), help="how many; same as --min and --max")
@options_of(DEPLOYING)
@DETACH
@WAIT
@TAKES_CONTEXT
def _deploy(
    context: Context,
    /,
    folder: Path,
    *,
    name: str | None,
    pool: str,
    replicas: int | None,
    detach: bool,
    wait_seconds: float | None,
    **given: Any,
) -> None:
    """Serve the model in a folder with endpoint.json, at a URL of its own.

    \b
    Examples:
      endpoint deploy digits/ --pool lab --replicas 2
      endpoint deploy digits/ --name digits --pool lab --min 0 --max 4 --idle 10m
    """  # noqa: D301 - click keeps the lines below its \b
    deploy_folder(
        context,
        folder,
        name=check_endpoint_name(name) if name else _own_name(folder),
        pool=pool,
        replicas=replicas,
        detach=detach,
        wait_seconds=wait_seconds,
        given=given,
    )


def deploy_folder(
    context: Context,
    folder: Path,
    *,
    name: str,
    pool: str,
    replicas: int | None,
    detach: bool,
    wait_seconds: float | None,
    given: Mapping[str, Any],
) -> None:
    """Deploy what is in a folder, as the options of :data:`DEPLOYING` say, and show it."""
    if replicas is not None and (given["least"] is not None or given["most"] is not None):
        raise UsageError("--replicas says --min and --max", hint="choose one", option="replicas")
    scaling = _scaling(given)
    if replicas is not None:
        scaling |= {"least": replicas, "most": replicas}
    scaling.setdefault("most", max(scaling.get("least", 1), 1))
    scaling.setdefault("least", min(1, scaling["most"]))
    asked = Asked(
        options=_replica_options(given, ReplicaOptions()),
        environment=given["environment"],
        replay=not given["no_replay"],
        note=given["note"],
    )
    work = context.session.engine.endpoints.deploy(
        name,
        folder,
        pool=pool,
        options=EndpointOptions(**_router_options(given)),
        scaling=Scaling(**scaling),
        asked=asked,
    )
    _done(context, work, detach=detach, wait_seconds=wait_seconds)


def update_folder(
    context: Context,
    name: str,
    folder: Path | None,
    *,
    pool: str | None,
    through: bool,
    detach: bool,
    wait_seconds: float | None,
    given: Mapping[str, Any],
) -> None:
    """Have an endpoint serve another version, as the options of :data:`UPDATING` say; show it."""
    engine = context.session.engine
    whole = engine.store.whole_endpoint(engine.store.get_endpoint(name).id)
    asked = replace(_asked(given, base_of(whole).options), pool=pool)
    work = engine.endpoints.update(name, folder, asked)
    _done(context, work, detach=detach, wait_seconds=wait_seconds, through=through)


def _own_name(folder: Path) -> str:
    from jupyter_aiinfra.promote.endpointjob import read_package  # noqa: PLC0415

    return read_package(folder)[0].name


@endpoint.command("update")
@_NAME
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--pool", shell_complete=complete_pool, help="where it runs (as before)")
@options_of(UPDATING)
@DETACH
@WAIT
@TAKES_CONTEXT
def _update(
    context: Context,
    /,
    name: str,
    folder: Path | None,
    *,
    pool: str | None,
    through: bool,
    detach: bool,
    wait_seconds: float | None,
    **given: Any,
) -> None:
    """Serve another version, step by step; one that does not hold its gates is rolled back.

    \b
    Examples:
      endpoint update digits better/                    replica by replica
      endpoint update digits better/ --canary 5         5%, 25%, 50%, 100%, a minute each
      endpoint update digits better/ --blue-green
      endpoint update digits better/ --shadow           only copies, to compare
      endpoint update digits --workers 4                the same model, otherwise
    """  # noqa: D301 - click keeps the lines below its \b
    update_folder(
        context,
        name,
        folder,
        pool=pool,
        through=through,
        detach=detach,
        wait_seconds=wait_seconds,
        given=given,
    )


@endpoint.command("show")
@_NAME
@TAKES_CONTEXT
def _show(context: Context, name: str) -> None:
    """Show one endpoint: its versions side by side, and what has happened to it.

    \b
    Example:
      endpoint show digits
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    view = _looked(context, engine.endpoints.show(name))
    context.surface.text("\n".join(endpoint_lines(view)))
    context.surface.table(VERSION_COLUMNS, version_rows(view), empty="no version")
    events = engine.endpoints.events(view.endpoint.id)
    context.surface.table(EVENT_COLUMNS, event_rows(events), empty="nothing has happened")
    context.surface.value({**endpoint_value(view), "events": to_wire(list(events))})


@endpoint.command("promote")
@_NAME
@TAKES_CONTEXT
def _promote(context: Context, name: str) -> None:
    """Give all traffic to the version that is tried out, at once, whatever its gates say.

    \b
    Example:
      endpoint promote digits
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    _show_one(context, _looked(context, engine.endpoints.promote(name)))


@endpoint.command("rollback")
@_NAME
@click.option("--to", type=click.IntRange(1), help="a version (what was served before)")
@click.option("--because", default="", metavar="TEXT", help="why, for others")
@DETACH
@WAIT
@TAKES_CONTEXT
def _rollback(
    context: Context,
    name: str,
    *,
    to: int | None,
    because: str,
    detach: bool,
    wait_seconds: float | None,
) -> None:
    """End the change that is under way, or serve the version before once more.

    \b
    Example:
      endpoint rollback digits
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    work = engine.endpoints.rollback(name, to=to, reason=because)
    _done(context, work, detach=detach, wait_seconds=wait_seconds)


@endpoint.command("traffic")
@_NAME
@click.argument("shares", nargs=-1, required=True, metavar="VERSION=WEIGHT...")
@TAKES_CONTEXT
def _traffic(context: Context, name: str, shares: Sequence[str]) -> None:
    """Divide the traffic between versions by hand.

    \b
    Example:
      endpoint traffic digits 3=90 4=10
    """  # noqa: D301 - click keeps the lines below its \b
    weights = {}
    for share in shares:
        number, equals, weight = share.partition("=")
        try:
            weights[int(number.lstrip("v"))] = float(weight if equals else "nan")
        except ValueError:
            raise UsageError(f"{share!r} is no share", hint="VERSION=WEIGHT: 3=90") from None
    engine = context.session.engine
    _show_one(context, _looked(context, engine.endpoints.split(name, weights)))


@endpoint.command("scale")
@_NAME
@options_of(_SCALING)
@DETACH
@WAIT
@TAKES_CONTEXT
def _scale(
    context: Context, /, name: str, *, detach: bool, wait_seconds: float | None, **given: Any
) -> None:
    """Change how many replicas there are, and by what.

    \b
    Examples:
      endpoint scale digits --min 2 --max 8
      endpoint scale digits --min 0 --idle 10m     nothing runs while nobody calls
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    work = engine.endpoints.scale(name, **_scaling(given))
    _done(context, work, detach=detach, wait_seconds=wait_seconds)


@endpoint.command("configure")
@_NAME
@options_of(_ROUTER)
@TAKES_CONTEXT
def _configure(context: Context, /, name: str, **given: Any) -> None:
    """Change limits, whose pages may call it, what is kept of requests, and how they are routed.

    \b
    Examples:
      endpoint configure digits --timeout 10s --max-body 4 --cors https://example.org
      endpoint configure digits --sticky X-User         a user always gets the same version
      endpoint configure digits --not-idempotent        what may be done once is never asked twice
      endpoint configure digits --tolerance 0.01        answers that differ by 1% agree
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    work = engine.endpoints.configure(name, **_router_options(given))
    _show_one(context, context.session.run(work))


@endpoint.command("remove")
@_NAME
@DETACH
@WAIT
@TAKES_CONTEXT
def _remove(context: Context, name: str, *, detach: bool, wait_seconds: float | None) -> None:
    """Serve it no more; endpoint restore puts it back.

    \b
    Example:
      endpoint remove digits
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine

    async def remove() -> EndpointView:
        view = await engine.endpoints.remove(name)
        seconds = 0.0 if detach else wait_seconds or _WAIT_SECONDS
        return await engine.endpoints.gone(view.endpoint.id, seconds=seconds)

    view = context.session.run(remove())
    context.surface.text(
        f"{view.endpoint.name} is removed; endpoint restore {view.endpoint.id} puts it back"
    )
    context.surface.value(endpoint_value(view))


@endpoint.command("restore")
@_NAME
@DETACH
@WAIT
@TAKES_CONTEXT
def _restore(context: Context, name: str, *, detach: bool, wait_seconds: float | None) -> None:
    """Serve once more what was removed.

    \b
    Example:
      endpoint restore digits
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    work = engine.endpoints.restore(name)
    _done(context, work, detach=detach, wait_seconds=wait_seconds)


# --- calling, logs -------------------------------------------------------------------------------


@endpoint.command("call")
@_NAME
@click.argument("words", nargs=-1, metavar="[JSON]")
@click.option("--data", metavar="JSON", help="the inputs; - reads standard input")
@click.option("--path", default="predict", show_default=True, help="below its URL")
@click.option("--timeout", metavar="TIME", default="120", callback=_SECONDS("--timeout"))
@TAKES_CONTEXT
def _call(
    context: Context,
    name: str,
    *,
    words: Sequence[str],
    data: str | None,
    path: str,
    timeout: float | None,
) -> None:
    """Call an endpoint, and print what it answers; as its owner you need no key.

    \b
    Examples:
      endpoint call digits --data '[[0, 0.5]]'
      endpoint call digits                        with the example of its package
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    if words and data is not None:
        raise UsageError(
            "the inputs are given twice", hint="with --data, or without", option="data"
        )
    # A shell, or a magic, may have taken them apart at their spaces.
    data = " ".join(words) if words else data
    whole = engine.store.whole_endpoint(engine.store.get_endpoint(name).id)
    if data is None:
        inputs: Any = whole.version(whole.endpoint.main or 1).package.manifest.get("example")
        if inputs is None:
            raise UsageError(
                f"{name} has no example", hint=f"endpoint call {name} '[[…]]'", option="data"
            )
    else:
        text = sys.stdin.read() if data == "-" else data
        try:
            inputs = json.loads(text)
        except ValueError as error:
            raise UsageError(f"the inputs are no JSON: {error}", option="data") from None
    body = inputs if isinstance(inputs, dict) and path != "predict" else {"inputs": inputs}

    answer = context.session.run(
        engine.endpoints.call(name, body, path=path.lstrip("/"), seconds=timeout or 120.0)
    )
    context.surface.text(answer if isinstance(answer, str) else json.dumps(answer))
    context.surface.value(answer)


@endpoint.command("logs")
@_NAME
@click.option("--replica", metavar="ID", help="one of endpoint show --json (the newest)")
@click.option("--router", is_flag=True, help="the router's instead")
@click.option("--follow", is_flag=True, help="go on until it ends")
@TAKES_CONTEXT
def _logs(context: Context, name: str, *, replica: str | None, router: bool, follow: bool) -> None:
    """Print the log of a replica: what the model prints, and why it did not load.

    \b
    Examples:
      endpoint logs digits --follow
      endpoint logs digits --router
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    found = engine.store.get_endpoint(name, removed=True)
    if router:
        job = engine.endpoints.router.job()
        job_id = None if job is None else job.id
    else:
        known = engine.store.endpoint_replicas(found.id)
        fits = [each.id for each in known if replica is None or each.id.startswith(replica)]
        job_id = fits[0] if fits else None
    if job_id is None:
        raise UsageError(f"{name} has no such log", hint="endpoint show --json tells its replicas")
    job = engine.store.get_job(job_id)
    hidden = ByteRedactor([os.environ[each] for each in job.spec.secrets if each in os.environ])

    async def show() -> int:
        end = 0
        async for chunk in engine.logs(job_id, follow=follow):
            context.surface.log(hidden.feed(chunk.data))
            end = chunk.offset + len(chunk.data)
        context.surface.log(hidden.feed(b"", last=True))
        return end

    context.surface.value({"job": job_id, "end": context.session.run(show())})


endpoint.add_command(export, "export")
endpoint.add_command(samples, "samples")
endpoint.add_command(sampling, "sampling")


# --- keys ----------------------------------------------------------------------------------------


@click.group(cls=Verbs, default="list", context_settings=SETTINGS)
def keys() -> None:
    """Keys of callers: with the first one, nobody may call without.

    \b
    Examples:
      endpoint keys new digits anna --per-second 100
      endpoint keys list digits
      endpoint keys rotate digits anna --keep 1h
      endpoint keys revoke digits anna
    """  # noqa: D301 - click keeps the lines below its \b


endpoint.add_command(keys, "keys")


@keys.command("list")
@_NAME
@TAKES_CONTEXT
def _keys(context: Context, name: str) -> None:
    """List the keys of an endpoint; their secrets are kept nowhere.

    \b
    Example:
      endpoint keys list digits
    """  # noqa: D301 - click keeps the lines below its \b
    store = context.session.engine.store
    whole = store.whole_endpoint(store.get_endpoint(name).id)
    empty = "no key: whoever reaches it may call it"
    context.surface.table(KEY_COLUMNS, key_rows(whole.keys), empty=empty)
    context.surface.value([key_value(key) for key in whole.keys])


@keys.command("new")
@_NAME
@click.argument("key")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="predict")
@click.option("--per-second", type=float, help="how often it may ask")
@TAKES_CONTEXT
def _new_key(
    context: Context,
    name: str,
    key: str,
    *,
    scopes: Sequence[str],
    per_second: float | None,
) -> None:
    """Make a key, and show it once.

    \b
    Example:
      endpoint keys new digits dashboard
    """  # noqa: D301 - click keeps the lines below its \b
    endpoints = context.session.engine.endpoints
    asked = tuple(scopes) or ("predict",)
    secret, made = context.session.run(
        endpoints.add_key(name, key, scopes=asked, per_second=per_second)
    )
    context.surface.text(f"{secret}\nshown once: keep it now. Callers send X-API-Key: {secret}")
    context.surface.value(key_value(made, secret=secret))


@keys.command("rotate")
@_NAME
@click.argument("key")
@click.option("--keep", metavar="TIME", default="1h", callback=_SECONDS("--keep"), help="the old")
@TAKES_CONTEXT
def _rotate_key(context: Context, name: str, key: str, *, keep: float | None) -> None:
    """Make a key like another, which holds for a while longer.

    \b
    Example:
      endpoint keys rotate digits dashboard
    """  # noqa: D301 - click keeps the lines below its \b
    endpoints = context.session.engine.endpoints
    secret, made = context.session.run(
        endpoints.rotate_key(name, key, keep_seconds=3600.0 if keep is None else keep)
    )
    context.surface.text(f"{secret}\nshown once: keep it now")
    context.surface.value(key_value(made, secret=secret))


@keys.command("revoke")
@_NAME
@click.argument("key")
@TAKES_CONTEXT
def _revoke_key(context: Context, name: str, key: str) -> None:
    """Have a key hold no more, from now on.

    \b
    Example:
      endpoint keys revoke digits dashboard
    """  # noqa: D301 - click keeps the lines below its \b
    gone = context.session.run(context.session.engine.endpoints.revoke_key(name, key))
    context.surface.text(f"{gone.id} ({gone.name}) is revoked")
    context.surface.value(key_value(gone))
