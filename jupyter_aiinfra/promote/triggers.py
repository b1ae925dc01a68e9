"""When a schedule is due by the clock: pure, from triggers, a zone and exceptions to moments.

Where clocks are changed, a cron line that names hours runs once a day that it names: in an hour
that comes twice, the first time; at a time that never comes, at the first moment after the gap. A
line for every hour goes by the clock as it is: in both of the two, and not in one that never comes.
"""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.zones import first_moment, moments, repeated, wall, zone_of
from jupyter_aiinfra.schedule import Policy, Trigger, Version

__all__ = [
    "Clock",
    "Cron",
    "DaysOff",
    "Every",
    "Moments",
    "Timetable",
    "check_trigger",
    "delay_of",
    "parse_at",
    "parse_every",
    "timetable_of",
]

_EVERY_HOUR: Final = 24
_LEAST_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 10 * 366 * 86400.0
_LAST_MOMENT: Final = 253_370_764_800.0
_SHORTEST_LOOK_SECONDS: Final = 5.0
_CRON_HINT: Final = (
    "minute hour day month weekday, such as '0 2 * * *', '*/15 8-18 * * MON-FRI', '0 6 L * *' or "
    "'0 6 * * MON#1'; a sixth field before them is the seconds"
)


class Clock(Protocol):
    """Something that comes at moments that can be told in advance."""

    def next_after(self, moment: float) -> float | None:
        """Return the first moment after that one; ``None``: there is none."""


# --- one trigger ---------------------------------------------------------------------------------


class Cron:
    """One cron line in a zone.

    Raises
    ------
    UsageError
        It is no cron line, or its zone no zone.
    """

    def __init__(self, line: str, timezone: str) -> None:
        self.line = " ".join(line.split())
        self._zone = zone_of(timezone)
        try:
            self._parsed = CronSim(self.line, _START)
        except CronSimError as error:
            raise UsageError(f"cron line {line!r}: {error}", hint=_CRON_HINT, option="cron") from (
                error
            )
        self._by_the_clock = len(set(self._parsed.hours)) == _EVERY_HOUR

    def next_after(self, moment: float) -> float | None:
        """Return the first slot after a moment."""
        if self._by_the_clock:
            return self._next_shown(moment)
        for shown in self._shown_after(wall(moment, self._zone)):
            found = first_moment(shown, self._zone)
            if found > moment:  # else the first of two passes, and this is the second
                return float(found)
        return None

    def _next_shown(self, moment: float) -> float | None:
        """Return the next moment at which the clock really shows one of its times."""
        found = []
        for shown in self._shown_after(wall(moment, self._zone)):
            later = [each for each in moments(shown, self._zone) if each > moment]
            if later:
                found.append(float(later[0]))
                break
        # In the first pass of what comes twice: before the second is over, all of it comes again.
        again = repeated(moment, self._zone)
        if again is not None:
            for shown in self._shown_after(again - dt.timedelta(seconds=1)):
                both = moments(shown, self._zone)
                if len(both) > 1:
                    found.append(float(both[1]))
                break
        return min((each for each in found if each > moment), default=None)

    def _shown_after(self, shown: dt.datetime) -> Iterator[dt.datetime]:
        times = copy.copy(self._parsed)  # reading the line takes longer than what follows
        times.dt = shown.replace(fold=0)
        try:
            yield from times
        except OverflowError:  # the end of the calendar
            return


_START: Final = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - a time on the wall


@dataclass(frozen=True)
class Every:
    """Each so many seconds from an anchor on; clocks that are changed do not matter."""

    seconds: float
    anchor: float

    def next_after(self, moment: float) -> float:
        """Return the first slot after a moment."""
        if moment < self.anchor:
            return self.anchor
        count = math.floor((moment - self.anchor) / self.seconds) + 1
        found = self.anchor + count * self.seconds
        # What is divided is not exact.
        return found if found > moment else self.anchor + (count + 1) * self.seconds


@dataclass(frozen=True)
class Moments:
    """Some moments that were named."""

    times: tuple[float, ...]

    def next_after(self, moment: float) -> float | None:
        """Return the first of them after a moment."""
        return min((each for each in self.times if each > moment), default=None)


