# ruff: noqa: DTZ001, S311 - times on the wall have no zone; what is drawn keeps no secret
from __future__ import annotations

import datetime as dt
import random
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.triggers import (
    Cron,
    DaysOff,
    Every,
    Moments,
    Timetable,
    delay_of,
    parse_at,
    parse_every,
    timetable_of,
)
from jupyter_aiinfra.promote.zones import first_moment, moments, repeated, wall, zone_of
from jupyter_aiinfra.schedule import Policy, Trigger, Version

NEW_YORK, BERLIN = "America/New_York", "Europe/Berlin"
LORD_HOWE, APIA = "Australia/Lord_Howe", "Pacific/Apia"


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def slots(line: str, zone: str, after: str, until: str) -> list[str]:
    """The slots of a line as the clock on the wall shows them, with the offset."""
    table = Timetable([Cron(line, zone)])
    found = table.between(at(after), at(until), most=1000)
    shown = [dt.datetime.fromtimestamp(each, ZoneInfo(zone)) for each in found]
    return [each.isoformat(timespec="seconds" if each.second else "minutes") for each in shown]


# Each row: line, zone, after, until, and when it fires.
TABLE = [
    pytest.param(
        "30 2 * * *",
        NEW_YORK,
        "2026-03-07T00:00-05:00",
        "2026-03-10T00:00-04:00",
        ["2026-03-07T02:30-05:00", "2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"],
        id="New York skips 02:30: at the first moment after the gap",
    ),
    pytest.param(
        "*/20 2 * * *",
        NEW_YORK,
        "2026-03-08T00:00-05:00",
        "2026-03-08T23:00-04:00",
        ["2026-03-08T03:00-04:00"],
        id="three skipped times are one",
    ),
    pytest.param(
        "0 2,3 * * *",
        NEW_YORK,
        "2026-03-08T00:00-05:00",
        "2026-03-08T23:00-04:00",
        ["2026-03-08T03:00-04:00"],
        id="a skipped time and the one after the gap are one",
    ),
    pytest.param(
        "30 1 * * *",
        NEW_YORK,
        "2026-10-31T00:00-04:00",
        "2026-11-03T00:00-05:00",
        ["2026-10-31T01:30-04:00", "2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"],
        id="New York has 01:30 twice: the first time",
    ),
    pytest.param(
        "*/30 * * * *",
        NEW_YORK,
        "2026-11-01T00:45-04:00",
        "2026-11-01T02:10-05:00",
        [
            "2026-11-01T01:00-04:00",
            "2026-11-01T01:30-04:00",
            "2026-11-01T01:00-05:00",
            "2026-11-01T01:30-05:00",
            "2026-11-01T02:00-05:00",
        ],
        id="a line for every hour runs in both passes",
    ),
    pytest.param(
        "15 * * * *",
        NEW_YORK,
        "2026-03-08T00:30-05:00",
        "2026-03-08T04:30-04:00",
        ["2026-03-08T01:15-05:00", "2026-03-08T03:15-04:00", "2026-03-08T04:15-04:00"],
        id="a line for every hour makes nothing up",
    ),
    pytest.param(
        "15 2 * * *",
        LORD_HOWE,
        "2026-10-03T00:00+10:30",
        "2026-10-06T00:00+11:00",
        ["2026-10-03T02:15+10:30", "2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"],
        id="Lord Howe skips half an hour",
    ),
    pytest.param(
        "45 1 * * *",
        LORD_HOWE,
        "2026-04-04T00:00+11:00",
        "2026-04-06T00:00+10:30",
        ["2026-04-04T01:45+11:00", "2026-04-05T01:45+11:00"],
        id="Lord Howe repeats half an hour",
    ),
    pytest.param(
        "*/15 * * * *",
        LORD_HOWE,
        "2026-04-05T01:20+11:00",
        "2026-04-05T02:00+10:30",
        [
            "2026-04-05T01:30+11:00",
            "2026-04-05T01:45+11:00",
            "2026-04-05T01:30+10:30",
            "2026-04-05T01:45+10:30",
            "2026-04-05T02:00+10:30",
        ],
        id="and every quarter of an hour goes on",
    ),
    pytest.param(
        "0 9 * * *",
        APIA,
        "2011-12-28T12:00-10:00",
        "2012-01-01T12:00+14:00",
        [
            "2011-12-29T09:00-10:00",
            "2011-12-31T00:00+14:00",
            "2011-12-31T09:00+14:00",
            "2012-01-01T09:00+14:00",
        ],
        id="Apia has no 30 December 2011",
    ),
    pytest.param(
        "0 0 29 2 *",
        "UTC",
        "2026-01-01T00:00+00:00",
        "2041-01-01T00:00+00:00",
        [f"{year}-02-29T00:00+00:00" for year in (2028, 2032, 2036, 2040)],
        id="leap days",
    ),
    pytest.param(
        "0 6 L * *",
        BERLIN,
        "2028-01-15T00:00+01:00",
        "2028-05-01T00:00+02:00",
        [
            "2028-01-31T06:00+01:00",
            "2028-02-29T06:00+01:00",
            "2028-03-31T06:00+02:00",
            "2028-04-30T06:00+02:00",
        ],
        id="the last day of the month",
    ),
    pytest.param(
        "0 6 LW * *",
        "UTC",
        "2026-01-01T00:00+00:00",
        "2026-04-01T00:00+00:00",
        ["2026-01-30T06:00+00:00", "2026-02-27T06:00+00:00", "2026-03-31T06:00+00:00"],
        id="the last working day of the month",
    ),
    pytest.param(
        "0 6 * * MON#2",
        "UTC",
        "2026-01-01T00:00+00:00",
        "2026-04-01T00:00+00:00",
        ["2026-01-12T06:00+00:00", "2026-02-09T06:00+00:00", "2026-03-09T06:00+00:00"],
        id="the second Monday",
    ),
    pytest.param(
        "0 6 * * FRI#5",
        "UTC",
        "2026-01-01T00:00+00:00",
        "2026-08-01T00:00+00:00",
        ["2026-01-30T06:00+00:00", "2026-05-29T06:00+00:00", "2026-07-31T06:00+00:00"],
        id="a fifth Friday, where there is one",
    ),
    pytest.param(
        "0 6 * * 5L",
        "UTC",
        "2026-01-01T00:00+00:00",
        "2026-04-01T00:00+00:00",
        ["2026-01-30T06:00+00:00", "2026-02-27T06:00+00:00", "2026-03-27T06:00+00:00"],
        id="the last Friday",
    ),
    pytest.param(
        "*/20 30 8 * * *",
        "UTC",
        "2026-01-01T00:00+00:00",
        "2026-01-01T12:00+00:00",
        ["2026-01-01T08:30+00:00", "2026-01-01T08:30:20+00:00", "2026-01-01T08:30:40+00:00"],
        id="six fields: seconds first",
    ),
    pytest.param(
        "0 0 13 * FRI",
        "UTC",
        "2026-02-01T00:00+00:00",
        "2026-02-21T00:00+00:00",
        ["2026-02-06T00:00+00:00", "2026-02-13T00:00+00:00", "2026-02-20T00:00+00:00"],
        id="day and weekday both named: either",
    ),
]


