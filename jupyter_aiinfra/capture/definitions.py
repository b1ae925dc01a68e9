"""Definitions: the source of functions and classes that were made in the notebook."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any

from jupyter_aiinfra.capture.functions import (
    Found,
    find_source,
    free_values,
    rebuild,
    yields,
)
from jupyter_aiinfra.capture.names import Names, Use, analyse
from jupyter_aiinfra.capture.pieces import Piece
from jupyter_aiinfra.capture.sources import Definition, SourceIndex
from jupyter_aiinfra.model import CaptureKind, ManifestItem

__all__ = ["Definitions"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Definitions:
    """Finds the text that defines a function, class or the like again.

    What a function closes over, and defaults that are no longer what their source says, become
    ``values`` of the piece.
    """

    def __init__(self, namespace: Mapping[str, Any], *, index: SourceIndex) -> None:
        self._namespace = namespace
        self._index = index

    def decorated(self, name: str, value: Any) -> bool:
        """Whether `value` is what decorators made of the function or class called `name`."""
        newest, _ = self._newest(name, value)
        return (
            newest is not None
            and isinstance(newest.statement, (*_FUNCTIONS, ast.ClassDef))
            and bool(newest.statement.decorator_list)
            and callable(value)
        )

    def find(self, name: str, value: Any) -> Piece | None:
        """Return the piece for `value`, or ``None`` if nothing recorded defines it."""
        alias = self._alias(name, value)
        if alias is not None:
            return alias
        newest, patches = self._newest(name, value)
        if newest is not None and self._defines(newest, name, value):
            patches = _concerning(value, patches)
            if _unheard(value, patches):
                return _refused(
                    name,
                    value,
                    "has implementations that no cell that was seen has registered",
                    hint=f"register them by @{name}.register at the top of a cell",
                )
            return self._source(name, value, newest, patches)
        proven = self.assigned(name, value, calls=False)
        if proven is not None:
            return proven
        if isinstance(value, FunctionType) and value.__globals__.get("__name__") == "__main__":
            piece = self._function(name, value)
            if piece is not None:
                return piece
        return self.assigned(name, value)

    def _newest(self, name: str, value: Any) -> tuple[Definition | None, Sequence[Definition]]:
        """Return what defined `name` last, and what was put on it since.

        When its cell ran before anybody listened, the functions in `value` still know that cell.
        """
        heard = self._index.patches(name)
        if self._index.binding(name) is not None:
            return self._index.definition(name), heard
        for function in _functions_of(value):
            if function.__globals__.get("__name__") == "__main__":
                cell = self._index.of_file(function.__code__.co_filename)
                return cell.definition(name), (*cell.patches(name), *heard)
        return None, ()

    def problem(self, value: Any) -> str:
        """Say why the source of a function or class was not found, after "a function"."""
        if "<locals>" in value.__qualname__:
            return f"made inside a function ({value.__qualname__})"
        if value.__module__ == "__main__":
            return "whose source is not known: it came from no cell that was seen"
        return f"that its module does not have by name ({value.__module__}.{value.__qualname__})"

    def assigned(self, name: str, value: Any, *, calls: bool = True) -> Piece | None:
        """Return the assignment that made `value`, if running it again gives the same.

        That is provable for names, attributes of modules, lambdas and collections of these. A
        call is trusted for functions and types, unless something it uses was bound anew since.
        """
        newest = self._index.definition(name)
        if newest is None:
            return None
        expression = _assigned_expression(newest.statement, name)
        if expression is None:
            return None
        proves = yields(expression, value, namespace=self._namespace, definition=newest)
        trusted = calls and isinstance(expression, ast.Call) and self._fresh(newest, value)
        if not proves and not trusted:
            return None
        return self._source(name, value, newest)

    # --- ways to find it ---

    def _alias(self, name: str, value: Any) -> Piece | None:
        """``h = f``, where the notebook still has `value` under its own name ``f``."""
        path = self._path(name, value)
        if path is None or path == name:
            return None
        top = path.split(".")[0]
        item = ManifestItem(
            name=name, kind=CaptureKind.SOURCE, type=_label(value), how=f"{name} = {path}"
        )
        use = Use(name=top, line=0, certain=True, now=True)
        return Piece(
            name=name,
            item=item,
            shown=not name.startswith("__aiinfra_"),
            text=f"{name} = {path}",
            order=(sys.maxsize, 0),
            uses={top: use},
        )

    def _path(self, name: str, value: Any) -> str | None:
        """Return where in the notebook a function or class of its own is to be had."""
        path = getattr(value, "__qualname__", "")
        if not isinstance(path, str) or getattr(value, "__module__", None) != "__main__":
            return None
        top, *rest = path.split(".")
        found = self._namespace.get(top)
        for part in rest:
            found = vars(found).get(part) if isinstance(found, type) else None
        if found is value:
            return path
        if name.startswith("__aiinfra_"):  # a part of something: perhaps it has a name of its own
            return next((key for key, one in self._namespace.items() if one is value), None)
        return None

    def _function(self, name: str, value: FunctionType) -> Piece | None:
        found = find_source(value, self._index, name=name)
        if found is None or isinstance(found.definition.statement, ast.ClassDef):
            return None
        if (
            found.whole
            and isinstance(found.node, _FUNCTIONS)
            and found.node.name == name
            and not value.__code__.co_freevars
            and not found.node.decorator_list
            and self._same_defaults(found, value)
        ):
            patches = _concerning(value, self._index.patches(name))
            newest = self._index.definition(name) is found.definition
            return self._source(name, value, found.definition, patches if newest else ())
        # What wraps another function looks like that one, which a rebuilt one would not.
        wrapping = self.assigned(name, value) if hasattr(value, "__wrapped__") else None
        return wrapping or self._rebuilt(name, value, found)

    def _defines(self, newest: Definition, name: str, value: Any) -> bool:
        statement = newest.statement
        if isinstance(statement, _FUNCTIONS):
            return bool(statement.decorator_list) and callable(value)
        if not isinstance(statement, ast.ClassDef):
            return False
        if statement.decorator_list and not isinstance(value, type):
            return callable(value)
        return (
            isinstance(value, type)
            and value.__qualname__ == name
            and value.__module__ == "__main__"
        )

    def _fresh(self, definition: Definition, value: Any) -> bool:
        if not (isinstance(value, type) or (callable(value) and hasattr(value, "__name__"))):
            typing_like = type(value).__module__ in ("typing", "typing_extensions")
            if not typing_like:
                return False
        needed = analyse([definition.statement], postponed=definition.postponed).uses
        if definition.name in needed:
            return False
        bound = (self._index.binding(name) for name in needed)
        return all(other is None or other.order < definition.order for other in bound)

    def _same_defaults(self, found: Found, value: FunctionType) -> bool:
        """Whether the defaults in the source are still those of the function."""
        arguments = found.node.args
        keyword = value.__kwdefaults__ or {}
        pairs = [
            *zip(arguments.defaults, value.__defaults__ or (), strict=False),
            *(
                (default, keyword.get(argument.arg))
                for argument, default in zip(
                    arguments.kwonlyargs, arguments.kw_defaults, strict=True
                )
                if default is not None
            ),
        ]
        for expression, default in pairs:
            if isinstance(expression, ast.Name) and expression.id in self._namespace:
                now = self._namespace[expression.id]
                plain = type(now) in (int, float, str, bool) and type(now) is type(default)
                if now is not default and not (plain and now == default):
                    return False
            elif any(
                not hasattr(builtins, name) and name not in self._namespace
                for name in analyse([ast.Expr(value=expression)]).uses
            ):
                return False
        return True

    # --- pieces ---

    def _source(
        self,
        name: str,
        value: Any,
        definition: Definition,
        patches: Sequence[Definition] = (),
    ) -> Piece:
        parts = [definition, *patches]
        names = analyse([part.statement for part in parts], postponed=definition.postponed)
        text = "\n".join(part.source for part in parts)
        return _piece(name, value, definition, text=text, names=names)

    def _rebuilt(self, name: str, value: FunctionType, found: Found) -> Piece | None:
        try:
            free = free_values(value)
        except ValueError as error:
            return _refused(name, value, f"reads `{error}` of a function that has not set it yet")
        if "__class__" in free:
            return _refused(name, value, "is a method taken out of a class that no name leads to")
        if _goes_round(value):
            return _refused(name, value, "and another function close over each other")
        made = rebuild(name, value, found.node)
        names = analyse(ast.parse(made.text).body)
        piece = _piece(name, value, found.definition, text=made.text, names=names)
        return replace(piece, values=made.values, labels=made.labels)


def _piece(name: str, value: Any, definition: Definition, *, text: str, names: Names) -> Piece:
    lines = len(text.splitlines())
    item = ManifestItem(
        name=name,
        kind=CaptureKind.SOURCE,
        type=_label(value),
        size_bytes=len(text.encode()),
        how=f"source, {lines} line{'s' if lines != 1 else ''}",
    )
    return Piece(
        name=name,
        item=item,
        shown=not name.startswith("__aiinfra_"),
        text=text,
        origin=definition.origin,
        order=definition.order,
        postponed=definition.postponed,
        uses=names.uses,
        written=names.written,
    )


def _concerning(value: Any, patches: Sequence[Definition]) -> Sequence[Definition]:
    """Leave out what was registered with something that is no generic function: it has its own."""
    if _implementations(value):
        return patches
    return [each for each in patches if isinstance(each.statement, ast.Assign)]


def _unheard(value: Any, patches: Sequence[Definition]) -> bool:
    registered = [each for each in patches if not isinstance(each.statement, ast.Assign)]
    return len(_implementations(value)) > len(registered)


def _implementations(value: Any) -> set[int]:
    """Return the functions registered with a generic one of ``functools.singledispatch``."""
    registry = getattr(value, "registry", None)
    if not isinstance(value, FunctionType) or not isinstance(registry, Mapping):
        return set()
    return {id(made) for kind, made in registry.items() if kind is not object}


def _refused(
    name: str, value: Any, problem: str, *, hint: str = "define it at the top of a cell"
) -> Piece:
    item = ManifestItem(
        name=name,
        kind=CaptureKind.REFUSED,
        type=_label(value),
        reason=f"`{name}` {problem}",
        hint=hint,
    )
    return Piece(name=name, item=item)


def _label(value: Any) -> str:
    if isinstance(value, type):
        return "class"
    return "function" if callable(value) and hasattr(value, "__name__") else type(value).__name__


def _assigned_expression(statement: ast.stmt, name: str) -> ast.expr | None:
    """Return what a statement assigns to `name` alone."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target: ast.expr = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return None
    return statement.value if isinstance(target, ast.Name) and target.id == name else None


def _functions_of(value: Any) -> Iterator[FunctionType]:
    """Yield the functions that `value`, a function or class, is or wraps or holds."""
    while value is not None:
        if isinstance(value, FunctionType):
            yield value
        elif isinstance(value, type):
            yield from (part for part in vars(value).values() if isinstance(part, FunctionType))
        value = vars(value).get("__wrapped__") if hasattr(value, "__dict__") else None


def _goes_round(function: FunctionType) -> bool:
    """Whether `function` closes over another function that closes over it in turn."""
    met: set[int] = set()
    queue = [part for part in _closed_over(function) if part is not function]
    while queue:
        part = queue.pop()
        if part is function:
            return True
        if id(part) not in met:
            met.add(id(part))
            queue.extend(_closed_over(part))
    return False


def _closed_over(function: FunctionType) -> list[FunctionType]:
    try:
        values = free_values(function).values()
    except ValueError:
        return []
    return [value for value in values if isinstance(value, FunctionType)]
