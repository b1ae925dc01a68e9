"""The files that take longest first: who shares them among processes ends sooner that way."""

from __future__ import annotations

import pytest

# By minutes of waiting, the longest first; what is not named comes after them.
_LONG = (
    "test_ssh_faults",
    "test_examples",
    "test_ssh_pool",
    "test_ssh_verbs",
    "test_ssh_training",
    "test_cell_survives",
    "test_environments",
    "test_ssh_submit_deaths",
    "test_ssh_cancel",
    "test_ssh_jobs",
    "test_track_mlflow",
    "test_disk_full",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests by their file; in a file they stay as they are."""
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
