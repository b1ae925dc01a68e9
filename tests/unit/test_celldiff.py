"""Cells of two notebooks that belong together, and what differs in them."""

from __future__ import annotations

from typing import Any

from jupyter_aiinfra.promote.celldiff import CellPair, diff_lines, pairs, shown, unified


def cell(source: str | list[str], *outputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": "".join(source)[:20].encode().hex(),
        "metadata": {},
        "source": source,
        "outputs": list(outputs),
        "execution_count": 3,
    }


def notebook(*cells: dict[str, Any]) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def printed(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def places(found: list[CellPair]) -> list[tuple[int | None, int | None, str]]:
    return [(pair.before, pair.after, pair.kind) for pair in found]


A, B, C, D = (
    f"import {name}\n{name}.begin()\n{name}.go({number})\n"
    for number, name in enumerate(("alpha", "bravo", "charlie", "delta"))
)


def test_cells_keep_together_where_others_come_and_go() -> None:
    old = notebook(cell(A), cell(B), cell(C))
    new = notebook(cell(D), cell(A), cell([*C.splitlines(keepends=True)[:2], "charlie.go(9)\n"]))

    found = pairs(old, new, outputs=False)

    assert sorted(each.after for each in found if each.after is not None) == [0, 1, 2]
    assert sorted(each.before for each in found if each.before is not None) == [0, 1, 2]
    assert (0, 1, "same") in places(found)
    assert (2, 2, "changed") in places(found)
    assert (None, 0, "added") in places(found)
    assert (1, None, "removed") in places(found)
    assert [each.index for each in found if each.kind == "removed"] == [1]


def test_nothing_differs_between_a_notebook_and_itself() -> None:
    one = notebook(cell(A, printed("x")), cell(B))
    assert places(pairs(one, one, outputs=True)) == [(0, 0, "same"), (1, 1, "same")]
    assert pairs(notebook(), notebook(), outputs=True) == []
    assert places(pairs(notebook(), notebook(cell(A)), outputs=True)) == [(None, 0, "added")]


def test_what_cells_show_counts_only_where_it_is_asked_for() -> None:
    old, new = notebook(cell(A, printed("loss 1\n"))), notebook(cell(A, printed("loss 2\n")))

    (pair,) = pairs(old, new, outputs=True)

    assert pair.kind == "changed"
    assert unified(*pair.outputs) == ("@@ -1 +1 @@", "-loss 1", "+loss 2")
    assert unified(*(text.splitlines() for text in pair.sources)) == ()
    assert places(pairs(old, new, outputs=False)) == [(0, 0, "same")]


def test_pictures_and_errors_are_shown_in_words() -> None:
    picture = {
        "output_type": "display_data",
        "data": {"image/png": "iVBORw0KGgo=", "text/plain": ["<Figure ", "size 1>"]},
        "metadata": {},
    }
    error = {"output_type": "error", "ename": "ValueError", "evalue": "bad", "traceback": []}
    coloured = printed("\x1b[31mred\x1b[0m\nplain\n")

    lines = shown(cell(A, picture, error, coloured))

    assert lines[0] == "<Figure size 1>"
    assert lines[1].startswith("[image/png, 12 bytes, ")
    assert lines[2:] == ["ValueError: bad", "red", "plain"]


def test_lines_are_told_with_where_they_are() -> None:
    found = list(diff_lines("a\nb\nc", "a\nx\nc\nd"))
    assert found == [(" ", "a"), ("-", "b"), ("+", "x"), (" ", "c"), ("+", "d")]
    assert list(diff_lines("", "a")) == [("+", "a")]


def test_of_very_long_texts_the_rest_is_said_to_be_left_out() -> None:
    long = [str(number) for number in range(5000)]
    said = unified([], long)
    assert said[-1] == "+… 1,000 more lines are not compared"
    assert len(said) == 4002
