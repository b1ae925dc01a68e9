"""The probe as a program, against a compiled library that pynvml reads as well."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from jupyter_aiinfra.node import packed, probe
from tests.integration.test_describe import interpreter
from tests.support.bench import wait_until
from tests.support.nvml import GIB, MockNvml, build, gpu

FILE = str(Path(probe.__file__))
_ALL_ONES = (1 << 32) - 1

# What pynvml, unmodified, says of all GPUs of the same library, in the words of a sample.
PYNVML = r"""
import json, pynvml as nvml
def ask(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except nvml.NVMLError:
        return None
def scaled(value, by):
    return None if value is None else value / by
nvml.nvmlInit()
rows = []
for index in range(nvml.nvmlDeviceGetCount()):
    gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = ask(nvml.nvmlDeviceGetMemoryInfo, gpu, version=nvml.nvmlMemory_v2)
    use = ask(nvml.nvmlDeviceGetUtilizationRates, gpu)
    encoder = ask(nvml.nvmlDeviceGetEncoderUtilization, gpu)
    decoder = ask(nvml.nvmlDeviceGetDecoderUtilization, gpu)
    processes = ask(nvml.nvmlDeviceGetComputeRunningProcesses, gpu)
    sm, mem = nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_MEM
    rows.append({
        "uuid": nvml.nvmlDeviceGetUUID(gpu), "name": nvml.nvmlDeviceGetName(gpu), "index": index,
        "util": use and use.gpu,
        "mem_used": memory and memory.used, "mem_total": memory and memory.total,
        "power_w": scaled(ask(nvml.nvmlDeviceGetPowerUsage, gpu), 1000),
        "power_limit_w": scaled(ask(nvml.nvmlDeviceGetEnforcedPowerLimit, gpu), 1000),
        "temp_c": ask(nvml.nvmlDeviceGetTemperature, gpu, nvml.NVML_TEMPERATURE_GPU),
        "sm_mhz": ask(nvml.nvmlDeviceGetClockInfo, gpu, sm),
        "mem_mhz": ask(nvml.nvmlDeviceGetClockInfo, gpu, mem),
        "ecc": ask(nvml.nvmlDeviceGetTotalEccErrors, gpu, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                   nvml.NVML_VOLATILE_ECC),
        "enc": encoder and encoder[0], "dec": decoder and decoder[0],
        "procs": processes and [[each.pid, each.usedGpuMemory] for each in processes],
    })
print(json.dumps(rows))
"""


class Stream:
    """A running probe, and its samples as they come."""

    def __init__(self, argv: list[str], environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._lines: Queue[tuple[float, bytes]] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put((time.monotonic(), line))

    def next(self, seconds: float = 60.0) -> dict[str, Any]:
        """Return the next sample."""
        try:
            sample: dict[str, Any] = json.loads(self._lines.get(timeout=seconds)[1])
        except Empty:
            pytest.fail(f"no sample within {seconds} s")
        return sample

    def until(self, wanted: Callable[[dict[str, Any]], Any], seconds: float = 60.0) -> Any:
        """Return the first sample from now on that is as `wanted`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            sample = self.next()
            if wanted(sample):
                return sample
        pytest.fail(f"no such sample within {seconds} s; the last is {sample}")

    def drain(self) -> None:
        """Pass over the samples that are already here."""
        while not self._lines.empty():
            self._lines.get()

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def close(self, seconds: float = 5.0) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(seconds)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def mock(tmp_path: Path, library: Path) -> MockNvml:
    return MockNvml(tmp_path / "nvml", library)


@pytest.fixture
def start() -> Iterator[Callable[..., Stream]]:
    running: list[Stream] = []

    def run(environ: dict[str, str], seconds: float = 0.2, *, program: str = FILE) -> Stream:
        stream = Stream([sys.executable, "-I", "-S", program, str(seconds)], environ)
        running.append(stream)
        return stream

    yield run
    for stream in running:
        stream.end()


def fill(mock: MockNvml, number: int, **changes: Any) -> None:
    mock.gpus = [gpu(index, **changes) for index in range(number)]
    mock.write()


def of(sample: dict[str, Any], index: int) -> dict[str, Any]:
    [found] = [each for each in sample["gpus"] if each["index"] == index and not each["parent"]]
    return dict(found)


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 8, 16])
def test_pynvml_says_the_same(mock: MockNvml, start: Callable[..., Stream], number: int) -> None:
    fill(mock, number, procs=f"{os.getpid()}:{GIB},1:{2 * GIB}")
    if number > 1:
        mock.set(1, ecc=None, power=None, enc=None, name="NVIDIA Ünïcode 日本 ™")
    answer = subprocess.run(
        [sys.executable, "-c", PYNVML],
        env=mock.environ(CUDA_VISIBLE_DEVICES="0"),
        capture_output=True,
        check=True,
        timeout=60,
    )
    expected = json.loads(answer.stdout)
    sample = start(mock.environ(CUDA_VISIBLE_DEVICES="0"), 5.0).next()
    assert len(expected) == number
    for row in sample["gpus"]:
        row["procs"] = row["procs"] and [[each["pid"], each["mem"]] for each in row["procs"]]
    told = [{key: row[key] for key in expected[0]} for row in sample["gpus"]]
    assert told == expected
    assert sample["problems"] == []


