"""Who is told, with what of it kept secret; and that each message is sent once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine.notifying import Notifying
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import Budget, Decision
from jupyter_aiinfra.promote.notify import (
    Message,
    NotDelivered,
    Notify,
    Target,
    check_notify,
    named_secrets,
    read_notify,
    read_target,
)
from jupyter_aiinfra.schedule import Notification, Run, RunState, Schedule, Version
from jupyter_aiinfra.settings import Settings, load_settings
from jupyter_aiinfra.store import Store, open_store

NOW = 1_800_000_000.0


# --- targets -------------------------------------------------------------------------------------


def test_secrets_of_a_target_come_from_the_environment() -> None:
    targets = {"team": "secret:SLACK_URL", "mail": "mailtos://me:{PASSWORD}@mail.example?to=a@b.c"}

    assert read_target("team", targets, {"SLACK_URL": "https://hook\n"}).url == "https://hook"
    mail = read_target("mail", targets, {"PASSWORD": "a/b c"})
    assert mail.url == "mailtos://me:a%2Fb%20c@mail.example?to=a@b.c"
    assert "a/b c" in mail.secrets
    assert named_secrets(targets["mail"]) == ("PASSWORD",)
    with pytest.raises(UsageError, match="needs SLACK_URL, which is not set here"):
        read_target("team", targets, {})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mailto://me:hunter2@mail.example", "there is a password in its URL"),
        ("team@example.org", "it is no URL"),
        ("secret:two words", "names no variable"),
    ],
)
def test_a_target_that_shows_a_password_or_is_none_is_refused(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        check_notify(["team"], {"team": url})
    assert "hunter2" not in refused.value.message + refused.value.hint


def test_a_target_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="no target 'taem' for notifications: there is team"):
        check_notify(["taem"], {"team": "secret:X"})
    with pytest.raises(UsageError, match="there is none"):
        check_notify(["team"], {})
    check_notify([], {})
    assert Notify(failure=("a", "b"), missed=("b",)).targets == ("a", "b")


def test_what_nobody_can_be_told_of_is_refused_by_name() -> None:
    assert read_notify({"failure": ["a"]}) == Notify(failure=("a",))
    with pytest.raises(UsageError, match="nobody can be told of 'failed'") as refused:
        read_notify({"failed": ["a"]})
    assert "failure" in refused.value.hint
    with pytest.raises(UsageError, match="who is told of failure = 'team': expected a list"):
        read_notify({"failure": "team"})
    with pytest.raises(UsageError, match="notify = 7: expected lists of targets by failure"):
        read_notify(7)


def test_settings_read_targets_of_a_file_and_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('notify_targets = { team = "secret:A" }\nnotify_budgets = ["team"]\n')
    config = {"JUPYTER_AIINFRA_CONFIG": str(file)}
    found = load_settings(config)
    assert (found.notify_targets, found.notify_budgets) == ({"team": "secret:A"}, ("team",))
    other = load_settings(
        {
            **config,
            "JUPYTER_AIINFRA_NOTIFY_TARGETS": "mail = 'secret:B'",
            "JUPYTER_AIINFRA_NOTIFY_BUDGETS": "mail, team",
        }
    )
    assert (other.notify_targets, other.notify_budgets) == ({"mail": "secret:B"}, ("mail", "team"))
    with pytest.raises(UsageError, match="NOTIFY_TARGETS is not valid TOML"):
        load_settings({**config, "JUPYTER_AIINFRA_NOTIFY_TARGETS": "mail:"})


# --- once ----------------------------------------------------------------------------------------


class Sent:
    """Sends nowhere: what it was to send, and how often it fails first."""

    def __init__(self, failures: int = 0) -> None:
        self.messages: list[tuple[str, Message]] = []
        self.failures = failures

    def __call__(self, target: Target, message: Message) -> None:
        if self.failures:
            self.failures -= 1
            raise NotDelivered("the target does not answer")
        self.messages.append((target.name, message))


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Settings(home=tmp_path))
    yield store
    store.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, notify_targets={"team": "secret:TEAM", "boss": "secret:TEAM"})


def notifying(store: Store, settings: Settings, sent: Sent, clock: Clock) -> Notifying:
    return Notifying(
        store, settings, send=sent, environ={"TEAM": "json://team-url-of-ours"}, clock=clock
    )


def scheduled(store: Store, notify: dict[str, list[str]]) -> None:
    store.add_schedule(
        Schedule(id="s1", name="report"),
        Version(
            schedule="s1",
            number=1,
            notebook="/n.ipynb",
            pool="here",
            options={"notify": notify},
            snapshot={},
        ),
    )


def ran(store: Store, state: RunState, reason: str | None = None, **values: Any) -> Run:
    usual = {"trigger": "clock", "slot": NOW, "created_at": NOW, "schedule": "s1", "version": 1}
    begun = Run(id="r1", key="slot:1", state=RunState.RUNNING, **{**usual, **values})
    (run,) = store.add_runs([begun])
    ended = store.change_run(run, state=state, reason=reason, ended_at=NOW + 60)
    assert ended is not None
    return ended


async def test_a_failure_is_told_once_though_several_look(store: Store, settings: Settings) -> None:
    scheduled(store, {"failure": ["team", "boss"], "success": ["boss"]})
    ran(store, RunState.FAILED, "cell 4 raised ValueError: ghp_" + "a1B2" * 9, started_at=NOW)
    sent, clock = Sent(), Clock()
    clock.now = store.next_notification() or 0.0
    several = [notifying(store, settings, sent, clock) for _ in range(3)]

    for each in several:
        await each.tick()

    assert sorted(name for name, _ in sent.messages) == ["boss", "team"]
    message = sent.messages[0][1]
    assert message.title == "report: failed"
    assert message.bad
    assert message.body.startswith("cell 4 raised ValueError: ")
    assert "a1B2a1B2" not in message.body
    assert "Took: 60 s" in message.body
    assert {each.sent_at for each in store.notifications(subject="r1")} == {clock.now}
    assert await several[0].tick() > 60


async def test_who_wants_to_know_of_success_only_hears_nothing_else(
    store: Store, settings: Settings
) -> None:
    scheduled(store, {"success": ["boss"]})
    ran(store, RunState.FAILED, "no")
    assert store.next_notification() is None
    (again,) = store.add_runs(
        [
            Run(
                id="r2",
                key="slot:2",
                schedule="s1",
                version=1,
                trigger="now",
                state=RunState.RUNNING,
            )
        ]
    )
    store.change_run(again, state=RunState.SUCCEEDED)
    assert [each.subject for each in store.notifications()] == ["r2"]


async def test_missed_slots_are_told_as_one(store: Store, settings: Settings) -> None:
    scheduled(store, {"missed": ["team"]})
    missed = Run(
        id="r1",
        key="slot:1",
        schedule="s1",
        version=1,
        trigger="clock",
        state=RunState.MISSED,
        slot=NOW,
        slots=3,
        last_slot=NOW + 120,
        reason="nobody was there",
    )
    store.add_runs([missed, replace(missed, id="r2", key="slot:2", state=RunState.SKIPPED)])
    sent, clock = Sent(), Clock()
    clock.now = store.next_notification() or 0.0
    await notifying(store, settings, sent, clock).tick()
    ((_, message),) = sent.messages
    assert message.title == "report: 3 slots were missed"
    assert "2027-01-15 08:00" in message.body


async def test_what_fails_is_tried_again_so_often_and_then_given_up(
    store: Store, settings: Settings
) -> None:
    scheduled(store, {"failure": ["team"]})
    ran(store, RunState.LOST)
    sent, clock = Sent(failures=99), Clock()
    teller = notifying(store, settings, sent, clock)
    tries = 0
    while (due := store.next_notification()) is not None:
        clock.now = due
        await teller.tick()
        tries += 1
    assert tries == 5
    (left,) = store.notifications()
    assert (left.tries, left.sent_at, left.problem) == (5, None, "the target does not answer")
    assert await teller.tick() > 60


async def test_who_dies_while_sending_leaves_it_to_others(store: Store, settings: Settings) -> None:
    scheduled(store, {"failure": ["team"]})
    ran(store, RunState.FAILED)
    (due,) = store.due_notifications(2e12)
    assert store.claim_notification(due, until=NOW + 120)
    assert not store.claim_notification(due, until=NOW + 120)  # another got it
    sent, clock = Sent(), Clock()
    teller = notifying(store, settings, sent, clock)
    await teller.tick()
    assert not sent.messages
    clock.now = NOW + 121
    await teller.tick()
    assert len(sent.messages) == 1


async def test_what_nobody_survives_is_given_up(store: Store, settings: Settings) -> None:
    scheduled(store, {"failure": ["team"]})
    ran(store, RunState.FAILED)
    for _ in range(5):
        (due,) = store.due_notifications(2e12)
        assert store.claim_notification(due, until=NOW)  # and its process dies
    sent, clock = Sent(), Clock()
    await notifying(store, settings, sent, clock).tick()
    assert not sent.messages
    (left,) = store.notifications()
    assert (left.due_at, left.problem) == (None, "whoever was to send it has died each time")


async def test_of_a_run_that_is_gone_nothing_is_said(store: Store, settings: Settings) -> None:
    scheduled(store, {"failure": ["team"]})
    ran(store, RunState.FAILED)
    store.remove_run("r1")
    sent, clock = Sent(), Clock()
    clock.now = store.next_notification() or 0.0
    await notifying(store, settings, sent, clock).tick()
    assert not sent.messages
    (left,) = store.notifications()
    assert (left.due_at, left.sent_at) == (None, None)


async def test_a_budget_that_warns_of_several_jobs_is_told_of_once(
    store: Store, settings: Settings
) -> None:
    budget = store.set_budget(
        Budget(id="b1", scope="pool", subject="here", period="month", amount="5", currency="EUR")
    )
    for job in ("0a", "0b"):
        decision = Decision(
            key=f"{budget.id}/1/2027-01/spent/{job}",
            by=budget.id,
            kind="refusal",
            text="5 EUR of 5 EUR are spent",
            at=NOW,
            job=job,
        )
        assert store.decide(decision, tell=("team",))
    sent, clock = Sent(), Clock()
    await notifying(store, settings, sent, clock).tick()
    ((_, message),) = sent.messages
    assert message.body == "5 EUR of 5 EUR are spent"


def test_old_ones_are_forgotten(store: Store) -> None:
    scheduled(store, {"failure": ["team"]})
    ran(store, RunState.FAILED)
    assert store.forget_notifications(before=0.0) == 0
    assert store.forget_notifications(before=2e12) == 1
    assert store.notifications() == []


def test_targets_are_listed_with_what_they_lack(store: Store, settings: Settings) -> None:
    views = Notifying(store, settings, environ={}).targets()
    assert [(view.name, view.kind, view.secrets) for view in views] == [
        ("boss", "", ("TEAM",)),
        ("team", "", ("TEAM",)),
    ]
    assert "needs TEAM, which is not set here" in views[0].problem


def test_a_notification_is_what_is_on_record(store: Store) -> None:
    scheduled(store, {"failure": ["team"]})
    ran(store, RunState.FAILED, "why")
    (found,) = store.notifications()
    assert isinstance(found, Notification)
    assert found.detail == {"schedule": "s1", "state": "failed", "reason": "why"}
