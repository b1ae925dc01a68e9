"""The magics: ``%pool``, ``%jobs``, ``%gpus``, ``%cost``, ``%%accelerate``; quick to load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_aiinfra.magics.core import AiInfraMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["AiInfraMagics", "load", "unload"]

_LOADED: dict[int, AiInfraMagics] = {}


def load(ip: InteractiveShell) -> None:
    """Register the magics in `ip`. Loading twice changes nothing."""
    if id(ip) in _LOADED:
        return
    magics = AiInfraMagics(shell=ip)
    ip.register_magics(magics)
    magics.begin()
    _LOADED[id(ip)] = magics


def unload(ip: InteractiveShell) -> None:
    """Take the magics out of `ip`; jobs go on."""
    magics = _LOADED.pop(id(ip), None)
    if magics is None:
        return
    magics.end()
    for kind, names in magics.magics.items():
        for name in names:
            ip.magics_manager.magics[kind].pop(name, None)