def test_rates_of_counters_that_grow(mock: MockNvml, start: Callable[..., Stream]) -> None:
    fill(mock, 1, nvlink_tx=1000, nvlink_rx=1 << 50, pcie_tx_bytes=0, pcie_rx_bytes=5, xid=0)
    stream = start(mock.environ(), 0.5)
    first = of(stream.next(), 0)
    assert first["nvlink_tx_bps"] is first["pcie_rx_bps"] is None
    assert first["xid"] == 0
    still = of(stream.next(), 0)
    assert (still["nvlink_tx_bps"], still["pcie_tx_bps"]) == (0, 0)
    mock.set(0, nvlink_tx=1000 + 4096, pcie_tx_bytes=1 << 20, xid=79)
    row = of(stream.until(lambda sample: of(sample, 0)["nvlink_tx_bps"]), 0)
    assert row["nvlink_tx_bps"] == pytest.approx(2 * 4096 * 1024, rel=0.5)
    assert row["pcie_tx_bps"] == pytest.approx(2 << 20, rel=0.5)
    assert row["xid"] == 79
    mock.set(0, nvlink_tx=3)  # the counter begins anew
    assert of(stream.until(lambda sample: of(sample, 0)["nvlink_tx_bps"] is None), 0)["util"] == 10


def test_links_are_summed_where_there_is_no_sum(
    mock: MockNvml, start: Callable[..., Stream]
) -> None:
    fill(mock, 1, nvlink_tx=0, nvlink_rx=0, links=18, per_link=1)
    stream = start(mock.environ(), 0.5)
    assert of(stream.until(lambda sample: sample["seq"] > 0), 0)["nvlink_tx_bps"] == 0
    mock.set(0, nvlink_tx=18 * 1024)
    row = of(stream.until(lambda sample: of(sample, 0)["nvlink_tx_bps"]), 0)
    assert row["nvlink_tx_bps"] == pytest.approx(2 * 18 * 1024 * 1024, rel=0.5)


@pytest.mark.parametrize("narrow", [{}, {"pcie_tx_bytes": 7, "pcie_rx_bytes": 7, "pcie_narrow": 1}])
def test_slow_pcie_counters_delay_nothing(
    mock: MockNvml, start: Callable[..., Stream], narrow: dict[str, int]
) -> None:
    fill(mock, 8, slow="nvmlDeviceGetPcieThroughput:150", **narrow)
    stream = start(mock.environ(), 0.25)
    stream.next()
    sample = stream.until(lambda sample: of(sample, 7)["pcie_rx_bps"] is not None)
    assert of(sample, 7)["pcie_rx_bps"] == 2007 * 1024
    assert of(sample, 7)["pcie_tx_bps"] == 1007 * 1024
    assert sample["problems"] == []


