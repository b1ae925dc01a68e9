"""Sources: the cells run so far, so that the code behind a name of the notebook can be found."""

from __future__ import annotations

import ast
import linecache
import textwrap
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from jupyter_aiinfra.capture.names import postponed_annotations
from jupyter_aiinfra.capture.scopes import bindings, first_line

__all__ = ["Definition", "SourceIndex"]

_KEPT_PER_NAME = 16
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
_COMPOUND = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.Match,
    getattr(ast, "TryStar", ast.Try),
)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A statement of a cell that binds `name`, with its exact text at no indentation.

    `cell` counts the cells recorded, `number` is the notebook's own count, `line` the line in
    that cell. `postponed` tells whether ``from __future__ import annotations`` was in force.
    `around` are the statements it may have been compiled with: its own block, the whole cell.
    """

    name: str
    statement: ast.stmt
    source: str
    cell: int
    line: int
    number: int | None = None
    postponed: bool = False
    around: tuple[Sequence[ast.stmt], ...] = field(default=(), repr=False, compare=False)

    @property
    def order(self) -> tuple[int, int]:
        """Sorts definitions by when they ran."""
        return self.cell, self.line

    @property
    def origin(self) -> str:
        """Where this stands, for people."""
        cell = "a cell of the notebook" if self.number is None else f"In [{self.number}]"
        return f"{cell}, line {self.line}"


class SourceIndex:
    """The source of each cell that was run. The newest definition of a name wins."""

    def __init__(self) -> None:
        self._history: dict[str, deque[Definition]] = {}
        self._patches: dict[str, dict[str, Definition]] = {}
        self._cells = 0
        self._number: int | None = None
        self._postponed = False
        self._files: dict[str, SourceIndex] = {}

    def record(self, source: str, *, number: int | None = None) -> None:
        """Take note of a cell that was run, as pure Python. What does not parse is left out.

        `number` is the notebook's count, as in ``In [3]``.
        """
        self._cells += 1
        self._number = number
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return
        # A future import of one cell holds for all cells after it, as IPython has it.
        self._postponed = self._postponed or postponed_annotations(tree.body)
        lines = [line + "\n" for line in source.split("\n")]
        for block in tree.body:
            for statement in _simple([block]):
                alone = [] if statement is block else [[statement]]
                around = (*alone, [block], tree.body)
                self._record(statement, source, lines, around)

    def definition(self, name: str) -> Definition | None:
        """Return what defines `name`: a function, a class or an assignment.

        ``None`` when nothing recorded binds the name, or when the newest statement that does is
        of another kind (a loop, an import, ``with``).
        """
        newest = self.binding(name)
        return newest if newest and isinstance(newest.statement, _DEFINITIONS) else None

    def binding(self, name: str) -> Definition | None:
        """Return the newest statement of any kind that binds `name`."""
        history = self._history.get(name)
        return history[0] if history else None

    def history(self, name: str) -> tuple[Definition, ...]:
        """Return the statements that bound `name`, newest first; old ones are forgotten."""
        return tuple(self._history.get(name, ()))

    def everything(self) -> tuple[Definition, ...]:
        """Return all statements that bound a name or an attribute, and are not forgotten."""
        bound = [found for history in self._history.values() for found in history]
        return (*bound, *(found for patch in self._patches.values() for found in patch.values()))

    def patches(self, name: str) -> tuple[Definition, ...]:
        """Return what was put on `name` since it was defined, oldest first.

        That is ``name.attribute = …``, and whatever was given to ``name.register``.
        """
        return tuple(self._patches.get(name, {}).values())

    def of_file(self, filename: str) -> SourceIndex:
        """Return an index of the one cell known to Python's line cache as `filename`.

        It serves for functions of cells that ran before this index began to listen.
        """
        known = self._files.get(filename)
        if known is None:
            known = self._files[filename] = SourceIndex()
            known._postponed = self._postponed
            known._cells = -1  # before all that was heard of
            known.record("".join(linecache.getlines(filename)))
        return known

    def _record(
        self,
        statement: ast.stmt,
        source: str,
        lines: list[str],
        around: tuple[Sequence[ast.stmt], ...],
    ) -> None:
        names = bindings([_head(statement)]).names
        patched = _patched(statement)
        if not names and not patched:
            return
        text = _text(statement, source, lines)
        for name in names:
            definition = self._definition(name, statement, text, around)
            history = self._history.setdefault(name, deque(maxlen=_KEPT_PER_NAME))
            if history and history[0].source == text:
                history.popleft()  # the same cell, run again
            history.appendleft(definition)
            self._patches.pop(name, None)
        if patched:
            name, attribute = patched
            patches = self._patches.setdefault(name, {})
            patches.pop(attribute, None)
            patches[attribute] = self._definition(name, statement, text, around)

    def _definition(
        self,
        name: str,
        statement: ast.stmt,
        text: str,
        around: tuple[Sequence[ast.stmt], ...],
    ) -> Definition:
        return Definition(
            name=name,
            statement=statement,
            source=text,
            cell=self._cells,
            line=first_line(statement),
            number=self._number,
            postponed=self._postponed,
            around=around,
        )


def _simple(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield `statements` and what stands in the blocks of compound ones, in order."""
    for statement in statements:
        yield statement
        if isinstance(statement, _COMPOUND):
            for _, block in ast.iter_fields(statement):
                for part in block if isinstance(block, list) else ():
                    if isinstance(part, ast.stmt):
                        yield from _simple([part])
                    elif isinstance(part, (ast.ExceptHandler, ast.match_case)):
                        yield from _simple(part.body)


