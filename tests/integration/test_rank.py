"""What runs on each rank, under a real supervisor, with a launcher of a few shell lines."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import parcel, supervise
from tests.support.bench import Bench, open_bench, wait_until

NODE_FILES = ("rank.py", "parcel.py", "supervise.py", "aiinfra_spawned.py")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_bench(tmp_path) as bench:
        yield bench


def launcher(world: int, *, told: int | None = None) -> list[str]:
    """Return a launcher that starts `world` ranks and tells them that they are `told`."""
    script = f"""
    for rank in $(seq 0 {world - 1}); do
        RANK=$rank LOCAL_RANK=$rank WORLD_SIZE={told or world} "$0" "$1" & pids="$pids $!"
    done
    status=0
    for pid in $pids; do wait $pid || status=$?; done
    exit $status
    """
    return ["/bin/sh", "-c", script, sys.executable, "${AIINFRA_RUN_DIR}/aiinfra/rank.py"]


def run_cell(
    bench: Bench,
    cell: str,
    *,
    world: int = 1,
    told: int | None = None,
    context: str | None = None,
    variables: Mapping[str, Any] | None = None,
    fetch: tuple[str, ...] = (),
    **spec: Any,
) -> Path:
    run_dir = bench.make(
        "", argv=launcher(world, told=told), world=world, procs=world, verify_world=True, **spec
    )
    (run_dir / "aiinfra").mkdir()
    for name in NODE_FILES:
        shutil.copy(Path(supervise.__file__).parent / name, run_dir / "aiinfra")
    (run_dir / "cell.py").write_text(cell)
    if context is not None:
        (run_dir / "context.py").write_text(context)
    if variables is not None:
        entries = []
        for name, value in variables.items():
            packed = parcel.pack(name, value)
            entries.append(packed.entry)
            for digest, parts in packed.buffers.items():
                path = bench.root / "blobs" / digest[:2] / digest
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(bytes(part) for part in parts))
        header = {"format": 1, "versions": parcel.versions(), "variables": entries}
        (run_dir / "manifest.json").write_text(json.dumps(header))
    task = {
        "format": 1,
        "entry": "cell.py",
        "argv": ["cell.py", "--flag"],
        "context": "context.py" if context is not None else None,
        "variables": "manifest.json" if variables is not None else None,
        "fetch": list(fetch),
        "path": ["src"],
        "cell": True,
    }
    (run_dir / "task.json").write_text(json.dumps(task))
    done = bench.verb("start", str(run_dir))
    assert done.returncode == 0, done.stdout + done.stderr
    return run_dir


def log(run_dir: Path, rank: int = 0) -> str:
    path = run_dir / f"logs/rank-{rank}.log"
    return path.read_bytes().decode() if path.exists() else ""


def test_every_rank_runs_the_cell_as_main_and_writes_its_own_log(bench: Bench) -> None:
    cell = "import os, sys\nprint(__name__, os.environ['RANK'], sys.argv[1:])\n"
    run_dir = run_cell(bench, cell, world=3)
    assert bench.end(run_dir)["state"] == "succeeded"
    assert [log(run_dir, rank) for rank in range(3)] == [
        f"__main__ {rank} ['--flag']\n" for rank in range(3)
    ]


def test_a_world_of_the_wrong_size_never_reaches_user_code(bench: Bench) -> None:
    # What `accelerate launch --cpu --num_processes 2` does: one process, told of a world of one.
    run_dir = run_cell(bench, "print('trained alone')", world=2, told=1)
    seen = bench.end(run_dir)
    assert seen["state"] == "failed"
    # Whichever of the two reported first.
    said = re.sub(r"rank \d", "rank N", seen["reason"])
    assert "asked for 2 ranks, but rank N was started in a world of 1" in said
    assert "trained alone" not in log(run_dir)


def test_ranks_that_never_come_are_counted_at_the_end_of_the_patience(bench: Bench) -> None:
    run_dir = bench.make("sleep 60", world=2, verify_world=True, start_timeout_seconds=0.3)
    assert bench.verb("start", str(run_dir)).returncode == 0
    seen = bench.end(run_dir)
    assert (seen["state"], seen["reason"]) == ("failed", "0 of 2 ranks reported within 0.3 s")


def test_context_and_variables_are_there_before_the_cell(bench: Bench) -> None:
    run_dir = run_cell(
        bench,
        "print(scale(table['a']), limit)",
        context="import math as m\n__aiinfra_load__('limit')\n"
        "def scale(x, top=limit):\n    return m.floor(x * top)\n",
        variables={"limit": 10, "table": {"a": 1.26}},
    )
    assert bench.end(run_dir)["state"] == "succeeded", log(run_dir)
    assert log(run_dir) == "12 10\n"


def test_names_asked_for_come_back_from_rank_0(bench: Bench) -> None:
    run_dir = run_cell(
        bench,
        "import os\nmine = [int(os.environ['RANK'])] * 3\n",
        world=2,
        fetch=("mine", "absent"),
    )
    assert bench.end(run_dir)["state"] == "succeeded"
    values, problems = parcel.read_results(str(run_dir / "results"))
    assert values == {"mine": [0, 0, 0]}
    assert list(problems) == ["absent"]


def test_an_exception_is_recorded_with_its_line_and_without_our_frames(bench: Bench) -> None:
    cell = "x = 1\ndef f():\n    raise ValueError('no such epoch')\nf()\n"
    seen = bench.end(run_cell(bench, cell))
    assert seen["state"] == "failed"
    assert seen["reason"] == "the script raised ValueError: no such epoch (line 3)"
    error = seen["ranks"][0]["error"]
    assert "rank.py" not in error["traceback"]
    assert error["traceback"].startswith("Traceback")
    assert 'File "cell.py", line 3, in f' in error["traceback"]


def test_the_rank_that_failed_first_is_named(bench: Bench) -> None:
    cell = """
