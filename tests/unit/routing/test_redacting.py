"""What is left out of values: by pointer, by name, and by its look."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_aiinfra.routing.keys import new_key
from jupyter_aiinfra.routing.redacting import REDACTED, Redaction, pointer_of, redacted


@pytest.mark.parametrize(
    ("pointer", "value", "left"),
    [
        ("/a", {"a": 1, "b": 2}, {"a": REDACTED, "b": 2}),
        ("/a/0", {"a": [1, 2]}, {"a": [REDACTED, 2]}),
        ("/*/a", [{"a": 1}, {"b": 1}, 3], [{"a": REDACTED}, {"b": 1}, 3]),
        ("/a/*", {"a": {"x": 1, "y": 2}}, {"a": {"x": REDACTED, "y": REDACTED}}),
        ("/a~1b/c~0d", {"a/b": {"c~d": 1}}, {"a/b": {"c~d": REDACTED}}),
        ("/a/b", {"a": 1}, {"a": 1}),
        ("/a", {"a": {"b": {"c": 1}}}, {"a": REDACTED}),
    ],
)
def test_pointers(pointer: str, value: Any, left: Any) -> None:
    assert redacted(value, pointer_of(pointer)) == left


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"SSN": "1", "b": [{"ssn": {"c": 1}}]}, {"SSN": REDACTED, "b": [{"ssn": REDACTED}]}),
        (
            {"inputs": [{"name": "ssn", "shape": [1], "data": [7]}, {"name": "x", "data": [8]}]},
            {
                "inputs": [
                    {"name": "ssn", "shape": [1], "data": REDACTED},
                    {"name": "x", "data": [8]},
                ]
            },
        ),
        (
            {"dataframe_split": {"columns": ["x", "Ssn"], "data": [[1, 2], [3, 4], 5]}},
            {
                "dataframe_split": {
                    "columns": ["x", "Ssn"],
                    "data": [[1, REDACTED], [3, REDACTED], 5],
                }
            },
        ),
        ({"columns": [1, None], "data": [[1, 2]]}, {"columns": [1, None], "data": [[1, 2]]}),
        ([1.5, None, True, "ssn"], [1.5, None, True, "ssn"]),
        ({"ssn": REDACTED}, {"ssn": REDACTED}),
        (None, None),
    ],
)
def test_names(value: Any, left: Any) -> None:
    assert Redaction(["ssn"]).shown(value) == (left, left != value)


def test_both_and_what_looks_like_a_secret() -> None:
    told = Redaction(["/a/b", "c"])
    value = {"a": {"b": 1, "c": 2, "d": "Bearer abcdefgh12345678"}, "api_key": "k"}
    left = {"a": {"b": REDACTED, "c": REDACTED, "d": "Bearer •••"}, "api_key": REDACTED}
    assert told.shown(value) == (left, True)
    assert told.text("https://u:pw1234@h/") == "https://u:•••@h/"


def test_a_key_of_an_endpoint_is_a_secret() -> None:
    secret, _ = new_key("anna")
    assert secret not in Redaction([]).text(f"it is {secret}, or not")
