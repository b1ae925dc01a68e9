"""Functions: the statement a function object was compiled from, and closures built anew.

A name may stand for an older function than its newest definition, so a function is matched with
source by what the source compiles to, never by name alone.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType
from typing import Any

from jupyter_aiinfra.capture.scopes import Function
from jupyter_aiinfra.capture.sources import Definition, SourceIndex

__all__ = ["Found", "Rebuilt", "find_source", "free_values", "rebuild", "yields"]

_AWAY = 1_000_000  # more lines than a cell has
_FUTURES = 0
for _name in __future__.all_feature_names:
    _FUTURES |= getattr(__future__, _name).compiler_flag


@dataclass(frozen=True, kw_only=True)
class Found:
    """The node a function was compiled from, inside the statement `definition`."""

    definition: Definition
    node: Function

    @property
    def whole(self) -> bool:
        """Whether the statement defines just this function, under its own name."""
        return self.definition.statement is self.node


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """Code that makes a function anew. `values` are what it needs, by the names it uses."""

    text: str
    values: Mapping[str, Any]
    labels: Mapping[str, str]


def find_source(function: FunctionType, index: SourceIndex, *, name: str) -> Found | None:
    """Return what `function`, known to the notebook as `name`, was compiled from."""
    # functools.wraps changes the function's own idea of its name, never that of its code.
    paths = (function.__qualname__, getattr(function.__code__, "co_qualname", ""))
    names = dict.fromkeys((*(path.split(".")[0] for path in paths), name))
    cell = index.of_file(function.__code__.co_filename)
    places = [index.history(top) for top in names] + [cell.history(top) for top in names]
    if function.__code__.co_name == "<lambda>":
        places.append(cell.everything())
    for place in places:
        for definition in place:
            node = _node(definition, function.__code__)
            if node is not None:
                return Found(definition=definition, node=node)
    return None


def _node(definition: Definition, code: CodeType) -> Function | None:
    for node in ast.walk(definition.statement):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and (
            _alike(node, code) and _compiles_to(definition, node, code)
        ):
            return node
    return None


def _alike(node: Function, code: CodeType) -> bool:
    """Whether `node` may have become `code`, by what is cheap to see."""
    name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
    positional = len(node.args.posonlyargs) + len(node.args.args)
    return name == code.co_name and positional == code.co_argcount


def _compiles_to(definition: Definition, node: Function, code: CodeType) -> bool:
    # IPython compiles each statement of a cell by itself, others the cell in one go; the bytecode
    # differs where a function calls what is imported beside it.
    return any(_begins_with(body, node, code) for body in definition.around)


def _begins_with(body: Sequence[ast.stmt], node: Function, code: CodeType) -> bool:
    # With all of the node moved far down, the code object that begins there is the node's own: the
    # outermost one, and the last of these, as lambdas in its defaults come before it. (Moving one
    # line only would change the bytecode.)
    ast.increment_lineno(node, _AWAY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = compile(
                ast.Module(body=list(body), type_ignores=[]),
                "<cell>",
                "exec",
                flags=code.co_flags & _FUTURES,
                dont_inherit=True,
            )
    finally:
        ast.increment_lineno(node, -_AWAY)
    level = [module]
    while level:
        level = [part for outer in level for part in outer.co_consts if _is_code(part)]
        moved = [
            found
            for found in level
            if found.co_firstlineno >= _AWAY and found.co_name == code.co_name
        ]
        if moved:
            return _same(moved[-1], code)
    return False


def _is_code(constant: Any) -> bool:
    return isinstance(constant, CodeType)


def _same(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same; where they stand does not matter."""
    return (
        one.co_code == other.co_code
        and one.co_names == other.co_names
        and one.co_varnames == other.co_varnames
        and one.co_freevars == other.co_freevars
        and one.co_cellvars == other.co_cellvars
        and one.co_flags == other.co_flags
        and len(one.co_consts) == len(other.co_consts)
        and all(_same_constant(a, b) for a, b in zip(one.co_consts, other.co_consts, strict=True))
    )


def _same_constant(one: Any, other: Any) -> bool:
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        return _same(one, other)
    if isinstance(one, frozenset):
        return bool(one == other)
    return type(one) is type(other) and repr(one) == repr(other)


# --- assignments ---------------------------------------------------------------------------------


def yields(
    node: ast.expr, value: Any, *, namespace: Mapping[str, Any], definition: Definition
) -> bool:
    """Whether the expression `node` of `definition` provably gives `value` again.

    Only literals, names, attributes of modules and classes, and lambdas are judged.
    """
    if isinstance(node, ast.Constant):
        return type(node.value) is type(value) and repr(node.value) == repr(value)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _resolve(node, namespace) is value
    if isinstance(node, ast.Lambda):
        return (
            isinstance(value, FunctionType)
            and not value.__code__.co_freevars
            and _alike(node, value.__code__)
            and _compiles_to(definition, node, value.__code__)
            and _same_defaults(node, value, namespace, definition)
        )
    if isinstance(node, (ast.List, ast.Tuple)):
        kind = list if isinstance(node, ast.List) else tuple
        return (
            type(value) is kind
            and len(node.elts) == len(value)
            and all(
                yields(part, item, namespace=namespace, definition=definition)
                for part, item in zip(node.elts, value, strict=True)
            )
        )
    if isinstance(node, ast.Dict):
        return (
            type(value) is dict
            and len(node.keys) == len(value)
            and all(
                part is not None and yields(part, item, namespace=namespace, definition=definition)
                for parts, items in zip(
                    zip(node.keys, node.values, strict=True), value.items(), strict=True
                )
                for part, item in zip(parts, items, strict=True)
            )
        )
    return False


