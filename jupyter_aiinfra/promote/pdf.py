"""A notebook as PDF: nbconvert's page for it, printed by a browser of this machine.

Any Chromium, Chrome or Edge does: one on the PATH, or the one that playwright has brought.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.shell import LocalShell

__all__ = ["browser", "printed"]

_PROGRAMS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
)
_OF_PLAYWRIGHT: Final = (
    "chromium*/chrome-linux*/chrome",
    "chromium*/chrome-linux*/headless_shell",
    "chromium*/chrome-mac*/Chromium.app/Contents/MacOS/Chromium",
)
_SECONDS: Final = 120.0
_SETTLE_MILLISECONDS: Final = 10_000
_SHOWN: Final = 300


def browser() -> str:
    """Return the program that prints.

    Raises
    ------
    UsageError
        There is none on this machine.
    """
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    for path in _brought():
        return str(path)
    raise UsageError(
        "results cannot be stored as 'pdf': there is no Chromium, Chrome or Edge on this machine",
        hint="install one of them, or: pip install playwright; playwright install chromium",
        option="forms",
    )


def _brought() -> Iterator[Path]:
    named = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    places = (
        [Path(named)]
        if named
        else [Path("~/.cache/ms-playwright"), Path("~/Library/Caches/ms-playwright")]
    )
    for place in places:
        for pattern in _OF_PLAYWRIGHT:
            yield from sorted(place.expanduser().glob(pattern), reverse=True)


def printed(page: str) -> bytes:
    """Return a page as PDF. Takes seconds; must not be called in an event loop.

    Raises
    ------
    UsageError
        There is no browser, or it could not print; says why.
    """
    program = browser()
    with tempfile.TemporaryDirectory(prefix="aiinfra-pdf-") as folder:
        source, target = Path(folder, "page.html"), Path(folder, "page.pdf")
        source.write_text(page, encoding="utf-8", errors="backslashreplace")
        argv = [
            program,
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
            # As soon as all is drawn, formulas too, and not later than that.
            f"--virtual-time-budget={_SETTLE_MILLISECONDS}",
            f"--print-to-pdf={target}",
            source.as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            argv.insert(1, "--no-sandbox")  # a browser of root has none
        done = asyncio.run(LocalShell().run(argv, timeout=_SECONDS))
        if not target.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise UsageError(
                f"{program} could not print the notebook: "
                + (said[-1][:_SHOWN] if said else f"it ended with {done.status}"),
                option="forms",
            )
        return target.read_bytes()
