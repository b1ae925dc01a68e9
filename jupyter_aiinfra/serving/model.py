"""What is served: a folder with ``endpoint.json``, and the predictor that it describes.

Four loaders: ``function`` (a Python function in a file of the folder), ``torch`` (a module, its
weights beside it, or a program that ``torch.export`` wrote), ``onnx`` (a graph, which onnxruntime
runs) and ``mlflow`` (a model folder, or the URI of one in a registry). Weights of torch are read as
tensors only, never unpickled; what MLflow loads it loads in its own way.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import numpy as np

from jupyter_aiinfra.serving.faults import BadInput
from jupyter_aiinfra.serving.manifest import (
    MANIFEST,
    CannotServe,
    Manifest,
    named,
    read_manifest,
)
from jupyter_aiinfra.serving.onnxed import OnnxModel
from jupyter_aiinfra.serving.schema import Batch, Field, Reader, Signature, rows_of
from jupyter_aiinfra.serving.torched import TorchModel

__all__ = [
    "MANIFEST",
    "CannotServe",
    "Manifest",
    "Predictor",
    "Served",
    "load_model",
    "mlflow_fields",
    "read_manifest",
]

_LEAST_TIMES = 3
_WARM_SECONDS = 1.0


class Predictor(Protocol):
    """Answers batches. Called by one thread at a time, and not always by the same one."""

    def predict(self, batch: Batch) -> Batch:
        """Return as many examples as `batch` holds."""
        ...


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model that is loaded and warm.

    Parameters
    ----------
    example
        One batch that it is known to answer; ``None`` where none was given.
    single_seconds
        How long that takes.
    stream
        Yields the parts of one example's answer, where the entry is a generator.
    weight_bytes
        What its weights take, where the loader knows.
    device
        Where it computes, ``cpu`` or ``cuda``, as far as that is known.
    """

    name: str
    version: str
    loader: str
    signature: Signature
    predict: Callable[[Batch], Batch]
    example: Batch | None
    single_seconds: float
    stream: Callable[[Any], Iterator[Any]] | None = None
    weight_bytes: int | None = None
    device: str = "cpu"


def load_model(folder: Path, *, warm_up: int = 30, device: str | None = None) -> Served:
    """Load what is in `folder` and answer its example a few times.

    Puts the folder at the head of ``sys.path``: one model a process.

    Parameters
    ----------
    device
        Where it computes, whatever the manifest says.

    Raises
    ------
    CannotServe
        It cannot be loaded, or fails on its own example.
    """
    manifest = read_manifest(folder)
    if device is not None:
        manifest = replace(manifest, device=device)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        predictor, stream = _predictor(folder, manifest)
    except CannotServe:
        raise
    except Exception as error:
        raise CannotServe(f"{manifest.weights or manifest.entry}: {error}") from error
    signature = predictor.signature if isinstance(predictor, _Mlflow) else manifest.signature
    example = _example(manifest, signature)
    return Served(
        name=manifest.name,
        version=manifest.version,
        loader=manifest.loader,
        signature=signature,
        predict=predictor.predict,
        example=example,
        single_seconds=_warmed(predictor, example, times=warm_up),
        stream=stream,
        weight_bytes=getattr(predictor, "weight_bytes", None),
        device=getattr(predictor, "device", "cpu"),
    )


def _predictor(
    folder: Path, manifest: Manifest
) -> tuple[Predictor, Callable[[Any], Iterator[Any]] | None]:
    if manifest.loader == "torch":
        return TorchModel(folder, manifest), None
    if manifest.loader == "onnx":
        return OnnxModel(folder, manifest), None
    if manifest.loader == "mlflow":
        return _Mlflow(folder, manifest), None
    function = named(manifest.entry)
    stream = function if inspect.isgeneratorfunction(function) else None
    return _Function(function, manifest), stream


def _example(manifest: Manifest, signature: Signature) -> Batch | None:
    if manifest.example is None:
        return None
    # Read as a request would be, so that an example that fits is a promise.
    try:
        return Reader(signature).read(msgspec.json.encode({"inputs": manifest.example}))
    except BadInput as error:
        raise CannotServe(f"the example is not what the model takes: {error}") from error