def _head(statement: ast.stmt) -> ast.AST:
    """Return `statement` without its blocks, whose statements are recorded by themselves."""
    if not isinstance(statement, _COMPOUND):
        return statement
    parts: list[ast.AST] = [
        part
        for _, value in ast.iter_fields(statement)
        for part in (value if isinstance(value, list) else [value])
        if isinstance(part, (ast.expr, ast.withitem))
    ]
    if isinstance(statement, ast.Match):
        parts += [case.pattern for case in statement.cases]
    return ast.Tuple(elts=parts, ctx=ast.Load())  # type: ignore[arg-type] # only walked


def _patched(statement: ast.stmt) -> tuple[str, str] | None:
    """Return the name that a statement puts something on, and what tells that from the rest."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        for decorator in statement.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            generic = _registered_with(called)
            if generic is not None:
                given = statement.args.posonlyargs + statement.args.args
                kind = given[0].annotation if given else None
                told = "" if kind is None else ast.unparse(kind)
                return generic, f"{ast.unparse(decorator)} {told}"
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        generic = _registered_with(statement.value.func)
        if generic is not None:
            return generic, ast.unparse(statement)
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            return target.value.id, target.attr
    return None


def _registered_with(called: ast.expr) -> str | None:
    """Return ``name`` of ``name.register``, by which a generic function gets implementations."""
    if isinstance(called, ast.Attribute) and called.attr == "register":
        return called.value.id if isinstance(called.value, ast.Name) else None
    return None


def _text(statement: ast.stmt, source: str, lines: list[str]) -> str:
    block = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    if not block:
        return ast.get_source_segment(source, statement) or ast.unparse(statement)
    end = statement.end_lineno or statement.lineno
    text = "".join(lines[first_line(statement) - 1 : end]).rstrip()
    if statement.col_offset:
        text = textwrap.dedent(text)
    try:
        parsed = ast.parse(text).body
    except SyntaxError:
        parsed = []
    same = len(parsed) == 1 and ast.dump(parsed[0]) == ast.dump(statement)
    # Text that says something else once it is cut out: other statements on its lines, or a
    # string of several lines in an indented function.
    return text if same else ast.unparse(statement)