def test_huge_values_and_those_that_stand_for_none(
    mock: MockNvml, start: Callable[..., Stream]
) -> None:
    fill(mock, 2, ecc=(1 << 63) + 1, mem_total=1 << 59, power=_ALL_ONES - 1, reasons=0x8000000048)
    mock.set(1, util=_ALL_ONES, temp=_ALL_ONES, ecc=(1 << 64) - 1, mem_used=(1 << 64) - 1)
    mock.set(1, mem_reserved=0, procs=f"1:{(1 << 64) - 1}", enc=101, reasons=1)
    sample = start(mock.environ()).next()
    huge, none = of(sample, 0), of(sample, 1)
    assert (huge["ecc"], huge["mem_total"]) == ((1 << 63) + 1, 1 << 59)
    assert huge["power_w"] == pytest.approx(4294967.294)
    assert huge["throttle"] == ["hw_slowdown", "hw_thermal", "reason_39"]
    assert [none[key] for key in ("util", "temp_c", "ecc", "mem_used", "enc")] == [None] * 5
    assert none["procs"][0]["mem"] is None
    assert none["throttle"] == []  # idle


def test_mig_slices_follow_their_gpu(mock: MockNvml, start: Callable[..., Stream]) -> None:
    fill(mock, 2)
    me = os.getpid()
    mock.set(1, mig=1, procs=f"{me}:{GIB},1:5")
    mock.slices[1] = [
        {"uuid": f"MIG-{n}", "name": f"H100 MIG {n}g", "mem_total": n * GIB, "mem_used": n,
         "procs": f"{me}:{GIB}" if n == 2 else ""}
        for n in (1, 2)
    ]  # fmt: skip
    mock.write()
    stream = start(mock.environ())
    rows = stream.next()["gpus"]
    assert [row["uuid"][:4] for row in rows] == ["GPU-", "GPU-", "MIG-", "MIG-"]
    assert [row["parent"] for row in rows] == [None, None, *[rows[1]["uuid"]] * 2]
    assert [row["util"] for row in rows] == [10, None, None, None]
    assert [row["mem_total"] for row in rows[2:]] == [GIB, 2 * GIB]
    assert [each["pid"] for each in rows[3]["procs"]] == [me]
    assert [each["pid"] for each in rows[1]["procs"]] == [1]  # what no slice tells of
    del mock.slices[1][0]
    mock.write()
    stream.until(lambda sample: len(sample["gpus"]) == 3)


def test_processes_belong_to_someone(mock: MockNvml, start: Callable[..., Stream]) -> None:
    told = {
        "AIINFRA_JOB": "j-1", "AIINFRA_NODE_SLOT": "2", "AIINFRA_NODE_RANK": "1",
        "AIINFRA_PROCS": "4", "RANK": "5", "LOCAL_RANK": "1",
    }  # fmt: skip
    child = 'import subprocess, sys; subprocess.run(["/bin/sleep", "100"], env={})'
    with subprocess.Popen([sys.executable, "-c", child], env=told) as process:
        try:
            listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            [grandchild] = wait_until(lambda: listed.read_text().split())
            wait_until(lambda: Path(f"/proc/{grandchild}/comm").read_text() == "sleep\n")
            fill(mock, 1, procs=f"{process.pid}:1,{grandchild}:2,{1 << 30}:3")
            found = of(start(mock.environ()).next(), 0)["procs"]
        finally:
            subprocess.run(["/bin/kill", grandchild], check=True)
    # Seat 2 * 4 + 1: an attempt on fewer nodes numbers its ranks anew.
    assert [(each["job"], each["seat"]) for each in found] == [("j-1", 9), ("j-1", 9), (None, None)]
    assert found[1]["cmd"] == "sleep"
    assert found[2] == {
        "pid": 1 << 30, "mem": 3, "user": None, "cmd": None, "job": None, "seat": None,
    }  # fmt: skip


