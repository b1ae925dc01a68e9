"""Supervisors of one job among themselves: real processes, several run directories, one machine.

The launcher is a shell script: what is under test is who begins, who is told to end, and what is
written down. Cut links and real hosts come in ``test_ssh_*.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.node import supervise
from tests.support.bench import Bench, open_bench, wait_until
from tests.support.gang import Gang, open_gang


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_bench(tmp_path) as bench:
        yield bench


ECHO = 'echo "rank $AIINFRA_NODE_RANK of $AIINFRA_NODE_COUNT at $AIINFRA_HEAD:$AIINFRA_PORT'
ECHO += ' attempt $AIINFRA_ATTEMPT"; '


def launcher(gang: Gang, slot: int) -> str:
    return (gang.folders[slot] / "logs/launcher.log").read_text()


def test_all_nodes_begin_together_and_end_together(bench: Bench) -> None:
    with open_gang(bench, count=3, script=ECHO + "sleep 0.3") as gang:
        gang.start()
        ends = [gang.end(slot) for slot in range(3)]
        assert [end["state"] for end in ends] == ["succeeded"] * 3, gang.story()
        assert [end["led"] for end in ends] == [True, False, False]
        said = [launcher(gang, slot).split() for slot in range(3)]
        assert [words[1] for words in said] == ["0", "1", "2"]
        assert {words[5] for words in said} == {said[0][5]}, "they were given different ports"


def test_nothing_begins_before_all_nodes_are_there(bench: Bench) -> None:
    with open_gang(bench, count=2, script=ECHO) as gang:
        gang.start(0)
        wait_until(lambda: gang.status(0)["waiting"] == "waiting for gpu1")
        assert not (gang.folders[0] / "logs/launcher.log").exists()
        gang.start(1)
        assert gang.end(0)["state"] == "succeeded"


def test_a_node_that_never_joins_fails_the_job(bench: Bench) -> None:
    with open_gang(bench, count=2, script=ECHO, join_seconds=0.5) as gang:
        gang.start(0)
        end = gang.end(0)
        assert end["state"] == "failed"
        assert end["reason"].startswith("node gpu1 did not join within 0.5 s; %pool check")


def test_a_head_that_vanishes_before_the_beginning_ends_the_others(bench: Bench) -> None:
    with open_gang(bench, count=3, script=ECHO, join_seconds=1.0) as gang:
        gang.start(0, 1)
        wait_until(lambda: gang.status(0)["waiting"] == "waiting for gpu2")
        gang.kill_supervisor(0)
        end = gang.end(1)
        assert (end["state"], end["reason"].split(":")[0]) == ("failed", "node gpu0 did not begin")


def test_one_failure_ends_all_within_seconds_and_is_named(bench: Bench) -> None:
    script = '[ "$AIINFRA_NODE_RANK" = 1 ] && exit 9; sleep 300'
    with open_gang(bench, count=3, script=script) as gang:
        gang.start()
        for slot in range(3):
            end = gang.end(slot)
            assert (end["state"], end["rc"]) == ("failed", 9), gang.story()
            assert "status 9" in end["reason"]
            assert not gang.processes(slot)


def test_a_stop_asked_of_any_node_stops_all(bench: Bench) -> None:
    with open_gang(bench, count=2, script="trap '' INT; sleep 300") as gang:
        gang.start()
        wait_until(lambda: gang.processes(0) and gang.processes(1))
        bench.verb("kill", str(gang.folders[1]), "0.3")
        for slot in range(2):
            end = gang.end(slot)
            assert (end["state"], end["reason"]) == ("cancelled", "stopped on request")
            assert not gang.processes(slot)


def test_the_grace_of_a_stop_holds_for_every_node(bench: Bench, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    script = (
        f"if [ $AIINFRA_NODE_RANK = 1 ]; then trap 'sleep 2.5; : >{saved}; exit 0' INT; fi; "
        "while :; do sleep 0.1; done"
    )
    with open_gang(bench, count=2, script=script) as gang:
        gang.start()
        wait_until(lambda: gang.processes(0) and gang.processes(1))
        bench.verb("kill", str(gang.folders[0]), "20")
        assert gang.end(0)["state"] == "cancelled"
        assert saved.exists(), "a rank that was saving was killed before its grace was over"


def test_a_dead_node_ends_the_others_and_is_named(bench: Bench) -> None:
    with open_gang(bench, count=3, script="sleep 300") as gang:
        gang.start()
        wait_until(lambda: all(gang.processes(slot) for slot in range(3)))
        gang.power_off(2)
        for slot in (0, 1):
            end = gang.end(slot)
            assert end["state"] == "failed"
            assert end["reason"].startswith("node gpu2 was lost: silent for 1.5 s")
            assert [node["health"] for node in end["nodes"]] == ["live", "live", "lost"]


def test_a_dead_head_is_named_by_the_others(bench: Bench) -> None:
    with open_gang(bench, count=3, script="sleep 300") as gang:
        gang.start()
        wait_until(lambda: all(gang.processes(slot) for slot in range(3)))
        gang.power_off(0)
        for slot in (1, 2):
            end = gang.end(slot)
            assert end["state"] == "failed", gang.story()
            assert end["reason"].startswith("node gpu0 was lost")
            assert end["certain"]


SURVIVE = ECHO + "[ $AIINFRA_ATTEMPT = 1 ] && exec sleep 300; exit 0"


def test_an_elastic_job_goes_on_without_a_dead_node(bench: Bench) -> None:
    elastic = {"min_nodes": 2, "max_restarts": 1}
    with open_gang(bench, count=3, script=SURVIVE, **elastic) as gang:
        gang.start()
        wait_until(lambda: all(gang.processes(slot) for slot in range(3)))
        gang.power_off(1)
        ends = [gang.end(slot) for slot in (0, 2)]
        assert [end["state"] for end in ends] == ["succeeded"] * 2, gang.story()
        assert ends[0]["attempt"] == 2
        assert ends[0]["restarts"][0]["reason"].startswith("node gpu1 was lost")
        assert ends[0]["restarts"][0]["nodes"] == ["gpu0", "gpu2"]
        assert "rank 1 of 2" in launcher(gang, 2)
        assert (
            "attempt 2 of 2 begins on gpu0, gpu2"
            in (gang.folders[2] / "logs/rank-2.log").read_text()
        )


def test_an_elastic_job_goes_on_without_its_head(bench: Bench) -> None:
    elastic = {"min_nodes": 2, "max_restarts": 1}
    with open_gang(bench, count=3, script=SURVIVE, **elastic) as gang:
        gang.start()
        wait_until(lambda: all(gang.processes(slot) for slot in range(3)))
        gang.power_off(0)
        ends = [gang.end(slot) for slot in (1, 2)]
        assert [end["state"] for end in ends] == ["succeeded"] * 2, gang.story()
        assert [end["led"] for end in ends] == [True, False]
        assert "rank 0 of 2" in launcher(gang, 1)


def test_a_rank_that_fails_is_begun_again_as_often_as_asked(bench: Bench) -> None:
    script = ECHO + '[ "$AIINFRA_ATTEMPT" = 3 ] || exit 4'
    with open_gang(bench, count=2, script=script, max_restarts=2) as gang:
        gang.start()
        end = gang.end(0)
        assert (end["state"], end["attempt"]) == ("succeeded", 3), gang.story()
        ports = {line.split()[5] for line in launcher(gang, 0).splitlines()}
        assert len(ports) == 3, "an attempt was given the port of the one before"


def test_restarts_come_to_an_end(bench: Bench) -> None:
    with open_gang(bench, count=1, script="exit 4", max_restarts=2) as gang:
        gang.start()
        end = gang.end(0)
        assert (end["state"], end["attempt"], end["rc"]) == ("failed", 3, 4)
        assert len(end["restarts"]) == 2


def test_a_job_waits_for_a_node_to_come_back(bench: Bench) -> None:
    with open_gang(bench, count=2, script=SURVIVE, max_restarts=1) as gang:
        gang.start()
        wait_until(lambda: gang.processes(0) and gang.processes(1))
        gang.power_off(1)
        wait_until(lambda: gang.status(0)["waiting"] == "waiting for gpu1 to come back")
        assert gang.status(0)["state"] == "starting" or gang.status(0)["started_at"]
        bench.verb("adopt", str(gang.folders[1]))
        assert gang.end(0)["state"] == "succeeded", gang.story()
        assert gang.end(1)["state"] == "succeeded"


@pytest.mark.parametrize("slot", [0, 1])
def test_a_killed_supervisor_is_replaced_without_harm(bench: Bench, slot: int) -> None:
    script = ECHO + "while [ ! -e stop ]; do sleep 0.05; done"
    with open_gang(bench, count=2, script=script, dead_peer_seconds=10.0) as gang:
        gang.start()
        wait_until(lambda: [gang.status(each)["state"] for each in (0, 1)] == ["running"] * 2)
        gang.kill_supervisor(slot)
        seen = gang.status(slot)
        assert (seen["state"], seen["supervised"]) == ("running", False)
        for _ in range(2):
            bench.verb("adopt", str(gang.folders[slot]))
        (bench.root / "stop").touch()
        for each in range(2):
            end = gang.end(each)
            assert (end["state"], end["attempt"]) == ("succeeded", 1), gang.story()


def test_a_stranger_without_the_key_changes_nothing(bench: Bench) -> None:
    script = "while [ ! -e stop ]; do sleep 0.05; done"
    with open_gang(bench, count=2, script=script) as gang:
        gang.start()
        wait_until(lambda: gang.processes(0) and gang.processes(1))
        assert gang.port is not None
        strangers = [socket.create_connection(("127.0.0.1", gang.port)) for _ in range(80)]
        order = {"kind": "orders", "slot": 1, "orders": {"attempt": 9, "stop": {"reason": "x"}}}
        for index, each in enumerate(strangers):
            forged = b"0" * 64 + b" " + json.dumps(order).encode() + b"\n"
            # Some have the port closed in their face, as there are so many.
            with contextlib.suppress(ConnectionError):
                each.sendall(os.urandom(16).hex().encode() + b"\n")
                each.sendall(forged if index % 2 else b"\xff" * 100_000)
        (bench.root / "stop").touch()
        assert gang.end(0)["state"] == "succeeded"
        for each in strangers:
            each.close()


def test_a_working_directory_that_is_missing_is_told_at_once(bench: Bench) -> None:
    with open_gang(bench, count=2, script="true", cwd=str(bench.root / "nowhere")) as gang:
        done = bench.verb("start", str(gang.folders[0]), stdin=json.dumps({"gang": {"key": "00"}}))
        assert done.returncode == 1
        assert "nowhere is not there" in json.loads(done.stdout)["error"]


def test_all_may_be_started_before_they_are_told_of_the_head(bench: Bench) -> None:
    with open_gang(bench, count=3, script="true") as gang:
        gang.start_unmet(1, 2)
        assert gang.status(1)["supervised"]
        gang.start(0)
        gang.meet(1, 2)
        for slot in range(3):
            assert gang.end(slot)["state"] == "succeeded", gang.story()
        assert not (gang.folders[1] / supervise.MEET).exists()


def test_who_is_never_told_of_the_head_ends_and_is_not_certain(bench: Bench) -> None:
    with open_gang(bench, count=2, script="true", join_seconds=0.5) as gang:
        gang.start_unmet(1)
        end = gang.end(1)
        assert (end["state"], end["certain"]) == ("failed", False)
        assert "before the nodes had met" in end["reason"]
        assert not (gang.folders[1] / "gang.json").exists()


def test_who_waits_to_be_told_of_the_head_can_be_stopped(bench: Bench) -> None:
    with open_gang(bench, count=2, script="true") as gang:
        gang.start_unmet(1)
        assert bench.verb("kill", str(gang.folders[1]), "0").returncode == 0
        assert gang.end(1)["state"] == "cancelled"


def test_what_the_gang_writes_is_private(bench: Bench) -> None:
    with open_gang(bench, count=2, script="sleep 0.2") as gang:
        gang.start()
        gang.end(0)
        for name in ("gang.json", "attempt.json", "exit.json"):
            assert (gang.folders[0] / name).stat().st_mode & 0o777 == 0o600