import os, sys, time
from pathlib import Path
flag = Path("failed.flag")
if os.environ["RANK"] == "1":
    flag.write_text("now")
    sys.exit("rank 1 gives up")
while not flag.exists():
    time.sleep(0.01)
time.sleep(0.3)
raise ConnectionError("peer is gone")
"""
    seen = bench.end(run_cell(bench, cell, world=2))
    assert seen["failed_rank"] == 1
    assert seen["reason"] == "rank 1 exited with status 1 (line 7)"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("import sys\nsys.exit(3)\n", "the script exited with status 3 (line 2)"),
        (
            "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
            "the script was ended by SIGKILL (often the kernel, out of memory)",
        ),
        ("import os\nos._exit(9)\n", "the script exited with status 9"),
        ("def f(:\n", "the script raised SyntaxError: invalid syntax"),
    ],
)
def test_how_a_rank_ended_is_told_truly(bench: Bench, cell: str, reason: str) -> None:
    seen = bench.end(run_cell(bench, cell))
    assert seen["state"] == "failed"
    assert seen["reason"].startswith(reason)


def test_a_crash_in_compiled_code_leaves_a_stack_in_the_log(bench: Bench) -> None:
    seen = bench.end(run_cell(bench, "import ctypes\nctypes.string_at(0)\n"))
    assert "SIGSEGV" in seen["reason"]
    assert seen["ranks"][0]["signal"] == signal.SIGSEGV


def test_peak_memory_is_known_even_of_a_killed_rank(bench: Bench) -> None:
    cell = "import os\nx = b'1' * (200 << 20)\nos.kill(os.getpid(), 9)\n"
    seen = bench.end(run_cell(bench, cell))
    assert seen["ranks"][0]["max_memory_bytes"] > 200 << 20


def test_a_stop_reaches_user_code_as_keyboard_interrupt_once(bench: Bench) -> None:
    cell = """
