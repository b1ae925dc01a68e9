"""Together: variables that hold the same object travel as one, so that they still do on a rank.

An optimizer that was sent apart from its model would change parameters that nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jupyter_aiinfra.capture.pieces import Piece
from jupyter_aiinfra.errors import CaptureError
from jupyter_aiinfra.node import parcel

__all__ = ["join", "parcels"]


def join(pieces: Mapping[str, Piece], value: Callable[[str], Any]) -> dict[str, Piece]:
    """Return `pieces` with one parcel for all variables that have an object in common.

    Apart stays what one of the others' definitions needs while it runs.

    Parameters
    ----------
    value
        Returns the value of a name.

    Raises
    ------
    CaptureError
        Each of the values can be sent, but not all of them as one.
    """
    made = dict(pieces)
    packed = {name: piece.packed for name, piece in pieces.items() if piece.packed is not None}
    for found in parcel.joined(packed):
        early = _early(found, pieces)
        names = [name for name in found if name not in early]
        if len(names) < 2:  # noqa: PLR2004
            continue
        try:
            whole = parcel.pack_together({name: value(name) for name in names})
        except parcel.Unsendable as error:
            raise CaptureError(error.reason, hint=error.hint) from error
        # Whoever needs one of them while it is defined needs what all of them are made of.
        uses = {use.name: use for name in names for use in pieces[name].uses.values()}
        shown = [pieces[name].item.name for name in names if pieces[name].shown]
        for name in names:
            item = pieces[name].item
            others = ", ".join(other for other in shown if other != item.name)
            how = f"{item.how}, with {others}" if others else item.how
            made[name] = replace(pieces[name], packed=whole, uses=uses, item=replace(item, how=how))
    return made


def _early(names: Sequence[str], pieces: Mapping[str, Piece]) -> set[str]:
    """Return those of `names` that must be there before a definition that `names` need.

    A class attribute that is also held by an instance of the class is one: it is needed first,
    and the instance last, so that no order could load them at once.
    """
    reached: set[str] = set()
    queue = list(names)
    while queue:
        uses = pieces[queue.pop()].uses.values()
        found = {use.name for use in uses if use.now and use.name in pieces} - reached
        reached |= found
        queue.extend(found)
    return reached & set(names)


def parcels(pieces: Mapping[str, Piece]) -> list[parcel.Packed]:
    """Return the parcels of `pieces`, each once."""
    found = {id(piece.packed): piece.packed for piece in pieces.values()}
    return [packed for packed in found.values() if packed is not None]
