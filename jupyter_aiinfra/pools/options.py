"""The options that a pool was attached with, as the dataclass that its kind declares."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

import msgspec

from jupyter_aiinfra.errors import UsageError, did_you_mean
from jupyter_aiinfra.model import PoolRecord, from_wire

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["options_of"]

T = TypeVar("T", bound="DataclassInstance")


def options_of(record: PoolRecord, kind: type[T]) -> T:
    """Return the options of `record` as a `kind`.

    Raises
    ------
    UsageError
        An option that is unknown to this kind or of the wrong type; names it.
    """
    known = [each.name for each in fields(kind)]
    for name in record.options:
        if name not in known:
            hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
            said = f"pool {record.name}: unknown option {name!r}"
            raise UsageError(said, hint=hint, option=name)
    try:
        return from_wire(dict(record.options), kind, strict=False)
    except msgspec.ValidationError as error:
        at = re.search(r"`\$\.(\w+)`", str(error))
        raise UsageError(f"pool {record.name}: {error}", option=at[1] if at else None) from error
