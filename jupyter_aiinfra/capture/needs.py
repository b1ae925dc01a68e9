"""Needs: the names a cell uses, those which these use in turn, and a piece for each."""

from __future__ import annotations

import builtins
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from jupyter_aiinfra.capture.names import Names, Use
from jupyter_aiinfra.capture.pieces import Piece
from jupyter_aiinfra.capture.routes import Router

__all__ = ["Need", "Needs"]

# IPython puts names of its own there; of these, the ranks have a `display`.
_BUILTINS = (frozenset(dir(builtins)) - {"__IPYTHON__", "get_ipython"}) | {"display"}


@dataclass(kw_only=True)
class Need:
    """One name that is needed, seen over all that need it.

    Parameters
    ----------
    by
        What needs it first; ``None`` is the cell itself.
    line
        The line of the cell that needs it, if the cell does.
    certain
        The ranks surely stop with a ``NameError`` without it.
    optional
        The cell binds the name itself on some path.
    soft
        Named in annotations only.
    shadowed
        Names that the cell has surely bound by the time this one is used.
    """

    name: str
    by: str | None
    line: int | None
    certain: bool
    optional: bool
    soft: bool
    shadowed: frozenset[str]
    chains: set[tuple[str, ...]] = field(default_factory=set)

    def merge(self, other: Need) -> bool:
        """Take in another need of the same name; return whether what follows from it changed."""
        before = self.optional, self.soft, self.shadowed
        if other.certain and not self.certain:
            self.by, self.line = other.by, other.line
        self.certain = self.certain or other.certain
        self.optional = self.optional and other.optional
        if not other.soft:  # an annotation says nothing of when a name is used
            self.shadowed = other.shadowed if self.soft else self.shadowed & other.shadowed
        self.soft = self.soft and other.soft
        self.chains |= other.chains
        return before != (self.optional, self.soft, self.shadowed)


class Needs:
    """Follows what the cell needs through functions, classes and data to the end.

    After :meth:`follow`, `pieces` holds how each name travels, `needs` why it is needed, `missing`
    the names that are nowhere and `kept` those that the user keeps here.
    """

    def __init__(self, cell: Names, *, router: Router, keep: Collection[str] = ()) -> None:
        self.pieces: dict[str, Piece] = {}
        self.needs: dict[str, Need] = {}
        self.missing: set[str] = set()
        self.kept: set[str] = set()
        self._cell = cell
        self._router = router
        self._keep = frozenset(keep)
        self._queue: deque[str] = deque()

    def follow(self, *, send: Iterable[str] = ()) -> None:
        """Find everything that the cell and the names in `send` need."""
        for use in self._cell.uses.values():
            self._add(_need(use, by=None))
        for name in send:
            self._add(_need(Use(name=name, line=0, certain=True, now=True), by=None))
        while self._queue:
            name = self._queue.popleft()
            if name not in self.pieces:
                self.pieces[name] = self._router.route(name)
            self._follow(self.pieces[name], self.needs[name])

    @property
    def written(self) -> frozenset[str]:
        """Names that captured functions may bind by ``global``."""
        return frozenset().union(*(piece.written for piece in self.pieces.values()))

    def _follow(self, piece: Piece, need: Need) -> None:
        for use in piece.uses.values():
            if not use.now and use.name in need.shadowed:
                continue  # the cell has bound it before the function can run
            inner = _need(use, by=piece.name)
            inner.soft = use.soft or need.soft
            if use.now and piece.packed is None:
                inner.shadowed = frozenset()  # it is used before the cell begins
                inner.optional = need.optional or use.optional
            else:
                inner.shadowed = need.shadowed
                inner.optional = need.optional or use.optional or use.name in self._cell.assigned
            inner.certain = use.certain and not inner.optional
            self._add(inner)

    def _add(self, need: Need) -> None:
        name = need.name
        if name == "__aiinfra_load__" or self._is_builtin(name):
            return
        known = self.needs.get(name)
        if known is not None:
            if known.merge(need) and name in self.pieces:
                self._queue.append(name)
            return
        if name in self._keep:
            self.needs[name] = need
            self.kept.add(name)
        elif name == "get_ipython" or not self._router.has(name):
            if not need.soft:
                self.needs[name] = need
                self.missing.add(name)
        elif not need.soft or _is_light(self._router.value(name)):
            self.needs[name] = need
            self._queue.append(name)

    def _is_builtin(self, name: str) -> bool:
        if name not in _BUILTINS:
            return False
        if not self._router.has(name):
            return True
        value = self._router.value(name)
        wrapped = getattr(value, "__wrapped__", value)
        own = getattr(builtins, name, wrapped)
        if value is own or wrapped is own:
            return name != "display" or _is_ipython(value)
        return _is_ipython(value)  # such as its `exit` and `quit`; Python has the same


def _is_ipython(value: Any) -> bool:
    owner = value if hasattr(value, "__qualname__") else type(value)
    return str(owner.__module__).split(".")[0] == "IPython"


def _need(use: Use, *, by: str | None) -> Need:
    return Need(
        name=use.name,
        by=by,
        line=use.line if by is None and use.line else None,
        certain=use.certain,
        optional=use.optional or use.soft,
        soft=use.soft,
        shadowed=use.shadowed,
        chains=set(use.chains),
    )


def _is_light(value: Any) -> bool:
    """Whether a name in an annotation is worth sending: never data."""
    return isinstance(value, (type, type(builtins))) or type(value).__module__ == "typing"
