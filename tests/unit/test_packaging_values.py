"""Values of a notebook are written down without a pickle, and read again as they were."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import json
import math
import random
import re
import threading
import uuid
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from jupyter_aiinfra.errors import CaptureError
from jupyter_aiinfra.promote.packaging.values import Encoder
from jupyter_aiinfra.serving import carried

OWN = __name__.partition(".")[0]


class Colour(enum.Enum):
    RED = 1


Point = namedtuple("Point", "x y")  # noqa: PYI024 - as people write it


@dataclass(frozen=True)
class Frozen:
    name: str
    sizes: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Slotted:
    name: str


class Node:
    def __init__(self) -> None:
        self.me: Node | None = self

    def double(self, x: int) -> int:
        return 2 * x


class Secretive:
    def __reduce__(self) -> tuple[Any, ...]:
        return Secretive, ()


def again(value: Any, folder: Path, namespace: dict[str, Any] | None = None) -> Any:
    """Write `value` into `folder` as a package does, and read it from there."""
    encoder = Encoder(own=(OWN,))
    encoder.add("value", value)
    told = {"format": carried.FORMAT, "values": encoder.trees}
    (folder / carried.VALUES).write_text(json.dumps(told, allow_nan=False))
    with zipfile.ZipFile(folder / carried.ARRAYS, "w") as file:
        for name, array in encoder.arrays.items():
            with file.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
    save_file(encoder.tensors, folder / carried.TENSORS)
    names = {} if namespace is None else namespace
    carried.opened(str(folder / "code.py"), names).load_all()
    return names["value"]


SAME = {
    "plain": [None, True, 3, "text", 2.5, (1, [2]), {"a": {1, 2}}, frozenset({3})],
    "keys of any kind": {1: "a", (2, 3): "b", None: "c", "$": "ref"},
    "collections": [
        OrderedDict(a=1),
        Counter("abca"),
        deque([1, 2], maxlen=3),
        range(1, 9, 2),
        slice(1, None),
    ],
    "text and bytes": [b"\x00\xff", bytearray(b"x"), complex(1, -2)],
    "times": [
        dt.date(2026, 1, 2),
        dt.datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 - without a zone
        dt.time(1, 2),
        dt.timedelta(days=-1, microseconds=3),
    ],
    "numbers": [Decimal("1.10"), uuid.UUID(int=7), Path("/a/b")],
    "classes": [Colour.RED, Point(1, Point(2, 3)), Frozen("a", [1]), Slotted("b")],
    "functions": [math.sqrt, len, np.sin, torch.nn.functional.gelu, torch.tanh, dict, Frozen],
}


class TestAgain:
    @pytest.mark.parametrize("case", SAME)
    def test_is_equal(self, case: str, tmp_path: Path) -> None:
        found = again(SAME[case], tmp_path)
        assert found == SAME[case]
        assert repr(found) == repr(SAME[case])

    def test_floats_that_json_lacks(self, tmp_path: Path) -> None:
        found = again([math.nan, math.inf, -math.inf, -0.0], tmp_path)
        assert repr(found) == "[nan, inf, -inf, -0.0]"

    def test_what_is_one_stays_one(self, tmp_path: Path) -> None:
        inner: list[Any] = [1]
        inner.append(inner)
        array = np.ones(2)
        one = np.float64(2)
        value = {"a": inner, "b": (inner,), "x": array, "y": [array], "p": one, "q": one}
        found = again(value, tmp_path)
        assert found["a"] is found["a"][1] is found["b"][0]
        assert found["x"] is found["y"][0]
        assert found["p"] == found["q"] == 2

    def test_objects_of_ones_own(self, tmp_path: Path) -> None:
        node = Node()
        found, method = again((node, node.double), tmp_path)
        assert found.me is found
        assert method(4) == 8
        assert method.__self__ is found

    def test_functions_with_arguments_set(self, tmp_path: Path) -> None:
        found = again([functools.partial(max, 3), re.compile("a+", re.IGNORECASE)], tmp_path)
        assert found[0](2) == 3
        assert found[1].match("AA")

    def test_a_default_that_is_a_type(self, tmp_path: Path) -> None:
        value: defaultdict[str, list[int]] = defaultdict(list, a=[1])
        found = again(value, tmp_path)
        assert found == value
        assert found["new"] == []

    def test_arrays(self, tmp_path: Path) -> None:
        value = [
            np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::2],
            np.array(["a", "bc"]),
            np.array(["2026-01-01"], dtype="datetime64[D]"),
            np.array([1 + 2j]),
            np.array([{"a": 1}, None], dtype=object),
            np.float32(1.5),
            np.dtype("float16"),
        ]
        found = again(value, tmp_path)
        for one, other in zip(found, value, strict=True):
            np.testing.assert_array_equal(one, other)
            assert getattr(one, "dtype", None) == getattr(other, "dtype", None)

    def test_tensors(self, tmp_path: Path) -> None:
        weight = torch.nn.Parameter(torch.ones(2, 2))
        value: list[Any] = [weight, weight, weight.data[:, 0], torch.zeros(1, dtype=torch.bfloat16)]
        value += [torch.float16, torch.device("cpu"), torch.Size([1, 2])]
        found = again(value, tmp_path)
        assert found[0] is found[1]
        assert isinstance(found[0], torch.nn.Parameter)
        assert torch.equal(found[2], torch.ones(2))
        assert found[3].dtype is torch.bfloat16
        assert found[4:] == value[4:]

    def test_data_frames(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], 3: [1.5, math.nan]})
        frame["c"] = pd.to_datetime(["2026-01-01", "2026-01-02"])
        pd.testing.assert_frame_equal(again(frame, tmp_path), frame)

    def test_names_of_the_notebook(self, tmp_path: Path) -> None:
        names: dict[str, Any] = {}
        exec("class Made:\n    class Inner: pass", names)  # noqa: S102
        made, inner = names["Made"], names["Made"].Inner
        for kind in (made, inner):
            kind.__module__ = "__main__"
        thing = made()
        thing.part = inner()
        found = again(thing, tmp_path, {"Made": made})
        assert type(found) is made
        assert type(found.part) is inner

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.text(), inner)
                | st.tuples(inner, inner)
                | st.frozensets(st.integers())
            ),
            max_leaves=20,
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_anything_plain(self, value: Any) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            assert again(value, Path(folder)) == value


REFUSED = {
    "state that nobody sees": (random.Random(0), "random.Random"),  # noqa: S311
    "a way of its own": (Secretive(), "Secretive"),
    "a lock": ([threading.Lock()], r"`value\[0\]` is a _thread.lock"),
    "a lambda": ({"f": lambda: 0}, r"`value\['f'\]` is a function without a name"),
    "an index": (pd.DataFrame({"a": [1]}, index=["x"]), "with an index"),
    "a sparse tensor": (torch.eye(2).to_sparse(), "safetensors cannot hold"),
    "a time zone": (dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc), "datetime.datetime"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_carried_is_named(case: str) -> None:
    value, text = REFUSED[case]
    with pytest.raises(CaptureError, match=text) as caught:
        Encoder(own=(OWN,)).add("value", value)
    assert caught.value.hint


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_module_is_named() -> None:
    with pytest.raises(CaptureError, match="scripted"):
        Encoder().add("value", torch.jit.script(torch.nn.Linear(1, 1)))


def test_another_format_is_not_read(tmp_path: Path) -> None:
    (tmp_path / carried.VALUES).write_text('{"format": 2, "values": {}}')
    with pytest.raises(ValueError, match="is of format 2, and 1 is read here"):
        carried.opened(str(tmp_path / "code.py"), {})
