"""Forms of a module: each is measured, passes the gate within what it says, and is served."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import onnxruntime
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.packaging import Package, replay, report
from jupyter_aiinfra.promote.packaging.handing import hand_over
from tests.integration.serving_endpoint import Endpoint
from tests.integration.test_serving_gpu import NET, asked, close
from tests.support.notebook import Notebook
from tests.support.packages import packed

SHARES = {"export": 1e-4, "bf16": 0.02, "onnx": 1e-4, "int8": 0.1}
LOADERS = {"export": "torch", "bf16": "torch", "onnx": "onnx", "int8": "onnx"}


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    made = Notebook(tmp_path_factory.mktemp("forms"))
    made.run(NET)
    return made.run("net = trained('cpu')")


@pytest.fixture(scope="module")
def package_as(notebook: Notebook) -> Callable[[str], Package]:
    """Return what packages the module in a form, once: torch takes its time to export it."""

    @functools.cache
    def made(form: str) -> Package:
        return packed(notebook, "net", example=given(16, 1), form=form, to=notebook.root / form)

    return made


def given(count: int, seed: int) -> Any:
    return torch.randn(count, 5, 8, generator=torch.Generator().manual_seed(seed)).numpy()


@pytest.mark.parametrize("form", ["export", "bf16", "onnx", "int8"])
def test_a_form_is_measured_and_served(
    notebook: Notebook, package_as: Callable[[str], Package], form: str
) -> None:
    net = notebook.names["net"]
    rows = given(24, 2)
    made = package_as(form)
    endpoint = json.loads((made.folder / "endpoint.json").read_text())
    assert endpoint["loader"] == LOADERS[form]

    told = made.manifest["measured"]
    assert told["source"]["off"] < 1e-5
    assert told["form"]["off"] < SHARES[form]
    assert told["form"]["examples"] == told["form"]["chosen"] == 16
    assert told["form"]["one_seconds"] > 0
    smaller = told["form"]["weight_bytes"] / told["source"]["weight_bytes"]
    # The graph itself takes some, of a module as small as this.
    least, most = {"bf16": (0.45, 0.55), "int8": (0.3, 0.8)}.get(form, (0.9, 1.6))
    assert least < smaller < most, told
    text = report(made.manifest) or ""
    assert text.startswith(f"{form}: ")
    assert "of 16 examples" in text

    if endpoint["loader"] == "onnx":
        graph = (made.folder / "model.onnx").read_bytes()
        assert b"forward" not in graph
        assert str(notebook.root).encode() not in graph
    assert made.manifest["tolerance"][0] == SHARES[form]
    assert replay(made.folder).ok
    with torch.inference_mode():
        wanted = net(torch.from_numpy(rows)).numpy()
    with Endpoint(made.folder, workers=1) as served:
        found = asked(served.url, rows)
    close(found, wanted, made)


class TestHandedOver:
    """What other servers are given is checked by what runs it there."""

    @pytest.mark.parametrize("form", ["source", "bf16", "export", "int8"])
    def test_a_repository_of_triton(
        self, notebook: Notebook, package_as: Callable[[str], Package], form: str
    ) -> None:
        made = package_as(form)
        to = notebook.root / f"repository-{form}"
        handed = hand_over(made.folder, to, kind="triton", name="nets", max_batch=32)
        assert [str(path.relative_to(to)) for path in handed.files] == [
            "nets/1/model.onnx",
            "nets/README.md",
            "nets/config.pbtxt",
        ]
        assert handed.replay.ok
        config = text_format.Parse(
            (to / "nets" / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
        )
        assert (config.name, config.backend, config.max_batch_size) == ("nets", "onnxruntime", 32)
        assert config.HasField("dynamic_batching")
        told = [(each.name, each.data_type, list(each.dims)) for each in config.input]
        assert told == [("x", model_config_pb2.TYPE_FP32, [5, 8])]

        session = onnxruntime.InferenceSession(to / "nets" / "1" / "model.onnx")
        assert [each.name for each in session.get_inputs()] == [each.name for each in config.input]
        assert [each.name for each in session.get_outputs()] == [
            each.name for each in config.output
        ]
        net = notebook.names["net"]
        for count in (1, 7, 32):
            rows = given(count, count)
            (found,) = session.run(None, {"x": rows})
            assert list(found.shape[1:]) == list(config.output[0].dims)
            with torch.inference_mode():
                close(found, net(torch.from_numpy(rows)).numpy(), made)
        readme = (to / "nets" / "README.md").read_text()
        body = json.loads(readme.split("-d '")[1].split("'")[0])
        assert body["inputs"][0]["shape"] == [1, 5, 8]
        with pytest.raises(UsageError, match="nets is there already"):
            hand_over(made.folder, to, kind="triton", name="nets")

    def test_a_package_with_a_graph_is_served_as_it_is(
        self, notebook: Notebook, package_as: Callable[[str], Package]
    ) -> None:
        made = package_as("source")
        handed = hand_over(made.folder, notebook.root / "graph", kind="onnx")
        with torch.inference_mode():
            wanted = notebook.names["net"](torch.from_numpy(given(9, 5))).numpy()
        with Endpoint(handed.folder, workers=1) as served:
            close(asked(served.url, given(9, 5)), wanted, made)

    def test_a_module_that_would_be_another_as_a_graph(self, notebook: Notebook) -> None:
        made = packed(notebook, "net", example=given(4, 1), to=notebook.root / "hand-other")
        lines = made.folder / "calls.jsonl"
        call = json.loads(lines.read_text())
        call["outputs"][0][0] += 1
        lines.write_text(json.dumps(call) + "\n")
        with pytest.raises(UsageError, match="as a graph it is another model: call 1 of 1"):
            hand_over(made.folder, notebook.root / "other", kind="onnx")
        assert not (notebook.root / "other").exists()

    def test_a_function_stays_python(self, notebook: Notebook) -> None:
        notebook.run("def double(x: float): return x * 2")
        made = packed(notebook, "double", example=2.0)
        with pytest.raises(UsageError, match="only modules of torch and graphs of ONNX"):
            hand_over(made.folder, notebook.root / "none", kind="triton")
