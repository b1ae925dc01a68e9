"""Who may go on when a job's nodes do not all hear each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.node.gang import may_go_on

MEMBERS = st.sets(st.integers(0, 20), min_size=1, max_size=12)


@given(members=MEMBERS, data=st.data())
def test_of_parts_that_do_not_hear_each_other_at_most_one_goes_on(
    members: set[int], data: st.DataObject
) -> None:
    side = {slot: data.draw(st.integers(0, 3)) for slot in members}
    parts = [{slot for slot in members if side[slot] == part} for part in range(4)]
    going = [p for p in parts if may_go_on(p, members, fewest=0, restarts_left=1)]
    assert len(going) <= 1


@given(members=MEMBERS, data=st.data())
def test_more_nodes_never_forbid_what_fewer_may(members: set[int], data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.sampled_from(sorted(members))))
    if may_go_on(kept, members, fewest=1, restarts_left=1):
        assert may_go_on(members, members, fewest=1, restarts_left=1)
        more = kept | data.draw(st.sets(st.sampled_from(sorted(members))))
        assert may_go_on(more, members, fewest=1, restarts_left=1)


@given(members=MEMBERS, strangers=MEMBERS)
def test_who_was_no_member_does_not_count(members: set[int], strangers: set[int]) -> None:
    others = strangers - members
    assert not may_go_on(others, members, fewest=0, restarts_left=1)
    for kept in (members, set(sorted(members)[:1])):
        told = may_go_on(kept, members, fewest=0, restarts_left=1)
        assert may_go_on(kept | others, members, fewest=0, restarts_left=1) == told


@given(members=MEMBERS, fewest=st.integers(0, 13), left=st.integers(-1, 2))
def test_too_few_nodes_and_no_restart_left_both_forbid_it(
    members: set[int], fewest: int, left: int
) -> None:
    allowed = may_go_on(members, members, fewest=fewest, restarts_left=left)
    assert allowed == (len(members) >= fewest and left > 0)


def test_half_of_the_nodes_go_on_where_the_lowest_is() -> None:
    def goes_on(*kept: int) -> bool:
        return may_go_on(kept, [0, 1, 2, 3], fewest=1, restarts_left=1)

    assert goes_on(0, 3)
    assert not goes_on(1, 2)
    assert goes_on(1, 2, 3)
    assert not goes_on(0)
