"""From the cell tagged ``parameters`` to one JSON schema of what may be given: pure.

Nothing is run, only its syntax is read, and papermill is not imported: the names and defaults are
those that its ``inspect_notebook`` finds, and types come from hints, type comments and, failing
both, from the default. A default that is no literal stays the notebook's own: it has no value here.
"""

from __future__ import annotations

import ast
import datetime as dt
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jupyter_aiinfra.errors import UsageError

__all__ = [
    "DIALECT",
    "SECRET",
    "Parameter",
    "Schema",
    "form_of",
    "parameters_cell",
    "parameters_of",
]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

SECRET: Final = r"secret:[A-Za-z_][A-Za-z0-9_.-]*"  # noqa: S105 - what one looks like
"""What a value looks like that names a secret; it is looked up where the notebook runs."""

Schema = dict[str, Any]

_NAMES: Final[Mapping[str, Schema]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "List": {"type": "array"},
    "Sequence": {"type": "array"},
    "tuple": {"type": "array"},
    "Tuple": {"type": "array"},
    "dict": {"type": "object"},
    "Dict": {"type": "object"},
    "Mapping": {"type": "object"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "Path": {"type": "string"},
    "None": {"type": "null"},
    "Any": {},
    "object": {},
}
_LIMITS: Final[Mapping[str, str]] = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
_SIGNS: Final[Mapping[type[ast.cmpop], tuple[str, str]]] = {
    ast.LtE: ("maximum", "minimum"),
    ast.Lt: ("exclusiveMaximum", "exclusiveMinimum"),
    ast.GtE: ("minimum", "maximum"),
    ast.Gt: ("exclusiveMinimum", "exclusiveMaximum"),
}
_UNKNOWN: Final = object()


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a notebook.

    Parameters
    ----------
    source
        The default as it is written; empty where there is none, and a value has to be given.
    schema
        What a value must be. Its ``default`` is there only where that is a literal.
    help
        The comment behind it.
    """

    name: str
    source: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    help: str = ""

    @property
    def required(self) -> bool:
        """Whether a value has to be given."""
        return not self.source


def form_of(notebook: Mapping[str, Any]) -> Schema:
    """Return the JSON schema (2020-12) of the values that may be given to a notebook.

    A notebook without a cell tagged ``parameters`` takes none. Of one in another language than
    Python nothing is known, so it takes any.
    """
    cell = parameters_cell(notebook)
    schema: Schema = {"$schema": DIALECT, "type": "object", "properties": {}}
    if cell is not None and not _is_python(notebook):
        return {**schema, "additionalProperties": True}
    found = [] if cell is None else parameters_of(cell)
    for each in found:
        schema["properties"][each.name] = dict(each.schema)
    schema["required"] = [each.name for each in found if each.required]
    return {**schema, "additionalProperties": False}


def parameters_cell(notebook: Mapping[str, Any]) -> str | None:
    """Return the source of the first cell tagged ``parameters``; ``None``: there is none."""
    for cell in notebook.get("cells") or ():
        if "parameters" in _list(_mapping(_mapping(cell).get("metadata")).get("tags")):
            source = cell.get("source") or ""
            return source if isinstance(source, str) else "".join(map(str, _list(source)))
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_python(notebook: Mapping[str, Any]) -> bool:
    metadata = _mapping(notebook.get("metadata"))
    spec, info = _mapping(metadata.get("kernelspec")), _mapping(metadata.get("language_info"))
    language = spec.get("language") or info.get("name") or "python"
    return str(language).lower() in ("python", "ipython", "python3")


def parameters_of(source: str) -> list[Parameter]:
    """Return the parameters of a cell, in their order; of a name that is set twice, the last.

    Raises
    ------
    UsageError
        The cell is no Python; says where.
    """
    plain = _without_magics(source)
    try:
        tree = ast.parse(plain)
    except SyntaxError as error:
        raise UsageError(
            f"the parameters cell cannot be read: {error.msg} in line {error.lineno}",
            hint="papermill needs one assignment a parameter, such as lr: float = 0.1",
        ) from error
    comments = _comments(plain)
    found: dict[str, Parameter] = {}
    for node in tree.body:
        comment = comments.get(node.end_lineno or node.lineno, "")
        for each in _assigned(node, plain, comment):
            found.pop(each.name, None)
            found[each.name] = each
    return list(found.values())


def _without_magics(source: str) -> str:
    lines = ["pass" if line.startswith(("%", "!", "?")) else line for line in source.splitlines()]
    return "\n".join(lines)


def _comments(source: str) -> dict[int, str]:
    """Return the comment that ends each line of code."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
            found[token.start[0]] = token.string.lstrip("#").strip()
    return found


def _assigned(node: ast.stmt, source: str, comment: str) -> Iterable[Parameter]:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield _parameter(node.target.id, node.annotation, node.value, source, comment)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield _parameter(target.id, None, node.value, source, comment)


def _parameter(
    name: str, hint: ast.expr | None, value: ast.expr | None, source: str, comment: str
) -> Parameter:
    text = "" if value is None else (ast.get_source_segment(source, value) or "")
    typed = re.match(r"type:\s*(\S+)\s*(.*)", comment)
    if typed is not None:
        comment = typed[2].strip()
        if hint is None:
            hint = _expression(typed[1])
    default = _UNKNOWN if value is None else _constant(value)
    schema = _by_value(default) if hint is None else _by_hint(hint)
    schema |= {key: each for key, each in _by_comment(name, comment).items() if key not in schema}
    if comment:
        schema.setdefault("description", comment)
    if isinstance(default, str) and re.fullmatch(SECRET, default):
        schema["format"] = "secret"
    if default is not _UNKNOWN:
        schema["default"] = default
    elif text:
        schema["x-source"] = text
    return Parameter(name=name, source=text, schema=schema, help=comment)


def _expression(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


# --- defaults ------------------------------------------------------------------------------------


def _constant(node: ast.expr) -> Any:
    """Return the value of a literal, or of a call that makes a date or path, as JSON."""
    if isinstance(node, ast.Call):
        return _made(node)
    try:
        return _as_json(ast.literal_eval(node))
    except (ValueError, TypeError, MemoryError, RecursionError):
        return _UNKNOWN


def _as_json(value: Any) -> Any:
    """Return a value as JSON has it, or ``_UNKNOWN`` where it has not."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else _UNKNOWN  # neither infinite nor NaN
    if isinstance(value, (list, tuple)):
        items = [_as_json(each) for each in value]
        return _UNKNOWN if _UNKNOWN in items else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        mapped = {key: _as_json(each) for key, each in value.items()}
        return _UNKNOWN if _UNKNOWN in mapped.values() else mapped
    return _UNKNOWN


def _made(node: ast.Call) -> Any:
    makers: Mapping[str, Callable[..., Any]] = {
        "date": dt.date,
        "datetime": dt.datetime,
        "Path": _path,
    }
    made = makers.get(_last_name(node.func))
    if made is None:
        return _UNKNOWN
    try:
        arguments = [ast.literal_eval(each) for each in node.args]
        named = {each.arg: ast.literal_eval(each.value) for each in node.keywords if each.arg}
        value = made(*arguments, **named)
    except (ValueError, TypeError):
        return _UNKNOWN
    return value if isinstance(value, str) else value.isoformat()


def _path(*parts: str) -> str:
    return "/".join(parts)


def _by_value(value: Any) -> Schema:
    """Return what a value must be whose default is that one."""
    if value is _UNKNOWN or value is None:
        return {}
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "str")):
        if isinstance(value, kind):
            return dict(_NAMES[name])
    if isinstance(value, list):
        kinds = [_by_value(each) for each in value]
        same = bool(kinds) and kinds[0] and all(each == kinds[0] for each in kinds)
        return {"type": "array", "items": kinds[0]} if same else {"type": "array"}
    return {"type": "object"}


# --- hints ---------------------------------------------------------------------------------------


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _by_hint(node: ast.expr) -> Schema:
    """Return what a value of that type must be; of a type that is not known here, anything."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            inner = _expression(node.value)
            return {} if inner is None else _by_hint(inner)
        return dict(_NAMES["None"]) if node.value is None else {}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _either([_by_hint(node.left), _by_hint(node.right)])
    if isinstance(node, ast.Subscript):
        return _subscript(_last_name(node.value), _items(node.slice))
    return dict(_NAMES.get(_last_name(node), {}))


def _items(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _subscript(name: str, inner: Sequence[ast.expr]) -> Schema:
    if name == "Literal":
        return _literal(inner)
    if name in ("Optional", "Union"):
        nothing = [dict(_NAMES["None"])] if name == "Optional" else []
        return _either([*(_by_hint(each) for each in inner), *nothing])
    if name == "Annotated":
        schema = _by_hint(inner[0])
        for each in inner[1:]:
            schema |= _limits(each)
        return schema
    schema = dict(_NAMES.get(name, {}))
    kind = schema.get("type")
    if kind == "array":
        several = [each for each in inner if not _is_ellipsis(each)]
        if name.lower() == "tuple" and len(several) == len(inner):
            parts = [_by_hint(each) for each in several]
            return {**schema, "prefixItems": parts, "items": False, "minItems": len(parts)}
        if several:
            schema["items"] = _by_hint(several[0])
    elif kind == "object" and len(inner) > 1:
        schema["additionalProperties"] = _by_hint(inner[1])
    return schema


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _literal(inner: Sequence[ast.expr]) -> Schema:
    values = [_constant(each) for each in inner]
    known = [each for each in values if each is not _UNKNOWN]
    kinds = {str(_by_value(each).get("type", "null")) for each in known}
    return {"type": kinds.pop(), "enum": known} if len(kinds) == 1 else {"enum": known}


def _either(schemas: Sequence[Schema]) -> Schema:
    """Return what fits one of several; one type or none at all is said in short."""
    if any(not each for each in schemas):
        return {}
    flat = [inner for each in schemas for inner in each.get("anyOf", [each])]
    nothing = dict(_NAMES["None"])
    others = [each for each in flat if each != nothing]
    if len(others) == 1 and len(flat) > 1 and isinstance(others[0].get("type"), str):
        one = {**others[0], "type": [others[0]["type"], "null"]}
        if "enum" in one:
            one["enum"] = [*one["enum"], None]
        return one
    return {"anyOf": flat}


def _limits(node: ast.expr) -> Schema:
    """Return what metadata of ``Annotated`` says: a text, ``Ge(0)``, ``Field(ge=0)``, ``range``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {"description": node.value}
    if not isinstance(node, ast.Call):
        return {}
    name = _last_name(node.func)
    arguments = [_constant(each) for each in node.args]
    if name == "range" and arguments and all(isinstance(each, int) for each in arguments):
        low, high = (0, arguments[0]) if len(arguments) == 1 else arguments[:2]
        return {"minimum": low, "maximum": high - 1}
    found: Schema = {}
    short = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    if short in _LIMITS and len(arguments) == 1:
        found[_LIMITS[short]] = arguments[0]
    for each in node.keywords:
        value = _constant(each.value)
        if value is _UNKNOWN or each.arg is None:
            continue
        if each.arg in _LIMITS:
            found[_LIMITS[each.arg]] = value
        elif each.arg in ("description", "title"):
            found[each.arg] = value
    return {key: value for key, value in found.items() if value is not _UNKNOWN}


# --- comments ------------------------------------------------------------------------------------

_NUMBER: Final = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE: Final = re.compile(
    rf"(?:\bin|\brange:?|\bfrom)\s*\[?\s*({_NUMBER})\s*(?:\.\.|,|\bto\b)\s*({_NUMBER})"
)
_CHOICE: Final = re.compile(r"\bone of:?\s*(.+)$")


def _by_comment(name: str, comment: str) -> Schema:
    """Return what a comment says: ``0 < lr <= 1``, ``in 0..1``, ``one of 'a', 'b'``."""
    found = _RANGE.search(comment)
    if found is not None:
        return {"minimum": _number(found[1]), "maximum": _number(found[2])}
    choice = _CHOICE.search(comment)
    if choice is not None:
        node = _expression(f"({choice[1]},)")
        values = _UNKNOWN if node is None else _constant(node)
        return {"enum": values} if isinstance(values, list) and values else {}
    compared = re.search(
        rf"(?:{_NUMBER}\s*[<>]=?\s*)?\b{re.escape(name)}\b(?:\s*[<>]=?\s*{_NUMBER})?", comment
    )
    node = None if compared is None else _expression(compared[0])
    return _by_comparison(node) if isinstance(node, ast.Compare) else {}


def _by_comparison(node: ast.Compare) -> Schema:
    """Return the limits of ``0 < lr <= 1``."""
    found: Schema = {}
    sides = [node.left, *node.comparators]
    for number, sign in enumerate(node.ops):
        names = _SIGNS.get(type(sign))
        left, right = _constant(sides[number]), _constant(sides[number + 1])
        if names is None:
            continue
        if isinstance(sides[number], ast.Name) and right is not _UNKNOWN:
            found[names[0]] = right
        elif isinstance(sides[number + 1], ast.Name) and left is not _UNKNOWN:
            found[names[1]] = left
    return found


def _number(text: str) -> float | int:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
