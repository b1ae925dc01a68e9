from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from papermill.translators import PythonTranslator

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.parameters import DIALECT, form_of, parameters_cell, parameters_of
from jupyter_aiinfra.promote.values import is_secret, read_values, secrets_of, validate

CELL = """
# The parameters of this notebook
%matplotlib inline
from datetime import date, datetime
import datetime as dt
from typing import Annotated, Literal, Optional

epochs = 3
lr: float = 0.1  # learning rate, 0 < lr <= 1
name = "digits"
shuffle = True
sizes = [64, 32]
optimiser: Literal["sgd", "adam"] = "sgd"
depth: Annotated[int, Field(ge=1, le=8, description="layers")] = 2
day: date = date(2026, 11, 25)
since: dt.datetime = datetime(2026, 1, 2, 3, 4)
limit: Optional[int] = None
token: str = "secret:HUB_TOKEN"
folds: int = 5  # in 2..10
kind = "small"  # one of "small", "large"
weights: dict[str, float] = {"a": 1.0}
old = 7  # type: int how old
computed = 2 * epochs
anything = None
"""


def notebook(cell: str = CELL, **metadata: object) -> dict[str, Any]:
    cells = [
        {"cell_type": "code", "metadata": {}, "source": "x = 1"},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": cell},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "late = 1"},
    ]
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def form() -> dict[str, Any]:
    return form_of(notebook())


def test_a_form_is_a_json_schema(form: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(form)
    assert form["$schema"] == DIALECT
    assert form["additionalProperties"] is False
    assert json.loads(json.dumps(form)) == form


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("epochs", {"type": "integer", "default": 3}),
        (
            "lr",
            {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": 1,
                "description": "learning rate, 0 < lr <= 1",
                "default": 0.1,
            },
        ),
        ("name", {"type": "string", "default": "digits"}),
        ("shuffle", {"type": "boolean", "default": True}),
        ("sizes", {"type": "array", "items": {"type": "integer"}, "default": [64, 32]}),
        ("optimiser", {"type": "string", "enum": ["sgd", "adam"], "default": "sgd"}),
        (
            "depth",
            {"type": "integer", "minimum": 1, "maximum": 8, "description": "layers", "default": 2},
        ),
        ("day", {"type": "string", "format": "date", "default": "2026-11-25"}),
        ("since", {"type": "string", "format": "date-time", "default": "2026-01-02T03:04:00"}),
        ("limit", {"type": ["integer", "null"], "default": None}),
        ("token", {"type": "string", "format": "secret", "default": "secret:HUB_TOKEN"}),
        (
            "folds",
            {
                "type": "integer",
                "minimum": 2,
                "maximum": 10,
                "description": "in 2..10",
                "default": 5,
            },
        ),
        (
            "kind",
            {
                "type": "string",
                "enum": ["small", "large"],
                "description": 'one of "small", "large"',
                "default": "small",
            },
        ),
        (
            "weights",
            {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "default": {"a": 1.0},
            },
        ),
        ("old", {"type": "integer", "description": "how old", "default": 7}),
        ("computed", {"x-source": "2 * epochs"}),
        ("anything", {"default": None}),
    ],
)
def test_a_parameter_is_read_by_hint_comment_and_default(
    form: dict[str, Any], name: str, schema: dict[str, Any]
) -> None:
    assert form["properties"][name] == schema


@pytest.mark.parametrize(
    "cell",
    [
        "a = 1\nb = 'two'\nc: float = 3.0",
        "msg = \"hello # not a comment\"\nx: 'int' = 5  # help",
        "# only a comment\n\nvalue = None",
        "deep = {'a': [1, 2], 'b': {'c': None}}",
        "a_list = [\n    1,\n    2,\n]\nlast = -1.5e-3",
        "path = '/tmp/x'\nflag = not True",
    ],
)
def test_names_and_defaults_are_those_that_papermill_finds(cell: str) -> None:
    plain = cell.replace("%matplotlib inline\n", "")
    theirs = PythonTranslator.inspect({"source": plain})
    ours = parameters_of(plain)
    assert [each.name for each in ours] == [each.name for each in theirs]
    for mine, yours in zip(ours, theirs, strict=True):
        if "\n" not in mine.source and "#" not in mine.source:  # theirs joins lines otherwise
            assert mine.source == yours.default