@pytest.mark.parametrize(("line", "zone", "after", "until", "fires"), TABLE)
def test_a_cron_line_fires_at(
    line: str, zone: str, after: str, until: str, fires: list[str]
) -> None:
    assert slots(line, zone, after, until) == fires


@pytest.mark.parametrize(("line", "zone", "after", "until", "fires"), TABLE)
def test_the_last_slot_is_found_from_the_end_too(
    line: str, zone: str, after: str, until: str, fires: list[str]
) -> None:
    table = Timetable([Cron(line, zone)])
    assert table.last(at(after), at(until)) == at(fires[-1])


LINES = [
    "0 2 * * *",
    "*/7 * * * *",
    "5,35 8-18 * * MON-FRI",
    "0 0 1 * *",
    "15 3 L * *",
    "30 4 * * WED#3",
    "0 12 * * 0L",
    "0 0 29 2 *",
    "59 23 31 12 *",
    "*/15 0-6 1-7 1,4,7,10 *",
    "0 */6 * * *",
    "0 0 1,15 * SUN",
]


@pytest.mark.parametrize("line", LINES)
def test_where_clocks_are_not_changed_an_independent_library_says_the_same(line: str) -> None:
    table = Timetable([Cron(line, "UTC")])
    rng = random.Random(line)
    theirs_line = line.replace("0L", "L0")
    for _ in range(20):
        start = at("2020-01-01T00:00+00:00") + rng.randrange(10 * 365 * 86400)
        theirs = croniter(theirs_line, dt.datetime.fromtimestamp(start, dt.timezone.utc))
        assert table.next_slots(start, 30) == [theirs.get_next(float) for _ in range(30)], start


