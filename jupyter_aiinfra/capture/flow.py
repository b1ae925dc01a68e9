"""Flow: what is surely bound at each point of module-level code, and what is read before that."""

# ruff: noqa: D102, N815 - what visit_… is called and does is ast.NodeVisitor's contract
from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from jupyter_aiinfra.capture.scopes import (
    PROVIDED,
    Function,
    Reader,
    Reads,
    bindings,
    mangled,
    read_chain,
)

__all__ = ["Flow", "Loop", "Seen", "State", "merge"]


@dataclass(kw_only=True)
class State:
    """What is bound at one point. `hidden`: surely bound (or deleted); `maybe`: on some path.

    The second pair is of the class body that the point is in.
    """

    hidden: set[str] = field(default_factory=set)
    maybe: set[str] = field(default_factory=set)
    own_hidden: set[str] = field(default_factory=set)
    own_maybe: set[str] = field(default_factory=set)
    dead: bool = False

    def copy(self) -> State:
        return State(
            hidden=set(self.hidden),
            maybe=set(self.maybe),
            own_hidden=set(self.own_hidden),
            own_maybe=set(self.own_maybe),
            dead=self.dead,
        )


def merge(states: Iterable[State]) -> State:
    """Return what holds where paths that end in `states` come together."""
    alive = [state for state in states if not state.dead]
    if not alive:
        return State(dead=True)
    merged = alive[0].copy()
    for state in alive[1:]:
        merged.hidden &= state.hidden
        merged.maybe |= state.maybe
        merged.own_hidden &= state.own_hidden
        merged.own_maybe |= state.own_maybe
    return merged


@dataclass(kw_only=True)
class Seen:
    """A name read from outside, over all its reads; see :class:`~.names.Use`."""

    line: int
    shadowed: frozenset[str]
    certain: bool = False
    optional: bool = True
    now: bool = False
    called: bool = False
    chains: set[tuple[str, ...]] = field(default_factory=set)


@dataclass(kw_only=True)
class Loop:
    """The states in which a loop is left by ``break``, and its body by ``continue``."""

    breaks: list[State] = field(default_factory=list)
    continues: list[State] = field(default_factory=list)


