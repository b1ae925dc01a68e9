"""Which record is meant by what somebody types: a name, an id, or the beginning of an id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from jupyter_aiinfra.errors import NotFound, UsageError, did_you_mean

__all__ = ["Named", "meant", "unknown"]


class Named(Protocol):
    """What has a name for people, and an id that is used once."""

    @property
    def id(self) -> str:
        """What it is known by."""
        ...

    @property
    def name(self) -> str:
        """What people call it; may be another's later."""
        ...

    @property
    def removed_at(self) -> float | None:
        """When it was removed, and its name was free again; ``None``: it was not."""
        ...


T = TypeVar("T", bound=Named)


def meant(known: Sequence[T], name: str, kind: str) -> T | None:
    """Return the one of `known` that `name` stands for; ``None``: there is none.

    An id goes before a name, and a name before the beginning of an id. Of those who had the same
    name, one after the other, it stands for the one that has it now.

    Raises
    ------
    UsageError
        There are several.
    """
    for fits in (
        [each for each in known if each.id == name],
        [each for each in known if each.name == name and each.removed_at is None],
        [each for each in known if each.name == name],
        [each for each in known if name and each.id.startswith(name)],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            ids = ", ".join(each.id for each in fits)
            raise UsageError(f"{name!r} may be several {kind}s: {ids}", hint="give one's id")
    return None


def unknown(known: Sequence[Named], name: str, kind: str) -> NotFound:
    """Return the error that says what of `known` may have been meant by `name`."""
    names = [word for each in known for word in (each.name, each.id)]
    hint = did_you_mean(name, names) or f"%{kind} lists them"
    return NotFound(f"there is no {kind} {name!r}", hint=hint)
