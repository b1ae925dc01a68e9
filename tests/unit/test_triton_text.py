"""Configurations of Triton are read by its own protocol: each field as the manifest has it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from jupyter_aiinfra.promote.packaging.triton import config_text, readme_text
from jupyter_aiinfra.serving.manifest import Manifest
from jupyter_aiinfra.serving.schema import DTYPES, Field


def parsed(manifest: Manifest, **names: Any) -> Any:
    inputs = names.get("inputs", [field.name for field in manifest.inputs])
    outputs = names.get("outputs", [field.name for field in manifest.outputs])
    text = config_text(manifest, inputs=inputs, outputs=outputs, max_batch=16)
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_type_has_its_name(dtype: str) -> None:
    field = Field(name="x", dtype=dtype, shape=(3,))
    manifest = Manifest(name="m", entry="m.onnx", loader="onnx", inputs=(field,), outputs=(field,))
    config = parsed(manifest)
    wanted = {"float16": "FP16", "float32": "FP32", "float64": "FP64"}.get(dtype, dtype.upper())
    assert config.input[0].data_type == getattr(model_config_pb2, f"TYPE_{wanted}")


def test_shapes_names_and_places() -> None:
    inputs = (
        Field(name="x", dtype="float32", shape=(None, 4)),
        Field(name="a", dtype="int64", shape=()),
    )
    outputs = (Field(name="y", dtype="float32", shape=(2,)),)
    made = Manifest(name="m", entry="m.onnx", device="auto", inputs=inputs, outputs=outputs)
    config = parsed(made, inputs=['odd"name', "a"])
    assert [each.name for each in config.input] == ['odd"name', "a"]
    assert list(config.input[0].dims) == [-1, 4]
    assert not config.input[0].HasField("reshape")
    assert (list(config.input[1].dims), config.input[1].HasField("reshape")) == ([1], True)
    assert list(config.input[1].reshape.shape) == []
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_AUTO
    assert config.HasField("dynamic_batching")


def test_the_readme_asks_with_the_example() -> None:
    fields = (Field(name="x", dtype="float32", shape=(2,)), Field(name="k", dtype="int64"))
    example = {"x": [[1.0, 2.0]], "k": [3]}
    made = Manifest(name="m", entry="m.onnx", device="cuda", inputs=fields, example=example)
    text = readme_text(made, inputs=["x", "k"])
    assert "--gpus all" in text
    body = json.loads(text.split("-d '")[1].split("'")[0])
    assert body["inputs"][0] == {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, 2],
        "data": [[1.0, 2.0]],
    }
    assert (body["inputs"][1]["datatype"], body["inputs"][1]["shape"]) == ("INT64", [1])
    assert "curl" not in readme_text(
        Manifest(name="m", entry="m", inputs=fields), inputs=["x", "k"]
    )