# --- what goes wrong -----------------------------------------------------------------------------

COUNTERS = {
    "nvmlDeviceGetUtilizationRates": ["util"],
    "nvmlDeviceGetPowerUsage": ["power_w"],
    "nvmlDeviceGetEnforcedPowerLimit": ["power_limit_w"],
    "nvmlDeviceGetTemperature": ["temp_c"],
    "nvmlDeviceGetClockInfo": ["sm_mhz", "mem_mhz"],
    "nvmlDeviceGetEncoderUtilization": ["enc"],
    "nvmlDeviceGetDecoderUtilization": ["dec"],
    "nvmlDeviceGetTotalEccErrors": ["ecc"],
    "nvmlDeviceGetFieldValues": ["nvlink_tx_bps", "nvlink_rx_bps"],
    "nvmlEventSetCreate": ["xid"],
}
_RATES = {"pcie_tx_bps", "pcie_rx_bps"}


@pytest.mark.parametrize("name", COUNTERS)
@pytest.mark.parametrize("how", ["absent", "3", "4", "999"])
def test_a_missing_counter_costs_its_field(
    tmp_path: Path, library: Path, start: Callable[..., Stream], name: str, how: str
) -> None:
    if how == "absent":
        library = build(tmp_path / "library", without=[name])
    mock = MockNvml(tmp_path / "nvml", library)
    changes = {} if how == "absent" else {"fail": f"{name}:{how}"}
    fill(mock, 1, nvlink_tx=1, nvlink_rx=1, xid=0, **changes)
    mock.driver = dict(changes)
    mock.write()
    stream = start(mock.environ(), 0.1)
    row = of(stream.until(lambda sample: sample["seq"] > 0), 0)
    unknown = {key for key, value in row.items() if value is None} - {"parent"} - _RATES
    assert unknown == set(COUNTERS[name])


def test_a_missing_counter_is_asked_for_only_now_and_then(
    mock: MockNvml, start: Callable[..., Stream], tmp_path: Path
) -> None:
    fill(mock, 4, power=None)
    trace = tmp_path / "trace"
    stream = start(mock.environ(MOCK_NVML_TRACE=str(trace)), 0.1)
    stream.until(lambda sample: sample["seq"] > 10)
    names = trace.read_text().split()
    assert names.count("nvmlDeviceGetPowerUsage") == 4
    assert names.count("nvmlDeviceGetTemperature") >= 40


@pytest.mark.parametrize(
    "absent", [("Memory", "MemoryInfo_v2"), ("Clocks", "CurrentClocksEventReasons")]
)
def test_older_forms_of_calls(
    tmp_path: Path, start: Callable[..., Stream], absent: tuple[str, str]
) -> None:
    processes = [f"ComputeRunningProcesses{version}" for version in ("_v2", "_v3")]
    names = [f"nvmlDeviceGet{name}" for name in (absent[1], *processes)]
    mock = MockNvml(tmp_path / "nvml", build(tmp_path / "library", without=names))
    fill(mock, 1, procs="1:5,2:6", reasons=4)
    row = of(start(mock.environ()).next(), 0)
    old = absent[0] == "Memory"
    assert row["mem_used"] == GIB + ((500 << 20) if old else 0)
    assert row["mem_total"] == 80 * GIB
    assert row["throttle"] == ["sw_power_cap"]
    assert [(each["pid"], each["mem"]) for each in row["procs"]] == [(1, 5), (2, 6)]


