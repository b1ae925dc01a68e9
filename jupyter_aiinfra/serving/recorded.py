"""What the far ends of the replay gate and of the measuring of forms share: calls in, lines out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Call", "Tell", "body_of", "place_and_device", "read_calls", "telling"]

_CALLS = "calls.jsonl"

Tell = Callable[[Any], object]


class Call(msgspec.Struct, kw_only=True):
    """A call that was recorded: the ``inputs`` of a request, and what the notebook answered."""

    inputs: Any
    outputs: Any

    @property
    def body(self) -> bytes:
        """Return it as the body of a request."""
        return body_of(self.inputs)


def place_and_device(argv: Sequence[str]) -> tuple[Path, str | None]:
    """Return the folder that `argv` names, and where it computes, whatever the manifest says."""
    place, *device = argv
    return Path(place), next(iter(device), None)


def read_calls(folder: Path) -> list[Call]:
    """Return the calls that were recorded of the package in `folder`."""
    lines = (folder / _CALLS).read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Call) for line in lines]


def body_of(inputs: Any) -> bytes:
    """Return the body of a request for `inputs`."""
    return msgspec.json.encode({"inputs": inputs})


@contextmanager
def telling() -> Iterator[Tell]:
    """Yield what writes a JSON line to standard output; all that others print goes to the error's.

    Only what is ours is an answer: models print, and so do the packages that they import.
    """
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with out:
        yield lambda value: out.write(msgspec.json.encode(value) + b"\n")