# --- days off ------------------------------------------------------------------------------------


class DaysOff:
    """Days without slots, such as ``2026-12-24`` and ``2026-12-24/2027-01-06``.

    Raises
    ------
    UsageError
        One of them is no day.
    """

    def __init__(self, days: Iterable[str], timezone: str) -> None:
        self._zone = zone_of(timezone)
        self._ranges = sorted(_range(each) for each in days)

    def over(self, moment: float) -> float | None:
        """Return when the days off that a moment is in are over; ``None``: it is in none."""
        day = wall(moment, self._zone).date()
        last = None
        for begin, end in self._ranges:
            if begin <= day <= end:
                last = end
                day = end + dt.timedelta(days=1)  # another range may follow at once
        if last is None:
            return None
        return float(first_moment(_midnight(last + dt.timedelta(days=1)), self._zone))


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a time on the wall


def _range(text: str) -> tuple[dt.date, dt.date]:
    first, _, last = text.partition("/")
    try:
        begin = dt.date.fromisoformat(first.strip())
        end = dt.date.fromisoformat(last.strip()) if last else begin
    except ValueError as error:
        hint = "such as 2026-12-24, or 2026-12-24/2027-01-06 for all days from one to the other"
        raise UsageError(f"{text!r} is no day off", hint=hint, option="except") from error
    if end < begin:
        raise UsageError(f"{text!r}: its first day is after its last", option="except")
    return begin, end


# --- all of it -----------------------------------------------------------------------------------


class Timetable:
    """All slots of a schedule: those of its triggers, but for days off and those after its end."""

    def __init__(
        self, clocks: Sequence[Clock], *, off: DaysOff | None = None, ends_at: float | None = None
    ) -> None:
        self._clocks = tuple(clocks)
        self._off = off
        self._ends_at = ends_at

    def next_after(self, moment: float) -> float | None:
        """Return the first slot after a moment; ``None``: there is none."""
        while True:
            found = min(
                (each for clock in self._clocks if (each := clock.next_after(moment)) is not None),
                default=None,
            )
            if found is None or (self._ends_at is not None and found > self._ends_at):
                return None
            over = None if self._off is None else self._off.over(found)
            if over is None:
                return found
            moment = over - 1 / 1024  # the moment at which they are over is none of them

    def next_slots(self, after: float, count: int) -> list[float]:
        """Return the first slots after a moment, at most so many."""
        return self.between(after, math.inf, most=count)

    def between(self, after: float, until: float, *, most: int) -> list[float]:
        """Return the slots after one moment up to and with another: the first, at most so many."""
        found: list[float] = []
        moment = after
        while len(found) < most:
            slot = self.next_after(moment)
            if slot is None or slot > until:
                break
            found.append(slot)
            moment = slot
        return found

    def last(self, after: float, until: float) -> float | None:
        """Return the last slot after one moment up to and with another, however many there are."""
        found = self.next_after(after)
        if found is None or found > until:
            return None
        # Whether there is another slot is true up to the last one, and false from there on.
        low, high = found, until
        while high - low > _FINEST_SECONDS:
            middle = (low + high) / 2
            slot = self.next_after(middle)
            if slot is None or slot > until:
                high = middle
            else:
                low = found = slot
        rest = self.between(low, until, most=_MOST_AT_ONCE)
        return rest[-1] if rest else found


_FINEST_SECONDS: Final = 0.5
_MOST_AT_ONCE: Final = 1000


@lru_cache(maxsize=256)
def _cron(line: str, timezone: str) -> Cron:
    return Cron(line, timezone)


