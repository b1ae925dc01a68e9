"""Packages of a notebook, made and loaded in this process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.promote.packaging import Package, making, package
from jupyter_aiinfra.serving.model import Served, load_model
from tests.support.notebook import Notebook

__all__ = ["loaded", "packed"]


def packed(of: Notebook, source: Any, *, lock: bool = False, **options: Any) -> Package:
    """Package `source`, a name in `of` or a thing, into a folder beside it."""
    name = source if isinstance(source, str) else "thing"
    given = of.names.get(source, source) if isinstance(source, str) else source
    told = {"name": name.replace("_", "-").lower(), "to": of.root / f"package-{name}"}
    with of.active(), pytest.MonkeyPatch.context() as patch:
        # Where local modules lie, and what git says of it, is asked of the notebook's folder.
        patch.chdir(of.root)
        patch.syspath_prepend(str(of.root))
        if not lock:
            # To list all that is installed takes longer than all the rest.
            patch.setattr(making, "environment_lock", str)
        return package(given, **{**told, "namespace": of.names, "index": of.index, **options})


@contextlib.contextmanager
def loaded(folder: Path) -> Iterator[Served]:
    """Load a package as a worker does, and forget its modules again."""
    path, before = list(sys.path), set(sys.modules)
    try:
        yield load_model(folder, warm_up=2)
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]
