"""What a notebook made becomes a folder that the server loads, without a pickle in it."""

# ruff: noqa: E501 - a cell on one line is read more easily than one in pieces
from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from jupyter_aiinfra.errors import CaptureError, UsageError
from jupyter_aiinfra.promote.packaging import Call, package, read_package, record, recording
from jupyter_aiinfra.promote.packaging.folders import fresh
from jupyter_aiinfra.promote.packaging.tagged import function_name
from jupyter_aiinfra.serving.schema import Batch
from tests.support.notebook import Notebook
from tests.support.packages import loaded, packed


def test_the_folder_of_packages_is_its_owners_alone_whatever_the_mask(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        with fresh(tmp_path / "packages"):
            assert (tmp_path / "packages").stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(mask)


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path)


def endpoint(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "endpoint.json").read_text()))


def calls(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def answer(folder: Path, batch: Batch) -> Any:
    with loaded(folder) as served:
        told = served.predict(batch)
    if isinstance(told, dict):
        return {name: array.tolist() for name, array in told.items()}
    return told


class TestFunctions:
    def test_it_brings_what_it_needs_and_nothing_else(self, notebook: Notebook) -> None:
        (notebook.root / "own_scale.py").write_text("def scale(x, w): return x @ w\n")
        notebook.run(
            """
            import numpy as np
            W = np.arange(6.0).reshape(2, 3)
            BIG = np.zeros(10**6)
            table = {"add": 1}
            """
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(notebook.root))
            notebook.run("import own_scale")
        notebook.run("def helper(x): return own_scale.scale(x, W) + table['add']")
        notebook.run("def predict(x): return helper(x)")
        made = packed(notebook, "predict", example=(np.ones((3, 2)),))
        told = endpoint(made.folder)
        assert told["inputs"] == [{"name": "x", "dtype": "float64", "shape": [2]}]
        assert told["outputs"][0]["shape"] == [3]
        assert told["batched"] is True
        assert told["example"] == [[1.0, 1.0]]
        with zipfile.ZipFile(made.folder / "values.npz") as file:
            assert len(file.namelist()) == 1
        assert (made.folder / "modules" / "own_scale.py").is_file()
        assert answer(made.folder, {"x": np.ones((2, 2))}) == {"output": [[4, 6, 8]] * 2}
        assert made.manifest["requirements"] == [f"numpy=={np.__version__}"]

    def test_the_same_again_is_the_same_package(self, notebook: Notebook) -> None:
        notebook.run("import numpy as np\nW = np.eye(2)\ndef predict(x): return x @ W")
        first = packed(notebook, "predict", example=np.ones((1, 2)), to=notebook.root / "a")
        second = packed(notebook, "predict", example=np.ones((1, 2)), to=notebook.root / "b")
        again = packed(notebook, "predict", example=np.ones((1, 2)), to=notebook.root / "a")
        assert first.digest == second.digest
        assert again.manifest["made_at"] == first.manifest["made_at"]
        notebook.run("W = np.eye(2) * 2")
        other = packed(notebook, "predict", example=np.ones((1, 2)), to=notebook.root / "a")
        assert other.digest != first.digest
        assert read_package(notebook.root / "a").digest == other.digest
        assert {path.stat().st_mode & 0o077 for path in other.folder.rglob("*")} == {0}

    def test_hints_alone_tell_what_it_takes(self, notebook: Notebook) -> None:
        notebook.run(
            "def price(area: float, rooms: int, tags: list[str]) -> float: return area * rooms + len(tags)"
        )
        made = packed(notebook, "price")
        told = endpoint(made.folder)
        assert told["inputs"] == [
            {"name": "area", "dtype": "float64", "shape": []},
            {"name": "rooms", "dtype": "int64", "shape": []},
            {"name": "tags", "dtype": "string", "shape": [None]},
        ]
        assert (made.calls, told["batched"], told["example"]) == (0, False, None)
        batch = {
            "area": np.array([2.0, 3.0]),
            "rooms": np.array([3, 4]),
            "tags": np.array([["a", "b"], ["c", "d"]], dtype=object),
        }
        assert answer(made.folder, batch) == {"output": [8.0, 14.0]}

    def test_of_any_json(self, notebook: Notebook) -> None:
        notebook.run(
            "def predict(question: dict) -> dict: return {'said': question['text'].upper()}"
        )
        made = packed(notebook, "predict", example=({"text": "a"},))
        assert endpoint(made.folder)["inputs"] == []
        assert calls(made.folder) == [{"inputs": [{"text": "a"}], "outputs": [{"said": "A"}]}]
        assert answer(made.folder, [{"text": "b"}]) == [{"said": "B"}]

    def test_of_an_array_and_options(self, notebook: Notebook) -> None:
        notebook.run(
            "import numpy as np\ndef predict(x, options): return {'sum': x.sum() * options['by'], 'kind': str(x.dtype)}"
        )
        made = packed(notebook, "predict", example=(np.ones(3, np.float32), {"by": 2}))
        assert calls(made.folder)[0]["inputs"] == [{"x": [1, 1, 1], "options": {"by": 2}}]
        asked = [{"x": [1, 2], "options": {"by": 3}}]
        assert answer(made.folder, asked) == [{"sum": 9.0, "kind": "float32"}]

    def test_of_tensors(self, notebook: Notebook) -> None:
        notebook.run("import torch\ndef predict(x): return torch.softmax(x, dim=1)")
        made = packed(notebook, "predict", example=torch.zeros(2, 4))
        assert endpoint(made.folder)["inputs"][0]["dtype"] == "float32"
        assert answer(made.folder, {"x": np.zeros((1, 4), np.float32)}) == {"output": [[0.25] * 4]}

    def test_of_a_data_frame(self, notebook: Notebook) -> None:
        notebook.run(
            "import pandas as pd\ndef predict(frame): return frame['a'] * 2 + frame['b'].str.len()"
        )
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", "yy"]})
        made = packed(notebook, "predict", example=frame)
        told = endpoint(made.folder)
        assert [field["dtype"] for field in told["inputs"]] == ["int64", "string"]
        batch = {"a": np.array([5]), "b": np.array(["zzz"], dtype=object)}
        assert answer(made.folder, batch) == {"output": [13]}

    def test_a_generator_answers_in_parts(self, notebook: Notebook) -> None:
        notebook.run("def spell(word: str):\n    yield from word")
        made = packed(notebook, "spell", example="ab")
        assert calls(made.folder) == [{"inputs": ["ab"], "outputs": [["a", "b"]]}]
        with loaded(made.folder) as served:
            assert served.stream is not None
            assert list(served.stream("xyz")) == ["x", "y", "z"]

    def test_closures_and_data_that_a_definition_needs(self, notebook: Notebook) -> None:
        notebook.run(
            """
            from __future__ import annotations
            import numpy as np
            SIZE = [3]
            def maker(k):
                def inner(x): return x * k
                return inner
            times = maker(np.float64(4))
            class Model:
                sizes = tuple(SIZE)
                def __init__(self): self.seen = {1, 2}; self.again = self
                def run(self, x): return times(x) + len(self.seen) + self.sizes[0] + (self.again is self)
            model = Model()
            def predict(x): return model.run(x)
            """
        )
        made = packed(notebook, "predict", example=np.ones((2, 1)))
        assert answer(made.folder, {"x": np.ones((1, 1))}) == {"output": [[10.0]]}

    def test_the_cells_that_a_kernel_remembers(self, notebook: Notebook) -> None:
        cells = [
            "import numpy as np",
            "class Scale:\n    by = 3",
            "def predict(x): return x * Scale.by",
        ]
        for cell in cells:
            notebook.run(cell, recorded=False)
        notebook.names["In"] = ["", *cells]
        made = packed(notebook, "predict", example=np.ones((1, 2)), index=None)
        assert answer(made.folder, {"x": np.ones((1, 2))}) == {"output": [[3, 3]]}
        assert "# In [2], line 1\nclass Scale" in (made.folder / "endpoint_code.py").read_text()

    def test_a_signature_that_is_said(self, notebook: Notebook) -> None:
        notebook.run("def predict(x): return x * 2")
        said = {"inputs": [{"name": "x", "dtype": "float32", "shape": [None]}]}
        made = packed(notebook, "predict", example=np.ones((2, 3)), signature=said)
        assert endpoint(made.folder)["inputs"] == [
            {"name": "x", "dtype": "float32", "shape": [None]}
        ]
        wrong = {"inputs": [{"name": "y"}]}
        with pytest.raises(UsageError, match="x, y is not in both"):
            packed(notebook, "predict", example=np.ones((2, 3)), signature=wrong)
        with pytest.raises(UsageError, match="no type 'float8'"):
            packed(
                notebook,
                "predict",
                example=np.ones((2, 3)),
                signature={"outputs": [{"name": "y", "dtype": "float8"}]},
            )


class TestModules:
    NET = """
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self, hidden):
                super().__init__()
                self.body = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, 2))
                self.register_buffer("offset", torch.ones(2), persistent=False)
                self.act = torch.tanh
            def forward(self, x): return self.act(self.body(x)) + self.offset
        net = Net(8)
    """

    def test_source_and_tensors(self, notebook: Notebook) -> None:
        notebook.run(self.NET)
        given = torch.randn(5, 4)
        made = packed(notebook, "net", example=given)
        assert notebook.names["net"].training  # as it was
        assert "torch" in endpoint(made.folder)["loader"]
        found = answer(made.folder, {"x": given.numpy()})["output"]
        np.testing.assert_allclose(found, calls(made.folder)[0]["outputs"], atol=1e-5)
        assert {path.name for path in made.folder.iterdir()} >= {
            "model.safetensors",
            "endpoint_code.py",
        }

    @pytest.mark.parametrize(
        ("make", "shape"),
        [
            ("nn.LSTM(3, 5, batch_first=True)", (2, 4, 3)),
            (
                "nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)",
                (2, 6, 8),
            ),
            (
                "nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GELU(), nn.Flatten())",
                (2, 1, 5, 5),
            ),
            ("nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))", (2, 3)),
        ],
        ids=["lstm", "transformer", "convolution", "parametrized"],
    )
    def test_those_of_torch(self, notebook: Notebook, make: str, shape: tuple[int, ...]) -> None:
        notebook.run("import torch\nfrom torch import nn")
        notebook.run(f"model = {make}")
        if "parametrizations" in make:
            with pytest.raises(CaptureError, match="model"):
                packed(notebook, "model", example=torch.randn(shape))
            return
        notebook.run(
            "class First(nn.Module):\n    def __init__(self, of): super().__init__(); self.of = of\n    def forward(self, x):\n        found = self.of(x)\n        return found[0] if isinstance(found, tuple) else found"
        )
        notebook.run("net = First(model)")
        given = torch.randn(shape)
        made = packed(notebook, "net", example=given)
        found = answer(made.folder, {"x": given.numpy()})["output"]
        np.testing.assert_allclose(found, calls(made.folder)[0]["outputs"], atol=1e-4)

    def test_an_array_is_given_as_a_tensor(self, notebook: Notebook) -> None:
        notebook.run("import torch\nnet = torch.nn.Linear(2, 1)")
        made = packed(notebook, "net", example=[[1.0, 2.0]])
        other = packed(notebook, "net", example={"input": np.ones((1, 2), np.float32)})
        assert endpoint(made.folder)["inputs"] == endpoint(other.folder)["inputs"]

    def test_shared_parameters_stay_shared(self, notebook: Notebook) -> None:
        notebook.run(
            "import torch\nfrom torch import nn\nnet = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))\nnet[1].weight = net[0].weight"
        )
        made = packed(notebook, "net", example=torch.ones(1, 2))
        with loaded(made.folder):
            import endpoint_code  # type: ignore[import-not-found]

            net = endpoint_code.make()
            assert net[1].weight is net[0].weight
            assert net[0].weight.requires_grad

    def test_hooks_are_named(self, notebook: Notebook) -> None:
        notebook.run(
            "import torch\nnet = torch.nn.Linear(2, 1)\nhandle = net.register_forward_pre_hook(print)"
        )
        with pytest.raises(CaptureError, match=r"`net` has hooks \(_forward_pre_hooks\)"):
            packed(notebook, "net", example=torch.ones(1, 2))


class TestRecording:
    def test_a_decorated_function(self, notebook: Notebook) -> None:
        notebook.names["record"] = record
        notebook.run("@record\ndef predict(x: float) -> float:\n    return x + 1")
        notebook.run("predict(1.0); predict(x=2)\ntry:\n    predict('a')\nexcept TypeError: pass")
        made = packed(notebook, "predict")
        assert [call["outputs"] for call in calls(made.folder)] == [[2.0], [3]]
        assert "record" not in (made.folder / "endpoint_code.py").read_text()

    def test_while_a_block_runs(self, notebook: Notebook) -> None:
        notebook.run("def predict(x):\n    x = x + 1\n    return x\ndef use(): return predict(1)")
        plain = notebook.names["predict"]
        with recording(plain, namespace=notebook.names) as seen:
            assert notebook.names["use"]() == 2
        assert notebook.names["predict"] is plain
        assert seen == [Call(args=(1,), result=2)]
        with pytest.raises(UsageError, match="no function that the notebook has"):
            recording(lambda: 0, namespace=notebook.names).__enter__()

    def test_what_is_kept_does_not_change_with_its_arguments(self) -> None:
        def clear(values: list[int]) -> list[int]:
            values.append(0)
            return values

        kept = record(clear)
        given = [1]
        kept(given)
        given.append(9)
        assert kept.calls == [Call(args=([1],), result=[1, 0])]

    def test_a_module_in_evaluation_only(self) -> None:
        net = torch.nn.Linear(2, 1)
        with recording(net, keep=1) as seen:
            net(torch.ones(1, 2))
            net.eval()
            net(torch.ones(1, 2))
            net(torch.ones(1, 2))
        net(torch.ones(1, 2))
        assert len(seen) == 1
        assert not seen[0].result.requires_grad


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": "Digits!"}, "small letters"),
    "no form": ({"form": "tiny"}, "form .tiny.: source, export, bf16, onnx, int8 is expected"),
    "a form of a function": ({"form": "bf16"}, "predict has no form .bf16."),
    "a device of a function": ({"device": "cuda"}, "predict computes where its own code says"),
    "eight bits on a gpu": ({"form": "int8", "device": "cuda"}, "int8 computes on processors"),
    "no device": ({"device": "gpu"}, "device .gpu.: cpu, cuda, cuda:0 or auto"),
    "a class": ({"source": dict}, "a class"),
    "a value": ({"source": 3}, "cannot be packaged"),
    "no hints": ({}, "x is not known: it has no type hint"),
    "wrong example": ({"example": (1, 2)}, "not what predict takes: too many"),
    "an example with NaN": ({"example": np.array([[np.nan]])}, "holds NaN"),
    "an empty example": ({"example": np.zeros((0, 2))}, "empty"),
    "complex numbers": ({"example": np.array([1j])}, "no request can bring"),
    "an object": ({"example": (object(),)}, "x is a object"),
    "no notebook": ({"source": Path("none.ipynb")}, "cannot be read"),
    "no such data": ({"data": ["none.csv"], "example": 1}, "no such file or folder"),
    "not a model": ({"source": "models://x"}, "names no model"),
}


