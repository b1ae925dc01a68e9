"""``endpoint samples`` and ``endpoint sampling``: requests that are kept, and which."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.group import TAKES_CONTEXT, complete_endpoint
from jupyter_aiinfra.commands.launch_line import parse_seconds
from jupyter_aiinfra.commands.periods import parse_moment
from jupyter_aiinfra.endpoint import EndpointOptions
from jupyter_aiinfra.engine.endpointsamples import EndpointSample, SamplePage, SamplesAsked
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import to_wire

__all__ = ["samples", "sampling"]

_COLUMNS: Final = ("at", "version", "path", "status", "ms", "key", "request", "answer")
_SHOWN: Final = 60
_NAME = click.argument("name", metavar="ENDPOINT", shell_complete=complete_endpoint)


@click.command("samples")
@_NAME
@click.option("--version", type=click.IntRange(1), help="of this version only")
@click.option("--since", metavar="TIME", help="1h ago (1h), or from 2026-11-09T14:30 on")
@click.option("--errors", is_flag=True, help="only answers with a status from 400 on")
@click.option("--limit", type=click.IntRange(1), help="how many (20; with --out all)")
@click.option("--out", type=click.Path(path_type=Path), help="write them as recorded calls")
@TAKES_CONTEXT
def samples(
    context: Context,
    name: str,
    *,
    version: int | None,
    since: str | None,
    errors: bool,
    limit: int | None,
    out: Path | None,
) -> None:
    """Show requests with their answers, as far as they are kept, the newest first.

    With --out those that were answered well, and of which nothing was left out, become the lines of
    a file: as calls.jsonl of a package they have to be answered in the same way before it is
    deployed. It holds what others have sent: keep it as such.

    \b
    Examples:
      endpoint samples digits --since 1h
      endpoint samples digits --version 3 --errors
      endpoint samples digits --out better/calls.jsonl
    """  # noqa: D301 - click keeps the lines below its \b
    asked = SamplesAsked(
        version=version,
        since=None if since is None else _since(since),
        errors=errors,
        limit=limit if limit is not None or out is not None else 20,
    )
    page = context.session.run(context.session.engine.endpoints.samples(name, asked))
    options = context.session.engine.store.get_endpoint(name).options
    begin = f"endpoint sampling {name} --rate 0.01"
    if out is not None:
        hint = (
            "--since goes further back" if options.sampling else f"{begin} keeps some from now on"
        )
        _written(context, page, out, hint=hint)
        return
    empty = "nothing is kept of these" if options.sampling else f"no request is kept: {begin}"
    context.surface.table(_COLUMNS, [_row(each) for each in page.samples], empty=empty)
    if page.next is not None:
        context.surface.text(f"the newest {len(page.samples)} of {page.found}; --limit shows more")
    context.surface.value(to_wire(page))


def _since(text: str) -> float:
    if text[-1:] in "smhd" and text[:1].isdigit():
        return time.time() - parse_seconds("--since", text)
    return parse_moment(text)


def _row(sample: EndpointSample) -> tuple[str, ...]:
    return (
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sample.at)),
        str(sample.version),
        sample.path,
        str(sample.status),
        f"{sample.milliseconds:.1f}",
        sample.key or "",
        _short(sample.request, sample.request_bytes),
        _short(sample.answer, sample.answer_bytes),
    )


def _short(value: Any, size_bytes: int | None) -> str:
    if value is None:
        return "n/a" if size_bytes is None else f"{size_bytes:,} bytes"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _written(context: Context, page: SamplePage, out: Path, *, hint: str) -> None:
    from jupyter_aiinfra.promote.samplecalls import calls_of  # noqa: PLC0415 - only this needs it

    # As they came: the oldest first.
    made = calls_of(reversed(page.samples))
    if not made.lines:
        why = ", ".join(f"{n} {why}" for why, n in made.skipped.items()) or "none is kept"
        raise UsageError(f"no sample of these can be a recorded call: {why}", hint=hint)
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in made.lines)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}", option="out") from None
    context.surface.text(f"{len(made.lines)} recorded calls in {out}")
    for why, count in made.skipped.items():
        context.surface.text(f"left out: {count} ({why})")
    context.surface.value({"file": str(out), "calls": len(made.lines), "skipped": made.skipped})


@click.command("sampling")
@_NAME
@click.option("--rate", type=click.FloatRange(0, 1), help="part of the requests that is kept")
@click.option(
    *("--redact", "redact"),
    multiple=True,
    metavar="WHAT",
    help="leave this out: a JSON pointer, or a name",
)
@click.option("--no-redact", is_flag=True, help="leave out only what looks like a secret")
@click.option("--keep", type=click.IntRange(0), help="how many; 0 drops all")
@click.option("--days", type=click.FloatRange(0, min_open=True), help="for how long")
@TAKES_CONTEXT
def sampling(
    context: Context,
    name: str,
    *,
    rate: float | None,
    redact: Sequence[str],
    no_redact: bool,
    keep: int | None,
    days: float | None,
) -> None:
    """Say which requests are kept with their answers; without options, show it.

    What is left out of new ones is left out of those that are there, too. Tokens, passwords and
    members with such names are never kept.

    \b
    Examples:
      endpoint sampling digits --rate 0.01 --keep 1000 --days 7
      endpoint sampling digits --redact /inputs/0/name --redact email
      endpoint sampling digits --rate 0 --keep 0        keep none, and drop what there is
    """  # noqa: D301 - click keeps the lines below its \b
    if redact and no_redact:
        raise UsageError("--redact and --no-redact contradict each other", option="redact")
    engine = context.session.engine
    asked = {
        "sampling": rate,
        "redact": tuple(redact) if redact else () if no_redact else None,
        "samples": keep,
        "sample_days": days,
    }
    if any(each is not None for each in asked.values()):
        view = context.session.run(engine.endpoints.configure(name, **asked))
        options = view.endpoint.options
    else:
        options = engine.store.get_endpoint(name).options
    context.surface.text(_told(name, options))
    context.surface.value(
        {
            "rate": options.sampling,
            "redact": list(options.redact),
            "keep": options.samples,
            "days": options.sample_days,
        }
    )


def _told(name: str, options: EndpointOptions) -> str:
    left_out = ", ".join(options.redact) or "nothing but what looks like a secret"
    kept = f"{100 * options.sampling:g}% of the requests" if options.sampling else "no request"
    return (
        f"{name} keeps {kept}: at most {options.samples:,}, for {options.sample_days:g} days; "
        f"left out: {left_out}"
    )
