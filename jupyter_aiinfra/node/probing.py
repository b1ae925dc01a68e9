"""The verb that streams the readings of a node: ``probe.py`` in a process of its own, from memory.

Of its own because a driver may hang or crash, and must cost the readings and not the channel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Mapping

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import packed
    from jupyter_aiinfra.node.channel import Call, Cancelled, Refusal
else:  # its neighbours in the payload
    import packed
    from channel import Call, Cancelled, Refusal

__all__ = ["Prober"]

_CHUNK_BYTES = 1 << 16
_GRACE_SECONDS = 3.0


class Prober:
    """Runs the probe that was sent, as often as it is asked for.

    Parameters
    ----------
    sources
        The modules that were sent, by name.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._descriptor = -1

    def probe(self, call: Call) -> None:
        """Send what the probe prints, a sample each ``seconds``, until the client wants no more."""
        seconds = float(call.argument("seconds", (int, float), 1.0))
        argv = [sys.executable, "-I", "-S", self._program(), repr(seconds)]
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            text = f"cannot start {argv[0]}: {error.strerror}"
            raise Refusal("pool", text) from error
        ending = threading.Timer(_GRACE_SECONDS, process.kill)
        ending.daemon = True

        def wake() -> None:
            # Its input is all that keeps it: it ends by itself, and so does the reading below.
            if call.cancelled and not ending.is_alive():
                _close(process)
                ending.start()

        call.wakers.append(wake)
        try:
            _relay(call, process)
        finally:
            _close(process)
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            ending.cancel()
            process.stdout.close()  # type: ignore[union-attr]
        call.end({"status": process.returncode})

    def _program(self) -> str:
        """Return a path of all modules as one program, which lies on no disk."""
        with self._lock:
            if self._descriptor < 0:
                data = packed.archive("probe", self._sources)
                self._descriptor = packed.in_memory("probe", data)
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"


def _relay(call: Call, process: subprocess.Popen[bytes]) -> None:
    at = 0
    source = process.stdout.fileno()  # type: ignore[union-attr]
    while True:
        try:
            # A client that does not keep up keeps the probe waiting, and gets no heap of old news.
            call.wait_for_room()
        except Cancelled:
            return
        data = os.read(source, _CHUNK_BYTES)
        if not data:
            return
        call.data(at, data)
        at += len(data)


def _close(process: subprocess.Popen[bytes]) -> None:
    try:
        process.stdin.close()  # type: ignore[union-attr]
    except OSError:  # it has ended
        return
