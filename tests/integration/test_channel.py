"""The channel against its real far end: every verb, many logs at once, deaths, hostile names."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import stat
import sys
import venv
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_aiinfra.channel import Channel, Stream
from jupyter_aiinfra.errors import (
    Conflict,
    NotFound,
    PoolError,
    SubmitError,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.node import channel as node
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.shell import LocalShell, Pipe
from tests.support.bench import Bench, open_bench, wait_until

PROGRAM = Path(str(supervise.__file__))


class Before(LocalShell):
    """This machine, with something before each argv, as ssh and a login shell are."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self._words = words

    async def open(self, argv: Sequence[str]) -> Pipe:
        return await super().open([*self._words, *argv])


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    async with Channel(LocalShell(), python=sys.executable, name="n1") as channel:
        yield channel


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_bench(tmp_path) as bench:
        yield bench


def make(bench: Bench, script: str) -> Path:
    """Make a run directory as a bundle does: with the node side in it."""
    run_dir = bench.make(script)
    (run_dir / "aiinfra").mkdir()
    for path in PROGRAM.parent.glob("*.py"):
        (run_dir / "aiinfra" / path.name).write_bytes(path.read_bytes())
    return run_dir


async def until(channel: Channel, run_dir: Path, *states: str) -> dict[str, Any]:
    while True:
        seen = (await channel.call("status", run_dirs=[str(run_dir)]))["runs"][str(run_dir)]
        if seen["state"] in states:
            return dict(seen)
        await asyncio.sleep(0.05)


def log_of(tmp_path: Path, name: str = "rank-0.log", data: bytes = b"") -> Path:
    path = tmp_path / "run" / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def end_run(run_dir: Path) -> None:
    """Let a run directory without a job look like that of a job that has ended."""
    spec = {"job": f"over{os.getpid()}", "world": 1}
    supervise.write_json(str(run_dir / "spec.json"), spec)
    supervise.write_json(str(run_dir / "exit.json"), {"state": "succeeded"})


async def read(stream: Stream) -> bytes:
    data, at = bytearray(), stream.offset
    async for piece in stream:
        assert piece.offset == at
        at += len(piece.data)
        data += piece.data
    return bytes(data)


# --- opening and ending --------------------------------------------------------------------------


async def test_hello_and_nothing_left_behind(channel: Channel, tmp_path: Path) -> None:
    hello = await channel.hello()
    assert hello["python"] == ".".join(map(str, sys.version_info[:3]))
    assert abs(hello["skew_seconds"]) < 5
    program = psutil.Process(hello["pid"])
    assert await channel.call("ping") == {}
    await channel.aclose()
    await asyncio.to_thread(wait_until, lambda: not program.is_running())
    assert await channel.call("ping") == {}  # it opens again
    assert (await channel.hello())["pid"] != hello["pid"]


