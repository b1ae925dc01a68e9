from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from jupyter_aiinfra.cli import main as command_line
from jupyter_aiinfra.commands.asking import Progress
from jupyter_aiinfra.commands.checkshow import CHECK_COLUMNS, check_lines, check_rows
from jupyter_aiinfra.engine import PoolCheck
from jupyter_aiinfra.model import (
    Finding,
    Gpu,
    Interpreter,
    Lease,
    Node,
    PoolRecord,
    Severity,
)
from jupyter_aiinfra.pools.abilities import NodeCheck
from tests.support.engines import POOL, House
from tests.unit.test_tree import Desk, Heard

RECORD = PoolRecord(name="lab", kind="ssh")


def a_finding(severity: Severity, message: str, hint: str = "") -> Finding:
    return Finding(check="x", severity=severity, message=message, hint=hint)


def a_check(*findings: Finding) -> NodeCheck:
    gpu = Gpu(uuid="GPU-0123456789", name="H100", index=0, memory_total_bytes=80_000_000_000)
    python = Interpreter(executable="/p", version="3.11.7", packages={"torch": "2.13.0"})
    return NodeCheck(
        name="gpu1",
        reachable=True,
        latency_seconds=0.0123,
        node=Node(
            name="gpu1",
            address="10.0.0.1",
            gpus=(gpu,),
            python=python,
            driver="570.1",
            disk_free_bytes=10**12,
        ),
        skew_seconds=-0.5,
        address="10.0.0.1",
        interface="eth0",
        unreached={"gpu3": "no answer"},
        findings=findings,
    )


def test_a_row_tells_everything_of_a_node() -> None:
    off = NodeCheck(
        name="gpu2", reachable=False, findings=(a_finding(Severity.ERROR, "off", "switch it on"),)
    )
    third = NodeCheck(name="gpu3", reachable=True)
    lease = Lease(gpu="GPU-0123456789", job="1abc", pool="lab", node="gpu1")
    check = PoolCheck(record=RECORD, nodes=(a_check(), off, third), leases=(lease,))
    first, second, last = check_rows(check)
    assert dict(zip(CHECK_COLUMNS, first, strict=True)) == {
        "node": "gpu1",
        "latency": "12.3 ms",
        "Python": "3.11.7",
        "torch": "2.13.0",
        "accelerate": "-",
        "driver": "570.1",
        "GPUs": "0 H100 GPU-01234567 ? of 80 GB leased to 1abc",
        "disk free": "1 TB",
        "clock": "-0.50 s",
        "address": "10.0.0.1 by eth0",
        "reaches": "0 of 1",
    }
    assert second[:3] == ("gpu2", "not reached", "-")
    assert last[1:3] == ("-", "?")


@pytest.mark.parametrize(
    ("findings", "said", "verdict"),
    [
        ((), ["gpu1: well", "lab: all is well"], Severity.OK),
        (
            (a_finding(Severity.WARNING, "late", "mend the clock"),),
            [
                "gpu1: warning",
                "  late",
                "    fix: mend the clock",
                "lab: it can be used; see the warnings",
            ],
            Severity.WARNING,
        ),
        (
            (a_finding(Severity.WARNING, "late"), a_finding(Severity.ERROR, "full", "make room")),
            [
                "gpu1: ERROR",
                "  late",
                "  full",
                "    fix: make room",
                "lab: 1 of 1 nodes cannot be used as they are",
            ],
            Severity.ERROR,
        ),
    ],
)
def test_each_finding_comes_with_its_fix(
    findings: tuple[Finding, ...], said: list[str], verdict: Severity
) -> None:
    check = PoolCheck(record=RECORD, nodes=(a_check(*findings),))
    assert check_lines(check) == said
    assert check.verdict is verdict


def test_a_pool_that_cannot_be_looked_into_is_described(tmp_path: Path) -> None:
    house = House(tmp_path)
    desk = Desk(house)
    assert desk(f"pool check {POOL}") == 0
    assert desk.said.endswith(f"{POOL}: all is well")
    assert desk.value["verdict"] == "ok"
    assert desk.surface.tables[0][1][0][0] == "fake0"
    house.close()


def test_progress_is_shown_once_and_taken_away() -> None:
    heard = Heard()
    news = Progress(heard)
    news.end()
    news.tell()
    news.hear("1 of 2")
    news.tell()
    news.tell()
    news.end()
    assert heard.lines == ["1 of 2", ""]


def test_what_a_check_found_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path))
    module = importlib.import_module("jupyter_aiinfra.cli.main")
    monkeypatch.setattr(module, "invoke", lambda *_args, **_kwargs: 1)
    assert command_line(["pool", "check", "lab"]) == 1
