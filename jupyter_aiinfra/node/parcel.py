"""Values in parcels: what a notebook's variable becomes to reach another interpreter.

One file, standard library only, Python 3.8 or newer; numpy and torch are touched only where a value
of theirs is met. A parcel is an *entry* (plain JSON, to be read before anything is unpickled) and
*blobs* (bytes named by their SHA-256). Tensors and arrays never enter the pickle: they travel as
they lie in memory, tensors in valid safetensors files, so they cross Python versions.

A manifest holds the ``"format"``, under ``"versions"`` those of the maker (:func:`versions`), and
under ``"variables"`` the entries.
"""

from __future__ import annotations

import base64
import concurrent.futures
import enum
import functools
import hashlib
import importlib.util
import io
import json
import math
import mmap
import os
import pickle
import platform
import sys
import tempfile
import time
import types
from collections import deque
from importlib import metadata
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "FORMAT",
    "Incompatible",
    "Packed",
    "Unsendable",
    "check",
    "joined",
    "pack",
    "pack_together",
    "read_results",
    "unpack",
    "versions",
    "write_results",
]

FORMAT = 1

# Smaller pieces share one blob, and a smaller pickle stays in the entry: a file each would cost
# more than its bytes.
_SMALL_BYTES = 1 << 16
_SEARCH_SECONDS = 2.0
_SEARCH_OBJECTS = 50_000
_LABEL_CHARACTERS = 40

_CONTAINERS = (dict, list, set)

# What these modules define is pickled alike by every Python 3.8 and later. (``pathlib`` drops out
# by itself where its classes say they live in ``pathlib._local``.)
_PORTABLE = frozenset(
    ("builtins", "collections", "datetime", "decimal", "fractions", "pathlib", "uuid")
)


class Unsendable(Exception):
    """A value that cannot travel.

    Attributes
    ----------
    path
        Where the culprit is, as the user would write it: ``cfg['log'].stream``.
    reason
        One sentence that names the value and the culprit.
    hint
        What to do about it; may be empty.
    """

    def __init__(self, path: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason
        self.hint = hint


class Incompatible(Exception):
    """A parcel that cannot be opened here. The message says why and what to do."""


class Packed:
    """A value made ready to travel.

    Attributes
    ----------
    entry
        Plain JSON: names, type, versions, and which bytes of which blob hold what.
    buffers
        For each digest the buffers that make up the blob. They are views onto the value's own
        memory: to be sent before the value is changed.
    met
        By their id, the objects in the value that can be changed and that other values may refer
        to as well. They are held, so that no id is used again while parcels are compared.
    """

    def __init__(
        self, entry: dict[str, Any], buffers: dict[str, list[Any]], met: dict[int, Any]
    ) -> None:
        self.entry = entry
        self.buffers = buffers
        self.met = met


class _Refused(Exception):
    """Raised inside the pickler for what it must not take.

    `what` follows "is" or "holds"; `hint` may name the ``{path}`` of the tensor, or its
    ``{owner}``: the outermost thing that moves as a whole.
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


# --- versions ------------------------------------------------------------------------------------


def versions(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Return the interpreter's versions, and those of top-level `packages`, importing none.

    A package that is not installed as a distribution (a module of the user's own) has ``None``.
    """
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "magic": int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little"),
        "packages": {name: _version(name) for name in sorted(set(packages))},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        loaded = getattr(sys.modules.get(package), "__version__", None)
        if isinstance(loaded, str):
            return loaded
    names = _distributions().get(package)
    return metadata.version(names[0]) if names else None


@functools.lru_cache(maxsize=1)
def _distributions() -> Mapping[str, Sequence[str]]:
    listed = getattr(metadata, "packages_distributions", None)  # Python 3.10
    if listed is not None:
        return listed()  # type: ignore[no-any-return]
    found: dict[str, list[str]] = {}
    for distribution in metadata.distributions():
        for package in (distribution.read_text("top_level.txt") or "").split():
            found.setdefault(package, []).append(distribution.metadata["Name"])
    return found


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split("+", maxsplit=1)[0].split(".")[:2])


