"""``%gpus`` and ``jupyter aiinfra gpus``: rows, words, and a table that is drawn over."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.gpus import GPU_COLUMNS, gpus
from jupyter_aiinfra.commands.live import live_table, table_lines
from jupyter_aiinfra.commands.terminal import JsonSurface, TerminalSurface
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import Job, Node, Placement
from jupyter_aiinfra.telemetry import board
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import POOL, House, a_spec
from tests.support.readings import GIB, a_gpu, a_sample


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setattr(board, "TICK_SECONDS", 0.05)
    return FakeCluster([Node(name="n0", address="n0"), Node(name="n1", address="n1")])


@pytest.fixture
def house(tmp_path: Path, cluster: FakeCluster) -> Iterator[House]:
    house = House(tmp_path, cluster)
    yield house
    house.close()


def run(house: House, *words: str) -> None:
    session = house.session()
    surface = JsonSurface(session) if "--json" in words else TerminalSurface(session)
    plain = [word for word in words if word != "--json"]
    invoke(gpus, plain, name="gpus", context=Context(session=session, surface=surface))


def test_a_row_a_gpu_and_one_for_a_node_without(
    house: House, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = {"pid": 9, "mem": GIB, "user": "ada", "job": "0abc", "seat": 1}
    other = {"pid": 10, "mem": GIB, "user": "bob"}
    slice_ = a_gpu(7, parent=a_gpu(0)["uuid"], index=1, util=None, mem_used=None, power_w=None)
    lost = a_gpu(2, lost=True)
    cluster.read("n0", a_sample(a_gpu(0, procs=[ours, other]), slice_, lost))
    cluster.read("n1", a_sample())
    run(house, POOL)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    whole = ["n0", "0", "H100", "80GB", "HBM3", "50", "%", "40G/80G", "350/700", "W", "55", "°C"]
    assert lines[2] == [*whole, "0abc:1", "bob", "10"]
    assert lines[3][:8] == ["n0", "slice", "1", "H100", "80GB", "HBM3", "n/a", "n/a"]
    assert lines[4][:6] == ["n0", "2", "H100", "80GB", "HBM3", "lost"]
    assert lines[5] == ["n1", "no", "GPU", "12", "%", "100G/512G", "64", "CPUs"]
    assert " ".join(lines[6]) == "1/2 GPUs in use, 50 % busy, 40G of memory"


def test_no_gpu_is_said(
    house: House, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    for node in ("n0", "n1"):
        cluster.read(node, a_sample(problems=["no NVIDIA driver"]))
    run(house)
    assert capsys.readouterr().out.splitlines()[-1] == "no GPU; no NVIDIA driver"


def test_what_does_not_answer_says_why(
    house: House, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.reachable = False
    run(house)
    assert f"pool {POOL} does not answer" in capsys.readouterr().out


def test_a_job_by_a_beginning_of_its_id(
    house: House, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    store = house.attached().store
    placed = Placement(node="n1", gpus=(a_gpu(1)["uuid"],))
    store.add_job(Job(id="0abcdefghjkm", pool=POOL, spec=a_spec(gpus=1), placement=(placed,)))
    cluster.read("n1", a_sample(a_gpu(0), a_gpu(1)))
    run(house, "0abcd", "--json")
    (pool,) = json.loads(capsys.readouterr().out)
    (node,) = pool["nodes"]
    (gpu,) = node["gpus"]
    assert (node["name"], gpu["index"], gpu["power_watts"]) == ("n1", 1, 350.0)
    assert gpu["nvlink_rx_bytes_per_second"] is None


def test_what_is_neither_pool_nor_job_is_named(house: House) -> None:
    with pytest.raises(UsageError, match="'fak' is no pool") as refused:
        run(house, "fak")
    assert POOL in refused.value.hint


def test_without_a_pool(tmp_path: Path, cluster: FakeCluster) -> None:
    house = House(tmp_path / "other", cluster)
    session = house.session()
    session.engine.store.remove_pool(POOL)
    with pytest.raises(UsageError, match="no pool is attached"):
        invoke(
            gpus,
            [],
            name="gpus",
            context=Context(session=session, surface=TerminalSurface(session)),
        )
    house.close()


def test_watching_ends_with_an_interrupt_and_so_does_the_reading(
    house: House, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.read("n0", a_sample(a_gpu(0)))
    shown: list[tuple[Sequence[Sequence[str]], str]] = []

    class Drawn:
        def show(
            self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, below: str, value: Any
        ) -> None:
            assert tuple(columns) == GPU_COLUMNS
            shown.append((rows, below))
            if len(shown) == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(TerminalSurface, "live", lambda _: contextlib.nullcontext(Drawn()))
    monkeypatch.setattr("jupyter_aiinfra.telemetry.sampler._LINGER_SECONDS", 0.0)
    run(house, POOL, "--watch")
    assert len(shown) == 3
    assert "Ctrl+C" in shown[-1][1]
    session = house._sessions[-1]

    async def over() -> None:
        import asyncio

        while any(cluster.probes.values()):  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.01)

    session.run(over())


class Screen(io.StringIO):
    """A terminal of a fixed size."""

    def __init__(self) -> None:
        super().__init__()
        self.size = os.terminal_size((80, 24))

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 99


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen()
    monkeypatch.setattr(os, "get_terminal_size", lambda _: screen.size)
    monkeypatch.setenv("TERM", "xterm")
    return screen


ROWS = [["n0", str(number), "H100 80GB HBM3", "50 %", "40G/80G"] for number in range(4)]


def test_only_what_differs_is_drawn_over(screen: Screen) -> None:
    with contextlib.redirect_stdout(screen), live_table(str) as live:
        live.show(GPU_COLUMNS[:5], ROWS, below="4 GPUs", value=None)
        begin = screen.tell()
        changed = [*ROWS[:2], ["n0", "2", "H100 80GB HBM3", "99 %", "40G/80G"], ROWS[3]]
        live.show(GPU_COLUMNS[:5], changed, below="4 GPUs", value=None)
        again = screen.getvalue()[begin:]
    assert again.startswith("\x1b[6A\r")
    assert "99 %" in again
    assert "50 %" not in again
    assert again.count("\n") == 6
    assert "\x1b[2J" not in screen.getvalue()
    assert screen.getvalue().startswith("\x1b[?25l")
    assert screen.getvalue().endswith("\x1b[?25h")


def test_another_size_is_drawn_anew_and_fewer_lines_leave_none(screen: Screen) -> None:
    with contextlib.redirect_stdout(screen), live_table(str) as live:
        live.show(GPU_COLUMNS[:5], ROWS, below="4 GPUs", value=None)
        screen.size = os.terminal_size((60, 5))
        begin = screen.tell()
        live.show(GPU_COLUMNS[:5], ROWS, below="4 GPUs", value=None)
        again = screen.getvalue()[begin:]
    assert again.startswith("\x1b[H\x1b[2J")
    assert again.count("\n") == 4
    assert "2 more do not fit; 4 GPUs" in again


def test_the_widest_column_is_cut_first() -> None:
    columns = ("node", "GPU", "used by")
    rows = [("a-node-with-a-long-name", "0", "job"), ("größe", "1", "日本語" * 20)]
    for width in (80, 60, 40, 30):
        lines = table_lines(columns, rows, width=width)
        from rich.cells import cell_len

        assert all(cell_len(line) <= width for line in lines)
        assert "job" in lines[1]
    assert table_lines(columns, rows[:1], width=80)[1] == "a-node-with-a-long-name  0    job"


def test_into_a_file_one_table_follows_the_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with live_table(str) as live:
        for note in ("one", "two"):
            live.show(GPU_COLUMNS[:5], ROWS[:1], below=note, value=None)
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line in ("one", "two")] == ["one", "two"]


def test_a_line_of_json_each_second(capsys: pytest.CaptureFixture[str], house: House) -> None:
    with JsonSurface(house.session()).live() as live:
        for number in range(2):
            live.show((), (), below="", value=[number])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [[0], [1]]
