"""A large file to a host: ours against ``tar | ssh``, then the same bundle again."""

from __future__ import annotations

import asyncio
import filecmp
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn
from benchmarks.ssh.bench import Bench, open_bench
from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.channel import Channel
from jupyter_aiinfra.pools.sending import send
from tests.support.network import program

__all__ = ["bundles"]

_MEGABYTES = 200
_AGAIN_SECONDS = 0.2


def bundles(run: Run) -> Sequence[Figure]:
    """Push a file of random bytes, new in each round, and then what is there already."""
    again: list[float] = []
    file = run.folder / "data.bin"
    with open_bench(run, 1) as bench:
        bench.warm()
        (host,) = bench.hosts.values()
        file.write_bytes(b"the first of all has to open our connection")
        asyncio.run(_push(bench, file, host.home))

        def ours() -> float:
            file.write_bytes(os.urandom(_MEGABYTES * 1_000_000))
            first, second = asyncio.run(_push(bench, file, host.home))
            again.append(second)
            return _MEGABYTES / first

        def raw() -> float:
            return _MEGABYTES / _tar(bench, file, host.home)

        ours_rate, raw_rate = in_turn(run, "bundle", ours=ours, raw=raw)
    return (
        Figure(
            name="bundle push",
            unit="MB/s",
            ours=ours_rate,
            raw=raw_rate,
            goal=Goal(limit=0.8, at_least=True),
            note=f"{_MEGABYTES} MB of random bytes in one file, its digest known from capture, "
            "until it lies checked in blob store and run directory; raw is "
            "`tar -c | ssh HOST tar -x`. Both over a connection that stands, ours in its channel.",
        ),
        Figure(
            name="unchanged bundle",
            unit="s",
            ours=tuple(again),
            judged=Judged.OURS,
            goal=Goal(limit=_AGAIN_SECONDS),
            note="the same file again, into another run directory: what is there is copied.",
        ),
    )


async def _push(bench: Bench, file: Path, home: Path) -> tuple[float, float]:
    """Return how long the first push took, and one that found all of it there."""
    (shell,) = bench.shells()
    blobs = f"{home}/ours/blobs"
    name = f"{home}/ours/runs/{time.monotonic_ns()}"
    async with Channel(shell, python=sys.executable) as channel:
        await channel.connect()
        bundle = Bundle(files=(bundle_file(file.name, file),))
        begun = time.monotonic()
        sent = await send(bundle, channel.upload, blobs=blobs, run_dir=f"{name}-first")
        first = time.monotonic() - begun
        begun = time.monotonic()
        kept = await send(bundle, channel.upload, blobs=blobs, run_dir=f"{name}-again")
        again = time.monotonic() - begun
    if sent.sent_bytes != bundle.size_bytes or kept.sent_bytes:
        raise RuntimeError(f"{sent} and then {kept}: this is not what was to be measured")
    for run_dir in (f"{name}-first", f"{name}-again"):
        _must_match(file, Path(run_dir) / file.name)
        shutil.rmtree(run_dir)
    shutil.rmtree(blobs)
    return first, again


def _tar(bench: Bench, file: Path, home: Path) -> float:
    target = home / "raw"
    target.mkdir()
    (name,) = bench.hosts
    begun = time.monotonic()
    packing = subprocess.Popen(
        [program("tar"), "-C", str(file.parent), "-cf", "-", file.name], stdout=subprocess.PIPE
    )
    unpack = bench.ssh(name, f"tar -C {target} -xf -", shared=True)
    subprocess.run(unpack, stdin=packing.stdout, check=True)
    if packing.wait():
        raise RuntimeError(f"tar ended with status {packing.returncode}")
    took = time.monotonic() - begun
    _must_match(file, target / file.name)
    shutil.rmtree(target)
    return took


def _must_match(sent: Path, came: Path) -> None:
    if not filecmp.cmp(sent, came, shallow=False):
        raise RuntimeError(f"{came} is not what was sent")
