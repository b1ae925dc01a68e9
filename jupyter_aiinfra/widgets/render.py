"""A job as it stays in the notebook: one piece of HTML with nothing to load, or plain text.

The HTML reads well where styles are stripped (code hosts do that): words before colours, and
``details`` for what is not asked for at first.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from jupyter_aiinfra.logview import LogLine, LogSnapshot, RankLog, ansi_html, log_text
from jupyter_aiinfra.model import LAUNCHER, Job, Manifest
from jupyter_aiinfra.progress import seconds_text
from jupyter_aiinfra.widgets.card import (
    Card,
    RankCard,
    describe,
    duration_text,
    plural,
    size_text,
)
from jupyter_aiinfra.widgets.costtext import cost_text
from jupyter_aiinfra.widgets.costwire import JobCostItem
from jupyter_aiinfra.widgets.gpuuse import GpuUse, memory_text, percent_text

__all__ = ["render_html", "render_text"]

_OTHER_LINES = 60  # of each rank but the first and the failing one
_RANKS_IN_FULL = 16
_MOST_USES = 64


def render_html(
    job: Job,
    snapshot: LogSnapshot,
    *,
    note: str = "",
    log_path: str | None = None,
    redact: Callable[[str], str] = str,
    now: float | None = None,
    gpus: Sequence[GpuUse] = (),
    cost: JobCostItem | None = None,
) -> str:
    """Return a job and its logs as self-contained HTML.

    `gpus` is what its ranks did with theirs, `cost` what it has cost, as last known; the other
    keywords are those of :func:`~jupyter_aiinfra.widgets.card.describe`.
    """
    card = describe(job, note=note, log_path=log_path, redact=redact, now=now)
    parts = [
        f'<div class="aiinfra-job aiinfra-{card.state.value}">',
        f"<style>{_style()}</style>",
        _head_html(card, cost),
        _error_html(card),
        f'<div class="aiinfra-rank">{_summary_html(card, snapshot.rank(0))}</div>',
        _log_html(snapshot.rank(0)),
        *_others_html(card, snapshot),
        _gpus_html(gpus),
        _manifest_html(job.spec.manifest),
        f'<div class="aiinfra-foot"><span>log: {_code(card.log)}</span></div>',
        "</div>",
    ]
    return "\n".join(filter(None, parts))


def render_text(
    job: Job,
    snapshot: LogSnapshot,
    *,
    note: str = "",
    log_path: str | None = None,
    redact: Callable[[str], str] = str,
    now: float | None = None,
    gpus: Sequence[GpuUse] = (),
    cost: JobCostItem | None = None,
) -> str:
    """Return a job and its logs as plain text, for terminals and executed notebooks.

    The keywords are those of :func:`render_html`.
    """
    card = describe(job, note=note, log_path=log_path, redact=redact, now=now)
    lines = [f"[{card.state.value}] {' · '.join(_facts(card))}"]
    spent = cost_text(cost, running=card.ticking)
    lines += filter(None, (card.attempts, card.trouble, card.said, card.progress, spent))
    if card.error:
        where = f" ({card.error.where})" if card.error.where else ""
        lines += ["", f"{card.error.title}{where}"]
        lines += [f"  {line}" for line in card.error.traceback.splitlines()]
    first = snapshot.rank(0)
    if first.lines_seen:
        lines += ["", log_text(first)]
    others = [log for log in _others(card, snapshot) if log.lines_seen]
    if others:
        lines.append("")
    for log in others:
        lines.append(f"{_label(log.rank)}: {log.summary}{_state(card, log.rank)}")
        # A launcher repeats at length that a rank has failed, whose own words stand above.
        if log.rank < 0 and card.error and card.error.rank is not None:
            continue
        if _in_full(card, log, others=len(others)):
            lines += [f"  {line}" for line in log_text(_last(log)).splitlines()]
    if gpus:
        lines += ["", "GPUs:"]
        lines += [f"  {': '.join(_use_text(use))}" for use in gpus[:_MOST_USES]]
        lines += [f"  {_more_uses(gpus)}"] if _more_uses(gpus) else []
    lines += ["", f"log: {card.log}"]
    return "\n".join(lines)


@cache
def _style() -> str:
    """Return the stylesheet of the widget on one line: a blank line would end HTML in Markdown."""
    css = Path(__file__).with_name("job.css").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)).strip()


def _facts(card: Card) -> list[str]:
    facts = [
        card.name or "job",
        f"pool {card.pool}",
        card.shape,
        duration_text(card.elapsed_seconds),
        f"job {card.id}",
        card.tracking,
    ]
    return [fact for fact in facts if fact]


def _head_html(card: Card, cost: JobCostItem | None) -> str:
    name, *facts = (html.escape(fact) for fact in _facts(card))
    said = "".join(
        f'<div class="{name}">{html.escape(text)}</div>'
        for name, text in (
            ("aiinfra-attempts", card.attempts),
            ("aiinfra-trouble", card.trouble),
            ("aiinfra-message", card.message),
            ("aiinfra-progress", card.progress),
            ("aiinfra-cost", cost_text(cost, running=card.ticking)),
            ("aiinfra-notice", card.notice.text if card.notice else ""),
        )
        if text
    )
    return (
        f'<div class="aiinfra-head"><b class="aiinfra-state">{card.state.value}</b> '
        f'<span class="aiinfra-facts"><b class="aiinfra-name">{name}</b> · '
        f"{' · '.join(facts)}</span></div>{said}"
    )


def _error_html(card: Card) -> str:
    error = card.error
    if error is None:
        return ""
    where = f" <span>({html.escape(error.where)})</span>" if error.where else ""
    body = _pre([ansi_html(error.traceback)]) if error.traceback else ""
    return f'<div class="aiinfra-error"><b>{html.escape(error.title)}</b>{where}{body}</div>'


def _others(card: Card, snapshot: LogSnapshot) -> list[RankLog]:
    order = [rank.rank for rank in card.ranks if rank.rank != 0]
    order += [log.rank for log in snapshot.ranks if log.rank not in {0, *order}]
    return [snapshot.rank(rank) for rank in order]


def _others_html(card: Card, snapshot: LogSnapshot) -> list[str]:
    written = []
    others = _others(card, snapshot)
    for log in others:
        summary = _summary_html(card, log)
        if log.lines_seen and not log.same_as_first:
            shown = log if _in_full(card, log, others=len(others)) else _last(log)
            body = _log_html(shown)
            written.append(f"<details><summary>{summary}</summary>{body}</details>")
        elif log.rank >= 0:
            written.append(f'<div class="aiinfra-rank">{summary}</div>')
    return written


def _in_full(card: Card, log: RankLog, *, others: int) -> bool:
    if log.same_as_first:
        return False
    return others <= _RANKS_IN_FULL or bool(card.error and card.error.rank == log.rank)


def _summary_html(card: Card, log: RankLog) -> str:
    return f"<b>{_label(log.rank)}</b> · {html.escape(log.summary + _state(card, log.rank))}"


def _state(card: Card, rank: int) -> str:
    return next((f" · {_rank_state(one)}" for one in card.ranks if one.rank == rank), "")


def _rank_state(rank: RankCard) -> str:
    far = rank.progress
    if far is None:
        return rank.state
    took = "" if far.step_seconds is None else f", {seconds_text(far.step_seconds)} a step"
    return f"{rank.state}, step {far.step:,}{took}{' (slow)' if far.slow else ''}"


def _label(rank: int) -> str:
    """Return what a log is called; the launchers of further nodes are numbered as their nodes."""
    if rank >= 0:
        return f"rank {rank}"
    return "launcher" if rank == LAUNCHER else f"launcher of node {LAUNCHER - rank}"


def _last(log: RankLog) -> RankLog:
    """Return `log` with its last lines only; the others are counted as left out."""
    gone = [*log.head, *log.tail[:-_OTHER_LINES]]
    rows = [line for line in gone if not line.missing_bytes]
    hidden = sum(line.repeat for line in rows)
    return RankLog(
        rank=log.rank,
        tail=log.tail[-_OTHER_LINES:],
        lines_seen=log.lines_seen,
        lines_shown=log.lines_shown - len(rows),
        lines_folded=log.lines_folded - (hidden - len(rows)),
        lines_left_out=log.lines_left_out + hidden,
        bytes_seen=log.bytes_seen,
        bytes_missing=log.bytes_missing,
    )


def _log_html(log: RankLog) -> str:
    if not log.lines_seen and not log.bytes_missing:
        return ""
    lines = [_line_html(line) for line in log.head]
    if log.lines_left_out:
        left_out = f"⋯ {plural(log.lines_left_out, 'line')} left out (all in the log) ⋯"
        lines.append(f'<span class="aiinfra-note">{left_out}</span>')
    lines.extend(_line_html(line) for line in log.tail)
    # A focusable region can be scrolled by keyboard.
    region = f'tabindex="0" role="region" aria-label="log of {_label(log.rank)}"'
    return f'<div class="aiinfra-log aiinfra-at-end" {region}>{_pre(lines)}</div>'


def _pre(lines: Sequence[str]) -> str:
    return '<pre class="aiinfra-text">' + "\n".join(lines) + "</pre>"


def _code(text: str) -> str:
    return f'<code class="aiinfra-text">{html.escape(text)}</code>'


def _line_html(line: LogLine) -> str:
    if line.missing_bytes:
        return (
            f'<span class="aiinfra-note">⋯ {line.missing_bytes:,} bytes are missing here ⋯</span>'
        )
    text = ansi_html(line.text)
    if line.left_out_bytes:
        text += f'<span class="aiinfra-note"> … {line.left_out_bytes:,} more bytes</span>'
    if line.repeat > 1:
        text += f'<span class="aiinfra-repeat">  × {line.repeat:,}</span>'  # noqa: RUF001
    return text


def _manifest_html(manifest: Manifest) -> str:
    if not manifest.items:
        return ""
    rows = "".join(
        f"<tr><td>{_code(item.name)}</td><td>{html.escape(item.type)}</td>"
        f"<td>{size_text(item.size_bytes)}</td><td>{html.escape(item.how or item.reason)}</td></tr>"
        for item in manifest.items
    )
    sent = plural(len(manifest.items), "name")
    return (
        f"<details><summary><b>sent</b> · {sent}, {size_text(manifest.size_bytes)}</summary>"
        '<table class="aiinfra-manifest"><thead><tr><th>name</th><th>type</th><th>size</th>'
        f"<th>how</th></tr></thead><tbody>{rows}</tbody></table></details>"
    )


def _gpus_html(uses: Sequence[GpuUse]) -> str:
    if not uses:
        return ""
    rows = "".join(
        f"<tr><td>rank {use.rank}</td><td>{html.escape(', '.join(use.gpus))}</td>"
        f"<td>{percent_text(use.mean_percent)}</td><td>{percent_text(use.peak_percent)}</td>"
        f"<td>{memory_text(use)}</td></tr>"
        for use in uses[:_MOST_USES]
    )
    more = f'<div class="aiinfra-note">{_more_uses(uses)}</div>' if _more_uses(uses) else ""
    return (
        f"<details><summary><b>GPUs</b> · {_uses_text(uses)}</summary>"
        '<table class="aiinfra-manifest aiinfra-used"><thead><tr><th>rank</th><th>GPU</th>'
        f"<th>mean</th><th>peak</th><th>peak memory</th></tr></thead><tbody>{rows}</tbody></table>"
        f"{more}</details>"
    )


def _uses_text(uses: Sequence[GpuUse]) -> str:
    """Return the line for all ranks: ``8 ranks, 71 % busy in the mean, 61.2 of 80 GiB at most``."""
    known = [use.mean_percent for use in uses if use.mean_percent is not None]
    mean = percent_text(sum(known) / len(known) if known else None)
    most = max(uses, key=lambda use: use.peak_memory_bytes or 0)
    return f"{plural(len(uses), 'rank')}, {mean} busy on average, {memory_text(most)} at most"


def _use_text(use: GpuUse) -> tuple[str, str]:
    mean, peak = percent_text(use.mean_percent), percent_text(use.peak_percent)
    said = f"{mean} busy on average, {peak} at most; {memory_text(use)} of memory at most"
    return f"rank {use.rank} on {', '.join(use.gpus)}", said


def _more_uses(uses: Sequence[GpuUse]) -> str:
    more = len(uses) - _MOST_USES
    return f"and {plural(more, 'more rank')}" if more > 0 else ""
