"""Who is written down as ended by which signal, however soon a rank ends of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.node.supervise import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    ranks = tmp_path / "ranks"
    ranks.mkdir()
    for rank in range(3):
        report = {"rank": rank, "pid": 100 + rank, "start": 7, "boot": "b", "pidns": "n"}
        (ranks / f"{rank}.json").write_text(json.dumps(report))
    return Run(tmp_path)


class Job:
    """Processes that end, and say so, while the signal is still being sent."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = run
        self.sent: list[tuple[int, int]] = []
        self.ends: Mapping[int, int] = {}
        """By rank, of which signal it ends."""
        monkeypatch.setattr(supervise, "tagged", lambda _job: self.left())
        monkeypatch.setattr(supervise, "send", self.send)

    def left(self) -> list[dict[str, Any]]:
        """Return what still runs, and a wrapper that outlives it all."""
        reports, exits = self.run.reports(), self.run.exits()
        return [reports[rank] for rank in sorted(reports) if rank not in exits] or [
            {"pid": 99, "start": 7}
        ]

    def send(self, who: Mapping[str, Any], number: int) -> bool:
        rank = who.get("rank")
        self.sent.append((who["pid"], number))
        if rank is not None and self.ends[rank] == number:
            path = self.run.path("ranks", f"{rank}.exit.json")
            Path(path).write_text(json.dumps({"rank": rank}))
        return True


def test_ranks_that_end_at_once_are_written_down(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(run, monkeypatch)
    job.ends = {0: signal.SIGINT, 1: signal.SIGTERM, 2: signal.SIGKILL}
    now = [0.0]
    monkeypatch.setattr("jupyter_aiinfra.node.supervise.time.monotonic", lambda: now[0])
    stopper = supervise.Stopper(run, "0abc", 4.0)
    for at in (0.0, 4.0, 8.0, 8.05, 8.1):
        now[0] = at
        assert stopper.step()
    assert stopper.ended_by() == {"SIGINT": [0], "SIGTERM": [1], "SIGKILL": [2]}
    # What does not go is told again, and that takes nothing from who went.
    assert [number for _, number in job.sent].count(signal.SIGKILL) > 1


def test_ranks_that_ended_before_are_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(run, monkeypatch)
    job.ends = dict.fromkeys(range(3), signal.SIGINT)
    Path(run.path("ranks", "1.exit.json")).write_text('{"rank": 1}')
    stopper = supervise.Stopper(run, "0abc", 4.0)
    stopper.step()
    assert stopper.ended_by() == {"SIGINT": [0, 2]}