def test_with_seconds_an_independent_library_says_the_same() -> None:
    table = Timetable([Cron("*/7 */5 3 * * *", "UTC")])
    start = dt.datetime(2026, 5, 5, tzinfo=dt.timezone.utc)
    theirs = croniter("*/7 */5 3 * * *", start, second_at_beginning=True)
    assert table.next_slots(start.timestamp(), 500) == [theirs.get_next(float) for _ in range(500)]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("zone", [NEW_YORK, BERLIN, LORD_HOWE, "Asia/Kathmandu"])
def test_on_days_without_a_change_of_clocks_an_independent_library_says_the_same(
    line: str, zone: str
) -> None:
    """Theirs gets wall times, and the zone only turns them into moments: no rule is theirs."""
    tz = ZoneInfo(zone)
    ours = Timetable([Cron(line, zone)])
    start = dt.datetime(2026, 1, 1)
    theirs = croniter(line.replace("0L", "L0"), start)
    changed = {
        (dt.datetime(2026, 1, 1, 12) + dt.timedelta(days=day)).date()
        for day in range(400)
        if len({_offset(tz, day, hour) for hour in range(25)}) > 1
    }
    moment = start.replace(tzinfo=tz).timestamp()
    expected: list[float] = []
    while len(expected) < 400 and (shown := theirs.get_next(dt.datetime)).year == 2026:
        if shown.date() not in changed:
            expected.append(shown.replace(tzinfo=tz).timestamp())
    last = expected[-1] if expected else moment
    found = [
        each
        for each in ours.between(moment, last, most=10_000)
        if wall(each, tz).date() not in changed
    ]
    assert found == expected


def _offset(tz: ZoneInfo, day: int, hour: int) -> dt.timedelta | None:
    shown = dt.datetime(2026, 1, 1) + dt.timedelta(days=day, hours=hour)
    return shown.replace(tzinfo=tz).utcoffset()


@pytest.mark.parametrize("zone", [NEW_YORK, BERLIN, LORD_HOWE, APIA, "Africa/Casablanca"])
@pytest.mark.parametrize("line", ["30 2 * * *", "*/10 * * * *", "0 1,2,3 * * *", "30 0-12/3 * * *"])
def test_slots_come_once_in_order_from_wherever_one_looks(line: str, zone: str) -> None:
    table = Timetable([Cron(line, zone)])
    rng = random.Random(f"{zone} {line}")
    begin = at("2011-12-20T00:00+00:00") if zone == APIA else at("2026-01-01T00:00+00:00")
    all_slots = table.between(begin, begin + 40 * 86400, most=10_000)
    assert all_slots == sorted(set(all_slots))
    for _ in range(200):
        moment = begin + rng.random() * 40 * 86400
        following = next((each for each in all_slots if each > moment), None)
        if following is not None:
            assert table.next_after(moment) == following


@pytest.mark.parametrize("zone", [NEW_YORK, BERLIN, LORD_HOWE, "Africa/Casablanca"])
def test_a_line_that_names_its_hour_fires_once_a_day_all_year(zone: str) -> None:
    table = Timetable([Cron("30 2 * * *", zone)])
    tz = zone_of(zone)
    begin = float(first_moment(dt.datetime(2026, 1, 1), tz))
    end = float(first_moment(dt.datetime(2027, 1, 1), tz))
    days = [wall(each, tz).date() for each in table.between(begin, end, most=1000)]
    assert days == [dt.date(2026, 1, 1) + dt.timedelta(days=n) for n in range(365)]


