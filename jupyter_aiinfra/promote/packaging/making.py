"""From a function, a torch module, a tagged cell or an MLflow model to a package."""

from __future__ import annotations

import inspect
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from jupyter_aiinfra.capture import SourceIndex
from jupyter_aiinfra.environments import read_environment
from jupyter_aiinfra.errors import CaptureError, MissingExtra, UsageError
from jupyter_aiinfra.node.track import environment_lock
from jupyter_aiinfra.promote.packaging import tagged
from jupyter_aiinfra.promote.packaging.calls import Call, Recorded, called
from jupyter_aiinfra.promote.packaging.capturing import (
    CARRIED,
    CODE,
    Code,
    captured,
    requirements,
)
from jupyter_aiinfra.promote.packaging.examples import schema_of
from jupyter_aiinfra.promote.packaging.exporting import as_graph, as_program, needs_of
from jupyter_aiinfra.promote.packaging.folders import Package, filled, fresh, write_package
from jupyter_aiinfra.promote.packaging.forms import (
    check_form,
    check_plain,
    narrowed,
    on_host,
    place_of,
    tolerated,
)
from jupyter_aiinfra.promote.packaging.kinds import is_module
from jupyter_aiinfra.promote.packaging.lineage import lineage_of
from jupyter_aiinfra.promote.packaging.measuring import measured
from jupyter_aiinfra.promote.packaging.models import is_model_uri, package_model
from jupyter_aiinfra.promote.packaging.records import (
    Record,
    lines,
    read_records,
    recorded,
    tolerance,
)
from jupyter_aiinfra.promote.packaging.schema import Schema, arguments, bound, declared
from jupyter_aiinfra.serving import carried
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.tracking import git_state

