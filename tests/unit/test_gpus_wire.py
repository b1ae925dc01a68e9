"""Frames of GPUs as pages read them. ``WRITE_GOLDEN=1`` rewrites the sample: review the diff then.

The sample is also read by the front end's own tests (``labextension/src/gpus``): each message with
the numbers that it has to come to there.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_aiinfra.server.encoding import encode
from jupyter_aiinfra.telemetry import Frame, NodeState, Scope, delta_frame, full_frame
from jupyter_aiinfra.telemetry.frames import NodeView, make_frame
from jupyter_aiinfra.telemetry.sample import parse_sample
from tests.support.readings import GIB, a_gpu, a_sample

GOLDEN = Path(__file__).parents[1] / "wire" / "gpus.json"
KEY = 3
JOB = "1nga2d9cenhm"
RANK = {"pid": 4711, "user": "ada", "cmd": "python", "mem": GIB, "job": JOB, "seat": 0}
STRANGER = {"pid": 4, "user": None, "cmd": None, "mem": None, "job": None, "seat": None}


def ticks() -> Iterator[tuple[NodeState, list[dict[str, Any]]]]:
    """Yield the state of the second node, and the GPUs of the first: second by second."""
    parent = a_gpu(1)
    mig = {"parent": parent["uuid"], "util": None, "mem_total": 20 * GIB, "power_w": None}
    card = a_gpu(2, **mig, mem_used=3 * GIB, index=0, name="MIG 2g.20gb")
    live = NodeState.LIVE
    yield live, [a_gpu(0, util=71.0), a_gpu(1, util=None), card]
    yield live, [a_gpu(0, util=70.6, power_w=377.0), a_gpu(1, util=None, power_w=None), card]
    # The largest letters, and one more of each.
    yield live, [a_gpu(0, util=97.0, power_w=403.0, temp_c=29), a_gpu(1, power_w=323.0), card]
    yield live, [a_gpu(0, util=70.0, procs=[RANK, STRANGER]), a_gpu(1), card]
    yield NodeState.STALE, [a_gpu(0, lost=True, procs=None), a_gpu(1), card]
    yield NodeState.UNREACHABLE, [a_gpu(0, throttle=["hw_thermal"], ecc=2), a_gpu(1), card]
    yield live, [a_gpu(0, util=0.0), a_gpu(1, util=100.0, mem_used=1e18), card]
    yield live, [a_gpu(0, util=0.0), a_gpu(1, util=100.0, mem_used=1e18), card]


def frames() -> list[Frame]:
    made = []
    for seq, (state, gpus) in enumerate(ticks(), start=1):
        at = 1_764_088_320.0 + seq
        first, second = (
            parse_sample(json.dumps(a_sample(*found, seq=seq, at=at)).encode())
            for found in (gpus, [a_gpu(7, util=float(seq))])
        )
        problem = "" if state is NodeState.LIVE else "no route to n1 ☠"
        nodes = [
            (NodeView(name="n0", state=NodeState.LIVE, gpus=2, cpu_count=64), first),
            (NodeView(name="n1", state=state, problem=problem, gpus=1), second),
        ]
        made.append(
            make_frame(
                Scope(pool="here"), seq=seq, at=at, nodes=nodes, leases={gpus[0]["uuid"]: [JOB]}
            )
        )
    return made


def messages() -> list[dict[str, Any]]:
    """Return each message beside the numbers, in steps, that are so after it."""
    told = frames()
    deltas = [delta_frame(old, new, key=KEY) for old, new in itertools.pairwise(told)]
    return [
        {
            "message": json.loads(encode(message)),
            "node_values": list(frame.node_values),
            "gpu_values": list(frame.gpu_values),
        }
        for message, frame in zip([full_frame(told[0], key=KEY), *deltas], told, strict=True)
    ]


def test_the_sample_that_pages_are_tested_with_is_what_is_told() -> None:
    told = messages()
    if os.environ.get("WRITE_GOLDEN"):
        lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in told)
        GOLDEN.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    assert json.loads(GOLDEN.read_text(encoding="utf-8")) == told


def test_each_sign_of_a_change_is_in_it() -> None:
    text = "".join(each["message"].get("g", "") for each in messages())
    for sign in ("?", "!", "+", "-", ".", "z", "Z"):
        assert sign in text, sign
    assert any(character.isdigit() for character in text)
