"""What is served: a folder with ``endpoint.json``, and the predictor that it describes.

Three loaders: ``function`` (a Python function in a file of the folder), ``torch`` (a module, its
weights beside it, or a program that ``torch.export`` wrote) and ``mlflow`` (a model folder, or the
URI of one in a registry). Weights of torch are read as tensors only, never unpickled; what MLflow
loads it loads in its own way.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import msgspec
import numpy as np

from jupyter_aiinfra.serving.faults import BadInput
from jupyter_aiinfra.serving.schema import Array, Batch, Field, Reader, Signature, rows_of

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

MANIFEST = "endpoint.json"

_LEAST_TIMES = 3
_WARM_SECONDS = 1.0


class CannotServe(Exception):
    """What is in the folder cannot be served; the text says why."""


class Predictor(Protocol):
    """Answers batches. Called by one thread at a time, and not always by the same one."""

    def predict(self, batch: Batch) -> Batch:
        """Return as many examples as `batch` holds."""
        ...


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``endpoint.json``.

    Parameters
    ----------
    entry
        What the loader begins with: ``module:name``; for ``torch`` also a ``.pt2`` file; for
        ``mlflow`` a folder or a URI.
    weights
        For ``torch`` with ``module:name``: a file of the folder with a state dictionary,
        ``.safetensors`` or what ``torch.save`` wrote.
    device
        For ``torch``: where it computes, ``cpu`` or ``cuda``.
    batched
        For ``function``: whether it takes many examples at once, as arrays whose first axis counts
        them. Otherwise it is called once an example.
    inputs, outputs
        None: an example is any JSON value.
    example
        The ``inputs`` of one call, in JSON: for warm-up and readiness.
    """

    name: str
    entry: str
    version: str = "1"
    loader: Literal["function", "torch", "mlflow"] = "function"
    weights: str = ""
    device: str = "cpu"
    batched: bool = True
    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()
    example: Any = None

    @property
    def signature(self) -> Signature:
        """The typed fields."""
        return Signature(inputs=self.inputs, outputs=self.outputs)


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
    """

    name: str
    version: str
    loader: str
    signature: Signature
    predict: Callable[[Batch], Batch]
    example: Batch | None
    single_seconds: float
    stream: Callable[[Any], Iterator[Any]] | None = None


def read_manifest(folder: Path) -> Manifest:
    """Return what ``endpoint.json`` in `folder` says.

    Raises
    ------
    CannotServe
        It is not there, or not as it should be.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise CannotServe(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise CannotServe(f"{path}: {error}") from error


def load_model(folder: Path, *, warm_up: int = 30) -> Served:
    """Load what is in `folder` and answer its example a few times.

    Puts the folder at the head of ``sys.path``: one model a process.

    Raises
    ------
    CannotServe
        It cannot be loaded, or fails on its own example.
    """
    manifest = read_manifest(folder)
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
    )


def _predictor(
    folder: Path, manifest: Manifest
) -> tuple[Predictor, Callable[[Any], Iterator[Any]] | None]:
    if manifest.loader == "torch":
        return _Torch(folder, manifest), None
    if manifest.loader == "mlflow":
        return _Mlflow(folder, manifest), None
    function = _named(manifest.entry)
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


def _named(entry: str) -> Callable[..., Any]:
    module, _, name = entry.partition(":")
    try:
        found = getattr(importlib.import_module(module), name or "predict")
    except (ImportError, AttributeError) as error:
        raise CannotServe(f"entry {entry!r}: {error}") from error
    if not callable(found):
        raise CannotServe(f"entry {entry!r} is no function")
    return cast("Callable[..., Any]", found)


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


class _Torch:
    """A module in inference mode; its inputs by position, in the order of the signature."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        import torch  # noqa: PLC0415 - only who serves such a model has it

        if not manifest.inputs:
            raise CannotServe("a torch model needs `inputs` in its manifest")
        self._torch = torch
        self._device = torch.device(manifest.device)
        self._outputs = manifest.outputs
        self._names = [field.name for field in manifest.inputs]
        if manifest.entry.endswith(".pt2"):
            self._module: Any = torch.export.load(folder / manifest.entry).module()
        else:
            self._module = _named(manifest.entry)()
            if manifest.weights:
                self._module.load_state_dict(_state(folder / manifest.weights))
            self._module.eval()
        self._module.to(self._device)

    def predict(self, batch: Any) -> Batch:
        torch = self._torch
        with torch.inference_mode():
            # Arrays of a body are read-only, which torch warns of; nothing here writes into one.
            given = [torch.from_numpy(_writable(batch[name])) for name in self._names]
            if self._device.type != "cpu":
                given = [tensor.to(self._device, non_blocking=True) for tensor in given]
            answer = self._module(*given)
            if isinstance(answer, torch.Tensor):
                name = self._outputs[0].name if self._outputs else "output"
                return {name: answer.cpu().numpy()}
            if isinstance(answer, Mapping):
                return {name: value.cpu().numpy() for name, value in answer.items()}
            return _as_batch(tuple(part.cpu().numpy() for part in answer), self._outputs)


def _writable(array: Array) -> Array:
    return array if array.flags.writeable else array.copy()


def _state(path: Path) -> Any:
    """Return the state dictionary in `path`, without running anything that is in it."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file  # noqa: PLC0415 - only who serves such a model has it

        return load_file(path)
    import torch  # noqa: PLC0415 - only who serves such a model has it

    return torch.load(path, map_location="cpu", weights_only=True)


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
