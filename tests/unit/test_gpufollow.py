"""A surface that stays live: what it is given, and when a table is shown instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.commands import gpufollow
from jupyter_aiinfra.commands.context import Context, FollowsGpus
from jupyter_aiinfra.commands.gpus import GPU_COLUMNS, gpus
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.terminal import TerminalSurface
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import Job, Node, Placement
from jupyter_aiinfra.telemetry import Frame, board
from jupyter_aiinfra.testing import FakeCluster
from jupyter_aiinfra.widgets.gpuwire import GpusSource, Reading
from tests.support.engines import POOL, House, a_spec
from tests.support.readings import a_gpu, a_sample


class Page(TerminalSurface):
    """A surface with a reader."""

    def __init__(self, session: Session, *, is_there: bool = True) -> None:
        super().__init__(session)
        self.is_there = is_there
        self.given: list[tuple[GpusSource, Sequence[Reading], list[Any], str]] = []

    def follows(self) -> bool:
        return self.is_there

    def follow(
        self,
        source: GpusSource,
        first: Sequence[Reading],
        *,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        below: str,
    ) -> None:
        assert tuple(columns) == GPU_COLUMNS
        self.given.append((source, first, list(rows), below))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setattr(board, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(gpufollow, "_FIRST_SECONDS", 5.0)
    return FakeCluster([Node(name="n0", address="n0"), Node(name="n1", address="n1")])


@pytest.fixture
def house(tmp_path: Path, cluster: FakeCluster) -> Iterator[House]:
    house = House(tmp_path, cluster)
    yield house
    house.close()


def run(house: House, *words: str, is_there: bool = True) -> Page:
    session = house.session()
    page = Page(session, is_there=is_there)
    invoke(gpus, list(words), name="gpus", context=Context(session=session, surface=page))
    return page


def test_a_page_is_given_the_readings_and_the_table_of_the_first(
    house: House, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.read("n0", a_sample(a_gpu(0), a_gpu(1)))
    cluster.read("n1", a_sample())
    page = run(house, POOL)
    ((source, first, rows, below),) = page.given
    assert isinstance(page, FollowsGpus)
    assert capsys.readouterr().out == ""
    assert source.title == f"pool {POOL}"
    assert [row[:2] for row in rows] == [("n0", "0"), ("n0", "1"), ("n1", "")]
    assert below.startswith("2/2 GPUs in use, 50 % busy")
    ((name, frame),) = first
    assert (name, isinstance(frame, Frame)) == (POOL, True)
    session = house._sessions[-1]

    async def more() -> list[Reading]:
        async with contextlib.aclosing(source.stream()) as stream:
            async for found in stream:
                return found
        raise AssertionError

    ((_, again),) = session.run(more())
    assert isinstance(again, Frame)
    assert [gpu.index for gpu in again.gpus] == [0, 1]
    past = {each["node"]: each for each in source.past()}
    assert [len(each) for each in past["n0"]["rows"][a_gpu(0)["uuid"]]] == [1, 1, 1]
    assert "" not in past["n0"]["rows"]


def test_a_job_is_shown_rank_by_rank(house: House, cluster: FakeCluster) -> None:
    placed = Placement(node="n1", gpus=(a_gpu(1)["uuid"],))
    job = Job(id="0abcdefghjkm", pool=POOL, spec=a_spec(gpus=1), placement=(placed,))
    house.attached().store.add_job(job)
    cluster.read("n1", a_sample(a_gpu(0), a_gpu(1)))
    ((source, _, rows, _),) = run(house, "0abcd").given
    assert (source.title, source.job) == ("job 0abcdefghjkm", "0abcdefghjkm")
    assert [row[1] for row in rows] == ["1"]


def test_of_many_gpus_the_page_gets_an_overview_and_the_table_is_cut(
    house: House, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_aiinfra.widgets.gpuwire.MOST_ROWS", 3)
    monkeypatch.setattr(gpufollow, "MOST_ROWS", 3)
    cluster.read("n0", a_sample(*(a_gpu(number) for number in range(4))))
    cluster.read("n1", a_sample())
    ((source, first, rows, _),) = run(house).given
    assert first == ()
    assert len(rows) == 4
    assert rows[-1][0] == "and 2 more"
    assert source.past() == []


def test_where_nobody_is_or_nothing_can_be_read_there_is_a_table(
    house: House, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    for node in ("n0", "n1"):
        cluster.read(node, a_sample(a_gpu(0)))
    assert run(house, POOL, is_there=False).given == []
    assert "H100" in capsys.readouterr().out
    placed = Placement(node="gone")
    job = Job(id="0abcdefghjkm", pool=POOL, spec=a_spec(), placement=(placed,))
    house.attached().store.add_job(job)
    with pytest.raises(UsageError, match="gone is no node of pool"):
        run(house, job.id)


def test_a_pool_that_does_not_answer_is_shown_and_tried_on(
    house: House, cluster: FakeCluster
) -> None:
    cluster.reachable = False
    ((_, _, rows, _),) = run(house, POOL).given
    assert {row[3] for row in rows} == {"unreachable"}


def test_a_node_that_says_nothing_is_not_waited_for_long(
    house: House, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpufollow, "_FIRST_SECONDS", 0.5)
    cluster.read("n0", a_sample(a_gpu(0)))
    ((_, _, rows, _),) = run(house, POOL).given
    assert [row[3] for row in rows] == ["50 %", "waiting"]