__all__ = ["package"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_LOCK = "environment.lock"
_REQUIREMENTS = "requirements.txt"
_NOTHING = object()
_WITHOUT_CLASSES = ("export", "onnx", "int8")
_LOADERS = {"onnx": "onnx", "int8": "onnx"}


def package(
    source: Any,
    *,
    name: str,
    example: Any = _NOTHING,
    calls: Sequence[Call] | Path | str = (),
    signature: Mapping[str, Any] | None = None,
    environment: str | None = None,
    to: Path | str | None = None,
    batched: bool | None = None,
    form: str = "source",
    device: str = "cpu",
    data: Sequence[str] = (),
    notebook: Path | str | None = None,
    namespace: Mapping[str, Any] | None = None,
    index: SourceIndex | None = None,
    tracking_uri: str | None = None,
) -> Package:
    """Make a package of `source`: a folder that the server of endpoints loads.

    Nothing in it is a pickle. A function travels as its source with all that it needs, a module of
    torch as the source of its classes and its tensors, a model of MLflow as MLflow keeps it.

    Parameters
    ----------
    source
        A function; one that :func:`record` wraps; a ``torch.nn.Module``; ``runs:/…`` or
        ``models:/…``; or a notebook's path, for the function in its cell tagged ``predict``.
    name
        Of the endpoint: small letters, digits, ``-`` and ``_``.
    example
        The arguments of one call: a tuple by position, a mapping by name, else the only one. It
        is called here, and what comes back is what the package has to answer.
    calls
        Calls that were recorded; or a file of some, as ``endpoint samples --out`` writes it, which
        have to be answered beside that of the example.
    signature
        ``{"inputs": […], "outputs": […]}``, to say it otherwise than calls and hints do.
    environment
        What names the Python environment, as ``--env`` takes it.
    to
        The folder to make; by default one below the home of this package, named by its digest.
    batched
        Whether one call takes many examples; by default this is seen from the calls.
    form
        Of a torch module, one of :data:`.forms.FORMS`: ``source``; ``bf16`` for its source with
        weights in bfloat16; ``export`` for a program of ``torch.export``; ``onnx`` for a graph, and
        ``int8`` for one with weights of eight bits. What another form than ``source`` costs and
        gains is measured, and told by :func:`.measuring.report`.
    device
        Of a torch module: where it is to compute when served, ``cpu``, ``cuda``, ``cuda:0`` or
        ``auto``.
    data
        Files and folders that it was made from, to be named with their digests.
    notebook
        The notebook that it comes from.
    namespace, index
        The names of the notebook, by default those of ``__main__``; and its cells, by default those
        that the kernel remembers.

    Raises
    ------
    UsageError
        A name, example or signature that cannot be; says which, and what is expected.
    CaptureError
        Something that it needs cannot be carried; names everything at once.
    """
    _check(name)
    check_form(form, device)
    namespace = vars(sys.modules["__main__"]) if namespace is None else namespace
    place = Path(notebook).parent if notebook else Path.cwd()
    given = None if example is _NOTHING else (example,)
    known, calls = _from_file(calls)
    asked = _Asked(name=name, form=form, device=device, to=Path(to) if to else None, root=place)
    about = {
        "format": 1,
        "name": name,
        "made_at": time.time(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "git": git_state(place),
        "lineage": lineage_of(notebook=notebook, data=data, root=place),
    }
    if is_model_uri(source):
        check_plain(form, device, str(source))
        with fresh(asked.beside) as folder:
            return package_model(
                str(source),
                folder,
                about,
                given=given,
                known=known,
                to=asked.to,
                tracking_uri=tracking_uri,
            )
    if isinstance(source, (str, Path)):
        source = tagged.function_in(Path(source), namespace)
    if isinstance(source, Recorded):
        calls = (*calls, *source.calls)
        source = source.function
    module = is_module(source)
    _check_source(source, module=module)
    if not module:
        check_plain(form, device, _described(source))
    if given is not None:
        calls = (_called(source, given[0]), *calls)
    if module:
        batched, calls = True, _with_calls(calls)
    schema = schema_of(source, calls, batched=batched)
    if signature is not None:
        schema = declared(signature, schema)
    records = [*recorded(source, calls, schema), *known]
    environment_spec, own = read_environment(environment, place)
    about["environment"] = (
        None if environment_spec is None else msgspec.to_builtins(environment_spec)
    )
    with fresh(asked.beside) as folder:
        _write(folder, {_LOCK: environment_lock().encode(), **own})
        made = _Made(asked, source, schema, calls, folder)
        code = None if form in _WITHOUT_CLASSES else made.code(namespace, index)
        if code is None:
            endpoint, needed = made.exported(), needs_of(form)
        else:
            endpoint = made.written(code, module=module)
            needed = requirements(code, {"torch"} if module else ())
        _write(folder, {_REQUIREMENTS: "".join(f"{each}\n" for each in needed).encode()})
        about |= {
            "kind": "torch" if module else "function",
            "source": _described(source),
            "requirements": needed,
            "form": form,
            "tolerance": list(tolerated(tolerance(schema), records, form)),
            "carries": [] if code is None else msgspec.to_builtins(code.manifest.items),
            "registered": None,
        }
        endpoint["example"] = _example(records, schema)
        if form != "source":
            about["measured"] = made.measured(endpoint, lines(records), namespace, index)
        return write_package(folder, endpoint, about, records=lines(records), to=asked.to)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    name: str
    form: str
    device: str
    to: Path | None
    root: Path

    @property
    def beside(self) -> Path:
        return self.to.absolute().parent if self.to else load_settings().home / "packages"


class _Made:
    """Writes what is served into a folder."""

    def __init__(
        self, asked: _Asked, source: Any, schema: Schema, calls: Sequence[Call], folder: Path
    ) -> None:
        self._asked = asked
        self._source = source
        self._schema = schema
        self._calls = calls
        self._folder = folder

    def code(self, namespace: Mapping[str, Any], index: SourceIndex | None) -> Code:
        if index is None:
            index = SourceIndex()
            # What a kernel has run so far, as pure Python; elsewhere there are no such cells.
            for number, text in enumerate(namespace.get("In", ())):
                index.record(str(text), number=number)
        source = on_host(self._source) if is_module(self._source) else self._source
        if source is not self._source:
            # What is carried under its name is what is in this machine's memory.
            own = self._source
            namespace = {name: source if it is own else it for name, it in namespace.items()}
        return captured(source, namespace, index=index, root=self._asked.root)

    def written(self, code: Code, *, module: bool) -> dict[str, Any]:
        folder = self._folder
        if module:
            last = f"\ndef make():\n    return {code.name}"
        else:
            takes = dict(self._schema.takes)
            last = (
                f"serve = {CARRIED}.adapted({code.name}, {takes!r}, shape={self._schema.shape!r})"
            )
        _write(folder, {f"{CODE}.py": code.text(last).encode()})
        shutil.copyfile(str(carried.__file__), folder / f"{CARRIED}.py")
        values = {"format": carried.FORMAT, "values": code.values.trees}
        _write(folder, {carried.VALUES: msgspec.json.encode(values)})
        if code.values.arrays:
            _npz(code.values.arrays, folder / carried.ARRAYS)
        if code.values.tensors:
            tensors = code.values.tensors
            narrow = module and self._asked.form == "bf16"
            _safetensors(narrowed(tensors) if narrow else tensors, folder / carried.TENSORS)
        for path, place in code.sources.items():
            target = folder / carried.MODULES / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, target)
        return self._endpoint(f"{CODE}:{'make' if module else 'serve'}", module=module)

    def exported(self) -> dict[str, Any]:
        call, name, form = self._calls[0], _described(self._source), self._asked.form
        if form == "export":
            device = self._asked.device
            entry = as_program(self._source, call, self._folder, name=name, device=device)
        else:
            entry = as_graph(
                self._source,
                call,
                self._folder,
                name=name,
                schema=self._schema,
                int8=form == "int8",
            )
        return self._endpoint(entry, module=True)

    def measured(
        self,
        endpoint: Mapping[str, Any],
        records: bytes,
        namespace: Mapping[str, Any],
        index: SourceIndex | None,
    ) -> dict[str, Any]:
        """Return how what was written does beside the module as it is, of what can be carried."""
        filled(self._folder, endpoint, records)
        with fresh(self._asked.beside) as folder:
            plain = _Made(
                replace(self._asked, form="source"),
                *(self._source, self._schema, self._calls, folder),
            )
            try:
                told = plain.written(plain.code(namespace, index), module=True)
            except CaptureError:
                # That its classes cannot travel is what some forms are for.
                return measured(self._folder, None, device=self._asked.device)
            filled(folder, {**told, "example": endpoint["example"]}, records)
            return measured(self._folder, folder, device=self._asked.device)

    def _endpoint(self, entry: str, *, module: bool) -> dict[str, Any]:
        schema = self._schema
        return {
            "name": self._asked.name,
            "loader": _LOADERS.get(self._asked.form, "torch") if module else "function",
            "entry": entry,
            **({"device": self._asked.device} if module else {"batched": schema.batched}),
            **({"precision": "bf16"} if module and self._asked.form == "bf16" else {}),
            "inputs": [_told(field) for field in schema.inputs],
            "outputs": [_told(field) for field in schema.outputs],
        }


def _told(field: Any) -> dict[str, Any]:
    told = {"name": field.name, "dtype": field.dtype, "shape": list(field.shape)}
    return {**told, "nan": True} if field.nan else told


def _from_file(calls: Sequence[Call] | Path | str) -> tuple[list[Record], Sequence[Call]]:
    if isinstance(calls, (str, Path)):
        return read_records(Path(calls)), ()
    return [], calls


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _npz(arrays: Mapping[str, Any], path: Path) -> None:
    """Write what ``numpy.load`` reads; without the time of day, so that digests are of content."""
    with zipfile.ZipFile(path, "w") as file:
        for name, array in arrays.items():
            with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def _safetensors(tensors: Mapping[str, Any], path: Path) -> None:
    try:
        from safetensors.torch import save_file  # noqa: PLC0415 - only tensors need it
    except ImportError:
        raise MissingExtra("safetensors", "serve") from None
    # Views of one storage would be written twice, and safetensors refuses to guess.
    save_file({name: each.clone() for name, each in tensors.items()}, path)


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"name {name!r}: an endpoint's name is small letters, digits, - and _, 63 at most",
            hint="such as digits or price-of-flats",
        )


