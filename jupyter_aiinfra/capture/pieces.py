"""Pieces: what stands for one name of the notebook in the code and data that travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from jupyter_aiinfra.capture.names import Use
from jupyter_aiinfra.model import CaptureKind, ManifestItem
from jupyter_aiinfra.node.parcel import Packed

__all__ = ["Piece"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """How one name travels.

    Parameters
    ----------
    item
        Its line in the manifest; refused names have one too.
    shown
        Whether that line is worth showing: parts we made up are only shown if they are data.
    imports
        Import lines for the top of the context.
    text
        A block of the context, for what travels as source.
    origin, order
        Where the source stands in the notebook, for people and for sorting.
    uses
        What the piece needs in turn.
    values
        Values for the names we made up in `text`, and how to call them towards the user.
    """

    name: str
    item: ManifestItem
    shown: bool = True
    imports: tuple[str, ...] = ()
    text: str = ""
    origin: str = ""
    order: tuple[int, int] = (0, 0)
    postponed: bool = False
    uses: Mapping[str, Use] = field(default_factory=dict)
    written: frozenset[str] = frozenset()
    values: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    module: ModuleType | None = None
    packed: Packed | None = None

    @property
    def refused(self) -> bool:
        """Whether the name cannot travel."""
        return self.item.kind is CaptureKind.REFUSED