def check(
    header: Mapping[str, Any],
    *,
    entries: Iterable[Mapping[str, Any]],
    here: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return what stands against opening `entries` here; nothing is unpickled to find out.

    Each problem reads ``what is wrong; what to do``.

    Parameters
    ----------
    header
        A manifest, or just :func:`versions` of the maker.
    here
        The same of the place they are to be opened in; by default this process. A package it does
        not list is taken to be as it should; one that is ``None`` is not installed.
    """
    if header.get("format", FORMAT) != FORMAT:
        problem = (
            f"the parcels are of format {header['format']} and this side reads format {FORMAT}; "
            "use the same version of jupyter_aiinfra on both sides"
        )
        return [problem]
    header = header.get("versions", header)
    bound = [entry for entry in entries if not entry["portable"]]
    if not bound:
        return []
    packages = sorted({package for entry in bound for package in entry["packages"]})
    here = versions(packages) if here is None else here
    if not _same_language(header, here):
        problem = (
            f"{_named(bound)}: made by {_spoken(header)}, to be opened by {_spoken(here)}; only "
            "plain data, tensors and arrays cross: send those (a model's state_dict() instead of "
            "the model), or use one Python on both sides"
        )
        return [problem]
    problems = []
    for package in packages:
        made = header.get("packages", {}).get(package)
        if made is None or package not in here.get("packages", {}):
            continue  # not known on one side, which is no evidence
        found = here["packages"][package]
        if found is not None and _minor(made) == _minor(found):
            continue
        users = _named(entry for entry in bound if package in entry["packages"])
        have = f"{package} {found}" if found else f"no {package}"
        problems.append(
            f"{users}: made with {package} {made}, to be opened with {have}; install {package} "
            f"{made} there, or send plain data, tensors and arrays only"
        )
    return problems


def _same_language(header: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    # The bytecode's magic number tells the alphas of one minor version apart. The inventory of
    # another machine may lack it.
    magic = {header.get("magic"), here.get("magic")} - {None}
    return (
        header.get("implementation", "CPython") == here.get("implementation", "CPython")
        and _minor(header["python"]) == _minor(here["python"])
        and len(magic) <= 1
    )


def _spoken(header: Mapping[str, Any]) -> str:
    name = header.get("implementation", "CPython")
    return f"{'Python' if name == 'CPython' else name} {header['python']}"


def _named(entries: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join("`{}` ({})".format(entry["name"], entry["type"]) for entry in entries)


# --- packing -------------------------------------------------------------------------------------


def pack(name: str, value: Any, *, to_cpu: bool = False) -> Packed:
    """Make `value` ready to travel, without copying tensors and arrays that lie in one piece.

    Tensors that share memory still do after :func:`unpack`. Gradients, graphs and hooks of
    tensors stay behind. What the pickle names in ``__main__`` is reported under ``"main"`` and
    must exist where it is opened.

    Parameters
    ----------
    to_cpu
        Copy tensors of an accelerator to the host instead of refusing them.

    Raises
    ------
    Unsendable
        Names the smallest part that cannot travel, where it is, and why.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream, to_cpu=to_cpu)
    try:
        pickler.dump(value)
        freight = _Freight(pickler)
    except Exception as error:
        raise _unsendable(name, value, pickler, error) from error
    return freight.finish(name, value, stream.getvalue())


def joined(packed: Mapping[str, Packed]) -> list[list[str]]:
    """Return the groups of names whose values have an object in common, such as a parameter."""
    groups: dict[str, list[str]] = {name: [name] for name in packed}
    owner: dict[int, str] = {}
    wholes = {next(iter(one.met), None) for one in packed.values()}  # a value is met first
    for name, one in packed.items():
        for key, thing in one.met.items():
            # An empty one deep inside is more likely some class's default, as in every DataFrame.
            if type(thing) in _CONTAINERS and not thing and key not in wholes:
                continue
            first = groups[owner.setdefault(key, name)]
            second = groups[name]
            if first is not second:
                first.extend(second)
                groups.update(dict.fromkeys(second, first))
    found = {id(group): group for group in groups.values() if len(group) > 1}
    return list(found.values())


def pack_together(values: Mapping[str, Any], *, to_cpu: bool = False) -> Packed:
    """Make `values` ready to travel as one, so that what they have in common stays in common.

    The entry lists their names under ``"names"``; what it unpacks to is a list in that order.

    Parameters
    ----------
    to_cpu
        As for :func:`pack`.

    Raises
    ------
    Unsendable
        As :func:`pack` does.
    """
    packed = pack(", ".join(values), list(values.values()), to_cpu=to_cpu)
    packed.entry["names"] = list(values)
    packed.entry["type"] = ", ".join(_type(value) for value in values.values())
    return packed


