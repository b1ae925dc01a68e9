"""``python -m jupyter_aiinfra.serving``."""

from __future__ import annotations

import sys

from jupyter_aiinfra.serving.main import main

if __name__ == "__main__":
    sys.exit(main())
