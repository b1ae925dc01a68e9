"""What travels comes back the same; what cannot travel is named; nothing is opened in vain."""

from __future__ import annotations

import base64
import collections
import contextlib
import datetime as dt
import decimal
import fractions
import gc
import json
import math
import mmap
import os
import pathlib
import pickle
import socket
import sqlite3
import stat
import sys
import threading
import types
import uuid
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.torch import load as load_safetensors

from jupyter_aiinfra.node import parcel

BIG = 1 << 17  # bytes; more than what shares a blob


def blobs_of(packed: parcel.Packed) -> dict[str, bytes]:
    return {
        digest: b"".join(bytes(buffer) for buffer in buffers)
        for digest, buffers in packed.buffers.items()
    }


def round_trip(value: Any, **options: Any) -> Any:
    packed = parcel.pack("value", value)
    # The entry crosses as JSON text.
    entry = json.loads(json.dumps(packed.entry))
    return parcel.unpack(entry, blobs_of(packed).__getitem__, **options)


def mapped(folder: Path, packed: parcel.Packed) -> Any:
    """Write the blobs and return a reader of private mappings, as a rank has it."""
    for digest, blob in blobs_of(packed).items():
        (folder / digest).write_bytes(blob)

    def read(digest: str) -> mmap.mmap:
        with (folder / digest).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    return read


def refusal(value: Any) -> parcel.Unsendable:
    with pytest.raises(parcel.Unsendable) as caught:
        parcel.pack("cfg", value)
    return caught.value