class TestRefused:
    @pytest.mark.parametrize("case", BAD)
    def test_says_what_is_wrong(self, notebook: Notebook, case: str) -> None:
        notebook.run("def predict(x): return x")
        options, text = BAD[case]
        told = {"source": notebook.names["predict"], "name": "m", **options}
        with pytest.raises(UsageError, match=text):
            packed(notebook, told.pop("source"), **told)
        assert not (notebook.root / "package-thing").exists()
        assert not list(notebook.root.glob(".making-*"))

    def test_what_only_a_pickle_could_carry(self, notebook: Notebook) -> None:
        notebook.run(
            "import random\ndice = {'of': random.Random(0)}\ndef predict(x: float): return dice['of'].random()"
        )
        with pytest.raises(
            CaptureError, match=r"`dice\['of'\]` is a random.Random, which"
        ) as caught:
            packed(notebook, "predict")
        assert "models:/" in caught.value.hint

    def test_a_secret_stays_here(self, notebook: Notebook) -> None:
        notebook.run(
            "api_token = 'ghp_0123456789abcdefghijklmnopqrstuvwxyz'\ndef predict(x: float): return len(api_token)"
        )
        with pytest.raises(
            CaptureError, match=r"`predict` cannot be packaged:\n.*looks like a secret"
        ):
            packed(notebook, "predict")

    def test_something_else_is_never_overwritten(self, notebook: Notebook) -> None:
        notebook.run("def predict(x: float): return x")
        (notebook.root / "mine").mkdir()
        (notebook.root / "mine" / "thesis.tex").touch()
        with pytest.raises(UsageError, match="is no package"):
            packed(notebook, "predict", to=notebook.root / "mine")
        assert (notebook.root / "mine" / "thesis.tex").exists()


