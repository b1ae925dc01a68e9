"""One sample of a node: everything its probe read at one moment. ``None`` is unknown, never 0.

A probe may be of another version, and its line may be damaged. What is not known here is left out,
a value that cannot be is unknown, and a line that is no sample is counted and costs nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "GpuReading",
    "LineReader",
    "NodeReading",
    "ProcessReading",
    "Sample",
    "parse_sample",
    "sample_line",
]

# A line is a few kB; what is this long without an end is no probe's.
_LONGEST_LINE: Final = 1 << 20
_MOST_GPUS: Final = 256
_MOST_PROCESSES: Final = 256
_TEXT_LENGTH: Final = 200


@dataclass(frozen=True, kw_only=True)
class ProcessReading:
    """A process that uses a GPU. ``job`` and ``seat`` say which rank of ours it belongs to."""

    pid: int
    memory_bytes: int | None = None
    user: str | None = None
    command: str | None = None
    job: str | None = None
    seat: int | None = None


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """One GPU, or one slice of one (``parent`` is its GPU then), at one moment.

    ``lost`` is one that the driver does not reach any more. ``throttle`` says what holds its clocks
    down, ``processes`` is ``None`` where they cannot be told.
    """

    uuid: str
    name: str = ""
    index: int | None = None
    parent: str | None = None
    lost: bool = False
    utilization_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_celsius: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttle: tuple[str, ...] | None = None
    pcie_rx_bytes_per_second: float | None = None
    pcie_tx_bytes_per_second: float | None = None
    nvlink_rx_bytes_per_second: float | None = None
    nvlink_tx_bytes_per_second: float | None = None
    ecc_errors: int | None = None
    xid: int | None = None
    encoder_percent: float | None = None
    decoder_percent: float | None = None
    processes: tuple[ProcessReading, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class NodeReading:
    """The machine around the GPUs at one moment."""

    cpu_percent: float | None = None
    cpu_count: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    disk_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    disk_read_bytes_per_second: float | None = None
    disk_write_bytes_per_second: float | None = None
    network_rx_bytes_per_second: float | None = None
    network_tx_bytes_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a probe read. ``at`` is the node's wall clock; ``problems`` says what it cannot read."""

    seq: int
    at: float
    node: NodeReading
    gpus: tuple[GpuReading, ...] = ()
    problems: tuple[str, ...] = ()


class LineReader:
    """Makes samples of a probe's output as it comes, however it is cut."""

    def __init__(self) -> None:
        self.damaged = 0
        """How many lines were none."""
        self._rest = b""

    def feed(self, data: bytes) -> list[Sample]:
        """Return the samples whose lines `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            self._rest = b""
            self.damaged += 1
        found = []
        for line in lines:
            if not line.strip():
                continue
            try:
                found.append(parse_sample(line))
            except ValueError:
                self.damaged += 1
        return found


def parse_sample(line: bytes) -> Sample:
    """Return the sample of a probe's line.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        data = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(data, Mapping):
        raise ValueError("a sample is an object")  # noqa: TRY004 - not a type, but bad input
    at = _number(data.get("at"))
    if at is None:
        raise ValueError("a sample without a time")
    found = data.get("gpus")
    gpus = [_gpu(each) for each in found[:_MOST_GPUS]] if isinstance(found, list) else []
    # Two with one UUID cannot be told apart: the first counts.
    known = {gpu.uuid: gpu for gpu in reversed(gpus) if gpu is not None}
    return Sample(
        seq=_whole(data.get("seq")) or 0,
        at=at,
        node=_node(data),
        gpus=tuple(gpu for gpu in gpus if gpu is not None and known[gpu.uuid] is gpu),
        problems=_texts(data.get("problems")) or (),
    )


def _node(data: Mapping[str, Any]) -> NodeReading:
    cpu, memory = _part(data, "cpu"), _part(data, "memory")
    disk, net = _part(data, "disk"), _part(data, "net")
    return NodeReading(
        cpu_percent=_number(cpu.get("percent")),
        cpu_count=_whole(cpu.get("count")),
        memory_used_bytes=_whole(memory.get("used")),
        memory_total_bytes=_whole(memory.get("total")),
        disk_used_bytes=_whole(disk.get("used")),
        disk_total_bytes=_whole(disk.get("total")),
        disk_read_bytes_per_second=_number(disk.get("read_bps")),
        disk_write_bytes_per_second=_number(disk.get("write_bps")),
        network_rx_bytes_per_second=_number(net.get("rx_bps")),
        network_tx_bytes_per_second=_number(net.get("tx_bps")),
    )


