"""A module of torch as a program or a graph that stands without its classes."""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from jupyter_aiinfra.errors import MissingExtra, UsageError
from jupyter_aiinfra.promote.packaging.calls import Call
from jupyter_aiinfra.promote.packaging.forms import on_processor
from jupyter_aiinfra.promote.packaging.schema import Schema

__all__ = ["GRAPH", "PROGRAM", "as_graph", "as_program", "needs_of"]

PROGRAM: Final = "model.pt2"
GRAPH: Final = "model.onnx"

# One file of a graph may have two gigabytes; weights beside it are of any size.
_LARGEST_BYTES = 1 << 30
_NEEDS: Final = {"export": ("torch",), "onnx": ("onnxruntime",), "int8": ("onnxruntime",)}


def needs_of(form: str) -> list[str]:
    """Return the distributions that a form needs where it is served, as they are here."""
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in _NEEDS[form]]


def as_program(source: Any, called: Call, folder: Path, *, name: str, device: str = "cpu") -> str:
    """Write `source` as a program of ``torch.export`` into `folder`; return the file's name.

    What is to compute on a GPU is exported there where this machine has one: how tensors lie in
    memory on the way is part of a program, and not everywhere the same.

    Raises
    ------
    UsageError
        It cannot be exported; with what torch says.
    """
    import torch  # noqa: PLC0415 - the source is a module of it

    args, sizes = _arguments(called, torch)
    try:
        with on_processor(source) as ready:
            if device.startswith("cuda") and torch.cuda.is_available():
                # A copy: the module itself stays where it is.
                ready = copy.deepcopy(ready).to(device)  # noqa: PLW2901
                args = tuple(each.to(device) for each in args)
            program = torch.export.export(ready, args, dynamic_shapes=sizes)
    except Exception as error:
        raise _refused("torch.export", name, error) from error
    torch.export.save(program, folder / PROGRAM)
    return PROGRAM


def as_graph(
    source: Any, called: Call, folder: Path, *, name: str, schema: Schema, int8: bool = False
) -> str:
    """Write `source` as a graph of ONNX into `folder`; return the file's name.

    Parameters
    ----------
    source
        A module, or a program of ``torch.export``.
    int8
        With the weights of its products as integers of eight bits, and what they are multiplied
        with rounded when it runs.

    Raises
    ------
    MissingExtra
        What writes or runs such graphs is not installed.
    UsageError
        It cannot be exported; with what torch says.
    """
    import torch  # noqa: PLC0415 - the source is a module of it

    for needed in ("onnx", "onnxruntime", "onnxscript"):
        if importlib.util.find_spec(needed) is None:
            raise MissingExtra(needed, "onnx")
    args, sizes = _arguments(called, torch)
    path = folder / (f"whole-{GRAPH}" if int8 else GRAPH)
    program = isinstance(source, torch.export.ExportedProgram)
    try:
        with contextlib.nullcontext(source) if program else on_processor(source) as ready:
            held = sum(each.numel() * each.element_size() for each in ready.parameters())
            with _in_silence():
                torch.onnx.export(
                    ready,
                    args,
                    str(path),
                    dynamo=True,
                    verbose=False,
                    input_names=[field.name for field in schema.inputs],
                    output_names=[field.name for field in schema.outputs] or None,
                    # A program has its sizes in it.
                    dynamic_shapes=None if program else sizes,
                    external_data=held > _LARGEST_BYTES,
                )
    except Exception as error:
        raise _refused("torch.onnx", name, error) from error
    _strip(path)
    if int8:
        _rounded(path, folder / GRAPH)
        for left in folder.glob(f"{path.name}*"):
            left.unlink()
    return GRAPH


def _strip(path: Path) -> None:
    """Leave out of a graph where each step was in the notebook: lines of it, and paths."""
    onnx: Any = importlib.import_module("onnx")
    model = onnx.load(str(path), load_external_data=False)
    model.ClearField("metadata_props")
    for graph in (model.graph, *model.functions):
        parts = [*graph.node, *graph.value_info, *getattr(graph, "initializer", ())]
        parts += [*(() if graph is not model.graph else (*graph.input, *graph.output))]
        for part in (graph, *parts):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    path.write_bytes(model.SerializeToString())


def _rounded(path: Path, target: Path) -> None:
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    with _in_silence():
        quantization.quantize_dynamic(
            str(path),
            str(target),
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            # Seven bits: sums of more overflow on processors without VNNI, and answers would be
            # others there.
            reduce_range=True,
            use_external_data_format=path.stat().st_size > _LARGEST_BYTES,
        )


def _arguments(called: Call, torch: Any) -> tuple[tuple[Any, ...], tuple[dict[int, Any], ...]]:
    if called.kwargs:
        raise UsageError("an exported module takes its inputs by position: give a tuple")
    several = torch.export.Dim("batch", min=1)
    # One example would be taken for a fixed size.
    args = tuple(torch.cat([each, each]) if len(each) == 1 else each for each in called.args)
    return args, tuple({0: several} for _ in args)


def _refused(what: str, name: str, error: Exception) -> UsageError:
    said = str(error).strip() or type(error).__name__
    return UsageError(
        f"{what} cannot export {name}: {said}", hint='form="source" carries its classes as they are'
    )


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Keep back what exporters say to their own developers; what fails is raised all the same."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
