"""As what a torch module is packaged, and by how much its answers may then differ."""

from __future__ import annotations

import copy
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.packaging.records import Record

__all__ = [
    "FORMS",
    "Form",
    "check_form",
    "check_plain",
    "narrowed",
    "on_host",
    "on_processor",
    "place_of",
    "tolerated",
]

_DEVICE = re.compile(r"cpu|auto|cuda(:\d+)?")


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to package a module.

    Parameters
    ----------
    about
        What it is, for whoever chooses.
    share
        By which share an answer may differ, and by which of the largest answer at least; ``None``:
        by no more than two ways of computing the same.
    """

    about: str
    share: float | None = None


FORMS: Final[Mapping[str, Form]] = {
    "source": Form(about="the source of its classes, and its tensors as they are"),
    "export": Form(about="a program of torch.export, without its classes"),
    "bf16": Form(about="its source, with weights and products in bfloat16", share=0.02),
    "onnx": Form(about="a graph, which onnxruntime runs without torch"),
    "int8": Form(about="such a graph with weights of eight bits, for processors", share=0.1),
}


def check_form(form: str, device: str) -> None:
    """Raise UsageError where there is no such form or device, or not one with the other."""
    if form not in FORMS:
        told = "; ".join(f"{name}: {each.about}" for name, each in FORMS.items())
        raise UsageError(f"form {form!r}: {', '.join(FORMS)} is expected", hint=told, option="form")
    if form == "int8" and device not in ("cpu", "auto"):
        raise UsageError(
            f"form int8 computes on processors, and the device is {device}",
            hint="bf16 is the small form for GPUs",
            option="form",
        )
    if not _DEVICE.fullmatch(device):
        raise UsageError(
            f"device {device!r}: cpu, cuda, cuda:0 or auto is expected",
            hint="cuda has one worker on each GPU of the replica",
            option="device",
        )


def check_plain(form: str, device: str, what: str) -> None:
    """Raise UsageError where `what`, which is no module of torch, is to be had in a form."""
    if form != "source":
        raise UsageError(
            f"{what} has no form {form!r}: only modules of torch have several", option="form"
        )
    if device != "cpu":
        raise UsageError(
            f"{what} computes where its own code says, and not on a device {device!r}",
            hint="only modules of torch are moved to one",
            option="device",
        )


def tolerated(
    own: tuple[float, float], records: Sequence[Record], form: str
) -> tuple[float, float]:
    """Return how much answers in a form may differ: a share of each, and an amount at least.

    What is rounded on the way is off by a part of the largest value, not of each.
    """
    share = FORMS[form].share
    if share is None:
        return own
    largest = max((abs(each) for record in records for each in _numbers(record.outputs)), default=0)
    # Two digits say it, and are the same wherever it is worked out.
    least = float(f"{share * largest:.2g}")
    return max(own[0], share), max(own[1], least)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield value


def narrowed(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors with those of floating point in bfloat16."""
    torch: Any = sys.modules["torch"]
    return {
        name: each.to(torch.bfloat16) if each.is_floating_point() else each
        for name, each in tensors.items()
    }


def place_of(module: Any) -> Any:
    """Return the device that a module is on: that of its first tensor, else the processor."""
    torch: Any = sys.modules["torch"]
    found = (each.device for held in (module.parameters(), module.buffers()) for each in held)
    return next(found, torch.device("cpu"))


def on_host(module: Any) -> Any:
    """Return a module with its tensors in the memory of this machine: itself where they are there.

    Else a copy, as somebody may compute with the module meanwhile; no memory of a GPU is taken.
    """
    torch: Any = sys.modules["torch"]
    tensors = [*module.parameters(), *module.buffers()]
    away = [each for each in tensors if each.device.type != "cpu"]
    if not away:
        return module
    # What a deep copy finds here it takes for copied already.
    memo: dict[int, Any] = {}
    for each in away:
        here = each.detach().cpu()
        if isinstance(each, torch.nn.Parameter):
            here = torch.nn.Parameter(here, requires_grad=each.requires_grad)
        memo[id(each)] = here
    return copy.deepcopy(module, memo)


@contextmanager
def on_processor(module: Any) -> Iterator[Any]:
    """Hold a module in evaluation mode and not on a GPU; then it is as it was."""
    here = on_host(module)
    if here is not module:
        yield here.eval()
        return
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield module
    finally:
        for part in training:
            part.training = True
