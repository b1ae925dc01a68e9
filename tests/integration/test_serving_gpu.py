"""Modules are trained, packaged and served where they compute: on a GPU where there is one.

Everything but what the driver says of the GPU's memory is tried on the processor, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

from jupyter_aiinfra.promote.packaging import Package, replay, replay_in, report
from jupyter_aiinfra.serving.gpus import visible_gpus
from tests.integration.serving_endpoint import Endpoint
from tests.support.bench import wait_until
from tests.support.notebook import Notebook
from tests.support.packages import packed

until = partial(wait_until, seconds=60)

MIB = 1 << 20
# Attention, norms and a constant that is made on the way: what a type or a place can go wrong in.
NET = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.into = nn.Linear(8, 32)
        self.mixed = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.out = nn.Linear(32, 2)
    def forward(self, x):
        scale = torch.arange(1, x.shape[1] + 1, device=x.device) / x.shape[1]
        mixed = self.mixed(self.into(x) * scale[None, :, None])
        return self.out(mixed.mean(dim=1))

def trained(place):
    torch.manual_seed(3)
    net = Net().to(place)
    rule = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(40):
        x = torch.randn(64, 5, 8, device=place)
        wanted = (x.mean(dim=(1, 2)) > 0).long()
        loss = nn.functional.cross_entropy(net(x), wanted)
        rule.zero_grad(); loss.backward(); rule.step()
    return net.eval()
"""

on_gpu = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here"),
)


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=on_gpu)])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Notebook, Any, str]:
    """Return a notebook with a module `net` that was trained where it is to be served."""
    notebook = Notebook(tmp_path_factory.mktemp("trained"))
    notebook.run(NET)
    notebook.run(f"net = trained({request.param!r})")
    return notebook, notebook.names["net"], str(request.param)


def asked(url: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Ask for all rows: two as one request, the others each by itself and at once."""

    def ask(part: np.ndarray[Any, Any]) -> Any:
        answer = requests.post(f"{url}/predict", json={"inputs": part.tolist()}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["outputs"]

    parts = [rows[:2], *(rows[row : row + 1] for row in range(2, len(rows)))]
    with ThreadPoolExecutor(8) as threads:
        return np.concatenate([np.asarray(each) for each in threads.map(ask, parts)])


def close(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], made: Package) -> None:
    share, least = made.manifest["tolerance"]
    np.testing.assert_allclose(found, wanted, rtol=share, atol=least)


@contextmanager
def looked() -> Iterator[Any]:
    """Hold a function that says what the driver tells of a GPU: bytes used, and by whom."""
    import pynvml

    pynvml.nvmlInit()

    def look(index: int = 0) -> tuple[int, dict[int, int | None]]:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        told = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        used = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
        return used, {each.pid: each.usedGpuMemory for each in told}

    try:
        yield look
    finally:
        pynvml.nvmlShutdown()


@pytest.mark.parametrize("form", ["source", "bf16", "export"])
def test_a_module_answers_as_it_does_in_the_notebook(
    trained: tuple[Notebook, Any, str], form: str
) -> None:
    notebook, net, place = trained
    given = torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(1))
    made = packed(
        notebook,
        "net",
        example=given.numpy(),
        form=form,
        device=place,
        to=notebook.root / f"{form}-{place}",
    )
    assert next(net.parameters()).device.type == place
    assert replay(made.folder).text.startswith("1 recorded call answered as in the notebook")

    rows = torch.randn(24, 5, 8, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        wanted = net(rows.to(place)).cpu().numpy()
    with Endpoint(made.folder, workers=1) as endpoint:
        found = asked(endpoint.url, rows.numpy())
    close(found, wanted, made)
    exact = np.allclose(found, wanted, rtol=1e-4, atol=1e-5)
    # It would be no other form if it told nothing of it.
    assert exact == (form != "bf16")


def test_bfloat16_is_half_as_large(trained: tuple[Notebook, Any, str]) -> None:
    notebook, _, place = trained
    given = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(1)).numpy()
    sizes = {}
    for form in ("source", "bf16"):
        to = notebook.root / f"size-{form}-{place}"
        made = packed(notebook, "net", example=given, form=form, device=place, to=to)
        sizes[form] = (made.folder / "model.safetensors").stat().st_size
    assert 0.45 < sizes["bf16"] / sizes["source"] < 0.65


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
@pytest.mark.parametrize("form", ["source", "bf16"])
def test_each_gpu_has_one_worker_which_holds_its_memory(tmp_path: Path, form: str) -> None:
    notebook = Notebook(tmp_path)
    notebook.run(NET)
    notebook.run("net = trained('cuda')")
    given = torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(1))
    made = packed(notebook, "net", example=given.numpy(), form=form, device="auto")
    gpus = visible_gpus(os.environ)
    with looked() as look:
        before, _ = look()
        # As many workers as nothing is said of: one a GPU.
        with Endpoint(made.folder, workers=0) as endpoint:
            workers = endpoint.workers()
            assert len(workers) == len(gpus) > 0
            told = [
                Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in sorted(workers)
            ]
            own = [
                each.removeprefix(b"CUDA_VISIBLE_DEVICES=").decode()
                for environ in told
                for each in environ
                if each.startswith(b"CUDA_VISIBLE_DEVICES=")
            ]
            assert sorted(own) == sorted(gpus)
            rows = torch.randn(16, 5, 8, generator=torch.Generator().manual_seed(2))
            asked(endpoint.url, rows.numpy())
            used, by = until(lambda: _more(look(), before + 64 * MIB))
            # In some containers the driver names no process, or those of outside.
            ours = {pid: amount for pid, amount in by.items() if pid in workers}
            assert ours or not any(Path(f"/proc/{pid}").exists() for pid in by)
            assert all(amount is None or amount > 64 * MIB for amount in ours.values())
            print(f"{form}: {used - before:,} bytes more, of workers {ours}")  # noqa: T201 - for -s
        until(lambda: _less(look(), used - 64 * MIB))


def _more(told: tuple[int, dict[int, int | None]], least: int) -> Any:
    return told if told[0] > least else None


def _less(told: tuple[int, dict[int, int | None]], most: int) -> bool:
    return told[0] < most


async def test_a_gpu_that_is_not_there(trained: tuple[Notebook, Any, str]) -> None:
    notebook, _, _ = trained
    given = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)).numpy()
    to = notebook.root / "elsewhere"
    made = packed(notebook, "net", example=given, form="bf16", device="cuda:99", to=to)
    # It was held against its calls where it could be.
    here = "cuda" if torch.cuda.is_available() else "cpu"
    assert made.manifest["measured"]["form"]["device"] == here
    assert (report(made.manifest) or "").endswith(f" on {here}")
    assert (await replay_in(made.folder, elsewhere=True)).ok
    found = await replay_in(made.folder)
    assert (found.difference or "").startswith("device cuda:99: torch")
    told = json.loads((made.folder / "endpoint.json").read_text())
    assert told["device"] == "cuda:99"
    argv = [sys.executable, "-m", "jupyter_aiinfra.serving", str(made.folder), "--port", "0"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3
    assert "cannot serve: device cuda:99: torch" in done.stderr
    assert "here" in done.stderr
