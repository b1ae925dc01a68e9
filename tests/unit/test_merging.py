"""What several nodes say of their one job, whoever of them is silent, in whatever order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.model import Health, JobState
from jupyter_aiinfra.pools.merging import NodeWord, merged_observation

FINAL = ("succeeded", "failed", "cancelled", "lost")
GOING = ("starting", "running")


def word(state: str, **told: Any) -> dict[str, Any]:
    return {"state": state, "attempt": 1, "ranks": [], "supervised": True, **told}


def merged(*words: NodeWord) -> Any:
    names = [f"gpu{slot}" for slot in range(len(words))]
    return merged_observation(words, names=names, seen_at=1.0)


SILENCE = st.builds(Unreachable, st.sampled_from(["gpu does not answer", "cut"]))
ABSENT = st.just(word("absent"))
NEVER = st.just(word("failed", never=True, reason="the job was never started on its node"))
UNDER_WAY = st.builds(
    lambda state, attempt: word(state, attempt=attempt), st.sampled_from(GOING), st.integers(1, 4)
)
ENDED = st.builds(
    lambda state, attempt, certain: word(state, attempt=attempt, certain=certain, reason="why"),
    st.sampled_from(FINAL),
    st.integers(1, 4),
    st.booleans(),
)
WORDS = st.lists(st.one_of(SILENCE, ABSENT, NEVER, UNDER_WAY, ENDED), min_size=1, max_size=5)


def ended_for_certain(each: NodeWord) -> bool:
    if isinstance(each, Unreachable) or each.get("never"):
        return False
    return each["state"] in FINAL and bool(each.get("certain", True))


@given(WORDS)
def test_silence_alone_never_ends_a_job(words: list[NodeWord]) -> None:
    silent = [each for each in words if isinstance(each, Unreachable)]
    assume(silent)
    try:
        seen = merged(*words)
    except Unreachable:
        return
    # Whatever ends it was said by a node that saw the end, and is not a guess about the silent.
    assert not seen.state.final or any(ended_for_certain(each) for each in words)


@given(WORDS)
def test_an_end_that_is_certain_wins(words: list[NodeWord]) -> None:
    certain = [each for each in words if ended_for_certain(each)]
    assume(certain)
    newest = max(each["attempt"] for each in certain if not isinstance(each, Unreachable))
    seen = merged(*words)
    states = {
        each["state"]
        for each in certain
        if not isinstance(each, Unreachable) and each["attempt"] == newest
    }
    assert seen.state.value in states


@given(WORDS)
def test_the_order_of_the_nodes_does_not_matter(words: list[NodeWord]) -> None:
    def told(order: tuple[NodeWord, ...]) -> tuple[str, bool]:
        try:
            seen = merged(*order)
        except Unreachable:
            return "unreachable", False
        return ("final" if seen.state.final else "going"), bool(seen.attempt)

    orders = itertools.islice(itertools.permutations(words), 24)
    assert len({told(order) for order in orders}) == 1


@given(WORDS, st.data())
def test_who_falls_silent_changes_no_end_that_another_has_seen(
    words: list[NodeWord], data: st.DataObject
) -> None:
    certain = [slot for slot, each in enumerate(words) if ended_for_certain(each)]
    assume(certain)
    kept = data.draw(st.sampled_from(certain))
    fewer = [each if slot == kept else Unreachable("cut") for slot, each in enumerate(words)]
    assert merged(*fewer).state.final


@given(WORDS)
def test_while_the_leader_says_it_runs_a_node_that_gave_up_alone_does_not_end_it(
    words: list[NodeWord],
) -> None:
    doubtful = word("failed", certain=False, reason="node gpu0 was lost")
    running = word("running", attempt=2, led=True)
    others = [each for each in words if not ended_for_certain(each)]
    seen = merged(running, doubtful, *others)
    assert not seen.state.final


def test_nobody_answers() -> None:
    with pytest.raises(Unreachable, match="gpu0, gpu1 do not answer") as found:
        merged(Unreachable("cut"), Unreachable("cut"))
    assert found.value.hint
    with pytest.raises(Unreachable, match=r"^gpu0: cut$"):
        merged(Unreachable("cut"))
    with pytest.raises(Unreachable, match=r"^gpu0 is off$"):
        merged(Unreachable("gpu0 is off"))


def test_a_silent_node_is_told_of_beside_the_job_that_goes_on() -> None:
    seen = merged(word("running"), Unreachable("gpu1 is off"))
    assert seen.state is JobState.RUNNING
    assert [node.health for node in seen.nodes] == [Health.LIVE, Health.UNREACHABLE]
    assert seen.nodes[1].reason == "gpu1 is off"


def test_a_node_that_the_others_have_lost_stays_lost_when_we_do_not_reach_it_either() -> None:
    nodes = [
        {"name": "gpu0", "health": "live", "reason": None},
        {"name": "gpu1", "health": "lost", "reason": "silent"},
    ]
    seen = merged(word("failed", nodes=nodes, reason="node gpu1 was lost"), Unreachable("cut"))
    assert seen.state is JobState.FAILED
    assert [node.health for node in seen.nodes] == [Health.LIVE, Health.LOST]
    assert seen.nodes[1].reason == "silent"


def test_the_ranks_are_named_by_seat() -> None:
    ranks = [{"rank": 0, "seat": 2, "node": "gpu1"}]
    seen = merged(word("running", ranks=[{"rank": 1, "seat": 0}]), word("running", ranks=ranks))
    assert [rank.rank for rank in seen.ranks] == [0, 2]


def test_a_launch_that_ended_half_way_is_no_lost_job() -> None:
    never = word("failed", never=True, reason="the job was never started on its node")
    for words in ((word("absent"), never), (never, word("absent"))):
        seen = merged(*words)
        assert (seen.state, seen.reason) == (JobState.FAILED, never["reason"])
    assert merged(word("absent"), word("absent")).state is JobState.LOST