class _Pickler(pickle.Pickler):
    """Takes tensors, arrays and buffers out of the stream and notes what the stream refers to."""

    def __init__(self, stream: Any, *, to_cpu: bool) -> None:
        # Nothing here refers to the pickler: its memo holds all it met, and must go with it at
        # once, not when the garbage collector finds a cycle (which may also crash on buffers).
        taken: list[tuple[str, Any]] = []
        super().__init__(
            stream,
            protocol=5,
            buffer_callback=lambda buffer: taken.append(("buffer", buffer.raw())),
        )
        self.to_cpu = to_cpu
        self.taken = taken  # in the order of their persistent ids
        self.globals: set[tuple[str, str]] = set()
        self.bases: set[str] = set()  # modules of all classes above those
        self.last: Any = None  # when pickling fails, this is what it failed at
        self.met: dict[int, Any] = {}
        self._ids: dict[int, int] = {}
        self._takers = self._find_takers()

    @classmethod
    def _find_takers(cls) -> dict[type, Callable[[_Pickler, Any], Any]]:
        takers: dict[type, Callable[[_Pickler, Any], Any]] = {pickle.PickleBuffer: cls._note}
        takers.update(dict.fromkeys(_CONTAINERS, cls._meet))
        numpy: Any = sys.modules.get("numpy")
        torch: Any = sys.modules.get("torch")
        # A package still being imported has no values yet.
        if hasattr(numpy, "memmap"):
            takers.update(dict.fromkeys(set(numpy.sctypeDict.values()), cls._take_scalar))
            takers.update({numpy.ndarray: cls._take_array, numpy.memmap: cls._take_array})
        if hasattr(torch, "nn"):
            takers.update({torch.Tensor: cls._take_tensor, torch.nn.Parameter: cls._take_tensor})
        return takers

    def persistent_id(self, obj: Any) -> Any:
        taker = self._takers.get(type(obj))
        return None if taker is None else taker(self, obj)

    def reducer_override(self, obj: Any) -> Any:
        self.last = obj
        if isinstance(obj, type) or (callable(obj) and hasattr(obj, "__qualname__")):
            module = getattr(obj, "__module__", None) or type(obj).__module__
            self.globals.add((str(module), str(obj.__qualname__)))
            # What a class inherits shapes the state of its instances.
            self.bases.update(base.__module__ for base in getattr(obj, "__mro__", ()))
        else:
            # Some objects reduce to the mere name of a global, which lives where their class does.
            self.globals.add((type(obj).__module__, type(obj).__qualname__))
            if hasattr(obj, "__dict__") and not isinstance(obj, enum.Enum):
                self._meet(obj)
            if isinstance(obj, getattr(sys.modules.get("torch"), "Tensor", ())):
                # A subclass is pickled as it says itself, device and all.
                self._check_tensor(obj, to_cpu=False)
        return NotImplemented

    def _take(self, kind: str, obj: Any) -> int:
        index = self._ids.get(id(obj))
        if index is None:
            index = self._ids[id(obj)] = len(self.taken)
            self.taken.append((kind, obj))  # holds the object, so its id stays its own
            self._meet(obj)
        return index

    def _meet(self, obj: Any) -> None:
        self.met[id(obj)] = obj

    def _note(self, obj: Any) -> None:
        self.last = obj

    def _take_array(self, array: Any) -> Any:
        if not _plain(array.dtype):
            return None
        return self._take("array", array)

    def _take_scalar(self, scalar: Any) -> Any:
        if scalar.dtype.itemsize == 0:  # an empty string
            return ("scalar", scalar.dtype.str, b"")
        if not _plain(scalar.dtype):
            return None
        return ("scalar", _dtype_spec(scalar.dtype), scalar.tobytes())

    def _take_tensor(self, tensor: Any) -> Any:
        known = id(tensor) in self._ids
        if not known:
            self.last = tensor
            self._check_tensor(tensor, to_cpu=self.to_cpu)
        index = self._take("safetensors", tensor)
        if not known and tensor.__dict__:
            return ("attributes", index, dict(tensor.__dict__))
        return index

    @staticmethod
    def _check_tensor(tensor: Any, *, to_cpu: bool) -> None:
        torch = sys.modules["torch"]
        device = tensor.device.type
        if hasattr(tensor, "full_tensor"):
            raise _Refused("a sharded tensor (DTensor)", "gather it: {path}.full_tensor()")
        if device == "meta":
            raise _Refused("a meta tensor (it has no data)", "give it data: {path}.to_empty(…)")
        if tensor.layout is not torch.strided or tensor.is_nested:
            layout = "nested" if tensor.is_nested else str(tensor.layout).split(".")[-1]
            raise _Refused(f"a tensor of layout {layout}", "make it dense: {path}.to_dense()")
        if tensor.is_quantized:
            raise _Refused("a quantized tensor", "send {path}.dequantize(), or quantize there")
        if device != "cpu" and not to_cpu:
            raise _Refused(f"a {device.upper()} tensor", "move it: {owner}.cpu()")


def _plain(dtype: Any) -> bool:
    """Whether raw bytes and a description give back the same array."""
    if dtype.hasobject or dtype.itemsize == 0:
        return False
    try:
        return bool(_dtype(_dtype_spec(dtype)) == dtype)
    except (TypeError, ValueError):
        return False


def _dtype_spec(dtype: Any) -> Any:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_dtype_spec(base), list(shape)]
    if dtype.names is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "names": list(dtype.names),
        "formats": [_dtype_spec(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "titles": [(*field, None)[2] for field in fields],
        "itemsize": dtype.itemsize,
        "aligned": bool(dtype.isalignedstruct),
    }


def _dtype(spec: Any) -> Any:
    import numpy as np

    if isinstance(spec, list):
        return np.dtype((_dtype(spec[0]), tuple(spec[1])))
    if isinstance(spec, dict):
        table: Any = {**spec, "formats": [_dtype(part) for part in spec["formats"]]}
        return np.dtype(table)
    return np.dtype(spec)


def _array_bytes(array: Any) -> tuple[Any, str]:
    """Return the array's bytes (a view where it lies in one piece) and their order."""
    import numpy as np

    if array.nbytes == 0:
        return memoryview(b""), "C"
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    flat = array.T.reshape(-1) if order == "F" else np.ascontiguousarray(array).reshape(-1)
    raw: Any = flat.view(np.ndarray).view(np.uint8)
    return memoryview(raw), order


# --- tensors -------------------------------------------------------------------------------------

_SAFETENSORS = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


class _Span:
    """One stretch of memory with all tensors that lie in it."""

    def __init__(self, view: Any, start: int, members: list[tuple[int, Any]]) -> None:
        self.view = view
        self.start = start
        self.members = members

    @property
    def itemsize(self) -> int:
        return max(int(tensor.element_size()) for _, tensor in self.members)

    def record(self, tensor: Any, *, original: Any) -> dict[str, Any]:
        at = tensor.storage_offset() * tensor.element_size() - self.start
        return {
            "dtype": _dtype_name(tensor),
            "shape": list(tensor.shape),
            "stride": list(tensor.stride()),
            "at": at // tensor.element_size(),
            "requires_grad": bool(original.requires_grad),
            "parameter": isinstance(original, sys.modules["torch"].nn.Parameter),
        }

    def described(self) -> tuple[str, list[int]]:
        """Return the dtype and shape that a reader of safetensors sees."""
        tensor = self.members[0][1]
        alike = len({_dtype_name(member) for _, member in self.members}) == 1
        if not alike or _dtype_name(tensor) not in _SAFETENSORS:
            return "U8", [len(self.view)]
        whole = len(self.members) == 1 and tensor.is_contiguous()
        shape = list(tensor.shape) if whole else [len(self.view) // tensor.element_size()]
        return _SAFETENSORS[_dtype_name(tensor)], shape


def _dtype_name(tensor: Any) -> str:
    return str(tensor.dtype).split(".")[-1]


def _spans(tensors: Iterable[tuple[int, Any]]) -> list[_Span]:
    """Group tensors by the memory they share; a lone tensor with gaps is made contiguous."""
    groups: dict[Any, list[tuple[int, int, int, Any]]] = {}
    spans = []
    for index, original in tensors:
        tensor = original.detach().resolve_conj().resolve_neg()
        if tensor.numel() == 0:
            spans.append(_Span(memoryview(b""), 0, [(index, tensor.contiguous())]))
            continue
        start = tensor.storage_offset() * tensor.element_size()
        reach = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride())) + 1
        key = (str(tensor.device), tensor.untyped_storage().data_ptr())
        groups.setdefault(key, []).append(
            (start, start + reach * tensor.element_size(), index, tensor)
        )
    for group in groups.values():
        # Views of one storage that do not overlap need not stay together.
        cluster: list[tuple[int, int, int, Any]] = []
        end = -1
        for piece in sorted(group, key=lambda piece: piece[:3]):
            if cluster and piece[0] >= end:
                spans.append(_span(cluster))
                cluster = []
            cluster.append(piece)
            end = max(end, piece[1])
        spans.append(_span(cluster))
    return sorted(spans, key=lambda span: min(index for index, _ in span.members))


