"""What builds our types from data goes by one place, which makes that safe between threads."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "jupyter_aiinfra"
# These learn a type when they first meet it, and two threads at that end the process (0.22).
LEARNING = {"convert", "decode", "Decoder"}


def _uses(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in LEARNING:
            name = ast.unparse(node)
            if name.startswith("msgspec."):
                found.add(name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("msgspec"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_the_model_builds_types() -> None:
    uses = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in PACKAGE.rglob("*.py")
        # Processes of their own, which decode on their event loop and nowhere else. Decoders that
        # others use, too, of `routing`, are made while it is imported.
        if path.parent.name not in {"serving", "routing"} and (names := _uses(path))
    }
    assert uses == {
        "environments.py": {"msgspec.toml.decode"},  # makes no type of ours
        "model.py": {"msgspec.convert", "msgspec.json.decode"},
        "settings.py": {"msgspec.toml.decode"},  # makes no type of ours
    }