def _same_defaults(
    node: ast.Lambda, value: FunctionType, namespace: Mapping[str, Any], definition: Definition
) -> bool:
    given = dict(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    pairs = [
        *zip(node.args.defaults, value.__defaults__ or (), strict=True),
        *(
            (default, (value.__kwdefaults__ or {}).get(argument.arg))
            for argument, default in given.items()
            if default is not None
        ),
    ]
    return all(
        yields(default, made, namespace=namespace, definition=definition) for default, made in pairs
    )


_NOTHING = object()


def _resolve(node: ast.expr, namespace: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return namespace.get(node.id, getattr(builtins, node.id, _NOTHING))
    if isinstance(node, ast.Attribute):
        owner = _resolve(node.value, namespace)
        # Asking anything else for an attribute may run code of its own.
        if isinstance(owner, (type, type(ast))):
            return getattr(owner, node.attr, _NOTHING)
    return _NOTHING


# --- closures ------------------------------------------------------------------------------------


def free_values(function: FunctionType) -> dict[str, Any]:
    """Return the variables of enclosing functions that `function` uses.

    Raises
    ------
    ValueError
        One of them was not set yet; the message is its name.
    """
    cells = function.__closure__ or ()
    return {
        name: _contents(name, cell)
        for name, cell in zip(function.__code__.co_freevars, cells, strict=True)
    }


def _contents(name: str, cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        raise ValueError(name) from None


def rebuild(name: str, function: FunctionType, node: Function) -> Rebuilt:
    """Return code that makes `function`, compiled from `node`, and calls it `name`.

    It stands in a factory whose parameters are the variables it closes over, and the values of
    its defaults. Decorators are left out, as the function is what they worked on; so are
    annotations, which may name anything.
    """
    free = free_values(function)
    own = {key for key, value in free.items() if value is function}
    taken = {*free, *function.__code__.co_names, *function.__code__.co_varnames}
    made = _unused("made" if isinstance(node, ast.Lambda) else node.name, taken - own)
    bare, defaults = _bare(node, function, taken)
    if isinstance(bare, ast.Lambda):
        inner: list[ast.stmt] = ast.parse(f"{made} = 0").body
        inner[0].value = bare  # type: ignore[attr-defined]
    else:
        inner = [bare]
        if bare.name != made:
            # The function sees another value by its own name.
            given = _unused(f"{bare.name}_given", taken)
            inner += ast.parse(f"{made} = {bare.name}\n{bare.name} = {given}").body
            free = {given if key == bare.name else key: value for key, value in free.items()}
    inner += ast.parse("".join(f"{key} = {made}\n" for key in sorted(own - {made}))).body
    needed = {key: value for key, value in free.items() if key not in own} | defaults
    values = {f"__aiinfra_{name}_{key}": value for key, value in needed.items()}
    labels = {f"__aiinfra_{name}_{key}": f"{name}.{key}" for key in needed}
    factory = f"__aiinfra_make_{name}"
    module = ast.parse(f"def {factory}({', '.join(needed)}):\n    return {made}")
    module.body[0].body[:0] = inner  # type: ignore[attr-defined]
    lines = [
        ast.unparse(ast.fix_missing_locations(module)),
        f"{name} = {factory}({', '.join(values)})",
        f"del {factory}",
    ]
    return Rebuilt(text="\n".join(lines), values=values, labels=labels)


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _bare(
    node: Function, function: FunctionType, taken: set[str]
) -> tuple[Function, dict[str, Any]]:
    """Return a copy of `node` to stand alone, and the defaults it takes by names of ours."""
    bare = copy.deepcopy(node)
    if not isinstance(bare, ast.Lambda):
        bare.decorator_list = []
        bare.returns = None
    arguments = bare.args
    plain = [*arguments.posonlyargs, *arguments.args]
    for argument in (*plain, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if argument is not None:
            argument.annotation = None
    defaults: dict[str, Any] = {}

    def given(argument: ast.arg, expression: ast.expr, value: Any) -> ast.expr:
        if isinstance(expression, ast.Constant):
            return expression
        key = _unused(f"{argument.arg}_default", taken)
        defaults[key] = value
        return ast.Name(id=key, ctx=ast.Load())

    with_default = plain[len(plain) - len(arguments.defaults) :]
    arguments.defaults = [
        given(argument, expression, value)
        for argument, expression, value in zip(
            with_default, arguments.defaults, function.__defaults__ or (), strict=True
        )
    ]
    keyword = function.__kwdefaults__ or {}
    arguments.kw_defaults = [
        None if expression is None else given(argument, expression, keyword[argument.arg])
        for argument, expression in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return bare, defaults
