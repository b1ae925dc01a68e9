"""Secrets in whole notebooks are masked and told of; no value is in what is told."""

from __future__ import annotations

import json

from jupyter_aiinfra.promote.hygiene import Leak, clean, leaks_text, look, told
from tests.support.notebooks import code, notebook_of

TOKEN = "ghp_" + "a1B2" * 9


def test_outputs_and_sources_are_masked_and_told_apart() -> None:
    shown = {"output_type": "stream", "name": "stdout", "text": [f"{TOKEN}\n", f"{TOKEN}\n"]}
    notebook = notebook_of(
        "print(1)",
        {**code([f"token = '{TOKEN}'\n", "print(token)"]), "outputs": [shown]},  # type: ignore[arg-type]
        {"cell_type": "markdown", "metadata": {}, "source": "the word is swordfish"},
    )
    before = json.dumps(notebook)
    kept, leaks = clean(notebook, values=["swordfish"])
    assert json.dumps(notebook) == before
    assert TOKEN not in json.dumps(kept)
    assert "swordfish" not in json.dumps(kept)
    assert kept["cells"][0] == notebook["cells"][0]
    assert kept["cells"][1]["source"] == ["token = '•••'\n", "print(token)"]
    assert leaks == (
        Leak(cell=2, kind="GitHub token", count=1, where="source"),
        Leak(cell=2, kind="GitHub token", count=2),
        Leak(cell=3, kind="secret of the job", count=1, where="source"),
    )
    said = leaks_text(leaks)
    assert said == (
        "GitHub token in the source of cell 2, GitHub token in cell 2 (2), "
        "secret of the job in the source of cell 3"
    )


def test_a_clean_notebook_is_left_as_it_is() -> None:
    notebook = notebook_of("print('no secrets')", "1 + 1")
    assert look(notebook) == ()
    assert clean(notebook)[0] == notebook


def test_what_the_runner_has_masked_counts_from_one() -> None:
    found = [{"cell": 3, "kind": "AWS access key", "count": 2}]
    assert told(found) == (Leak(cell=4, kind="AWS access key", count=2),)
