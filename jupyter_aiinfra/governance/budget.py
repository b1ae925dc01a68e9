"""What budgets decide: pure, of a budget, of what was spent, and of what was decided before.

Each decision has a key that is the same whoever comes to it and however often; the store takes a
key once. It holds the budget, its revision (grown by each change and each snooze), the period that
is counted, what is decided, and of which job.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

from jupyter_aiinfra.cost.ledger import Scope
from jupyter_aiinfra.cost.money import Money, parse_money
from jupyter_aiinfra.errors import UsageError, did_you_mean
from jupyter_aiinfra.model import Budget, Decision, JobSpec, short_id
from jupyter_aiinfra.progress import seconds_text

__all__ = [
    "ACTIONS",
    "PERIODS",
    "SCOPES",
    "Reach",
    "Spend",
    "Target",
    "Verdict",
    "Window",
    "covers",
    "judge",
    "limit_of",
    "make_budget",
    "name_of",
    "scope_of",
    "steps",
    "window_of",
]

Reach = Literal["within", "warned", "spent", "unknown"]

SCOPES: Final = ("job", "notebook", "user", "pool", "project", "team", "cost-centre", "all")
PERIODS: Final = ("day", "month", "total")
ACTIONS: Final = ("warn", "refuse", "ask", "stop")
_WORDS: Final[Mapping[str, str]] = {"day": "a day", "month": "a month", "total": "in all"}
_MOST_SECONDS: Final = 30 * 86400.0


def make_budget(
    amount: str,
    *,
    scope: str,
    subject: str = "",
    period: str | None = None,
    action: str | None = None,
    warn_at: float | None = None,
    grace_seconds: float | None = None,
    ask_seconds: float | None = None,
    by: str | None = None,
    now: float,
) -> Budget:
    """Return a budget as it was asked for.

    Raises
    ------
    UsageError
        Something of it cannot be; names it.
    """
    try:
        given = parse_money(amount)
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint, option="amount") from None
    _one_of(scope, SCOPES, "scope")
    period = _one_of(period or ("total" if scope == "job" else "month"), PERIODS, "period")
    action = _one_of(action or "stop", ACTIONS, "action")
    if given.amount <= 0:
        raise UsageError(f"{amount!r}: a budget is more than nothing", option="amount")
    if bool(subject) is (scope == "all"):
        hint = "such as --user anna, --pool lab or --project llm; --all counts everything"
        raise UsageError(f"a budget for {scope}: of which one?", hint=hint, option="scope")
    if scope == "job" and period != "total":
        raise UsageError("a job's budget is for all of the job", option="period")
    share = 0.8 if warn_at is None else warn_at
    if not 0 < share <= 1:
        raise UsageError(
            f"{share!r}: it is warned at a part of the budget from 0 to 1",
            hint="0.8 is four fifths",
            option="warn_at",
        )
    for name, seconds in (("grace_seconds", grace_seconds), ("ask_seconds", ask_seconds)):
        if seconds is not None and not 0 <= seconds <= _MOST_SECONDS:
            raise UsageError(f"{name}={seconds!r}: from 0 s to 30 days", option=name)
    return Budget(
        id=short_id("b", 7),
        scope=scope,  # type: ignore[arg-type]
        subject=subject,
        period=period,  # type: ignore[arg-type]
        amount=given.wire_exact,
        currency=given.currency,
        action=action,  # type: ignore[arg-type]
        warn_share=share,
        grace_seconds=grace_seconds,
        ask_seconds=Budget.ask_seconds if ask_seconds is None else ask_seconds,
        created_at=now,
        created_by=by,
    )


def _one_of(word: str, known: Sequence[str], what: str) -> str:
    if word not in known:
        hint = did_you_mean(word, known) or f"it is one of {', '.join(known)}"
        raise UsageError(f"{word!r} is no {what} of a budget", hint=hint, option=what)
    return word


def limit_of(budget: Budget) -> Money:
    """Return how much it is."""
    return Money(Fraction(budget.amount), budget.currency)


def name_of(budget: Budget) -> str:
    """Return what a budget is called: ``$200.00 a month for user anna``."""
    if budget.scope == "job":
        which = f"job {budget.subject}" if budget.subject else "this job"
        return f"{limit_of(budget).text} for {which}"
    who = "everything" if budget.scope == "all" else f"{budget.scope} {budget.subject}"
    return f"{limit_of(budget).text} {_WORDS[budget.period]} for {who}"


def scope_of(budget: Budget) -> Scope:
    """Return whose cost counts, as the ledger is asked."""
    if budget.scope == "all":
        return Scope()
    return Scope(**{budget.scope.replace("-", "_"): budget.subject})


def covers(budget: Budget, spec: JobSpec, *, pool: str, job: str | None = None) -> bool:
    """Whether what a job costs counts."""
    facts: Mapping[str, str | None] = {
        "job": job,
        "notebook": spec.origin.notebook,
        "user": spec.origin.user,
        "pool": pool,
        "project": spec.tags.get("project"),
        "team": spec.tags.get("team"),
        "cost-centre": spec.tags.get("cost-centre"),
    }
    return budget.scope == "all" or facts[budget.scope] == budget.subject


# --- periods -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Window:
    """The period that is counted just now, in seconds since the epoch; ``end`` ``None``: for ever.

    ``name`` is in the keys of decisions: in the next period all is decided anew.
    """

    name: str
    start: float
    end: float | None


def window_of(budget: Budget, now: float) -> Window:
    """Return the period that a moment is in; days and months are those of UTC."""
    if budget.period == "total":
        return Window(name="total", start=0.0, end=None)
    day = dt.datetime.fromtimestamp(now, dt.timezone.utc).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    if budget.period == "day":
        end = day + dt.timedelta(days=1)
        return Window(name=f"{day:%Y-%m-%d}", start=day.timestamp(), end=end.timestamp())
    first = day.replace(day=1)
    following = (first + dt.timedelta(days=32)).replace(day=1)
    return Window(name=f"{first:%Y-%m}", start=first.timestamp(), end=following.timestamp())


# --- judging -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What was spent, one amount a currency; ``unpriced`` are pools of unknown price in it."""

    amounts: tuple[Money, ...] = ()
    unpriced: tuple[str, ...] = ()
    unpriced_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How far a budget is spent.

    Parameters
    ----------
    reach
        ``unknown`` where nothing that it counts has a price in its currency.
    spent
        In its currency, ``None`` where that is unknown.
    share
        Of the limit.
    snoozed
        Whether it does nothing just now.
    problem
        What of the cost is not in it, and why; empty where all is.
    """

    reach: Reach
    spent: Money | None
    limit: Money
    share: float | None
    snoozed: bool
    problem: str = ""


def judge(budget: Budget, spend: Spend, *, now: float) -> Verdict:
    """Return how far a budget is spent. What has no price is no cost of 0: it is a problem."""
    limit = limit_of(budget)
    own = next((each for each in spend.amounts if each.currency == limit.currency), None)
    other = [each for each in spend.amounts if each.currency != limit.currency]
    problems = []
    if other:
        shown = " and ".join(each.text for each in other)
        problems.append(f"{shown} of another currency are not in it: nothing here converts money")
    if spend.unpriced:
        pools = ", ".join(spend.unpriced)
        problems.append(f"nobody has said what {pools} costs: what runs there is not in it")
    elif spend.unpriced_seconds >= 1:
        # Of one GPU or node, as if one after the other.
        time = seconds_text(spend.unpriced_seconds)
        problems.append(f"{time} of what it counts had no price then, and are not in it")
    if own is None and not problems:
        own = Money(Fraction(0), limit.currency)  # nothing has run
    snoozed = budget.snoozed_until is not None and now < budget.snoozed_until
    reach: Reach = "unknown"
    share = None
    if own is not None:
        share = float(own.amount / limit.amount)
        reach = "within"
        if own.amount >= limit.amount * Fraction(budget.warn_share).limit_denominator(10**6):
            reach = "warned"
        if own >= limit:
            reach = "spent"
    return Verdict(
        reach=reach,
        spent=own,
        limit=limit,
        share=share,
        snoozed=snoozed,
        problem="; ".join(problems),
    )


@dataclass(frozen=True, kw_only=True)
class Target:
    """A job that runs, or waits, and that a budget counts; ``grace_seconds`` is its own grace."""

    job: str
    grace_seconds: float = 10.0
    stopping: bool = False


def steps(
    budget: Budget,
    verdict: Verdict,
    targets: Sequence[Target],
    *,
    now: float,
    claimed: Mapping[str, Decision],
    grace_seconds: float = 120.0,
) -> list[Decision]:
    """Return what is to be decided now that is not yet, in this order.

    Parameters
    ----------
    claimed
        What was decided, by key; more than what this budget has decided does no harm.
    grace_seconds
        How long a job may take to save that neither budget nor job allow more.
    """
    if verdict.snoozed or verdict.reach not in ("warned", "spent"):
        return []
    found = []
    begin = f"{budget.id}/{budget.revision}/{window_of(budget, now).name}"
    spent, limit = verdict.spent, verdict.limit
    assert spent is not None  # noqa: S101 - it has been reached
    share = f"{spent.text} of {limit.text}"
    said = f"budget of {name_of(budget)}: {share} spent"
    if verdict.reach == "warned":
        will = f"at {limit.text} {_WILL[budget.action]}"
        for key, job in _keys(budget, begin, "warned", targets):
            text = f"{said}; {will}"
            found.append(_warning(budget, key, job, text, now))
    elif budget.action in ("warn", "refuse"):
        what = _DOES[budget.action]
        for key, job in _keys(budget, begin, "spent", targets):
            found.append(_warning(budget, key, job, f"{said}; {what}", now))
    elif budget.action == "ask":
        found += _asked(budget, begin, said, targets, now=now, claimed=claimed, grace=grace_seconds)
    else:
        if budget.scope != "job":
            text = f"{said}; its jobs are stopped"
            found.append(_warning(budget, f"{begin}/spent", None, text, now))
        for target in targets:
            found.append(_stop(budget, begin, said, target, now=now, grace=grace_seconds))
    over = {target.job for target in targets if target.stopping}
    return [each for each in found if each.key not in claimed and each.job not in over]


_WILL: Final[Mapping[str, str]] = {
    "warn": "you are told again",
    "refuse": "no more jobs may begin",
    "ask": "you are asked whether it may go on",
    "stop": "it is stopped",
}
_DOES: Final[Mapping[str, str]] = {
    "warn": "nothing else is done",
    "refuse": "no more jobs may begin",
}


def _keys(
    budget: Budget, begin: str, what: str, targets: Sequence[Target]
) -> list[tuple[str, str | None]]:
    """Return the key for the budget itself, unless that is a job's, and those for each job."""
    return [
        *([(f"{begin}/{what}", None)] if budget.scope != "job" else []),
        *((f"{begin}/{what}/{target.job}", target.job) for target in targets),
    ]


