"""Folders become predictors; what cannot be served says why before anybody asks."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from jupyter_aiinfra.serving.model import CannotServe, load_model, read_manifest

X = {"name": "x", "dtype": "float32", "shape": [2]}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def manifest(folder: Path, **told: Any) -> None:
    (folder / "endpoint.json").write_text(json.dumps({"name": "m", **told}))


def code(folder: Path, text: str) -> None:
    (folder / "served_code.py").write_text(text)


class TestFunction:
    def test_of_one_array(self, folder: Path) -> None:
        code(folder, "def double(x): return x * 2")
        manifest(folder, entry="served_code:double", version="7", inputs=[X], example=[[1, 2]])
        served = load_model(folder)
        assert (served.name, served.version) == ("m", "7")
        assert 0 < served.single_seconds < 1
        answer = served.predict({"x": np.ones((3, 2), np.float32)})
        assert answer["output"].tolist() == [[2, 2]] * 3  # type: ignore[call-overload]

    def test_of_several_by_name_with_named_answers(self, folder: Path) -> None:
        code(folder, "def f(a, b): return a + b, a * b")
        fields = [{"name": "a"}, {"name": "b"}]
        manifest(
            folder, entry="served_code:f", inputs=fields, outputs=[{"name": "s"}, {"name": "p"}]
        )
        served = load_model(folder)
        assert served.example is None
        answer: Any = served.predict({"a": np.array([2.0]), "b": np.array([3.0])})
        assert (answer["s"].tolist(), answer["p"].tolist()) == ([5], [6])

    def test_of_any_json_one_by_one(self, folder: Path) -> None:
        code(folder, "def predict(value): return {'n': len(value)}")
        manifest(folder, entry="served_code", batched=False, example=["abc"])
        assert load_model(folder).predict(["ab", "c"]) == [{"n": 2}, {"n": 1}]

    def test_of_rows(self, folder: Path) -> None:
        code(folder, "def f(x): return x.sum()")
        manifest(
            folder, entry="served_code:f", batched=False, inputs=[X], outputs=[{"name": "sum"}]
        )
        answer: Any = load_model(folder).predict({"x": np.ones((2, 2), np.float32)})
        assert answer["sum"].tolist() == [2, 2]

    def test_a_generator_streams(self, folder: Path) -> None:
        code(folder, "def f(text):\n    yield from text")
        manifest(folder, entry="served_code:f", example=["ab"])
        served = load_model(folder)
        assert served.predict(["xy"]) == [["x", "y"]]
        assert served.stream is not None
        assert list(served.stream("xy")) == ["x", "y"]


NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)
        self.drop = torch.nn.Dropout(0.5)
    def forward(self, x):
        assert torch.is_inference_mode_enabled()
        return self.drop(self.linear(x))
"""
WEIGHTS = {"linear.weight": torch.tensor([[1.0, 2.0]]), "linear.bias": torch.tensor([3.0])}


class TestTorch:
    @pytest.mark.parametrize("weights", ["w.safetensors", "w.pt"])
    def test_a_module_and_its_weights(self, folder: Path, weights: str) -> None:
        code(folder, NET)
        if weights.endswith(".pt"):
            torch.save(WEIGHTS, folder / weights)
        else:
            save_file(WEIGHTS, folder / weights)
        manifest(
            folder,
            loader="torch",
            entry="served_code:Net",
            weights=weights,
            inputs=[X],
            example=[[1, 1]],
        )
        read_only = np.frombuffer(np.ones(2, np.float32).tobytes(), np.float32).reshape(1, 2)
        answer: Any = load_model(folder).predict({"x": read_only})
        assert answer["output"].tolist() == [[6]]

    def test_an_exported_program(self, folder: Path) -> None:
        class Sum(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x.sum(1)

        batch = torch.export.Dim("batch")
        program = torch.export.export(Sum(), (torch.ones(2, 2),), dynamic_shapes=({0: batch},))
        torch.export.save(program, folder / "sum.pt2")
        manifest(folder, loader="torch", entry="sum.pt2", inputs=[X], example=[[1, 2], [3, 4]])
        answer: Any = load_model(folder).predict({"x": np.ones((3, 2), np.float32)})
        assert answer["output"].tolist() == [2, 2, 2]

    def test_weights_are_never_unpickled(self, folder: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (folder / "harm",))

        code(folder, NET)
        (folder / "w.pt").write_bytes(pickle.dumps(Evil()))
        manifest(folder, loader="torch", entry="served_code:Net", weights="w.pt", inputs=[X])
        with pytest.raises(CannotServe, match=r"w\.pt"):
            load_model(folder)
        assert not (folder / "harm").exists()


class TestCannot:
    @pytest.mark.parametrize(
        ("told", "said"),
        [
            ({"entry": "no_such_module:f"}, "no_such_module"),
            ({"entry": "served_code:nothing"}, "nothing"),
            ({"entry": "served_code:ONE"}, "is no function"),
            ({"entry": "served_code:f", "inputs": [{"name": "x", "dtype": "f8"}]}, "no type 'f8'"),
            ({"entry": "served_code:f", "loader": "pickle"}, "Invalid enum value 'pickle'"),
            (
                {"entry": "served_code:f", "inputs": [X], "example": [[1]]},
                r"example is not .* shape",
            ),
            ({"entry": "served_code:f", "inputs": [X], "example": [[1, 2]]}, r"own example: .*bad"),
            ({"entry": "served_code:twice", "example": [1]}, "returns 2 examples for 1"),
            ({"entry": "x.pt2", "loader": "torch"}, "needs `inputs`"),
        ],
    )
    def test_says_why(self, folder: Path, told: dict[str, Any], said: str) -> None:
        code(folder, "ONE = 1\ndef f(x): raise ValueError('bad')\ndef twice(x): return x * 2")
        manifest(folder, **told)
        with pytest.raises(CannotServe, match=said):
            load_model(folder)

    def test_a_folder_without_a_manifest(self, tmp_path: Path) -> None:
        with pytest.raises(CannotServe, match=r"endpoint\.json: No such file"):
            read_manifest(tmp_path)

    def test_a_manifest_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "endpoint.json").write_text("[")
        with pytest.raises(CannotServe, match=r"endpoint\.json"):
            read_manifest(tmp_path)
