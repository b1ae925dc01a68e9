"""A check of a pool in rows and lines."""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_aiinfra.commands.show import bytes_text
from jupyter_aiinfra.engine import PoolCheck
from jupyter_aiinfra.leases import gpu_use
from jupyter_aiinfra.model import Gpu, Lease, Severity
from jupyter_aiinfra.pools.abilities import NodeCheck

__all__ = ["CHECK_COLUMNS", "check_lines", "check_rows"]

CHECK_COLUMNS = (
    "node",
    "latency",
    "Python",
    "torch",
    "accelerate",
    "driver",
    "GPUs",
    "disk free",
    "clock",
    "address",
    "reaches",
)

_WORDS = {Severity.OK: "well", Severity.WARNING: "warning", Severity.ERROR: "ERROR"}
_UUID_CHARACTERS = 12


def check_rows(check: PoolCheck) -> list[tuple[str, ...]]:
    """Return one row a node for :data:`CHECK_COLUMNS`."""
    there = [each.name for each in check.nodes if each.reachable]
    return [_row(each, check.leases or (), there) for each in check.nodes]


def _row(each: NodeCheck, leases: Sequence[Lease], there: Sequence[str]) -> tuple[str, ...]:
    if not each.reachable:
        return (each.name, "not reached", *("-" for _ in CHECK_COLUMNS[2:]))
    node = each.node
    python = node.python if node else None
    packages = python.packages if python else {}
    latency = "-" if each.latency_seconds is None else f"{each.latency_seconds * 1000:.1f} ms"
    way = f"{each.address} by {each.interface}" if each.interface else each.address or "-"
    others = [name for name in there if name != each.name]
    reached = [name for name in others if name not in each.unreached]
    return (
        each.name,
        latency,
        python.version if python else "?",
        packages.get("torch", "-"),
        packages.get("accelerate", "-"),
        (node.driver if node else None) or "-",
        "\n".join(_gpu(gpu, leases) for gpu in node.gpus) if node and node.gpus else "none",
        bytes_text(node.disk_free_bytes) if node else "?",
        "-" if each.skew_seconds is None else f"{each.skew_seconds:+.2f} s",
        way,
        "-" if not others else f"{len(reached)} of {len(others)}",
    )


def _gpu(gpu: Gpu, leases: Sequence[Lease]) -> str:
    memory = f"{bytes_text(gpu.memory_used_bytes)} of {bytes_text(gpu.memory_total_bytes)}"
    return f"{gpu.index} {gpu.name} {gpu.uuid[:_UUID_CHARACTERS]} {memory} {gpu_use(gpu, leases)}"


def check_lines(check: PoolCheck) -> list[str]:
    """Return one verdict a node, each finding with its fix, and the verdict of all."""
    lines = []
    for each in check.nodes:
        lines.append(f"{each.name}: {_WORDS[each.verdict]}")
        for found in each.findings:
            lines.append(f"  {found.message}")
            if found.hint:
                lines.append(f"    fix: {found.hint}")
    bad = [each.name for each in check.nodes if each.verdict is Severity.ERROR]
    name = check.record.name
    if bad:
        lines.append(f"{name}: {len(bad)} of {len(check.nodes)} nodes cannot be used as they are")
    elif check.verdict is Severity.WARNING:
        lines.append(f"{name}: it can be used; see the warnings")
    else:
        lines.append(f"{name}: all is well")
    return lines
