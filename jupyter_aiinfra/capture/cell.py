"""A cell and all that it needs of the notebook, ready to run as a script somewhere else."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_aiinfra.capture.context import compose
from jupyter_aiinfra.capture.imports import submodule_lines
from jupyter_aiinfra.capture.modules import LocalModule, LocalModules, imported
from jupyter_aiinfra.capture.names import Names, analyse
from jupyter_aiinfra.capture.needs import Need, Needs
from jupyter_aiinfra.capture.pieces import Piece
from jupyter_aiinfra.capture.routes import Router
from jupyter_aiinfra.capture.sources import SourceIndex
from jupyter_aiinfra.capture.syntax import parse
from jupyter_aiinfra.capture.together import join, parcels
from jupyter_aiinfra.errors import CaptureError, UsageError, did_you_mean
from jupyter_aiinfra.model import CaptureKind, Manifest, ManifestItem
from jupyter_aiinfra.node import parcel

__all__ = ["Capture", "capture_cell", "module_items", "no_variables"]

_RANK = {
    CaptureKind.REFUSED: 0,
    CaptureKind.TENSOR: 1,
    CaptureKind.ARRAY: 2,
    CaptureKind.DATA: 3,
    CaptureKind.SOURCE: 4,
    CaptureKind.MODULE: 5,
    CaptureKind.IMPORT: 6,
    CaptureKind.MISSING: 7,
}


@dataclass(frozen=True, kw_only=True)
class Capture:
    """What leaves the notebook with a cell.

    Parameters
    ----------
    manifest
        What the user sees of it.
    cell
        The text to run.
    context
        Imports and definitions to run before it, in the same namespace; may be empty.
    variables
        The manifest of parcels: a header of versions, and an entry for each variable.
    blobs
        For each digest the buffers that make it up. They are views onto the notebook's own
        memory: to be sent before the next cell changes it.
    sources
        Files of local modules, by their path below a folder that is to be on ``sys.path``.
    values
        The variables themselves, by name: for those who carry them in another way than in parcels.
    """

    manifest: Manifest
    cell: str
    context: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    blobs: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    sources: Mapping[str, Path] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def capture_cell(
    source: str,
    namespace: Mapping[str, Any],
    *,
    index: SourceIndex,
    send: Sequence[str] = (),
    keep: Sequence[str] = (),
    fetch: Sequence[str] = (),
    secrets: Sequence[str] = (),
    root: Path,
) -> Capture:
    """Find what the cell `source` needs of the notebook. Starts and changes nothing.

    Parameters
    ----------
    namespace
        The notebook's names: the ``__dict__`` of its ``__main__``.
    send
        Names to send though the cell does not visibly use them.
    keep
        Names (of variables, or of local packages) that are not to be sent.
    fetch
        Names to be brought back; listed as missing when the cell never binds them.
    secrets
        Names that the ranks find in their environment; the cell may use them as variables.
    root
        Folder of the notebook; files of local modules are shown relative to it.

    Raises
    ------
    CaptureError
        The cell is not Python, or uses what cannot travel or is nowhere. Names everything at once.
    UsageError
        A name in `send` that is not there, or one in `fetch` that is no name.
    """
    tree = parse(source)
    _check_names(namespace, send=send, keep=keep, fetch=fetch)
    names = analyse(tree.body)
    modules = LocalModules(keep=keep)
    router = Router(namespace, index=index, modules=modules, secrets=secrets)
    needs = Needs(names, router=router, keep=keep)
    needs.follow(send=send)
    modules.add_all(sorted(imported(tree.body)))

    outcome = _Outcome(names, needs, router, modules, root=root, fetch=fetch)
    outcome.raise_problems(namespace)
    outcome.pieces = join(outcome.pieces, router.value)
    context = compose(outcome.pieces, extra_imports=_submodules(outcome.pieces, needs))
    packed = parcels(outcome.pieces)
    items = outcome.items(namespace)
    return Capture(
        manifest=Manifest(items=items, size_bytes=sum(item.size_bytes or 0 for item in items)),
        cell=source,
        context=context,
        variables=_variables(packed),
        blobs={digest: parts for one in packed for digest, parts in one.buffers.items()},
        sources={path: file for local in modules.found for path, file in local.files.items()},
        values={
            name: router.value(name)
            for name, piece in outcome.pieces.items()
            if piece.packed is not None
        },
    )


def no_variables() -> dict[str, Any]:
    """Return the manifest of no parcels at all."""
    return _variables([])


def module_items(modules: Iterable[LocalModule], *, root: Path) -> list[ManifestItem]:
    """Return the manifest's lines for local modules."""
    items = []
    for module in modules:
        if module.problem:
            items.append(
                ManifestItem(
                    name=module.name,
                    kind=CaptureKind.REFUSED,
                    type="module",
                    reason=f"module `{module.name}` cannot be sent: {module.problem}",
                    hint=f"install it where the pool runs, then --keep {module.name}",
                )
            )
            continue
        place = module.place
        shown = place.relative_to(root) if place.is_relative_to(root) else place
        left_out = ", ".join(module.left_out)
        items.append(
            ManifestItem(
                name=module.name,
                kind=CaptureKind.MODULE,
                type="module",
                size_bytes=module.size_bytes,
                how=f"files of {shown.as_posix()} ({len(module.files)})",
                reason=f"not sent: {left_out}" if left_out else "",
            )
        )
    return items


