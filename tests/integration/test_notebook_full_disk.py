"""A notebook that fills the disk it is saved on: said, and nothing half-written is left."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import notebook_on_full_disk
from tests.integration.test_disk_full import on_a_small_disk
from tests.support.site import Site, open_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        yield site


def told(site: Site, how: str) -> dict[str, Any]:
    root = Path(__file__).parents[2]
    program = notebook_on_full_disk.__file__
    said = on_a_small_disk(
        site, f"PYTHONPATH='{root}' '{sys.executable}' '{program}' '{site.home}' {how}"
    )
    lines = [line for line in said.splitlines() if line.startswith("TOLD ")]
    assert lines, said
    value: dict[str, Any] = json.loads(lines[-1].removeprefix("TOLD "))
    return value


def test_a_run_that_cannot_be_saved_has_failed(site: Site) -> None:
    end = told(site, "full")
    assert end["state"] == "failed"
    assert "the disk of the run directory is full" in end["reason"]
    assert "the output notebook could not be saved" in end["reason"]
    assert end["saved"] == "before\n", "what was saved before is whole"
    assert end["new"] == []


def test_a_disk_that_was_full_for_a_while_is_no_failure(site: Site) -> None:
    end = told(site, "empty")
    assert (end["state"], end["reason"]) == ("succeeded", "")
    assert end["last"] == "emptied\n"
