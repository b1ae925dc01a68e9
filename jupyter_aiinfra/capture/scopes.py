"""Scopes: which names a piece of code binds, and which ones a function takes from its module.

Nothing here knows about the order in which code runs; :mod:`~jupyter_aiinfra.capture.names` does.
"""

# ruff: noqa: D102, N815 - what visit_… is called and does is ast.NodeVisitor's contract
from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = [
    "PROVIDED",
    "Bindings",
    "Function",
    "Read",
    "Reader",
    "Reads",
    "bindings",
    "first_line",
    "mangled",
    "read_chain",
]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

PROVIDED = frozenset(
    (
        "__annotations__",
        "__builtins__",
        "__class__",
        "__debug__",
        "__doc__",
        "__file__",
        "__loader__",
        "__module__",
        "__name__",
        "__package__",
        "__qualname__",
        "__spec__",
    )
)
"""Names that Python itself provides wherever code runs."""

_DYNAMIC = frozenset(("exec", "globals"))


@dataclass(kw_only=True)
class Bindings:
    """What a scope binds. `names` holds the names declared global or nonlocal too, if bound."""

    names: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)
    star: bool = False


@dataclass(kw_only=True)
class Read:
    """A name read: the first line, and the attributes that were asked of it, as tuples."""

    line: int
    chains: set[tuple[str, ...]] = field(default_factory=set)


@dataclass(kw_only=True)
class Reads:
    """What code in functions takes from its module.

    `soft` names stand in annotations that nobody need ever evaluate; `writes` are bound in the
    module by way of ``global``; `dynamic` code may read and bind names that no analysis sees.
    """

    names: dict[str, Read] = field(default_factory=dict)
    soft: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    dynamic: bool = False

    def add(self, name: str, *, line: int, chain: tuple[str, ...] = ()) -> None:
        """Note that `name` is read."""
        if name in _DYNAMIC:
            self.dynamic = True
        read = self.names.setdefault(name, Read(line=line))
        if chain:
            read.chains.add(chain)

    def update(self, other: Reads) -> None:
        """Take over all of `other`."""
        for name, read in other.names.items():
            self.names.setdefault(name, Read(line=read.line)).chains.update(read.chains)
        self.soft |= other.soft
        self.writes |= other.writes
        self.dynamic = self.dynamic or other.dynamic


def first_line(node: ast.stmt) -> int:
    """Return the line `node` begins on, decorators included."""
    decorators = getattr(node, "decorator_list", ())
    return min([node.lineno, *(int(decorator.lineno) for decorator in decorators)])