def _variables(packed: Sequence[parcel.Packed]) -> dict[str, Any]:
    packages = sorted({package for one in packed for package in one.entry["packages"]})
    return {
        "format": parcel.FORMAT,
        "versions": parcel.versions(packages),
        "variables": [one.entry for one in packed],
    }


def _check_names(
    namespace: Mapping[str, Any],
    *,
    send: Sequence[str],
    keep: Sequence[str],
    fetch: Sequence[str],
) -> None:
    for option, given in (("--send", send), ("--fetch", fetch)):
        for name in given:
            if not name.isidentifier():
                raise UsageError(
                    f"{option} {name!r}: not a name", hint=f"names are given as {option} a,b"
                )
    for name in send:
        if name not in namespace:
            hint = did_you_mean(name, _public(namespace)) or "run the cell that makes it first"
            raise UsageError(f"--send {name}: the notebook has no such name", hint=hint)
        if name in keep:
            raise UsageError(
                f"{name} is both to be sent and to be kept", hint="drop --send or --keep"
            )


def _public(namespace: Mapping[str, Any]) -> list[str]:
    return [name for name in namespace if not name.startswith("_")]


def _submodules(pieces: Mapping[str, Piece], needs: Needs) -> set[str]:
    lines: set[str] = set()
    for name, piece in pieces.items():
        if piece.module is not None:
            lines |= submodule_lines(piece.module, needs.needs[name].chains)
    return lines - {line for piece in pieces.values() for line in piece.imports}


