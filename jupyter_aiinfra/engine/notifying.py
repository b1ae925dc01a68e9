"""Who says what is to be said: takes it from the record, composes, sends, and tries again.

Any number of processes may do this on one store at once: who claims a notification sends it. One
that dies in the moment between sending and writing that down may have it sent once more.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from jupyter_aiinfra.errors import AiInfraError, NotFound
from jupyter_aiinfra.node.scrub import Scrubber
from jupyter_aiinfra.promote.notify import (
    Message,
    Target,
    check_target_url,
    deliver,
    named_secrets,
    read_target,
)
from jupyter_aiinfra.promote.policy import moment_text
from jupyter_aiinfra.promote.zones import zone_of
from jupyter_aiinfra.schedule import Notification, Run, RunState
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store

__all__ = ["Notifying", "TargetView"]

_MOST_TRIES: Final = 5
_PAUSES: Final = (30.0, 120.0, 600.0, 3600.0)
_CLAIM_SECONDS: Final = 120.0
_AT_ONCE: Final = 8
_REST_SECONDS: Final = 3600.0
_KEPT_SECONDS: Final = 90 * 86400.0
_SENTENCE: Final = 1500


@dataclass(frozen=True, kw_only=True)
class TargetView:
    """A target, without its URL: what kind it is, and what keeps it from being sent to."""

    name: str
    kind: str
    secrets: tuple[str, ...]
    problem: str = ""


class Notifying:
    """Sends what is due, in the background of a server or once from a command line.

    Parameters
    ----------
    send
        Hands a message to a target; tests have their own.
    environ
        Where secrets of targets are; ``None``: this process's environment.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        send: Callable[[Target, Message], None] = deliver,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._send = send
        self._environ = environ
        self._clock = clock
        self._forgot_at = float("-inf")

    async def tick(self) -> float:
        """Send what is due; return how long until something is, as far as is known."""
        now = self._clock()
        due = self._store.due_notifications(now, limit=_AT_ONCE)
        if due:
            await asyncio.gather(*(self._try(each) for each in due))
            if now - self._forgot_at > _REST_SECONDS:
                self._forgot_at = now
                self._store.forget_notifications(before=now - _KEPT_SECONDS)
        coming = self._store.next_notification()
        if coming is None:
            return _REST_SECONDS
        return min(max(coming - self._clock(), 0.0), _REST_SECONDS)

    def targets(self) -> list[TargetView]:
        """Return the targets of the settings, by name."""
        settings = self._settings
        environ = os.environ if self._environ is None else self._environ
        found = []
        for name, url in sorted(settings.notify_targets.items()):
            secrets, problem = named_secrets(url), ""
            try:
                check_target_url(name, url)
                read_target(name, settings.notify_targets, environ)
            except AiInfraError as error:
                problem = error.message
            whole = url.startswith("secret:")
            kind = "" if whole else url.partition("://")[0]
            found.append(TargetView(name=name, kind=kind, secrets=secrets, problem=problem))
        return found

    async def test(self, name: str) -> None:
        """Send a message to a target that says that it is a test.

        Raises
        ------
        UsageError, NotDelivered
            It cannot be, or was not taken; says why.
        """
        environ = os.environ if self._environ is None else self._environ
        target = read_target(name, self._settings.notify_targets, environ)
        message = Message(
            title="jupyter-aiinfra: a test",
            body=f"Notifications to {name!r} arrive. Nothing has happened.",
        )
        await asyncio.to_thread(self._send, target, message)

    async def _try(self, notification: Notification) -> None:
        until = self._clock() + _CLAIM_SECONDS
        if not self._store.claim_notification(notification, until=until):
            return
        tries = notification.tries + 1
        if tries > _MOST_TRIES:
            said = notification.problem or "whoever was to send it has died each time"
            self._store.settle_notification(
                notification.key, sent_at=None, problem=said, due_at=None
            )
            return
        try:
            message = self._message(notification)
            settings, environ = self._settings, self._environ
            target = read_target(
                notification.target,
                settings.notify_targets,
                os.environ if environ is None else environ,
            )
            await asyncio.to_thread(self._send, target, message)
        except NotFound as error:
            # What it was about is gone: there is nothing to be said any more.
            self._store.settle_notification(
                notification.key, sent_at=None, problem=error.message, due_at=None
            )
        except AiInfraError as error:
            again = None
            if tries < _MOST_TRIES:
                again = self._clock() + _PAUSES[tries - 1]
            self._store.settle_notification(
                notification.key, sent_at=None, problem=error.message, due_at=again
            )
        else:
            self._store.settle_notification(
                notification.key, sent_at=self._clock(), problem=None, due_at=None
            )

    # --- words ---------------------------------------------------------------------------------

    def _message(self, notification: Notification) -> Message:
        if notification.event == "budget":
            text = str(notification.detail["text"])
            return Message(title=f"Budget: {notification.detail['kind']}", body=text, bad=True)
        run = self._store.get_run(notification.subject)
        schedule = self._store.find_schedule(run.schedule)
        if run.id != notification.subject or schedule is None:
            raise NotFound(f"run {notification.subject} is not on record any more")
        body, _ = Scrubber(self._secrets()).text(self._body(run))
        return Message(
            title=f"{schedule.name}: {_said(run)}",
            body=body,
            bad=run.state is not RunState.SUCCEEDED,
        )

    def _secrets(self) -> list[str]:
        environ = os.environ if self._environ is None else self._environ
        urls = self._settings.notify_targets.values()
        names = {name for url in urls for name in named_secrets(url)}
        return [environ[name] for name in names if name in environ]

    def _body(self, run: Run) -> str:
        version = self._store.schedule_version(run.schedule, run.version)
        lines = []
        if run.reason:
            lines.append(run.reason[:_SENTENCE])
        if run.slot is not None:
            zone = zone_of(version.timezone)
            more = f" and {run.slots - 1} more after it" if run.slots > 1 else ""
            lines.append(f"For: {moment_text(run.slot, zone)}{more}")
        lines.append(f"Run: {run.id}, version {run.version}, pool {version.pool}")
        if run.attempt > 1:
            lines.append(f"Attempts: {run.attempt}")
        if run.started_at is not None and run.ended_at is not None:
            lines.append(f"Took: {run.ended_at - run.started_at:.0f} s")
        if run.job is not None:
            lines.append(f"Log: jupyter aiinfra jobs logs {run.job}")
        lines += [
            f"Result: {urls[0]}" for urls in (run.outputs.get("files") or {}).values() if urls
        ]
        return "\n".join(lines)


def _said(run: Run) -> str:
    if run.state is RunState.MISSED:
        return "a slot was missed" if run.slots == 1 else f"{run.slots} slots were missed"
    return {
        RunState.SUCCEEDED: "succeeded",
        RunState.LOST: "lost",
    }.get(run.state, "failed")
