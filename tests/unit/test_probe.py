"""The parts of the probe, with recorded answers and made-up files."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import machine, smi
from jupyter_aiinfra.node.crew import Abandoned, Crew, Errand
from jupyter_aiinfra.node.machine import Machine
from jupyter_aiinfra.node.owners import Owner, Owners, user_and_command

MIB = 1 << 20
GIB = 1 << 30


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# --- nvidia-smi ----------------------------------------------------------------------------------

SMI = """\
GPU-a, NVIDIA A100-SXM4-80GB, 0, 97, 40536, 81920, 312.45, 400.00, 61, 1410, 1593, \
0x0000000000000004, 0
GPU-b, NVIDIA RTX 6000, Ada Generation, 1, [N/A], [N/A], 49140, [Not Supported], [N/A], 35, 210, \
405, [N/A], [N/A]
"""


def test_nvidia_smi() -> None:
    first, second = smi.nvidia_smi(SMI, "GPU-a, 123, 40000\nGPU-a, 124, [N/A]\nGPU-z, 1, 2\nodd\n")
    assert (first["uuid"], first["name"], first["index"]) == ("GPU-a", "NVIDIA A100-SXM4-80GB", 0)
    assert (first["util"], first["mem_used"], first["mem_total"]) == (97, 40536 * MIB, 80 * GIB)
    assert (first["power_w"], first["power_limit_w"], first["temp_c"]) == (312.45, 400.0, 61)
    assert (first["sm_mhz"], first["mem_mhz"], first["ecc"]) == (1410, 1593, 0)
    assert first["throttle"] == ["sw_power_cap"]
    assert first["procs"] == [(123, 40000 * MIB), (124, None)]
    assert (second["name"], second["index"]) == ("NVIDIA RTX 6000, Ada Generation", 1)
    unknown = ("util", "mem_used", "power_w", "power_limit_w", "throttle", "ecc", "xid")
    assert [second[key] for key in unknown] == [None] * 7
    assert second["mem_total"] == 49140 * MIB


def test_nvidia_smi_without_devices_and_out_of_its_mind() -> None:
    assert smi.nvidia_smi("No devices were found\n") == []
    assert smi.nvidia_smi("") == []
    with pytest.raises(ValueError, match="Field"):
        smi.nvidia_smi('Field "clocks_throttle" is not a valid field to query.\n')


# --- AMD -----------------------------------------------------------------------------------------

AMD_STATIC = [
    {
        "gpu": 0,
        "asic": {"market_name": "AMD Instinct MI300X", "asic_serial": "0x5FE7A1B2C3D4E5F6"},
        "bus": {"bdf": "0000:05:00.0"},
        "limit": {"max_power": {"value": 750, "unit": "W"}},
    },
    {"gpu": 1, "asic": {"market_name": "N/A"}, "bus": {"bdf": "0000:26:00.0"}, "limit": "N/A"},
]
AMD_METRIC = [
    {
        "gpu": 0,
        "usage": {"gfx_activity": {"value": 98, "unit": "%"}},
        "power": {"socket_power": {"value": 612, "unit": "W"}, "throttle_status": "UNTHROTTLED"},
        "clock": {
            "gfx_0": {"clk": {"value": 2100, "unit": "MHz"}},
            "mem_0": {"clk": {"value": 1300, "unit": "MHz"}},
        },
        "temperature": {"edge": "N/A", "hotspot": {"value": 71, "unit": "C"}},
        "ecc": {"total_correctable_count": 4, "total_uncorrectable_count": 2},
        "mem_usage": {
            "total_vram": {"value": 196592, "unit": "MB"},
            "used_vram": {"value": 150000, "unit": "MB"},
        },
    },
    {"gpu": 1, "usage": "N/A", "power": {}, "mem_usage": {"used_vram": "N/A"}},
]


@pytest.mark.parametrize("wrapped", [False, True])
def test_amd_smi(wrapped: bool) -> None:
    def text(told: Any) -> str:
        return json.dumps({"gpu_data": told} if wrapped else told)

    metric = [AMD_METRIC[0], {**AMD_METRIC[1], "usage": {}}]
    static = [AMD_STATIC[0], {**AMD_STATIC[1], "limit": {}}]
    first, second = smi.amd_smi(text(static), text(metric))
    assert first["uuid"] == "AMD-0x5FE7A1B2C3D4E5F6"
    assert first["name"] == "AMD Instinct MI300X"
    assert (first["util"], first["power_w"], first["power_limit_w"]) == (98, 612, 750)
    assert (first["mem_used"], first["mem_total"]) == (150000 * MIB, 196592 * MIB)
    assert (first["temp_c"], first["sm_mhz"], first["mem_mhz"]) == (71, 2100, 1300)
    assert first["ecc"] == 2
    assert second["uuid"] == "AMD-0000:26:00.0"
    assert [second[key] for key in ("util", "power_w", "mem_used", "mem_total", "temp_c")] == (
        [None] * 5
    )


def test_amd_smi_says_n_a_in_place_of_whole_tables() -> None:
    [_, second] = smi.amd_smi(json.dumps(AMD_STATIC), json.dumps(AMD_METRIC))
    assert second["util"] is None
    assert second["power_limit_w"] is None


ROCM = {
    "card0": {
        "Unique ID": "0xac1b58f8c066790f",
        "Card Series": "AMD Instinct MI250X",
        "GPU use (%)": "99",
        "VRAM Total Memory (B)": "68702699520",
        "VRAM Total Used Memory (B)": "10485760",
        "Average Graphics Package Power (W)": "95.5",
        "Max Graphics Package Power (W)": "560.0",
        "Temperature (Sensor edge) (C)": "38.0",
        "Temperature (Sensor junction) (C)": "44.0",
        "sclk clock speed:": "(800Mhz)",
        "mclk clock speed:": "(1600Mhz)",
    },
    "card1": {"GPU use (%)": "0", "Average Graphics Package Power (W)": "N/A (Secondary die)"},
    "system": {"Driver version": "6.7.0"},
}


def test_rocm_smi() -> None:
    output = "WARNING: AMD GPU device(s) is/are in a low-power state.\n" + json.dumps(ROCM)
    first, second = smi.rocm_smi(output)
    assert (first["uuid"], first["name"]) == ("AMD-0xac1b58f8c066790f", "AMD Instinct MI250X")
    assert (first["util"], first["mem_used"], first["mem_total"]) == (99, 10485760, 68702699520)
    assert (first["power_w"], first["power_limit_w"], first["temp_c"]) == (95.5, 560.0, 44.0)
    assert (first["sm_mhz"], first["mem_mhz"]) == (800, 1600)
    assert (second["uuid"], second["util"], second["power_w"]) == ("AMD-1", 0, None)


def test_the_kernel_tells_of_amd_as_well(tmp_path: Path) -> None:
    device = "sys/class/drm/card1/device"
    write(tmp_path, {
        "sys/class/drm/card0/device/vendor": "0x1a03\n",
        "sys/class/drm/card1-DP-1/status": "connected\n",
        f"{device}/vendor": "0x1002\n",
        f"{device}/unique_id": "d5b1\n",
        f"{device}/gpu_busy_percent": "42\n",
        f"{device}/mem_info_vram_total": f"{64 * GIB}\n",
        f"{device}/mem_info_vram_used": f"{GIB}\n",
        f"{device}/hwmon/hwmon5/power1_average": "95000000\n",
        f"{device}/hwmon/hwmon5/power1_cap": "560000000\n",
        f"{device}/hwmon/hwmon5/temp1_input": "41000\n",
        f"{device}/hwmon/hwmon5/freq1_input": "1700000000\n",
    })  # fmt: skip
    cards = smi.Drm(str(tmp_path))
    assert cards.there
    [[row], problems] = cards.sample(1.0)
    assert problems == []
    assert (row["uuid"], row["util"], row["mem_used"]) == ("AMD-d5b1", 42, GIB)
    assert (row["power_w"], row["power_limit_w"], row["temp_c"]) == (95.0, 560.0, 41.0)
    assert (row["sm_mhz"], row["mem_mhz"]) == (1700.0, None)
    assert not smi.Drm(str(tmp_path / "other")).there


def told(*argv: str, seconds: float = 20.0) -> tuple[list[Any], list[str]]:
    tool = smi.Tool("tool", [argv], lambda text: [{"uuid": text.strip()}], seconds=100.0)
    try:
        return tool.sample(seconds)
    finally:
        tool.end()


def test_what_a_program_says() -> None:
    assert told("/bin/echo", "x") == ([{"uuid": "x"}], [])
    assert told("/nowhere/x")[1] == ["tool: No such file or directory"]
    assert told("/bin/sh", "-c", "echo no driver; exit 9") == ([], ["tool: no driver"])
    assert told("/bin/sleep", "100", seconds=0.2) == ([], ["tool does not answer"])


def test_an_answer_in_another_form_is_a_problem() -> None:
    tool = smi.Tool("tool", [["/bin/echo", "{}"]], smi.amd_smi, seconds=100.0)
    assert tool.sample(20.0)[1] == ["tool answers in a form that is not known here"]
    tool.end()


# --- the machine ---------------------------------------------------------------------------------


def stats(busy: int, idle: int, sectors: int, received: int) -> dict[str, str]:
    return {
        "proc/stat": f"cpu  {busy} 0 0 {idle} 0 0 0 0 9 9\ncpu0 1 1 1 1\n",
        "proc/meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\n",
        "proc/diskstats": f"259 0 nvme0n1 1 2 {sectors} 4 5 6 {2 * sectors} 8 9\n"
        f"259 1 nvme0n1p1 1 2 {sectors} 4 5 6 77 8 9\n  7 0 loop0 1 2 9999 4 5 6 7 8 9\n",
        "proc/net/dev": "Inter-| Receive | Transmit\n face |bytes packets\n"
        f"    lo: 999 0 0 0 0 0 0 0 999 0 0 0 0 0 0 0\n"
        f"  eth0:{received} 0 0 0 0 0 0 0 {3 * received} 0 0 0 0 0 0 0\n"
        f" bond0: 999 0 0 0 0 0 0 0 999 0 0 0 0 0 0 0\n",
    }


def test_a_machine(tmp_path: Path) -> None:
    for name in ("block/nvme0n1", "block/loop0", "class/net/eth0/device", "class/net/bond0"):
        (tmp_path / "sys" / name).mkdir(parents=True)
    write(tmp_path, stats(100, 100, 10, 100))
    seen = Machine(str(tmp_path), root=str(tmp_path))
    first = seen.read(10.0)
    assert first["cpu"] == {"percent": None, "count": os.cpu_count()}
    assert first["memory"] == {"used": 600 * 1024, "total": 1000 * 1024}
    assert first["disk"]["read_bps"] is first["net"]["rx_bps"] is None
    assert 0 < first["disk"]["used"] <= first["disk"]["total"]
    write(tmp_path, stats(130, 110, 20, 300))
    second = seen.read(12.0)
    assert second["cpu"]["percent"] == 75.0
    assert (second["disk"]["read_bps"], second["disk"]["write_bps"]) == (2560, 5120)
    assert second["net"] == {"rx_bps": 100, "tx_bps": 300}
    write(tmp_path, stats(130, 110, 5, 0))  # counters that begin anew
    third = seen.read(13.0)
    assert third["cpu"]["percent"] is None
    assert third["disk"]["read_bps"] is third["net"]["rx_bps"] is None


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    seen = Machine(str(tmp_path / "nowhere"), root=str(tmp_path))
    for at in (1.0, 2.0):
        found = seen.read(at)
        del found["cpu"]["count"]
        assert {value for part in found.values() for value in part.values()} == {None}


def test_a_container_has_only_cables_without_a_device(tmp_path: Path) -> None:
    (tmp_path / "sys/class/net/eth0").mkdir(parents=True)
    write(tmp_path, stats(1, 1, 1, 100))
    seen = Machine(str(tmp_path), root=str(tmp_path))
    seen.read(1.0)
    assert seen.read(2.0)["net"]["rx_bps"] == 0


def test_rates() -> None:
    assert machine.rate(10, 4, 2.0) == 3
    assert machine.rate(4, 10, 2.0) is None
    assert machine.rate(4, None, 2.0) is machine.rate(4, 1, None) is machine.rate(4, 1, 0) is None


# --- owners --------------------------------------------------------------------------------------


def process(root: Path, pid: int, *, parent: int = 1, start: int = 7, **environ: object) -> None:
    stat = f"{pid} (a) b) S {parent} " + " ".join(["0"] * 17) + f" {start} 0 0\n"
    words = "\0".join(f"{name}={value}" for name, value in environ.items())
    argv = "/opt/bin/python3.11\0-u\0/home/u/train.py\0--token\0s3cret\0"
    write(root, {
        f"{pid}/stat": stat, f"{pid}/environ": words, f"{pid}/comm": "python3.11\n",
        f"{pid}/cmdline": argv,
    })  # fmt: skip


def test_an_owner_is_told_without_arguments(tmp_path: Path) -> None:
    process(tmp_path, 10, AIINFRA_JOB="j", RANK=3, AIINFRA_NODE_SLOT=1, AIINFRA_NODE_RANK=1)
    owner = Owners(str(tmp_path)).of(10, 0.0)
    assert (owner.command, owner.job, owner.seat) == ("python3.11 train.py", "j", 3)


def test_ancestors_tell_of_a_job_and_reports_of_a_seat(tmp_path: Path) -> None:
    process(tmp_path, 10, AIINFRA_JOB="j", AIINFRA_RUN_DIR=tmp_path / "run")
    process(tmp_path, 11, parent=10)
    process(tmp_path, 12, parent=11)
    owners = Owners(str(tmp_path))
    assert owners.of(12, 0.0)[2:] == ("j", None)
    write(tmp_path / "run", {"ranks/5.json": '{"pid": 12}', "ranks/6.json": "{", "ranks/x": ""})
    assert owners.of(12, 1.0).seat is None  # not looked at again so soon
    assert owners.of(12, 10.0).seat == 5


def test_a_number_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    process(tmp_path, 10, AIINFRA_JOB="j", RANK=0, AIINFRA_NODE_RANK=0)
    owners = Owners(str(tmp_path))
    assert owners.of(10, 0.0).seat == 0
    process(tmp_path, 10, start=8)
    assert owners.of(10, 10.0).job is None
    (tmp_path / "10" / "stat").unlink()
    assert owners.of(10, 20.0) == Owner()


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["python", "-m", "torch.distributed.run", "x"], "python -m torch.distributed.run"),
        (["python", "-c", "secret/x.py"], "python"),
        (["/usr/bin/vllm", "serve", "secret"], "vllm"),
        (["bash", "-x", "go.sh"], "bash go.sh"),
        ([""], "python3.11"),
    ],
)
def test_commands(tmp_path: Path, argv: list[str], command: str) -> None:
    process(tmp_path, 1)
    (tmp_path / "1" / "cmdline").write_text("\0".join(argv))
    assert user_and_command(1, proc=str(tmp_path))[1] == command


# --- errands -------------------------------------------------------------------------------------


def test_one_thread_does_all_while_all_is_well() -> None:
    crew, names = Crew(), set[int]()
    errands = [Errand(lambda: names.add(threading.get_ident())) for _ in range(8)]
    for _ in range(3):
        assert crew.run(errands, 10.0) == [True] * 8
    assert len(names) == 1


def test_an_errand_that_does_not_come_back_holds_up_nobody() -> None:
    crew, go, done = Crew(), threading.Event(), list[int]()
    stuck = Errand(go.wait)
    errands = [
        Errand(lambda: done.append(1)),
        stuck,
        *(Errand(lambda: done.append(2)) for _ in "ab"),
    ]
    assert crew.run(errands, 0.4) == [True, False, True, True]
    threads = threading.active_count()
    for _ in range(5):
        # It is not begun again, and not waited for.
        began = time.monotonic()
        assert crew.run(errands, 10.0) == [True, False, True, True]
        assert time.monotonic() - began < 5
    assert threading.active_count() <= threads + 1
    go.set()
    _wait_for(lambda: stuck.began is None)
    assert crew.run(errands, 10.0) == [True] * 4


def test_an_errand_that_fails_says_how() -> None:
    def fail() -> None:
        raise KeyError("x")

    errand = Errand(fail)
    assert Crew().run([errand], 10.0) == [True]
    assert isinstance(errand.error, KeyError)


def test_a_caller_that_is_stuck_is_replaced() -> None:
    go, results, threads = threading.Event(), list[object](), list[threading.Thread]()

    def call() -> None:
        try:
            results.append(crew.run(errands, 10.0))
        except Abandoned:
            results.append("abandoned")

    def replace() -> None:
        threads.append(threading.Thread(target=call))
        threads[-1].start()

    crew = Crew(replace)
    names = set[int]()
    errands = [Errand(lambda: names.add(threading.get_ident())) for _ in range(3)]
    call()
    assert names == {threading.get_ident()}  # all is well: no thread is needed
    errands.insert(1, Errand(go.wait))
    replace()
    _wait_for(lambda: errands[1].began is not None)
    crew.look(60.0)
    assert len(threads) == 1  # it is not stuck for long
    crew.look(0.0)
    threads[1].join(20)
    assert results == [[True] * 3, [True, False, True, True]]
    crew.look(0.0)
    assert len(threads) == 2
    go.set()
    threads[0].join(20)
    assert results[2] == "abandoned"


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
