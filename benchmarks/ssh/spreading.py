"""What a launch costs beside a loop of ssh as nodes become more: a program that does nothing."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn
from benchmarks.ssh.bench import Bench, names_of, open_bench, wait_for
from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.model import JobKind, JobSpec

__all__ = ["spread_out"]

_NODES: Final = (2, 4, 8, 16)
_SECONDS: Final = 120.0
_MARK: Final = "begun"
_SCRIPT: Final = f"date +%s.%N > $HOME/{_MARK}.part && mv $HOME/{_MARK}.part $HOME/{_MARK}"


def spread_out(run: Run) -> Sequence[Figure]:
    """Time until the script of every node runs, ours and a loop of ssh, on ever more nodes."""
    taken: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {}
    with open_bench(run, max(_NODES)) as bench, bench.session() as session:
        for count in _NODES:
            names = names_of(count)
            pool = f"on{count}"
            session.run(session.engine.attach(pool, kind="ssh", options=bench.options(names)))
            _ours(bench, session, pool, names)  # byte code on the hosts, and what is imported late
            taken[count] = in_turn(
                run,
                f"{count} nodes",
                ours=lambda: _ours(bench, session, pool, names),  # noqa: B023 - within this round
                raw=lambda: _raw(bench, names),  # noqa: B023
            )
    return [*(_figure(count, *series) for count, series in taken.items()), _growth(taken)]


def _ours(bench: Bench, session: Session, pool: str, names: Sequence[str]) -> float:
    """Launch the program as a cell's is: the nodes are asked, then the job is given to them."""
    engine = session.engine
    spec = JobSpec(
        kind=JobKind.TRAIN,
        name="spread",
        argv=("/bin/sh", "-c", _SCRIPT),
        nodes=len(names),
        verify_world=False,
    )
    _forget(bench, names)
    begun = time.time()
    session.run(engine.nodes(pool))
    job = session.run(engine.launch(pool, spec, Bundle(files=())))
    took = _all_began(bench, names) - begun
    deadline = time.monotonic() + _SECONDS
    while not session.run(engine.refresh(job.id)).state.final:
        if time.monotonic() > deadline:
            raise RuntimeError(f"job {job.id} did not end within {_SECONDS:g} s")
        time.sleep(0.1)
    session.run(engine.remove(job.id))
    return took


def _raw(bench: Bench, names: Sequence[str]) -> float:
    _forget(bench, names)
    begun = time.time()
    running = [
        subprocess.Popen(bench.ssh(name, _SCRIPT), stdin=subprocess.DEVNULL) for name in names
    ]
    for each in running:
        if each.wait(_SECONDS):
            raise RuntimeError(f"ssh ended with status {each.returncode}")
    return _all_began(bench, names) - begun


def _forget(bench: Bench, names: Sequence[str]) -> None:
    for name in names:
        (bench.hosts[name].home / _MARK).unlink(missing_ok=True)


def _all_began(bench: Bench, names: Sequence[str]) -> float:
    """Return when the last of the scripts began, once all have."""
    marks = [bench.hosts[name].home / _MARK for name in names]
    wait_for(lambda: all(mark.exists() for mark in marks), "the scripts of all nodes")
    return max(float(mark.read_text(encoding="ascii")) for mark in marks)


def _figure(count: int, ours: tuple[float, ...], raw: tuple[float, ...]) -> Figure:
    return Figure(
        name=f"launch of a script on {count} nodes",
        unit="s",
        ours=ours,
        raw=raw,
        judged=Judged.DIFFERENCE,
        note="until the script of the last node runs, in a session with the pool attached; raw is "
        "`ssh HOST SCRIPT` for all hosts at once. All hosts share this machine's cores."
        if count == min(_NODES)
        else "",
    )


def _growth(taken: Mapping[int, tuple[tuple[float, ...], tuple[float, ...]]]) -> Figure:
    few, many = min(taken), max(taken)

    def a_node(count: int) -> tuple[float, ...]:
        ours, raw = taken[count]
        return tuple((a - b) / count for a, b in zip(ours, raw, strict=True))

    return Figure(
        name=f"launch overhead a node, {many} nodes against {few}",
        unit="s",
        ours=a_node(many),
        raw=a_node(few),
        goal=Goal(limit=1.0),
        note=f"ours less raw of the rows above, by the number of nodes: on {many} nodes (ours) and "
        f"on {few} (raw). Below 1 is sublinear.",
    )