@pytest.mark.parametrize("zone", [NEW_YORK, BERLIN, "Asia/Kolkata"])
def test_a_line_for_every_ten_minutes_never_pauses(zone: str) -> None:
    table = Timetable([Cron("*/10 * * * *", zone)])
    for first in ("2026-03-01", "2026-03-25", "2026-10-20"):
        begin = at(f"{first}T00:00+00:00")
        found = table.between(begin, begin + 14 * 86400, most=10**6)
        assert found == [begin + 600 * count for count in range(1, 14 * 144 + 1)]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("61 * * * *", "Bad minute"),
        ("* 25 * * *", "Bad hour"),
        ("* * * *", "Wrong number of fields"),
        ("0 0 31 2 *", "Bad day-of-month"),
        ("0 0 * * MON#6", "Bad day-of-week"),
        ("nonsense", "Wrong number"),
        ("", "Wrong number"),
    ],
)
def test_a_line_that_cannot_be_is_named_with_what_is_wrong(line: str, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        Cron(line, "UTC")
    assert repr(line) in caught.value.message
    assert caught.value.option == "cron"


def test_an_unknown_zone_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Europe/Berln") as caught:
        zone_of("Europe/Berln")
    assert "Europe/Berlin" in caught.value.hint
    with pytest.raises(UsageError):
        zone_of("../../etc/passwd")
    with pytest.raises(UsageError):
        zone_of("")


def test_a_day_that_never_comes_is_never_due() -> None:
    assert Timetable([Cron("0 0 30 2 MON", "UTC")]).next_after(0.0) is not None  # or a Monday
    with pytest.raises(UsageError):
        Cron("0 0 30 2 *", "UTC")
    with pytest.raises(UsageError):
        Cron("0 0 31 4,6 *", "UTC")


# --- zones ---------------------------------------------------------------------------------------


def test_a_time_on_the_wall_is_there_once_twice_or_never() -> None:
    new_york = zone_of(NEW_YORK)
    assert len(moments(dt.datetime(2026, 6, 1, 2, 30), new_york)) == 1
    assert moments(dt.datetime(2026, 3, 8, 2, 30), new_york) == []
    twice = moments(dt.datetime(2026, 11, 1, 1, 30), new_york)
    assert twice == [at("2026-11-01T01:30-04:00"), at("2026-11-01T01:30-05:00")]
    assert first_moment(dt.datetime(2026, 3, 8, 2, 59, 59), new_york) == at(
        "2026-03-08T03:00-04:00"
    )
    assert repeated(twice[0], new_york) == dt.datetime(2026, 11, 1, 1, 0)
    assert repeated(twice[1], new_york) is None
    assert repeated(at("2026-11-01T02:00-05:00"), new_york) is None


# --- the others ----------------------------------------------------------------------------------


def test_every_counts_from_its_anchor() -> None:
    every = Every(900.0, 1000.0)
    assert every.next_after(0.0) == 1000.0
    assert every.next_after(1000.0) == 1900.0
    assert every.next_after(1899.999) == 1900.0
    moment, found = 1000.0, Every(0.1 + 1, 1000.0)
    for _ in range(10_000):
        following = found.next_after(moment)
        assert following > moment
        moment = following
    assert moment == pytest.approx(1000.0 + 11_000, abs=1e-6)


def test_moments_come_in_order() -> None:
    table = Timetable([Moments((30.0, 10.0, 20.0))])
    assert table.next_slots(10.0, 5) == [20.0, 30.0]


def test_several_lines_are_one_timetable_and_the_same_moment_is_one_slot() -> None:
    version = Version(
        schedule="s",
        number=1,
        notebook="n",
        pool="p",
        timezone=BERLIN,
        triggers=(
            Trigger(kind="cron", lines=("0 8 * * *", "0 8,20 * * *")),
            Trigger(kind="every", seconds=43200.0, anchor=at("2026-01-01T08:00+01:00")),
            Trigger(kind="at", times=(at("2026-01-02T08:00+01:00"), at("2026-01-02T09:00+01:00"))),
            Trigger(kind="after", schedule="s2"),
        ),
    )
    found = timetable_of(version).next_slots(at("2026-01-01T12:00+01:00"), 4)
    assert [dt.datetime.fromtimestamp(each, ZoneInfo(BERLIN)).hour for each in found] == [
        20,
        8,
        9,
        20,
    ]


def test_days_off_have_no_slots_and_the_end_is_the_end() -> None:
    version = Version(
        schedule="s",
        number=1,
        notebook="n",
        pool="p",
        timezone=NEW_YORK,
        triggers=(Trigger(kind="cron", lines=("0 12 * * *",)),),
        policy=Policy(
            except_days=("2026-12-24/2026-12-26", "2026-12-27", "2026-12-29"),
            ends_at=at("2026-12-31T12:00-05:00"),
        ),
    )
    found = timetable_of(version).next_slots(at("2026-12-22T13:00-05:00"), 100)
    assert [wall(each, zone_of(NEW_YORK)).day for each in found] == [23, 28, 30, 31]


def test_days_off_end_at_midnight_of_the_zone_even_where_there_is_none() -> None:
    # Clocks of Havana go forward at midnight: the day begins at 01:00.
    off = DaysOff(["2026-03-07"], "America/Havana")
    assert off.over(at("2026-03-07T12:00-05:00")) == at("2026-03-08T01:00-04:00")
    assert off.over(at("2026-03-08T01:00-04:00")) is None
    # Days off in a row are one time off, however many slots there are in it.
    year = Timetable([Cron("* * * * * *", "UTC")], off=DaysOff(["2026-01-01/2030-12-31"], "UTC"))
    assert year.next_after(at("2026-01-01T00:00+00:00")) == at("2031-01-01T00:00+00:00")


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-02-02/2026-01-01", "/"])
def test_what_is_no_day_off_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=r"day off|first day") as caught:
        DaysOff([text], "UTC")
    assert repr(text) in caught.value.message


