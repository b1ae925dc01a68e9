"""What a deployment switches on, and a model whose forward pass is nearly all there is to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from benchmarks.endpoint.mlp import asked, served
from benchmarks.endpoint.models import TOKENS, write, write_encoder
from benchmarks.figure import Figure, Goal
from benchmarks.registry import Run
from jupyter_aiinfra.serving.keys import new_key

__all__ = ["encoder", "switched_on"]

_LONG_SECONDS = 8.0

_ON = (
    "keys, checked in each request (ours), and none (raw); schema check and metrics are always on."
)
_WHOLE = (
    "examples a second: 64 clients of one example each, JSON (ours), and forward passes of 32 "
    "examples in a process that does nothing else (raw); one thread each, 4.99 million parameters."
)


def switched_on(run: Run) -> Sequence[Figure]:
    """Ask an endpoint that checks keys, and one that does not, in turn."""
    folder = write(run.folder / "mlp")
    secret, key = new_key("anna")
    keys = run.folder / "keys.json"
    keys.write_bytes(msgspec.json.encode([key]))
    found: dict[tuple[str, int, str], list[float]] = {}
    on = served(folder, ours=True, options=["--keys", str(keys)], key=secret)
    with served(folder, ours=True) as bare, on as full:
        for number in range(1, run.rounds + 1):
            for clients in (32, 128):
                told = {"ours": asked(full, clients, key=secret), "raw": asked(bare, clients)}
                for name, one in told.items():
                    for what in ("rate", "cpu"):
                        found.setdefault((name, clients, what), []).append(one[what])
            run.say(f"switched on {number}/{run.rounds}")
    return tuple(
        Figure(
            name=f"{what} with all switched on, {clients} clients",
            unit=unit,
            ours=tuple(found["ours", clients, of]),
            raw=tuple(found["raw", clients, of]),
            goal=goal,
            note=_ON,
        )
        for clients in (32, 128)
        for what, of, unit, goal in (
            ("requests", "rate", "1/s", Goal(limit=0.85, at_least=True)),
            ("processor time a request", "cpu", "ms", None),
        )
    )


def encoder(run: Run) -> Sequence[Figure]:
    """Ask for examples one by one, and compute as many in batches without a server."""
    folder = write_encoder(run.folder / "encoder")
    rates: dict[str, list[float]] = {"ours": [], "raw": []}
    used: dict[str, list[float]] = {"ours": [], "raw": []}
    # A batch as large as the one that it is compared with.
    options = ["--max-batch", "32"]
    with served(folder, ours=True, options=options, body=TOKENS) as server:
        for number in range(1, run.rounds + 1):
            # So long that what is under way when it ends is little of it.
            told = asked(server, 64, body=TOKENS, seconds=_LONG_SECONDS)
            rates["ours"].append(told["rate"])
            used["ours"].append(told["cpu"])
            argv = [sys.executable, "inside.py", str(_LONG_SECONDS)]
            env = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                argv, cwd=folder, env=env, capture_output=True, check=True, timeout=120
            )
            rate, seconds = map(float, done.stdout.split())
            rates["raw"].append(rate)
            used["raw"].append(1000 * seconds)
            run.say(f"encoder {number}/{run.rounds}: {told['rate']:.0f}/s, alone {rate:.0f}/s")
    return (
        Figure(
            name="encoder beside its forward pass alone",
            unit="1/s",
            ours=tuple(rates["ours"]),
            raw=tuple(rates["raw"]),
            goal=Goal(limit=0.9, at_least=True),
            note=_WHOLE,
        ),
        Figure(
            name="encoder, processor time an example",
            unit="ms",
            ours=tuple(used["ours"]),
            raw=tuple(used["raw"]),
            note=_WHOLE,
        ),
    )