@pytest.fixture
def in_main(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Define a class as a cell would: in ``__main__``."""

    def define(name: str, **members: Any) -> type:
        made = type(name, members.pop("bases", ()), {"__module__": "__main__", **members})
        monkeypatch.setattr(sys.modules["__main__"], name, made, raising=False)
        return made

    return define


# --- data ----------------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.dictionaries(st.integers(), inner).map(OrderedDict)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_plain_data_comes_back_equal_and_crosses_versions(value: Any) -> None:
    packed = parcel.pack("value", value)
    assert packed.entry["portable"]
    assert packed.entry["route"] == "data"
    assert packed.entry["packages"] == packed.entry["main"] == []
    assert round_trip(value) == value


def test_collections_paths_and_numbers_are_portable() -> None:
    value = [
        defaultdict(list, a=[1]),
        Counter("abca"),
        deque([1, 2], maxlen=3),
        pathlib.PurePosixPath("a/b"),
        decimal.Decimal("1.5"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=7),
        dt.timedelta(seconds=3),
        {1, 2},
        frozenset((3,)),
        ValueError("x").args,
    ]
    assert parcel.pack("value", value).entry["portable"] == (sys.version_info[:2] != (3, 13))
    assert round_trip(value) == value


def test_identity_and_cycles_are_kept() -> None:
    shared = np.arange(3.0)
    loop: list[Any] = [shared, {"again": shared}]
    loop.append(loop)
    back = round_trip(loop)
    assert back[2] is back
    assert back[0] is back[1]["again"]


def test_numpy_scalars_are_portable() -> None:
    value = {
        "loss": [np.float32(0.5), np.float64(0.25)],
        "when": np.datetime64("2026-01-02", "D"),
        "name": np.str_("näme"),
        "none": np.str_(""),
        "flag": np.True_,
        "pair": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0],
    }
    packed = parcel.pack("value", value)
    assert packed.entry["portable"]
    back = round_trip(value)
    assert back == value
    assert {key: type(item) for key, item in back.items()} == {
        key: type(item) for key, item in value.items()
    }


def test_a_large_pickle_travels_as_a_blob() -> None:
    value = list(range(100_000))
    packed = parcel.pack("value", value)
    digest = packed.entry["pickle"]["digest"]
    assert packed.entry["bytes"] == sum(len(part) for part in packed.buffers[digest])
    assert round_trip(value) == value


# --- arrays --------------------------------------------------------------------------------------

DTYPES = (
    npst.boolean_dtypes()
    | npst.integer_dtypes(endianness="?")
    | npst.unsigned_integer_dtypes(endianness="?")
    | npst.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | npst.complex_number_dtypes(endianness="?", sizes=(64, 128))
    | npst.datetime64_dtypes(endianness="?")
    | npst.timedelta64_dtypes(endianness="?")
    | npst.unicode_string_dtypes(endianness="?")
    | npst.byte_string_dtypes()
    | npst.nested_dtypes(max_itemsize=200)
)


@given(
    npst.arrays(
        DTYPES,
        npst.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4),
    ),
    st.sampled_from(["C", "F", "reversed", "strided"]),
)
@settings(deadline=None)
def test_arrays_of_any_dtype_come_back_bit_for_bit(array: Any, layout: str) -> None:
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "reversed" and array.ndim:
        array = array[::-1]
    elif layout == "strided" and array.ndim:
        array = array[..., ::2]
    packed = parcel.pack("value", array)
    if not array.dtype.hasobject:
        assert packed.entry["portable"]
        assert packed.entry["route"] == "array"
    back = round_trip(array)
    assert type(back) is np.ndarray
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.flags.writeable
    if array.dtype.hasobject:
        np.testing.assert_array_equal(back, array)
    else:
        assert back.tobytes() == array.tobytes()


def test_array_layout_is_kept() -> None:
    assert round_trip(np.ones((50, 700), order="F")).flags.f_contiguous
    assert round_trip(np.ones((50, 700))).flags.c_contiguous


def test_dtype_with_padding_titles_and_subarrays() -> None:
    dtype = np.dtype(
        {
            "names": ["a", "b"],
            "formats": ["u1", ("<f4", (2, 2))],
            "offsets": [0, 8],
            "titles": ["the a", None],
            "itemsize": 32,
        }
    )
    array = np.zeros(3, dtype)
    array["b"][1] = [[1, 2], [3, 4]]
    back = round_trip(array)
    assert back.dtype == dtype
    assert "the a" in back.dtype.fields
    np.testing.assert_array_equal(back["b"], array["b"])


def test_object_arrays_go_through_the_pickle() -> None:
    value = np.array([{"a": 1}, None, "x"], dtype=object)
    packed = parcel.pack("value", value)
    assert not packed.entry["portable"]
    assert packed.entry["packages"] == ["numpy"]
    assert list(round_trip(value)) == list(value)


def test_array_subclasses_keep_their_type() -> None:
    masked = np.ma.masked_array([1, 2, 3], mask=[False, True, False])
    back = round_trip(masked)
    assert isinstance(back, np.ma.MaskedArray)
    assert back.mask.tolist() == [False, True, False]


def test_memory_map_travels_as_the_array_it_shows(tmp_path: Path) -> None:
    array = np.memmap(tmp_path / "x.bin", dtype="f4", mode="w+", shape=(3, 4))
    array[:] = 2
    back = round_trip(array)
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, np.full((3, 4), 2, "f4"))


def test_data_frames_put_their_columns_into_buffers() -> None:
    frame = pd.DataFrame({"x": np.arange(20_000.0), "s": ["a", "b"] * 10_000})
    packed = parcel.pack("frame", frame)
    assert packed.entry["type"] == "DataFrame [20000, 2]"
    assert "pandas" in packed.entry["packages"]
    assert len(base64.b64decode(packed.entry["pickle"])) < 10_000
    pd.testing.assert_frame_equal(round_trip(frame), frame)


def test_read_only_buffers_and_writable_ones_stay_what_they_are() -> None:
    value = [pickle.PickleBuffer(b"x" * BIG), pickle.PickleBuffer(bytearray(b"y" * BIG))]
    first, second = round_trip(value)
    assert (bytes(first), memoryview(first).readonly) == (b"x" * BIG, True)
    assert (bytes(second), memoryview(second).readonly) == (b"y" * BIG, False)


# --- tensors -------------------------------------------------------------------------------------

TORCH_DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
]


def raw(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


@given(
    st.sampled_from(TORCH_DTYPES),
    st.lists(st.integers(0, 5), max_size=4),
    st.sampled_from(["plain", "transposed", "strided", "expanded", "offset"]),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_tensors_of_any_dtype_come_back_bit_for_bit(
    dtype: torch.dtype, shape: list[int], layout: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    size = math.prod(shape) * torch.empty(0, dtype=dtype).element_size()
    data = rng.integers(0, 2 if dtype is torch.bool else 256, size, dtype=np.uint8)
    tensor = torch.empty(shape, dtype=dtype)
    if size:
        tensor = torch.from_numpy(data).view(dtype).reshape(shape)
    if layout == "transposed" and shape:
        tensor = tensor.permute(*reversed(range(tensor.dim())))
    elif layout == "strided" and shape:
        tensor = tensor[..., ::2]
    elif layout == "expanded":
        tensor = tensor.unsqueeze(0).expand(3, *shape)
    elif layout == "offset" and shape and shape[0] > 1:
        tensor = tensor[1:]
    packed = parcel.pack("value", tensor)
    assert packed.entry["portable"]
    assert packed.entry["route"] == "tensor"
    back = round_trip(tensor)
    assert (back.dtype, back.shape, type(back)) == (tensor.dtype, tensor.shape, torch.Tensor)
    assert raw(back) == raw(tensor)


def test_conjugate_views_hold_their_values() -> None:
    tensor = torch.tensor([1 + 2j, 3 - 4j]).conj()
    assert torch.equal(round_trip(tensor), tensor.resolve_conj())
    assert torch.equal(round_trip(tensor.imag), tensor.imag.resolve_neg())


def test_gradients_wanted_and_parameters_are_kept() -> None:
    value = {
        "leaf": torch.ones(2, requires_grad=True),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "plain": torch.ones(2),
    }
    back = round_trip(value)
    assert [back[name].requires_grad for name in value] == [True, True, False, False]
    assert [isinstance(back[name], torch.nn.Parameter) for name in value] == [
        False,
        True,
        True,
        False,
    ]
    assert all(tensor.is_leaf for tensor in back.values())


def test_attributes_of_tensors_travel_even_in_a_circle() -> None:
    tensor: Any = torch.ones(2)
    tensor.tag = "mine"
    tensor.me = [tensor]
    back = round_trip([tensor, tensor])
    assert back[0] is back[1] is back[0].me[0]
    assert back[0].tag == "mine"


@pytest.mark.parametrize("size", [10, BIG])
def test_views_of_one_storage_still_share_it(size: int) -> None:
    base = torch.arange(float(size))
    value = [base, base[2:6], base.view(2, -1).t(), base.view(torch.int32)]
    back = round_trip(value)
    back[0][3] = -1.0
    assert back[1][1] == -1.0
    assert back[2][3, 0] == -1.0
    assert back[3][3] == torch.tensor(-1.0).view(torch.int32)
    assert len({part["digest"] for part in parcel.pack("value", value).entry["parts"]}) == 1


def test_a_small_view_does_not_drag_its_storage_along() -> None:
    base = torch.zeros(1_000_000)
    packed = parcel.pack("value", [base[10:20], base[500_000:500_010]])
    assert packed.entry["bytes"] < 1_000


@pytest.mark.parametrize("size", [10, BIG])
def test_equal_tensors_do_not_come_to_share_memory(tmp_path: Path, size: int) -> None:
    value = [torch.zeros(size), torch.zeros(size), np.zeros(size), np.zeros(size)]
    packed = parcel.pack("value", value)
    read = mapped(tmp_path, packed)
    one = {digest: read(digest) for digest in packed.buffers}
    for reader in (read, one.__getitem__):
        back = parcel.unpack(packed.entry, reader)
        back[0][0] = back[2][0] = 1
        assert back[1][0] == back[3][0] == 0


def test_tied_weights_stay_tied_in_module_and_state_dict() -> None:
    model = torch.nn.ModuleDict(
        {"embed": torch.nn.Embedding(300, 80), "head": torch.nn.Linear(80, 300)}
    )
    model["head"].weight = model["embed"].weight
    back = round_trip(model)
    assert back["head"].weight is back["embed"].weight
    state = round_trip(model.state_dict())
    assert isinstance(state, OrderedDict)
    assert state._metadata == model.state_dict()._metadata  # type: ignore[attr-defined]
    state["head.weight"][0, 0] = 42
    assert state["embed.weight"][0, 0] == 42
    packed = parcel.pack("model", model)
    assert packed.entry["type"] == "ModuleDict, 24,300 parameters"
    assert packed.entry["bytes"] < 24_300 * 4 + 4_000
    assert packed.entry["packages"] == ["torch"]
    assert not packed.entry["portable"]


def test_checkpoint_of_a_training_is_portable() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.randn(2, 3)}
    optimizer = {"state": {0: moments}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}
    value = {"model": model.state_dict(), "optimizer": optimizer, "epoch": 3}
    assert parcel.pack("checkpoint", value).entry["portable"]
    back = round_trip(value)
    fresh = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    fresh.load_state_dict(back["model"])
    assert torch.equal(fresh.state_dict()["0.weight"], model.state_dict()["0.weight"])
    assert back["optimizer"]["param_groups"] == optimizer["param_groups"]
    assert torch.equal(back["optimizer"]["state"][0]["exp_avg"], moments["exp_avg"])


def test_tensor_parts_are_safetensors_files() -> None:
    state = {
        "big": torch.randn(200, 200, dtype=torch.float64).bfloat16(),
        "wide": torch.randn(3, 2, dtype=torch.float64),
        "byte": torch.tensor([True, False, True]),
        "zero": torch.tensor(7.0),
        "none": torch.empty(0, 3),
        "pairs": torch.ones(2, dtype=torch.complex128),
    }
    packed = parcel.pack("state", state)
    blobs = blobs_of(packed)
    found = [tensor for blob in blobs.values() for tensor in load_safetensors(blob).values()]
    assert len(found) == len(state)
    for name in ("big", "wide", "byte", "zero", "none"):
        assert any(
            tensor.dtype == state[name].dtype
            and tensor.shape == state[name].shape
            and torch.equal(tensor, state[name])
            for tensor in found
        ), name


def test_channels_last_is_kept() -> None:
    tensor = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert round_trip(tensor).is_contiguous(memory_format=torch.channels_last)


def test_big_values_are_packed_without_a_copy() -> None:
    array, tensor = np.zeros(BIG), torch.zeros(BIG)
    packed = parcel.pack("value", [array, tensor])
    views = [np.frombuffer(part, np.uint8) for parts in packed.buffers.values() for part in parts]
    array.view(np.uint8)[5] = tensor.numpy().view(np.uint8)[5] = 77
    assert sum(int(view[5]) == 77 for view in views if view.size > 5000) == 2


def test_packing_holds_on_to_nothing() -> None:
    class Mine(np.ndarray):  # a type that can be watched
        pass

    gc.disable()
    try:
        array = np.zeros(BIG).view(Mine)
        gone = weakref.ref(array)
        with pytest.raises(parcel.Unsendable):  # of a local class
            parcel.pack("value", array)
        plain = np.zeros(BIG)
        count = sys.getrefcount(plain)
        packed = parcel.pack("value", {"a": plain, "t": torch.zeros(BIG)})
        del packed, array
        assert gone() is None
        assert sys.getrefcount(plain) == count
    finally:
        gc.enable()


def test_mapped_values_are_writable_and_leave_the_file_alone(tmp_path: Path) -> None:
    value = {"t": torch.ones(BIG), "a": np.ones(BIG)}
    packed = parcel.pack("value", value)
    before = blobs_of(packed)
    back = parcel.unpack(packed.entry, mapped(tmp_path, packed))
    back["t"].mul_(3)
    back["a"] += 1
    assert back["t"].sum() == 3 * BIG
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for path in tmp_path.iterdir():
        path.unlink()
    assert back["a"].sum() == 2 * BIG


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.empty(2, device="meta"), "meta tensor"),
        (lambda: torch.eye(2).to_sparse(), "sparse_coo"),
        (lambda: torch.eye(2).to_sparse_csr(), "sparse_csr"),
        (
            lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
            "quantized",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch calls sparse CSR and quantization beta or old
def test_tensors_without_plain_memory_are_refused(make: Any, words: str) -> None:
    error = refusal({"w": [make()]})
    assert error.path == "cfg['w'][0]"
    assert words in error.reason
    assert "cfg['w'][0]" in error.hint


def test_a_tensor_elsewhere_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(1, 1))
    elsewhere = model[0].weight

    class OnCuda(torch.nn.Parameter):
        @property
        def device(self) -> torch.device:  # type: ignore[override]
            return torch.device("cuda:0")

    elsewhere.__class__ = OnCuda
    with pytest.raises(parcel.Unsendable) as caught:
        parcel.pack("model", model)
    assert caught.value.reason == "`model` holds a CUDA tensor at .0.weight"
    assert caught.value.path == "model.0.weight"
    assert caught.value.hint == "move it: model.cpu()"
    assert refusal({"m": model}).hint == "move it: cfg['m'].0.weight.cpu()"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_results_on_a_gpu_come_back_on_the_host(tmp_path: Path) -> None:
    model = torch.nn.Linear(200, 300).cuda()
    with pytest.raises(parcel.Unsendable, match=r"holds a CUDA tensor at \.weight"):
        parcel.pack("model", model)
    base = torch.arange(10.0, device="cuda")
    parcel.write_results(str(tmp_path), {"state": model.state_dict(), "views": [base, base[3:]]})
    back, problems = parcel.read_results(str(tmp_path))
    assert problems == {}
    assert torch.equal(back["state"]["weight"], model.weight.detach().cpu())
    back["views"][0][3] = 9
    assert back["views"][1][0] == 9


# --- definitions in __main__ ---------------------------------------------------------------------


def test_an_instance_of_a_class_of_the_notebook(in_main: Any) -> None:
    net = in_main("Net", bases=(torch.nn.Linear,))(4, 2)
    packed = parcel.pack("net", net)
    assert packed.entry["main"] == ["Net"]
    assert packed.entry["packages"] == ["torch"]

    class Net(torch.nn.Linear):
        pass

    back = parcel.unpack(packed.entry, blobs_of(packed).__getitem__, main={"Net": Net})
    assert type(back) is Net
    assert torch.equal(back.weight, net.weight)
    with pytest.raises(
        parcel.Incompatible, match=r"Net, which is not defined here: define Net in a cell"
    ):
        parcel.unpack(packed.entry, blobs_of(packed).__getitem__, main={})


def test_functions_and_nested_classes_of_the_notebook_go_by_name(
    in_main: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = in_main("Outer")
    outer.Inner = type("Inner", (), {"__module__": "__main__", "__qualname__": "Outer.Inner"})
    loss = types.FunctionType((lambda x: x * 2).__code__, {}, "loss")
    loss.__module__ = "__main__"
    loss.__qualname__ = "loss"
    monkeypatch.setattr(sys.modules["__main__"], "loss", loss, raising=False)
    value = {"inner": outer.Inner(), "loss": loss}
    entry = parcel.pack("value", value).entry
    assert entry["main"] == ["Outer", "loss"]
    assert not entry["portable"]
    assert round_trip(value)["loss"] is loss


def test_an_instance_of_a_class_defined_anew_is_refused(in_main: Any) -> None:
    old = in_main("Config")()
    in_main("Config")
    error = refusal({"a": old})
    assert error.path == "cfg['a']"
    assert error.reason == "`cfg` holds an earlier definition of class `Config` at ['a']"
    assert "make the value again" in error.hint


def test_results_with_an_object_in_common_still_have_it(tmp_path: pathlib.Path) -> None:
    net = torch.nn.Linear(2, 2)
    parcel.write_results(
        str(tmp_path),
        {"net": net, "opt": torch.optim.SGD(net.parameters()), "n": 3, "gen": (n for n in [1])},
    )
    values, problems = parcel.read_results(str(tmp_path), ["opt", "n", "net", "gen"])
    assert values["opt"].param_groups[0]["params"][0] is values["net"].weight
    assert values["n"] == 3
    assert list(problems) == ["gen"]


def test_what_holds_a_lambda_is_not_called_one() -> None:
    error = refusal(collections.defaultdict(lambda: 3))
    assert error.reason == "`cfg` holds a lambda"


# --- what cannot travel --------------------------------------------------------------------------


class Holder:
    def __init__(self, **members: Any) -> None:
        vars(self).update(members)


class Slotted:
    __slots__ = ("stream",)

    def __init__(self, stream: Any) -> None:
        self.stream = stream


class Careful(Holder):
    """Leaves its lock behind, as it may."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "lock"}


class Thrower:
    def __reduce__(self) -> Any:
        raise KeyError("nope")


def test_an_open_file_is_named_with_its_mode(tmp_path: Path) -> None:
    with (tmp_path / "out.bin").open("wb") as file:
        error = refusal({"log": Holder(stream=file)})
    assert error.path == "cfg['log'].stream"
    assert error.reason == (
        f"`cfg` holds an open file {str(tmp_path / 'out.bin')!r} (wb) at ['log'].stream"
    )
    assert "open it in the cell" in error.hint


@pytest.mark.parametrize(
    ("make", "path", "words"),
    [
        (threading.Lock, "cfg", "`cfg` is a thread lock"),
        (lambda: [1, {"a": (2, threading.RLock())}], "cfg[1]['a'][1]", "a thread lock"),
        (lambda: {"f": lambda: 1}, "cfg['f']", "a lambda"),
        (lambda: {"g": (x for x in [1])}, "cfg['g']", "a generator"),
        (lambda: {"m": os}, "cfg['m']", "a module 'os'"),
        (lambda: {"k": {}.keys()}, "cfg['k']", "a view of a dict"),
        (lambda: Slotted(threading.Lock()), "cfg.stream", "a thread lock"),
        (lambda: deque([threading.Lock()]), "cfg[0]", "a thread lock"),
        (lambda: OrderedDict(a=threading.Lock()), "cfg['a']", "a thread lock"),
        (lambda: {1: Thrower()}, "cfg[1]", "Thrower, which cannot be pickled ('nope')"),
        (lambda: [memoryview(b"x")], "cfg[0]", "a memoryview"),
        (lambda: types.MappingProxyType({}), "cfg", "a view of a mapping"),
        (
            lambda: Careful(lock=threading.Lock(), other=[threading.Lock()]),
            "cfg.other[0]",
            "a thread lock at .other[0]",
        ),
        (
            lambda: torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Module()).apply(
                lambda module: setattr(module, "lock", threading.Lock())
            ),
            "cfg.lock",
            "a thread lock",
        ),
    ],
)
def test_the_culprit_is_named_with_its_path(make: Any, path: str, words: str) -> None:
    error = refusal(make())
    # The shortest path to the very culprit; one of several like it may come first.
    assert error.path.endswith(path.removeprefix("cfg"))
    assert words in error.reason


