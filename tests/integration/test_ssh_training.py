"""Real Accelerate on real sshd hosts: the numbers of one process, and what comes back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import parcel
from tests.support.sshsite import SshSite, open_ssh_site

Report = dict[str, Any]

pytest.importorskip("accelerate")

# Batches of twelve rows, whatever the number of ranks: what is computed is the same.
TRAIN = """
import json, os, socket
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed

accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(split_batches=True))
set_seed(7)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
rows = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
data = torch.utils.data.TensorDataset(rows, rows.sum(1, keepdim=True))
loader = torch.utils.data.DataLoader(data, batch_size=12, shuffle=False)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
losses = []
for epoch in range(3):
    for x, y in loader:
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        losses.append(float(accelerator.reduce(loss.detach(), "mean")))
flat = torch.cat([each.detach().flatten() for each in accelerator.unwrap_model(model).parameters()])
weights = flat.tolist()
print("rank", accelerator.process_index, "of", accelerator.num_processes, "on",
      socket.gethostname(), flush=True)
report = {"losses": losses, "weights": weights, "world": accelerator.num_processes}
if accelerator.is_main_process:
    print("report " + json.dumps(report), flush=True)
accelerator.end_training()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshSite]:
    root = tmp_path_factory.mktemp("training")
    with open_ssh_site(root, ("gpu1", "gpu2", "gpu3")) as site:
        site.attach_hosts()
        site.script("train.py", TRAIN)
        yield site


@pytest.fixture
def shared() -> Iterator[Path]:
    """Yield a folder that all hosts see, as a network file system is: /var/tmp is the machine's."""
    folder = Path(tempfile.mkdtemp(prefix="aiinfra-shared", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


def reported(text: str) -> Report:
    [line] = [line for line in text.splitlines() if line.startswith("report ")]
    found: Report = json.loads(line.removeprefix("report "))
    return found


@pytest.fixture(scope="module")
def alone(site: SshSite) -> Report:
    """Return what one process without a launcher computes."""
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=site.work,
        env={**site.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return reported(done.stdout)


@pytest.mark.parametrize("nodes", [2, 3])
def test_several_nodes_compute_what_one_process_does(
    site: SshSite, alone: Report, nodes: int
) -> None:
    done = site.command(
        *("run", "train.py", "--pool", "lab", "--nodes", str(nodes), "--procs", "1"),
        *("--fetch", "report"),
        seconds=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    job = site.newest()
    together = reported(done.stdout)
    assert together["world"] == nodes
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-5, abs=1e-6)
    assert together["weights"] == pytest.approx(alone["weights"], rel=1e-4, abs=1e-5)

    # Each rank's output is its own, on its node and asked for from here.
    for rank in range(nodes):
        line = f"rank {rank} of {nodes} on gpu{rank + 1}\n"
        assert line in site.log_on(f"gpu{rank + 1}", job.id, f"rank-{rank}.log")
    shown = site.command("jobs", "logs", job.id, "--rank", str(nodes - 1))
    assert line in shown.stdout
    assert shown.stdout.count("rank ") == 1

    # What was to be fetched is here.
    folder = site.ask(lambda engine: engine.results(job.id))
    assert folder is not None
    values, problems = parcel.read_results(str(folder), ["report"])
    assert (values, problems) == ({"report": together}, {})
    site.assert_nothing_left()


def test_accelerates_own_test_script_passes_across_two_nodes(site: SshSite, shared: Path) -> None:
    from accelerate.test_utils import scripts

    script = Path(scripts.__file__).parent / "test_script.py"
    begun = time.monotonic()
    # It has its ranks write into one file, which is then read by the first of them.
    done = site.command(
        *("run", str(script), "--pool", "lab", "--nodes", "2", "--procs", "1"),
        *("--cwd", str(shared), "--cpu"),
        seconds=180,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    sys.stdout.write(f"test_script took {time.monotonic() - begun:.1f} s\n")
    assert "**Training integration test**" in done.stdout
    assert site.newest().state.value == "succeeded"
    site.assert_nothing_left()
