"""What is sent to a node runs on Python 3.8 with nothing but the standard library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "jupyter_aiinfra" / "node").glob("*.py"))
NEIGHBOURS = {path.stem for path in FILES}


def _imported_on_load(body: list[ast.stmt]) -> Iterator[str]:
    """Yield what importing the module imports: not what is in functions or for type checkers."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.If):
            # `if TYPE_CHECKING or __package__:` is not taken in a file that was sent.
            yield from _imported_on_load(node.orelse)
        elif isinstance(node, (ast.Try, ast.With)):
            yield from _imported_on_load(node.body)


def test_files_are_found() -> None:
    assert {"supervise", "rank", "parcel"} <= NEIGHBOURS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_python_3_8_and_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    known = {*sys.stdlib_module_names, *NEIGHBOURS}
    assert set(_imported_on_load(tree.body)) - known == set()
