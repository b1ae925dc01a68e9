"""Packages are loaded in a fresh process, and must answer there what the notebook answered."""

# ruff: noqa: E501 - a cell on one line is read more easily than one in pieces
from __future__ import annotations

import asyncio
import json
import os
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import requests
import torch

from jupyter_aiinfra.errors import Unreachable, UsageError
from jupyter_aiinfra.promote.packaging import record, replay
from tests.integration.serving_endpoint import Endpoint
from tests.support.notebook import Notebook
from tests.support.packages import packed

NET = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, 2))
    def forward(self, x): return self.body(x)
net = Net(8)
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path)


class TestTheGate:
    def test_a_function_is_served_as_it_was_called(self, notebook: Notebook) -> None:
        (notebook.root / "own_rules.py").write_text("def least(x, to): return max(x, to)\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(notebook.root))
            notebook.run("import own_rules")
        notebook.names["record"] = record
        notebook.run(
            "LEAST = {'of': 2.5}\n@record\ndef price(area: float, rooms: int) -> float:\n    return own_rules.least(area * rooms, LEAST['of'])"
        )
        notebook.run("price(3, 2); price(1.0, rooms=1)")
        made = packed(notebook, "price")
        found = replay(made.folder)
        assert found.text == (
            "2 recorded calls answered as in the notebook, within 1e-06 of a value or 1e-09"
        )
        with Endpoint(made.folder) as endpoint:
            body = {"inputs": {"area": [3, 1], "rooms": [2, 1]}}
            told = requests.post(f"{endpoint.url}/predict", json=body, timeout=30).json()
            assert told["outputs"] == [6.0, 2.5]
            assert told["version"] == made.digest[:12]
            wrong = requests.post(
                f"{endpoint.url}/predict",
                json={"inputs": {"area": ["x"], "rooms": [2]}},
                timeout=30,
            )
            assert wrong.status_code == 400
            assert "area" in wrong.text

    def test_a_module_and_the_same_exported(self, notebook: Notebook) -> None:
        notebook.run(NET)
        given = torch.randn(6, 4)
        source = packed(notebook, "net", example=given)
        exported = packed(
            notebook, "net", example=given, form="export", to=notebook.root / "exported"
        )
        assert json.loads((exported.folder / "endpoint.json").read_text())["entry"] == "model.pt2"
        assert replay(source.folder).ok
        assert replay(exported.folder).ok

    def test_what_lies_beside_the_notebook_is_not_there(self, notebook: Notebook) -> None:
        (notebook.root / "table.txt").write_text("3")
        notebook.run(
            "from pathlib import Path\ndef predict(x: float): return x + float(Path('table.txt').read_text())"
        )
        made = packed(notebook, "predict", example=1.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(notebook.root)
            found = replay(made.folder)
        assert not found.ok
        assert "example" in (found.difference or "")
        assert "table.txt" in (found.difference or "")

    def test_an_answer_that_is_another(self, notebook: Notebook) -> None:
        notebook.run(
            "import os\ndef predict(x: float): return x if os.getpid() == HERE else x + 0.5"
        )
        notebook.names["HERE"] = os.getpid()
        made = packed(notebook, "predict", example=2.0)
        found = replay(made.folder)
        assert (found.ok, found.calls) == (False, 1)
        assert (
            found.difference
            == "call 1 of 1: outputs[0] is 2.5 where the notebook has 2.0 (0.5 off)"
        )

    def test_why_a_call_fails_is_said(self, notebook: Notebook) -> None:
        notebook.names.update(record=record, HERE=os.getpid())
        notebook.run(
            "import os\n@record\ndef root(x: float) -> float:\n    if x < 0 and os.getpid() != HERE: raise ValueError('it has no root')\n    return abs(x) ** 0.5"
        )
        notebook.run("root(4.0); root(-4.0)")
        found = replay(packed(notebook, "root").folder)
        assert found.difference == "call 2 of 2 fails with 500: ValueError: it has no root"

    def test_a_model_that_looks_at_the_whole_batch(self, notebook: Notebook) -> None:
        notebook.run("def predict(x): return x - x.mean(axis=0)")
        given = np.arange(6.0).reshape(3, 2)
        made = packed(notebook, "predict", example=given)
        found = replay(made.folder)
        assert "its example 1 asked alone" in (found.difference or "")
        assert "say batched=False" in (found.difference or "")
        single = packed(notebook, "predict", example=given, batched=False, to=notebook.root / "one")
        assert replay(single.folder).ok

    def test_what_the_model_prints_is_not_an_answer(self, notebook: Notebook) -> None:
        notebook.run(
            "import os\ndef predict(x: float):\n    print('x' * 100); os.write(1, b'raw')\n    return x"
        )
        assert replay(packed(notebook, "predict", example=2.0).folder).ok

    def test_inside_a_loop_that_runs(self, notebook: Notebook) -> None:
        notebook.run("def predict(x: float): return x")
        folder = packed(notebook, "predict", example=2.0).folder

        async def cell() -> bool:
            return replay(folder).ok

        assert asyncio.run(cell())


class TestTheInterpreter:
    def test_one_that_lacks_what_it_takes(self, notebook: Notebook, tmp_path: Path) -> None:
        notebook.run("def predict(x: float): return x")
        made = packed(notebook, "predict", example=2.0)
        venv.create(tmp_path / "bare", symlinks=True)
        python = str(tmp_path / "bare" / "bin" / "python")
        found = replay(made.folder, python)
        assert not found.ok
        assert "No module named" in (found.difference or "")
        assert "jupyter_aiinfra[serve]" in (found.difference or "")
        with pytest.raises(Unreachable):
            replay(made.folder, str(tmp_path / "none"))

    def test_one_that_does_not_end(self, notebook: Notebook) -> None:
        notebook.run(
            "import time, os\ndef predict(x: float):\n    if os.getpid() != HERE: time.sleep(600)\n    return x"
        )
        notebook.names["HERE"] = os.getpid()
        made = packed(notebook, "predict", example=2.0)
        with pytest.raises(Unreachable, match="did not answer within 3 s"):
            replay(made.folder, sys.executable, timeout=3)

    def test_what_is_no_package(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="holds no package"):
            replay(tmp_path)
