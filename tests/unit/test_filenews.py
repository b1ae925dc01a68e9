from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from jupyter_aiinfra.commands.asking import Progress
from jupyter_aiinfra.commands.filenews import FileNews, transferred_lines
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.pools.abilities import Transferred, TransferStep
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.testing import FakeClock, FakeCluster, FakePool
from tests.support.engines import POOL, House
from tests.unit.test_tree import Desk, Heard


def a_step(node: str, done: int, path: str = "a") -> TransferStep:
    return TransferStep(node=node, done_bytes=done, total_bytes=1_000_000, path=path)


def test_the_nodes_are_summed_up_with_rate_and_rest() -> None:
    heard, clock = Heard(), FakeClock()
    news = Progress(heard)
    files = FileNews(news, clock=clock)
    files.hear(a_step("gpu1", 0, path=""))
    news.tell()
    clock.advance(1)
    files.hear(a_step("gpu2", 0))
    files.hear(a_step("gpu1", 500_000))
    news.tell()
    clock.advance(10)  # what is so long ago says nothing of how fast it is
    files.hear(a_step("gpu2", 500_000, path="b"))
    news.tell()
    assert heard.lines == [
        "0 B of 1 MB, 0 %",
        "500 kB of 2 MB, 25 %, 500 kB/s, 3.0 s left (a)",
        "1 MB of 2 MB, 50 % (b)",
    ]


def test_nothing_at_all_is_all_of_it() -> None:
    heard = Heard()
    news = Progress(heard)
    FileNews(news).hear(TransferStep(node="a", done_bytes=0, total_bytes=0, path="empty"))
    news.tell()
    assert heard.lines == ["0 B of 0 B, 100 % (empty)"]


def test_each_node_has_a_line() -> None:
    moved = [
        Transferred(node="gpu1", path="/d", files=1, size_bytes=5, moved_bytes=5),
        Transferred(node="gpu2", path="/d", files=3, size_bytes=5, unchanged=2),
        Transferred(node="gpu3", path="/d", problem="it is off", hint="switch it on"),
        Transferred(node="gpu4", path="/d", problem="it is off"),
    ]
    assert transferred_lines(moved, seconds=2.0, to=True) == [
        "gpu1:/d: 1 file, 5 B; 5 B moved in 2.0 s",
        "gpu2:/d: 3 files, 5 B, 2 of them unchanged; 0 B moved in 2.0 s",
        "gpu3: not all is there: it is off",
        "  fix: switch it on",
        "gpu4: not all is there: it is off",
    ]
    (line,) = transferred_lines(moved[:1], seconds=2.0, to=False)
    assert line == "/d from gpu1: 1 file, 5 B; 5 B moved in 2.0 s"


class Movers(FakeCluster):
    def opener(self, record: PoolRecord, settings: Settings) -> Pool:
        return Mover(self, name=record.name)


class Mover(FakePool):
    async def put_files(
        self,
        source: Path,
        target: str,
        *,
        nodes: Sequence[str],
        report: Callable[[TransferStep], None],
    ) -> Sequence[Transferred]:
        report(a_step("gpu1", 1))
        problem = None if nodes else "it is off"
        return [
            Transferred(node=node, path=f"{source}>{target}", problem=problem)
            for node in nodes or ("gpu1", "gpu2")
        ]

    async def get_files(
        self,
        source: str,
        target: Path,
        *,
        node: str | None,
        report: Callable[[TransferStep], None],
    ) -> Transferred:
        return Transferred(node=node or "gpu1", path=f"{source}>{target}")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    house = House(tmp_path / "home", Movers())
    yield Desk(house)
    house.close()


def test_files_are_put_and_got(desk: Desk) -> None:
    assert desk(f"pool put {POOL} a b --node gpu2") == 0
    assert [each["node"] for each in desk.value] == ["gpu2"]
    assert desk(f"pool put {POOL} a b") == 1
    assert [each["problem"] for each in desk.value] == ["it is off"] * 2
    assert desk.surface.lines[-1] == ""
    desk(f"pool get {POOL} a b")
    assert desk.value["path"] == "a>b"
    desk(f"pool get {POOL} a b --node gpu2")
    assert desk.value["node"] == "gpu2"


def test_a_pool_that_is_here_has_no_files_of_its_own(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    desk = Desk(house)
    with pytest.raises(UsageError, match="have no files of their own"):
        desk(f"pool put {POOL} a b")
    house.close()
