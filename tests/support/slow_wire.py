"""A slow and lossy wire: frames between two interfaces, delayed and some dropped.

Run in the network namespace of both: ``python slow_wire.py A B DELAY_SECONDS LOSS``. It says
``ready`` once it carries frames. What netem would do, for kernels built without it.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import sys
import time

# Not in the socket module. With it a frame travels together with what the kernel still owes it (a
# checksum, cutting to size), as between two virtual machines.
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_SOL_PACKET = 263
_ETH_P_ALL = 3
_FRAME_BYTES = 1 << 17
_BUFFER_BYTES = 1 << 23


def _open(interface: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    wire.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    wire.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    wire.bind((interface, 0))
    return wire


def carry(first: str, second: str, *, delay_seconds: float, loss: float) -> None:
    """Carry frames both ways until killed."""
    one, two = _open(first), _open(second)
    far_end = {one: two, two: one}
    print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
    chance = random.Random(1)  # noqa: S311 - the same losses each time
    waiting: list[tuple[float, int, socket.socket, bytes]] = []
    count = 0
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select(list(far_end), [], [], pause)
        for end in ready:
            frame = end.recv(_FRAME_BYTES)
            if chance.random() >= loss:
                count += 1
                due = time.monotonic() + delay_seconds
                heapq.heappush(waiting, (due, count, far_end[end], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, end, frame = heapq.heappop(waiting)
            try:
                end.send(frame)
            except OSError as error:  # the far end's link is down, or its queue full: a loss
                print(f"lost a frame: {error}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    carry(sys.argv[1], sys.argv[2], delay_seconds=float(sys.argv[3]), loss=float(sys.argv[4]))
