"""A run is resumed where that can work, and where it cannot the reason is said."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_aiinfra.promote.resume import plan_resume
from tests.support.notebooks import code, notebook_of

TEXT = {"cell_type": "markdown", "metadata": {}, "source": "# Title"}


def notebook(*cells: str | dict[str, Any]) -> dict[str, Any]:
    return notebook_of(*cells)


def test_setup_and_definitions_and_all_from_the_checkpoint_are_run_again() -> None:
    plan = plan_resume(
        notebook(
            "import os\nfrom math import pi",
            TEXT,
            code("rate = 1", "parameters"),
            "def area(r):\n    return pi * r",
            code("path = os.environ['AIINFRA_CHECKPOINT_DIR']", "setup"),
            "data = list(range(10**6))\nprint(len(data))",
            code("data = open(path).read()", "checkpoint"),
            "model = area(rate) + len(data)",
            "print(model)",
        ),
        failed=7,
    )
    assert plan.reason is None
    assert plan.checkpoint == 6
    assert plan.again == (0, 2, 3, 4, 6, 7, 8)


def test_the_last_checkpoint_before_the_failure_counts() -> None:
    cells = [code(text, "checkpoint") for text in ("a = 1", "b = 2")]
    cells += [code("b"), code("c", "checkpoint")]
    plan = plan_resume(notebook(*cells), failed=2)
    assert (plan.checkpoint, plan.again) == (1, (1, 2, 3))


def test_without_a_checkpoint_there_is_a_reason() -> None:
    plan = plan_resume(notebook("1", "2", code("3", "checkpoint")), failed=1)
    assert plan.again == ()
    assert plan.reason == "no cell up to cell 2, which failed, is tagged checkpoint"


@pytest.mark.parametrize(
    ("late", "name"),
    [
        ("print(model)", "model"),
        ("f = lambda: model", "model"),
        ("[model for _ in 'ab']", "model"),
        ("model += 1", "model"),
        ("def use():\n    return model", "model"),
    ],
)
def test_what_an_earlier_cell_alone_makes_cannot_be_done_without(late: str, name: str) -> None:
    plan = plan_resume(notebook("model = 1", code("x = 2", "checkpoint"), late), failed=2)
    assert plan.reason is not None
    assert plan.reason.startswith(f"cell 3 uses {name}, which cell 1 makes, and that is not run")


@pytest.mark.parametrize(
    "late",
    [
        "model = 2\nprint(model)",
        "for model in 'ab':\n    print(model)",
        "(lambda model: model)(1)",
        "def use(model):\n    return model",
        "unknown_name",
        "def again(n):\n    return again(n - 1)",
    ],
)
def test_what_is_made_anew_is_no_reason(late: str) -> None:
    plan = plan_resume(notebook("model = 1", code("x = 2", "checkpoint"), late), failed=2)
    assert plan.reason is None


def test_cells_that_are_no_python_are_left_for_the_run_to_fail_at() -> None:
    plan = plan_resume(notebook("a = (", code("!ls", "checkpoint"), "%matplotlib"), failed=2)
    assert plan.reason is None
    assert plan.again == (1, 2)
