"""A client that costs little: the same request again and again on each of some connections."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

__all__ = ["Client", "main"]


class Client(asyncio.Protocol):
    """One connection; asks again as soon as it is answered."""

    def __init__(self, request: bytes, times: list[float], failed: list[int]) -> None:
        self._request = request
        self._times = times
        self._failed = failed
        self._left = 0
        self._got = b""
        self._begun = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self.transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        self._begun = time.perf_counter()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count an answer when all of it is there."""
        if self._left:
            self._left -= len(data)
        elif not self._is_told(self._got + data):
            self._got += data
            return
        if not self._left:
            self._got = b""
            self._times.append(time.perf_counter() - self._begun)
            self._ask()

    def _is_told(self, got: bytes) -> bool:
        """Whether it is known how much of an answer is left, of which so much has arrived."""
        head, ended, body = got.partition(b"\r\n\r\n")
        if not ended:
            return False
        _, says, length = head.lower().partition(b"content-length: ")
        if not says and not body.endswith(b"0\r\n\r\n"):
            return False  # in chunks: over with an empty one
        if not head.startswith(b"HTTP/1.1 200"):
            self._failed.append(1)
        self._left = int(length.split(b"\r\n")[0]) - len(body) if says else 0
        return True


def _request(path: str, body: bytes, key: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: endpoint\r\nContent-Type: application/json\r\n"
    head += f"X-API-Key: {key}\r\n" if key else ""
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _load(port: int, request: bytes, connections: int, seconds: float) -> object:
    times: list[float] = []
    failed: list[int] = []
    loop = asyncio.get_running_loop()
    clients = [
        await loop.create_connection(lambda: Client(request, times, failed), "127.0.0.1", port)
        for _ in range(connections)
    ]
    # The first part of it warms everything up.
    await asyncio.sleep(seconds / 4)
    times.clear()
    begun = time.perf_counter()
    await asyncio.sleep(seconds)
    taken = sorted(times)
    rate = len(taken) / (time.perf_counter() - begun)
    for transport, _ in clients:
        transport.abort()
    return {
        "rate": rate,
        "p50": taken[len(taken) // 2],
        "p99": taken[len(taken) * 99 // 100],
        "answers": len(taken),
        "failed": len(failed),
    }


def main() -> None:
    """Run: port, path, connections, seconds, key or nothing; the body on standard input."""
    port, path, connections, seconds, key = sys.argv[1:]
    request = _request(path, sys.stdin.buffer.read(), key)
    told = uvloop.run(_load(int(port), request, int(connections), float(seconds)))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
