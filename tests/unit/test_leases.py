from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.leases import (
    IDLE_BYTES,
    decide,
    in_order,
    ordinal,
    outside_use,
    outsiders,
    place_on_nodes,
)
from jupyter_aiinfra.model import Gpu, GpuProcess, Health, Job, JobState, Lease, Node, Placement
from tests.support.engines import a_spec

ALICE = GpuProcess(pid=123, user="alice", command="python", memory_bytes=int(20.1 * (1 << 30)))


def a_gpu(name: str, index: int = 0, **values: Any) -> Gpu:
    return Gpu(uuid=f"GPU-{name}", name="H100", index=index, **values)


def a_node(name: str, gpus: int, *, used: Sequence[int] = ()) -> Node:
    return Node(
        name=name,
        address=f"10.0.0.{name}",
        gpus=tuple(
            a_gpu(f"{name}{index}", index, used_by=(ALICE,) if index in used else ())
            for index in range(gpus)
        ),
    )


def a_job(name: str, gpus: int = 1, *, at: float = 0.0, **spec: Any) -> Job:
    return Job(
        id=name,
        pool="lab",
        spec=a_spec(gpus=gpus, **spec),
        state=JobState.QUEUED,
        created_at=at,
    )


def a_lease(gpu: str, job: str = "other", *, shared: bool = False, node: str = "a") -> Lease:
    return Lease(pool="lab", node=node, gpu=f"GPU-{gpu}", job=job, shared=shared)


def placed(
    nodes: Sequence[Node], leases: Sequence[Lease], *jobs: Job
) -> dict[str, dict[str, list[str]]]:
    grants, _ = decide(nodes, leases, jobs)
    return {
        grant.job: {
            place.node: [uuid.removeprefix("GPU-") for uuid in place.gpus]
            for place in grant.placement
        }
        for grant in grants
    }


def waiting(nodes: Sequence[Node], leases: Sequence[Lease], *jobs: Job) -> dict[str, str]:
    return {turn.job: turn.reason for turn in decide(nodes, leases, jobs)[1]}


def test_a_job_gets_the_first_gpus_that_are_free() -> None:
    assert placed([a_node("a", 4)], [a_lease("a0")], a_job("j", 2)) == {"j": {"a": ["a1", "a2"]}}


def test_a_job_gets_all_its_gpus_or_none() -> None:
    nodes = [a_node("a", 2)]
    assert placed(nodes, [a_lease("a0")], a_job("j", 2)) == {}
    assert waiting(nodes, [a_lease("a0")], a_job("j", 2)) == {
        "j": "waits for 2 GPUs; 1st in the queue"
    }


def test_the_nodes_with_least_to_spare_are_filled_first() -> None:
    nodes = [a_node("a", 8), a_node("b", 2), a_node("c", 2)]
    assert placed(nodes, [], a_job("j", 2, nodes=2)) == {
        "j": {"b": ["b0", "b1"], "c": ["c0", "c1"]}
    }
    leases = [a_lease(f"a{n}") for n in range(6)]
    assert placed(nodes, leases, a_job("j", 2)) == {"j": {"a": ["a6", "a7"]}}


def test_the_first_of_the_queue_is_not_overtaken() -> None:
    nodes = [a_node("a", 2)]
    large, small = a_job("large", 2, at=1.0), a_job("small", 1, at=2.0)
    assert placed(nodes, [a_lease("a0")], large, small) == {}
    assert waiting(nodes, [a_lease("a0")], small, large) == {
        "large": "waits for 2 GPUs; 1st in the queue",
        "small": "waits for 1 GPU; 2nd in the queue",
    }


def test_a_job_that_wants_no_gpu_waits_for_nobody() -> None:
    nodes = [a_node("a", 1), a_node("b", 0)]
    free = a_job("free", 0, at=2.0, nodes=2)
    assert placed(nodes, [a_lease("a0")], a_job("j", 1, at=1.0), free) == {
        "free": {"a": [], "b": []}
    }


def test_a_job_that_cannot_be_had_at_all_holds_up_nobody() -> None:
    nodes = [a_node("a", 2)]
    eight = a_job("eight", 8, at=1.0)
    pair = a_job("pair", 2, at=1.5, nodes=2)
    assert placed(nodes, [], eight, pair, a_job("j", 1, at=2.0)) == {"j": {"a": ["a0"]}}
    assert waiting(nodes, [], eight, pair) == {
        "eight": "wants 8 GPUs on a node, and none that answers has more than 2",
        "pair": "wants 2 GPUs on each of 2 nodes, and 1 of those that answer have as many",
    }
    assert waiting([], [], a_job("j")) == {
        "j": "wants 1 GPU on a node, and none that answers has more than 0"
    }