def _span(cluster: list[tuple[int, int, int, Any]]) -> _Span:
    torch = sys.modules["torch"]
    start, end, index, tensor = cluster[0]
    if len(cluster) == 1 and end - start > tensor.numel() * tensor.element_size():
        tensor = tensor.contiguous()
        start, end = 0, tensor.numel() * tensor.element_size()
        cluster = [(start, end, index, tensor)]
    if len({piece[3].dtype for piece in cluster}) > 1:
        start -= start % 16  # every dtype finds its elements at whole multiples
    end = max(piece[1] for piece in cluster)
    storage = max((piece[3].untyped_storage() for piece in cluster), key=len)
    flat = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    flat = flat.set_(storage, start, (end - start,)).cpu()
    try:
        view = memoryview(flat.numpy())
    except RuntimeError:  # a torch without numpy
        import ctypes

        view = memoryview(ctypes.string_at(flat.data_ptr(), len(flat)))
    return _Span(view, start, [(piece[2], piece[3]) for piece in cluster])


def _safetensors(spans: Sequence[_Span]) -> tuple[bytes, list[int]]:
    """Return the header of a file holding `spans` in this order, and each one's offset in it."""
    table: dict[str, Any] = {}
    at = 0
    starts = []
    for number, span in enumerate(spans):
        dtype, shape = span.described()
        end = at + len(span.view)
        table[str(number)] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        starts.append(at)
        at = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)  # so that mapped data is aligned for any dtype
    header = len(text).to_bytes(8, "little") + text
    return header, [len(header) + start for start in starts]


class _Freight:
    """Lays what a pickler took into blobs, big pieces alone and small ones together."""

    def __init__(self, pickler: _Pickler) -> None:
        self.globals = pickler.globals
        self.modules = pickler.bases | {module for module, _ in pickler.globals}
        self.taken = pickler.taken
        self.met = pickler.met
        self.parts: list[dict[str, Any]] = [{"kind": kind} for kind, _ in self.taken]
        self._blobs: list[tuple[list[Any], list[int]]] = []  # buffers, and the parts held in them
        self._lay_raw()
        self._lay_tensors()

    def _lay_raw(self) -> None:
        small: list[tuple[int, Any]] = []
        for index, (kind, obj) in enumerate(self.taken):
            part = self.parts[index]
            if kind == "array":
                view, part["order"] = _array_bytes(obj)
                part["dtype"], part["shape"] = _dtype_spec(obj.dtype), list(obj.shape)
            elif kind == "buffer":
                view = obj
            else:
                continue
            part["offset"], part["bytes"] = 0, len(view)
            if len(view) < _SMALL_BYTES:
                small.append((index, view))
            else:
                self._blobs.append(([view], [index]))
        at = 0
        for index, view in small:
            self.parts[index]["offset"] = at
            at += len(view)
        if small:
            self._blobs.append(([view for _, view in small], [index for index, _ in small]))

    def _lay_tensors(self) -> None:
        pairs = [(n, obj) for n, (kind, obj) in enumerate(self.taken) if kind == "safetensors"]
        spans = _spans(pairs) if pairs else []
        files = [[span] for span in spans if len(span.view) >= _SMALL_BYTES]
        # Wide elements first, so that each finds its place at a whole multiple of its size.
        small = [span for span in spans if len(span.view) < _SMALL_BYTES]
        files += [sorted(small, key=lambda span: -span.itemsize)] if small else []
        numbers = {id(span): number for number, span in enumerate(spans)}
        for file in files:
            header, offsets = _safetensors(file)
            held = []
            for span, offset in zip(file, offsets):
                for index, tensor in span.members:
                    self.parts[index].update(
                        span.record(tensor, original=self.taken[index][1]),
                        offset=offset,
                        bytes=len(span.view),
                        storage=numbers[id(span)],
                    )
                    held.append(index)
            self._blobs.append(([header, *(span.view for span in file)], held))

    def finish(self, name: str, value: Any, stream: bytes) -> Packed:
        """Hash the blobs and write the entry."""
        inline = len(stream) <= _SMALL_BYTES
        blobs = self._blobs + ([] if inline else [([stream], [])])
        digests = _digests([buffers for buffers, _ in blobs])
        for digest, (_, held) in zip(digests, blobs):
            for index in held:
                self.parts[index]["digest"] = digest
        buffers = dict(zip(digests, (buffers for buffers, _ in blobs)))
        packages = {module.split(".")[0] for module in self.modules} - {"__main__"}
        packages = {package for package in packages if not _standard(package)}
        kinds = {part["kind"] for part in self.parts}
        route = "tensor" if "safetensors" in kinds else "array" if "array" in kinds else "data"
        entry = {
            "name": name,
            "type": _type(value),
            "bytes": sum(len(part) for parts in buffers.values() for part in parts)
            + (len(stream) if inline else 0),
            "route": route,
            "portable": all(module in _PORTABLE for module, _ in self.globals),
            "packages": sorted(packages),
            "main": sorted({n.split(".")[0] for module, n in self.globals if module == "__main__"}),
            "pickle": base64.b64encode(stream).decode()
            if inline
            else {"digest": digests[-1], "bytes": len(stream)},
            "parts": self.parts,
            "made": versions(packages),
        }
        return Packed(entry, buffers, self.met)


