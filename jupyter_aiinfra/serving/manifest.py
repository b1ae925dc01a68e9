"""``endpoint.json``: what is served and how, as it stands in the folder."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from jupyter_aiinfra.serving.schema import Field, Signature

__all__ = ["MANIFEST", "CannotServe", "Manifest", "named", "read_manifest"]

MANIFEST = "endpoint.json"


class CannotServe(Exception):
    """What is in the folder cannot be served; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``endpoint.json``.

    Parameters
    ----------
    entry
        What the loader begins with: ``module:name``; for ``torch`` also a ``.pt2`` file; for
        ``onnx`` a file; for ``mlflow`` a folder or a URI.
    weights
        For ``torch`` with ``module:name``: a file of the folder with a state dictionary,
        ``.safetensors`` or what ``torch.save`` wrote.
    device
        For ``torch`` and ``onnx``: where it computes. ``cpu``; ``cuda``, which is one worker on
        each GPU that there is; ``cuda:1`` for that one; ``auto``, a GPU where there is one.
    precision
        For ``torch``: ``bf16`` has weights and products in bfloat16, and answers in the type that
        they are declared to have. Empty: as the weights are.
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
    loader: Literal["function", "torch", "onnx", "mlflow"] = "function"
    weights: str = ""
    device: str = "cpu"
    precision: Literal["", "bf16"] = ""
    batched: bool = True
    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()
    example: Any = None

    @property
    def signature(self) -> Signature:
        """The typed fields."""
        return Signature(inputs=self.inputs, outputs=self.outputs)


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


def named(entry: str) -> Callable[..., Any]:
    """Return what ``module:name`` names.

    Raises
    ------
    CannotServe
        It is not there, or cannot be called.
    """
    module, _, name = entry.partition(":")
    try:
        found = getattr(importlib.import_module(module), name or "predict")
    except (ImportError, AttributeError) as error:
        raise CannotServe(f"entry {entry!r}: {error}") from error
    if not callable(found):
        raise CannotServe(f"entry {entry!r} is no function")
    return cast("Callable[..., Any]", found)
