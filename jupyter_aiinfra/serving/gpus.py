"""Which GPUs there are for the workers of a model: without torch, which the parent never loads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from jupyter_aiinfra.serving.manifest import Manifest

__all__ = ["VISIBLE", "gpus_for", "visible_gpus"]

VISIBLE = "CUDA_VISIBLE_DEVICES"

_DEVICES = Path("/dev")
_ON_DEVICES = ("torch", "onnx")


def visible_gpus(environ: Mapping[str, str], *, devices: Path = _DEVICES) -> tuple[str, ...]:
    """Return the GPUs that a process may use, each as CUDA_VISIBLE_DEVICES would name it."""
    told = environ.get(VISIBLE)
    if told is None:
        found = [each for each in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", each.name)]
        # CUDA counts those that are there, whatever number their device has.
        return tuple(str(number) for number in range(len(found)))
    names = []
    for name in (each.strip() for each in told.split(",")):
        if not name or name.startswith("-"):
            break  # CUDA, too, sees nothing of what follows
        names.append(name)
    return tuple(names)


def gpus_for(manifest: Manifest, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the GPUs of which each is to have a worker; none where the model asks for none.

    A model for one GPU by its number is told nothing: it finds that among those that there are.
    """
    if manifest.loader not in _ON_DEVICES or manifest.device not in ("cuda", "auto"):
        return ()
    return visible_gpus(environ)
