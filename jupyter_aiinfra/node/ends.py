"""The two ends of a channel on a node: what comes in, and what goes out, by descriptors.

They are sockets where sshd made them, pipes elsewhere. Each byte that Python does not touch, and
each time it need not wake up, leaves more of the node to its job: large frames are read into place,
and files are sent as they lie there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Callable, Union

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import frames
else:  # its neighbour in the payload
    import frames

__all__ = ["Inlet", "Outlet", "Part", "Slice", "widen"]

_READ_BYTES = 1 << 18
# What came of a buffer that is not full by then is handed on: its sender is slow, or gone.
_FILL_SECONDS = 1
_WAITING_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ: the module `fcntl` has it from Python 3.10 on
_CANNOT_SEND = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))


def _socket_of(descriptor: int) -> socket.socket | None:
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return None
    return socket.socket(fileno=os.dup(descriptor))


def widen(descriptor: int) -> None:
    """Let more wait in a pipe, or to be read from a socket, which means fewer wake-ups."""
    end = _socket_of(descriptor)
    if end is not None:
        with end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WAITING_BYTES)
    else:
        with contextlib.suppress(OSError):  # no pipe, or more than this user may have
            fcntl.fcntl(descriptor, _SET_PIPE_SIZE, _WAITING_BYTES)


class Inlet:
    """What comes in at a descriptor, for one reader."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN | select.POLLHUP)
        self._socket = _socket_of(descriptor)
        if self._socket is None:
            widen(descriptor)
        else:
            patience = struct.pack("ll", _FILL_SECONDS, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)

    def wait(self, seconds: float) -> bool:
        """Return whether there is something to read, or the end of it, within `seconds`."""
        return bool(self._poll.poll(seconds * 1000))

    def read(self, limit: int) -> bytes:
        """Return what is there, `limit` bytes at most; nothing at the end."""
        return os.read(self._descriptor, limit)

    def fill(self, buffer: memoryview) -> int:
        """Read until `buffer` is full, which is one wait where the kernel can do that.

        Return how many bytes came: fewer at the end, and where they come slowly.
        """
        if self._socket is not None:
            return self._socket.recv_into(buffer, 0, socket.MSG_WAITALL)
        have = 0
        while have < len(buffer) and self.wait(_FILL_SECONDS):
            count = os.readv(self._descriptor, [buffer[have:]])
            if not count:
                break
            have += count
        return have

    def close(self) -> None:
        """Read no more; the descriptor stays open. Idempotent."""
        if self._socket is not None:
            self._socket.close()


class Slice:
    """Some bytes of a file, to be sent as they lie there; the descriptor is its own."""

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._offset = offset
        self._length = length

    def __len__(self) -> int:
        return self._length

    def send(self, target: int) -> None:
        """Write all of it to a descriptor that blocks, and let go of the file.

        Raises
        ------
        OSError
            Nobody reads there; or the file has become shorter.
        """
        try:
            at, end = self._offset, self._offset + self._length
            while at < end:
                count = self._send_some(target, at, end - at)
                if not count:
                    raise OSError(errno.EIO, "the file became shorter while it was sent")
                at += count
        finally:
            self.close()

    def _send_some(self, target: int, at: int, length: int) -> int:
        try:
            return os.sendfile(target, self._descriptor, at, length)
        except OSError as error:
            if error.errno not in _CANNOT_SEND:
                raise
        # A file system, or a kind of descriptor, that the kernel cannot do it for.
        return os.write(target, os.pread(self._descriptor, min(length, _READ_BYTES), at))

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


Part = Union[bytes, Slice]


class Outlet:
    """Writes frames in a thread of its own: short answers before the bytes of streams.

    Who brings more than is written waits, so that what is held here is bounded.
    """

    def __init__(self, descriptor: int, gone: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._gone = gone
        self._ready = threading.Condition()
        self._urgent: deque[bytes] = deque()
        self._bulk: deque[list[Part]] = deque()
        self._waiting = 0
        self._deaf = False
        widen(descriptor)
        threading.Thread(target=self._run, name="outlet", daemon=True).start()

    def say(self, header: frames.Header, *, patient: bool = False) -> None:
        """Send a frame without bytes, ahead of those with; do not wait unless `patient`."""
        line = frames.encode(header)
        with self._ready:
            while patient and self._waiting > _WAITING_BYTES and not self._deaf:
                self._ready.wait()
            self._urgent.append(line)
            self._waiting += len(line)
            self._ready.notify_all()

    def send(self, header: frames.Header, data: Part = b"") -> None:
        """Send a frame in its turn; wait while too much is waiting."""
        frame: list[Part] = [frames.encode(header, len(data)), data]
        with self._ready:
            while self._waiting > _WAITING_BYTES and not self._deaf:
                self._ready.wait()
            if self._deaf and isinstance(data, Slice):
                data.close()
            self._bulk.append(frame)
            self._waiting += sum(len(part) for part in frame)
            self._ready.notify_all()

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._urgent and not self._bulk:
                    self._ready.wait()
                frame: list[Part] = (
                    [self._urgent.popleft()] if self._urgent else self._bulk.popleft()
                )
                self._waiting -= sum(len(part) for part in frame)
                self._ready.notify_all()
            try:
                self._write(frame)
            except OSError:  # nobody reads: what was begun can still come to its end
                with self._ready:
                    self._deaf = True
                    self._ready.notify_all()
                self._gone()
                return

    def _write(self, frame: list[Part]) -> None:
        views = [memoryview(part) for part in frame if part and isinstance(part, bytes)]
        while views:
            written = os.writev(self._descriptor, views)
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if written:
                views[0] = views[0][written:]
        for part in frame:
            if isinstance(part, Slice):
                part.send(self._descriptor)
