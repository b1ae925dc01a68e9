"""Values of parameters against their JSON schema: checked, and read from the words of a line.

What is checked is what :mod:`~jupyter_aiinfra.promote.parameters` writes. Nothing that is given is
ever evaluated: a text that looks like code is that text.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jupyter_aiinfra.errors import UsageError, did_you_mean
from jupyter_aiinfra.promote.parameters import SECRET

__all__ = ["is_secret", "read_values", "secrets_of", "validate"]

_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")
_NOTHING: Final = ("none", "null")
_WORDS: Final[Mapping[str, str]] = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing (null)",
}
_MOST_SHOWN: Final = 60


class _Wrong(ValueError):
    """Says what was expected, and what of the value it is about."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value


def validate(form: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they are kept, in the order of the form: numbers of the right type.

    What is not given is left out: the notebook has its own default.

    Raises
    ------
    UsageError
        Names the parameter, the value and what was expected of it.
    """
    properties: Mapping[str, Any] = form.get("properties") or {}
    open_ended = form.get("additionalProperties", True)
    for name in values:
        if name not in properties and not open_ended:
            known = ", ".join(properties) or "it has no cell tagged parameters"
            hint = did_you_mean(name, properties) or f"it has: {known}"
            raise UsageError(f"the notebook has no parameter {name!r}", hint=hint, option=name)
    for name in form.get("required") or ():
        if name not in values:
            raise UsageError(
                f"parameter {name} has no default: give it a value",
                hint=f"-p {name} VALUE; it is {_expected(properties[name])}",
                option=name,
            )
    found = {}
    for name in [*(each for each in properties if each in values), *values]:
        schema = properties.get(name) or {}
        try:
            found[name] = _fit(schema, values[name])
        except _Wrong as wrong:
            raise _refused(name, values[name], wrong, schema) from None
    return found


def read_values(form: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that the words of a command line stand for, by the types of the form.

    Raises
    ------
    UsageError
        As of :func:`validate`.
    """
    properties: Mapping[str, Any] = form.get("properties") or {}
    read = {}
    for name, word in words.items():
        schema = properties.get(name) or {}
        try:
            read[name] = _read(schema, word)
        except _Wrong as wrong:
            raise _refused(name, word, wrong, schema) from None
    return validate(form, read)


def is_secret(value: Any) -> bool:
    """Whether a value names a secret."""
    return isinstance(value, str) and re.fullmatch(SECRET, value) is not None


def secrets_of(values: Mapping[str, Any]) -> list[str]:
    """Return the names of the secrets that values refer to."""
    return sorted({value.partition(":")[2] for value in values.values() if is_secret(value)})


def _refused(name: str, value: Any, wrong: _Wrong, schema: Mapping[str, Any]) -> UsageError:
    shown = json.dumps(value, default=repr, ensure_ascii=False)
    if len(shown) > _MOST_SHOWN:
        shown = shown[:_MOST_SHOWN] + "…"
    whole = wrong.value is value or wrong.value == value
    inner = "" if whole else f" (at {json.dumps(wrong.value, default=repr)})"
    hint = str(schema.get("description") or "")
    return UsageError(
        f"parameter {name} = {shown}{inner}: expected {wrong.expected}", hint=hint, option=name
    )


# --- checking ------------------------------------------------------------------------------------


def _types(schema: Mapping[str, Any]) -> Sequence[str]:
    kind = schema.get("type")
    if kind is None:
        return ()
    return (kind,) if isinstance(kind, str) else tuple(kind)


def _fit(schema: Mapping[str, Any], value: Any) -> Any:
    """Return a value as it is kept; raise ``_Wrong`` where it does not fit."""
    if is_secret(value) and (not _types(schema) or "string" in _types(schema)):
        return value  # what it stands for is known only where the notebook runs
    if "anyOf" in schema:
        return _first(schema, value, _fit)
    value = _typed(schema, value)
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        raise _Wrong(_expected(schema), value)
    if _is_number(value):
        _within(schema, value)
    elif isinstance(value, str):
        value = _text(schema, value)
    elif isinstance(value, list):
        value = _list(schema, value)
    elif isinstance(value, dict):
        value = _mapping(schema, value)
    return value


def _first(
    schema: Mapping[str, Any], value: Any, read: Callable[[Mapping[str, Any], Any], Any]
) -> Any:
    """Return a value by the first of several schemas that it fits."""
    for each in schema["anyOf"]:
        with contextlib.suppress(_Wrong):
            return read(each, value)
    raise _Wrong(_expected(schema), value)


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _typed(schema: Mapping[str, Any], value: Any) -> Any:
    kinds = _types(schema)
    if isinstance(value, (dt.datetime, dt.date)):
        value = value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise _Wrong("a finite number", value)
    if not kinds:
        return _plain(value)
    for kind in kinds:
        fits = _FITS[kind]
        if fits(value):
            return _KEPT_AS[kind](value)
    raise _Wrong(_expected(schema), value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, (list, tuple)),
    "object": lambda value: isinstance(value, Mapping),
}
_KEPT_AS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "null": lambda value: value,
    "boolean": lambda value: value,
    "integer": int,
    "number": float,
    "string": str,
    "array": list,
    "object": dict,
}