def test_fewer_nodes_are_accepted_down_to_the_least_asked_for() -> None:
    nodes = [a_node("a", 2), a_node("b", 2), a_node("c", 2)]
    elastic = a_job("j", 2, nodes=3, min_nodes=2)
    assert {*placed(nodes, [], elastic)["j"]} == {"a", "b", "c"}
    assert {*placed(nodes, [a_lease("b1")], elastic)["j"]} == {"a", "c"}
    assert {*placed(nodes[:2], [], elastic)["j"]} == {"a", "b"}
    leases = [a_lease("a0"), a_lease("b1", node="b")]
    assert waiting(nodes, leases, elastic) == {"j": "waits for 4 GPUs on 2 nodes; 1st in the queue"}


def test_a_node_that_does_not_answer_counts_for_nothing() -> None:
    gone = dataclasses.replace(a_node("b", 2), health=Health.UNREACHABLE)
    nodes = [a_node("a", 1), gone]
    assert placed(nodes, [], a_job("j", 1, nodes=2, min_nodes=1)) == {"j": {"a": ["a0"]}}
    assert placed(nodes, [], a_job("j", 0, nodes=2, min_nodes=1)) == {"j": {"a": []}}
    assert waiting(nodes, [], a_job("j", 2)) == {
        "j": "wants 2 GPUs on a node, and none that answers has more than 1"
    }


def test_what_outsiders_use_is_not_granted_and_named() -> None:
    assert placed([a_node("a", 2, used=[0])], [], a_job("j", 1)) == {"j": {"a": ["a1"]}}
    assert waiting([a_node("a", 2, used=[1])], [], a_job("j", 2)) == {
        "j": "waits for 2 GPUs; 1st in the queue; "
        "gpu1: GPU-a1 is used by PID 123 of alice (python), 20.1 GiB"
    }
    two = [a_node("a", 1, used=[0]), a_node("b", 1)]
    assert waiting(two, [], a_job("j", 1, nodes=2)) == {
        "j": "waits for 2 GPUs on 2 nodes; 1st in the queue; "
        "a gpu0: GPU-a0 is used by PID 123 of alice (python), 20.1 GiB"
    }


def test_processes_on_a_leased_gpu_are_the_jobs() -> None:
    node = a_node("a", 1, used=[0])
    assert outsiders([node], [a_lease("a0")]) == {}
    assert {*outsiders([node], [])} == {"GPU-a0"}
    leases = [a_lease("a0", shared=True)]
    assert placed([node], leases, a_job("j", share=True)) == {"j": {"a": ["a0"]}}


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        (a_gpu("0"), None),
        (a_gpu("0", memory_used_bytes=IDLE_BYTES - 1), None),
        (
            a_gpu("0", memory_used_bytes=3 << 30),
            "used by a process that cannot be seen from here, 3.0 GiB",
        ),
        (a_gpu("0", used_by=(GpuProcess(pid=7),)), "used by PID 7"),
        (
            a_gpu("0", used_by=(GpuProcess(pid=7, user="bo", memory_bytes=5 << 20), ALICE)),
            "used by PID 7 of bo, 5 MiB, and 1 more",
        ),
    ],
)
def test_who_uses_a_gpu(gpu: Gpu, said: str | None) -> None:
    assert outside_use(gpu) == said


def test_those_who_share_leave_what_is_free_to_others() -> None:
    nodes = [a_node("a", 3)]
    leases = [a_lease("a0"), a_lease("a2", shared=True)]
    assert placed(nodes, leases, a_job("j", 1, share=True)) == {"j": {"a": ["a2"]}}
    assert placed(nodes, leases, a_job("j", 2, share=True)) == {"j": {"a": ["a1", "a2"]}}
    assert placed(nodes, leases, a_job("j", 1)) == {"j": {"a": ["a1"]}}
    assert placed(nodes, leases, a_job("j", 2)) == {}


