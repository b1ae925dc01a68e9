"""Names: what a piece of module-level code needs from elsewhere, found by walking its flow.

A name read before the code has surely bound it is needed. What a function reads is needed at the
moments the function can be called, which begin where its name is first read.
"""

# ruff: noqa: N802, N815 - what visit_… is called is ast.NodeVisitor's contract
from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jupyter_aiinfra.capture.flow import Flow, Loop, State, merge
from jupyter_aiinfra.capture.scopes import Function, Reads, bindings

__all__ = ["Names", "Use", "analyse", "postponed_annotations"]


@dataclass(frozen=True, kw_only=True)
class Use:
    """One name that code needs from elsewhere.

    Parameters
    ----------
    line
        Where it is first read; counts from 1.
    certain
        Some read of it surely happens: unconditional, and not inside ``try``.
    optional
        The code binds the name itself on some path to every read of it.
    now
        Read while the code itself runs, not only in the bodies of functions.
    called
        Read so that it may be called while the code itself runs, not just handed on.
    shadowed
        Names that the code has surely bound whenever this one is read.
    chains
        Attributes asked of it: ``{("nn", "functional")}``.
    soft
        Only named in annotations that need never be evaluated.
    """

    name: str
    line: int
    certain: bool = False
    optional: bool = False
    now: bool = False
    called: bool = False
    shadowed: frozenset[str] = frozenset()
    chains: frozenset[tuple[str, ...]] = frozenset()
    soft: bool = False


@dataclass(frozen=True, kw_only=True)
class Names:
    """What code needs, and what it binds (anywhere, on any path, also by ``global``).

    `written` are those that its functions may bind by ``global``. With a `star` import, or
    `dynamic` code such as ``exec``, names may come from nowhere visible.
    """

    uses: Mapping[str, Use]
    assigned: frozenset[str]
    written: frozenset[str]
    star: bool = False
    dynamic: bool = False


def postponed_annotations(statements: Iterable[ast.stmt]) -> bool:
    """Whether ``from __future__ import annotations`` is among `statements`."""
    return any(
        isinstance(statement, ast.ImportFrom)
        and statement.module == "__future__"
        and any(alias.name == "annotations" for alias in statement.names)
        for statement in statements
    )


def analyse(statements: Sequence[ast.stmt], *, postponed: bool | None = None) -> Names:
    """Return what `statements`, run one after the other in a module, need from elsewhere.

    Builtin names are reported like any other. The statements must be free of syntax errors.

    Parameters
    ----------
    postponed
        Whether annotations are left unevaluated; by default what the statements themselves say.
    """
    if postponed is None:
        postponed = postponed_annotations(statements)
    flow = _Flow(statements, postponed=postponed)
    flow.body(statements)
    return flow.finish()


