"""Waiting for the end of a process of this machine that is no child of ours."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from jupyter_aiinfra.node import supervise

__all__ = ["until_ended"]

_LOOK_SECONDS: Final = 0.1


async def until_ended(who: Mapping[str, Any] | None) -> None:
    """Return once the process that `who` identifies (:func:`.supervise.identity`) is gone.

    Where the kernel has descriptors of processes nothing is looked at meanwhile.
    """
    descriptor = _descriptor(who)
    if descriptor is None:
        while supervise.alive(who):  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(_LOOK_SECONDS)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        loop.add_reader(descriptor, ended.set)
        # Looked at after the descriptor was had: its number may be another's by then.
        if supervise.alive(who):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _descriptor(who: Mapping[str, Any] | None) -> int | None:
    if not who or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(who["pid"])
    except OSError:  # it is gone, or the kernel is too old
        return None
