"""One browser for the session; a home and a JupyterLab for each test that asks.

These run as ``pytest tests/browser``, apart from the others: Playwright's synchronous interface
keeps an event loop running in the main thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.support.lab import PATIENCE_MS, Lab, LabPage, chromium, open_lab
from tests.support.site import Site, open_site

SHOTS = Path(os.environ.get("AIINFRA_SCREENSHOTS") or "build/screenshots")


# Two cores run the server, its kernels, the ranks and the browser.
expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium(), headless=True)
        yield opened
        opened.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as opened:
        yield opened


@pytest.fixture
def lab(site: Site) -> Iterator[Lab]:
    with open_lab(site) as opened:
        yield opened


@pytest.fixture
def window(browser: Any, lab: Lab) -> Iterator[Callable[..., LabPage]]:
    """Return a function that opens a window; at the end none of them may have had a fault."""
    opened: list[LabPage] = []

    def make(**size: int) -> LabPage:
        opened.append(LabPage(browser, lab, **size))
        return opened[-1].open()

    yield make
    for page in opened:
        page.close()
    errors = [error for page in opened for error in page.errors]
    if lab.was_killed:
        # JupyterLab's own requests to a server that is gone end in rejections nobody catches.
        errors = [error for error in errors if "/jupyter-aiinfra/" in error]
    assert errors == []


@pytest.fixture
def shots(request: pytest.FixtureRequest) -> Callable[[LabPage, str], None]:
    """Return a function that keeps a picture of a screen in both themes."""

    def take(page: LabPage, name: str) -> None:
        for theme in ("Light", "Dark"):
            page.change_theme(f"JupyterLab {theme}")
            page.screenshot(SHOTS / f"{name}-{theme.lower()}.png")
        page.change_theme("JupyterLab Light")

    return take
