"""A job on several nodes, in words: its attempts, its nodes, and whose log is whose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jupyter_aiinfra.commands.show import job_lines
from jupyter_aiinfra.logview import LogSnapshot, LogView
from jupyter_aiinfra.model import (
    LAUNCHER,
    Handle,
    Health,
    Job,
    JobKind,
    JobSpec,
    JobState,
    NodeStatus,
    Observation,
    Placement,
    RankStatus,
    Restart,
)
from jupyter_aiinfra.widgets.card import describe
from jupyter_aiinfra.widgets.render import render_html, render_text
from jupyter_aiinfra.widgets.wire import header_wire, ranks_wire

T = 1_700_000_000.0
LIVE = NodeStatus(name="gpu1", health=Health.LIVE)
SILENT = NodeStatus(name="gpu2", health=Health.UNREACHABLE, since=T, reason="gpu2 timed out")
RESTART = Restart(attempt=2, at=T, reason="node gpu2 was lost", nodes=("gpu1",))


def job(state: JobState = JobState.RUNNING, *, nodes: int = 2, **seen: Any) -> Job:
    spec = JobSpec(
        kind=JobKind.TRAIN, name="big", argv=("python",), nodes=nodes, procs=4, max_restarts=3
    )
    observation = Observation(state=state, seen_at=T, started_at=T, **seen)
    return Job(
        id="0abc", pool="lab", spec=spec, state=state, seen=observation, created_at=T, updated_at=T
    )


def test_its_size_is_said_in_nodes_and_ranks() -> None:
    assert describe(job(nodes=1)).shape == "4 ranks"
    assert describe(job()).shape == "2 nodes x 4 ranks"
    # An elastic job that found but two of the three it may use.
    three = job(nodes=3)
    assert three.seen is not None
    fewer = replace(three, seen=replace(three.seen, nodes=(LIVE, SILENT)))
    assert describe(fewer).shape == "2 nodes x 4 ranks"


def test_a_restart_is_said_with_its_reason() -> None:
    assert describe(job()).attempts == ""
    assert describe(job(attempt=2)).attempts == "attempt 2 of 4"
    card = describe(job(attempt=2, restarts=(RESTART,)))
    assert card.attempts == "attempt 2 of 4: node gpu2 was lost"
    subject = job(attempt=2, restarts=(RESTART,))
    assert card.attempts in render_text(subject, LogSnapshot())
    assert card.attempts in render_html(subject, LogSnapshot())


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (LIVE, ""),
        (SILENT, "gpu2 does not answer (timed out)"),
        (replace(SILENT, health=Health.LOST, reason=None), "gpu2 was given up by the others"),
        (replace(SILENT, health=Health.DEGRADED, reason=None), "gpu2 answers now and then"),
    ],
)
def test_what_is_wrong_with_a_node_is_said_while_the_job_runs(
    status: NodeStatus, said: str
) -> None:
    assert describe(_with((LIVE, status))).trouble == said
    assert describe(_with((status,), JobState.FAILED)).trouble == ""


def _with(nodes: tuple[NodeStatus, ...], state: JobState = JobState.RUNNING) -> Job:
    found = job(state)
    assert found.seen is not None
    return replace(found, seen=replace(found.seen, nodes=nodes))


def test_what_is_waited_for_is_said_first() -> None:
    waiting = _with((LIVE, SILENT))
    assert waiting.seen is not None
    said = replace(waiting, seen=replace(waiting.seen, waiting="waiting for gpu2 to come back"))
    trouble = "waiting for gpu2 to come back; gpu2 does not answer (timed out)"
    assert describe(said).trouble == trouble
    assert trouble in render_text(said, LogSnapshot())


def test_nodes_cross_with_their_health_and_ranks_know_theirs_before_they_begin() -> None:
    begun = RankStatus(rank=0, node="gpu1", pid=1)
    found = _with((LIVE, SILENT))
    assert found.seen is not None
    card = describe(replace(found, seen=replace(found.seen, ranks=(begun,))))
    wire = header_wire(card)
    assert wire["nodes"] == [
        {"name": "gpu1", "health": "live", "since": None, "reason": ""},
        {"name": "gpu2", "health": "unreachable", "since": T, "reason": "timed out"},
    ]
    assert (wire["shape"], wire["procs"]) == ("2 nodes x 4 ranks", 4)
    states = {rank["rank"]: rank["state"] for rank in ranks_wire(card)}
    assert [states[number] for number in (0, 1, 4)] == [
        "running",
        "not started yet",
        "not heard of",
    ]
    nodes = {rank["rank"]: rank["node"] for rank in ranks_wire(card)}
    assert nodes == {**dict.fromkeys(range(4), "gpu1"), **dict.fromkeys(range(4, 8), "gpu2")}


def test_nodes_are_known_from_the_handle_and_the_placement() -> None:
    early = job()
    placed = replace(early, placement=(Placement(node="a"), Placement(node="b")))
    assert [node.name for node in describe(placed).nodes] == ["a", "b"]
    bound = replace(placed, handle=Handle(kind="ssh", data={"nodes": ["c", "d"]}))
    assert [node.name for node in describe(bound).nodes] == ["c", "d"]
    assert describe(job(nodes=1)).nodes == ()


def test_each_launcher_has_a_log_of_its_own_after_those_of_the_ranks() -> None:
    view = LogView()
    for number in (0, 5, LAUNCHER, LAUNCHER - 1):
        view.feed(number, 0, b"the same line\n")
    snapshot = view.snapshot()
    assert [log.rank for log in snapshot.ranks] == [0, 5, LAUNCHER, LAUNCHER - 1]
    assert [log.same_as_first for log in snapshot.ranks] == [False, True, False, False]
    text = render_text(_with((LIVE, SILENT)), snapshot)
    assert "launcher: " in text
    assert "launcher of node 1: " in text


def test_all_of_it_in_lines() -> None:
    found = _with((LIVE, SILENT))
    assert found.seen is not None
    seen = replace(found.seen, attempt=2, restarts=(RESTART,), waiting="waiting for gpu2")
    lines = job_lines(replace(found, seen=seen))
    assert lines[1] == "  on      lab, 2 nodes x 4 ranks"
    assert "  attempt 2 of 4" in lines
    (again,) = [line for line in lines if line.startswith("  again")]
    assert again.endswith(", on gpu1: node gpu2 was lost")
    assert "  waits   waiting for gpu2" in lines
    assert "  node    gpu1 is well" in lines
    assert any(line.startswith("  node    gpu2 does not answer (timed out), si") for line in lines)