def _plain(value: Any) -> Any:
    """Return a value of no certain type, if JSON has it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_typed({}, each) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _typed({}, each) for key, each in value.items()}
    raise _Wrong("something that JSON has", value)


def _within(schema: Mapping[str, Any], value: float) -> None:
    for name, fits in (
        ("minimum", lambda limit: value >= limit),
        ("exclusiveMinimum", lambda limit: value > limit),
        ("maximum", lambda limit: value <= limit),
        ("exclusiveMaximum", lambda limit: value < limit),
        ("multipleOf", lambda step: math.isclose(value / step, round(value / step), abs_tol=1e-9)),
    ):
        if name in schema and not fits(schema[name]):
            raise _Wrong(_expected(schema), value)


def _text(schema: Mapping[str, Any], value: str) -> str:
    if schema.get("format") == "date":
        try:
            return dt.date.fromisoformat(value).isoformat()
        except ValueError:
            raise _Wrong(_expected(schema), value) from None
    if schema.get("format") == "date-time":
        try:
            return dt.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value)).isoformat()
        except ValueError:
            raise _Wrong(_expected(schema), value) from None
    longest, least = schema.get("maxLength", math.inf), schema.get("minLength", 0)
    if not least <= len(value) <= longest:
        raise _Wrong(_expected(schema), value)
    if "pattern" in schema and re.search(schema["pattern"], value) is None:
        raise _Wrong(_expected(schema), value)
    return value


def _list(schema: Mapping[str, Any], value: list[Any]) -> list[Any]:
    parts = schema.get("prefixItems")
    if parts is not None:
        if len(value) != len(parts):
            raise _Wrong(_expected(schema), value)
        return [_fit(each, item) for each, item in zip(parts, value, strict=True)]
    items = schema.get("items")
    return [_fit(items, each) for each in value] if isinstance(items, Mapping) else value


def _mapping(schema: Mapping[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    inner = schema.get("additionalProperties")
    return {key: _fit(inner, each) for key, each in value.items()} if inner else value


def _expected(schema: Mapping[str, Any]) -> str:
    """Return in words what a value must be."""
    if "anyOf" in schema:
        return " or ".join(_expected(each) for each in schema["anyOf"])
    if "enum" in schema:
        shown = [json.dumps(each, ensure_ascii=False) for each in schema["enum"]]
        return f"one of {', '.join(shown)}"
    if schema.get("format") == "date":
        said = "a date such as 2026-12-31"
    elif schema.get("format") == "date-time":
        said = "a time such as 2026-12-31T08:00"
    else:
        said = " or ".join(_WORDS[each] for each in _types(schema)) or "anything"
    limits = [
        f"{word} {schema[name]}"
        for name, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "more than"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "less than"),
            ("multipleOf", "in steps of"),
            ("pattern", "like"),
            ("minLength", "of at least so many characters:"),
            ("maxLength", "of at most so many characters:"),
        )
        if name in schema
    ]
    if "prefixItems" in schema:
        return f"{said} of {len(schema['prefixItems'])}"
    if isinstance(schema.get("items"), Mapping) and schema["items"]:
        said = f"{said}, each {_expected(schema['items'])}"
    return " ".join([said, " and ".join(limits)]).strip()


# --- words ---------------------------------------------------------------------------------------


def _read(schema: Mapping[str, Any], word: str) -> Any:
    """Return the value that a word of a command line stands for."""
    kinds = _types(schema)
    if "anyOf" in schema:
        return _first(schema, word, lambda each, given: _fit(each, _read(each, given)))
    if is_secret(word):
        return word
    if not kinds:
        return _chosen(schema, word) if "enum" in schema else _guessed(word)
    if "null" in kinds and word.lower() in _NOTHING:
        return None
    for kind in kinds:
        value = _of_kind(kind, word)
        if value is not None:
            return value
    raise _Wrong(_expected(schema), word)


def _chosen(schema: Mapping[str, Any], word: str) -> Any:
    for each in schema["enum"]:
        if word == each or (not isinstance(each, str) and word == json.dumps(each)):
            return each
    raise _Wrong(_expected(schema), word)


def _of_kind(kind: str, word: str) -> Any:
    if kind == "string":
        return word
    if kind == "boolean":
        known = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
        return known.get(word.lower())
    if kind in ("integer", "number"):
        return _numeric(word)
    try:
        value = json.loads(word)
    except ValueError:
        return None
    fits = isinstance(value, list) if kind == "array" else isinstance(value, dict)
    return value if fits else None


def _numeric(word: str) -> float | int | None:
    for kind in (int, float):
        try:
            value = kind(word)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None


def _guessed(word: str) -> Any:
    """Return what a word stands for of which no type is known: as papermill's ``-p`` reads it."""
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if word == "None":
        return None
    number = _numeric(word)
    return word if number is None else number
