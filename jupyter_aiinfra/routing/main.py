"""``python -m jupyter_aiinfra.routing CONFIG``: one process, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from jupyter_aiinfra.routing import tracing
from jupyter_aiinfra.routing.control import Control
from jupyter_aiinfra.routing.files import BadConfig, Places
from jupyter_aiinfra.routing.router import Router

__all__ = ["CANNOT", "main"]

_log = logging.getLogger(__name__)

# The exit status of a router that would fail again.
CANNOT = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit status."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asked = _parser().parse_args(argv)
    places = Places(asked.config.absolute())
    # What is made here is for its owner only.
    os.umask(0o077)
    _raise_files()
    try:
        lock = os.open(places.config.with_name("router.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        traces = tracing.started()
        router = Router(places, traces=traces)
    except BlockingIOError:
        return _cannot(f"another router goes by {places.config}")
    except (BadConfig, OSError) as error:
        return _cannot(str(error))
    try:
        uvloop.run(_serve(router, asked.drain))
    except OSError as error:
        return _cannot(str(error))
    finally:
        if traces is not None:
            traces.close()
        os.close(lock)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jupyter_aiinfra.routing",
        description="Route requests to the replicas of endpoints, as CONFIG (router.json) says. "
        "It is read again when it changes.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument(
        "--drain",
        type=float,
        default=30.0,
        help="seconds for answers under way after SIGTERM (%(default)s)",
    )
    return parser


def _cannot(why: str) -> int:
    print(f"cannot route: {why}", file=sys.stderr, flush=True)
    return CANNOT


def _raise_files() -> None:
    """Have as many connections as may be: each request under way has two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(router: Router, drain_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    await router.start()
    control = Control(router)
    await control.start()
    print(f"routing on http://{router.config.host}:{router.port}", flush=True)
    await router.run(ending)
    _log.info("draining")
    await router.drain(drain_seconds)
    control.close()
