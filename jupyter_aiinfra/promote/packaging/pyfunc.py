"""A package as a model of MLflow: this file is logged with it, as the code that loads it.

It needs MLflow, numpy and what the model itself needs, and nothing of ours.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import mlflow
import numpy as np

__all__ = ["PackagedModel"]

_ANY = object


class PackagedModel:
    """Answers data frames, arrays, lists and mappings of arrays, in the order of the rows."""

    def load_context(self, context: Any) -> None:
        """Load what is in the artifact ``package``."""
        folder = context.artifacts["package"]
        with open(os.path.join(folder, "endpoint.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            self._told: dict[str, Any] = json.load(file)
        self._fields = self._told.get("inputs", [])
        entry = self._told["entry"]
        if entry.endswith(".pt2"):
            torch = importlib.import_module("torch")
            self._call: Any = torch.export.load(os.path.join(folder, entry)).module()  # noqa: PTH118
            return
        module, _, name = entry.partition(":")
        # Another package may be loaded here, whose modules have the same names.
        for own in (module, "aiinfra_carried"):
            sys.modules.pop(own, None)
        sys.path.insert(0, folder)
        try:
            self._call = getattr(importlib.import_module(module), name)
        finally:
            sys.path.remove(folder)
        if self._told["loader"] == "torch":
            self._call = self._call().eval()

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        """Return the answers to `model_input`."""
        del context, params
        if not self._fields:
            rows = (
                model_input.to_dict("records") if hasattr(model_input, "columns") else model_input
            )
            return [self._call(row) for row in rows]
        batch = self._batch(model_input)
        if self._told["loader"] == "torch":
            return self._torch(batch)
        if self._told.get("batched", True):
            return _shown(self._asked(batch))
        count = len(next(iter(batch.values())))
        rows = [{name: array[row] for name, array in batch.items()} for row in range(count)]
        return _shown(np.asarray([self._asked(row) for row in rows]))

    def _asked(self, given: Mapping[str, Any]) -> Any:
        return self._call(next(iter(given.values()))) if len(given) == 1 else self._call(**given)

    def _batch(self, given: Any) -> dict[str, Any]:
        if hasattr(given, "columns"):
            found = {str(name): given[name].to_numpy() for name in given.columns}
            if len(self._fields) == 1 and self._fields[0]["name"] not in found:
                # One tensor whose columns have names.
                found = {self._fields[0]["name"]: given.to_numpy()}
        elif isinstance(given, Mapping):
            found = dict(given)
        else:
            found = {self._fields[0]["name"]: given}
        kinds = {
            field["name"]: _ANY if field["dtype"] == "string" else field["dtype"]
            for field in self._fields
        }
        return {name: np.asarray(found[name], kind) for name, kind in kinds.items()}

    def _torch(self, batch: Mapping[str, Any]) -> Any:
        torch = importlib.import_module("torch")
        with torch.inference_mode():
            answer = self._call(*(torch.from_numpy(array.copy()) for array in batch.values()))
        if isinstance(answer, torch.Tensor):
            return answer.numpy()
        if isinstance(answer, Mapping):
            return _shown({name: part.numpy() for name, part in answer.items()})
        return _shown({f"output_{number}": part.numpy() for number, part in enumerate(answer)})


def _shown(answer: Any) -> Any:
    """Return several columns as a data frame, which is what MLflow's callers expect."""
    if isinstance(answer, tuple):
        answer = {f"output_{number}": part for number, part in enumerate(answer)}
    if isinstance(answer, Mapping) and all(np.ndim(part) == 1 for part in answer.values()):
        return importlib.import_module("pandas").DataFrame(dict(answer))
    return answer


# Made so, and without type hints of `predict`: MLflow would take those for the schema.
mlflow.models.set_model(type("Packaged", (PackagedModel, mlflow.pyfunc.PythonModel), {})())
