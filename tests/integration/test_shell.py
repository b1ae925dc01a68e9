from __future__ import annotations

import asyncio
import os
import sys
import time

import pytest

from jupyter_aiinfra.aio import collect
from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.shell import Completed, LocalShell, Shell
from tests.support.bench import wait_until

ECHO = (sys.executable, "-c", "import sys; sys.stdout.write(sys.stdin.read()[::-1])")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_program_runs_to_its_end() -> None:
    done = await LocalShell().run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert done == Completed(
        argv=("sh", "-c", "echo out; echo err >&2; exit 3"),
        status=3,
        stdout=b"out\n",
        stderr=b"err\n",
    )
    assert not done.ok
    assert (await LocalShell().run(["true"])).ok


async def test_nothing_in_an_argv_is_read_by_a_shell() -> None:
    done = await LocalShell().run(["printf", "%s|", "$HOME", "a b", "; true"])
    assert done.stdout == b"$HOME|a b|; true|"


async def test_input_reaches_the_program() -> None:
    assert (await LocalShell().run(ECHO, stdin=b"abc")).stdout == b"cba"
    assert b"".join(await collect(LocalShell().stream(ECHO, stdin=b"abc"))) == b"cba"


async def test_the_environment_is_inherited_or_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    assert b"OURS=1" in (await LocalShell().run(["env"])).stdout.splitlines()
    done = await LocalShell(env={"ONLY": "2", "PATH": os.environ["PATH"]}).run(["env"])
    assert b"ONLY=2" in done.stdout.splitlines()
    assert b"OURS" not in done.stdout


@pytest.mark.parametrize("name", ["/nowhere/program", "/dev/null"])
async def test_a_program_that_cannot_be_started_is_named(name: str) -> None:
    with pytest.raises(Unreachable, match=f"cannot start {name}"):
        await LocalShell().run([name])
    with pytest.raises(Unreachable, match=f"cannot start {name}"):
        await collect(LocalShell().stream([name]))


async def test_what_does_not_answer_in_time_is_killed() -> None:
    begun = time.monotonic()
    with pytest.raises(Unreachable, match=r"sleep did not answer within 0\.2 s"):
        await LocalShell().run(["sleep", "60"], timeout=0.2)
    assert time.monotonic() - begun < 20


async def test_cancelled_work_leaves_no_process(tmp_path: os.PathLike[str]) -> None:
    pid_file = os.path.join(tmp_path, "pid")  # noqa: PTH118 - written by the shell below
    program = ["sh", "-c", f"echo $$ >{pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60"]
    task = asyncio.ensure_future(LocalShell().run(program))
    await asyncio.to_thread(wait_until, lambda: os.path.exists(pid_file))  # noqa: PTH110
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with open(pid_file, encoding="ascii") as file:  # noqa: PTH123
        assert not alive(int(file.read()))


async def test_a_stream_comes_as_it_is_written_and_closing_it_ends_the_program() -> None:
    stream = LocalShell().stream(["sh", "-c", "echo $$; exec sleep 60"])
    pid = int(await anext(stream))
    assert alive(pid)
    await stream.aclose()  # type: ignore[attr-defined] # it is a generator
    assert not alive(pid)


async def test_a_program_that_ignores_its_input_is_no_error() -> None:
    stream = LocalShell().stream(["true"], stdin=b"x" * (1 << 20))
    assert await collect(stream) == []


async def test_an_open_program_is_spoken_with() -> None:
    pipe = await LocalShell().open(["sh", "-c", "echo begun >&2; cat; exit 3"])
    await pipe.write(b"abc")
    assert await pipe.read(2) == b"ab"
    assert await pipe.read(2) == b"c"
    await pipe.close(grace=20.0)
    assert await pipe.wait() == 3
    assert await pipe.read(1) == b""
    assert pipe.stderr_tail == b"begun\n"
    await pipe.close()
    with pytest.raises(Unreachable, match="sh takes no more input"):
        await pipe.write(b"x")


async def test_an_open_program_that_does_not_end_is_ended() -> None:
    pipe = await LocalShell().open(["sh", "-c", "trap '' TERM; echo $$; exec sleep 60"])
    pid = int(await pipe.read(100))
    reading = asyncio.ensure_future(pipe.read(1))
    await asyncio.gather(pipe.close(grace=0.05), pipe.close(grace=0.0))
    assert await reading == b""
    assert not alive(pid)
    assert await pipe.wait() == -9


async def test_pipes_that_somebody_else_holds_open_hold_up_no_close() -> None:
    pipe = await LocalShell().open(["sh", "-c", "sleep 60 & echo $!; exec sleep 60"])
    child = int(await pipe.read(100))
    await asyncio.wait_for(pipe.close(grace=0.0), 20)
    assert await pipe.read(1) == b""
    os.kill(child, 9)


async def test_a_close_that_is_cancelled_has_ended_the_program() -> None:
    pipe = await LocalShell().open(["sh", "-c", "echo $$; exec sleep 60"])
    pid = int(await pipe.read(100))
    closing = asyncio.ensure_future(pipe.close(grace=60.0))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not alive(pid)


async def test_who_writes_waits_for_a_program_that_does_not_read() -> None:
    pipe = await LocalShell().open(["sh", "-c", "read go <&0; exec cat >/dev/null"])
    writing = asyncio.ensure_future(pipe.write(b"x" * (8 << 20)))
    await asyncio.wait({writing}, timeout=0.05)
    if not writing.done():  # `read` takes single bytes: it may still be at it
        await pipe.write(b"\n")
    await asyncio.wait_for(writing, 60)
    await pipe.close()


async def test_what_nobody_reads_is_bounded() -> None:
    pipe = await LocalShell().open(["sh", "-c", "exec head -c 50000000 /dev/zero"])
    assert await pipe.read(10) == b"\0" * 10
    await asyncio.sleep(0.2)
    held = sum(len(chunk) for chunk in pipe._protocol.chunks)  # type: ignore[attr-defined, misc]
    assert held < 4 << 20
    size = 10
    while data := await pipe.read(1 << 20):
        size += len(data)
    assert size == 50_000_000
    await pipe.close()


async def test_ends_are_known_however_they_race(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        assert await collect(LocalShell().stream(["echo", "x"])) == [b"x\n"]
        pipe = await LocalShell().open(["true"])
        await pipe.read(1)
        await pipe.close(grace=0.0)
        assert await pipe.wait() in {0, -9}
    assert caplog.records == []


async def test_a_program_that_cannot_be_opened_is_named() -> None:
    with pytest.raises(Unreachable, match="cannot start /nowhere/program"):
        await LocalShell().open(["/nowhere/program"])


def test_a_local_shell_is_a_shell() -> None:
    assert isinstance(LocalShell(), Shell)