def _digests(blobs: Sequence[Sequence[Any]]) -> list[str]:
    # Hashing releases the interpreter, so two big blobs take the time of one.
    if len(blobs) <= 1:
        return [_digest(buffers) for buffers in blobs]
    with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(_digest, blobs))


def _digest(buffers: Iterable[Any]) -> str:
    sha = hashlib.sha256()
    for buffer in buffers:
        sha.update(buffer)
    return sha.hexdigest()


def _standard(package: str) -> bool:
    names = getattr(sys, "stdlib_module_names", None)  # Python 3.10
    if names is not None:
        return package in names
    origin = getattr(sys.modules.get(package), "__file__", None)
    folder = os.path.dirname(os.__file__) + os.sep
    return origin is None or (origin.startswith(folder) and "site-packages" not in origin)


def _type(value: Any) -> str:
    """Say what a value is, as the manifest shows it."""
    name = type(value).__name__
    array: Any = getattr(sys.modules.get("numpy"), "ndarray", ())
    tensor: Any = getattr(sys.modules.get("torch"), "Tensor", ())
    if isinstance(value, tensor):
        return f"{name} {_dtype_name(value)} {list(value.shape)}"
    if "torch.nn" in sys.modules and isinstance(value, sys.modules["torch.nn"].Module):
        return f"{name}, {_count(value):,} parameters"
    if isinstance(value, array):
        return f"{name} {value.dtype.name} {list(value.shape)}"
    if isinstance(value, (str, bytes, bytearray, dict, list, tuple, set, frozenset, deque)):
        return f"{name} of {len(value)}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and all(isinstance(n, int) for n in shape):
        return f"{name} {list(shape)}"
    return name


def _count(module: Any) -> int:
    # A lazy parameter has no shape yet; a sum that cannot be known is no reason to fail.
    return sum(
        math.prod(parameter.shape)
        for parameter in module.parameters()
        if not hasattr(parameter, "materialize")
    )


# --- what cannot travel --------------------------------------------------------------------------

_WHAT = {
    ("builtins", "async_generator"): ("an async generator", "send what it yields: list(…)"),
    ("builtins", "code"): ("a code object", ""),
    ("builtins", "coroutine"): ("a coroutine", ""),
    ("builtins", "frame"): ("a stack frame", ""),
    ("builtins", "generator"): ("a generator", "send what it yields: list(…)"),
    ("builtins", "mappingproxy"): ("a view of a mapping", "send a dict of it: dict(…)"),
    ("builtins", "dict_items"): ("a view of a dict", "send a list of it: list(…)"),
    ("builtins", "dict_keys"): ("a view of a dict", "send a list of it: list(…)"),
    ("builtins", "dict_values"): ("a view of a dict", "send a list of it: list(…)"),
    ("builtins", "memoryview"): ("a memoryview", "send its bytes: bytes(…)"),
    ("builtins", "module"): ("a module", "import it in the cell instead"),
    ("builtins", "traceback"): ("a traceback", "send its text: traceback.format_tb(…)"),
    ("_contextvars", "ContextVar"): ("a context variable", ""),
    ("_thread", "RLock"): ("a thread lock", "make it in the cell"),
    ("_thread", "_local"): ("thread-local data", "make it in the cell"),
    ("_thread", "_localdummy"): ("thread-local data", "make it in the cell"),
    ("_thread", "lock"): ("a thread lock", "make it in the cell"),
    ("_socket", "socket"): ("a socket", "open it in the cell"),
    ("sqlite3", "Connection"): ("a database connection", "open it in the cell"),
    ("sqlite3", "Cursor"): ("a database cursor", "send what it fetched: cursor.fetchall()"),
    ("weakref", "ReferenceType"): ("a weak reference", ""),
}
_DATABASES = frozenset(("duckdb", "psycopg", "psycopg2", "pymysql", "oracledb", "sqlalchemy"))


