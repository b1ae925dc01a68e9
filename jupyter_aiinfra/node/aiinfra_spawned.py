"""What multiprocessing's spawn and forkserver run as ``__mp_main__`` in a child of a cell's rank.

The child needs the cell's imports, functions and classes to find pickled names again, not its
training loop: a cell carries no ``if __name__ == "__main__"`` guard.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import rank, supervise
else:  # its neighbours in the bundle
    import rank
    import supervise

if __name__ == "__mp_main__":
    _run = supervise.Run(os.environ["AIINFRA_RUN_DIR"])
    _code = rank.Code(_run, os.environ["AIINFRA_BLOBS"], _run.json("task.json") or {})
    _code.enter_context(globals())
    _code.define(globals())
