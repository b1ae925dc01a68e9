"""Variables that hold the same object hold the same object on a rank."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_aiinfra.capture import Capture
from tests.support.notebook import Notebook, run_on_rank

SHARED = {
    "a model and its optimizer": (
        (
            "import torch\nmodel = torch.nn.Linear(2, 2)\n"
            "opt = torch.optim.SGD(model.parameters(), lr=1.0)"
        ),
        (
            "model(torch.ones(1, 2)).sum().backward()\nbefore = model.weight.detach().clone()\n"
            "opt.step()\nout = not torch.equal(before, model.weight)"
        ),
    ),
    "a scheduler, its optimizer, and their model": (
        (
            "import torch\nmodel = torch.nn.Linear(2, 2)\n"
            "opt = torch.optim.SGD(model.parameters())\n"
            "sched = torch.optim.lr_scheduler.StepLR(opt, 1)"
        ),
        "out = sched.optimizer is opt and opt.param_groups[0]['params'][0] is model.weight",
    ),
    "a parameter of a model": (
        "import torch\nmodel = torch.nn.Linear(2, 2)\nweight = model.weight",
        "out = weight is model.weight",
    ),
    "two names of an array": ("import numpy\na = numpy.zeros(3)\nb = a", "out = a is b"),
    "a list in an object": (
        "class Log:\n    def __init__(self, rows): self.rows = rows\nrows = []\nlog = Log(rows)",
        "log.rows.append(1)\nout = rows == [1]",
    ),
    "an empty list of that name in an object": (
        "rows = []\nlog = {'rows': rows, 'other': [1]}",
        "log['rows'].append(1)\nout = rows == [1]",
    ),
    "objects with a part in common": (
        (
            "class Part: pass\nclass Whole:\n    def __init__(self, part): self.part = part\n"
            "part = Part()\na = Whole(part)\nb = Whole(part)\ndel part"
        ),
        "out = a.part is b.part",
    ),
    "what a function closes over": (
        (
            "rows = []\ndef make(rows):\n    def add(x): rows.append(x)\n    return add\n"
            "add = make(rows)"
        ),
        "add(3)\nout = rows == [3]",
    ),
}


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path)


@pytest.mark.parametrize(("before", "cell"), SHARED.values(), ids=list(SHARED))
def test_what_is_one_object_in_the_notebook_is_one_on_a_rank(
    notebook: Notebook, before: str, cell: str
) -> None:
    capture = notebook.run(before).capture(cell)

    assert run_on_rank(capture)["out"] is True


def test_what_a_definition_needs_first_travels_apart_from_its_instances(
    notebook: Notebook,
) -> None:
    notebook.run("""
        rows = [1]
        class Whole:
            size = rows
        whole, other = Whole(), Whole()
        whole.rows = other.rows = rows
    """)

    out = run_on_rank(notebook.capture("out = Whole.size, whole.rows, whole.rows is other.rows"))

    assert out["out"] == ([1], [1], True)


def test_variables_with_nothing_in_common_travel_apart(notebook: Notebook) -> None:
    notebook.run("""
        import torch, enum, pandas
        class Kind(enum.Enum):
            A = 1
        one = {"kind": Kind.A, "dtype": torch.float32, "text": "t", "n": 1}
        two = {"kind": Kind.A, "dtype": torch.float32, "text": "t", "n": 1}
        model, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        table, frame = pandas.DataFrame({"a": [1]}), pandas.DataFrame({"a": [1]})
    """)

    assert _apart(notebook.capture("one, two, model, other, table, frame")) == {
        *("one", "two", "model", "other", "table", "frame")
    }


def test_the_manifest_says_what_travels_together(notebook: Notebook) -> None:
    notebook.run("rows = [1]\nlog = {'rows': rows}\nalone = [2]")

    capture = notebook.capture("rows, log, alone")

    ways = {item.name: item.how for item in capture.manifest.items}
    assert ways == {"rows": "pickle, with log", "log": "pickle, with rows", "alone": "pickle"}
    assert _apart(capture) == {"alone", "rows, log"}


def _apart(capture: Capture) -> set[str]:
    return {entry["name"] for entry in capture.variables["variables"]}
