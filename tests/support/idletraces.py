"""Traces of jobs that use their GPUs in all kinds of ways, and what the idle policy makes of them.

``python -m tests.support.idletraces`` prints the table of ``docs/guide/budgets.md``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jupyter_aiinfra.governance.idle import (
    BUCKET_SECONDS,
    Heartbeat,
    IdleVerdict,
    Pulse,
    judge_idle,
)
from jupyter_aiinfra.pools.made import MadeCluster
from jupyter_aiinfra.pools.traces import TraceWriter, read_trace
from jupyter_aiinfra.telemetry.sample import GpuReading, parse_sample

__all__ = ["STOP_SECONDS", "TRACES", "WARN_SECONDS", "Outcome", "Trace", "outcome", "table"]

MINUTE, HOUR = 60, 3600
WARN_SECONDS, STOP_SECONDS = 15 * MINUTE, 30 * MINUTE
_LENGTH = 150 * MINUTE
_LOOK_SECONDS = 60
_LATE_SECONDS = 70  # readings are in the store once a minute
_SIGN_SECONDS = 60  # and so are signs of life
_GIB = 1 << 30


@dataclass(frozen=True)
class Gpu:
    """What the GPUs of a job do in one second: the busiest of them, and the least busy."""

    util: float = 0.0
    least: float | None = None
    memory: float = 40 * _GIB
    bus: float | None = 0.0
    power: float = 72.0


@dataclass(frozen=True)
class Life:
    """What a job does in one second: whether it says anything, makes a step, works."""

    says: bool = False
    steps: bool = False
    works: bool = False


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One job, second by second; ``wasted`` is whether it should be stopped.

    ``signs`` false is a job of which no signs of life are known, ``read`` whether its GPUs were
    read in a second.
    """

    name: str
    gpu: Callable[[int], Gpu]
    life: Callable[[int], Life]
    wasted: bool = False
    step_seconds: float | None = None
    signs: bool = True
    read: Callable[[int], bool] = lambda _second: True
    recorded: bool = False


# --- how jobs behave -----------------------------------------------------------------------------


def _noise(number: int) -> float:
    """Return a number from 0 to 1, the same for the same."""
    return (number * 2654435761 & 0xFFFFFFFF) / 0xFFFFFFFF


