"""``python -m benchmarks.gpus.browsers COUNT URL TOKEN MESSAGE``: browsers that look at GPUs.

Each opens a socket, sends the message, and reads what comes; that is all. How many messages each
has heard is printed once all have heard some, and again when standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

__all__ = ["main"]

_HEARD = 3  # messages: a greeting, all of it, and a change


async def _browse(url: str, token: str, message: str, counts: list[int], number: int) -> None:
    request = HTTPRequest(url, headers={"Authorization": f"token {token}"})
    socket = await websocket_connect(request, compression_options={})
    await socket.write_message(message)
    while await socket.read_message() is not None:
        counts[number] += 1


async def main(argv: list[str]) -> None:
    """Browse until standard input ends."""
    count, url, token, message = int(argv[0]), *argv[1:]
    counts = [0] * count
    tasks = [
        asyncio.create_task(_browse(url, token, message, counts, number)) for number in range(count)
    ]
    while min(counts) < _HEARD:
        if failed := [task for task in tasks if task.done()]:
            await failed[0]
            raise RuntimeError("the server has closed a socket")
        await asyncio.sleep(0.05)
    sys.stdout.write(f"{json.dumps(counts)}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.stdout.write(f"{json.dumps(counts)}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
