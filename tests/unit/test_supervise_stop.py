"""Who is written down as ended by which signal, however soon a rank ends of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.node.supervise import Run, Supervisor


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


class Over(Supervisor):
    """A supervisor whose launcher has ended."""

    def __init__(self, run: Run, child: Any) -> None:
        self.run, self.child, self.stopper = run, child, None
        self.spec = {"job": "0abc", "grace_seconds": 0.0}
        self.tracker = self.collector = None


@pytest.mark.parametrize(
    ("child", "subreaper", "children", "looks"),
    [
        pytest.param(object(), True, False, 0, id="without children nothing can be left"),
        pytest.param(object(), True, True, 1, id="a child may be one of the job"),
        pytest.param(object(), False, False, 1, id="orphans went to somebody else"),
        pytest.param(None, True, False, 1, id="another supervisor had started it"),
    ],
)
def test_all_processes_are_looked_at_only_where_one_may_be_left(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    child: object,
    subreaper: bool,
    children: bool,
    looks: int,
) -> None:
    looked: list[str] = []

    def tagged(job: str) -> list[supervise.Json]:
        looked.append(job)
        return []

    monkeypatch.setattr(supervise, "tagged", tagged)
    monkeypatch.setattr(supervise, "is_subreaper", lambda: subreaper)
    monkeypatch.setattr(supervise, "has_children", lambda: children)
    monkeypatch.setattr(Supervisor, "reap", lambda _self: None)
    assert Over(run, child).end_strays() == 0
    assert looked == ["0abc"] * looks