class _Flow(Flow):
    """Walks the statements."""

    def body(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self.visit(statement)

    def finish(self) -> Names:
        for name in list(self.bodies):
            self.run_later(name, visited=set())
        uses = {
            name: Use(
                name=name,
                line=seen.line,
                certain=seen.certain,
                optional=seen.optional,
                now=seen.now,
                called=seen.called,
                shadowed=seen.shadowed,
                chains=frozenset(seen.chains),
            )
            for name, seen in self.seen.items()
        }
        for name in sorted(self.soft - self.assigned):
            uses.setdefault(name, Use(name=name, line=0, soft=True))
        return Names(
            uses=uses,
            assigned=frozenset(self.assigned),
            written=frozenset(self.written),
            star=self.star,
            dynamic=self.dynamic,
        )

    # --- definitions ---

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self.signature(node)
        self._define(node.name, node)
        self.bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def _define(self, name: str, node: Function) -> None:
        reader = self.reader()
        reader.function(node)
        if self.owner is not None:
            self.owner.update(reader.reads)
        else:
            self.bodies.setdefault(name, Reads()).update(reader.reads)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        if getattr(node, "type_params", ()):
            reader = self.reader()
            reader.heading(node)
            self.evaluated(reader.reads)
        else:
            for part in (*node.bases, *node.keywords):
                self.visit(part)
        outer = self.private, self.owner, self.class_globals
        methods = Reads() if self.owner is None else self.owner
        state = self.state
        names = state.own_hidden, state.own_maybe
        state.own_hidden, state.own_maybe = _type_parameters(node), set()
        self.private, self.owner = node.name, methods
        self.class_globals = frozenset(bindings(node.body).globals)
        self.body(node.body)
        self.private, self.owner, self.class_globals = outer
        self.state.own_hidden, self.state.own_maybe = names
        if self.owner is None:
            self.bodies.setdefault(node.name, Reads()).update(methods)
        self.bind(node.name)

    def visit_TypeAlias(self, node: ast.AST) -> None:
        reader = self.reader()
        reader.visit(node)
        self.soft |= reader.reads.soft
        self.bind(node.name.id)  # type: ignore[attr-defined] # Python 3.12

    # --- simple statements ---

    def visit_Assign(self, node: ast.Assign) -> None:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if isinstance(node.value, ast.Lambda) and len(names) == len(node.targets):
            self.signature(node.value)
            for name in names:
                self._define(name, node.value)
        else:
            self.hand_on(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id, line=node.lineno)
        self.visit(node.value)
        self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        reader = self.reader()
        reader.annotation(node.annotation, evaluated=True)
        self.evaluated(reader.reads)
        if node.value is not None:
            self.hand_on(node.value)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name in bindings([node]).names:
            self.bind(name)

    visit_ImportFrom = visit_Import

    def visit_Raise(self, node: ast.Raise) -> None:
        self.generic_visit(node)
        self.state.dead = True

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        if node.msg is not None:
            before = self.state.copy()
            with self.unsure():
                self.visit(node.msg)
            self.state = before

    def visit_Break(self, _node: ast.Break) -> None:
        self.loops[-1].breaks.append(self.state.copy())
        self.state.dead = True

    def visit_Continue(self, _node: ast.Continue) -> None:
        self.loops[-1].continues.append(self.state.copy())
        self.state.dead = True

    # --- compound statements ---

    def visit_If(self, node: ast.If) -> None:
        if _is_main_guard(node.test):
            self.body(node.body)  # the cell runs as __main__
            return
        self.visit(node.test)
        self.state = merge(self.branches(node.body, node.orelse))

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        forever = isinstance(node.test, ast.Constant) and bool(node.test.value)
        before = self.state.copy()
        loop = Loop()
        self.loops.append(loop)
        ends = self.branches(node.body)
        self.loops.pop()
        if forever:
            self.state = merge(loop.breaks)
            self.perhaps(self.state, node.body)
        else:
            self._after_loop(before, ends, loop, node)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        before = self.state.copy()
        loop = Loop()
        self.loops.append(loop)
        ends = self.branches([node.target, *node.body])
        self.loops.pop()
        self._after_loop(before, ends, loop, node)

    visit_AsyncFor = visit_For

    def _after_loop(
        self,
        before: State,
        ends: list[State],
        loop: Loop,
        node: ast.For | ast.AsyncFor | ast.While,
    ) -> None:
        self.state = merge([before, *ends, *loop.continues])
        with self.unsure():
            self.body(node.orelse)
        self.state = merge([self.state, *loop.breaks])
        self.perhaps(self.state, node.body)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.visit(item.optional_vars)
        if any(_may_swallow(item.context_expr) for item in node.items):
            before = self.state.copy()
            self.state = merge([before, *self.branches(node.body)])
        else:
            self.body(node.body)

    visit_AsyncWith = visit_With

    def visit_Try(self, node: ast.Try) -> None:
        before = self.state.copy()
        thrown = before.copy()  # an exception may come before anything was bound, or after
        self.perhaps(thrown, node.body)
        ends = self.branches([*node.body, *node.orelse])
        for handler in node.handlers:
            self.state = thrown.copy()
            with self.unsure():
                if handler.type is not None:
                    self.visit(handler.type)
                if handler.name is not None:
                    self.bind(handler.name)  # deleted at the handler's end, so hidden all the same
                self.body(handler.body)
            ends.append(self.state)
        if node.finalbody:
            self.state = before.copy()
            self.perhaps(self.state, [node])
            with self.unsure():
                self.body(node.finalbody)
        self.state = merge(ends)
        with self.unsure():
            self.body(node.finalbody)

    visit_TryStar = visit_Try

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        ends = []
        for case in node.cases:
            missed = self.state.copy()
            with self.unsure():
                self.visit(case.pattern)
                if case.guard is not None:
                    self.visit(case.guard)
                missed.maybe |= self.state.maybe  # a pattern may bind before it fails
                missed.own_maybe |= self.state.own_maybe
                self.body(case.body)
            ends.append(self.state)
            self.state = missed
            if case.guard is None and _matches_all(case.pattern):
                self.state.dead = True
        self.state = merge([*ends, self.state])

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self.generic_visit(node)
        if node.name:
            self.bind(node.name)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self.bind(node.rest)


def _type_parameters(node: ast.ClassDef) -> set[str]:
    return {parameter.name for parameter in getattr(node, "type_params", ())}


def _is_main_guard(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and ast.unparse(test) in (
        "__name__ == '__main__'",
        "'__main__' == __name__",
    )


def _may_swallow(manager: ast.expr) -> bool:
    """Whether a context manager is one of those that let the code after it go on."""
    function = manager.func if isinstance(manager, ast.Call) else manager
    label = getattr(function, "attr", getattr(function, "id", ""))
    return label in ("suppress", "raises", "warns", "ignored")


def _matches_all(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and (
        pattern.pattern is None or _matches_all(pattern.pattern)
    )
