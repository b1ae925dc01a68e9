"""A graph as a model of Triton Inference Server: its configuration, and how it is started."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from jupyter_aiinfra.serving.manifest import Manifest
from jupyter_aiinfra.serving.schema import Field

__all__ = ["config_text", "readme_text"]

_SIZES = (8, 16, 32, 64)

# Of the Open Inference Protocol; a configuration has the same names but one.
_WIRE: Final = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
    **{f"{sign}int{size}": f"{sign}int{size}".upper() for sign in ("", "u") for size in _SIZES},
}


def config_text(
    manifest: Manifest, *, inputs: Sequence[str], outputs: Sequence[str], max_batch: int
) -> str:
    """Return ``config.pbtxt``.

    Parameters
    ----------
    inputs, outputs
        What the graph calls them, in the order of the manifest.
    """
    kind = "KIND_CPU" if manifest.device == "cpu" else "KIND_AUTO"
    lines = [
        f"name: {json.dumps(manifest.name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {max_batch}",
    ]
    for what, names, fields in (
        ("input", inputs, manifest.inputs),
        ("output", outputs, manifest.outputs),
    ):
        for name, field in zip(names, fields, strict=True):
            lines += _tensor(what, name, field)
    # What has queued while the last batch ran is the next one, and nobody is waited for.
    lines += ["dynamic_batching { }", f"instance_group [ {{ kind: {kind} }} ]"]
    return "\n".join([*lines, ""])


def _tensor(what: str, name: str, field: Field) -> list[str]:
    sizes = ", ".join("-1" if size is None else str(size) for size in field.shape)
    # A number for each example has no size of its own, which a configuration cannot say plainly.
    shape = [f"    dims: [ {sizes} ]"] if field.shape else ["    dims: [ 1 ]", "    reshape { }"]
    kind = "TYPE_STRING" if field.dtype == "string" else f"TYPE_{_WIRE[field.dtype]}"
    return [
        f"{what} [",
        "  {",
        f"    name: {json.dumps(name)}",
        f"    data_type: {kind}",
        *shape,
        "  }",
        "]",
    ]


def readme_text(manifest: Manifest, *, inputs: Sequence[str]) -> str:
    """Return how the repository is started, and how its model is asked."""
    body = json.dumps({"inputs": _asked(manifest, inputs)}) if manifest.example is not None else ""
    gpus = "" if manifest.device == "cpu" else "--gpus all "
    asking = f"""
Ask it, with the model's own example:

```sh
curl http://127.0.0.1:8000/v2/models/{manifest.name}/infer -d '{body}'
```
"""
    return f"""# {manifest.name}

A model for Triton Inference Server, of version {manifest.version}. The folder that holds this one
is the model repository; RELEASE is a release of Triton, such as 25.10.

```sh
docker run --rm {gpus}-p 8000:8000 -p 8001:8001 -p 8002:8002 -v "$PWD:/models" \\
  nvcr.io/nvidia/tritonserver:RELEASE-py3 tritonserver --model-repository=/models
```
{asking if body else ""}
`config.pbtxt` has requests batched that wait while another batch runs. Clients of the Open
Inference Protocol that call the endpoint call this one as they are.
"""


def _asked(manifest: Manifest, names: Sequence[str]) -> list[dict[str, Any]]:
    told = manifest.example
    columns = told if len(manifest.inputs) > 1 else {manifest.inputs[0].name: told}
    return [
        {
            "name": name,
            "datatype": _WIRE[field.dtype],
            "shape": [len(columns[field.name]), *_sizes(columns[field.name][0])],
            "data": columns[field.name],
        }
        for name, field in zip(names, manifest.inputs, strict=True)
    ]


def _sizes(value: Any) -> list[int]:
    return [len(value), *_sizes(value[0])] if isinstance(value, list) and value else []