def _unsendable(name: str, value: Any, pickler: _Pickler, error: Exception) -> Unsendable:
    if isinstance(error, RecursionError):
        reason = f"`{name}` is nested too deeply to be pickled"
        return Unsendable(name, reason, "send it in a flatter form")
    culprit = value if pickler.last is None else pickler.last
    what, hint = _describe(culprit, error)
    suffix = _find(value, culprit)
    if isinstance(error, _Refused):
        path = name + (suffix or "")
        hint = hint.format(path=path, owner=name if hasattr(value, "cpu") else path)
    if suffix:
        return Unsendable(name + suffix, f"`{name}` holds {what} at {suffix}", hint)
    return Unsendable(name, f"`{name}` {'is' if culprit is value else 'holds'} {what}", hint)


def _describe(culprit: Any, error: Exception) -> tuple[str, str]:
    """Return what a culprit is, in words that follow "is" or "holds", and a hint."""
    if isinstance(error, _Refused):
        return error.what, error.hint
    if isinstance(culprit, io.IOBase):
        name, mode = getattr(culprit, "name", None), getattr(culprit, "mode", None)
        label = "".join([f" {name!r}" if name else "", f" ({mode})" if mode else ""])
        return "an open file" + label, "send its path and open it in the cell"
    for base in type(culprit).__mro__:
        known = _WHAT.get((base.__module__, base.__qualname__))
        if known:
            label = f" {culprit.__name__!r}" if isinstance(culprit, types.ModuleType) else ""
            return known[0] + label, known[1]
    if isinstance(culprit, (type, types.FunctionType)) and _defined(culprit) is not culprit:
        return _describe_definition(culprit)
    kind = f"{type(culprit).__module__}.{type(culprit).__qualname__}"
    if kind.split(".", maxsplit=1)[0] in _DATABASES:
        return f"a database connection ({kind})", "open it in the cell"
    return f"a {kind.replace('builtins.', '')}, which cannot be pickled ({error})", ""


def _defined(culprit: Any) -> Any:
    """Return what now stands under the name of a class or function, ``None`` if nothing."""
    found: Any = sys.modules.get(culprit.__module__)
    for name in culprit.__qualname__.split("."):
        found = getattr(found, name, None)
    return found


def _describe_definition(culprit: Any) -> tuple[str, str]:
    noun = "class" if isinstance(culprit, type) else "function"
    if culprit.__name__ == "<lambda>":
        return "a lambda", "give it a name: def … at the top of a cell"
    if "<locals>" in culprit.__qualname__:
        what = f"a {noun} defined inside a function ({culprit.__qualname__})"
        return what, "define it at the top of a cell"
    if _defined(culprit) is not None:
        what = f"an earlier definition of {noun} `{culprit.__qualname__}`"
        return what, "it was defined anew since: make the value again"
    full = f"{culprit.__module__}.{culprit.__qualname__}"
    return f"a {noun} its module does not have ({full})", "define it at the top of a cell"


def _find(value: Any, culprit: Any) -> str | None:
    """Return the shortest path from `value` to `culprit`, or ``None`` if it is not found soon."""
    deadline = time.monotonic() + _SEARCH_SECONDS
    queue = deque([("", value)])
    seen = {id(value): value}  # holds them: an id must not be used again
    while queue:
        path, parent = queue.popleft()
        if parent is culprit:
            return path
        if len(seen) > _SEARCH_OBJECTS or time.monotonic() > deadline:
            return None
        for suffix, child in _children(parent):
            if id(child) not in seen and type(child) not in _ATOMS:
                seen[id(child)] = child
                queue.append((path + suffix, child))
    return None


