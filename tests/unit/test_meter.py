"""What a node does, under MLflow's names: the machine, the GPUs of the job, node by node."""

from __future__ import annotations

import ast
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import meter, supervise
from jupyter_aiinfra.node.counters import blank
from tests.support.bench import wait_until


def fake_proc(root: Path, *, busy: int, idle: int, received: int = 1_000_000) -> str:
    (root / "net").mkdir(exist_ok=True, parents=True)
    (root / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 7 7\ncpu0 1 1 1 1\n")
    (root / "meminfo").write_text(
        "MemTotal:        1000 kB\nMemFree: 1 kB\nMemAvailable:     250 kB\nHugePages_Total: 0\n"
    )
    counters = " 0 0 0 0 0 0 0 "
    (root / "net" / "dev").write_text(
        "Inter-|   Receive  |  Transmit\n face |bytes packets\n"
        f"  lo: 0{counters}0{counters}\neth0:{received}{counters}5000000{counters}\n"
    )
    return str(root)


def test_figures_from_proc(tmp_path: Path) -> None:
    root = fake_proc(tmp_path, busy=100, idle=100)
    sampler = meter.Sampler(meter.ProcMachine(root), None)
    fake_proc(tmp_path, busy=175, idle=125, received=3_500_000)

    values = sampler.read()

    assert values["system/cpu_utilization_percentage"] == 75.0
    assert values["system/system_memory_usage_percentage"] == 75.0
    assert values["system/system_memory_usage_megabytes"] == 0.768
    assert values["system/network_receive_megabytes"] == 2.5
    assert values["system/network_transmit_megabytes"] == 0.0
    assert 0 < values["system/disk_usage_percentage"] <= 100


def test_what_proc_does_not_tell_is_left_out(tmp_path: Path) -> None:
    values = meter.Sampler(meter.ProcMachine(str(tmp_path)), None).read()

    assert {name.split("/")[1].split("_")[0] for name in values} == {"disk"}


def test_both_ways_of_reading_agree_about_this_machine() -> None:
    psutil = pytest.importorskip("psutil")
    proc, other = meter.ProcMachine(), meter.PsutilMachine(psutil)

    memory, expected = proc.memory_bytes(), other.memory_bytes()
    assert memory is not None
    assert expected is not None
    assert memory[1] == expected[1]
    assert 0 < memory[0] < memory[1]
    before, network, after = proc.network_bytes(), other.network_bytes(), proc.network_bytes()
    if before is None or network is None or after is None:  # a container without a network
        assert before is None or before == (0, 0)
        return
    assert before[0] <= network[0] <= after[0]
    assert before[1] <= network[1] <= after[1]


class FakeNvidia:
    """Two GPUs, of which the second does not tell its power; the first has a slice."""

    def __init__(self) -> None:
        self.rows = [
            {
                **blank(f"GPU-x-{number}", "H100", number),
                "lost": False,
                "util": 10 * (number + 1),
                "mem_used": (number + 1) * 25_000_000,
                "mem_total": 100_000_000,
            }
            for number in range(2)
        ]
        self.rows[0] |= {"power_w": 50.0, "power_limit_w": 200.0}
        part = {**blank("MIG-x-0", "H100 MIG", 0, "GPU-x-0"), "lost": False}
        self.rows.insert(1, {**part, "mem_used": 5_000_000, "mem_total": 10_000_000})
        self.problems: list[str] = []

    def sample(self, seconds: float) -> tuple[list[dict[str, Any]], list[str]]:
        assert seconds > 0
        return self.rows, self.problems


def read(wanted: str | None, nvidia: FakeNvidia | None = None) -> dict[str, float]:
    return meter.Gpus(nvidia or FakeNvidia(), wanted).read()  # type: ignore[arg-type]


def test_figures_of_the_gpus() -> None:
    assert read(None) == {
        "gpu_0_memory_usage_percentage": 25.0,
        "gpu_0_memory_usage_megabytes": 25.0,
        "gpu_0_utilization_percentage": 10.0,
        "gpu_0_power_usage_watts": 50.0,
        "gpu_0_power_usage_percentage": 25.0,
        "gpu_1_memory_usage_percentage": 50.0,
        "gpu_1_memory_usage_megabytes": 50.0,
        "gpu_1_utilization_percentage": 20.0,
    }


def test_a_jobs_gpus_are_numbered_as_its_code_sees_them() -> None:
    assert read("GPU-x-1")["gpu_0_utilization_percentage"] == 20.0
    assert read("1,0")["gpu_1_utilization_percentage"] == 10.0
    assert read("MIG-x-0, GPU-x-1") == {
        "gpu_0_memory_usage_percentage": 50.0,
        "gpu_0_memory_usage_megabytes": 5.0,
        "gpu_1_memory_usage_percentage": 50.0,
        "gpu_1_memory_usage_megabytes": 50.0,
        "gpu_1_utilization_percentage": 20.0,
    }


@pytest.mark.parametrize("wanted", ["", "-1", "nonsense,GPU-x-0", "7"])
def test_no_gpu_or_none_that_can_be_told(wanted: str) -> None:
    assert read(wanted) == {}


def test_one_that_is_lost_leaves_the_others_their_numbers(caplog: pytest.LogCaptureFixture) -> None:
    nvidia = FakeNvidia()
    nvidia.rows[0]["lost"] = True
    nvidia.problems = ["GPU 0 is lost"]
    gpus = meter.Gpus(nvidia, "GPU-x-0,GPU-gone,GPU-x-1")  # type: ignore[arg-type]
    with caplog.at_level("INFO"):
        for _ in range(3):
            assert {name.split("_")[1] for name in gpus.read()} == {"2"}
    assert [record.getMessage() for record in caplog.records] == ["GPU figures: GPU 0 is lost"]


def test_nodes_have_names_of_their_own_where_there_are_several() -> None:
    assert meter.prefix({}, 0) == "system/"
    assert meter.prefix({"node_count": 1}, 0) == "system/"
    assert meter.prefix({"node_count": 2}, 1) == "system/node_1/"
    sampler = meter.make_sampler({"node_count": 2, "node_rank": 1}, {})
    assert all(name.startswith("system/node_1/") for name in sampler.read())


class Faulty(meter.Sampler):
    """Fails the first time."""

    times = 0

    def read(self) -> dict[str, float]:
        self.times += 1
        if self.times == 1:
            raise ValueError("no such counter")
        return {"system/node_1/x": float(self.times)}


def test_it_keeps_what_is_read_until_its_input_ends(tmp_path: Path) -> None:
    run = supervise.Run(tmp_path)
    theirs, ours = os.pipe()
    sampler = Faulty(meter.ProcMachine(str(tmp_path)), None)
    thread = threading.Thread(
        target=meter.keep, args=(run, sampler), kwargs={"seconds": 0.01, "stdin": theirs}
    )
    thread.start()
    path = tmp_path / supervise.SYSTEM

    def kept() -> Any:
        return json.loads(path.read_text()) if path.exists() else None

    first = wait_until(kept)
    wait_until(lambda: kept()["at"] > first["at"])
    os.close(ours)
    thread.join(20)
    assert not thread.is_alive()
    os.close(theirs)
    # Without an input there is nobody to tell of the end.
    meter.keep(run, sampler, seconds=1000.0, stdin=theirs)


def test_it_is_python_of_3_8() -> None:
    ast.parse(Path(meter.__file__).read_text(), feature_version=(3, 8))
