"""``notify``: who is told elsewhere what has become of runs and budgets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.group import SETTINGS, TAKES_CONTEXT, Verbs
from jupyter_aiinfra.commands.show import duration_text
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.promote.notify import EVENTS
from jupyter_aiinfra.schedule import Notification

__all__ = ["NOTIFY_OPTIONS", "notify", "notify_of"]

_SHOWN = 20

NOTIFY_OPTIONS = tuple(
    click.option(
        f"--notify-{event}",
        multiple=True,
        metavar="TARGET",
        help=f"who is told {when}; none: nobody any more",
    )
    for event, when in zip(
        EVENTS,
        ("when a run has failed or was lost", "when one has succeeded", "of missed slots"),
        strict=True,
    )
)
"""The options of schedules that say who is told."""


def notify_of(given: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Return who is told from now on, where the options of a line say anything of it."""
    said = {event: given[f"notify_{event}"] for event in EVENTS if given[f"notify_{event}"]}
    if not said:
        return None
    new = {event: [name for name in names if name != "none"] for event, names in said.items()}
    return {event: names for event, names in {**old, **new}.items() if names}


@click.group(cls=Verbs, default="list", context_settings=SETTINGS)
def notify() -> None:
    """Tell people elsewhere of runs and budgets: by e-mail, Slack, Teams, a webhook.

    A target is a name in the settings for a URL of Apprise. What is secret of it stays in the
    environment of who sends: of the Jupyter server, or of jupyter aiinfra serve.

    \b
    Examples:
      notify                    the targets, and what keeps them from being sent to
      notify test team          send a test to one
      notify sent               what was sent lately, and what could not be
      schedule edit report --notify-failure team
    """  # noqa: D301 - click keeps the lines below its \b


@notify.command("list")
@TAKES_CONTEXT
def _list(context: Context) -> None:
    """List the targets of the settings.

    \b
    Example:
      notify list
    """  # noqa: D301 - click keeps the lines below its \b
    views = context.session.engine.notifying.targets()
    rows = [
        (view.name, view.kind or "unknown", ", ".join(view.secrets), view.problem or "ready")
        for view in views
    ]
    empty = 'no target: notify_targets = { team = "secret:TEAM_URL" } in settings.toml makes one'
    context.surface.table(("target", "kind", "secrets", "state"), rows, empty=empty)
    context.surface.value([to_wire(view) for view in views])


@notify.command("test")
@click.argument("target", metavar="TARGET")
@TAKES_CONTEXT
def _test(context: Context, target: str) -> None:
    """Send a message to a target that says that it is a test.

    \b
    Example:
      notify test team
    """  # noqa: D301 - click keeps the lines below its \b
    context.session.run(context.session.engine.notifying.test(target))
    context.surface.text(f"a test was sent to {target}")
    context.surface.value({"sent": target})


@notify.command("sent")
@click.option("--limit", type=click.IntRange(1), default=_SHOWN, show_default=True)
@TAKES_CONTEXT
def _sent(context: Context, limit: int) -> None:
    """List what was sent lately, and what was not and why.

    \b
    Example:
      notify sent
    """  # noqa: D301 - click keeps the lines below its \b
    found = context.session.engine.store.notifications(limit=limit)
    rows = [
        (
            f"{duration_text(max(time.time() - each.created_at, 0.0))} ago",
            each.event,
            each.subject,
            each.target,
            _state(each),
            each.problem or "",
        )
        for each in found
    ]
    columns = ("when", "what", "of", "target", "state", "why")
    context.surface.table(columns, rows, empty="nothing was sent yet")
    context.surface.value(_values(found))


def _state(each: Notification) -> str:
    if each.sent_at is not None:
        return "sent"
    if each.due_at is None:
        return "given up"
    return "waits" if not each.tries else f"tried {each.tries} times"


def _values(found: Sequence[Notification]) -> list[dict[str, Any]]:
    return [{**to_wire(each), "state": _state(each)} for each in found]
