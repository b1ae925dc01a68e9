"""``python -m benchmarks.gpus.quick HERTZ OPTION…``: a Jupyter server that looks so often at GPUs.

Once a second is what ours does, and cannot be set. Other dashboards look ten times a second by
default; to be held against them ours is made to do the same.
"""

from __future__ import annotations

import sys

from jupyter_server.serverapp import main as serve

from jupyter_aiinfra.pools import local
from jupyter_aiinfra.telemetry import board

__all__ = ["main"]


def main(argv: list[str]) -> None:
    """Serve until told to end."""
    seconds = 1 / float(argv[0])
    local.INTERVAL_SECONDS = seconds  # type: ignore[attr-defined]
    board.TICK_SECONDS = seconds  # type: ignore[misc]
    serve(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
