"""Whether what-if tells the truth: a cell on one process, what it would take on two, and does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import CannotMeasure, Run

__all__ = ["SCRIPT", "predicted"]

_CORES = 2

SCRIPT = """
import torch
from accelerate import Accelerator
from jupyter_aiinfra import step

torch.manual_seed(0)
accelerator = Accelerator()
rows = torch.randn(64 * 160, 1024)
data = torch.utils.data.TensorDataset(rows, rows[:, :10].argmax(1))
model = torch.nn.Sequential(
    torch.nn.Linear(1024, 1024), torch.nn.ReLU(),
    torch.nn.Linear(1024, 1024), torch.nn.ReLU(),
    torch.nn.Linear(1024, 1024), torch.nn.ReLU(),
    torch.nn.Linear(1024, 10),
)
loader = torch.utils.data.DataLoader(data, batch_size=64 * 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for epoch in range(3):
    for x, y in loader:
        for _ in range(3):  # more work a step: what ranks say to each other is to count for little
            loss = torch.nn.functional.cross_entropy(model(x), y)
            with torch.no_grad():
                model(x)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        step(of=3 * len(loader))
"""


def predicted(run: Run) -> Sequence[Figure]:
    """Run it on one process, ask what-if of two, run it on two; twice each round, in turn."""
    if (os.cpu_count() or 1) < _CORES:
        raise CannotMeasure("what-if is measured on two cores or more")
    script = run.folder / "train.py"
    script.write_text(SCRIPT)
    home = run.folder / "home"
    environ = {**os.environ, "JUPYTER_AIINFRA_HOME": str(home)}
    _ask(environ, "pool", "attach", "here", "--kind", "local", "--price", "1.20/node-h")
    times: list[float] = []
    costs: list[float] = []
    for number in range(1, run.rounds + 1):
        first = _launch(environ, script, number, procs=1)
        table = _ask(environ, "cost", "whatif", first)
        (said,) = [each for each in table["options"] if each["ranks"] == 2]
        second = _launch(environ, script, number, procs=2)
        cost = _ask(environ, "jobs", "show", second)["cost"]
        times.append(said["seconds"] / cost["node_seconds"])
        costs.append(float(said["cost"]["amount"]) / float(cost["cost"][0]["amount"]))
        run.say(
            f"predicted {number}/{run.rounds}: {said['seconds']:.1f} s, "
            f"took {cost['node_seconds']:.1f} s"
        )
    note = (
        "a cell of the local pool on one process; what-if of two against what two then take, from "
        "launch to end. Farthest from 1, to either side."
    )
    return tuple(
        Figure(
            name=f"what-if of 2 processes, {what}: off by",
            unit="%",
            ours=tuple(100 * abs(each - 1) for each in ratios),
            judged=Judged.OURS,
            goal=Goal(limit=20),
            note=note,
        )
        for what, ratios in (("time", times), ("cost", costs))
    )


def _launch(environ: Mapping[str, str], script: Path, number: int, *, procs: int) -> str:
    # Other code each round: what was measured of it before would be told instead of predicted.
    once = script.with_name(f"train{number}.py")
    once.write_text(f"# {number}\n{script.read_text()}")
    job = _ask(environ, "run", str(once), "--pool", "here", "--procs", str(procs))
    assert job["state"] == "succeeded", job
    return str(job["id"])


def _ask(environ: Mapping[str, str], *words: str) -> Any:
    code = "import sys; from jupyter_aiinfra.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--json"],
        env=dict(environ),
        capture_output=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise CannotMeasure(done.stderr.decode(errors="replace")[-400:])
    return json.loads(done.stdout)
