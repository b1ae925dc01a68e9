"""A flood of output through a job and out of its cell, against ``print`` in the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cell.kernel import Ran, kernel, most_in_a_second
from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn

__all__ = ["logs"]

_LINES = 500_000
_LINE_BYTES = 57
_WORDS = "loss 0.1234 accuracy 0.9876 lr 0.0010".ljust(_LINE_BYTES - 14)
_PRINT = f"for step in range({_LINES}):\n    print(f'step {{step:07d}} {_WORDS}')\n"
_CELL = f"%%accelerate here --cpu --procs 1 --mixed-precision no\n{_PRINT}"
# What the protocol itself says of any cell.
_PROTOCOL = frozenset({"status", "execute_input"})


def logs(run: Run) -> Sequence[Figure]:
    """Print the same lines on a rank and in a kernel."""
    unaccounted: list[float] = []
    rates: list[float] = []
    walls: list[tuple[float, float]] = []

    def ours() -> float:
        home = run.folder / "home" / "runs"
        before = set(home.iterdir()) if home.is_dir() else set()
        with kernel(run.folder) as opened:
            ran = opened.run(_CELL)
        (made,) = set(home.iterdir()) - before
        text = (made / "logs" / "rank-0.log").read_bytes()
        counts = final_counts(ran.messages)
        unaccounted.append(float(unaccounted_lines(counts, text)))
        times = [at for at, message in ran.messages if message["msg_type"] not in _PROTOCOL]
        rates.append(float(most_in_a_second(times)))
        walls.append((ran.wall_seconds, 0.0))
        return ran.cpu_seconds

    def raw() -> float:
        with kernel(run.folder, attach=False) as opened:
            ran = opened.run(_PRINT)
        _check_all_printed(ran)
        walls[-1] = (walls[-1][0], ran.wall_seconds)
        return ran.cpu_seconds

    ours_cpu, raw_cpu = in_turn(run, "logs", ours=ours, raw=raw)
    what = f"{_LINES:,} lines of {_LINE_BYTES} bytes"
    return (
        Figure(
            name="log lines unaccounted for",
            unit="lines",
            ours=tuple(unaccounted),
            judged=Judged.OURS,
            goal=Goal(limit=0, always=True),
            note=f"{what} from one rank: those missing of shown + folded + left out as the page "
            "has them at the end, or missing in the log file.",
        ),
        Figure(
            name="messages in the busiest second",
            unit="",
            ours=tuple(rates),
            judged=Judged.OURS,
            goal=Goal(limit=10, always=True),
            note="all that the kernel sends for the cell, as it arrives at a client, but for the "
            "protocol's own busy, idle and input.",
        ),
        Figure(
            name="kernel CPU for the log",
            unit="s",
            ours=ours_cpu,
            raw=raw_cpu,
            goal=Goal(limit=0.2),
            note=f"user + system of the kernel process for the whole cell; raw is a loop that "
            f"prints the same {what} in a kernel of its own.",
        ),
        Figure(
            name="time until all is shown",
            unit="s",
            ours=tuple(wall for wall, _ in walls),
            raw=tuple(wall for _, wall in walls),
            note="the same cells; ours includes starting the launcher and its rank.",
        ),
    )


def final_counts(messages: Sequence[tuple[float, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """Return rank 0's counts as a page has them after `messages`: keyframes, then deltas."""
    counts: dict[str, Any] = {}
    for _, message in messages:
        data = message["content"].get("data") or {}
        state = data.get("state") or {} if message["msg_type"].startswith("comm_") else {}
        if "delta" in state:
            change = state["delta"].get("ranks", {}).get("0", {})
            counts |= change.get("counts", {})
        if "log" in state:
            counts |= state["log"].get("ranks", {}).get("0", {}).get("counts", {})
    return counts


def unaccounted_lines(counts: Mapping[str, Any], text: bytes) -> int:
    """Return how many of the lines are not counted in the page, or not in the log file."""
    told = counts["shown"] + counts["folded"] + counts["left_out"]
    expected = (f"step {step:07d} {_WORDS}\n" for step in range(_LINES))
    whole = text == "".join(expected).encode()
    in_file = _LINES if whole else min(_LINES - 1, text.count(b"\n"))
    missing: int = max(abs(_LINES - counts["seen"]), abs(counts["seen"] - told), _LINES - in_file)
    return missing


def _check_all_printed(ran: Ran) -> None:
    streams = (m["content"]["text"] for _, m in ran.messages if m["msg_type"] == "stream")
    arrived = sum(text.count("\n") for text in streams)
    if arrived != _LINES:
        raise RuntimeError(f"print: {arrived:,} of {_LINES:,} lines arrived; no fair comparison")
