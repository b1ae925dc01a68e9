"""Fixtures of more than one file: a house of engines on a fake cluster, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import House


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