def test_the_delay_of_a_slot_is_always_the_same_and_spread() -> None:
    policy = Policy(jitter_seconds=300.0)
    delays = [delay_of("s1", float(slot), policy) for slot in range(0, 60_000, 60)]
    assert delays == [delay_of("s1", float(slot), policy) for slot in range(0, 60_000, 60)]
    assert 0 <= min(delays) < 10
    assert 290 < max(delays) <= 300
    assert delays != [delay_of("s2", float(slot), policy) for slot in range(0, 60_000, 60)]
    assert delay_of("s1", 0.0, Policy()) == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("30s", 30.0), ("1h30m", 5400.0), ("2D", 172800.0), ("1.5h", 5400.0)],
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert parse_every(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 minutes", "-5m", "1h-2m", "h"])
def test_what_is_no_length_of_time_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="no length of time"):
        parse_every(text)


def test_a_time_without_an_offset_is_of_the_zone() -> None:
    assert parse_at("2026-12-01 02:30", BERLIN) == at("2026-12-01T02:30+01:00")
    assert parse_at("2026-12-01T02:30:00Z", BERLIN) == at("2026-12-01T02:30+00:00")
    assert parse_at("2026-03-08 02:30", NEW_YORK) == at("2026-03-08T03:00-04:00")
    assert parse_at("2026-11-01 01:30", NEW_YORK) == at("2026-11-01T01:30-04:00")
    with pytest.raises(UsageError, match="no time"):
        parse_at("tomorrow", BERLIN)


@pytest.mark.parametrize(
    ("trigger", "what"),
    [
        (Trigger(kind="cron"), "without a line"),
        (Trigger(kind="every", seconds=0.5), "at least one second"),
        (Trigger(kind="every"), "at least one second"),
        (Trigger(kind="every", seconds=float("nan")), "at least one second"),
        (Trigger(kind="at"), "without one"),
        (Trigger(kind="after"), "which schedule"),
        (Trigger(kind="file"), "which file"),
        (Trigger(kind="file", path="/a", seconds=1.0), "every 5 s"),
    ],
)
def test_a_trigger_that_cannot_be_says_what_is_missing(trigger: Trigger, what: str) -> None:
    version = Version(schedule="s", number=1, notebook="n", pool="p", triggers=(trigger,))
    with pytest.raises(UsageError, match=what):
        timetable_of(version)