def read_chain(node: ast.Attribute) -> tuple[ast.Name, tuple[str, ...]] | None:
    """Return the name at the root of ``a.b.c`` with its attributes, or ``None``."""
    attributes: list[str] = []
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute):
        attributes.append(inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        return inner, tuple(reversed(attributes))
    return None


def bindings(nodes: Iterable[ast.AST]) -> Bindings:
    """Return what `nodes`, the body of one scope, bind in it."""
    binder = _Binder()
    for node in nodes:
        binder.visit(node)
    return binder.found


class _Binder(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found = Bindings()
        self._inside = 0  # of comprehensions, whose targets are their own

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load) and not self._inside:
            self.found.names.add(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.found.names.add(node.target.id)
        self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.found.names.add(node.name)
        for part in (*node.decorator_list, node.args):
            self.visit(part)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.found.names.add(node.name)
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)

    def visit_TypeAlias(self, node: ast.AST) -> None:
        self.found.names.add(node.name.id)  # type: ignore[attr-defined] # Python 3.12

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.found.star = True
            else:
                self.found.names.add(alias.asname or alias.name.split(".")[0])

    visit_ImportFrom = visit_Import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.found.names.add(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self.found.names.add(node.name)
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.found.names.add(node.rest)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.found.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.found.nonlocals.update(node.names)

    def _comprehension(self, node: ast.AST) -> None:
        self._inside += 1
        self.generic_visit(node)
        self._inside -= 1

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """Where a :class:`Reader` stands: what it sees of enclosing functions, and its own body."""

    visible: frozenset[str] = frozenset()
    globals: frozenset[str] = frozenset()
    own: set[str] | None = None  # names bound so far, in the body of a class


class Reader(ast.NodeVisitor):
    """Collects in `reads` what functions, lambdas and comprehensions take from the module.

    Parameters
    ----------
    postponed
        Whether ``from __future__ import annotations`` is in force.
    private
        The class whose body this is in, for names that Python mangles.
    """

    def __init__(self, *, postponed: bool = False, private: str | None = None) -> None:
        self.reads = Reads()
        self._postponed = postponed
        self._private = private
        self._scope = _Scope()
        self._soft = False

    # --- entrances ---

    def function(self, node: Function) -> None:
        """Read the body of `node`; not its decorators, defaults and annotations."""
        body: Sequence[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else node.body
        bound = bindings(body)
        arguments = node.args
        names = {arg.arg for arg in _arguments(arguments)} | _type_parameters(node)
        visible = (self._scope.visible | bound.names | names) - bound.globals
        self.reads.writes |= {mangled(n, self._private) for n in bound.names & bound.globals}
        with self._in(_Scope(visible=visible, globals=frozenset(bound.globals - names))):
            for part in body:
                self.visit(part)

    def comprehension(self, node: ast.AST) -> None:
        """Read `node` but for its first iterable, which its surroundings evaluate."""
        generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        targets = bindings(generator.target for generator in generators).names
        scope = self._scope
        with self._in(_Scope(visible=scope.visible | targets, globals=scope.globals)):
            for number, generator in enumerate(generators):
                if number:
                    self.visit(generator.iter)
                self.visit(generator.target)
                for test in generator.ifs:
                    self.visit(test)
            for part in ("key", "value", "elt"):
                if hasattr(node, part):
                    self.visit(getattr(node, part))

    def annotation(self, node: ast.expr | None, *, evaluated: bool) -> None:
        """Read an annotation; text in it is code, and read softly."""
        if node is None:
            return
        before = self._soft
        self._soft = before or self._postponed or not evaluated
        _Annotation(self).visit(node)
        self._soft = before

    def text(self, text: str) -> None:
        """Read an annotation given as text, softly; what is no expression is no annotation."""
        try:
            node = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError):
            return
        self.annotation(node, evaluated=False)

    def annotations(self, node: Function) -> None:
        """Read the annotations of `node`'s parameters and result."""
        if isinstance(node, ast.Lambda):
            return
        with self._with_type_parameters(node):
            for argument in _arguments(node.args):
                self.annotation(argument.annotation, evaluated=True)
            self.annotation(node.returns, evaluated=True)

    def heading(self, node: ast.ClassDef) -> None:
        """Read the bases and keywords of a class."""
        with self._with_type_parameters(node):
            for part in (*node.bases, *node.keywords):
                self.visit(part)

    # --- nested scopes ---

    def _signature(self, node: Function) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        self.annotations(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._signature(node)
        self._inner(node)
        self._bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._signature(node)
        self._inner(node)

    def _inner(self, node: Function) -> None:
        # A function does not see the names of a class around it.
        scope = self._scope
        with self._in(_Scope(visible=scope.visible, globals=scope.globals)):
            self.function(node)

    def _comprehension(self, node: ast.AST) -> None:
        self.visit(node.generators[0].iter)  # type: ignore[attr-defined]
        self.comprehension(node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self.heading(node)
        with self._with_type_parameters(node):
            private, self._private = self._private, node.name
            scope = self._scope
            declared = frozenset(bindings(node.body).globals)
            inner = _Scope(
                visible=scope.visible - declared, globals=scope.globals | declared, own=set()
            )
            with self._in(inner):
                for statement in node.body:
                    self.visit(statement)
            self._private = private
        self._bind(node.name)

    def visit_TypeAlias(self, node: ast.AST) -> None:
        with self._with_type_parameters(node):
            self.annotation(node.value, evaluated=False)  # type: ignore[attr-defined]

    # --- statements and expressions, in the order they are evaluated ---

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id, line=node.lineno)
        self.visit(node.value)
        self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.annotation(node.annotation, evaluated=self._scope.own is not None)
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)
        elif not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self.visit(node.target)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    visit_AsyncFor = visit_For

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name in bindings([node]).names:
            self._bind(name)

    visit_ImportFrom = visit_Import

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._bind(node.id)
        else:
            self._read(node.id, line=node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = read_chain(node)
        if chain is None:
            self.generic_visit(node)
        else:
            self._read(chain[0].id, line=node.lineno, chain=chain[1])

    # --- names ---

    def _read(self, name: str, *, line: int, chain: tuple[str, ...] = ()) -> None:
        scope = self._scope
        if name in PROVIDED or (scope.own is not None and name in scope.own):
            return
        if name in scope.visible and name not in scope.globals:
            return
        name = mangled(name, self._private)
        if self._soft:
            self.reads.soft.add(name)
        else:
            self.reads.add(name, line=line, chain=chain)

    def _bind(self, name: str) -> None:
        if self._scope.own is not None:
            self._scope.own.add(name)

    @contextmanager
    def _in(self, scope: _Scope) -> Iterator[None]:
        before, self._scope = self._scope, scope
        yield
        self._scope = before

    @contextmanager
    def _with_type_parameters(self, node: ast.AST) -> Iterator[None]:
        names = _type_parameters(node)
        scope = self._scope
        seen = _Scope(visible=scope.visible | names, globals=scope.globals, own=scope.own)
        with self._in(seen):
            for parameter in getattr(node, "type_params", ()):
                self.annotation(getattr(parameter, "bound", None), evaluated=False)
                self.annotation(getattr(parameter, "default_value", None), evaluated=False)
            yield


class _Annotation(ast.NodeVisitor):
    """Walks an annotation: text in it is code, but for what stands in ``Literal[…]``."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self._reader.text(node.value)
        elif isinstance(node, ast.Subscript):
            self.visit(node.value)
            label = getattr(node.value, "attr", getattr(node.value, "id", ""))
            if label == "Literal":
                return
            self.visit(node.slice)
        elif isinstance(node, (ast.BinOp, ast.Tuple, ast.List)):
            self.generic_visit(node)
        else:
            self._reader.visit(node)


def mangled(name: str, private: str | None) -> str:
    """Return `name` as Python stores it in the body of class `private`."""
    if private is None or not name.startswith("__") or name.endswith("__"):
        return name
    owner = private.lstrip("_")
    return f"_{owner}{name}" if owner else name


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [*every, *(arg for arg in (arguments.vararg, arguments.kwarg) if arg is not None)]


def _type_parameters(node: ast.AST) -> set[str]:
    return {parameter.name for parameter in getattr(node, "type_params", ())}
