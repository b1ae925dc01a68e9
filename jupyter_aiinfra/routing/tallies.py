"""How many requests each version of each endpoint has answered since it was deployed, by the hour.

Unlike other counts these outlive the router: what a request costs is what replicas cost by them. A
router that is killed loses those of its last seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from jupyter_aiinfra.routing.counts import Counts
from jupyter_aiinfra.routing.files import replace_file
from jupyter_aiinfra.routing.status import Tally

__all__ = ["HOUR_SECONDS", "Tallies", "Tallying"]

_log = logging.getLogger(__name__)

HOUR_SECONDS = 3600
# A week, and the hour that has begun.
_HOURS = 7 * 24 + 1
# An endpoint that is newer has been asked by nobody before it was counted.
_NEW_SECONDS = 600.0


class _Hours(msgspec.Struct, kw_only=True):
    requests: int = 0
    hours: list[tuple[int, int]] = msgspec.field(default_factory=list)


class Tallying(msgspec.Struct, kw_only=True):
    """The requests of one endpoint.

    Parameters
    ----------
    made
        When the endpoint was, by which another of the name is told from it.
    since
        From when on all are counted.
    """

    made: float
    since: float
    versions: dict[str, _Hours] = msgspec.field(default_factory=dict)

    def add(self, version: str, requests: int, now: float) -> None:
        """Count so many more."""
        if not requests:
            return
        found = self.versions.setdefault(version, _Hours())
        found.requests += requests
        hour = int(now) // HOUR_SECONDS * HOUR_SECONDS
        hours = found.hours
        if hours and hours[-1][0] == hour:
            hours[-1] = (hour, hours[-1][1] + requests)
        else:
            hours.append((hour, requests))
        oldest = hour - (_HOURS - 1) * HOUR_SECONDS
        while hours[0][0] < oldest:
            del hours[0]

    def told(self) -> dict[str, Tally]:
        """Return it as it is told."""
        return {
            name: Tally(since=self.since, requests=each.requests, hours=tuple(each.hours))
            for name, each in self.versions.items()
        }


_decoder = msgspec.json.Decoder(dict[str, Tallying])


class Tallies:
    """Those of all endpoints, in one file."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._all = self._read()
        self._written = b""

    def _read(self) -> dict[str, Tallying]:
        try:
            return _decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("%s cannot be read, requests are counted anew: %s", self._path, error)
            return {}

    def of(self, name: str, made: float) -> Tallying:
        """Return those of an endpoint that was made then."""
        found = self._all.get(name)
        if found is None or found.made != made:
            now = self._clock()
            known = made if made and now - made < _NEW_SECONDS else now
            found = self._all[name] = Tallying(made=made, since=known)
        return found

    def kept(self, names: Iterable[str]) -> None:
        """Forget all others: their endpoints were removed."""
        self._all = {name: self._all[name] for name in names if name in self._all}

    def take(self, tallying: Tallying, version: str, counts: Counts) -> None:
        """Count what is new in `counts`."""
        tallying.add(version, counts.untallied(), self._clock())

    def changed(self) -> bytes | None:
        """Return what is to be written, if anything is."""
        data = msgspec.json.encode(self._all)
        if data == self._written:
            return None
        self._written = data
        return data

    def write(self, data: bytes) -> None:
        """Write it; in a thread."""
        try:
            replace_file(self._path, data)
        except OSError as error:
            _log.warning("counted requests cannot be kept in %s: %s", self._path, error)
