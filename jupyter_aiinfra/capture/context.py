"""The context: imports and definitions of the notebook as one readable Python file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from jupyter_aiinfra.capture.names import Use
from jupyter_aiinfra.capture.pieces import Piece

__all__ = ["compose"]

_BANNER = "# What the cell uses of the notebook. Its variables are loaded after this file has run."
_EMPTY = {"dict": "{}", "list": "[]", "set": "set()"}


def compose(pieces: Mapping[str, Piece], *, extra_imports: Iterable[str] = ()) -> str:
    """Return the text that defines what `pieces` define, each after all that it needs.

    Data that a definition needs while it runs is loaded just before it by
    ``__aiinfra_load__('name')``; all other data is left to whoever runs the text.
    """
    imports = {line for piece in pieces.values() for line in piece.imports} | set(extra_imports)
    blocks = []
    if any(piece.postponed for piece in pieces.values()):
        blocks.append("from __future__ import annotations")
    if imports:
        blocks.append("\n".join(sorted(imports, key=_import_order)))
    order = _Order(pieces)
    for name in sorted(pieces, key=lambda name: (pieces[name].order, name)):
        if pieces[name].text:
            order.emit(name)
    blocks.extend(f"{name} = {empty}" for name, empty in sorted(order.early.items()))
    blocks.extend(_blocks(pieces[name] for name in order.names))
    if not blocks:
        return ""
    return "\n\n".join([_BANNER, *blocks]) + "\n"


def _import_order(line: str) -> tuple[bool, bool, str]:
    return not line.startswith(("import ", "from ")), line.startswith("from "), line


def _blocks(pieces: Iterable[Piece]) -> Iterator[str]:
    """Yield each definition with the lines that load its data right above it."""
    loads = ""
    for piece in pieces:
        if piece.packed is not None:
            loads += f"__aiinfra_load__({piece.name!r})\n"
        elif piece.text:
            origin = f"# {piece.origin}\n" if piece.origin else ""
            yield f"{origin}{loads}{piece.text}"
            loads = ""


class _Order:
    """Sorts pieces: what one needs while it runs comes before it, else as in the notebook."""

    def __init__(self, pieces: Mapping[str, Piece]) -> None:
        self.names: list[str] = []
        self._pieces = pieces
        # What a definition below puts itself into while it is made, and is loaded after that.
        self.early: dict[str, str] = {}
        self._busy: set[str] = set()
        self._done: set[str] = set()

    def emit(self, name: str) -> None:
        """Put `name` next, after what it needs. Does nothing for what was met before."""
        if name in self._busy or name in self._done:
            return
        self._busy.add(name)
        needed = self._needs(name, now=True)
        for use in needed:
            self.emit(use.name)
        # What is called while it is defined needs all that its body reads.
        met = {name}
        for use in needed:
            if use.called and use.name not in met:
                met.add(use.name)
                self._ready(use.name, met)
        self._busy.discard(name)
        self._done.add(name)
        self.names.append(name)

    def _ready(self, name: str, met: set[str]) -> None:
        for use in self._needs(name, now=False):
            if use.name not in met:
                met.add(use.name)
                if not self._waits(use.name):
                    self.emit(use.name)
                    self._ready(use.name, met)
                elif use.name not in self._busy:
                    self._begin_empty(use.name)

    def _begin_empty(self, name: str) -> None:
        # A registry: its decorator needs it, and it holds what is decorated.
        piece = self._pieces[name]
        empty = _EMPTY.get(piece.item.type.split(" ")[0])
        if piece.packed is not None and empty is not None:
            self.early[name] = empty

    def _needs(self, name: str, *, now: bool) -> list[Use]:
        uses = self._pieces[name].uses.values()
        return [
            use
            for use in uses
            if use.name in self._pieces and not use.soft and (use.now or not now)
        ]

    def _waits(self, name: str) -> bool:
        """Whether `name` needs, to be defined, something that is about to be defined."""
        queue = [(name, False)]
        met = set(queue)
        while queue:
            one, called = queue.pop()
            if one in self._done and not called:
                continue  # defined already, whatever that took
            for use in self._needs(one, now=not called):
                if use.name in self._busy:
                    return True
                following = (use.name, called or use.called)
                if following not in met:
                    met.add(following)
                    queue.append(following)
        return False
