"""What crosses to the page: plain JSON, bounded in size, and only what changed.

A page holds for each rank the first lines, the last lines and the counts. A *keyframe* carries all
of it; a *delta* carries splices of the last lines and whatever counts changed. Both are numbered,
and a delta fits only on the number it was made for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jupyter_aiinfra.logview import LogLine, LogSnapshot, RankLog, strip_ansi
from jupyter_aiinfra.model import JobSpec, to_wire
from jupyter_aiinfra.widgets.card import Card

__all__ = [
    "RankFrame",
    "Wire",
    "frames",
    "header_wire",
    "keyframe",
    "manifest_wire",
    "rank_delta",
    "ranks_wire",
    "splices",
]

_RANK_BYTES = 128 * 1024
"""How much text of a rank in full crosses at most; all the others together have as much."""
_TEXT_BYTES = 32 * 1024  # of a message or a traceback
_MANIFEST_ITEMS = 200
_MANY_RANKS = 8
_FEW_LINES = 40

Wire = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RankFrame:
    """One rank as a page holds it."""

    head: tuple[LogLine, ...]
    tail: tuple[LogLine, ...]
    counts: Mapping[str, Any]

    def wire(self) -> Wire:
        """Return all of it."""
        return {
            "head": [_line(line) for line in self.head],
            "tail": [_line(line) for line in self.tail],
            "counts": dict(self.counts),
        }


def frames(snapshot: LogSnapshot, *, in_full: Sequence[int]) -> dict[int, RankFrame]:
    """Cut a snapshot to what may cross.

    A rank whose log is rank 0's own sends no lines: the page shows those of rank 0. Lines cut here
    are counted as left out, so that the sum still holds in the page.
    """
    others = [log for log in snapshot.ranks if log.rank not in in_full]
    share = _RANK_BYTES // max(1, len(others))
    cut: dict[int, RankFrame] = {}
    for log in snapshot.ranks:
        if log.rank in in_full:
            cut[log.rank] = _cut(log, room=_RANK_BYTES, most=None)
        elif log.same_as_first:
            cut[log.rank] = RankFrame(head=(), tail=(), counts=_counts(log, cut_lines=()))
        else:
            most = _FEW_LINES if len(others) > _MANY_RANKS else None
            cut[log.rank] = _cut(log, room=share, most=most)
    return cut


def keyframe(number: int, ranks: Mapping[int, RankFrame]) -> Wire:
    """Return the state of all ranks under its number."""
    return {"seq": number, "ranks": {str(rank): frame.wire() for rank, frame in ranks.items()}}


def rank_delta(before: RankFrame | None, after: RankFrame) -> Wire | None:
    """Return what turns `before` into `after`; ``None`` when nothing does."""
    if before is None:
        return after.wire()
    delta: Wire = {}
    if before.head != after.head:
        delta["head"] = [_line(line) for line in after.head]
    changes = splices(before.tail, after.tail)
    if changes:
        delta["splices"] = changes
    if before.counts != after.counts:
        delta["counts"] = dict(after.counts)
    return delta or None


def splices(before: Sequence[LogLine], after: Sequence[LogLine]) -> list[list[Any]]:
    """Return ``[start, how many go, lines that come]`` steps that turn `before` into `after`.

    At most two: lines that scrolled away, then everything from the first line that differs.
    """
    steps: list[list[Any]] = []
    same = _common(before, after)
    if same == len(before) == len(after):
        return steps
    rest, wanted = before[same:], after[same:]
    gone = _scrolled(rest, wanted)
    if gone:
        steps.append([same, gone, []])
        rest = rest[gone:]
        more = _common(rest, wanted)
        same, rest, wanted = same + more, rest[more:], wanted[more:]
    if rest or wanted:
        steps.append([same, len(rest), [_line(line) for line in wanted]])
    return steps


def header_wire(card: Card) -> Wire:
    """Return the head of the display. It changes only when something of the job does."""
    error = card.error
    return {
        "id": card.id,
        "name": card.name,
        "pool": card.pool,
        "state": card.state.value,
        "world": card.world,
        "procs": card.procs,
        "shape": card.shape,
        "attempts": _bounded(card.attempts),
        "trouble": _bounded(card.trouble),
        "nodes": [
            {
                "name": node.name,
                "health": node.health.value,
                "since": node.since,
                "reason": _bounded(node.reason or ""),
            }
            for node in card.nodes
        ],
        "elapsed_seconds": round(card.elapsed_seconds, 1),
        "ticking": card.ticking,
        "message": _bounded(card.message),
        "progress": _bounded(card.progress),
        "log": card.log,
        "tracking": _bounded(card.tracking),
        "error": error
        and {
            "rank": error.rank,
            "title": _bounded(error.title),
            "where": error.where,
            "traceback": _bounded(error.traceback),
        },
        "notice": card.notice and {**to_wire(card.notice), "text": _bounded(card.notice.text)},
    }


def ranks_wire(card: Card) -> list[Wire]:
    """Return the ranks in the order to show."""
    return [
        {
            "rank": rank.rank,
            "state": rank.state,
            "node": rank.node,
            "failed": rank.failed,
            "progress": rank.progress
            and {
                "step": rank.progress.step,
                "step_seconds": _rounded(rank.progress.step_seconds),
                "behind": rank.progress.behind,
                "slow": rank.progress.slow,
            },
        }
        for rank in card.ranks
    ]


def _rounded(seconds: float | None) -> float | None:
    """Return three digits: what no reader sees is no reason to send it again."""
    return None if seconds is None else float(f"{seconds:.3g}")


def manifest_wire(spec: JobSpec) -> Wire:
    """Return what travelled with the job; a very long list is cut and says so."""
    items = spec.manifest.items
    return {
        "size_bytes": spec.manifest.size_bytes,
        "count": len(items),
        "items": [
            {
                "name": item.name,
                "kind": item.kind.value,
                "type": item.type,
                "size_bytes": item.size_bytes,
                "how": item.how or item.reason,
            }
            for item in items[:_MANIFEST_ITEMS]
        ],
    }


def _line(line: LogLine) -> list[Any]:
    """Return ``[text, repeat, bytes left out, bytes missing]`` without trailing defaults."""
    wire: list[Any] = [line.text, line.repeat, line.left_out_bytes, line.missing_bytes]
    for default in (0, 0, 1):
        if wire[-1] != default:
            break
        wire.pop()
    return wire


def _cut(log: RankLog, *, room: int, most: int | None) -> RankFrame:
    head: list[LogLine] = []
    tail: list[LogLine] = []
    weight = sum(map(_weight, log.head))
    if most is None and weight <= room // 2:
        head = list(log.head)
        room -= weight
    for line in reversed(log.tail):
        if _weight(line) > room and not tail:
            line = _shortened(line, room=room)  # noqa: PLW2901 - the last line is always there
        room -= _weight(line)
        if (room < 0 and tail) or (most is not None and len(tail) >= most):
            break
        tail.append(line)
    tail.reverse()
    gone = [*log.head[len(head) :], *log.tail[: len(log.tail) - len(tail)]]
    return RankFrame(head=tuple(head), tail=tuple(tail), counts=_counts(log, cut_lines=gone))


def _counts(log: RankLog, *, cut_lines: Sequence[LogLine]) -> Wire:
    rows = [line for line in cut_lines if not line.missing_bytes]
    hidden = sum(line.repeat for line in rows)
    return {
        "seen": log.lines_seen,
        "shown": log.lines_shown - len(rows),
        "folded": log.lines_folded - (hidden - len(rows)),
        "left_out": log.lines_left_out + hidden,
        "same": log.lines_same,
        "same_as_first": log.same_as_first,
        "bytes": log.bytes_seen,
        "missing": log.bytes_missing,
        "summary": log.summary,
    }


def _weight(line: LogLine) -> int:
    # As JSON: a control character takes six bytes there, so does a letter outside ASCII.
    return len(json.dumps(line.text)) + 24


def _shortened(line: LogLine, *, room: int) -> LogLine:
    plain = strip_ansi(line.text)
    kept = plain[: max(0, room // 6 - 24)]
    gone = len(plain[len(kept) :].encode())
    return replace(line, text=kept, left_out_bytes=line.left_out_bytes + gone)


def _bounded(text: str) -> str:
    if len(text) <= _TEXT_BYTES:
        return text
    half = _TEXT_BYTES // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def _common(one: Sequence[LogLine], other: Sequence[LogLine]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _scrolled(rest: Sequence[LogLine], wanted: Sequence[LogLine]) -> int:
    """Return how many lines of `rest` scrolled away before the first line wanted."""
    if not wanted:
        return 0
    for gone, line in enumerate(rest):
        if line.id == wanted[0].id:
            return gone
    return 0