class TestTagged:
    def write(self, notebook: Notebook, *cells: tuple[str, list[str]]) -> Path:
        path = notebook.root / "model.ipynb"
        made: list[dict[str, Any]] = [
            {
                "cell_type": "code",
                "source": text,
                "metadata": {"tags": tags},
                "outputs": [],
                "execution_count": None,
            }
            for text, tags in cells
        ]
        path.write_text(
            json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made})
        )
        return path

    def test_the_function_of_the_cell(self, notebook: Notebook) -> None:
        cell = "%time\nclass Helper: pass\ndef answer(x: float) -> float: return x * 2"
        path = self.write(notebook, ("x = 1", []), (cell, ["predict"]))
        notebook.run(cell.partition("\n")[2])
        made = packed(notebook, path, name="tagged", notebook=path)
        assert made.manifest["source"] == "answer"
        assert made.manifest["lineage"]["notebook"]["path"] == "model.ipynb"

    def test_what_is_wrong_with_it(self, notebook: Notebook) -> None:
        with pytest.raises(UsageError, match="has no cells tagged predict"):
            function_name(self.write(notebook, ("def f(x): pass", [])))
        with pytest.raises(UsageError, match="has 2 cells"):
            function_name(self.write(notebook, ("x", ["predict"]), ("y", ["predict"])))
        with pytest.raises(UsageError, match="defines 2 functions: f, g"):
            function_name(self.write(notebook, ("def f(x): pass\ndef g(x): pass", ["predict"])))
        path = self.write(notebook, ("def later(x): pass", ["predict"]))
        with pytest.raises(UsageError, match="its cell was not run"):
            package(path, name="m", namespace={})


