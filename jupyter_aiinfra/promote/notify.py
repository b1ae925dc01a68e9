"""Saying to people elsewhere what has become of a run or a budget: e-mail, Slack, Teams, webhooks.

Who is told is a target: a name in the settings for a URL of Apprise. What is secret of a URL stays
in the environment of who sends, and is named: ``secret:SLACK_URL`` is all of it, ``{PASSWORD}`` a
part. No schedule, no record and no message holds it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import quote, urlsplit

from jupyter_aiinfra.errors import AiInfraError, MissingExtra, UsageError, did_you_mean
from jupyter_aiinfra.node.scrub import Scrubber

__all__ = [
    "EVENTS",
    "Message",
    "NotDelivered",
    "Notify",
    "Target",
    "check_notify",
    "check_target_url",
    "deliver",
    "named_secrets",
    "read_notify",
    "read_target",
]

EVENTS: Final = ("failure", "success", "missed")
"""What of a schedule can be told of."""

_WHOLE: Final = "secret:"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PART: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TARGET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SHOWN: Final = 300


class NotDelivered(AiInfraError):
    """A message could not be sent to a target; says why, without what is secret of it."""

    status = 502


@dataclass(frozen=True, kw_only=True)
class Notify:
    """Who is told, by names of targets, when a run has failed (or was lost), succeeded, or missed.

    Parameters
    ----------
    missed
        Slots that nobody was there for.
    """

    failure: tuple[str, ...] = ()
    success: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """All that are told of anything, each once."""
        named = [name for field in fields(self) for name in getattr(self, field.name)]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target with its URL, and the values in it that nobody may see."""

    name: str
    url: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is said."""

    title: str
    body: str
    bad: bool = False


def named_secrets(url: str) -> tuple[str, ...]:
    """Return the names of the variables that a target's URL takes its secrets from."""
    if url.startswith(_WHOLE):
        return (url.removeprefix(_WHOLE),)
    return tuple(dict.fromkeys(_PART.findall(url)))


def read_notify(asked: Any) -> Notify:
    """Return who is told of what, as the options of a schedule say it.

    Raises
    ------
    UsageError
        Something that nobody can be told of, or what is no list of names.
    """
    if not isinstance(asked, Mapping):
        raise UsageError(
            f"notify = {asked!r}: expected lists of targets by {', '.join(EVENTS)}", option="notify"
        )
    wrong = [event for event in asked if event not in EVENTS]
    if wrong:
        raise UsageError(
            f"nobody can be told of {wrong[0]!r}",
            hint=did_you_mean(wrong[0], EVENTS) or f"there is {', '.join(EVENTS)}",
            option="notify",
        )
    for event, names in asked.items():
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
            raise UsageError(
                f"who is told of {event} = {names!r}: expected a list of targets", option="notify"
            )
    return Notify(**{event: tuple(names) for event, names in asked.items()})


def check_notify(names: Sequence[str], targets: Mapping[str, str]) -> None:
    """Refuse targets that are not in the settings, or can never be sent to. Asks nobody.

    Raises
    ------
    UsageError
        Names the target, and what there is.
    MissingExtra
        Apprise is not installed.
    """
    for name in names:
        if name not in targets:
            known = ", ".join(sorted(targets)) or "none"
            raise UsageError(
                f"there is no target {name!r} for notifications: there is {known}",
                hint=did_you_mean(name, targets)
                or f'in settings.toml: notify_targets = {{ {name} = "secret:{_env(name)}" }}',
                option="notify",
            )
        check_target_url(name, targets[name])
    if names and find_spec("apprise") is None:
        raise MissingExtra("apprise", "notify")


def check_target_url(name: str, url: str) -> None:
    """Refuse the URL of a target that cannot be, or shows a password.

    Raises
    ------
    UsageError
        Says what is wrong, without the URL.
    """
    wrong = None
    if not _TARGET.fullmatch(name):
        wrong = "its name has letters, digits and _.- only"
    elif url.startswith(_WHOLE):
        if not _NAME.fullmatch(url.removeprefix(_WHOLE)):
            wrong = f"{url!r} names no variable"
    elif "://" not in url:
        wrong = "it is no URL, and names no secret"
    elif (urlsplit(_PART.sub("X", url)).password or "X") != "X":
        wrong = "there is a password in its URL"
    if wrong:
        raise UsageError(
            f"notifications cannot go to the target {name!r}: {wrong}",
            hint=f'"secret:{_env(name)}" takes the whole URL from that variable, '
            '"mailtos://me:{MAIL_PASSWORD}@mail.example" a part of it',
            option="notify",
        )


def _env(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper()) + "_URL"


def read_target(name: str, targets: Mapping[str, str], environ: Mapping[str, str]) -> Target:
    """Return a target with its secrets filled in.

    Raises
    ------
    UsageError
        There is none of that name, its URL cannot be, or a secret of it is not set here.
    """
    check_notify([name], targets)
    url = targets[name]
    wanted = named_secrets(url)
    missing = [each for each in wanted if not environ.get(each)]
    if missing:
        raise UsageError(
            f"the target {name!r} needs {missing[0]}, which is not set here",
            hint="set that environment variable for the Jupyter server, or for "
            "jupyter aiinfra serve",
            option="notify",
        )
    values = tuple(environ[each].strip() for each in wanted)
    if url.startswith(_WHOLE):
        return Target(name=name, url=values[0], secrets=values)
    filled = _PART.sub(lambda found: quote(environ[found[1]].strip(), safe=""), url)
    quoted = tuple(quote(value, safe="") for value in values)
    return Target(name=name, url=filled, secrets=(*values, *quoted))


def deliver(target: Target, message: Message) -> None:
    """Send a message. Takes as long as the far end does, some seconds at most for each try.

    Raises
    ------
    NotDelivered
        It was not taken; says what is known of why.
    """
    apprise = _apprise()
    sender = apprise.Apprise()
    hidden = Scrubber([target.url, *target.secrets])
    if not sender.add(target.url):
        raise NotDelivered(
            f"the URL of the target {target.name!r} is none that Apprise knows",
            hint="https://github.com/caronc/apprise lists them",
        )
    kind = apprise.NotifyType.FAILURE if message.bad else apprise.NotifyType.INFO
    with apprise.LogCapture(level=logging.WARNING, name="apprise") as said:
        try:
            taken = sender.notify(title=message.title, body=message.body, notify_type=kind)
        except Exception as error:
            text = hidden.text(f"{type(error).__name__}: {error}")[0]
            raise NotDelivered(f"the target {target.name!r} failed: {text[:_SHOWN]}") from error
        told = hidden.text(said.getvalue().strip())[0]
    if not taken:
        lines = [line.split(" - ", 2)[-1].strip() for line in told.splitlines() if line.strip()]
        reason = " ".join(lines)[:_SHOWN] or "Apprise does not say why"
        raise NotDelivered(f"the target {target.name!r} did not take it: {reason}")


def _apprise() -> Any:
    try:
        import apprise  # noqa: PLC0415 - half a second, and only who tells needs it
    except ImportError as error:
        raise MissingExtra("apprise", "notify") from error
    return apprise
