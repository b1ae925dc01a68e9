"""``gpus``: what the GPUs of pools, or of a job, do now; once, or every second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from jupyter_aiinfra.commands.context import Context, FollowsGpus
from jupyter_aiinfra.commands.gpufollow import follow, readings_of
from jupyter_aiinfra.commands.group import complete_pool_or_job
from jupyter_aiinfra.commands.recording import seconds_of, write_trace
from jupyter_aiinfra.errors import (
    AiInfraError,
    JobNotFound,
    PoolNotFound,
    UsageError,
    did_you_mean,
)
from jupyter_aiinfra.telemetry import Frame, GpuReading, GpuView, NodeState, Scope

if TYPE_CHECKING:
    from jupyter_aiinfra.engine import Engine

__all__ = ["GPU_COLUMNS", "gpu_rows", "gpus", "gpus_note", "gpus_value"]

GPU_COLUMNS: Final = ("node", "GPU", "model", "util", "memory", "power", "temp", "used by")
_NAME_LENGTH: Final = 18
_GONE: Final = "lost"
_UNKNOWN: Final = "n/a"

_Readings = AsyncGenerator[list[tuple[str, Frame | str]], None]


def gpu_rows(pools: Sequence[tuple[str, Frame | str]]) -> list[tuple[str, ...]]:
    """Return a row for each GPU, and for each node without one, for :data:`GPU_COLUMNS`.

    Parameters
    ----------
    pools
        Each with its newest frame, or with why there is none.
    """
    rows: list[tuple[str, ...]] = []
    for pool, frame in pools:
        if isinstance(frame, str):
            rows.append((pool, "", "", "", "", "", "", frame))
            continue
        for number, node in enumerate(frame.nodes):
            name = node.name if len(pools) == 1 else f"{pool}/{node.name}"
            mine = [gpu for gpu in frame.gpus if gpu.node == number]
            rows += [_gpu_row(name, gpu, frame.reading(gpu), node.state) for gpu in mine]
            if not mine:
                rows.append(_node_row(name, frame, number))
    return rows


def _gpu_row(
    name: str, gpu: GpuView, reading: GpuReading | None, state: NodeState
) -> tuple[str, ...]:
    index = "?" if gpu.index is None else str(gpu.index)
    # A slice stands below its GPU, and says so.
    label = f"  slice {index}" if gpu.parent is not None else index
    model = gpu.name.removeprefix("NVIDIA ")[:_NAME_LENGTH]
    if reading is None or reading.lost:
        said = _GONE if gpu.lost else state.value
        return name, label, model, said, "", "", "", _used_by(gpu)
    used, total = reading.memory_used_bytes, reading.memory_total_bytes
    memory = _UNKNOWN if used is None else f"{_gib(used)}/{_gib(total)}"
    return (
        name,
        label,
        model,
        _number(reading.utilization_percent, " %"),
        memory,
        _of(reading.power_watts, reading.power_limit_watts, " W"),
        _number(reading.temperature_celsius, " °C"),
        _used_by(gpu),
    )


def _node_row(name: str, frame: Frame, number: int) -> tuple[str, ...]:
    node = frame.nodes[number]
    sample = frame.samples.get(node.name)
    if sample is None:
        return name, "", "", node.state.value, "", "", "", node.problem
    machine = sample.node
    cores = "?" if machine.cpu_count is None else str(machine.cpu_count)
    used, total = machine.memory_used_bytes, machine.memory_total_bytes
    memory = _UNKNOWN if used is None else f"{_gib(used)}/{_gib(total)}"
    # A job may have none on a node that has some.
    model = "no GPU" if not node.gpus else "no GPU of it"
    return name, "", model, _number(machine.cpu_percent, " %"), memory, "", "", f"{cores} CPUs"


def _used_by(gpu: GpuView) -> str:
    said = []
    for holder in gpu.holders:
        ranks = ",".join(map(str, holder.ranks))
        said.append(f"{holder.job}:{ranks}" if ranks else f"{holder.job} (leased)")
    others = [each for each in gpu.processes or () if each.job is None]
    said += [f"{each.user or '?'} {each.pid}" for each in others]
    return " ".join(said)


def _number(value: float | None, unit: str) -> str:
    return _UNKNOWN if value is None else f"{value:.0f}{unit}"


def _of(value: float | None, limit: float | None, unit: str) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value:.0f}{unit}" if limit is None else f"{value:.0f}/{limit:.0f}{unit}"


def _gib(count: int | None) -> str:
    return "?" if count is None else f"{count / (1 << 30):.3g}G"


def gpus_note(pools: Sequence[tuple[str, Frame | str]]) -> str:
    """Return one line on all of them: how many are in use, and how busy."""
    frames = [frame for _, frame in pools if isinstance(frame, Frame)]
    found = [(frame, gpu) for frame in frames for gpu in frame.gpus if gpu.parent is None]
    problems = list(
        dict.fromkeys(
            problem for frame in frames for node in frame.nodes for problem in node.problems
        )
    )
    if not found:
        said = "no GPU"
    else:
        busy = sum(1 for frame, gpu in found if _is_busy(gpu, frame.reading(gpu)))
        readings = [frame.reading(gpu) for frame, gpu in found if not gpu.lost]
        used = [
            each.utilization_percent
            for each in readings
            if each is not None and each.utilization_percent is not None
        ]
        memory = sum(each.memory_used_bytes or 0 for each in readings if each is not None)
        said = f"{busy}/{len(found)} GPUs in use"
        if used:
            said += f", {sum(used) / len(used):.0f} % busy"
        said += f", {_gib(memory)} of memory"
    return "; ".join([said, *problems])


def _is_busy(gpu: GpuView, reading: GpuReading | None) -> bool:
    if gpu.holders or gpu.processes:
        return True
    return reading is not None and not reading.lost and (reading.utilization_percent or 0) > 0


def gpus_value(pools: Sequence[tuple[str, Frame | str]]) -> list[dict[str, Any]]:
    """Return all that is known, for a program."""
    found: list[dict[str, Any]] = []
    for pool, frame in pools:
        if isinstance(frame, str):
            found.append({"pool": pool, "problem": frame, "nodes": []})
            continue
        nodes = []
        for number, node in enumerate(frame.nodes):
            sample = frame.samples.get(node.name)
            nodes.append(
                {
                    "name": node.name,
                    "state": node.state.value,
                    "problem": node.problem,
                    "problems": list(node.problems),
                    "machine": None if sample is None else asdict(sample.node),
                    "gpus": [
                        {
                            **_plain(frame.reading(gpu)),
                            "uuid": gpu.uuid,
                            "name": gpu.name,
                            "index": gpu.index,
                            "holders": [asdict(holder) for holder in gpu.holders],
                        }
                        for gpu in frame.gpus
                        if gpu.node == number
                    ],
                }
            )
        found.append({"pool": pool, "problem": "", "at": frame.at, "nodes": nodes})
    return found


def _plain(reading: GpuReading | None) -> dict[str, Any]:
    return {} if reading is None else asdict(reading)


# --- the command ---------------------------------------------------------------------------------


@click.command("gpus", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("what", metavar="[POOL|JOB]", required=False, shell_complete=complete_pool_or_job)
@click.option("--watch", "-w", is_flag=True, help="draw it again every second, until Ctrl+C")
@click.option("--record", metavar="FILE", help="keep what the nodes of POOL say, as a trace")
@click.option("--for", "length", metavar="TIME", help="for so long: 60s, 5m, 1h (until Ctrl+C)")
@click.option("--anonymous", is_flag=True, help="with other names of users, commands and nodes")
@click.pass_obj
def gpus(
    context: Context,
    what: str | None,
    *,
    watch: bool,
    record: str | None,
    length: str | None,
    anonymous: bool,
) -> None:
    """Show what GPUs do now: of all pools, of one, or those of a job; in a notebook, live.

    \b
    Examples:
      gpus
      gpus here --watch
      gpus 1mz4k
      gpus lab --record lab.jsonl.gz --for 60s
    """  # noqa: D301 - click keeps the lines below its \b
    if record is None and (length is not None or anonymous):
        raise UsageError("--for and --anonymous are of --record FILE", option="--record")
    engine = context.session.engine
    scopes = _scopes(engine, what)
    if not scopes:
        raise UsageError(
            "no pool is attached yet", hint="attach this machine: %pool attach here --kind local"
        )
    if record is not None:
        _record(context, scopes, record, length=length, anonymous=anonymous)
        return
    if watch:
        _watch(context, scopes)
        return
    if isinstance(context.surface, FollowsGpus) and follow(
        context.session,
        context.surface,
        scopes,
        columns=GPU_COLUMNS,
        rows=gpu_rows,
        note=gpus_note,
    ):
        return
    pools = context.session.run(_look(engine, scopes))
    context.surface.table(GPU_COLUMNS, gpu_rows(pools), empty="no GPU")
    context.surface.text(gpus_note(pools))
    context.surface.value(gpus_value(pools))


def _scopes(engine: Engine, what: str | None) -> list[tuple[str, Scope]]:
    """Return what is meant, each by the name of its pool."""
    names = [record.name for record in engine.store.list_pools()]
    if what is None:
        return [(name, Scope(pool=name)) for name in names]
    if what in names:
        return [(what, Scope(pool=what))]
    try:
        job = engine.store.get_job(what)
    except JobNotFound:
        hint = did_you_mean(what, names) or f"pools are {', '.join(names) or 'none'}"
        raise UsageError(f"{what!r} is no pool, and no job", hint=hint) from None
    return [(job.pool, Scope(job=job.id))]


async def _look(
    engine: Engine, scopes: Sequence[tuple[str, Scope]]
) -> list[tuple[str, Frame | str]]:
    async def one(name: str, scope: Scope) -> tuple[str, Frame | str]:
        try:
            return name, await engine.telemetry.latest(scope)
        except (AiInfraError, PoolNotFound) as error:
            if len(scopes) == 1:
                raise
            return name, error.message

    return list(await asyncio.gather(*(one(name, scope) for name, scope in scopes)))


def _record(
    context: Context,
    scopes: Sequence[tuple[str, Scope]],
    path: str,
    *,
    length: str | None,
    anonymous: bool,
) -> None:
    if len(scopes) != 1 or scopes[0][1].pool is None:
        names = ", ".join(name for name, _ in scopes)
        raise UsageError("a trace is of one pool", hint=f"name it: {names}", option="--record")
    seconds = None if length is None else seconds_of(length)
    target = Path(path).expanduser()
    write_trace(context, scopes[0][0], target, seconds=seconds, anonymous=anonymous)


def _watch(context: Context, scopes: Sequence[tuple[str, Scope]]) -> None:
    session = context.session
    frames = readings_of(session.engine, scopes)
    with context.surface.live() as live:
        try:
            while True:
                # A coroutine of our own: a plain `__anext__` is no coroutine to a loop.
                pools = session.run(_next(frames))
                note = f"{gpus_note(pools)}; Ctrl+C ends this"
                live.show(GPU_COLUMNS, gpu_rows(pools), below=note, value=gpus_value(pools))
        except KeyboardInterrupt:
            return  # how it ends
        finally:
            session.run(_close(frames))


async def _next(frames: _Readings) -> list[tuple[str, Frame | str]]:
    return await frames.__anext__()


async def _close(frames: _Readings) -> None:
    await frames.aclose()