def test_lineage_names_data_and_environment(notebook: Notebook) -> None:
    (notebook.root / "data").mkdir()
    (notebook.root / "data" / "a.csv").write_text("1")
    (notebook.root / "requirements.txt").write_text("numpy==1.26.4\n")
    notebook.run("def predict(x: float): return x")
    made = packed(notebook, "predict", data=["data"], environment="requirements.txt", lock=True)
    (data,) = made.manifest["lineage"]["data"]
    assert (data["name"], data["size_bytes"], data["files"]) == ("data", 1, 1)
    assert made.manifest["environment"]["kind"] == "requirements"
    assert "numpy==" in (made.folder / "environment.lock").read_text()


class TestCallsOfAFile:
    def test_they_have_to_be_answered_beside_the_example(
        self, notebook: Notebook, tmp_path: Path
    ) -> None:
        notebook.run("def double(x): return x * 2")
        file = tmp_path / "served.jsonl"
        told = {"inputs": [[3.0, 4.0]], "outputs": [[6.0, 8.0]]}
        file.write_text(json.dumps(told) + "\n\n")
        made = packed(
            notebook, "double", example=np.ones((1, 2), np.float32), calls=str(file), batched=True
        )
        assert calls(made.folder) == [
            {"inputs": [[1.0, 1.0]], "outputs": [[2.0, 2.0]]},
            told,
        ]
        assert endpoint(made.folder)["example"] == [[1.0, 1.0]]

    @pytest.mark.parametrize(
        ("text", "said"),
        [("{", "line 1"), ('{"inputs": 1}', "no recorded call"), ("[]", "no recorded call")],
    )
    def test_what_is_none_is_told_by_its_line(
        self, notebook: Notebook, tmp_path: Path, text: str, said: str
    ) -> None:
        notebook.run("def double(x): return x * 2")
        file = tmp_path / "served.jsonl"
        file.write_text(text)
        with pytest.raises(UsageError, match=said):
            packed(notebook, "double", calls=file)
        with pytest.raises(UsageError, match="cannot be read"):
            packed(notebook, "double", calls=tmp_path / "nowhere.jsonl")
