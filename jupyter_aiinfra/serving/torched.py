"""Modules of torch: on the processor or a GPU, as they are or in bfloat16.

Weights are read as tensors only, never unpickled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_aiinfra.serving.manifest import CannotServe, Manifest, named
from jupyter_aiinfra.serving.schema import Array, Batch

__all__ = ["TorchModel", "module_of"]


class TorchModel:
    """A module in inference mode; its inputs by position, in the order of the signature."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        import torch  # noqa: PLC0415 - only who serves such a model has it

        if not manifest.inputs:
            raise CannotServe("a torch model needs `inputs` in its manifest")
        self._torch = torch
        self._device = _device(torch, manifest.device)
        self._fields = [(field.name, field.dtype) for field in manifest.outputs]
        self._names = [field.name for field in manifest.inputs]
        self._narrow = torch.bfloat16 if manifest.precision == "bf16" else None
        module = module_of(torch, folder, manifest, self._device)
        # A program of torch.export is moved as a whole when it is read.
        self._module: Any = (
            module.to(self._device)
            if self._narrow is None
            else module.to(self._device, self._narrow)
        )

    @property
    def device(self) -> str:
        """Where it computes, ``cpu`` or ``cuda``."""
        return str(self._device.type)

    @property
    def weight_bytes(self) -> int:
        """What its parameters and buffers take in memory."""
        held = {*self._module.parameters(), *self._module.buffers()}
        return sum(each.numel() * each.element_size() for each in held)

    def predict(self, batch: Any) -> Batch:
        """Return as many examples as `batch` holds."""
        torch = self._torch
        with torch.inference_mode(), self._computing():
            answer = self._module(*(self._given(batch[name]) for name in self._names))
            if isinstance(answer, torch.Tensor):
                answer = (answer,)
            if isinstance(answer, Mapping):
                return {name: self._plain(value) for name, value in answer.items()}
            return self._by_name(answer)

    def _computing(self) -> contextlib.AbstractContextManager[Any]:
        if self._narrow is None:
            return contextlib.nullcontext()
        # What the module makes on its way in another type meets weights in this one.
        return self._torch.autocast(self._device.type, dtype=self._narrow)

    def _given(self, array: Array) -> Any:
        # Arrays of a body are read-only, which torch warns of; nothing here writes into one.
        tensor = self._torch.from_numpy(array if array.flags.writeable else array.copy())
        if self._device.type != "cpu":
            tensor = tensor.to(self._device, non_blocking=True)
        if self._narrow is not None and tensor.is_floating_point():
            tensor = tensor.to(self._narrow)
        return tensor

    def _by_name(self, parts: Any) -> Batch:
        fields = self._fields or [("output", "")]
        if len(parts) != len(fields):
            raise CannotServe(f"the model returns {len(parts)} tensors, and {len(fields)} are told")
        pairs = zip(fields, parts, strict=True)
        return {name: self._plain(value, dtype) for (name, dtype), value in pairs}

    def _plain(self, tensor: Any, dtype: str = "") -> Array:
        if tensor.dtype is self._torch.bfloat16:
            tensor = tensor.float()  # numpy has no such type
        array: Array = tensor.cpu().numpy()
        return array if self._narrow is None or not dtype else array.astype(dtype, copy=False)


def _device(torch: Any, name: str) -> Any:
    """Return where it is computed.

    Raises
    ------
    CannotServe
        The name is none, or there is no such GPU; says which there are.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise CannotServe(f"device {name!r}: cpu, cuda, cuda:0 or auto is expected")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= int(number or 0):
            there = "none" if not count else f"{count} of them"
            hint = (
                "" if torch.version.cuda or torch.version.hip else ", as it is built without CUDA"
            )
            raise CannotServe(f"device {name}: torch {torch.__version__} sees {there} here{hint}")
    return torch.device(name)


def module_of(torch: Any, folder: Path, manifest: Manifest, device: Any) -> Any:
    """Return the module in `folder`, ready to be moved to `device`."""
    if manifest.entry.endswith(".pt2"):
        program = torch.export.load(folder / manifest.entry)
        if device.type != "cpu":
            # What the program makes on its way has its place written down, too.
            from torch.export.passes import (  # noqa: PLC0415 - brings what no other form needs
                move_to_device_pass,
            )

            program = move_to_device_pass(program, device)
        return program.module()
    module = named(manifest.entry)()
    if manifest.weights:
        module.load_state_dict(_state(folder / manifest.weights))
    return module.eval()


def _state(path: Path) -> Any:
    """Return the state dictionary in `path`, without running anything that is in it."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file  # noqa: PLC0415 - only who serves such a model has it

        return load_file(path)
    import torch  # noqa: PLC0415 - only who serves such a model has it

    return torch.load(path, map_location="cpu", weights_only=True)
