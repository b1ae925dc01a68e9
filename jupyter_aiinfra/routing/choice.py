"""Which version a request goes to: by its headers, by who asks, else by weight; pure."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from jupyter_aiinfra.routing.config import Share

__all__ = ["Choice"]

# Steps of the golden ratio fall everywhere evenly: of any hundred requests in a row, five go to who
# gets 5 %, which dice would not do.
_STEP = 0.6180339887498949


class Choice:
    """Draws versions by the weights of `shares`.

    Each version has a part of the line from 0 to 1, the last one's first: a new version that gets
    more keeps those callers that it has.
    """

    def __init__(self, shares: Sequence[Share]) -> None:
        weighted = [share for share in reversed(shares) if share.weight > 0]
        total = sum(share.weight for share in weighted)
        self._versions = [share.version for share in weighted]
        self._ends = [end / total for end in accumulate(share.weight for share in weighted)]
        self._rules = [
            (share.version, [(n.lower().encode(), v.encode()) for n, v in share.header.items()])
            for share in shares
            if share.header
        ]
        self._point = 0.0

    @property
    def by_headers(self) -> bool:
        """Whether headers matter."""
        return bool(self._rules)

    def ruled(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the version that these headers ask for."""
        for version, wanted in self._rules:
            if all(headers.get(name) == value for name, value in wanted):
                return version
        return None

    def draw(self, sticky: bytes | None = None) -> str | None:
        """Return a version by weight, the same for the same `sticky`; ``None``: there is none."""
        if len(self._versions) < 2:  # noqa: PLR2004 - nothing to choose from
            return self._versions[0] if self._versions else None
        if sticky is None:
            self._point = point = (self._point + _STEP) % 1.0
        else:
            digest = hashlib.blake2b(sticky, digest_size=8).digest()
            point = int.from_bytes(digest, "big") / 2**64
        place = bisect_right(self._ends, point)
        # The last end may be a little less than 1.
        return self._versions[min(place, len(self._versions) - 1)]

    def others(self, version: str) -> Iterable[str]:
        """Yield who else has a part, for when `version` has nobody to ask."""
        return (other for other in self._versions if other != version)
