"""``package-lock.json`` installs on every platform, from whatever registry a machine uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LOCK: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "package-lock.json").read_text(encoding="utf-8")
)["packages"]


def test_holds_no_address() -> None:
    assert [name for name, entry in LOCK.items() if "resolved" in entry] == []


def test_every_package_is_verified_by_its_digest() -> None:
    unverified = [
        name
        for name, entry in LOCK.items()
        if name and not ("integrity" in entry or "link" in entry)
    ]

    assert [name for name in unverified if not LOCK[name].get("inBundle")] == []


def test_has_the_binaries_of_all_platforms() -> None:
    # npm leaves out, without a word, an optional package that the registry lacks on that day.
    missing = {
        f"{name}: {optional}"
        for name, entry in LOCK.items()
        for optional in entry.get("optionalDependencies", {})
        if not any(other.endswith(f"node_modules/{optional}") for other in LOCK)
    }

    assert missing == set()