async def test_the_far_end_goes_when_its_client_is_killed(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from jupyter_aiinfra.channel import Channel\n"
        "from jupyter_aiinfra.shell import LocalShell\n"
        "async def main():\n"
        "    channel = Channel(LocalShell(), python=sys.executable)\n"
        "    print((await channel.hello())['pid'], flush=True)\n"
        "    await channel.stream('listen', seconds=60.0).head()\n"
        "    print('listening', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert client.stdout is not None
    far = psutil.Process(int(await client.stdout.readline()))
    assert await client.stdout.readline() == b"listening\n"
    client.kill()
    await client.wait()
    await asyncio.to_thread(wait_until, lambda: not far.is_running())


async def test_a_start_that_was_begun_is_finished_with_all_its_secrets(
    bench: Bench, tmp_path: Path
) -> None:
    run_dir = make(bench, 'echo "$TOKEN"')
    # A supervisor that is slow to start: by then its client is gone.
    program = run_dir / "aiinfra" / "supervise.py"
    program.write_text(
        "import pathlib, sys, time\n"
        f"pathlib.Path({str(tmp_path / 'begun')!r}).touch()\n"
        "time.sleep(1.0)\n"
        f"pathlib.Path({str(tmp_path / 'got')!r}).write_text(sys.stdin.read())\n"
        "print('{\"started\": true}')\n"
    )
    channel = Channel(LocalShell(), python=sys.executable)
    secrets = {"TOKEN": "hush"}
    start = asyncio.ensure_future(
        channel.call("start", run_dir=str(run_dir), secrets=secrets, timeout=60.0)
    )
    await asyncio.to_thread(wait_until, (tmp_path / "begun").exists)
    os.kill((await channel.hello())["pid"], signal.SIGKILL)
    with pytest.raises(Unreachable):
        await start
    await asyncio.to_thread(wait_until, (tmp_path / "got").exists)
    await asyncio.to_thread(wait_until, lambda: "hush" in (tmp_path / "got").read_text())
    await channel.aclose()


def test_a_client_that_is_not_heard_of_is_gone() -> None:
    reader, writer = os.pipe()
    answers, target = os.pipe()
    session = node.Session(reader, target, verbs=node.Verbs({}, {}, {}), silence_seconds=0.1)
    session.serve()  # returns
    session.finish()
    for descriptor in (reader, writer, answers, target):
        os.close(descriptor)


async def test_a_banner_comes_before_the_marker(tmp_path: Path) -> None:
    banner = 'printf \'Welcome\\n<<not it>>\\n{"id": 1}\\n\'; echo noise >&2; exec "$@"'
    shell = Before("/bin/sh", "-c", banner, "sh")
    async with Channel(shell, python=sys.executable) as channel:
        assert await channel.call("ping") == {}


async def test_a_program_that_is_not_there_is_named() -> None:
    async with Channel(LocalShell(), python="/nowhere/python", name="n1") as channel:
        with pytest.raises(Unreachable, match="cannot start /nowhere/python"):
            await channel.call("ping")
    async with Channel(Before("/usr/bin/env"), python="/nowhere/python", name="n1") as channel:
        with pytest.raises(PoolError, match="n1: there is no program /nowhere/python") as caught:
            await channel.call("ping")
    assert "3.8" in caught.value.hint


async def test_a_python_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho 'aiinfra: python 3.6.8 /usr/bin/python3' >&2; exit 1\n")
    old.chmod(0o755)
    async with Channel(LocalShell(), python=str(old), name="n1") as channel:
        with pytest.raises(PoolError, match=r"n1: /usr/bin/python3 is Python 3\.6\.8, and 3\.8"):
            await channel.call("ping")


async def test_what_programs_print_on_the_node_gets_into_no_frame(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho noise >&2\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    async with Channel(LocalShell(), python=sys.executable) as channel:
        described = await channel.call("describe", python=str(python), folder="~/not/there")
        assert described["python"]["packages"]["pytest"]
        with pytest.raises(PoolError, match=r"/nowhere cannot|cannot start /nowhere"):
            await channel.call("describe", python="/nowhere")
        with pytest.raises(PoolError, match="cannot describe its machine"):
            await channel.call("describe", python="/bin/false")


async def test_an_interpreter_is_asked_again_only_when_its_packages_change(
    channel: Channel, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    asked, python = tmp_path / "asked", tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho >> {asked}\nexec {tmp_path}/env/bin/python "$@"\n')
    python.chmod(0o755)

    async def describe() -> dict[str, Any]:
        return await channel.call("describe", python=str(python), folder=str(tmp_path))

    first = await describe()
    again = await describe()
    assert asked.read_text() == "\n"
    assert again.keys() == first.keys()
    assert again["python"] == first["python"]
    assert again["cpus"] == first["cpus"]
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "something-2.5.dist-info").mkdir()
    assert (await describe())["python"]["packages"]["something"] == "2.5"
    assert asked.read_text() == "\n\n"


async def test_an_unknown_verb_and_wrong_arguments_are_usage_errors(channel: Channel) -> None:
    with pytest.raises(UsageError, match="n1: this node knows no 'dance'"):
        await channel.call("dance")
    with pytest.raises(UsageError, match="status: run_dirs is 3"):
        await channel.call("status", run_dirs=3)
    with pytest.raises(UsageError, match="tail: offset is True"):
        await anext(channel.stream("tail", run_dir="/tmp", stream="x", offset=True))


# --- jobs ----------------------------------------------------------------------------------------


async def test_a_job_from_start_to_removal(channel: Channel, bench: Bench, tmp_path: Path) -> None:
    run_dir = make(bench, 'echo "$TOKEN"; exec sleep 60')
    start: dict[str, Any] = {"run_dir": str(run_dir), "secrets": {"TOKEN": "hush" * 3}}
    for _ in range(2):
        assert (await channel.call("start", **start))["started"]
    assert (await until(channel, run_dir, "starting", "running"))["supervised"]
    assert (await channel.call("runs", folder=str(tmp_path)))["jobs"] == [run_dir.name]
    job = bench.jobs[0]
    tagged = (await channel.call("processes", job=job))["processes"]
    assert {each["job"] for each in tagged} == {job}
    assert {each["pid"] for each in tagged} == {each["pid"] for each in supervise.tagged(job)}
    with pytest.raises(SubmitError, match=f"job {run_dir.name} is "):
        await channel.call("remove", folder=str(tmp_path), job=run_dir.name)
    log = channel.stream("tail", run_dir=str(run_dir), stream="launcher.log", follow=True)
    assert (await anext(log)).data == b"hushhushhush\n"
    await channel.call("kill", run_dir=str(run_dir), grace=0.2)
    assert await read(log) == b""
    assert log.end == {"offset": 13, "state": "cancelled"}
    await channel.call("adopt", run_dir=str(run_dir))
    assert (await channel.call("processes", job=job))["processes"] == []
    assert await channel.call("remove", folder=str(tmp_path), job=run_dir.name) == {"removed": True}
    assert await channel.call("remove", folder=str(tmp_path), job=run_dir.name) == {
        "removed": False
    }
    assert not run_dir.exists()


async def test_a_supervisor_is_adopted(channel: Channel, bench: Bench) -> None:
    run_dir = make(bench, "exec sleep 60")
    await channel.call("start", run_dir=str(run_dir), secrets={})
    old = supervise.read_json(str(run_dir / "supervisor.json"))
    assert supervise.send(old, signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: not supervise.alive(old))
    await channel.call("adopt", run_dir=str(run_dir))
    seen = await until(channel, run_dir, "starting", "running")
    assert seen["supervised"]
    await channel.call("kill", run_dir=str(run_dir), grace=0.1)
    await until(channel, run_dir, "cancelled")


async def test_a_start_that_fails_says_why(channel: Channel, bench: Bench) -> None:
    run_dir = make(bench, "true")
    spec = supervise.read_json(str(run_dir / "spec.json"))
    assert spec is not None
    supervise.write_json(str(run_dir / "spec.json"), {**spec, "cwd": "/nowhere"})
    with pytest.raises(SubmitError, match=r"could not be started in .*: No such file"):
        await channel.call("start", run_dir=str(run_dir), secrets={"LARGE": "x" * 100_000})
    with pytest.raises(NotFound, match="there is no job in /nowhere"):
        await channel.call("start", run_dir="/nowhere", secrets={})


async def test_a_damaged_run_does_not_hide_the_others(channel: Channel, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "spec.json").write_text("{")
    names = [str(tmp_path / "bad"), str(tmp_path / "none")]
    seen = (await channel.call("status", run_dirs=names))["runs"]
    assert "JSONDecodeError" in seen[names[0]]["error"]
    assert seen[names[1]] == {"state": "absent"}


async def test_removing_follows_no_link(channel: Channel, tmp_path: Path) -> None:
    runs, keep = tmp_path / "runs", tmp_path / "keep"
    keep.mkdir()
    (keep / "file").write_text("mine")
    (runs / "a").mkdir(parents=True)
    end_run(runs / "a")
    (runs / "a" / "out").symlink_to(keep)
    (runs / "b").symlink_to(keep)
    assert await channel.call("remove", folder=str(runs), job="a") == {"removed": True}
    with pytest.raises(UsageError, match="is no run directory"):
        await channel.call("remove", folder=str(runs), job="b")
    for name in ("..", "a/b", "", ".", "/etc", "x\0y"):
        with pytest.raises(UsageError):
            await channel.call("remove", folder=str(runs), job=name)
    assert (keep / "file").read_text() == "mine"


# --- logs ----------------------------------------------------------------------------------------


async def test_many_growing_logs_at_once_and_nothing_lost_or_doubled(
    channel: Channel, tmp_path: Path
) -> None:
    names = [f"rank-{k}.log" for k in range(64)]
    for name in names:
        log_of(tmp_path, name)
    run_dir = tmp_path / "run"
    supervise.write_json(str(run_dir / "spec.json"), {"job": f"none{os.getpid()}", "world": 1})

    def write() -> dict[str, bytes]:
        written = dict.fromkeys(names, b"")
        for step in range(40):
            for k, name in enumerate(names):
                data = f"{name} step {step} ".encode() * (1 + (step * k) % 400) + b"\n"
                with (run_dir / "logs" / name).open("ab") as file:
                    file.write(data)
                written[name] += data
        end_run(run_dir)
        return written

    streams = [
        channel.stream("tail", run_dir=str(run_dir), stream=name, follow=True) for name in names
    ]
    reading = [asyncio.ensure_future(read(stream)) for stream in streams]
    written = await asyncio.to_thread(write)
    got = await asyncio.gather(*reading)
    assert dict(zip(names, got, strict=True)) == written
    assert [stream.end for stream in streams] == [
        {"offset": len(written[name]), "state": "succeeded"} for name in names
    ]


async def test_a_log_begins_later_and_is_read_from_an_offset(
    channel: Channel, tmp_path: Path
) -> None:
    (tmp_path / "run" / "logs").mkdir(parents=True)
    run_dir = tmp_path / "run"
    args: dict[str, Any] = {"run_dir": str(run_dir), "stream": "rank-0.log"}
    supervise.write_json(str(run_dir / "spec.json"), {"job": f"none{os.getpid()}", "world": 1})
    reading = asyncio.ensure_future(read(channel.stream("tail", follow=True, offset=2, **args)))
    assert await read(channel.stream("tail", **args)) == b""
    log_of(tmp_path, data=b"abcdef")
    end_run(run_dir)
    assert await reading == b"cdef"
    assert await read(channel.stream("tail", offset=4, **args)) == b"ef"
    assert await read(channel.stream("tail", offset=40, **args)) == b""


async def test_a_killed_far_end_and_the_log_is_still_whole(
    channel: Channel, tmp_path: Path
) -> None:
    data = os.urandom(1 << 20) * 24
    log_of(tmp_path, data=data)
    end_run(tmp_path / "run")
    stream = channel.stream(
        "tail",
        run_dir=str(tmp_path / "run"),
        stream="rank-0.log",
        follow=True,
        resume_seconds=60.0,
    )
    got, kills = bytearray(), 0
    async for piece in stream:
        assert piece.offset == len(got)
        got += piece.data
        if len(got) > (kills + 1) * (5 << 20) and kills < 4:
            os.kill((await channel.hello())["pid"], signal.SIGKILL)
            kills += 1
    assert kills == 4
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert stream.end == {"offset": len(data), "state": "succeeded"}


async def test_a_slow_reader_costs_no_memory_and_holds_up_nobody(
    channel: Channel, tmp_path: Path
) -> None:
    with log_of(tmp_path, "slow.log").open("r+b") as file:
        file.truncate(1 << 30)
    log_of(tmp_path, "quick.log", os.urandom(8 << 20))
    args: dict[str, Any] = {"run_dir": str(tmp_path / "run")}
    slow = channel.stream("tail", stream="slow.log", **args)
    await anext(slow)
    far = psutil.Process((await channel.hello())["pid"])
    before = far.memory_info().rss, psutil.Process().memory_info().rss
    for _ in range(3):
        quick = channel.stream("tail", stream="quick.log", **args)
        assert len(await read(quick)) == 8 << 20
    assert await asyncio.wait_for(channel.call("ping"), 20) == {}
    assert sum(len(piece.data) for piece in slow._pieces) <= 1 << 20
    assert far.memory_info().rss - before[0] < 16 << 20
    assert psutil.Process().memory_info().rss - before[1] < 64 << 20
    await slow.aclose()
    assert await channel.call("ping") == {}


async def test_a_slow_request_does_not_hold_up_logs(channel: Channel, tmp_path: Path) -> None:
    log_of(tmp_path, data=b"x")
    listening = [channel.stream("listen", seconds=60.0) for _ in range(40)]
    for each in listening:
        await each.head()
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        port = server.getsockname()[1]
        probe: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": port,
            "token": "silent",
            "seconds": 30.0,
        }
        slow = [asyncio.ensure_future(channel.call("connect", **probe)) for _ in range(8)]
        stream = channel.stream("tail", run_dir=str(tmp_path / "run"), stream="rank-0.log")
        assert await asyncio.wait_for(read(stream), 20) == b"x"
        assert await asyncio.wait_for(channel.call("ping"), 20) == {}
        for call in slow:
            call.cancel()
    for each in listening:
        await each.aclose()


@pytest.mark.parametrize("name", ["../spec.json", "/etc/passwd", "", "a//b", "..", "a\0b"])
async def test_no_log_is_outside_of_the_logs(channel: Channel, tmp_path: Path, name: str) -> None:
    log_of(tmp_path)
    stream = channel.stream("tail", run_dir=str(tmp_path / "run"), stream=name)
    with pytest.raises(UsageError, match="is not a plain relative path"):
        await anext(stream)


async def test_a_log_that_is_something_else_is_not_found(channel: Channel, tmp_path: Path) -> None:
    logs = log_of(tmp_path).parent
    (logs / "link.log").symlink_to("/etc/passwd")
    os.mkfifo(logs / "pipe.log")
    (logs / "folder.log").mkdir()
    (logs / "up").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("no")
    for name in ("link.log", "pipe.log", "folder.log", "up/secret"):
        with pytest.raises(NotFound, match="no log"):
            await anext(channel.stream("tail", run_dir=str(tmp_path / "run"), stream=name))
    assert await channel.call("ping") == {}


# --- files ---------------------------------------------------------------------------------------


async def test_the_files_of_a_run(channel: Channel, tmp_path: Path) -> None:
    log_of(tmp_path, data=b"abc" * 1000)
    (tmp_path / "run" / "näme with\nnewline").write_text("x")
    run: dict[str, Any] = {"run_dir": str(tmp_path / "run")}
    found = (await channel.call("files", **run))["files"]
    assert [each["path"] for each in found] == ["logs/rank-0.log", "näme with\nnewline"]
    stream = channel.stream("open_file", path="logs/rank-0.log", offset=2990, **run)
    assert (await stream.head())["size_bytes"] == 3000
    assert await read(stream) == b"cabcabcabc"
    with pytest.raises(UsageError, match="plain relative path"):
        await anext(channel.stream("open_file", path="../x", **run))
    with pytest.raises(NotFound, match="no file 'x'"):
        await anext(channel.stream("open_file", path="x", **run))
    with pytest.raises(NotFound, match="is gone"):
        await channel.call("files", run_dir="/nowhere")


async def test_put_and_get_keep_every_byte_and_the_mode(channel: Channel, tmp_path: Path) -> None:
    source, target, back = tmp_path / "a b", tmp_path / "ß'\"$x\nb", tmp_path / "back"
    source.write_bytes(os.urandom(5_000_001))
    source.chmod(0o750)
    target.write_text("old")
    assert await channel.put(source, str(target)) == 5_000_001
    assert target.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    looked = await channel.call("stat", path=str(target))
    assert (looked["kind"], looked["size_bytes"], looked["part_bytes"]) == ("file", 5_000_001, 0)
    assert looked["free_bytes"] > 0
    assert await channel.get(str(target), back) == 5_000_001
    assert back.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(back.stat().st_mode) == 0o750
    assert (await channel.call("stat", path="/nowhere/x"))["kind"] is None
    (tmp_path / "empty").touch()
    assert await channel.put(tmp_path / "empty", str(target)) == 0
    assert target.read_bytes() == b""
    assert sorted(path.name for path in tmp_path.glob("*.part")) == []


async def test_a_transfer_goes_on_where_it_was_cut(channel: Channel, tmp_path: Path) -> None:
    source, target, back = tmp_path / "source", tmp_path / "target", tmp_path / "back"
    source.write_bytes(os.urandom(3_000_000))
    whole = source.read_bytes()
    (tmp_path / "target.part").write_bytes(whole[:1_000_000])
    assert await channel.put(source, str(target)) == 2_000_000
    assert target.read_bytes() == whole
    (tmp_path / "back.part").write_bytes(whole[:2_500_000])
    assert await channel.get(str(target), back) == 500_000
    assert back.read_bytes() == whole


async def test_what_is_left_of_another_transfer_is_noticed(
    channel: Channel, tmp_path: Path
) -> None:
    source, target, back = tmp_path / "source", tmp_path / "target", tmp_path / "back"
    source.write_bytes(os.urandom(300_000))
    for name, left in (("target.part", b"other" * 10), ("back.part", b"x" * 400_000)):
        (tmp_path / name).write_bytes(left)
    assert await channel.put(source, str(target)) == 300_000
    assert await channel.get(str(target), back) == 300_000
    assert source.read_bytes() == target.read_bytes() == back.read_bytes()


async def test_a_far_end_killed_during_transfers(channel: Channel, tmp_path: Path) -> None:
    source, target, back = tmp_path / "source", tmp_path / "target", tmp_path / "back"
    source.write_bytes(os.urandom(1 << 20) * 120)

    async def kill_at(part: Path) -> None:
        def begun() -> bool:
            return part.exists() and part.stat().st_size >= 4 << 20

        await asyncio.to_thread(wait_until, begun)
        os.kill((await channel.hello())["pid"], signal.SIGKILL)

    killing = asyncio.ensure_future(kill_at(tmp_path / "target.part"))
    sent = await channel.put(source, str(target))
    assert killing.done()
    assert sent < 120 << 20
    killing = asyncio.ensure_future(kill_at(tmp_path / "back.part"))
    assert await channel.get(str(target), back) == 120 << 20
    assert killing.done()
    assert source.read_bytes() == target.read_bytes() == back.read_bytes()


async def test_transfers_that_cannot_be(channel: Channel, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    with pytest.raises(NotFound, match="there is no file"):
        await channel.put(tmp_path / "none", "x")
    with pytest.raises(UsageError, match="is no plain file"):
        await channel.put(tmp_path, "x")
    with pytest.raises(UsageError, match="is a folder"):
        await channel.put(source, str(tmp_path))
    with pytest.raises(UsageError, match="is no path"):
        await channel.put(source, "")
    with pytest.raises(NotFound, match="there is no /nowhere on the node"):
        await channel.put(source, "/nowhere/x")
    with pytest.raises(NotFound, match="there is no /nowhere on the node"):
        await channel.get("/nowhere/x", tmp_path / "x")
    with pytest.raises(UsageError, match="is no plain file"):
        await channel.get("/dev/null", tmp_path / "x")
    with pytest.raises(UsageError, match="is a folder"):
        await channel.get(str(source), tmp_path)
    first = channel.stream("put", path=str(tmp_path / "t"), size=10)
    await first.head()
    with pytest.raises(Conflict, match="somebody else is writing"):
        await channel.stream("put", path=str(tmp_path / "t"), size=10).head()
    await first.aclose()


# --- who reaches whom ----------------------------------------------------------------------------


async def test_a_port_is_reached_or_not_and_why(channel: Channel) -> None:
    listening = channel.stream("listen", host="127.0.0.1", seconds=60.0, token="t0k")
    port = (await listening.head())["port"]
    to: dict[str, Any] = {"host": "127.0.0.1", "port": port, "seconds": 20.0}
    reached = await channel.call("connect", token="t0k", **to)
    assert (reached["reached"], reached["reason"], reached["local"]) == (True, None, "127.0.0.1")
    other = await channel.call("connect", token="another", **to)
    assert (other["reached"], other["reason"]) == (False, "somebody else listens there")
    with pytest.raises(PoolError, match=f"cannot listen on port {port}"):
        await channel.stream("listen", host="127.0.0.1", port=port).head()
    await listening.aclose()

    # While the port closes, a connection may still be taken and then dropped.
    while (await channel.call("connect", **to))["reason"] != "Connection refused":
        continue
    for host, bad in (("127.0.0.1", 99999999), ("nowhere.invalid", 1), ("a" * 70 + ".b", 1)):
        answer = await channel.call("connect", host=host, port=bad, seconds=5.0)
        assert not answer["reached"]
        assert answer["reason"]
    short = channel.stream("listen", seconds=0.1)
    assert await read(short) == b""
    assert short.end == {"peers": []}


async def test_the_interface_that_leads_to_an_address(channel: Channel) -> None:
    found = await channel.call("interface", to="127.0.0.1")
    assert found == {"address": "127.0.0.1", "interface": "lo"}
    with pytest.raises(PoolError, match=r"no way from this node to 'nowhere\.invalid'"):
        await channel.call("interface", to="nowhere.invalid")
