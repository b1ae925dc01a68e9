"""The probe beside ``nvidia-smi``: on a machine with GPUs every value agrees with what that says.

Where there is none the comparison is tried on a compiled library, and a program that says the same.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_probe import FILE, Stream
from tests.support.nvml import MockNvml, build, gpu

MIB = 1 << 20


@dataclass(frozen=True)
class Compared:
    """A value of both: how much one of the program's steps is, and how far the two may differ."""

    key: str
    step: float = 1.0
    within: float = 0.0
    share: float = 0.0


# Each is read a moment before or after the program does; what walks may have walked a little.
FIELDS: Mapping[str, Compared] = {
    "utilization.gpu": Compared("util", within=25),
    "memory.used": Compared("mem_used", step=MIB, within=64 * MIB),
    "memory.total": Compared("mem_total", step=MIB, within=MIB),
    "power.draw": Compared("power_w", within=20, share=0.2),
    "enforced.power.limit": Compared("power_limit_w", within=0.5),
    "temperature.gpu": Compared("temp_c", within=3),
    "clocks.sm": Compared("sm_mhz", within=60, share=0.1),
    "clocks.mem": Compared("mem_mhz", within=10),
    "utilization.encoder": Compared("enc", within=10),
    "utilization.decoder": Compared("dec", within=10),
    "ecc.errors.uncorrected.volatile.total": Compared("ecc"),
}

# What nvidia-smi prints, of a library that cannot be asked by the real one.
STAND_IN = """#!/bin/sh
GPU=GPU-0000000
case "$1" in
--query-gpu=uuid,*)
  echo "$GPU"0-0000-0000-0000-000000000000, 10, 1024, 81920, 100.0, 700.0, 40, 1900, 2619, 3, 4, 0
  echo "$GPU"1-0000-0000-0000-000000000000, 11, 2048, 81920, [N/A], 700.0, 41, 1901, 2619, 3, 4, 0
  ;;
--query-compute-apps=*) echo "$GPU"0-0000-0000-0000-000000000000, %d, 1024 ;;
esac
"""


def smi(environ: Mapping[str, str], query: str) -> list[list[str]]:
    """Return what the program says, a row a GPU or process."""
    program = shutil.which("nvidia-smi", path=environ["PATH"])
    assert program is not None
    argv = [program, query, "--format=csv,noheader,nounits"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True, timeout=60)
    return list(csv.reader(done.stdout.splitlines(), skipinitialspace=True))


def values(environ: Mapping[str, str]) -> dict[str, dict[str, float | None]]:
    """Return, by UUID and field, what the program says; ``None`` where it does not know."""
    rows = smi(environ, "--query-gpu=uuid," + ",".join(FIELDS))
    return {
        uuid: {
            name: float(text) * FIELDS[name].step if text[:1].isdigit() else None
            for name, text in zip(FIELDS, texts, strict=True)
        }
        for uuid, *texts in rows
    }


@pytest.fixture(
    params=[
        "a stand-in",
        pytest.param(
            "real",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="no NVIDIA GPU here"),
            ],
        ),
    ]
)
def environ(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, str]:
    if request.param == "real":
        return dict(os.environ)
    mock = MockNvml(tmp_path / "gpus", build(tmp_path / "library"))
    mock.gpus = [gpu(0, procs=f"{os.getpid()}:{1024 * MIB}"), gpu(1, power=None)]
    mock.write()
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(STAND_IN % os.getpid())
    (tools / "nvidia-smi").chmod(0o755)
    return mock.environ(PATH=f"{tools}:/usr/bin:/bin")


@contextmanager
def probing(environ: Mapping[str, str]) -> Iterator[Stream]:
    """Yield a probe that has begun."""
    stream = Stream([sys.executable, FILE, "0.5"], dict(environ))
    try:
        stream.next()
        yield stream
    finally:
        stream.close()
        stream.end()


def test_every_value_agrees_with_nvidia_smi(environ: Mapping[str, str]) -> None:
    with probing(environ) as stream:
        before = values(environ)
        stream.drain()
        sample = stream.next()
        after = values(environ)
    rows = {row["uuid"]: row for row in sample["gpus"] if row["parent"] is None}
    assert set(rows) == set(before) == set(after)
    differ = {
        (uuid, name): (row[field.key], before[uuid][name], after[uuid][name])
        for uuid, row in rows.items()
        for name, field in FIELDS.items()
        if not agree(field, row[field.key], before[uuid][name], after[uuid][name])
    }
    assert not differ, "ours, nvidia-smi before, nvidia-smi after"


def agree(field: Compared, ours: float | None, before: float | None, after: float | None) -> bool:
    """Whether ours lies between what was said before and after, as far as it may differ."""
    if ours is None or before is None or after is None:
        return ours is None and (before is None or after is None)
    room = field.within + field.share * max(before, after)
    return min(before, after) - room <= ours <= max(before, after) + room


def test_processes_are_those_of_nvidia_smi(environ: Mapping[str, str]) -> None:
    def said() -> set[tuple[str, int]]:
        rows = smi(environ, "--query-compute-apps=gpu_uuid,pid,used_memory")
        return {(uuid, int(pid)) for uuid, pid, _ in rows}

    with probing(environ) as stream:
        before = said()
        stream.drain()
        sample = stream.next()
        after = said()
    ours = {
        (row["uuid"], each["pid"])
        for row in sample["gpus"]
        if row["parent"] is None
        for each in row["procs"] or ()
    }
    # What comes or goes just then is in one of them.
    assert before & after <= ours <= before | after or _are_hidden(sample)


def _are_hidden(sample: Mapping[str, Any]) -> bool:
    """Whether the driver tells this container of no process: then there is nothing to compare."""
    return all(not row["procs"] for row in sample["gpus"])


@pytest.mark.parametrize(
    ("ours", "before", "after", "agrees"),
    [
        (50.0, 40.0, 60.0, True),
        (36.0, 40.0, 60.0, True),
        (66.0, 40.0, 60.0, False),
        (None, None, None, True),
        (None, 5.0, 5.0, False),
        (5.0, None, 5.0, False),
    ],
)
def test_what_agrees(
    ours: float | None, before: float | None, after: float | None, *, agrees: bool
) -> None:
    assert agree(Compared("x", within=5), ours, before, after) is agrees