class Flow(ast.NodeVisitor):
    """Walks expressions in the order they are evaluated; a subclass adds the statements.

    `seen` collects what is read from outside. A function's reads count from where its name is
    first read, as it can be called from there on.
    """

    def __init__(self, statements: Sequence[ast.stmt], *, postponed: bool) -> None:
        bound = bindings(statements)
        self.written = _declared_global(statements)
        self.assigned = bound.names | self.written
        self.star = bound.star
        self.dynamic = False
        self.postponed = postponed
        self.state = State()
        self.seen: dict[str, Seen] = {}
        self.soft: set[str] = set()
        self.bodies: dict[str, Reads] = {}  # of functions and classes, by the name they go by
        self.loops: list[Loop] = []
        self.sure = True
        self.private: str | None = None
        self.owner: Reads | None = None  # what the methods of the class around us read
        self.class_globals: frozenset[str] | None = None

    # --- names ---

    def read(
        self, name: str, *, line: int, chain: tuple[str, ...] = (), called: bool = True
    ) -> None:
        state = self.state
        if state.dead or name in PROVIDED:
            return
        own = self.class_globals is not None and name not in self.class_globals
        if own and name in state.own_hidden:
            return
        name = mangled(name, self.private)
        perhaps_own = own and name in state.own_maybe
        self.need(
            name,
            line=line,
            chains={chain} if chain else set(),
            certain=self.sure and not perhaps_own,
            optional=perhaps_own or name in state.maybe,
            now=True,
            called=called,
        )
        self.run_later(name, visited=set())

    def need(
        self,
        name: str,
        *,
        line: int,
        chains: set[tuple[str, ...]],
        certain: bool,
        optional: bool,
        now: bool,
        called: bool,
    ) -> None:
        if self.state.dead or name in self.state.hidden:
            return
        if name in ("exec", "globals"):
            self.dynamic = True
        hidden = frozenset(self.state.hidden)
        seen = self.seen.setdefault(name, Seen(line=line, shadowed=hidden))
        seen.line = min(seen.line, line)
        seen.shadowed &= hidden
        seen.certain = seen.certain or (certain and not optional)
        seen.optional = seen.optional and optional
        seen.now = seen.now or now
        seen.called = seen.called or called
        seen.chains |= chains

    def run_later(self, name: str, *, visited: set[str]) -> None:
        """From here on the function `name` may be called: it may read what it reads."""
        if name in visited or name not in self.bodies or self.state.dead:
            return
        visited.add(name)
        self.apply(self.bodies[name], now=False, visited=visited)

    def apply(self, reads: Reads, *, now: bool, visited: set[str] | None = None) -> None:
        """Take the `reads` of a body that may run from here on, any number of times."""
        if self.state.dead:
            return
        self.soft |= reads.soft
        self.dynamic = self.dynamic or reads.dynamic
        for name, read in reads.names.items():
            self.need(
                name,
                line=read.line,
                chains=read.chains,
                certain=False,
                optional=name in self.assigned,
                now=now,
                called=now,
            )
            self.run_later(name, visited=set() if visited is None else visited)

    def bind(self, name: str) -> None:
        if self.class_globals is not None and name not in self.class_globals:
            self.state.own_hidden.add(name)
            self.state.own_maybe.add(name)
        else:
            name = mangled(name, self.private)
            self.state.hidden.add(name)
            self.state.maybe.add(name)

    def perhaps(self, state: State, nodes: Iterable[ast.AST]) -> None:
        """Note in `state` that `nodes` may have run in part."""
        names = bindings(nodes).names
        (state.maybe if self.class_globals is None else state.own_maybe).update(names)

    def reader(self) -> Reader:
        return Reader(postponed=self.postponed, private=self.private)

    @contextmanager
    def unsure(self, *, unsure: bool = True) -> Iterator[None]:
        before = self.sure
        self.sure = before and not unsure
        yield
        self.sure = before

    def branches(self, *branches: Iterable[ast.AST]) -> list[State]:
        """Walk each branch from the present state; return the states they end in."""
        before = self.state
        ends = []
        for branch in branches:
            self.state = before.copy()
            with self.unsure():
                for node in branch:
                    self.visit(node)
            ends.append(self.state)
        return ends

    # --- expressions ---

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.signature(node)
        reader = self.reader()
        reader.function(node)
        self.apply(reader.reads, now=True)

    def signature(self, node: Function) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.hand_on(default)
        reader = self.reader()
        reader.annotations(node)
        self.evaluated(reader.reads)

    def hand_on(self, node: ast.expr) -> None:
        """Walk an expression whose value is stored: names in it are not called by that."""
        chain = read_chain(node) if isinstance(node, ast.Attribute) else None
        if isinstance(node, ast.Name):
            self.read(node.id, line=node.lineno, called=False)
        elif chain is not None:
            self.read(chain[0].id, line=node.lineno, chain=chain[1], called=False)
        elif isinstance(node, (ast.List, ast.Tuple)):
            for part in node.elts:
                self.hand_on(part)
        else:
            self.visit(node)

    def evaluated(self, reads: Reads) -> None:
        self.soft |= reads.soft
        for name, read in reads.names.items():
            self.read(name, line=read.line)
            if name in self.seen:
                self.seen[name].chains |= read.chains

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.bind(node.id)
            return
        self.read(node.id, line=node.lineno)
        if isinstance(node.ctx, ast.Del):
            self.bind(node.id)  # whatever reads it later does not mean the notebook's

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = read_chain(node)
        if chain is None:
            self.generic_visit(node)
        else:
            self.read(chain[0].id, line=node.lineno, chain=chain[1])

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        before = self.state.copy()
        self.state = merge([before, *self.branches(node.values[1:])])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.state = merge(self.branches([node.body], [node.orelse]))

    def visit_Compare(self, node: ast.Compare) -> None:
        self.visit(node.left)
        self.visit(node.comparators[0])
        if node.comparators[1:]:
            before = self.state.copy()
            self.state = merge([before, *self.branches(node.comparators[1:])])

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                self.visit(key)
            self.visit(value)

    def _comprehension(self, node: ast.AST) -> None:
        self.visit(node.generators[0].iter)  # type: ignore[attr-defined]
        walrus = bindings([node]).names
        self.state.maybe |= walrus
        reader = self.reader()
        reader.comprehension(node)
        if isinstance(node, ast.GeneratorExp):
            self.apply(reader.reads, now=True)
            return
        self.soft |= reader.reads.soft
        for name, read in reader.reads.names.items():
            optional = name in self.state.maybe
            self.need(
                name,
                line=read.line,
                chains=read.chains,
                certain=False,
                optional=optional,
                now=True,
                called=True,
            )
            self.run_later(name, visited=set())

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension


def _declared_global(statements: Iterable[ast.stmt]) -> set[str]:
    """Return what functions and classes among `statements` may bind by ``global``."""
    names: set[str] = set()
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                names.update(node.names)
    return names