def test_a_hanging_gpu_leaves_the_other_seven_fresh(
    mock: MockNvml, start: Callable[..., Stream]
) -> None:
    fill(mock, 8)
    stream = start(mock.environ(), 0.5)
    before = stream.until(lambda sample: sample["seq"] > 1)
    usual = stream.threads()
    mock.set(3, hang="nvmlDeviceGetTemperature")
    stream.until(lambda sample: sample["problems"] == ["GPU 3 does not answer"])
    times = []
    for round_ in range(8):
        for index in range(8):
            if index != 3:
                mock.gpus[index]["temp"] = 50 + round_
        mock.write()
        time.sleep(0.02)  # the library looks at its file every few milliseconds
        stream.drain()
        sample = stream.next()
        times.append(sample["up"])
        for row in sample["gpus"]:
            hung = row["index"] == 3
            assert row["temp_c"] == (None if hung else 50 + round_)
            assert row["lost"] is False
        assert of(sample, 3)["uuid"] == of(before, 3)["uuid"]
        passed = (sample["up"] - before["up"]) / 0.5
        assert sample["seq"] - before["seq"] == pytest.approx(passed, abs=0.7)
    # Who took the place of the stuck one, a worker, and nothing that grows with time. One that has
    # just been told to end may still be there.
    stream.until(lambda _: stream.threads() <= usual + 2)
    mock.set(3, hang=None)
    sample = stream.until(lambda sample: of(sample, 3)["temp_c"] is not None)
    assert sample["problems"] == []
    stream.until(lambda _: stream.threads() <= usual + 2)


def test_all_hang_and_the_sample_still_comes(mock: MockNvml, start: Callable[..., Stream]) -> None:
    fill(mock, 16)
    stream = start(mock.environ(), 0.5)
    first = stream.next()
    for index in range(16):
        mock.gpus[index]["hang"] = "nvmlDeviceGetMemoryInfo_v2"
    mock.driver["hang"] = "nvmlDeviceGetCount_v2"
    mock.write()
    sample = stream.until(lambda sample: len(sample["problems"]) == 16)
    assert sample["cpu"]["percent"] is not None
    stuck = stream.threads()
    for _ in range(6):
        sample = stream.next()
    assert stream.threads() <= min(stuck + 1, 16 + 8)
    assert sample["seq"] == pytest.approx((sample["up"] - first["up"]) / 0.5, abs=0.5)
    assert stream.close() == 0  # though every thread is stuck


def test_a_slow_gpu_is_read_all_the_same(mock: MockNvml, start: Callable[..., Stream]) -> None:
    fill(mock, 4)
    mock.set(1, slow="nvmlDeviceGetUtilizationRates:300")
    stream = start(mock.environ(), 1.0)
    # It may be late once. Then it has a thread of its own, and is waited for.
    stream.until(lambda sample: all(row["util"] is not None for row in sample["gpus"]))
    for _ in range(2):
        assert [row["util"] for row in stream.next()["gpus"]] == [10, 11, 12, 13]


def test_a_gpu_falls_off_the_bus_and_comes_back(
    mock: MockNvml, start: Callable[..., Stream]
) -> None:
    fill(mock, 4)
    stream = start(mock.environ())
    uuid = of(stream.next(), 2)["uuid"]
    mock.set(2, lost=1)
    sample = stream.until(lambda sample: of(sample, 2)["lost"])
    assert of(sample, 2)["uuid"] == uuid
    assert of(sample, 2)["util"] is None
    assert sample["problems"] == ["GPU 2 is lost"]
    assert [of(sample, n)["util"] for n in (0, 1, 3)] == [10, 11, 13]
    mock.set(2, lost=None)
    assert of(stream.until(lambda sample: not sample["problems"]), 2)["util"] == 12


def test_a_gpu_vanishes_and_another_comes(mock: MockNvml, start: Callable[..., Stream]) -> None:
    fill(mock, 3)
    stream = start(mock.environ())
    stream.next()
    gone = mock.gpus.pop(0)
    mock.write()
    sample = stream.until(lambda sample: any(row["lost"] for row in sample["gpus"]))
    by_uuid = {row["uuid"]: row for row in sample["gpus"]}
    assert by_uuid[gone["uuid"]]["util"] is None
    # The others have moved up in the library's list, and are who they were.
    assert by_uuid[mock.gpus[0]["uuid"]]["util"] == 11
    mock.gpus += [gpu(7), gone]
    mock.write()
    sample = stream.until(lambda sample: len(sample["gpus"]) == 4 and not sample["problems"])
    assert sorted(row["util"] for row in sample["gpus"]) == [10, 11, 12, 17]


