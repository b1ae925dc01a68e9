"""Times on the wall of a zone as moments, also where clocks are changed: pure.

A wall time may be there once, twice (clocks go back) or never (clocks go forward, or a country
moves across the date line and leaves a day out).
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from jupyter_aiinfra.errors import UsageError, did_you_mean

__all__ = ["first_moment", "moments", "repeated", "wall", "zone_of"]

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - wall times have no zone here


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """Return the zone of an IANA name.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = sorted(available_timezones())
        hint = did_you_mean(name, known) or "such as Europe/Berlin, America/New_York or UTC"
        raise UsageError(
            f"{name!r} is no time zone known here", hint=hint, option="timezone"
        ) from error


def wall(moment: float, zone: ZoneInfo) -> dt.datetime:
    """Return what the clock on the wall shows, in whole seconds; ``fold`` 1: the second time."""
    return dt.datetime.fromtimestamp(int(moment // 1), zone).replace(tzinfo=None)


def moments(shown: dt.datetime, zone: ZoneInfo) -> list[int]:
    """Return when the clock shows that: once, twice (in order), or never."""
    found = []
    for fold in (0, 1):
        moment = _moment(shown, zone, fold)
        if moment not in found and wall(moment, zone).replace(fold=0) == shown.replace(fold=0):
            found.append(moment)
    return sorted(found)


def first_moment(shown: dt.datetime, zone: ZoneInfo) -> int:
    """Return when the clock first shows that; of what it never shows, the first moment after."""
    found = moments(shown, zone)
    if found:
        return found[0]
    # In a gap the offset from before it gives a moment after it, and the other way about.
    after, before = sorted((_moment(shown, zone, 0), _moment(shown, zone, 1)), reverse=True)
    return _change(before, after, zone)


def repeated(moment: float, zone: ZoneInfo) -> dt.datetime | None:
    """Return what the clock is put back to, where it will show this moment's time once more."""
    shown = wall(moment, zone)
    both = moments(shown, zone)
    if len(both) < 2 or shown.fold:  # noqa: PLR2004 - twice
        return None
    return wall(_change(both[0], both[1], zone), zone).replace(fold=0)


def _moment(shown: dt.datetime, zone: ZoneInfo, fold: int) -> int:
    offset = shown.replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None  # noqa: S101 - a ZoneInfo always has one
    whole = shown.replace(tzinfo=None, fold=0) - _EPOCH - offset
    return whole.days * 86400 + whole.seconds


def _change(before: int, after: int, zone: ZoneInfo) -> int:
    """Return the first second with the offset of `after`, which that of `before` is not."""
    offset = dt.datetime.fromtimestamp(after, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if dt.datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