def _warmed(predictor: Predictor, example: Batch | None, *, times: int) -> float:
    """Answer `example` a few times; return the seconds of the best, or infinity without one.

    Three times at least; more only where that is quick, as the best of few is still a slow one on
    a machine that does something else.
    """
    best = float("inf")
    first = time.perf_counter()
    for number in range(times if example is not None else 0):
        batch = cast("Batch", example)
        if number > _LEAST_TIMES and time.perf_counter() - first > _WARM_SECONDS:
            break
        begun = time.perf_counter()
        try:
            answer = predictor.predict(batch)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise CannotServe(f"the model fails on its own example: {said}") from error
        best = min(best, time.perf_counter() - begun)
        if rows_of(answer) != rows_of(batch):
            raise CannotServe(
                f"the model returns {rows_of(answer)} examples for {rows_of(batch)} of its own"
            )
    return best


def _as_batch(answer: Any, outputs: Sequence[Field]) -> Batch:
    """Return what a model returned as a batch: arrays by name, or a list."""
    if isinstance(answer, Mapping):
        return {name: np.asarray(value) for name, value in answer.items()}
    if isinstance(answer, tuple) and len(answer) == len(outputs) > 1:
        pairs = zip(outputs, answer, strict=True)
        return {field.name: np.asarray(value) for field, value in pairs}
    if isinstance(answer, list) and not outputs:
        return answer
    return {outputs[0].name if outputs else "output": np.asarray(answer)}


class _Function:
    """A function of one array, of several by keyword, or of a list of JSON values."""

    def __init__(self, function: Callable[..., Any], manifest: Manifest) -> None:
        self._function = function
        self._fields = manifest.inputs
        self._outputs = manifest.outputs
        self._each = not manifest.batched or inspect.isgeneratorfunction(function)

    def predict(self, batch: Batch) -> Batch:
        if self._each:
            return self._one_by_one(batch)
        return _as_batch(self._call(batch), self._outputs)

    def _call(self, batch: Any) -> Any:
        if not self._fields:
            return self._function(batch)
        if len(self._fields) == 1:
            return self._function(batch[self._fields[0].name])
        return self._function(**batch)

    def _one_by_one(self, batch: Any) -> Batch:
        answers = []
        for row in range(rows_of(batch)):
            one = (
                {name: array[row] for name, array in batch.items()} if self._fields else batch[row]
            )
            answer = self._call(one)
            answers.append(list(answer) if isinstance(answer, Iterator) else answer)
        if self._outputs:
            return _as_batch(np.asarray(answers), self._outputs)
        return answers


class _Mlflow:
    """A model of MLflow in its own shape, with the signature that was logged with it."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        import mlflow  # noqa: PLC0415 - only who serves such a model has it

        place = folder / manifest.entry
        self._model = mlflow.pyfunc.load_model(str(place) if place.exists() else manifest.entry)
        logged = self._model.metadata.signature
        self._tensor = bool(logged and logged.inputs and logged.inputs.is_tensor_spec())
        inputs = manifest.inputs or (mlflow_fields(logged.inputs) if logged else ())
        if not inputs:
            raise CannotServe("the model was logged without a signature, and the manifest has none")
        self.signature = Signature(inputs=inputs, outputs=manifest.outputs)

    def predict(self, batch: Any) -> Batch:
        if self._tensor:
            given = batch if len(batch) > 1 else next(iter(batch.values()))
        else:
            import pandas as pd  # noqa: PLC0415 - only who serves such a model has it

            given = pd.DataFrame(dict(batch))
        answer = self._model.predict(given)
        if hasattr(answer, "to_dict") and hasattr(answer, "columns"):
            return {str(name): answer[name].to_numpy() for name in answer.columns}
        if hasattr(answer, "to_numpy"):
            answer = answer.to_numpy()
        return _as_batch(answer, self.signature.outputs)


# MLflow's name of a column's type to ours.
_MLFLOW_TYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
}


def mlflow_fields(schema: Any) -> tuple[Field, ...]:
    """Return the inputs that a signature of MLflow tells.

    Raises
    ------
    CannotServe
        It has a column of a type that is not served; it is named.
    """
    fields = []
    for number, spec in enumerate(schema.inputs):
        name = spec.name or f"input_{number}"
        if schema.is_tensor_spec():
            shape = tuple(None if size == -1 else int(size) for size in spec.shape[1:])
            kind = "string" if spec.type.kind in "OU" else spec.type.name
            fields.append(Field(name=name, dtype=kind, shape=shape))
        else:
            kind = getattr(spec.type, "name", str(spec.type))
            if kind not in _MLFLOW_TYPES:
                raise CannotServe(f"column {name!r} is {kind}, which is not served")
            fields.append(Field(name=name, dtype=_MLFLOW_TYPES[kind]))
    return tuple(fields)
