"""A notebook and its ranks without a kernel: cells run in a ``__main__`` of their own."""

from __future__ import annotations

import ast
import codeop
import json
import linecache
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from jupyter_aiinfra.capture import Capture, SourceIndex, capture_cell
from jupyter_aiinfra.node import parcel

__all__ = ["Notebook", "run_on_rank"]


class Notebook:
    """Cells that were run, and what they left behind.

    Statements are compiled one by one, as IPython does. The notebook's module is
    ``sys.modules["__main__"]`` inside :meth:`active` only.
    """

    def __init__(self, root: Path) -> None:
        self.module = ModuleType("__main__")
        self.index = SourceIndex()
        self.root = root
        self._count = 0
        self._compile: Any = codeop.Compile()  # future imports hold from one cell to the next

    @property
    def names(self) -> dict[str, Any]:
        """The notebook's names."""
        return vars(self.module)

    def run(self, source: str, *, recorded: bool = True) -> Notebook:
        """Run a cell. One that is not `recorded` ran before anybody listened."""
        source = textwrap.dedent(source)
        self._count += 1
        filename = f"<cell {id(self)}-{self._count}>"
        linecache.cache[filename] = (
            len(source),
            None,
            source.splitlines(keepends=True),
            filename,
        )
        with self.active():
            for statement in ast.parse(source).body:
                module = ast.Module(body=[statement], type_ignores=[])
                exec(self._compile(module, filename, "exec"), self.names)  # noqa: S102
        if recorded:
            self.index.record(source, number=self._count)
        return self

    def capture(self, cell: str, **options: Any) -> Capture:
        """Capture a cell."""
        with self.active():
            return capture_cell(
                textwrap.dedent(cell),
                self.names,
                index=self.index,
                root=options.pop("root", self.root),
                **options,
            )

    @contextmanager
    def active(self) -> Iterator[None]:
        """Be the ``__main__`` of this process."""
        with _main(self.module):
            yield


def run_on_rank(capture: Capture) -> Mapping[str, Any]:
    """Run what was captured as a rank does, from its text and bytes alone; return its names."""
    module = ModuleType("__main__")
    names = vars(module)
    entries: dict[str, dict[str, Any]] = {}
    for entry in json.loads(json.dumps(capture.variables))["variables"]:
        entries.update(dict.fromkeys(entry.get("names", [entry["name"]]), entry))
    blobs = {
        digest: b"".join(bytes(part) for part in parts) for digest, parts in capture.blobs.items()
    }

    def load(name: str) -> None:
        entry = entries.get(name)
        if entry is not None:
            members = entry.get("names")
            value = parcel.unpack(entry, blobs.__getitem__, main=names)
            names.update(zip(members, value, strict=True) if members else [(name, value)])
            for member in members or [name]:
                del entries[member]

    with _main(module):
        names["__aiinfra_load__"] = load
        exec(compile(capture.context, "context.py", "exec", dont_inherit=True), names)  # noqa: S102
        for name in list(entries):
            load(name)
        del names["__aiinfra_load__"]
        exec(compile(capture.cell, "cell.py", "exec", dont_inherit=True), names)  # noqa: S102
    return names


@contextmanager
def _main(module: ModuleType) -> Iterator[None]:
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = before