def test_local_definitions_are_refused_with_a_way_out() -> None:
    class Local:
        pass

    def nested() -> None: ...

    for value in (Local, Local(), nested):
        error = refusal([value])
        assert error.path == "cfg[0]"
        assert "defined inside a function" in error.reason
        assert error.hint == "define it at the top of a cell"


def test_a_definition_that_is_nowhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = type("Gone", (), {"__module__": __name__})
    assert "a class its module does not have" in refusal([gone()]).reason


def test_a_buffer_with_gaps_is_named() -> None:
    gaps: Any = np.zeros(4)[::2]
    error = refusal([Holder(a=1), pickle.PickleBuffer(gaps)])
    assert error.path == "cfg[1]"
    assert "non-contiguous" in error.reason


def test_connections_are_named() -> None:
    connection = sqlite3.connect(":memory:")
    with contextlib.closing(connection):
        assert "a database connection" in refusal({"db": connection}).reason
    # Never opened: what counts is what it is.
    assert "a socket" in refusal([socket.socket.__new__(socket.socket)]).reason


def test_a_culprit_behind_a_parent_link_is_found() -> None:
    root = Holder(children=[])
    child = Holder(parent=root)
    root.children.append(child)  # type: ignore[attr-defined]
    root.lock = threading.Lock()  # type: ignore[attr-defined]
    assert refusal(root).path == "cfg.lock"