def _trains(second: int, *, watts: float = 560.0) -> Gpu:
    wave = _noise(second // 3)
    return Gpu(util=92 + 7 * wave, least=80 + 15 * wave, bus=2e9, power=watts + 60 * wave)


def _stepping(every: int = 1, says: int = 10) -> Callable[[int], Life]:
    return lambda second: Life(
        says=second % says == 0, steps=second % every == 0, works=second % 20 == 0
    )


def _during(
    inside: Callable[[int], bool], what: Gpu | Callable[[int], Gpu]
) -> Callable[[int], Gpu]:
    """Train, but for some seconds."""

    def gpu(second: int) -> Gpu:
        if not inside(second):
            return _trains(second)
        return what(second) if callable(what) else what

    return gpu


def _silent(
    inside: Callable[[int], bool], *, works: bool = False, says: int = 0
) -> Callable[[int], Life]:
    """Say something and make steps, but for some seconds."""

    def life(second: int) -> Life:
        if not inside(second):
            return Life(says=second % 10 == 0, steps=True, works=second % 20 == 0)
        return Life(says=bool(says) and second % says == 0, works=works and second % 20 == 0)

    return life


def _after(minutes: int) -> Callable[[int], bool]:
    return lambda second: second >= minutes * MINUTE


def _between(first: int, last: int) -> Callable[[int], bool]:
    return lambda second: first * MINUTE <= second < last * MINUTE


def _every(minutes: int, lasts: int) -> Callable[[int], bool]:
    return lambda second: second > minutes * MINUTE and second % (minutes * MINUTE) < lasts * MINUTE


def _bursts(period: int, busy: int, util: float) -> Callable[[int], Gpu]:
    return lambda second: (
        Gpu(util=util, power=260, bus=3e9) if second % period < busy else Gpu(power=90)
    )


def _spins(second: int) -> Gpu:
    return Gpu(util=100, least=100, power=118 + _noise(second // 2) * 4, bus=2e5)


def _small_model(second: int) -> Gpu:
    wave = _noise(second // 4)
    return Gpu(util=100, least=96, power=170 + 90 * wave, bus=3e6)


def _ramp(second: int) -> Gpu:
    return Gpu(memory=min(60.0, 1 + second / 45) * _GIB, bus=2e7, power=85)


_NOTHING = Gpu()
_DEAD = Life()


def _made() -> Iterator[Trace]:
    """Yield what the GPUs of a simulated pool do, from a trace of it on disk as ``--record`` makes.

    Each begins with a minute of its own, so that what the readings say is all there is to go by.
    """
    kinds = {"train": 0, "starved": 1, "serve": 2}
    cluster = MadeCluster(nodes=3, gpus=1, seed=7, mig=0, began=0.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl.gz"
        _write_trace(path, cluster)
        trace = read_trace(path)
        for kind, node in kinds.items():
            name = cluster.nodes[node].name
            rows: list[Gpu | None] = []
            for second in range(_LENGTH):
                members = trace.members(name, float(second), reach=1.5)
                assert members is not None
                sample = parse_sample(f'{{"at":{second},{members}'.encode())
                rows.append(_first_gpu(sample.gpus))
            yield Trace(
                name=f"simulated pool: {kind}",
                gpu=lambda second, rows=rows: rows[second] or _NOTHING,  # type: ignore[misc]
                life=lambda _second: _DEAD,
                read=lambda second, rows=rows: rows[second] is not None,  # type: ignore[misc]
                recorded=True,
            )


def _write_trace(path: Path, cluster: MadeCluster) -> None:
    writer = TraceWriter(path, pool="simulated", nodes=list(cluster.nodes), recorded_at=0.0)
    for second in range(_LENGTH):
        for node in cluster.nodes:
            reading = cluster.reading(node.name, float(second))
            writer.add(node.name, float(second), reading)
    writer.close()


def _first_gpu(gpus: Sequence[GpuReading]) -> Gpu | None:
    gpu = gpus[0]
    if gpu.utilization_percent is None:
        return None
    return Gpu(
        util=gpu.utilization_percent,
        memory=float(gpu.memory_used_bytes or 0),
        bus=(gpu.pcie_rx_bytes_per_second or 0.0) + (gpu.pcie_tx_bytes_per_second or 0.0),
        power=gpu.power_watts or 0.0,
    )


TRACES: tuple[Trace, ...] = (
    Trace(name="steady training", gpu=_trains, life=_stepping()),
    Trace(
        name="input pipeline in bursts: 6 s of work in 2 min, a line each 10 min",
        gpu=_bursts(120, 6, 88),
        life=_stepping(every=120, says=600),
    ),
    Trace(
        name="starved input pipeline: 1 s at 9 % in 5 min, says nothing",
        gpu=_bursts(300, 1, 9),
        life=lambda second: Life(works=second % 20 == 0),
    ),
    Trace(
        name="long evaluation on GPUs: no step and no line for 70 min",
        gpu=_during(
            _between(40, 110), lambda s: Gpu(util=35 + s % 25, least=5, power=210 + s % 40)
        ),
        life=_silent(_between(40, 110)),
    ),
    Trace(
        name="evaluation of a small model: 100 %, little power, no step for 60 min",
        gpu=_during(_between(40, 100), _small_model),
        life=_silent(_between(40, 100)),
    ),
    Trace(
        name="long evaluation on CPUs: 70 min",
        gpu=_during(_between(40, 110), _NOTHING),
        life=_silent(_between(40, 110), works=True),
    ),
    Trace(
        name="rank 0 evaluates for 60 min, 7 GPUs wait",
        gpu=_during(_between(40, 100), Gpu(util=60, least=0, power=300)),
        life=_silent(_between(40, 100)),
    ),
    Trace(
        name="checkpoints: 12 min of each 40",
        gpu=_during(_every(40, 12), Gpu(bus=4e7)),
        life=_silent(_every(40, 12), works=True),
    ),
    Trace(
        name="checkpoint to a slow file server: 50 min, no line",
        gpu=_during(_between(40, 90), _NOTHING),
        life=_silent(_between(40, 90), works=True),
    ),
    Trace(
        name="download before the first step: 50 min",
        gpu=_during(_between(0, 50), Gpu(memory=0.5 * _GIB, power=62)),
        life=_silent(_between(0, 50), works=True),
    ),
    Trace(
        name="weights are loaded for 45 min",
        gpu=_during(_between(0, 45), _ramp),
        life=_silent(_between(0, 45)),
    ),
    Trace(
        name="waits for data, and says so each minute: 60 min",
        gpu=_during(_between(40, 100), _NOTHING),
        life=_silent(_between(40, 100), says=60),
    ),
    Trace(
        name="sweep: 20 min of nothing between trials",
        gpu=_during(_every(50, 20), _NOTHING),
        life=_silent(_every(50, 20)),
    ),
    Trace(
        name="endpoint: a request each 20 s",
        gpu=_bursts(20, 1, 14),
        life=lambda _second: _DEAD,
    ),
    Trace(
        name="hung collective call, of a job that reports steps",
        gpu=_during(_after(60), _spins),
        life=_silent(_after(60)),
        wasted=True,
        step_seconds=1.0,
    ),
    Trace(
        name="hung collective call, of a job that reports none",
        gpu=_during(_after(60), _spins),
        life=lambda second: Life(says=second < HOUR and second % 10 == 0, works=True),
    ),
    Trace(
        name="deadlocked data loader",
        gpu=_during(_after(50), _NOTHING),
        life=_silent(_after(50)),
        wasted=True,
    ),
    Trace(
        name="script at a breakpoint",
        gpu=_during(_after(10), Gpu(memory=11 * _GIB)),
        life=_silent(_after(10)),
        wasted=True,
    ),
    Trace(
        name="sleeps after its training",
        gpu=_during(_after(90), Gpu(memory=70 * _GIB)),
        life=_silent(_after(90)),
        wasted=True,
    ),
    Trace(
        name="nothing moves, and its node cannot be read for 20 min",
        gpu=_during(_after(60), _NOTHING),
        life=_silent(_after(60)),
        read=lambda second: not _between(80, 100)(second),
        wasted=True,
    ),
    Trace(
        name="nothing moves on GPUs, and signs of life are not known",
        gpu=_during(_after(60), _NOTHING),
        life=_silent(_after(60)),
        signs=False,
    ),
    *_made(),
)


# --- what comes of it ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the policy did with a trace: in which second it warned and stopped, and of what."""

    warned: int | None = None
    stopped: int | None = None
    verdict: IdleVerdict | None = None


def pulses_of(trace: Trace) -> list[Pulse]:
    """Return what the readings of a trace come to."""
    made = []
    step = int(BUCKET_SECONDS)
    for start in range(0, _LENGTH, step):
        some = [trace.gpu(s) for s in range(start, start + step) if trace.read(s)]
        if not some:
            continue
        buses = [each.bus for each in some if each.bus is not None]
        made.append(
            Pulse(
                at=float(start),
                utilization_most=max(each.util for each in some),
                utilization_least=min(
                    each.util if each.least is None else each.least for each in some
                ),
                memory_bytes=sum(each.memory for each in some) / len(some),
                bus_bytes=sum(buses) / len(buses) if buses else None,
                power_watts=sum(each.power for each in some) / len(some),
            )
        )
    return made


def beats_of(trace: Trace) -> list[Heartbeat]:
    """Return what is known of the job in each second: as late as the record may be."""
    said = worked = step = 0.0
    made = []
    shown = (0.0, 0.0)
    for second in range(_LENGTH):
        life = trace.life(second)
        said = float(second) if life.says or life.steps else said
        worked = float(second) if life.works else worked
        step = float(second) if life.steps else step
        shown = (
            said if said - shown[0] >= _SIGN_SECONDS else shown[0],
            worked if worked - shown[1] >= _SIGN_SECONDS else shown[1],
        )
        made.append(
            Heartbeat(
                began_at=0.0,
                said_at=shown[0] if trace.signs else None,
                worked_at=shown[1] if trace.signs else None,
                step_at=step or None,
                step_seconds=trace.step_seconds,
            )
        )
    return made


def outcome(trace: Trace) -> Outcome:
    """Return what the policy does, which looks once a minute until it has stopped the job."""
    pulses, beats = pulses_of(trace), beats_of(trace)
    warned: int | None = None
    found: IdleVerdict | None = None
    for now in range(_LOOK_SECONDS, _LENGTH, _LOOK_SECONDS):
        known = [each for each in pulses if each.at < now - _LATE_SECONDS]
        verdict = judge_idle(known, beats[now], seconds=WARN_SECONDS, now=now)
        if verdict.state in ("busy", "unknown"):
            continue
        if warned is None:
            warned, found = now, verdict
        if verdict.wasteful:
            stop = judge_idle(known, beats[now], seconds=STOP_SECONDS, now=now)
            if stop.wasteful:
                return Outcome(warned=warned, stopped=now, verdict=stop)
    return Outcome(warned=warned, verdict=found)


def table() -> str:
    """Return the table of the documentation."""
    lines = ["| trace | what was done | because |", "| --- | --- | --- |"]
    for trace in TRACES:
        done = outcome(trace)
        what = "spared"
        if done.stopped is not None:
            assert done.verdict is not None
            assert done.verdict.since is not None
            after = (done.stopped - done.verdict.since) / MINUTE
            what = f"stopped after {after:.0f} min"
        elif done.warned is not None:
            what = "spared, and told of"
        why = "GPUs compute" if done.verdict is None else done.verdict.why
        lines.append(f"| {trace.name} | {what} | {why} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201