import time
try:
    print("training", flush=True)
    time.sleep(300)
except KeyboardInterrupt:
    print("saving")
    time.sleep(0.5)
    print("saved")
    raise
"""
    run_dir = run_cell(bench, cell, world=2)
    wait_until(lambda: all("training" in log(run_dir, rank) for rank in range(2)))
    bench.verb("kill", str(run_dir), "20")
    seen = bench.end(run_dir)
    assert (seen["state"], seen["ended_by"]) == ("cancelled", {"SIGINT": [0, 1]})
    for rank in range(2):
        assert log(run_dir, rank).startswith("training\nsaving\nsaved\n")
        assert log(run_dir, rank).count("KeyboardInterrupt") == 1


def test_who_does_not_listen_is_named_with_the_signal_that_ended_it(bench: Bench) -> None:
    cell = """
import os, signal, time
if os.environ["RANK"] == "1":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
print("training", flush=True)
while True:
    time.sleep(0.1)
"""
    run_dir = run_cell(bench, cell, world=2)
    wait_until(lambda: all("training" in log(run_dir, rank) for rank in range(2)))
    bench.verb("kill", str(run_dir), "0.4")
    seen = bench.end(run_dir)
    assert seen["ended_by"] == {"SIGINT": [0], "SIGKILL": [1]}


def test_a_killed_guardian_takes_its_rank_along(bench: Bench) -> None:
    run_dir = run_cell(bench, "import time\nprint('up', flush=True)\ntime.sleep(300)\n")
    wait_until(lambda: "up" in log(run_dir))
    report = json.loads((run_dir / "ranks/0.json").read_text())
    supervise.send(report["guardian"], signal.SIGKILL)
    assert bench.end(run_dir)["state"] == "failed"


def test_children_made_by_spawn_find_the_cells_and_the_notebooks_names(bench: Bench) -> None:
    cell = """
import multiprocessing as mp
def square(x):
    return x * x + offset()
with mp.get_context("spawn").Pool(1) as pool:
    print(pool.map(square, [1, 2, 3]))
"""
    run_dir = run_cell(
        bench, cell, context="def offset():\n    return base\n", variables={"base": 7}
    )
    assert bench.end(run_dir)["state"] == "succeeded", log(run_dir)
    assert log(run_dir) == "[8, 11, 16]\n"


def test_each_rank_may_write_to_its_copy_of_an_array(bench: Bench) -> None:
    np = pytest.importorskip("numpy", reason="numpy comes with torch")
    cell = "big[:] = 1\nprint(int(big.sum()), big.flags.writeable)\n"
    run_dir = run_cell(bench, cell, world=2, variables={"big": np.zeros(100_000)})
    assert bench.end(run_dir)["state"] == "succeeded", log(run_dir)
    assert [log(run_dir, rank) for rank in range(2)] == ["100000 True\n"] * 2


def test_progress_bars_reach_the_log_as_they_move(bench: Bench) -> None:
    cell = "import time\nprint('50%', end='\\r')\ntime.sleep(300)\n"
    run_dir = run_cell(bench, cell)
    wait_until(lambda: log(run_dir) == "50%\r")
    bench.verb("kill", str(run_dir), "0")
    bench.end(run_dir)


def test_display_prints_on_a_rank(bench: Bench) -> None:
    run_dir = run_cell(bench, "display('text', [1])")
    assert bench.end(run_dir)["state"] == "succeeded"
    assert log(run_dir) == "text\n[1]\n"


def test_a_kernel_of_another_minor_version_is_refused_before_unpickling(bench: Bench) -> None:
    run_dir = run_cell(bench, "print(x)", variables={"x": complex(1, 2)})
    bench.end(run_dir)
    manifest = json.loads((run_dir / "manifest.json").read_text())
    assert manifest["versions"]["python"].startswith(f"{sys.version_info[0]}.")
    assert log(run_dir) == "(1+2j)\n"