def _warning(budget: Budget, key: str, job: str | None, text: str, now: float) -> Decision:
    return Decision(key=key, by=budget.id, kind="warning", text=text, at=now, job=job)


def _asked(
    budget: Budget,
    begin: str,
    said: str,
    targets: Sequence[Target],
    *,
    now: float,
    claimed: Mapping[str, Decision],
    grace: float,
) -> list[Decision]:
    """Ask, once for all jobs; and stop them when nobody has answered for too long."""
    asked = claimed.get(f"{begin}/asked")
    until = now + budget.ask_seconds if asked is None else (asked.until or now)
    if now >= until:
        why = f"{said}, and nobody said in {_time(budget.ask_seconds)} that it may go on"
        return [_stop(budget, begin, why, target, now=now, grace=grace) for target in targets]
    when = dt.datetime.fromtimestamp(until, dt.timezone.utc)
    text = f"{said}: may it go on? Without an answer it is stopped at {when:%H:%M} UTC"
    question = Decision(
        key=f"{begin}/asked", by=budget.id, kind="question", text=text, at=now, until=until
    )
    return [
        question,
        *(replace(question, key=f"{begin}/asked/{each.job}", job=each.job) for each in targets),
    ]


def _stop(
    budget: Budget, begin: str, said: str, target: Target, *, now: float, grace: float
) -> Decision:
    allowed = budget.grace_seconds
    if allowed is None:
        allowed = max(target.grace_seconds, grace)
    text = f"{said}; stopped, with {_time(allowed)} to save"
    return Decision(
        key=f"{begin}/stop/{target.job}",
        by=budget.id,
        kind="stop",
        text=text,
        at=now,
        job=target.job,
        grace_seconds=allowed,
    )


def _time(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004 - as people say it
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:g} h"  # noqa: PLR2004
