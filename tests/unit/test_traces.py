"""Traces: written and read back, and what is no trace is told by its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import Gpu, GpuProcess, Interpreter, Node
from jupyter_aiinfra.pools.traces import TraceWriter, read_head, read_trace
from jupyter_aiinfra.telemetry.sample import parse_sample, sample_line
from tests.support.readings import GIB, a_gpu, a_sample

HEAD = '{"format":"aiinfra-gpus","version":1,"nodes":[{"name":"n0","address":"n0"}]}'
LINE = '{"node":"n0","at":5.0,"gpus":[]}'


def a_node(name: str, *gpus: dict[str, Any]) -> Node:
    process = GpuProcess(pid=1, user="ada", command="python secret.py")
    return Node(
        name=name,
        address=f"{name}.lab.example",
        python=Interpreter(executable="/home/ada/bin/python", version="3.11.7"),
        gpus=tuple(
            Gpu(
                uuid=gpu["uuid"],
                name=gpu["name"],
                index=gpu["index"],
                memory_used_bytes=5,
                used_by=(process,),
            )
            for gpu in gpus
        ),
    )


def write(path: Path, *, anonymous: bool = False) -> None:
    ours = {"pid": 9, "mem": GIB, "user": "ada", "cmd": "python train.py", "job": "1ab", "seat": 1}
    part = a_gpu(1, parent=a_gpu(0)["uuid"], uuid="MIG-of-ada", util=None, procs=[ours])
    gpus = (a_gpu(0, throttle=["hw_thermal"], ecc=None), part, a_gpu(2, procs=None, lost=True))
    writer = TraceWriter(
        path, pool="lab", nodes=[a_node("ada-pc", *gpus)], recorded_at=7.0, anonymous=anonymous
    )
    for second in range(3):
        sample = parse_sample(json.dumps(a_sample(*gpus, seq=second, at=50.0)).encode())
        writer.add("ada-pc", 100.0 + second, sample_line(sample))
    writer.close()
    writer.close()
    assert (writer.lines, len(writer.nodes)) == (3, 1)


def told(path: Path, node: str, at: float, *, reach: float = 1.5) -> dict[str, Any] | None:
    members = read_trace(path).members(node, at, reach=reach)
    return None if members is None else dict(json.loads("{" + members))


def test_a_sample_is_the_same_line_again() -> None:
    line = a_sample(a_gpu(0, procs=None, enc=None), a_gpu(1, nvlink_rx_bps=3.0, procs=[{"pid": 4}]))
    sample = parse_sample(json.dumps(line).encode())
    assert parse_sample(json.dumps(sample_line(sample)).encode()) == sample


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(path)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") is name.endswith(".gz")
    (node,), interval = read_head(path)
    assert (node.name, node.address, interval) == ("ada-pc", "ada-pc.lab.example", 1.0)
    # What goes on just then is no fact.
    assert [(gpu.memory_used_bytes, gpu.used_by) for gpu in node.gpus] == [(None, ())] * 3
    trace = read_trace(path)
    assert (trace.duration, trace.nodes) == (3.0, (node,))
    found = told(path, "ada-pc", 1.0)
    assert found is not None
    assert found["gpus"][0]["throttle"] == ["hw_thermal"]
    assert found["gpus"][0]["ecc"] is None
    assert found["gpus"][1]["util"] is None
    assert found["gpus"][1]["procs"][0]["user"] == "ada"
    assert (found["gpus"][2]["procs"], found["gpus"][2]["lost"]) == (None, True)
    assert not {"node", "at", "seq", "v", "up"} & set(found)


def test_without_names(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write(path, anonymous=True)
    text = path.read_text()
    for name in ("ada", "train.py", "lab", "secret", a_gpu(0)["uuid"], "home"):
        assert name not in text
    found = told(path, "node1", 0.0)
    assert found is not None
    whole, part, _ = found["gpus"]
    assert part["parent"] == whole["uuid"]
    assert part["uuid"].startswith("MIG-00000002")
    process = part["procs"][0]
    assert (process["user"], process["cmd"]) == ("user1", "program1")
    assert (process["job"], process["seat"]) == ("1ab", 1)
    (node,), _ = read_head(path)
    assert node.gpus[0].uuid == whole["uuid"]


def test_it_begins_anew_at_its_end_and_a_gap_is_one(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    times = [10.0, 11.0, 12.0, 19.0]
    lines = [json.dumps({"node": "n0", "at": at, "mark": at}) for at in times]
    path.write_text("\n".join([HEAD, *lines, ""]))

    def mark(at: float) -> Any:
        found = told(path, "n0", at)
        return found and found["mark"]

    gap = [None] * 5
    assert [mark(at) for at in range(11)] == [10, 11, 12, 12, *gap, 19, 10]


def test_a_node_that_begins_a_moment_later_and_one_that_says_nothing(tmp_path: Path) -> None:
    nodes = '[{"name":"n0","address":"n0"},{"name":"n1","address":""},{"name":"n2","address":""}]'
    path = tmp_path / "t.jsonl"
    late = LINE.replace("n0", "n1").replace("5.0", "5.8")
    path.write_text(f'{{"format":"aiinfra-gpus","version":1,"nodes":{nodes}}}\n{LINE}\n{late}\n')
    assert told(path, "n1", 0.0) == {"gpus": []}
    assert told(path, "n2", 0.0) is None


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "a JSON object"),
        ("[1]\n", 1, "a JSON object"),
        ('{"a":1}\n', 1, '"format": "aiinfra-gpus"'),
        (HEAD.replace(":1", ":2"), 1, '"version": 1, not 2'),
        (HEAD.replace('"nodes"', '"interval":0,"nodes"'), 1, '"interval" to be seconds'),
        (HEAD.replace('[{"name":"n0","address":"n0"}]', "[]"), 1, '"nodes" to name each node'),
        (HEAD.replace('"address"', '"adress"'), 1, "address"),
        (HEAD, 2, "at least one line"),
        (f"{HEAD}\nnonsense\n", 2, "a JSON object"),
        (f"{HEAD}\n{LINE}\n\n{LINE}\n", 4, '"at" to be after 5.0'),
        (f"{HEAD}\n{LINE.replace('n0', 'n9')}\n", 2, '"node" to be one of the first line'),
        (f"{HEAD}\n{LINE.replace('5.0', 'true')}\n", 2, '"at" to be a time in seconds'),
        (f"{HEAD}\n{LINE.replace('5.0', 'NaN')}\n", 2, '"at" to be a time in seconds'),
        (f"{HEAD}\n{LINE.replace('[]', '7')}\n", 2, '"gpus" to be a list'),
    ],
)
def test_what_is_no_trace_names_the_line(
    tmp_path: Path, text: str, line: int, expected: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_trace(path)
    assert f"bad.jsonl is no trace, line {line}: " in str(refused.value)
    assert expected in str(refused.value)
    assert refused.value.option == "trace"


def test_a_file_that_is_cut_off_damaged_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    whole = gzip.compress(f"{HEAD}\n{LINE}\n".encode())
    path.write_bytes(whole[:-12])
    with pytest.raises(UsageError, match=r"line \d: expected more: the file is cut off"):
        read_trace(path)
    path.write_bytes(whole[:20] + b"\0\xff\0" + whole[23:])
    with pytest.raises(UsageError, match="is no trace"):
        read_trace(path)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_head(tmp_path / "nowhere")


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write(path)
    assert path.read_text() == "mine"
    with pytest.raises(UsageError, match="cannot be written"):
        write(tmp_path / "no" / "t.jsonl")
