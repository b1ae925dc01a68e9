"""One URL for many replicas: who is asked, which version, and when a new one is taken back.

A program of its own, ``python -m jupyter_aiinfra.routing CONFIG``. It imports nothing else of ours,
as :mod:`jupyter_aiinfra.serving` does not, and goes on with no kernel and no server alive.
"""

from __future__ import annotations
