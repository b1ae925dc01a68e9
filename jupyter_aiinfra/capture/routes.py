"""Routes: how the value behind one name of the notebook can travel, or why it cannot."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from jupyter_aiinfra.capture.credentials import find_credential
from jupyter_aiinfra.capture.definitions import Definitions
from jupyter_aiinfra.capture.imports import Imports
from jupyter_aiinfra.capture.modules import LocalModules
from jupyter_aiinfra.capture.names import Use
from jupyter_aiinfra.capture.pieces import Piece
from jupyter_aiinfra.capture.sources import SourceIndex
from jupyter_aiinfra.model import CaptureKind, ManifestItem
from jupyter_aiinfra.node import parcel

__all__ = ["Router"]

_KINDS = {
    "tensor": (CaptureKind.TENSOR, "safetensors"),
    "array": (CaptureKind.ARRAY, "buffer"),
    "data": (CaptureKind.DATA, "pickle"),
}
_HISTORY = frozenset(("In", "Out", "_dh", "_ih", "_oh"))
_JUPYTER = frozenset(
    ("IPython", "anywidget", "ipykernel", "ipywidgets", "jupyter_client", "jupyter_aiinfra")
)
# By the class that makes them what they are; parcel knows more, and finds them inside others.
_LIVE = {
    ("os", "_Environ"): (
        "the environment of this process",
        "read os.environ in the cell; pass variables with --env NAME=VALUE or --secret NAME",
    ),
    ("threading", "Thread"): ("a thread", "start it in the cell"),
    ("subprocess", "Popen"): ("a running program", "start it in the cell"),
    ("concurrent.futures._base", "Executor"): ("a pool of workers", "make it in the cell"),
    ("multiprocessing.pool", "Pool"): ("a pool of workers", "make it in the cell"),
    ("multiprocessing.process", "BaseProcess"): ("a process", "start it in the cell"),
    ("asyncio.futures", "Future"): ("a future of this process", "send its result"),
    ("_asyncio", "Future"): ("a future of this process", "send its result"),
    ("asyncio.events", "AbstractEventLoop"): ("an event loop", "use asyncio.run() in the cell"),
}
_FIXED = (str, bytes, int, float, complex, bool, type(None))


class Router:
    """Finds the way for one name at a time.

    Parameters
    ----------
    namespace
        The notebook's names.
    secrets
        Names that the ranks find in their environment.
    """

    def __init__(
        self,
        namespace: Mapping[str, Any],
        *,
        index: SourceIndex,
        modules: LocalModules,
        secrets: Collection[str] = (),
    ) -> None:
        self._namespace = namespace
        self._made: dict[str, Any] = {}
        self._labels: dict[str, str] = {}
        self._secrets = frozenset(secrets)
        self._modules = modules
        self._imports = Imports(index=index, modules=modules)
        self._definitions = Definitions(namespace, index=index)

    def has(self, name: str) -> bool:
        """Whether the notebook (or a piece found so far) has `name`."""
        return name in self._made or name in self._namespace

    def value(self, name: str) -> Any:
        """Return the value of `name`."""
        return self._made[name] if name in self._made else self._namespace[name]

    def label(self, name: str) -> str:
        """Return `name` as the user knows it."""
        return self._labels.get(name, name)

    def route(self, name: str) -> Piece:
        """Return the piece for `name`, which must be there; a refused one if it cannot travel."""
        value = self.value(name)
        piece = self._by_name(name) or self._code(name, value) or self._data(name, value)
        if piece.refused and name in self._labels:
            reason = self._spoken(name, piece.item.reason)
            piece = replace(piece, item=replace(piece.item, name=self.label(name), reason=reason))
        self._made.update(piece.values)
        self._labels.update(piece.labels)
        return piece

    # --- what must not or cannot travel ---

    def _by_name(self, name: str) -> Piece | None:
        if name not in self._secrets:
            return None
        line = f'{name} = __import__("os").environ["{name}"]'
        item = ManifestItem(
            name=name, kind=CaptureKind.SOURCE, type="secret", how="environment of the ranks"
        )
        return Piece(name=name, item=item, text=line)

    def _secret(self, name: str, value: Any) -> Piece | None:
        found = find_credential(self.label(name), value)
        if found is None:
            return None
        path, reason = found
        shown = self.label(name)
        where = "looks" if path == shown else f"looks at {path}"
        return self._refuse(
            name,
            value,
            f"`{shown}` {where} like a secret: {reason}",
            f"pass it by name: --secret {name}, and read it from os.environ"
            if path == shown
            else f"take it out, and pass it by name: --secret NAME; or --keep {name}",
        )

    def _refuse(self, name: str, value: Any, reason: str, hint: str) -> Piece:
        item = ManifestItem(
            name=self.label(name),
            kind=CaptureKind.REFUSED,
            type=type(value).__name__,
            reason=reason,
            hint=hint,
        )
        return Piece(name=name, item=item)

    def _live(self, name: str, value: Any) -> Piece | None:
        """Refuse what lives in this process only, by its type."""
        kind = type(value)
        if name in _HISTORY or kind.__module__.split(".")[0] in _JUPYTER:
            what = f"an object of Jupyter ({kind.__module__}.{kind.__qualname__})"
            reason = f"`{self.label(name)}` is {what}: it lives in the notebook only"
            return self._refuse(name, value, reason, "leave it to the notebook, outside this cell")
        for base in kind.__mro__:
            known = _LIVE.get((base.__module__, base.__qualname__))
            if known:
                what, hint = known
                return self._refuse(name, value, f"`{self.label(name)}` is {what}", hint)
        return None

    # --- code ---

    def _code(self, name: str, value: Any) -> Piece | None:
        if isinstance(value, ModuleType):
            return self._imports.module(name, value) or self._refuse(
                name,
                value,
                f"`{name}` is a module made in this process ({value.__name__})",
                "make it in the cell",
            )
        if not _is_code(value) and not self._definitions.decorated(name, value):
            return self._imports.attribute(name, value) if _is_reference(value) else None
        piece = self._imports.attribute(name, value) or self._definitions.find(name, value)
        if piece is not None or not isinstance(value, (type, FunctionType)):
            return piece
        noun = "class" if isinstance(value, type) else "function"
        problem = self._definitions.problem(value)
        return self._refuse(
            name,
            value,
            f"`{self.label(name)}` is a {noun} {problem}",
            "define it at the top of a cell and run that cell again",
        )

    # --- data ---

    def _data(self, name: str, value: Any) -> Piece:
        secret = self._secret(name, value)
        if secret is not None:
            return secret
        imported = self._imports.binding(name, value)
        if imported is not None and isinstance(value, _FIXED):
            return imported
        live = self._live(name, value)
        if live is not None:
            return imported or self._definitions.assigned(name, value) or live
        try:
            packed = parcel.pack(name, value)
        except parcel.Unsendable as error:
            piece = imported or self._definitions.assigned(name, value)
            return piece or self._refuse(name, value, self._spoken(name, error.reason), error.hint)
        if name in packed.entry["main"]:  # its pickle only says what it is called
            reason = f"`{self.label(name)}` was made by code whose source is not known"
            return self._definitions.assigned(name, value) or self._refuse(
                name, value, reason, "run the cell that makes it again"
            )
        return self._packed(name, packed)

    def _spoken(self, name: str, text: str) -> str:
        return text.replace(f"`{name}`", f"`{self.label(name)}`")

    def _packed(self, name: str, packed: parcel.Packed) -> Piece:
        entry = packed.entry
        kind, how = _KINDS[entry["route"]]
        for package in entry["packages"]:
            self._modules.add(package)
        item = ManifestItem(
            name=self.label(name), kind=kind, type=entry["type"], size_bytes=entry["bytes"], how=how
        )
        uses = {
            main: Use(name=main, line=0, certain=True, now=True, called=True)
            for main in entry["main"]
        }
        return Piece(name=name, item=item, uses=uses, packed=packed)


def _is_code(value: Any) -> bool:
    if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        return True
    # Type variables and the like are pickled as the mere name they were given.
    named = type(value).__module__ in ("typing", "typing_extensions") and hasattr(value, "__name__")
    return named and getattr(value, "__module__", None) == "__main__"


def _is_reference(value: Any) -> bool:
    """Whether `value` is something with a name of its own, such as ``numpy.sin``."""
    return callable(value) and isinstance(getattr(value, "__qualname__", None), str)