def _gpu(data: Any) -> GpuReading | None:
    if not isinstance(data, Mapping):
        return None
    uuid = _text(data.get("uuid"))
    if not uuid:
        return None
    processes = data.get("procs")
    return GpuReading(
        uuid=uuid,
        name=_text(data.get("name")) or "",
        index=_whole(data.get("index")),
        parent=_text(data.get("parent")),
        lost=data.get("lost") is True,
        utilization_percent=_number(data.get("util")),
        memory_used_bytes=_whole(data.get("mem_used")),
        memory_total_bytes=_whole(data.get("mem_total")),
        power_watts=_number(data.get("power_w")),
        power_limit_watts=_number(data.get("power_limit_w")),
        temperature_celsius=_number(data.get("temp_c")),
        sm_clock_mhz=_number(data.get("sm_mhz")),
        memory_clock_mhz=_number(data.get("mem_mhz")),
        throttle=_texts(data.get("throttle")),
        pcie_rx_bytes_per_second=_number(data.get("pcie_rx_bps")),
        pcie_tx_bytes_per_second=_number(data.get("pcie_tx_bps")),
        nvlink_rx_bytes_per_second=_number(data.get("nvlink_rx_bps")),
        nvlink_tx_bytes_per_second=_number(data.get("nvlink_tx_bps")),
        ecc_errors=_whole(data.get("ecc")),
        xid=_whole(data.get("xid")),
        encoder_percent=_number(data.get("enc")),
        decoder_percent=_number(data.get("dec")),
        processes=_processes(processes) if isinstance(processes, list) else None,
    )


def _processes(found: list[Any]) -> tuple[ProcessReading, ...]:
    made = []
    for data in found[:_MOST_PROCESSES]:
        pid = _whole(data.get("pid")) if isinstance(data, Mapping) else None
        if pid is None:
            continue
        made.append(
            ProcessReading(
                pid=pid,
                memory_bytes=_whole(data.get("mem")),
                user=_text(data.get("user")),
                command=_text(data.get("cmd")),
                job=_text(data.get("job")),
                seat=_whole(data.get("seat")),
            )
        )
    return tuple(made)


def _part(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(value: Any) -> float | None:
    if value.__class__ is int or value.__class__ is float:
        try:
            return float(value) if value >= 0 and math.isfinite(value) else None
        except OverflowError:  # an integer beyond every float
            return None
    return None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or number >= 1 << 63 else int(value)


def _text(value: Any) -> str | None:
    return _shown(value) if isinstance(value, str) else None


def _shown(value: str) -> str:
    if not value.isprintable():
        value = "".join(
            each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in value
        )
    return value[:_TEXT_LENGTH]


def _texts(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(text for text in map(_text, value) if text)


# --- and back ------------------------------------------------------------------------------------


def sample_line(sample: Sample) -> dict[str, Any]:
    """Return the line of a probe that :func:`parse_sample` makes `sample` of."""
    node = sample.node
    return {
        "v": 1,
        "seq": sample.seq,
        "at": sample.at,
        "cpu": {"percent": node.cpu_percent, "count": node.cpu_count},
        "memory": {"used": node.memory_used_bytes, "total": node.memory_total_bytes},
        "disk": {
            "used": node.disk_used_bytes,
            "total": node.disk_total_bytes,
            "read_bps": node.disk_read_bytes_per_second,
            "write_bps": node.disk_write_bytes_per_second,
        },
        "net": {
            "rx_bps": node.network_rx_bytes_per_second,
            "tx_bps": node.network_tx_bytes_per_second,
        },
        "gpus": [_gpu_line(gpu) for gpu in sample.gpus],
        "problems": list(sample.problems),
    }


def _gpu_line(gpu: GpuReading) -> dict[str, Any]:
    return {
        "uuid": gpu.uuid,
        "name": gpu.name,
        "index": gpu.index,
        "parent": gpu.parent,
        "lost": gpu.lost,
        "util": gpu.utilization_percent,
        "mem_used": gpu.memory_used_bytes,
        "mem_total": gpu.memory_total_bytes,
        "power_w": gpu.power_watts,
        "power_limit_w": gpu.power_limit_watts,
        "temp_c": gpu.temperature_celsius,
        "sm_mhz": gpu.sm_clock_mhz,
        "mem_mhz": gpu.memory_clock_mhz,
        "throttle": None if gpu.throttle is None else list(gpu.throttle),
        "pcie_rx_bps": gpu.pcie_rx_bytes_per_second,
        "pcie_tx_bps": gpu.pcie_tx_bytes_per_second,
        "nvlink_rx_bps": gpu.nvlink_rx_bytes_per_second,
        "nvlink_tx_bps": gpu.nvlink_tx_bytes_per_second,
        "ecc": gpu.ecc_errors,
        "xid": gpu.xid,
        "enc": gpu.encoder_percent,
        "dec": gpu.decoder_percent,
        "procs": None
        if gpu.processes is None
        else [
            {
                "pid": process.pid,
                "mem": process.memory_bytes,
                "user": process.user,
                "cmd": process.command,
                "job": process.job,
                "seat": process.seat,
            }
            for process in gpu.processes
        ],
    }
