"""Fixtures of more than one file: a house of engines on a fake cluster, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import House
from tests.support.quickstore import quick_stores


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that others are copies of."""
    return tmp_path_factory.mktemp("migrated")


@pytest.fixture(scope="module", autouse=True)
def _quick_stores(request: pytest.FixtureRequest, migrated: Path) -> Iterator[None]:
    if getattr(request.module, "STORES_AS_THEY_ARE", False):
        yield
        return
    with quick_stores(migrated):
        yield


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.close()


@pytest.fixture
def cluster(house: House) -> FakeCluster:
    return house.cluster


@pytest.fixture
def engine(house: House) -> Engine:
    return house.attached()
