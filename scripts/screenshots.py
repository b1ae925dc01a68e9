"""Take the pictures of the documentation: a real JupyterLab in a headless Chromium, real jobs.

    python -m scripts.screenshots [FOLDER]      (default: docs/images)

It needs what ``make setup`` installs, and a Chromium on the PATH. Settings, jobs and notebooks
live in a temporary folder, so nothing of the user's own shows up in a picture.
"""

# ruff: noqa: INP001, T201

from __future__ import annotations

import contextlib
import json
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.lab import Lab, LabPage, chromium, open_lab
from tests.support.site import open_site

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "example_notebooks" / "quickstart.ipynb"
TRAINING_CELL = "quickstart-09"

WIDTH = 1280
RUNNING = 960  # the training cell and what it has printed after some epochs
TALL = 1240  # the training cell and all of its output
LOW = 800
MOST_BYTES = 200_000

FAILING = """\
%%accelerate here --procs 2 --mixed-precision no --name digits
from accelerate import Accelerator

accelerator = Accelerator()
accelerator.print(f"training on {len(train_x):,} images")
rows = train_x[accelerator.process_index :: accelerator.num_processes]
if accelerator.process_index == 1:
    rows = rows[:, :63]  # one rank reads its part of the data wrongly
if rows.shape[1] != 64:
    raise ValueError(f"expected 64 pixels an image, got {rows.shape[1]}")
accelerator.wait_for_everyone()
"""

# Each setting keeps something out of the pictures that is not ours, or moves.
LAB_SETTINGS: dict[str, dict[str, object]] = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


# --- the server --------------------------------------------------------------------------------


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Lab]:
    """Run JupyterLab with everything it reads and writes below `folder`; end it afterwards."""
    with open_site(folder) as site, open_lab(site, overrides=LAB_SETTINGS) as lab:
        yield lab


def masks(lab: Lab) -> dict[str, str]:
    """Return what a picture shows for what is only true of this machine."""
    return {
        str(lab.site.home): "/home/me/.local/share/jupyter-aiinfra",
        str(lab.site.work): "/home/me/notebooks",
        sys.prefix: "/home/me/venv",
        f" {socket.gethostname()}": " localhost",
    }


# --- notebooks ---------------------------------------------------------------------------------


def write_notebooks(work: Path) -> None:
    """Put the quickstart into `work`, and two variants that end at their training cell."""
    notebook = json.loads(QUICKSTART.read_text(encoding="utf-8"))
    names = [cell["id"] for cell in notebook["cells"]]
    before, training = notebook["cells"][: names.index(TRAINING_CELL)], names.index(TRAINING_CELL)
    text = "".join(notebook["cells"][training]["source"])
    _write(work / "quickstart.ipynb", notebook, notebook["cells"])
    _write(work / "failing.ipynb", notebook, _ending(before, FAILING))
    first, rest = text.split("\n", 1)
    _write(work / "dry-run.ipynb", notebook, _ending(before, f"{first} --dry-run\n{rest}"))


def _write(path: Path, notebook: dict[str, object], cells: Sequence[dict[str, object]]) -> None:
    path.write_text(json.dumps({**notebook, "cells": list(cells)}), encoding="utf-8")


def _ending(before: Sequence[dict[str, object]], source: str) -> list[dict[str, object]]:
    last: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "id": TRAINING_CELL,
        "metadata": {},
    }
    return [*before, {**last, "outputs": [], "source": source.rstrip("\n")}]


# --- the browser -------------------------------------------------------------------------------


@contextlib.contextmanager
def notebook_window(browser: Browser, lab: Lab, name: str, *, height: int) -> Iterator[LabPage]:
    """Open a notebook in a window of its own, with nothing beside it, its kernel ready."""
    window = LabPage(browser, lab, width=WIDTH, height=height).open()
    try:
        window.open_notebook(name)
        window.page.evaluate(
            "() => { if (!jupyterapp.shell.leftCollapsed) jupyterapp.shell.collapseLeft(); }"
        )
        yield window
    finally:
        window.close()


def training_cell(page: Page) -> int:
    """Return the index of the training cell among the cells shown."""
    script = """id => {
        const cells = jupyterapp.shell.currentWidget.content.widgets;
        return cells.findIndex(cell => cell.model.id === id);
    }"""
    index: int = page.evaluate(script, TRAINING_CELL)
    return index


def frame(page: Page, *, bottom: bool = False) -> None:
    """Scroll the training cell to the upper edge, or the end of its output to the lower one."""
    script = """([index, bottom]) => {
        const notebook = jupyterapp.shell.currentWidget.content;
        notebook.activeCellIndex = index;
        notebook.mode = 'command';
        const cell = notebook.widgets[index].node;
        cell.scrollIntoView({block: bottom ? 'end' : 'start'});
        document.activeElement?.blur();
    }"""
    page.evaluate(script, [training_cell(page), bottom])
    page.mouse.move(WIDTH - 5, 5)


