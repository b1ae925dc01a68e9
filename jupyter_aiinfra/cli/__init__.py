"""The command line: ``jupyter aiinfra …``, the same verbs as in a notebook."""

from __future__ import annotations

from jupyter_aiinfra.cli.main import main

__all__ = ["main"]
