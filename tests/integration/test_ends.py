"""Many bytes through real descriptors: buffers filled as a whole, files sent as they lie there."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from jupyter_aiinfra.node.ends import Inlet, Slice, widen

DATA = os.urandom(3_000_000)


@contextmanager
def sockets() -> Iterator[tuple[int, int]]:
    reader, writer = socket.socketpair()
    with reader, writer:
        yield reader.fileno(), writer.fileno()


@contextmanager
def pipes() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb"):
        yield reader, writer


@contextmanager
def inlet_of(descriptor: int) -> Iterator[Inlet]:
    with closing(Inlet(descriptor)) as inlet:
        yield inlet


Ends = Callable[[], AbstractContextManager[tuple[int, int]]]
both = pytest.mark.parametrize("ends", [sockets, pipes])


def drained(descriptor: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length and (chunk := os.read(descriptor, 1 << 16)):
        data += chunk
    return bytes(data)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def aside(work: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)


@both
def test_a_buffer_is_filled_as_a_whole(ends: Ends) -> None:
    with ends() as (reader, writer):

        def write() -> None:
            left = memoryview(DATA)
            while left:
                left = left[os.write(writer, left[:10_000]) :]

        buffer = bytearray(len(DATA))
        with aside(write), inlet_of(reader) as inlet:
            assert inlet.wait(30)
            assert inlet.fill(memoryview(buffer)) == len(DATA)
        assert buffer == DATA


@both
def test_what_comes_slowly_is_handed_on(ends: Ends) -> None:
    buffer = bytearray(100)
    with ends() as (reader, writer), inlet_of(reader) as inlet:
        os.write(writer, b"abc")
        begun = time.monotonic()
        assert inlet.fill(memoryview(buffer)) == 3
        assert time.monotonic() - begun < 20
        assert not inlet.wait(0)
        os.write(writer, b"defg")
        assert inlet.wait(30)
        assert inlet.read(2) == b"de"
        assert inlet.fill(memoryview(buffer)[:2]) == 2
        assert buffer[:2] == b"fg"


@both
def test_a_buffer_is_not_full_at_the_end(ends: Ends) -> None:
    buffer = bytearray(100)
    with (
        ends() as (reader, writer),
        Path(os.devnull).open("wb") as null,
        inlet_of(reader) as inlet,
    ):
        os.write(writer, b"abc")
        os.dup2(null.fileno(), writer)
        assert inlet.fill(memoryview(buffer)) == 3
        assert inlet.wait(30)
        assert inlet.fill(memoryview(buffer)) == 0


@both
def test_a_part_of_a_file_is_sent(tmp_path: Path, ends: Ends) -> None:
    (tmp_path / "log").write_bytes(DATA)
    with ends() as (reader, writer), (tmp_path / "log").open("rb") as file:
        widen(writer)
        part = Slice(file.fileno(), 1000, 2_000_000)
        file.close()  # the part has the file by itself
        assert len(part) == 2_000_000
        with aside(lambda: part.send(writer)):
            assert drained(reader, 2_000_000) == DATA[1000:2_001_000]


def test_a_part_is_sent_where_the_kernel_cannot_do_it(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(DATA)
    # To a file that is appended to there is no sendfile.
    target = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with (tmp_path / "log").open("rb") as file:
        with pytest.raises(OSError, match="Invalid argument"):
            os.sendfile(target, file.fileno(), 0, 10)
        Slice(file.fileno(), 5, 1_000_000).send(target)
    os.close(target)
    assert (tmp_path / "out").read_bytes() == DATA[5:1_000_005]


def test_a_file_that_became_shorter_is_an_error_and_is_let_go(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"abc")
    with sockets() as (_, writer), (tmp_path / "log").open("rb") as file:
        part = Slice(file.fileno(), 0, 10)
        before = descriptors()
        with pytest.raises(OSError, match="became shorter") as caught:
            part.send(writer)
        assert caught.value.errno == errno.EIO
        assert descriptors() == before - 1
        part.close()
