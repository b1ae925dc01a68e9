"""A training cell on two nodes against a loop of ssh that starts accelerate on each."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cell.kernel import kernel
from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn
from benchmarks.ssh.bench import Bench, open_bench

__all__ = ["first_step"]

_NODES = 2
_PORT = 29_512
_THREADS = "1"
_SECONDS = 120.0
_END_SECONDS = 60.0
# torch's threads crash a rank now and then as Python is taken down, after its step: such a round
# of the raw tool is taken again, so often in a row at most.
_TRIES = 4
_CRASHED = re.compile(r"SIGABRT|Signal 6\b|exitcode\s*:\s*-6\b")

_SCRIPT = """\
import json, os, time
import torch
from accelerate import Accelerator

accelerator = Accelerator()
model = torch.nn.Linear(64, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model, optimizer = accelerator.prepare(model, optimizer)
loss = model(torch.ones(16, 64)).square().mean()
accelerator.backward(loss)
optimizer.step()
assert accelerator.num_processes == {nodes}
if accelerator.is_main_process:
    with open("{out}.part", "w") as file:
        json.dump({{"at": time.time()}}, file)
    os.replace("{out}.part", "{out}")
torch.distributed.destroy_process_group()
"""


class _CrashedAtTheEnd(Exception):
    """A rank was aborted after it had done its step."""


def first_step(run: Run) -> Sequence[Figure]:
    """From running the cell, or the loop, to the end of the first step of all ranks."""
    with open_bench(run, _NODES) as bench:
        out = next(iter(bench.hosts.values())).home / "out.json"
        script = _SCRIPT.format(nodes=_NODES, out=out)
        crashes = 0

        def raw() -> float:
            nonlocal crashes
            for _ in range(_TRIES):
                try:
                    return _raw(bench, run.folder, script, out)
                except _CrashedAtTheEnd:  # noqa: PERF203 - what is tried again
                    crashes += 1
                    run.say("first step: a rank of the raw tool was aborted at its end; once more")
            raise RuntimeError(f"the raw tool was aborted at its end {_TRIES} times in a row")

        raw()  # the disk's cache is warm for both from here on
        ours, loop = in_turn(
            run, "first step", ours=lambda: _ours(bench, run.folder, script, out), raw=raw
        )
    return (
        Figure(
            name=f"first training step on {_NODES} nodes",
            unit="s",
            ours=ours,
            raw=loop,
            judged=Judged.DIFFERENCE,
            goal=Goal(limit=0.5),
            note="a rank on each node over gloo, the first training cell of a fresh kernel with "
            "the pool attached, code sent with it; raw is a loop of `ssh HOST accelerate launch` "
            "of the same text, which lies on the hosts already. One thread a rank. Rounds of "
            "raw taken again, as a rank was aborted after its step while Python was taken down: "
            f"{crashes}.",
        ),
    )


def _ours(bench: Bench, folder: Path, script: str, out: Path) -> float:
    more = {"JUPYTER_AIINFRA_SSH_CONFIG": str(bench.hosts.config)}
    out.unlink(missing_ok=True)
    options = " ".join(f"--{name} {value}" for name, value in bench.options().items())
    with kernel(folder, attach=False, more=more) as opened:
        opened.run("%load_ext jupyter_aiinfra")
        opened.run(f"%pool attach lab --kind ssh {options}")
        line = f"%%accelerate lab --cpu --nodes {_NODES} --procs 1 --mixed-precision no"
        # The nodes are one machine: each would count its cores as its own.
        line += f" --num_cpu_threads_per_process {_THREADS}"
        ran = opened.run(f"{line}\n{script}", seconds=_SECONDS)
    return _told(out) - ran.begun_at


def _raw(bench: Bench, folder: Path, script: str, out: Path) -> float:
    out.unlink(missing_ok=True)
    needed = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": _THREADS, "PYTHONUNBUFFERED": "1"}
    head = next(iter(bench.hosts.values())).address
    for host in bench.hosts.values():
        (host.home / "train.py").write_text(script, encoding="utf-8")
    begun = time.time()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "raw.log").open("wb"))
        running = []
        for rank, name in enumerate(bench.hosts):
            argv = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
            argv += ["--num_machines", str(_NODES), "--num_processes", str(_NODES)]
            argv += ["--machine_rank", str(rank), "--main_process_ip", head]
            argv += ["--main_process_port", str(_PORT), "--mixed_precision", "no"]
            argv += ["--dynamo_backend", "no", "train.py"]
            command = shlex.join(["env", *(f"{k}={v}" for k, v in needed.items()), *argv])
            line = f"echo $$ > raw.pid; exec {command}"
            running.append(
                subprocess.Popen(
                    bench.ssh(name, line), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            )
        went_well = _all_end_well(running)
        if not went_well:
            # The launcher of the other node waits for ever when one has failed.
            _end_launchers(bench, running)
    if not went_well:
        said = (folder / "raw.log").read_text(errors="replace")
        if out.exists() and _CRASHED.search(said):
            raise _CrashedAtTheEnd
        raise RuntimeError(said or f"the raw tool did not end within {_SECONDS:g} s")
    return _told(out) - begun


def _all_end_well(running: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Wait until all have ended, or one has failed, or time is up; return whether all is well."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        statuses = [each.poll() for each in running]
        if any(statuses):
            return False
        if all(status == 0 for status in statuses):
            return True
        time.sleep(0.02)
    return False


def _end_launchers(bench: Bench, running: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what still runs of a round that failed: the next one needs its port."""
    for name, each in zip(bench.hosts, running, strict=True):
        if each.poll() is None:
            argv = bench.ssh(name, 'kill "$(cat raw.pid)"')
            subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    for each in running:
        try:
            each.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # noqa: PERF203 - one of two
            each.kill()
            each.wait()


def _told(out: Path) -> float:
    return float(json.loads(out.read_text(encoding="utf-8"))["at"])
