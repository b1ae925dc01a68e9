"""The words for a time: ``today``, ``month``, ``2026-11``, ``2026-11-01..2026-11-15``."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from jupyter_aiinfra.errors import UsageError, did_you_mean

__all__ = ["PERIODS", "parse_moment", "parse_period"]

PERIODS: Final = ("today", "yesterday", "week", "month", "last-month", "year", "all")
_HINT: Final = "such as today, month, 2026-11, 2026-11-09 or 2026-11-01..2026-11-15"


def parse_period(text: str, *, now: dt.datetime | None = None) -> tuple[float, float]:
    """Return when a time begins and ends, in seconds since the epoch.

    Days are those of this machine's time zone; one on which clocks are changed is longer or
    shorter. The last day of ``DATE..DATE`` is part of it.

    Raises
    ------
    UsageError
        It is none.
    """
    now = now or dt.datetime.now().astimezone()
    today = now.date()
    first, dots, last = text.partition("..")
    if dots:
        begin, end = _day(first), _day(last) + dt.timedelta(days=1)
        if end <= begin:
            raise UsageError(f"{text!r}: the first day is after the last", hint=_HINT)
        return _at(begin), _at(end)
    month = re.fullmatch(r"(\d{4})-(\d{2})", text)
    if month is not None:
        begin = _day(f"{text}-01")
        return _at(begin), _at(_next_month(begin))
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return _at(_day(text)), _at(_day(text) + dt.timedelta(days=1))
    tomorrow = today + dt.timedelta(days=1)
    this_month = today.replace(day=1)
    named = {
        "today": (today, tomorrow),
        "yesterday": (today - dt.timedelta(days=1), today),
        "week": (today - dt.timedelta(days=today.weekday()), tomorrow),
        "month": (this_month, tomorrow),
        "last-month": ((this_month - dt.timedelta(days=1)).replace(day=1), this_month),
        "year": (today.replace(month=1, day=1), tomorrow),
        "all": (dt.date(2000, 1, 1), tomorrow),
    }
    if text not in named:
        raise UsageError(f"{text!r} is no time", hint=did_you_mean(text, named) or _HINT)
    begin, end = named[text]
    return _at(begin), _at(end)


def parse_moment(text: str) -> float:
    """Return ``2026-11-09`` or ``2026-11-09T14:30`` as seconds since the epoch, in local time.

    Raises
    ------
    UsageError
        It is neither.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no time", hint="such as 2026-11-09 or 2026-11-09T14:30"
        ) from None
    return moment.timestamp()


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day", hint=_HINT) from None


def _next_month(day: dt.date) -> dt.date:
    return (day + dt.timedelta(days=32)).replace(day=1)


def _at(day: dt.date) -> float:
    return dt.datetime.combine(day, dt.time()).timestamp()
