"""A training cell against ``accelerate launch`` of the same script with the same options."""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.cell.kernel import environment, kernel
from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn
from jupyter_aiinfra.accelerate import LaunchOptions, launch_argv, launch_env, launch_files
from jupyter_aiinfra.node.supervise import free_port

__all__ = ["first_step", "throughput"]

_PROCS = 2
_SECONDS = 600.0

_FIRST_STEP = """\
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
assert accelerator.num_processes == 2
if accelerator.is_main_process:
    with open(os.environ["BENCHMARK_OUT"], "w") as file:
        json.dump({"at": time.time()}, file)
torch.distributed.destroy_process_group()
"""

_THROUGHPUT = """\
import json, os, time
import torch
from accelerate import Accelerator

accelerator = Accelerator()
model = torch.nn.Sequential(
    torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
)
optimizer = torch.optim.Adam(model.parameters())
model, optimizer = accelerator.prepare(model, optimizer)
inputs, labels = torch.randn(256, 256), torch.randint(10, (256,))

def block(steps):
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    return loss

block(50)
accelerator.wait_for_everyone()
begun, steps, elapsed, cpu = time.perf_counter(), 0, 0.0, -time.process_time()
while elapsed < float(os.environ["BENCHMARK_SECONDS"]):
    loss = block(100)
    steps += 100
    # The ranks agree on the time, so that all of them end after the same step.
    elapsed = accelerator.reduce(torch.tensor(time.perf_counter() - begun), "mean").item()
    accelerator.print(f"step {steps}  loss {loss.item():.4f}")
cpu += time.process_time()
assert accelerator.num_processes == 2
if accelerator.is_main_process:
    with open(os.environ["BENCHMARK_OUT"], "w") as file:
        json.dump({"rate": steps / elapsed, "cpu_ms": 1000 * cpu / steps}, file)
torch.distributed.destroy_process_group()
"""


Told = Mapping[str, float]


class _Pair:
    """The same script by both ways; each run leaves the numbers that the script tells."""

    def __init__(self, folder: Path, script: str, *, more: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._out = folder / "out.json"
        self._script = script
        self._more = {"BENCHMARK_OUT": str(self._out), **(more or {})}
        self.begun_at = 0.0
        self.kernel_shares: list[float] = []

    def ours(self) -> Told:
        """Run it as the first training cell of a fresh kernel."""
        with kernel(self._folder, more=self._more) as opened:
            self._out.unlink(missing_ok=True)
            cell = f"%%accelerate here --cpu --procs {_PROCS} --mixed-precision no\n{self._script}"
            ran = opened.run(cell)
        self.begun_at = ran.begun_at
        self.kernel_shares.append(100 * ran.cpu_seconds / ran.wall_seconds)
        return self._told()

    def raw(self) -> Told:
        """Run it as accelerate itself would, with the options and variables that ours gives it."""
        cpus = len(os.sched_getaffinity(0))
        options = LaunchOptions(procs=_PROCS, cpu=True, passed=("--mixed_precision", "no"))
        (self._folder / "script.py").write_text(self._script, encoding="utf-8")
        for name, content in launch_files(options).items():
            (self._folder / name).write_bytes(content)
        contract = {
            "AIINFRA_RUN_DIR": str(self._folder),
            "AIINFRA_NODE_RANK": "0",
            "AIINFRA_HEAD": "127.0.0.1",
            "AIINFRA_PORT": str(free_port("127.0.0.1")),
        }
        argv = launch_argv(options, python=sys.executable, script=str(self._folder / "script.py"))
        needed = launch_env(options, cpus=cpus, environ=os.environ)
        self._out.unlink(missing_ok=True)
        self.begun_at = time.time()
        with (self._folder / "raw.log").open("wb") as log:
            done = subprocess.run(
                [string.Template(word).substitute(contract) for word in argv],
                env=environment(self._folder, {**self._more, **needed}),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=_SECONDS,
                check=False,
            )
        # torch's threads crash a rank now and then as Python is taken down: the number stands.
        if done.returncode and not self._out.exists():
            raise RuntimeError((self._folder / "raw.log").read_text(errors="replace"))
        return self._told()

    def _told(self) -> Told:
        told: Told = json.loads(self._out.read_text(encoding="utf-8"))
        return told


def first_step(run: Run) -> Sequence[Figure]:
    """From running the cell, or the command, to the end of rank 0's first step."""
    pair = _Pair(run.folder, _FIRST_STEP)

    def ours() -> float:
        return pair.ours()["at"] - pair.begun_at

    def raw() -> float:
        return pair.raw()["at"] - pair.begun_at

    raw()  # the disk's cache is warm for both from here on
    first, second = in_turn(run, "first step", ours=ours, raw=raw)
    return (
        Figure(
            name="first training step",
            unit="s",
            ours=first,
            raw=second,
            judged=Judged.DIFFERENCE,
            goal=Goal(limit=0.3),
            note=f"{_PROCS} ranks on CPUs over gloo, torch not imported in the kernel, the first "
            "training cell of a fresh kernel with a pool attached; raw is `accelerate launch` of "
            "the same text, options and variables.",
        ),
    )


def throughput(run: Run, *, seconds: float = 12.0) -> Sequence[Figure]:
    """Count steps a second in the script itself, after its warm-up."""
    pair = _Pair(run.folder, _THROUGHPUT, more={"BENCHMARK_SECONDS": str(seconds)})
    ours_cpu: list[float] = []
    raw_cpu: list[float] = []

    def rate(told: Told, cpu: list[float]) -> float:
        cpu.append(told["cpu_ms"])
        return told["rate"]

    ours, raw = in_turn(
        run,
        "throughput",
        ours=lambda: rate(pair.ours(), ours_cpu),
        raw=lambda: rate(pair.raw(), raw_cpu),
    )
    return (
        Figure(
            name="training throughput",
            unit="steps/s",
            ours=ours,
            raw=raw,
            goal=Goal(limit=0.99, at_least=True),
            note=f"{_PROCS} ranks on CPUs over gloo for {seconds:g} s after a warm-up, a line "
            "printed every 100 steps; the kernel shows the cell meanwhile.",
        ),
        Figure(
            name="CPU of a step",
            unit="ms",
            ours=tuple(ours_cpu),
            raw=tuple(raw_cpu),
            note="user + system of rank 0 in the same runs: what other load disturbs least. Where "
            "this ratio is 1 and the throughput's is not, others had the cores.",
        ),
        Figure(
            name="kernel CPU while it trains",
            unit="% of a core",
            ours=tuple(pair.kernel_shares),
            judged=Judged.OURS,
            note="what the kernel process takes for the whole of these cells, launch and end "
            "included: the part of the machine that the ranks do not get.",
        ),
    )
