"""What a person is told of files on their way: how many bytes, how fast, and for how long still."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from jupyter_aiinfra.commands.asking import Progress
from jupyter_aiinfra.commands.show import bytes_text, duration_text
from jupyter_aiinfra.pools.abilities import Transferred, TransferStep

__all__ = ["FileNews", "transferred_lines"]

_RATE_SECONDS = 5.0


class FileNews:
    """Sums up what the nodes report, into one line."""

    def __init__(self, progress: Progress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._steps: dict[str, TransferStep] = {}
        self._lately: deque[tuple[float, int]] = deque()

    def hear(self, step: TransferStep) -> None:
        """Take in how far one node is."""
        self._steps[step.node] = step
        now = self._clock()
        done = sum(each.done_bytes for each in self._steps.values())
        total = sum(each.total_bytes for each in self._steps.values())
        self._lately.append((now, done))
        while now - self._lately[0][0] > _RATE_SECONDS:
            self._lately.popleft()
        self._progress.hear(self._text(done, total, step))

    def _text(self, done: int, total: int, step: TransferStep) -> str:
        share = f"{100 * done // total} %" if total else "100 %"
        text = f"{bytes_text(done)} of {bytes_text(total)}, {share}"
        (begun, before), (now, _) = self._lately[0], self._lately[-1]
        if now > begun and done > before:
            rate = (done - before) / (now - begun)
            left = duration_text((total - done) / rate)
            text += f", {bytes_text(round(rate))}/s, {left} left"
        where = f" ({step.path})" if step.path else ""
        return text + where


def transferred_lines(moved: Sequence[Transferred], *, seconds: float, to: bool) -> list[str]:
    """Return a line a node on what was copied, or why not."""
    lines = []
    for each in moved:
        where = f"{each.node}:{each.path}" if to else f"{each.path} from {each.node}"
        if each.problem is not None:
            lines.append(f"{each.node}: not all is there: {each.problem}")
            lines += [f"  fix: {each.hint}"] if each.hint else []
            continue
        files = f"{each.files} file{'' if each.files == 1 else 's'}"
        same = f", {each.unchanged} of them unchanged" if each.unchanged else ""
        sent = f"{bytes_text(each.moved_bytes)} moved in {duration_text(seconds)}"
        lines.append(f"{where}: {files}, {bytes_text(each.size_bytes)}{same}; {sent}")
    return lines