def test_a_driver_is_reloaded(mock: MockNvml, start: Callable[..., Stream]) -> None:
    fill(mock, 2)
    stream = start(mock.environ())
    known = [row["uuid"] for row in stream.next()["gpus"]]
    mock.driver = {"init": "9"}
    mock.write()
    sample = stream.until(lambda sample: any("not loaded" in each for each in sample["problems"]))
    assert [row["uuid"] for row in sample["gpus"]] == known
    assert [row["util"] for row in sample["gpus"]] == [None, None]
    mock.driver = {}
    fill(mock, 2, util=77)
    sample = stream.until(lambda sample: not sample["problems"])
    assert [row["util"] for row in sample["gpus"]] == [77, 77]


def test_a_driver_that_is_not_there_yet(mock: MockNvml, start: Callable[..., Stream]) -> None:
    mock.driver = {"hang": "nvmlInit_v2"}
    mock.write()
    stream = start(mock.environ())
    assert stream.next()["problems"] == ["the GPU driver does not answer"]
    mock.driver = {"init": "18"}
    mock.write()
    stream.until(lambda sample: "different versions" in sample["problems"][0])
    mock.driver = {}
    fill(mock, 1)
    assert len(stream.until(lambda sample: not sample["problems"])["gpus"]) == 1


# --- the program ---------------------------------------------------------------------------------


def test_ticks_do_not_drift(mock: MockNvml, start: Callable[..., Stream]) -> None:
    fill(mock, 1)
    stream = start(mock.environ(), 0.2)
    first = stream.next()
    last = stream.until(lambda sample: sample["seq"] >= 20)
    assert last["up"] - first["up"] == pytest.approx(0.2 * (last["seq"] - first["seq"]), abs=0.15)


def test_it_ends_with_its_reader_even_stuck_in_the_driver(
    mock: MockNvml, start: Callable[..., Stream]
) -> None:
    fill(mock, 2, hang="nvmlDeviceGetName")
    stream = start(mock.environ())
    stream.next()
    began = time.monotonic()
    assert stream.close() == 0
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("reads", [True, False])
def test_it_ends_when_its_reader_is_killed(mock: MockNvml, reads: bool, tmp_path: Path) -> None:
    fill(mock, 8, procs=",".join(f"{pid}:1" for pid in range(1 << 28, (1 << 28) + 200)))
    reader = (
        "import subprocess, sys, time\n"
        "probe = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "probe.stdout.readline()\n"
        "open(sys.argv[1], 'w').write(f'{probe.pid}\\n')\n"
        "while True:\n"
        "    probe.stdout.readline() if READS else time.sleep(1)\n"
    ).replace("READS", str(reads))
    noted = tmp_path / "pid"
    program = [sys.executable, "-I", "-S", FILE, "0.05"]
    with subprocess.Popen(
        [sys.executable, "-c", reader, str(noted), *program], env=mock.environ()
    ) as process:
        pid = int(wait_until(lambda: noted.exists() and noted.read_text().endswith("\n") and
                             noted.read_text()))  # fmt: skip
        if not reads:
            time.sleep(0.5)  # let the pipe fill up: it is stuck in a write
        process.kill()
        began = time.monotonic()
        wait_until(lambda: not _alive(pid))
    assert time.monotonic() - began < 2


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_from_an_archive_in_memory_and_nothing_is_left(
    mock: MockNvml, start: Callable[..., Stream], tmp_path: Path
) -> None:
    fill(mock, 1)
    folder = Path(FILE).parent
    sources = {path.stem: path.read_text() for path in folder.glob("*.py")}
    descriptor = packed.in_memory("probe", packed.archive("probe", sources))
    home = tmp_path / "home"
    home.mkdir()
    try:
        stream = start(mock.environ(HOME=str(home)), program=f"/proc/{os.getpid()}/fd/{descriptor}")
        assert of(stream.next(), 0)["util"] == 10
    finally:
        os.close(descriptor)
    stream.next()
    assert stream.close() == 0
    assert list(home.iterdir()) == []


