"""JSON becomes arrays of the right shape and type, or an error that names the value."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest

from jupyter_aiinfra.serving.faults import BadInput
from jupyter_aiinfra.serving.schema import Field, Reader, Signature, listed, rows_of

X = Field(name="x", shape=(2,))
ONE = Signature(inputs=(X,))
TWO = Signature(
    inputs=(Field(name="age", dtype="int8"), Field(name="home town", dtype="string")),
)
RAGGED = Signature(inputs=(Field(name="ids", dtype="int64", shape=(None,)),))


def read(signature: Signature, inputs: Any) -> Any:
    return Reader(signature).read(json.dumps({"inputs": inputs}).encode())


class TestRight:
    def test_one_tensor(self) -> None:
        batch = read(ONE, [[1, 2.5], [3, 4]])
        assert batch["x"].dtype == np.float32
        assert batch["x"].tolist() == [[1, 2.5], [3, 4]]
        assert rows_of(batch) == 2

    def test_columns(self) -> None:
        batch = read(TWO, {"age": [3, 4], "home town": ["Ulm", "ö"]})
        assert batch["age"].dtype == np.int8
        assert list(batch["home town"]) == ["Ulm", "ö"]

    def test_any_length(self) -> None:
        assert read(RAGGED, [[1, 2, 3]])["ids"].shape == (1, 3)
        assert RAGGED.ragged
        assert not ONE.ragged

    def test_anything(self) -> None:
        assert read(Signature(), [{"a": [1]}, None]) == [{"a": [1]}, None]


WRONG: list[tuple[Signature, bytes, str]] = [
    (ONE, b'{"inputs": [[1, 2], [3]]}', r"^inputs\[1\]: 1 values where 2 are expected"),
    (ONE, b'{"inputs": [[1, 2, 3]]}', r"^inputs: has shape \[1, 3\], but \[n, 2\] is expected"),
    (ONE, b'{"inputs": []}', r"^inputs: has shape \[0\]"),
    (ONE, b'{"inputs": [[1, "a"]]}', r"^inputs\[0\]\[1\]: Expected `float`, got `str`"),
    (ONE, b'{"inputs": [[1, NaN]]}', r"^inputs\[0\]\[1\]: NaN and Infinity are no JSON"),
    (ONE, b'{"inputs": [[1, -Infinity]]}', r"^inputs\[0\]\[1\]: NaN"),
    (ONE, b'{"inputs": [[1, 1e39]]}', r"^inputs\[0\]\[1\]: is not a finite number"),
    (ONE, b'{"inputs": [[1, 1e999]]}', r"inputs"),
    (ONE, b'{"inputs": [[1, 2]], "inptus": 1}', r"unknown field `inptus`"),
    (ONE, b"{}", r"missing required field `inputs`"),
    (ONE, b'{"inputs": [[1, 2]]', r"no JSON"),
    (ONE, b"", r"no JSON"),
    (ONE, b"\xff\xfe", r"no JSON"),
    (ONE, b'{"inputs": [["\xff", 1]]}', r"inputs|no JSON"),
    (ONE, b'{"inputs": ' + b"[" * 100_000, r"inputs|too deep|no JSON"),
    (Signature(), b'{"inputs": ' + b"[" * 100_000, r"too deep"),
    (Signature(), b'{"inputs": ' + b'[{"a":' * 50_000, r"too deep"),
    (Signature(), b'{"inputs": []}', r"^inputs: holds no example"),
    (TWO, b'{"inputs": {"age": [1]}}', r"^inputs: .*`home town`"),
    (TWO, b'{"inputs": {"age": [300], "home town": ["a"]}}', r"^inputs\.age\[0\]: .* int8"),
    (
        TWO,
        b'{"inputs": {"age": [1.5], "home town": ["a"]}}',
        r"^inputs\.age\[0\]: Expected `int`",
    ),
    (TWO, b'{"inputs": {"age": [1], "home town": ["a", "b"]}}', r"^inputs\.home town: 2 examples"),
    (RAGGED, b'{"inputs": [[1, 2], [3]]}', r"^inputs: its lists are not all of one length"),
    (RAGGED, b'{"inputs": [[]]}', r"^inputs: has shape \[1, 0\], but \[n, any\] is expected"),
    (
        RAGGED,
        b'{"inputs": [[99999999999999999999]]}',
        r"^inputs\[0\]\[0\]: does not fit into int64",
    ),
]


@pytest.mark.parametrize(("signature", "body", "said"), WRONG)
def test_wrong_input_is_named(signature: Signature, body: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Reader(signature).read(body)


class TestArrays:
    def test_checked(self) -> None:
        good = {"x": np.ones((3, 2), np.float32)}
        assert ONE.checked(good) == good

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({}, r"^inputs\.x: is missing"),
            ({"y": np.ones(1)}, r"^inputs\.y: no such input; the model takes x"),
            ({"x": np.ones((3, 2))}, r"^inputs\.x: is float64, but float32 is expected"),
            ({"x": np.ones((3, 1), np.float32)}, r"^inputs\.x: has shape \[3, 1\]"),
            ({"x": np.ones((), np.float32)}, r"^inputs\.x: has shape \[\]"),
            ({"x": np.ones((0, 2), np.float32)}, r"^inputs\.x: holds no example"),
            ({"x": np.array([[0, np.nan]], np.float32)}, r"^inputs\.x\[0\]\[1\]: is not a finite"),
            ({"x": np.array([[np.inf, -np.inf]], np.float32)}, r"^inputs\.x\[0\]\[0\]: is not"),
        ],
    )
    def test_what_is_wrong_is_named(self, arrays: dict[str, Any], said: str) -> None:
        with pytest.raises(BadInput, match=said):
            ONE.checked(arrays)

    def test_not_finite_may_be_let_through(self) -> None:
        field = Field(name="x", nan=True)
        assert field.checked(np.array([np.nan], np.float32), "x").shape == (1,)


@pytest.mark.parametrize("signature", [ONE, TWO, RAGGED, Signature()])
def test_the_json_schema_is_one(signature: Signature) -> None:
    jsonschema.Draft202012Validator.check_schema(signature.json_schema())


@pytest.mark.parametrize(
    ("inputs", "good"),
    [
        ([[1, 2]], True),
        ([[3.402823466385289e38, 0]], True),
        ([[-3.4028236e38, 0]], False),
        ([[1, 1e39]], False),
        ([[1]], False),
        ([], False),
    ],
)
def test_schema_and_reader_agree(inputs: Any, good: bool) -> None:
    assert jsonschema.Draft202012Validator(ONE.json_schema()).is_valid(inputs) == good
    if good:
        read(ONE, inputs)
    else:
        with pytest.raises(BadInput):
            read(ONE, inputs)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="x: no type 'float8'"):
        Field(name="x", dtype="float8")


def test_numpy_becomes_json() -> None:
    assert listed(np.float32(0.5)) == 0.5
    assert listed(np.array([[1]])) == [[1]]
    assert listed({"a": 1}) == {"a": 1}
