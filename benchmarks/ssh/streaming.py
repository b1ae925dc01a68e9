"""The logs of sixteen nodes at once: ours against ``ssh HOST cat`` of the same files."""

from __future__ import annotations

import asyncio
import filecmp
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn
from benchmarks.ssh.bench import Bench, open_bench
from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import LAUNCHER, Job, JobKind, JobSpec

__all__ = ["logs"]

_NODES: Final = 16
_MEGABYTES: Final = 16
_SECONDS: Final = 300.0
# Lines of a log, no two nodes' alike; the program then goes on, as training does.
_SCRIPT: Final = f"""\
yes "$(hostname) step 0123456 loss 0.123456 accuracy 0.987654" | head -c {_MEGABYTES}000000
echo > $HOME/written
exec sleep 86400
"""


def logs(run: Run) -> Sequence[Figure]:
    """Follow the logs of a job that runs on, from their first byte to what is there by now."""
    lost: list[float] = []
    total = _NODES * _MEGABYTES
    with open_bench(run, _NODES) as bench, bench.session() as session:
        engine = session.engine
        bench.warm()
        session.run(engine.attach("lab", kind="ssh", options=bench.options()))
        spec = JobSpec(
            kind=JobKind.TRAIN,
            name="logs",
            argv=("/bin/sh", "-c", _SCRIPT),
            nodes=_NODES,
            verify_world=False,
        )
        job = session.run(engine.launch("lab", spec, Bundle(files=())))
        whole = _logs(bench, job)

        def ours() -> float:
            begun = time.monotonic()
            session.run(_follow_all(engine, job, run.folder, whole))
            took = time.monotonic() - begun
            lost.append(float(_lost(run.folder, whole)))
            return total / took

        def raw() -> float:
            begun = time.monotonic()
            _cat_all(bench, whole, run.folder)
            took = time.monotonic() - begun
            if _lost(run.folder, whole):
                raise RuntimeError("ssh lost bytes: nothing can be measured")
            return total / took

        try:
            ours_rate, raw_rate = in_turn(run, "logs", ours=ours, raw=raw)
        finally:
            session.run(_end(engine, job))
    return (
        Figure(
            name=f"log streaming from {_NODES} nodes",
            unit="MB/s",
            ours=ours_rate,
            raw=raw_rate,
            goal=Goal(limit=0.8, at_least=True),
            note=f"{_MEGABYTES} MB a node, each followed into a file in a running job; raw is "
            "`ssh HOST cat LOG` into a file, for all hosts at once. Both over connections that "
            "stand.",
        ),
        Figure(
            name=f"bytes lost of the logs of {_NODES} nodes",
            unit="B",
            ours=tuple(lost),
            judged=Judged.OURS,
            goal=Goal(limit=0, always=True),
            note="of the same rounds: bytes that are missing or wrong.",
        ),
    )


def _logs(bench: Bench, job: Job) -> dict[int, tuple[str, Path]]:
    """Return host and place of each log, by the number we ask for it, once all are written."""
    deadline = time.monotonic() + _SECONDS
    while not all((host.home / "written").exists() for host in bench.hosts.values()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the logs were not written within {_SECONDS:g} s")
        time.sleep(0.1)
    found = {}
    for name, host in bench.hosts.items():
        runs = host.home / ".local/share/jupyter-aiinfra/runs"
        (log,) = runs.glob(f"{job.id}*/logs/launcher.log")
        # Which host is which node of the job is the queue's business.
        _, _, slot = log.parents[1].name.partition("@")
        found[LAUNCHER - int(slot or 0)] = (name, log)
    return found


async def _follow_all(engine: Engine, job: Job, folder: Path, numbers: Iterable[int]) -> None:
    await asyncio.gather(*(_follow(engine, job, folder, number) for number in numbers))


async def _follow(engine: Engine, job: Job, folder: Path, number: int) -> None:
    left = _MEGABYTES * 1_000_000
    chunks = engine.logs(job.id, rank=number, follow=True)
    with (folder / f"{number}.log").open("wb") as file:
        async for chunk in chunks:
            file.write(chunk.data)
            left -= len(chunk.data)
            if left <= 0:
                break
    await chunks.aclose()  # type: ignore[attr-defined]


def _cat_all(bench: Bench, whole: Mapping[int, tuple[str, Path]], folder: Path) -> None:
    running = []
    for number, (name, log) in whole.items():
        with (folder / f"{number}.log").open("wb") as file:
            argv = bench.ssh(name, f"cat {log}", shared=True)
            running.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file))
    for each in running:
        if each.wait(_SECONDS):
            raise RuntimeError(f"ssh ended with status {each.returncode}")


def _lost(folder: Path, whole: Mapping[int, tuple[str, Path]]) -> int:
    """Return how many bytes differ; the files that came are gone afterwards."""
    lost = 0
    for number, (_, log) in whole.items():
        came = folder / f"{number}.log"
        if not filecmp.cmp(came, log, shallow=False):
            pairs = zip(came.read_bytes(), log.read_bytes(), strict=False)
            lost += abs(came.stat().st_size - log.stat().st_size) + sum(a != b for a, b in pairs)
        came.unlink()
    return lost


async def _end(engine: Engine, job: Job) -> None:
    await engine.cancel(job.id, grace=0.0)
    deadline = time.monotonic() + _SECONDS
    while not (await engine.refresh(job.id)).state.final:
        if time.monotonic() > deadline:
            raise RuntimeError(f"job {job.id} did not end within {_SECONDS:g} s")
        await asyncio.sleep(0.1)
