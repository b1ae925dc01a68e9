"""Our keyboard shortcuts take none of JupyterLab's own."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OURS = ROOT / "labextension" / "schema" / "settings.json"
JUPYTERLAB = Path(sysconfig.get_path("data")) / "share" / "jupyter" / "lab" / "schemas"
KEYS = ("keys", "macKeys", "winKeys", "linuxKeys")


def shortcuts(schema: Path) -> Iterator[Mapping[str, Any]]:
    yield from json.loads(schema.read_text(encoding="utf-8")).get("jupyter.lab.shortcuts", [])


def keys(shortcut: Mapping[str, Any]) -> set[tuple[str, ...]]:
    return {tuple(shortcut[name]) for name in KEYS if shortcut.get(name)}


def test_no_key_is_taken_already() -> None:
    taken = {
        key: shortcut["command"]
        for schema in JUPYTERLAB.glob("@jupyterlab/*/*.json")
        if schema.name != "package.json"
        for shortcut in shortcuts(schema)
        for key in keys(shortcut)
    }
    assert len(taken) > 50, "JupyterLab's schemas were not found"

    ours = {key for shortcut in shortcuts(OURS) for key in keys(shortcut)}

    assert ours
    assert not {key: taken[key] for key in ours & taken.keys()}
