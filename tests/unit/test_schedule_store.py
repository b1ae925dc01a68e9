from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from tests.schedule_suite import ScheduleSuite


@pytest.fixture
def open_again(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(open_store(Settings(home=tmp_path)))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


class TestOnSqlite(ScheduleSuite):
    pass
