"""JupyterLab with and without the extension, in a headless browser."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.support.lab import Lab, LabPage, chromium, open_lab
from tests.support.site import open_site

__all__ = ["open_browser", "serve", "window"]


@contextlib.contextmanager
def serve(folder: Path, *, ours: bool = True, options: Sequence[str] = ()) -> Iterator[Lab]:
    """Yield a JupyterLab with everything it writes below `folder`; ``ours`` is the extension."""
    with open_site(folder) as site:
        without = () if ours else _without_us(site.root)
        with open_lab(site, options=[*options, *without]) as lab:
            yield lab


def _without_us(root: Path) -> Sequence[str]:
    """Return options that leave the extension out, and nothing else that is installed."""
    (root / "config").mkdir(parents=True)
    (root / "config" / "jupyter_server_config.json").write_text(
        json.dumps({"ServerApp": {"jpserver_extensions": {"jupyter_aiinfra": False}}})
    )
    others = root / "labextensions"
    installed = Path(sys.prefix) / "share" / "jupyter" / "labextensions"
    shutil.copytree(installed, others, ignore=shutil.ignore_patterns("jupyter-aiinfra"))
    return (f"--LabApp.labextensions_path={others}",)


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """Yield a headless browser."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium(), headless=True)
        yield browser
        browser.close()


@contextlib.contextmanager
def window(browser: Any, lab: Lab) -> Iterator[LabPage]:
    """Yield a window with nothing in its cache, not yet at JupyterLab."""
    page = LabPage(browser, lab)
    try:
        yield page
    finally:
        page.close()
