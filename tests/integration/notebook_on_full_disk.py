"""Run in a home of little room: a notebook fills the disk; prints how its run ended, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.support.notebooks import Notebooks, Ran, open_notebooks

FILL = """
import os, time
while not any(line.strip()[1:7] == "before" for line in open("../notebook/output.ipynb")):
    time.sleep(0.05)
with open("filler", "wb", buffering=0) as file:
    try:
        while True:
            file.write(b"x" * 65536)
    except OSError as error:
        print("filled:", error.strerror)
"""


async def main(root: Path, *, empty: bool) -> None:
    """Fill the disk in the second cell; with `empty` it is emptied again by the third."""
    last = "import os\nos.unlink('filler')\nprint('emptied')" if empty else "print('x' * 100_000)"
    async with open_notebooks(root, Notebooks) as place:
        ran: Ran = await place.run("print('before')", FILL, last)
        file = ran.folder / "notebook/output.ipynb"
        told = {
            "state": ran.job.state.value,
            "reason": ran.reason,
            "saved": file.stat().st_size > 0 and ran.text(0),
            "new": sorted(p.name for p in file.parent.iterdir() if p.name.startswith(".")),
            "last": ran.text(2) if empty else "",
        }
    os.write(1, f"TOLD {json.dumps(told)}\n".encode())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), empty=sys.argv[2] == "empty"))