def timetable_of(version: Version) -> Timetable:
    """Return when a version of a schedule is due by the clock.

    Raises
    ------
    UsageError
        Something of it cannot be; names it.
    """
    _check_moments([version.policy.ends_at], "until")
    clocks: list[Clock] = []
    for trigger in version.triggers:
        check_trigger(trigger, version.timezone)
        if trigger.kind == "cron":
            clocks += [_cron(line, version.timezone) for line in trigger.lines]
        elif trigger.kind == "every":
            assert trigger.seconds is not None  # noqa: S101 - it was checked
            anchor = version.created_at if trigger.anchor is None else trigger.anchor
            clocks.append(Every(trigger.seconds, anchor))
        elif trigger.kind == "at":
            clocks.append(Moments(trigger.times))
    policy = version.policy
    off = DaysOff(policy.except_days, version.timezone) if policy.except_days else None
    return Timetable(clocks, off=off, ends_at=policy.ends_at)


def check_trigger(trigger: Trigger, timezone: str) -> None:
    """Raise a UsageError that says what of a trigger cannot be."""
    if trigger.kind == "cron":
        if not trigger.lines:
            raise UsageError("a cron trigger without a line", hint=_CRON_HINT, option="cron")
        for line in trigger.lines:
            _cron(line, timezone)
    elif trigger.kind == "file":
        _check_file(trigger)
    elif trigger.kind == "every":
        if trigger.seconds is None or not _LEAST_SECONDS <= trigger.seconds <= _MOST_SECONDS:
            raise UsageError(
                f"every {trigger.seconds!r} s: it is at least one second, and at most ten years",
                hint="such as 30s, 15m, 6h or 1d",
                option="every",
            )
        _check_moments([trigger.anchor], "every")
    elif trigger.kind == "at":
        if not trigger.times:
            raise UsageError("a trigger for certain times without one", option="at")
        _check_moments(trigger.times, "at")
    elif not trigger.schedule:
        raise UsageError("after which schedule?", hint="give its name", option="after")


def _check_moments(moments: Iterable[float | None], option: str) -> None:
    """Refuse moments that no calendar has."""
    for each in moments:
        if each is not None and not 0 <= each <= _LAST_MOMENT:
            raise UsageError(f"{each!r} is no time from 1970 to 9998", option=option)


def _check_file(trigger: Trigger) -> None:
    if not trigger.path:
        raise UsageError(
            "which file is it that changes?", hint="a path, or a URL", option="when_changed"
        )
    if trigger.seconds is not None and not trigger.seconds >= _SHORTEST_LOOK_SECONDS:
        raise UsageError(
            f"{trigger.seconds!r} s: a file is looked at every 5 s at the most",
            option="when_changed",
        )


def delay_of(schedule: str, slot: float, policy: Policy) -> float:
    """Return how much later than its slot a run begins: always the same for one slot."""
    if policy.jitter_seconds <= 0:
        return 0.0
    digest = hashlib.sha256(f"{schedule}/{slot!r}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return round(share * policy.jitter_seconds, 3)


# --- words ---------------------------------------------------------------------------------------

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_every(text: str, *, option: str = "every") -> float:
    """Return seconds of ``90``, ``30s``, ``1h30m`` or ``2d``.

    Raises
    ------
    UsageError
        It is no such time.
    """
    word = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw]?)", word)
    if not parts or "".join(number + unit for number, unit in parts) != word:
        raise UsageError(
            f"{text!r} is no length of time", hint="such as 30s, 15m, 1h30m or 1d", option=option
        )
    return float(sum(float(number) * _UNITS[unit or "s"] for number, unit in parts))


def parse_at(text: str, timezone: str, *, option: str = "at") -> float:
    """Return the moment of ``2026-12-01``, ``2026-12-01 02:30`` or with an offset of its own.

    Without an offset it is the time of a zone; of two that the clock shows it is the first, and
    of what it never shows the first moment after.

    Raises
    ------
    UsageError
        It is no time.
    """
    word = text.strip()
    try:
        shown = dt.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", word))
    except ValueError as error:
        hint = "such as 2026-12-01, '2026-12-01 02:30' or 2026-12-01T02:30+01:00"
        raise UsageError(f"{text!r} is no time", hint=hint, option=option) from error
    if shown.tzinfo is not None:
        return shown.timestamp()
    zone: ZoneInfo = zone_of(timezone)
    return float(first_moment(shown.replace(microsecond=0), zone))