def test_a_reading_costs_half_of_a_plain_loop_over_pynvml(mock: MockNvml) -> None:
    fill(mock, 8, nvlink_tx=1, nvlink_rx=1, pcie_tx_bytes=1, pcie_rx_bytes=1, procs="1:5,2:6")
    argv = [sys.executable, "-m", "tests.support.nvml.cost"]
    root = Path(FILE).parents[2]
    environ = mock.environ(PYTHONPATH=str(root))
    done = subprocess.run(argv, cwd=root, env=environ, capture_output=True, timeout=100, check=True)
    cost = json.loads(done.stdout)
    # 0.48 on a quiet machine.
    assert cost["gpus"] < 0.6 * cost["pynvml"]


@pytest.mark.parametrize("minor", [8, 13])
def test_other_interpreters(mock: MockNvml, minor: int) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} here")
    fill(mock, 2, procs="1:5", nvlink_tx=1, nvlink_rx=1)
    stream = Stream([python, "-I", "-S", FILE, "0.1"], mock.environ())
    try:
        sample = stream.until(lambda sample: sample["seq"] > 1)
    finally:
        stream.end()
    assert [row["util"] for row in sample["gpus"]] == [10, 11]
    assert of(sample, 0)["nvlink_tx_bps"] == 0


@pytest.mark.parametrize("argument", ["x", "0", "-1", "nan", "1e9"])
def test_usage(argument: str) -> None:
    done = subprocess.run(
        [sys.executable, FILE, argument], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage" in done.stderr


def test_no_gpu_is_no_problem(start: Callable[..., Stream]) -> None:
    sample = start({"PATH": "/nowhere"}, 0.1).until(lambda sample: sample["seq"] > 0)
    if Path("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1").exists():
        pytest.skip("there is a GPU's library here")
    assert (sample["gpus"], sample["problems"]) == ([], [])
    assert 0 <= sample["cpu"]["percent"] <= 100
    assert 0 < sample["memory"]["used"] < sample["memory"]["total"]
    assert 0 < sample["disk"]["used"] <= sample["disk"]["total"]
    assert not any(math.isnan(value) for value in sample["memory"].values())


def test_nvidia_smi_stands_in_and_is_not_left_behind(
    start: Callable[..., Stream], tmp_path: Path
) -> None:
    program = tmp_path / "nvidia-smi"
    row = "GPU-x, NVIDIA T4, 0, 5, 1, 15360, 9.5, 70.00, 40, 300, 405, 0x0000000000000001, [N/A]"
    pids = tmp_path / "pids"
    program.write_text(
        f"#!/bin/sh\necho $$ >> {pids}\n[ -e {tmp_path}/hang ] && exec /bin/sleep 1000\n"
        f'case "$1" in *compute-apps*) echo "GPU-x, 1, 77";; *) echo "{row}";; esac\n'
    )
    program.chmod(0o755)
    stream = start({"PATH": str(tmp_path)}, 0.1)
    found = of(stream.next(), 0)
    assert (found["util"], found["power_w"], found["ecc"]) == (5, 9.5, None)
    assert [each["mem"] for each in found["procs"]] == [77 << 20]
    (tmp_path / "hang").touch()
    last = wait_until(lambda: _sleeping(pids.read_text().split()[-1]))
    assert stream.close() == 0
    wait_until(lambda: not _alive(last))


def _sleeping(pid: str) -> int:
    try:
        return int(pid) if Path(f"/proc/{pid}/comm").read_text() == "sleep\n" else 0
    except FileNotFoundError:
        return 0