class _Outcome:
    """Sorts what was found into what travels, what stays behind, and what is wrong."""

    def __init__(
        self,
        names: Names,
        needs: Needs,
        router: Router,
        modules: LocalModules,
        *,
        root: Path,
        fetch: Sequence[str],
    ) -> None:
        self._names = names
        self._needs = needs
        self._router = router
        self._modules = module_items(modules.found, root=root)
        self._fetch = fetch
        self.pieces = {name: p for name, p in needs.pieces.items() if not p.refused}
        self._broken = self._drop_broken()

    def _drop_broken(self) -> dict[str, str]:
        """Take out what cannot even be defined without a name that stays behind."""
        broken: dict[str, str] = {}
        while True:
            lost = {
                name: use.name
                for name, piece in self.pieces.items()
                for use in piece.uses.values()
                if use.now and use.certain and self._is_left(use.name)
            }
            if not lost:
                return broken
            broken.update(lost)
            for name in lost:
                del self.pieces[name]

    def _is_left(self, name: str) -> bool:
        return name in self._needs.needs and name not in self.pieces

    def raise_problems(self, namespace: Mapping[str, Any]) -> None:
        """Raise one error for everything that stands against running the cell elsewhere."""
        problems = [
            self._blamed(name, piece.item)
            for name, piece in self._needs.pieces.items()
            if piece.refused and not self._stays(name)
        ]
        problems += [item for item in self._modules if item.kind is CaptureKind.REFUSED]
        for name in sorted(self._needs.missing):
            need = self._needs.needs[name]
            if name == "get_ipython":
                problems.append(self._shell(need))
            elif self._stops(need):
                problems.append(self._missing(need, namespace))
        problems += [
            self._undefined(name)
            for name, lacks in self._broken.items()
            if lacks in self._needs.kept and not self._stays(name)
        ]
        if not problems:
            return
        lines = []
        for item in problems:
            lines.append(f"  {item.reason}")
            if item.hint:
                lines.append(f"    {item.hint}")
        count = f"{len(problems)} names" if len(problems) > 1 else f"`{problems[0].name}`"
        raise CaptureError(
            f"{count} cannot go to the ranks, so nothing was started:\n" + "\n".join(lines),
            problems,
            hint="--keep NAME leaves a name here, if the ranks can do without it",
        )

    def items(self, namespace: Mapping[str, Any]) -> tuple[ManifestItem, ...]:
        """Return the manifest's lines in the order they are shown."""
        items = [piece.item for piece in self.pieces.values() if piece.shown or piece.packed]
        items += self._modules
        items += [
            _kept_back(piece.item, piece.item.reason)
            for piece in self._needs.pieces.values()
            if piece.refused
        ]
        items += [
            _kept_back(self._needs.pieces[name].item, f"needs `{lacks}`, which stays here")
            for name, lacks in self._broken.items()
        ]
        for name in self._needs.kept:
            kind = type(self._router.value(name)).__name__ if self._router.has(name) else ""
            item = ManifestItem(name=name, kind=CaptureKind.MISSING, type=kind)
            items.append(_kept_back(item, "kept here by --keep"))
        items += [
            self._missing(self._needs.needs[name], namespace)
            for name in self._needs.missing
            if not self._bound(name) and name != "get_ipython"
        ]
        items += self._unfetchable()
        return tuple(sorted(items, key=_shown_order))

    def _stays(self, name: str) -> bool:
        """Whether a name that cannot travel may stay behind without a word."""
        need = self._needs.needs[name]
        return need.optional or need.soft

    def _bound(self, name: str) -> bool:
        return name in self._names.assigned or name in self._needs.written

    def _stops(self, need: Need) -> bool:
        unseen = self._names.star or self._names.dynamic
        written = self._names.written | self._needs.written
        return need.certain and not unseen and need.name not in written

    def _blamed(self, name: str, item: ManifestItem) -> ManifestItem:
        by = self._needs.needs[name].by
        if by is None:
            return item
        reason = f"{item.reason} (`{self._router.label(by)}` needs it)"
        return ManifestItem(
            name=item.name, kind=item.kind, type=item.type, reason=reason, hint=item.hint
        )

    def _undefined(self, name: str) -> ManifestItem:
        lacks = self._broken[name]
        return ManifestItem(
            name=self._router.label(name),
            kind=CaptureKind.REFUSED,
            type=self._needs.pieces[name].item.type,
            reason=f"`{self._router.label(name)}` cannot be made without `{lacks}`, which is kept",
            hint=f"drop --keep {lacks}, or --keep {name} as well",
        )

    def _shell(self, need: Need) -> ManifestItem:
        return ManifestItem(
            name="get_ipython",
            kind=CaptureKind.REFUSED,
            type="function",
            reason=f"`get_ipython` ({self._where(need)}) is IPython's; the ranks run plain Python",
            hint="do it in a cell of its own before this one; --keep get_ipython if the code "
            "does without it where it is not there",
        )

    def _missing(self, need: Need, namespace: Mapping[str, Any]) -> ManifestItem:
        known = {*_public(namespace), *dir(builtins), *self._names.assigned}
        if self._names.star and need.by is None:
            return ManifestItem(
                name=self._router.label(need.name),
                kind=CaptureKind.MISSING,
                type="",
                reason=f"`{need.name}` ({self._where(need)}) is taken to come from `import *`",
            )
        return ManifestItem(
            name=self._router.label(need.name),
            kind=CaptureKind.MISSING,
            type="",
            reason=f"`{need.name}` ({self._where(need)}) is neither in the notebook nor in Python",
            hint=did_you_mean(need.name, known - {need.name}),
        )

    def _where(self, need: Need) -> str:
        if need.by is not None:
            return f"read by `{self._router.label(need.by)}`"
        return f"line {need.line}"

    def _unfetchable(self) -> list[ManifestItem]:
        known = {*self._names.assigned, *self.pieces, *self._needs.written}
        if self._names.star or self._names.dynamic:
            return []
        return [
            ManifestItem(
                name=name,
                kind=CaptureKind.MISSING,
                type="",
                how="--fetch",
                reason=f"`{name}` is to be fetched, but the cell never binds it",
                hint=did_you_mean(name, known),
            )
            for name in self._fetch
            if name not in known
        ]


def _kept_back(item: ManifestItem, reason: str) -> ManifestItem:
    return ManifestItem(
        name=item.name,
        kind=CaptureKind.MISSING,
        type=item.type,
        how="kept back",
        reason=reason,
        hint=item.hint,
    )


def _shown_order(item: ManifestItem) -> tuple[int, str]:
    return _RANK[item.kind], item.name