def wait_for_idle(page: Page) -> None:
    """Wait until no cell is running or waiting."""
    page.wait_for_function(
        """() => {
            const cells = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
            return cells.every(cell => !cell.textContent.includes('[*]'));
        }"""
    )


def take(window: LabPage, path: Path) -> None:
    """Save the window as a PNG, with the names of this machine in it masked.

    Raises
    ------
    SystemExit
        The file is too big for a repository.
    """
    script = """masks => {
        for (const output of document.querySelectorAll('.jp-OutputArea-output, .aiinfra-JobPage')) {
            const texts = document.createTreeWalker(output, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) {
                const text = texts.currentNode;
                for (const [real, shown] of masks) {
                    if (text.data.includes(real)) text.data = text.data.replaceAll(real, shown);
                }
            }
        }
    }"""
    window.page.evaluate(script, list(masks(window.lab).items()))
    window.page.screenshot(path=path, animations="disabled")
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size} bytes, and at most {MOST_BYTES} are kept")


def quickstart(browser: Browser, lab: Lab, folder: Path) -> None:
    """Take the training cell while it runs and when it is over, in both themes."""
    with notebook_window(browser, lab, "quickstart.ipynb", height=RUNNING) as window:
        page = window.page
        window.begin("notebook:run-all-cells")
        page.wait_for_selector(".aiinfra-job")
        frame(page)
        page.wait_for_function(
            "() => /epoch\\s+6 /.test(document.querySelector('.aiinfra-job')?.textContent ?? '')"
        )
        take(window, folder / "running.png")
        page.set_viewport_size({"width": WIDTH, "height": TALL})
        page.wait_for_selector(".aiinfra-job.aiinfra-succeeded")
        wait_for_idle(page)
        frame(page)
        take(window, folder / "finished.png")
        window.change_theme("JupyterLab Dark")
        frame(page)
        take(window, folder / "finished-dark.png")
        window.change_theme("JupyterLab Light")


def overview(browser: Browser, lab: Lab, folder: Path) -> None:
    """Take the panel beside a training cell at work, then the page of that job."""
    window = LabPage(browser, lab, width=WIDTH, height=RUNNING).open()
    page = window.page
    window.command("aiinfra:show-panel")
    window.open_notebook("quickstart.ipynb")
    window.begin("notebook:run-all-cells")
    page.wait_for_selector(".aiinfra-job.aiinfra-running")
    page.wait_for_function(
        "() => /epoch\\s+6 /.test(document.querySelector('.aiinfra-job')?.textContent ?? '')"
    )
    frame(page)
    take(window, folder / "lab.png")
    window.command("aiinfra:open-job", {"id": lab.site.newest().id})
    page.wait_for_selector(".aiinfra-JobPage .aiinfra-row")
    page.wait_for_selector(".aiinfra-JobPage :text('succeeded')")
    page.set_viewport_size({"width": WIDTH, "height": LOW})
    page.evaluate("() => jupyterapp.shell.collapseLeft()")
    window.change_theme("JupyterLab Dark")
    take(window, folder / "job-page.png")
    window.change_theme("JupyterLab Light")
    window.close()


def failing(browser: Browser, lab: Lab, folder: Path) -> None:
    """Take a cell one of whose ranks raised."""
    with notebook_window(browser, lab, "failing.ipynb", height=LOW) as window:
        window.begin("notebook:run-all-cells")
        window.page.wait_for_selector(".aiinfra-failed")
        wait_for_idle(window.page)
        frame(window.page)
        take(window, folder / "failed.png")


def dry_run(browser: Browser, lab: Lab, folder: Path) -> None:
    """Take the manifest and the plan of the quickstart's cell."""
    with notebook_window(browser, lab, "dry-run.ipynb", height=LOW) as window:
        window.begin("notebook:run-all-cells")
        window.page.wait_for_selector("text=dry run: nothing was started")
        wait_for_idle(window.page)
        frame(window.page, bottom=True)
        take(window, folder / "dry-run.png")


def main(arguments: Sequence[str]) -> int:
    """Take every picture."""
    folder = Path(arguments[0]) if arguments else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="screenshots-") as place,
        serve(Path(place) / "site") as lab,
        sync_playwright() as driver,
    ):
        write_notebooks(lab.site.work)
        browser = driver.chromium.launch(executable_path=chromium())
        for picture in (overview, quickstart, failing, dry_run):
            picture(browser, lab, folder)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