_ATOMS = frozenset((int, float, complex, bool, str, bytes, bytearray, type(None)))
_MODULE_TABLES = ("_parameters", "_buffers", "_modules")


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what pickling `value` goes on to, each with what the user would append to reach it."""
    tensor: Any = getattr(sys.modules.get("torch"), "Tensor", ())
    if type(value) is dict:
        yield from _items(value.items())
    elif type(value) in (list, tuple):
        yield from ((f"[{number}]", child) for number, child in enumerate(value))
    elif type(value) in (set, frozenset):
        yield from (("{…}", child) for child in value)
    elif isinstance(value, tensor):
        yield from _attributes(vars(value))
    elif not isinstance(value, (type, types.FunctionType, types.ModuleType)):
        yield from _reduced(value)


def _reduced(value: Any) -> Iterator[tuple[str, Any]]:
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:  # noqa: BLE001 - user code; what cannot be reduced has no children
        return
    if not isinstance(reduced, tuple):
        return
    function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    # A class or function is reached by the object itself, as the user sees it.
    yield from (("", child) for child in (function, *(arguments or ())))
    for part in state if isinstance(state, tuple) else (state,):
        yield from _attributes(part) if isinstance(part, dict) else (("", part),)
    yield from ((f"[{number}]", child) for number, child in enumerate(items or ()))
    yield from _items(pairs or ())


def _items(pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    for key, child in pairs:
        label = repr(key) if type(key) in _ATOMS else f"<{type(key).__name__}>"
        label = label if len(label) <= _LABEL_CHARACTERS else label[: _LABEL_CHARACTERS - 1] + "…"
        yield f"[{label}]", child
        yield f" key {label}", key


def _attributes(state: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, child in list(state.items()):
        if key in _MODULE_TABLES and isinstance(child, dict):
            # The user writes net.layer.weight, not net._modules['layer']._parameters['weight'].
            yield from (("." + str(name), part) for name, part in child.items())
        else:
            yield "." + str(key), child


# --- unpacking -----------------------------------------------------------------------------------


def unpack(
    entry: Mapping[str, Any],
    read: Callable[[str], Any],
    *,
    main: Mapping[str, Any] | None = None,
) -> Any:
    """Rebuild the value of `entry`: writable, and independent of the blobs.

    Parameters
    ----------
    read
        Returns the bytes of a digest. A writable ``mmap`` is taken over as it is, so it must be a
        fresh private one (``ACCESS_COPY``) each time; big tensors and arrays then cost no reading
        until they are touched. Anything else is copied.
    main
        Where names of ``__main__`` are looked up; by default this process's own.

    Raises
    ------
    Incompatible
        The entry was made by a Python or package version that does not fit, found before anything
        is unpickled; or something it refers to is not here; or its bytes are not whole.
    """
    problems = check(entry["made"], entries=[entry])
    if problems:
        raise Incompatible("; ".join(problems))
    if main is None:
        main = vars(sys.modules["__main__"])
    name, stream = entry["name"], entry["pickle"]
    parts = _Parts(entry, read)
    try:
        data = (
            base64.b64decode(stream)
            if isinstance(stream, str)
            else parts.bytes(stream["digest"], 0, stream["bytes"])
        )
        return _Unpickler(io.BytesIO(data), parts, name, main).load()
    except (Incompatible, MemoryError, OSError):
        raise
    except ImportError as error:
        hint = f"install {error.name} there" if error.name else "install it there"
        raise Incompatible(f"`{name}` cannot be opened here: {error}; {hint}") from error
    except Exception as error:
        text = f"`{name}` cannot be rebuilt here: {type(error).__name__}: {error}"
        raise Incompatible(text + "; send plain data, tensors and arrays instead") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, parts: _Parts, name: str, main: Mapping[str, Any]) -> None:
        super().__init__(file, buffers=parts.buffers())
        self._parts = parts
        self._name = name
        self._main = main

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, int):
            return self._parts.object(pid)
        if pid[0] == "attributes":
            _, index, attributes = pid
            tensor = self._parts.object(index)
            vars(tensor).update(attributes)
            return tensor
        import numpy as np

        _, spec, data = pid
        dtype = _dtype(spec)
        return (np.frombuffer(data, dtype).copy() if data else np.zeros(1, dtype))[0]

    def find_class(self, module: str, name: str) -> Any:
        if module != "__main__":
            return super().find_class(module, name)
        first, *rest = name.split(".")
        if first not in self._main:
            raise Incompatible(
                f"`{self._name}` needs {first}, which is not defined here: define {first} in a "
                "cell of its own and attach to the job again, or fetch plain data (a state_dict)"
            )
        return functools.reduce(getattr, rest, self._main[first])


class _Parts:
    """The tensors, arrays and buffers of one entry, rebuilt when the pickle asks for them."""

    def __init__(self, entry: Mapping[str, Any], read: Callable[[str], Any]) -> None:
        self._name = entry["name"]
        self._parts = entry["parts"]
        self._read = read
        self._small: dict[str, memoryview] = {}
        self._maps: list[Any] = []
        self._objects: dict[int, Any] = {}
        self._storages: dict[int, Any] = {}

    def object(self, index: int) -> Any:
        if index not in self._objects:
            part = self._parts[index]
            build = self._tensor if part["kind"] == "safetensors" else self._array
            self._objects[index] = build(part)
        return self._objects[index]

    def buffers(self) -> Iterator[Any]:
        for part in self._parts:
            if part["kind"] == "buffer":
                memory, at = self._private(part)
                yield memoryview(memory)[at : at + part["bytes"]]

    def bytes(self, digest: str, offset: int, size: int) -> memoryview:
        """Return the bytes named, or raise if the blob is shorter than it should be."""
        return self._cut(self._read(digest), digest, offset, size)

    def _cut(self, source: Any, digest: str, offset: int, size: int) -> memoryview:
        view = memoryview(source)
        if offset < 0 or offset + size > len(view):
            raise Incompatible(
                f"`{self._name}` is damaged: blob {digest} has {len(view)} bytes and "
                f"{offset + size} are needed; send it again"
            )
        return view[offset : offset + size]

    def _private(self, part: Mapping[str, Any]) -> tuple[Any, int]:
        """Return writable memory of our own that holds the part, and where in it."""
        digest, offset, size = part["digest"], part["offset"], part["bytes"]
        if size < _SMALL_BYTES:
            if digest not in self._small:
                self._small[digest] = memoryview(self._read(digest))
            return bytearray(self._cut(self._small[digest], digest, offset, size)), 0
        source = self._read(digest)
        view = self._cut(source, digest, offset, size)
        # Two equal tensors have one digest and must not come to share memory.
        taken = any(source is other for other in self._maps)
        if isinstance(source, mmap.mmap) and not view.readonly and not taken:
            self._maps.append(source)
            return source, offset
        return bytearray(view), 0

    def _array(self, part: Mapping[str, Any]) -> Any:
        import numpy as np

        dtype, shape = _dtype(part["dtype"]), tuple(part["shape"])
        if part["bytes"] == 0:
            return np.empty(shape, dtype)
        memory, at = self._private(part)
        flat = np.frombuffer(memory, np.uint8, count=part["bytes"], offset=at).view(dtype)
        if dtype.subdtype is not None:
            return flat
        return flat.reshape(shape, order=part["order"])

    def _tensor(self, part: Mapping[str, Any]) -> Any:
        import torch

        dtype = getattr(torch, part["dtype"], None)
        if dtype is None:
            raise Incompatible(
                f"`{self._name}` holds a tensor of dtype {part['dtype']}, which torch "
                f"{torch.__version__} here does not have: use a newer torch"
            )
        tensor = torch.empty(part["shape"], dtype=dtype)
        if part["bytes"]:
            if part["storage"] not in self._storages:
                memory, at = self._private(part)
                flat = torch.frombuffer(memory, dtype=torch.uint8, count=part["bytes"], offset=at)
                self._storages[part["storage"]] = flat.untyped_storage()
            storage = self._storages[part["storage"]]
            tensor = torch.empty(0, dtype=dtype)
            tensor.set_(storage, part["at"], part["shape"], part["stride"])
        if part["parameter"]:
            return torch.nn.Parameter(tensor, requires_grad=part["requires_grad"])
        return tensor.requires_grad_(part["requires_grad"])


# --- results -------------------------------------------------------------------------------------


def write_results(folder: str, values: Mapping[str, Any], *, missing: Iterable[str] = ()) -> None:
    """Leave `values` in `folder`: blobs first, then ``manifest.json`` by rename.

    A value that cannot travel is recorded with its reason and the others are still written.
    Tensors of an accelerator are copied to the host.

    Parameters
    ----------
    missing
        Names that were asked for and do not exist; recorded as such.

    Raises
    ------
    OSError
        Something could not be written; what could be was, and the manifest tells.
    """
    blobs = os.path.join(folder, "blobs")
    for path in (folder, blobs):
        os.makedirs(path, mode=0o700, exist_ok=True)
    entries: list[dict[str, Any]] = []
    problems = {name: f"`{name}` was not defined when the job ended" for name in missing}
    failure = None
    packed, refused = _pack_results(values)
    problems.update(refused)
    for one in packed:
        try:
            for digest, buffers in one.buffers.items():
                _write(os.path.join(blobs, digest), buffers)
            entries.append(one.entry)
        except OSError as error:  # noqa: PERF203 - one value's failure is not another's
            for name in _names(one.entry):
                problems[name] = f"`{name}` could not be written: {error.strerror or error}"
            failure = error
    packages = {package for entry in entries for package in entry["packages"]}
    manifest = {
        "format": FORMAT,
        "versions": versions(packages),
        "variables": entries,
        "problems": problems,
    }
    _write(os.path.join(folder, "manifest.json"), [json.dumps(manifest, indent=1).encode()])
    if failure is not None:
        raise failure


def _pack_results(values: Mapping[str, Any]) -> tuple[list[Packed], dict[str, str]]:
    """Pack what can travel, as one where values have an object in common; say what cannot."""
    packed: dict[str, Packed] = {}
    problems = {}
    for name, value in values.items():
        try:
            packed[name] = pack(name, value, to_cpu=True)
        except Unsendable as error:  # noqa: PERF203 - one value's failure is not another's
            problems[name] = error.reason + ("; " + error.hint if error.hint else "")
    for names in joined(packed):
        for name in names:
            del packed[name]
        try:
            together = pack_together({name: values[name] for name in names}, to_cpu=True)
        except Unsendable as error:
            problems.update(dict.fromkeys(names, error.reason))
        else:
            packed[names[0]] = together
    return list(packed.values()), problems


def _names(entry: Mapping[str, Any]) -> list[str]:
    return list(entry.get("names", [entry["name"]]))


def _write(path: str, buffers: Iterable[Any]) -> None:
    """Write a file (0600) that is there as a whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".part-")
    try:
        with open(handle, "wb", buffering=0) as file:
            for buffer in buffers:
                view = memoryview(buffer)
                while view.nbytes:
                    view = view[file.write(view) or 0 :]
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_results(
    folder: str, names: Iterable[str] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values a job left in `folder`, and for each that cannot be had the reason.

    Parameters
    ----------
    names
        The names wanted; by default everything there. ``__main__`` names are looked up in this
        process.
    """
    try:
        with open(os.path.join(folder, "manifest.json"), "rb") as file:
            manifest = json.load(file)
    except FileNotFoundError:
        return {}, dict.fromkeys(names or (), "the job left no results")
    entries = {name: entry for entry in manifest["variables"] for name in _names(entry)}
    values: dict[str, Any] = {}
    loaded: dict[str, Any] = {}
    problems: dict[str, str] = {}
    read = functools.partial(_read_blob, os.path.join(folder, "blobs"))
    for name in [*entries, *manifest["problems"]] if names is None else names:
        if name not in entries:
            absent = f"the job left no result named `{name}`"
            problems[name] = manifest["problems"].get(name, absent)
        elif against := check(manifest, entries=[entries[name]]):
            problems[name] = "; ".join(against)
        else:
            try:
                if name not in loaded:
                    value = unpack(entries[name], read)
                    together = entries[name].get("names")
                    loaded.update(zip(together, value) if together else [(name, value)])
                values[name] = loaded[name]
            except (Incompatible, OSError) as error:
                problems[name] = str(error)
    return values, problems


def _read_blob(folder: str, digest: str) -> Any:
    with open(os.path.join(folder, digest), "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