def test_nesting_too_deep_is_a_sentence_too() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert "nested too deeply" in refusal(value).reason
    while value:  # taken apart by hand: its own end would be recursive
        value = value[0]


def test_the_search_for_a_culprit_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "_SEARCH_OBJECTS", 100)
    error = refusal([[index] for index in range(1_000)] + [threading.Lock()])
    assert error.path == "cfg[1000]" or error.reason == "`cfg` holds a thread lock"


# --- versions ------------------------------------------------------------------------------------


def entry_of(value: Any) -> dict[str, Any]:
    return parcel.pack("x", value).entry


def test_versions_name_interpreter_and_packages_without_importing() -> None:
    loaded = set(sys.modules)
    found = parcel.versions(["torch", "sklearn", "hypothesis", "no_such_package"])
    assert found["python"].split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    assert found["packages"]["torch"] == torch.__version__
    assert found["packages"]["sklearn"] is not None
    assert found["packages"]["no_such_package"] is None
    assert "sklearn" in loaded or "sklearn" not in sys.modules


def test_versions_are_found_without_help_of_newer_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("importlib.metadata.packages_distributions", raising=False)
    monkeypatch.delattr(sys, "stdlib_module_names", raising=False)
    monkeypatch.delitem(sys.modules, "dateutil", raising=False)
    parcel._distributions.cache_clear()
    try:
        assert parcel.versions(["dateutil"])["packages"]["dateutil"] is not None
        packed = parcel.pack("x", [torch.device("cpu"), threading.Event, os.stat_result])
        assert packed.entry["packages"] == ["torch"]
    finally:
        parcel._distributions.cache_clear()


