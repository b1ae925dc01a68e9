"""What a node said of itself (``node/describe.py``) as a :class:`~jupyter_aiinfra.model.Node`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from jupyter_aiinfra.model import Gpu, GpuProcess, Interpreter, Node, from_wire

__all__ = ["node_from_facts"]

_FEWEST_PROCS = 8


def node_from_facts(
    facts: Mapping[str, Any], *, name: str, address: str, max_procs: int | None
) -> Node:
    """Return the node that `facts` describe; without `max_procs` it may have a rank a core."""
    python = facts["python"]
    gpus = tuple(
        Gpu(
            uuid=gpu["uuid"],
            name=gpu["name"],
            index=gpu["index"],
            memory_total_bytes=gpu.get("memory_total_bytes"),
            memory_used_bytes=gpu.get("memory_used_bytes"),
            used_by=from_wire(gpu.get("used_by", ()), tuple[GpuProcess, ...]),
        )
        for gpu in facts["gpus"]
    )
    return Node(
        name=name,
        address=address,
        cpus=facts.get("cpus"),
        memory_bytes=facts.get("memory_total_bytes"),
        disk_free_bytes=facts.get("disk_free_bytes"),
        gpus=gpus,
        python=Interpreter(
            executable=python["executable"],
            version=python["version"],
            implementation=python["implementation"],
            packages=python["packages"],
        ),
        driver=facts.get("driver"),
        platform=facts.get("platform", sys.platform),
        max_procs=max_procs or max(_FEWEST_PROCS, len(gpus), facts.get("cpus") or 1),
    )
