"""The index of cells: the newest definition wins, with its exact text."""

from __future__ import annotations

import ast
import linecache
import textwrap

import pytest

from jupyter_aiinfra.capture import SourceIndex


def index_of(*cells: str) -> SourceIndex:
    index = SourceIndex()
    for number, cell in enumerate(cells, 1):
        index.record(textwrap.dedent(cell), number=number)
    return index


def text(index: SourceIndex, name: str) -> str | None:
    definition = index.definition(name)
    return definition.source if definition else None


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("def f(): return 1  # one\n", "def f(): return 1  # one"),
        (
            "@deco(\n    1\n)\ndef f(\n    x,\n):\n    # said\n    return x\n\nrest = 1",
            "@deco(\n    1\n)\ndef f(\n    x,\n):\n    # said\n    return x",
        ),
        ("async def f():\n    pass", "async def f():\n    pass"),
        ("class f:\n    x = 1", "class f:\n    x = 1"),
        ("a = 1; f = lambda: 2; b = 3", "f = lambda: 2"),
        ("f: int = 3", "f: int = 3"),
        ("f = g = 3", "f = g = 3"),
        ("f = (\n  1,\n)", "f = (\n  1,\n)"),
        ("if x:\n    def f():\n        return 1", "def f():\n    return 1"),
        ("try:\n    pass\nexcept E:\n    f = 1", "f = 1"),
        ("match x:\n    case 1:\n        f = 1", "f = 1"),
        ("with x:\n    for _ in y:\n        f = 'ä'; g = 'ö'", "f = 'ä'"),
        ("if x:\n    def f():\n        '''a\n b'''", 'def f():\n    """a\n b"""'),
        ("def f(): pass; g = 1", "def f(): pass; g = 1"),
        ("'''\fx'''\ndef f():\n    return 1", "def f():\n    return 1"),
    ],
)
def test_the_text_is_exact(cell: str, expected: str) -> None:
    assert text(index_of(cell), "f") == expected


@pytest.mark.parametrize(
    "cell",
    [
        "for f in x: pass",
        "with x as f: pass",
        "import f",
        "from x import y as f",
        "f += 1",
        "del f",
        "match x:\n    case f: pass",
        "while (f := x): pass",
    ],
)
def test_another_binding_hides_an_older_definition(cell: str) -> None:
    index = index_of("def f(): pass", cell)
    assert index.definition("f") is None
    assert index.binding("f") is not None
    assert len(index.history("f")) == 2


def test_the_newest_wins() -> None:
    index = index_of("f = 1\nf = 2", "f = 3", "g = 1")
    assert text(index, "f") == "f = 3"
    assert [found.source for found in index.history("f")] == ["f = 3", "f = 2", "f = 1"]


def test_a_cell_run_again_is_kept_once_and_counts_as_new() -> None:
    index = index_of("f = 1", "g = f", "f = 1")
    assert len(index.history("f")) == 1
    f, g = index.definition("f"), index.definition("g")
    assert f is not None
    assert g is not None
    assert f.order > g.order


def test_history_is_bounded() -> None:
    index = index_of(*(f"f = {number}" for number in range(100)))
    assert len(index.history("f")) == 16
    assert text(index, "f") == "f = 99"


def test_what_does_not_parse_is_left_out() -> None:
    index = index_of("def f(): pass", "def f(:", "x = '\0'", "!ls")
    assert text(index, "f") == "def f(): pass"


def test_the_origin_is_told() -> None:
    index = index_of("x = 1\n\n@d\ndef f(): pass")
    definition = index.definition("f")
    assert definition is not None
    assert definition.origin == "In [1], line 3"
    assert isinstance(definition.statement, ast.FunctionDef)
    nameless = SourceIndex()
    nameless.record("x = 1")
    found = nameless.definition("x")
    assert found is not None
    assert found.origin == "a cell of the notebook, line 1"


def test_patches_belong_to_the_newest_definition() -> None:
    index = index_of("class A: pass\nA.x = 1", "A.x = 2\nA.y = 3\nA.z.w = 4\nb.A = 5")
    assert [patch.source for patch in index.patches("A")] == ["A.x = 2", "A.y = 3"]
    index.record("class A: pass")
    assert index.patches("A") == ()


def test_future_imports_hold_for_later_cells() -> None:
    index = index_of("f = 1", "from __future__ import annotations\ng = 1", "h = 1")
    found = {name: index.definition(name) for name in "fgh"}
    assert [bool(one and one.postponed) for one in found.values()] == [False, True, True]


def test_a_cell_nobody_listened_to_is_found_in_pythons_line_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["def f():\n", "    return 1\n"]
    monkeypatch.setitem(linecache.cache, "<a cell>", (0, None, lines, "<a cell>"))
    index = index_of("f = 2")
    heard = index.of_file("<a cell>").definition("f")
    assert heard is not None
    assert heard.source == "def f():\n    return 1"
    assert text(index, "f") == "f = 2"
    newest = index.definition("f")
    assert newest is not None
    assert heard.order < newest.order
    assert index.of_file("<a cell>") is index.of_file("<a cell>")
    assert index.of_file("<no cell>").everything() == ()