def other(header: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**header, **changes}


def test_another_minor_version_opens_plain_data_only() -> None:
    here = parcel.versions(["torch"])
    there = other(here, python="3.99.1")
    assert parcel.check(there, entries=[entry_of({"lr": 0.1, "w": torch.ones(2)})]) == []
    (problem,) = parcel.check(
        there, entries=[entry_of(torch.nn.Linear(1, 1)), entry_of([1])], here=here
    )
    assert "`x` (Linear, 2 parameters)" in problem
    assert "Python 3.99.1" in problem
    assert here["python"] in problem
    assert "state_dict" in problem
    assert problem.count("; ") == 1
    assert parcel.check(here, entries=[entry_of(torch.nn.Linear(1, 1))], here=here) == []
    manifest = {"format": parcel.FORMAT, "versions": there}
    assert parcel.check(manifest, entries=[entry_of(torch.nn.Linear(1, 1))])
    assert parcel.check(
        other(here, implementation="PyPy"), entries=[entry_of(torch.nn.Linear(1, 1))]
    )


def test_patch_versions_and_unknown_magic_do_not_matter() -> None:
    here = parcel.versions(["torch"])
    minor = ".".join(here["python"].split(".")[:2])
    entries = [entry_of(torch.nn.Linear(1, 1))]
    assert parcel.check(here, entries=entries, here=other(here, python=minor + ".99")) == []
    bare = {"python": here["python"], "packages": {}}
    assert parcel.check(here, entries=entries, here=bare) == []
    assert parcel.check(other(here, magic=1), entries=entries)


