"""``python -m jupyter_aiinfra.routing``."""

from __future__ import annotations

import sys

from jupyter_aiinfra.routing.main import main

if __name__ == "__main__":
    sys.exit(main())
