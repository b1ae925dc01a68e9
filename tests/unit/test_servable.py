from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from jupyter_aiinfra.magics.servable import servable
from jupyter_aiinfra.promote.packaging import record


def of_notebook(source: str) -> dict[str, Any]:
    """Return the names that a notebook has after this source."""
    names: dict[str, Any] = {"__name__": "__main__"}
    # Not with the future of this file.
    exec(compile(source, "<cell>", "exec", dont_inherit=True), names)  # noqa: S102 - as a kernel
    return names


def told(names: dict[str, Any], **hidden: Any) -> dict[str, Any]:
    return servable(names, hidden=hidden)._repr_json_()


def test_functions_of_the_notebook_are_told_with_what_they_take() -> None:
    names = of_notebook("import os\ndef predict(x: float, *, k=2): ...\ndef _hidden(): ...\nn = 3")
    names |= {"record": record, "exit": print}
    assert told(names)["sources"] == [
        {"name": "predict", "kind": "function", "text": "(x: float, *, k=2)", "calls": 0}
    ]


def test_recorded_calls_are_counted() -> None:
    names = of_notebook("def predict(x): return x")
    names["predict"] = record(names["predict"])
    names["predict"](1)
    names["predict"](2)
    (found,) = told(names)["sources"]
    assert (found["kind"], found["text"], found["calls"]) == ("function", "(x)", 2)


def test_a_file_beside_the_notebook_counts_and_what_is_installed_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    beside = types.ModuleType("beside")
    beside.__file__ = str(tmp_path / "beside.py")
    monkeypatch.setitem(sys.modules, "beside", beside)
    exec("def score(x): ...", vars(beside))  # noqa: S102
    names = {
        "score": vars(beside)["score"],
        "mean": np.mean,
        "path": Path.cwd,
        "raises": pytest.fail,
    }
    assert [each["name"] for each in told(names)["sources"]] == ["score"]


def test_modules_of_torch_are_told_by_their_class() -> None:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        pass

    names = {"net": Net(), "Net": Net, "x": torch.zeros(8, 2)}
    assert told(names) == {
        "sources": [{"name": "net", "kind": "module", "text": "Net", "calls": 0}],
        "examples": [{"name": "x", "text": "Tensor 8 x 2"}],
    }


def test_what_may_be_an_example_is_told_by_its_shape() -> None:
    names = {
        "a": np.zeros((3, 2)),
        "rows": [1, 2],
        "none": [],
        "np": np,
        "text": "x",
        "s": np.ndarray,
    }
    assert told(names)["examples"] == [
        {"name": "a", "text": "ndarray 3 x 2"},
        {"name": "rows", "text": "list of 2"},
    ]


def test_names_of_ipython_are_left_out_until_the_notebook_takes_them() -> None:
    history = ["", "x = 1"]
    assert told({"In": history}, In=history)["examples"] == []
    assert told({"In": [1]}, In=history)["examples"] == [{"name": "In", "text": "list of 1"}]


def test_there_is_a_most_of_what_is_told() -> None:
    names = {f"a{number}": [1] for number in range(250)}
    assert len(told(names)["examples"]) == 200


def test_a_kernel_is_asked_by_an_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    config = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
    make: Any = InteractiveShell
    shell = make(config=config, user_module=module)
    shell.run_cell("def predict(x):\n    return x\nrows = [1, 2]", store_history=False)
    # As labextension/src/deployform/kernel.ts writes it.
    asked = '__import__("jupyter_aiinfra.magics.servable", fromlist=["servable"]).servable()'
    found = shell.user_expressions({"found": asked})["found"]
    assert found["status"] == "ok", found
    value = found["data"]["application/json"]
    assert [each["name"] for each in value["sources"]] == ["predict"]
    assert [each["name"] for each in value["examples"]] == ["rows"]