def _check_source(source: Any, *, module: bool) -> None:
    if module:
        return
    if inspect.isclass(source):
        raise UsageError(
            f"{source.__name__} is a class, and an endpoint asks what was made of it",
            hint=f"package an instance: {source.__name__}(…)",
        )
    if not callable(source):
        raise UsageError(
            f"{type(source).__name__} {str(source)[:60]!r} cannot be packaged",
            hint="a function, a torch module, runs:/…, models:/… or a notebook is expected",
        )


def _called(source: Any, example: Any) -> Call:
    args, kwargs = arguments(source, example)
    if is_module(source):
        place = place_of(source)
        args = tuple(_tensor(each, place) for each in args)
        kwargs = {name: _tensor(each, place) for name, each in kwargs.items()}
    bound(source, Call(args=args, kwargs=kwargs))
    try:
        return called(source, args, kwargs)
    except Exception as error:
        raise UsageError(
            f"{_described(source)} fails on its own example: {type(error).__name__}: {error}",
            hint="a tuple is its arguments by position: example=(x,)",
        ) from error


def _tensor(value: Any, place: Any) -> Any:
    """Return an array or a list as the tensor that a module is given when it is served."""
    torch: Any = sys.modules["torch"]
    if isinstance(value, list):
        value = np.asarray(value, np.float32)
    found = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    return found.to(place) if isinstance(found, torch.Tensor) else found


def _with_calls(calls: Sequence[Call]) -> Sequence[Call]:
    if not calls:
        raise UsageError(
            "what the module takes is not known", hint="give an example, such as example=(x,)"
        )
    return calls


def _described(source: Any) -> str:
    kind = source if hasattr(source, "__qualname__") else type(source)
    module = "" if kind.__module__ == "__main__" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"


def _example(records: Sequence[Record], schema: Schema) -> Any:
    """Return one example of the first call: what is asked at a start should be quick."""
    if not records:
        return None
    inputs = records[0].inputs
    if schema.batched and isinstance(inputs, dict):
        return {name: rows[:1] for name, rows in inputs.items()}
    return inputs[:1] if schema.batched else inputs