@pytest.mark.parametrize(
    ("there", "words"), [("1.2.3", "torch 1.2.3"), (None, "no torch"), ("2.13.9+cu130", None)]
)
def test_packages_the_pickle_needs_are_compared(there: str | None, words: str | None) -> None:
    here = other(parcel.versions(), packages={"torch": "2.13.0+cpu"})
    problems = parcel.check(
        here,
        entries=[entry_of(torch.nn.Linear(1, 1))],
        here=other(here, packages={"torch": there}),
    )
    if words is None:
        assert problems == []
    else:
        (problem,) = problems
        assert words in problem
        assert "install torch 2.13.0+cpu" in problem


def test_another_format_is_refused() -> None:
    (problem,) = parcel.check({"format": 99}, entries=[])
    assert "format 99" in problem


def test_nothing_is_unpickled_when_versions_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = parcel.pack("net", torch.nn.Linear(1, 1))
    packed.entry["made"]["python"] = "3.99.0"
    monkeypatch.setattr(parcel, "_Unpickler", None)
    with pytest.raises(parcel.Incompatible, match=r"made by Python 3\.99\.0"):
        parcel.unpack(packed.entry, lambda _: b"")


def test_missing_modules_and_failing_classes_are_incompatible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("my_lib")
    module.Thing = type("Thing", (), {"__module__": "my_lib"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_lib", module)
    packed = parcel.pack("thing", module.Thing())
    assert packed.entry["packages"] == ["my_lib"]
    monkeypatch.delitem(sys.modules, "my_lib")
    with pytest.raises(parcel.Incompatible, match=r"`thing` cannot be opened here: .*my_lib"):
        parcel.unpack(packed.entry, blobs_of(packed).__getitem__)

    monkeypatch.setattr(Holder, "__setstate__", lambda self, state: 1 / 0, raising=False)
    with pytest.raises(parcel.Incompatible, match="ZeroDivisionError"):
        round_trip(Holder(a=1))


def test_a_short_blob_is_found_damaged() -> None:
    for value in (torch.ones(BIG), np.ones(3)):
        packed = parcel.pack("x", value)
        with pytest.raises(parcel.Incompatible, match="`x` is damaged"):
            parcel.unpack(packed.entry, lambda _: b"short")


# --- results -------------------------------------------------------------------------------------


def test_results_come_back_and_what_cannot_is_told(tmp_path: Path) -> None:
    folder = str(tmp_path / "results")
    values = {
        "history": [{"loss": 0.5}],
        "state": {"w": torch.ones(300, 300), "b": torch.zeros(3)},
        "bad": {"lock": threading.Lock()},
    }
    parcel.write_results(folder, values, missing=["gone"])
    back, problems = parcel.read_results(folder)
    assert back["history"] == values["history"]
    assert torch.equal(back["state"]["w"], torch.ones(300, 300))
    assert "thread lock at ['lock']" in problems["bad"]
    assert "not defined" in problems["gone"]
    back, problems = parcel.read_results(folder, ["history", "never"])
    assert list(back) == ["history"]
    assert list(problems) == ["never"]


def test_results_are_private_and_leave_no_rubbish(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    parcel.write_results(str(folder), {"x": torch.ones(BIG)})
    paths = [folder, *folder.rglob("*")]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}
    assert not [path for path in paths if path.name.startswith(".")]


def test_a_full_disk_costs_one_value_and_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def full(source: str, target: str) -> None:
        if "blobs" in target and Path(source).stat().st_size > BIG:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    folder = tmp_path / "results"
    with pytest.raises(OSError, match="No space"):
        parcel.write_results(str(folder), {"big": torch.ones(BIG), "small": 1})
    back, problems = parcel.read_results(str(folder))
    assert back == {"small": 1}
    assert "No space left" in problems["big"]
    assert list((folder / "blobs").iterdir()) == []


def test_results_of_another_python_are_not_opened(tmp_path: Path) -> None:
    parcel.write_results(str(tmp_path), {"net": torch.nn.Linear(1, 1), "loss": 0.5})
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["versions"]["python"] = "3.99.0"
    path.write_text(json.dumps(manifest))
    back, problems = parcel.read_results(str(tmp_path))
    assert back == {"loss": 0.5}
    assert "Python 3.99.0" in problems["net"]


def test_no_results_is_a_problem_of_each_name(tmp_path: Path) -> None:
    assert parcel.read_results(str(tmp_path), ["a"]) == ({}, {"a": "the job left no results"})
    assert parcel.read_results(str(tmp_path)) == ({}, {})


def test_a_lost_blob_is_a_problem_of_its_value_only(tmp_path: Path) -> None:
    parcel.write_results(str(tmp_path), {"a": torch.ones(BIG), "b": torch.zeros(BIG), "c": 1})
    entries = json.loads((tmp_path / "manifest.json").read_text())["variables"]
    (tmp_path / "blobs" / entries[0]["parts"][0]["digest"]).unlink()
    back, problems = parcel.read_results(str(tmp_path))
    assert sorted(back) == ["b", "c"]
    assert list(problems) == ["a"]
