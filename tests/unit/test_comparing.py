"""Two notebooks are compared by what matters of them."""

from __future__ import annotations

import copy
from typing import Any

from jupyter_aiinfra.promote.comparing import compare
from tests.support.notebooks import code, notebook_of


def ran(*texts: str) -> dict[str, Any]:
    cells = []
    for number, text in enumerate(texts, 1):
        cell = code(f"print({number})")
        cell["execution_count"] = number
        cell["metadata"]["papermill"] = {"duration": number * 1.5, "status": "completed"}
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [text]}]
        cells.append(cell)
    return notebook_of(*cells)


def test_a_changed_and_a_new_cell_are_shown() -> None:
    found = compare(
        notebook_of("x = 1", "y = 2"),
        notebook_of("x = 1", "y = 3", "z = 4"),
        outputs=False,
        names=("version 1", "version 2"),
    )
    assert not found.same
    lines = found.text.splitlines()
    assert "-  y = 2" in lines
    assert "+  y = 3" in lines
    assert "version 1" in found.text
    assert "z = 4" in found.text
    assert found.diff[0]["key"] == "cells"


def test_only_what_is_shown_differs_between_runs() -> None:
    old, new = ran("a\n", "b\n"), ran("a\n", "c\n")
    before = copy.deepcopy(old)
    assert compare(old, new, outputs=False).same
    found = compare(old, new, outputs=True)
    lines = [line.replace(" ", "") for line in found.text.splitlines()]
    assert "-b" in lines
    assert "+c" in lines
    assert old == before


def test_counts_and_times_say_nothing() -> None:
    old, new = ran("a\n"), ran("a\n")
    new["cells"][0]["execution_count"] = 77
    new["cells"][0]["metadata"]["papermill"]["duration"] = 99.0
    new["metadata"]["papermill"] = {"end_time": "later"}
    found = compare(old, new, outputs=True)
    assert found.same
    assert found.text == ""