def test_what_papermill_finds_in_a_rich_cell_is_found_with_what_it_cannot_read() -> None:
    plain = CELL.replace("%matplotlib inline\n", "")
    ours = {each.name: each.source for each in parameters_of(plain)}
    theirs = {each.name: each.default for each in PythonTranslator.inspect({"source": plain})}
    # It cannot read an "=" in a comment, nor hints with dots, quotes or calls in them.
    assert ours.keys() - theirs.keys() == {"lr", "depth", "optimiser", "since"}
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        ("int | None", [1, None], ["x", 1.5]),
        ("Union[int, str]", [1, "a"], [[1]]),
        ("list[float]", [[1, 2.5], []], [["a"], "a"]),
        ("tuple[int, str]", [[1, "a"]], [[1], [1, 2]]),
        ("dict[str, list[int]]", [{"a": [1]}], [{"a": ["b"]}]),
        ("Literal[1, 'a', None]", [1, "a", None], [2, True, "b"]),
        ("Optional[Literal['a', 'b']]", ["a", None], ["c"]),
        ("Annotated[float, Interval(ge=0, lt=1)]", [0, 0.99], [1, -0.1]),
        ("Annotated[int, Ge(2)]", [2], [1]),
        ("Annotated[int, range(3, 6)]", [3, 5], [2, 6]),
        ("Annotated[str, Field(pattern='^a+$', max_length=3)]", ["aa"], ["b", "aaaa"]),
        ("Annotated[float, MultipleOf(0.25)]", [0.5], [0.3]),
        ("datetime.date", ["2026-02-28"], ["2026-02-30", "soon", 3]),
        ("datetime", ["2026-02-28T10:00:00"], ["10 o'clock"]),
        ("SomethingOfTheirOwn", [1, "a", None, [1]], []),
        ("'float'", [1.5], ["a"]),
    ],
)
def test_a_hint_says_what_fits(hint: str, good: list[Any], bad: list[Any]) -> None:
    form = form_of(notebook(f"x: {hint} = make()"))
    independent = jsonschema.Draft202012Validator(
        form, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    for value in good:
        assert validate(form, {"x": value}) == {"x": value}
        # A time without an offset is the notebook's own matter; theirs wants one.
        assert hint == "datetime" or independent.is_valid({"x": value})
    for value in bad:
        with pytest.raises(UsageError, match="parameter x = "):
            validate(form, {"x": value})
        assert not independent.is_valid({"x": value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 2.5, "parameter epochs = 2.5: expected a whole number"),
        ("epochs", True, "parameter epochs = true: expected a whole number"),
        ("lr", 0, "parameter lr = 0: expected a number more than 0 and at most 1"),
        ("lr", 1.01, "parameter lr = 1.01: expected a number more than 0 and at most 1"),
        ("lr", float("nan"), "parameter lr = NaN: expected a finite number"),
        ("name", 7, "parameter name = 7: expected a text"),
        ("optimiser", "rmsprop", 'parameter optimiser = "rmsprop": expected one of "sgd", "adam"'),
        ("day", "2026-02-30", 'parameter day = "2026-02-30": expected a date such as 2026-12-31'),
        (
            "sizes",
            [1, "x"],
            'parameter sizes = [1, "x"] (at "x"): expected a whole number',
        ),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(
    form: dict[str, Any], name: str, value: Any, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        validate(form, {name: value})
    assert caught.value.message == message
    assert caught.value.option == name


def test_a_parameter_that_is_not_there_is_answered_with_the_nearest(form: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no parameter 'epoch'") as caught:
        validate(form, {"epoch": 1})
    assert "epochs" in caught.value.hint
    with pytest.raises(UsageError, match="no parameter 'x'"):
        validate(form_of({"cells": []}), {"x": 1})


def test_a_parameter_without_a_default_has_to_be_given() -> None:
    form = form_of(notebook("path: str\nn = 1"))
    assert form["required"] == ["path"]
    with pytest.raises(UsageError, match="parameter path has no default"):
        validate(form, {"n": 2})
    assert validate(form, {"path": "a"}) == {"path": "a"}


def test_values_are_kept_by_type_and_in_the_order_of_the_form(form: dict[str, Any]) -> None:
    found = validate(form, {"lr": 1, "epochs": 4.0, "limit": None})
    assert list(found) == ["epochs", "lr", "limit"]
    assert isinstance(found["epochs"], int)
    assert isinstance(found["lr"], float)


# --- words of a line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("epochs", "12", 12),
        ("lr", "1e-3", 0.001),
        ("lr", "1", 1.0),
        ("name", "12", "12"),
        ("name", "None", "None"),
        ("name", "__import__('os').system('true')", "__import__('os').system('true')"),
        ("name", "{{ 1 + 1 }}", "{{ 1 + 1 }}"),
        ("shuffle", "no", False),
        ("sizes", "[1, 2]", [1, 2]),
        ("limit", "none", None),
        ("limit", "5", 5),
        ("weights", '{"b": 2}', {"b": 2.0}),
        ("day", "2026-12-31", "2026-12-31"),
        ("token", "secret:OTHER", "secret:OTHER"),
        ("name", "secret:NAME", "secret:NAME"),
        ("computed", "3", 3),
        ("computed", "a b", "a b"),
        ("computed", "True", True),
        ("computed", "__import__('os')", "__import__('os')"),
        ("kind", "large", "large"),
    ],
)
def test_a_word_of_a_line_is_read_by_the_type(
    form: dict[str, Any], name: str, word: str, value: Any
) -> None:
    found = read_values(form, {name: word})[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("epochs", "3.5"),
        ("epochs", "three"),
        ("lr", "nan"),
        ("lr", "inf"),
        ("shuffle", "maybe"),
        ("sizes", "1,2"),
        ("sizes", "[1"),
        ("weights", "[]"),
        ("kind", "medium"),
    ],
)
def test_a_word_that_does_not_fit_is_named(form: dict[str, Any], name: str, word: str) -> None:
    with pytest.raises(UsageError, match=f"parameter {name} = ") as caught:
        read_values(form, {name: word})
    assert json.dumps(word) in caught.value.message or word in caught.value.message


def test_secrets_are_references_by_name() -> None:
    assert is_secret("secret:HUB_TOKEN")
    assert not is_secret("secret:")
    assert not is_secret("a secret:X")
    assert secrets_of({"a": "secret:B", "c": "secret:A", "d": 1}) == ["A", "B"]


# --- notebooks -----------------------------------------------------------------------------------


def test_the_first_cell_with_the_tag_counts_and_sources_may_be_lists() -> None:
    assert parameters_cell(notebook("a = 1")) == "a = 1"
    split = notebook()
    split["cells"][1]["source"] = ["a = 1\n", "b = 2"]
    assert [each.name for each in parameters_of(str(parameters_cell(split)))] == ["a", "b"]
    assert form_of({"cells": []})["properties"] == {}


def test_a_notebook_in_another_language_takes_anything() -> None:
    other = notebook("x <- 1", kernelspec={"name": "ir", "language": "R"})
    form = form_of(other)
    assert validate(form, {"x": 1}) == {"x": 1}
    assert read_values(form, {"x": "2", "y": "a"}) == {"x": 2, "y": "a"}


def test_a_cell_that_is_no_python_says_where() -> None:
    with pytest.raises(UsageError, match=r"parameters cell .* line 2"):
        form_of(notebook("a = 1\nb = = 2"))


def test_of_a_name_that_is_set_twice_the_last_counts() -> None:
    (found,) = parameters_of("a = 1\na = 'x'")
    assert found.schema == {"type": "string", "default": "x"}


def test_what_is_no_plain_assignment_is_no_parameter() -> None:
    cell = "a.b = 1\nc, d = 1, 2\nif True:\n    e = 1\nf += 1\nprint(1)\ng = 1"
    assert [each.name for each in parameters_of(cell)] == ["g"]
