"""Graphs of ONNX, which onnxruntime runs: nothing of what made them has to be there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyter_aiinfra.serving.manifest import CannotServe, Manifest
from jupyter_aiinfra.serving.schema import Batch

__all__ = ["OnnxModel"]

_ON_GPU = "CUDAExecutionProvider"
_ERRORS_ONLY = 3


class OnnxModel:
    """A graph; its inputs and outputs by position, in the order of the manifest."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        try:
            import onnxruntime  # noqa: PLC0415 - only who serves such a model has it
        except ImportError:
            raise CannotServe(
                "the model is a graph of ONNX, and onnxruntime is not installed: "
                "pip install onnxruntime (onnxruntime-gpu for a GPU)"
            ) from None
        if not manifest.inputs:
            raise CannotServe("an onnx model needs `inputs` in its manifest")
        path = folder / manifest.entry
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        # Workers share the cores, which this library, unlike others, does not find out by itself.
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0)
        # Threads that wait by turning would take the core on which requests are read.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            path, options, providers=_providers(onnxruntime, manifest.device)
        )
        if manifest.device.startswith("cuda") and _ON_GPU not in self._session.get_providers():
            raise CannotServe(f"device {manifest.device}: onnxruntime cannot use the GPU here")
        taken = [each.name for each in self._session.get_inputs()]
        if len(taken) != len(manifest.inputs):
            raise CannotServe(
                f"{manifest.entry} takes {', '.join(taken)}, and the manifest has "
                f"{len(manifest.inputs)} inputs"
            )
        self._inputs = [
            (told.name, name) for told, name in zip(manifest.inputs, taken, strict=True)
        ]
        given = [each.name for each in self._session.get_outputs()]
        names = [field.name for field in manifest.outputs] or given
        if len(names) != len(given):
            raise CannotServe(
                f"{manifest.entry} returns {', '.join(given)}, and the manifest has {len(names)} "
                "outputs"
            )
        self._outputs = names
        self.device = "cuda" if _ON_GPU in self._session.get_providers() else "cpu"
        self.weight_bytes = sum(each.stat().st_size for each in folder.glob(f"{path.name}*"))

    def predict(self, batch: Any) -> Batch:
        """Return as many examples as `batch` holds."""
        answer = self._session.run(None, {name: batch[told] for told, name in self._inputs})
        return dict(zip(self._outputs, answer, strict=True))


def _providers(onnxruntime: Any, device: str) -> list[Any]:
    """Return what is to run the graph, the best first.

    Raises
    ------
    CannotServe
        The device is none, or this build of onnxruntime cannot use it.
    """
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "auto") or (number and not number.isdigit()):
        raise CannotServe(f"device {device!r}: cpu, cuda, cuda:0 or auto is expected")
    here = onnxruntime.get_available_providers()
    if kind == "cuda" and _ON_GPU not in here:
        raise CannotServe(
            f"device {device}: onnxruntime {onnxruntime.__version__} is built without CUDA: "
            "pip install onnxruntime-gpu"
        )
    cpu = "CPUExecutionProvider"
    if kind == "cpu" or _ON_GPU not in here:
        return [cpu]
    return [(_ON_GPU, {"device_id": int(number or 0)}), cpu]