def test_a_pool_on_the_same_machine_counts() -> None:
    other = dataclasses.replace(a_lease("a0"), pool="another")
    assert placed([a_node("a", 1)], [other], a_job("j")) == {}


def test_a_job_without_gpus_goes_where_least_is_leased() -> None:
    nodes = [a_node("a", 2), a_node("b", 2)]
    assert place_on_nodes(nodes, a_job("j", 0), [a_lease("a0")]) == (Placement(node="b"),)
    assert place_on_nodes(nodes, a_job("j", 0, nodes=3)) == ()
    both = (Placement(node="a"), Placement(node="b"))
    assert place_on_nodes(nodes, a_job("j", 0, nodes=3, min_nodes=2)) == both


def test_the_order_of_turns() -> None:
    jobs = [
        a_job("late", at=3.0),
        a_job("b", at=1.0),
        a_job("a", at=1.0),
        a_job("urgent", at=9.0, priority=5),
        a_job("patient", at=0.0, priority=-1),
    ]
    assert [job.id for job in in_order(jobs)] == ["urgent", "a", "b", "late", "patient"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (21, "21st"), (112, "112th")],
)
def test_ordinals(number: int, text: str) -> None:
    assert ordinal(number) == text


# any situation

NODES = st.lists(st.integers(0, 4), max_size=4)
JOBS: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        gpus=st.integers(0, 3),
        nodes=st.integers(1, 3),
        few=st.integers(0, 2),
        share=st.booleans(),
        priority=st.integers(-1, 1),
        at=st.integers(0, 3),
    ),
    max_size=8,
)


@given(NODES, JOBS, st.data())
def test_what_is_granted_is_nobodys_and_in_order(
    sizes: list[int], wishes: list[dict[str, Any]], data: st.DataObject
) -> None:
    names = [f"{node}{gpu}" for node, size in enumerate(sizes) for gpu in range(size)]
    some = st.sets(st.sampled_from(names)) if names else st.just(set())
    used, mine, ours = data.draw(some), data.draw(some), data.draw(some)
    nodes = [
        a_node(str(node), size, used=[g for g in range(size) if f"{node}{g}" in used])
        for node, size in enumerate(sizes)
    ]
    leases = [a_lease(name, "x") for name in sorted(mine)]
    leases += [a_lease(name, "y", shared=True) for name in sorted(ours - mine)]
    jobs = [
        a_job(
            f"j{number}",
            wish["gpus"],
            at=float(wish["at"]),
            nodes=wish["nodes"],
            min_nodes=max(1, wish["nodes"] - wish["few"]),
            share=wish["share"],
            priority=wish["priority"],
        )
        for number, wish in enumerate(wishes)
    ]
    grants, turns = decide(nodes, leases, jobs)
    by_id = {job.id: job for job in jobs}

    # Each is told once: it starts or it waits.
    assert sorted([g.job for g in grants] + [t.job for t in turns]) == sorted(by_id)
    assert [turn.position for turn in turns] == list(range(1, len(turns) + 1))
    assert all(turn.reason for turn in turns)

    held: dict[str, list[bool]] = {lease.gpu: [lease.shared] for lease in leases}
    for grant in grants:
        job = by_id[grant.job]
        assert len({place.node for place in grant.placement}) == len(grant.placement)
        if job.spec.gpus:
            assert job.spec.min_nodes is not None
            assert job.spec.min_nodes <= len(grant.placement) <= job.spec.nodes
        for place in grant.placement:
            assert len(place.gpus) == len({*place.gpus}) == job.spec.gpus
            assert {*place.gpus} <= {gpu.uuid for gpu in nodes[int(place.node)].gpus}
            for gpu in place.gpus:
                # Never what outsiders use, and with others only where all of them share.
                assert gpu in held or gpu.removeprefix("GPU-") not in used
                held.setdefault(gpu, []).append(job.spec.share)
                assert len(held[gpu]) == 1 or all(held[gpu])

    # Who wants GPUs and starts has nobody ahead who only waits for GPUs.
    started = {grant.job for grant in grants}
    blocked = False
    for job in in_order(jobs):
        if job.spec.gpus:
            assert not (blocked and job.id in started)
            could = sum(len(node.gpus) >= job.spec.gpus for node in nodes)
            blocked |= job.id not in started and could >= (job.spec.min_nodes or 0)

    # And the same again gives the same.
    assert decide(nodes, leases, [*reversed(jobs)]) == (grants, turns)
