"""Answers are held against what the notebook had; the first that differs is told in words."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_aiinfra.promote.packaging.replaying import Replay, first_difference
from jupyter_aiinfra.serving.replay import rows_alone

TOLERANCE = (1e-4, 1e-5)
LOADED = {"loaded": "m"}


def compared(
    wanted: Any, found: Any, *, how: str = "alone", status: int = 200, row: int = 0
) -> str | None:
    answer = {"call": 0, "how": how, "row": row, "status": status, "body": {"outputs": found}}
    return first_difference([{"inputs": [], "outputs": wanted}], [LOADED, answer], TOLERANCE)


SAME: dict[str, tuple[Any, Any]] = {
    "numbers that are near": ([1.0, 1e-9], [1.00005, 0.0]),
    "a whole number": ([1.0], [1]),
    "nothing where NaN was": ([[None, 2]], [[None, 2]]),
    "objects": ({"a": ["x"], "b": [True]}, {"a": ["x"], "b": [True]}),
}
DIFFERENT: dict[str, tuple[Any, Any, str]] = {
    "a number": (
        [[1.0, 2.0]],
        [[1.0, 2.1]],
        r"outputs[0][1] is 2.1 where the notebook has 2.0 (0.1 off)",
    ),
    "a text": (["cat"], ["dog"], "outputs[0] is dog where the notebook has cat"),
    "a truth": ([True], [1], "outputs[0] is 1 where the notebook has true"),
    "a length": ([1, 2], [1], "outputs has 1 parts where the notebook has 2"),
    "a key": ({"a": [1]}, {"b": [1]}, "outputs.a is null where the notebook has [1]"),
    "a kind": ([[1]], [1], "outputs[0] is 1 where the notebook has [1]"),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same(case: str) -> None:
    assert compared(*SAME[case]) is None


@pytest.mark.parametrize("case", DIFFERENT)
def test_the_first_difference(case: str) -> None:
    wanted, found, text = DIFFERENT[case]
    assert compared(wanted, found) == f"call 1 of 1: {text}"


def test_rows_are_compared_with_their_own() -> None:
    assert compared([1, 2], [2], how="row", row=1) is None
    assert compared({"a": [1, 2], "b": [3, 4]}, {"a": [2], "b": [4]}, how="row", row=1) is None
    said = compared([1, 2], [1], how="row", row=1)
    assert said is not None
    assert said.startswith("call 1 of 1, its example 2 asked alone: outputs[0] is 1")
    assert "say batched=False" in said


def test_failures() -> None:
    records = [{"inputs": [], "outputs": [1]}]
    refused = {"call": 0, "how": "alone", "status": 400, "body": {"error": "inputs[0]: no"}}
    assert first_difference(records, [LOADED, refused], TOLERANCE) == (
        "call 1 of 1 fails with 400: inputs[0]: no"
    )
    assert first_difference(records, [{"failed": "no torch"}], TOLERANCE) == "no torch"
    assert first_difference(records, [], TOLERANCE) == "it answered nothing"


def test_what_came_of_it_is_said() -> None:
    assert "2 recorded calls answered" in Replay(ok=True, calls=2, tolerance=TOLERANCE).text
    assert "were not compared" in Replay(ok=True, calls=0).text
    assert Replay(ok=False, calls=1, difference="x").text.endswith("has: x")


def test_examples_by_themselves() -> None:
    assert rows_alone([[1], [2]], named=False) == [[[1]], [[2]]]
    assert rows_alone({"a": [1, 2], "b": [3, 4]}, named=True) == [
        {"a": [1], "b": [3]},
        {"a": [2], "b": [4]},
    ]
    assert rows_alone([1], named=False) == []
    assert len(rows_alone(list(range(1000)), named=False)) == 64
