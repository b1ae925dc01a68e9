"""Take the pictures of the documentation: a real JupyterLab in a headless Chromium, real jobs.

    python scripts/screenshots.py [FOLDER]      (default: docs/images)

It needs what ``make setup`` installs, and a Chromium on the PATH. Settings, jobs and notebooks
live in a temporary folder, so nothing of the user's own shows up in a picture.
"""

# ruff: noqa: INP001, T201

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "example_notebooks" / "quickstart.ipynb"
TRAINING_CELL = "quickstart-09"

WIDTH = 1280
RUNNING = 960  # the training cell and what it has printed after some epochs
TALL = 1240  # the training cell and all of its output
LOW = 800
MOST_BYTES = 200_000
START_SECONDS = 60.0
PATIENCE_MS = 90_000

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
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running JupyterLab: its address, and the folder whose notebooks it shows.

    ``masks`` says what a picture shows for what is only true of this machine.
    """

    url: str
    token: str
    work: Path
    masks: Mapping[str, str]


# --- the server --------------------------------------------------------------------------------


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Lab]:
    """Run JupyterLab with everything it reads and writes below `folder`; end it afterwards."""
    work = folder / "work"
    work.mkdir()
    overrides = folder / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps(LAB_SETTINGS))
    token, port = secrets.token_hex(16), _free_port()
    options = [
        *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *("--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"),
        f"--ServerApp.root_dir={work}",
        *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
        "--LanguageServerManager.autodetect=False",
    ]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options],
            env={**os.environ, **_private(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            lab = Lab(url=address, token=token, work=work, masks=_masks(folder))
            _wait_for_server(lab, server, folder / "server.log")
            yield lab
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def _private(folder: Path) -> dict[str, str]:
    names = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_AIINFRA_HOME": "home",
    }
    return {name: str(folder / path) for name, path in names.items()}


def _masks(folder: Path) -> dict[str, str]:
    return {
        str(folder / "home"): "/home/me/.local/share/jupyter-aiinfra",
        str(folder / "work"): "/home/me/notebooks",
        sys.prefix: "/home/me/venv",
        f" {socket.gethostname()}": " localhost",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_server(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            address = f"{lab.url}/api/status?token={lab.token}"
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 - our own server
            return
        time.sleep(0.1)
    raise SystemExit(f"JupyterLab did not start:\n{log.read_text(errors='replace')}")


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


def open_notebook(browser: Browser, lab: Lab, name: str, *, height: int) -> Page:
    """Open a notebook in a window of its own, with nothing beside it, its kernel ready."""
    context = browser.new_context(viewport={"width": WIDTH, "height": height})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{lab.url}/lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.evaluate("async () => { await jupyterapp.started; await jupyterapp.restored; }")
    _command(page, "docmanager:open", {"path": name, "factory": "Notebook"})
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.evaluate("() => { if (!jupyterapp.shell.leftCollapsed) jupyterapp.shell.collapseLeft(); }")
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    return page


def _command(page: Page, name: str, arguments: dict[str, object] | None = None) -> None:
    script = "async ([name, args]) => { await jupyterapp.commands.execute(name, args); }"
    page.evaluate(script, [name, arguments or {}])


def run_all(page: Page) -> None:
    """Start every cell; do not wait for them."""
    page.evaluate("() => { void jupyterapp.commands.execute('notebook:run-all-cells'); }")


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


def change_theme(page: Page, name: str) -> None:
    """Switch the theme, for every window from now on."""
    _command(page, "apputils:change-theme", {"theme": name})
    page.wait_for_selector(f'body[data-jp-theme-name="{name}"]', state="attached")
    page.wait_for_timeout(500)  # its style sheet is loaded after the mark is set


def wait_for_idle(page: Page) -> None:
    """Wait until no cell is running or waiting."""
    page.wait_for_function(
        """() => {
            const cells = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
            return cells.every(cell => !cell.textContent.includes('[*]'));
        }"""
    )


def take(page: Page, lab: Lab, path: Path) -> None:
    """Save the window as a PNG, with the names of this machine in it masked.

    Raises
    ------
    SystemExit
        The file is too big for a repository.
    """
    script = """masks => {
        for (const output of document.querySelectorAll('.jp-OutputArea-output')) {
            const texts = document.createTreeWalker(output, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) {
                const text = texts.currentNode;
                for (const [real, shown] of masks) {
                    if (text.data.includes(real)) text.data = text.data.replaceAll(real, shown);
                }
            }
        }
    }"""
    page.evaluate(script, list(lab.masks.items()))
    page.screenshot(path=path, animations="disabled")
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size} bytes, and at most {MOST_BYTES} are kept")


def quickstart(browser: Browser, lab: Lab, folder: Path) -> None:
    """Take the training cell while it runs and when it is over, in both themes."""
    page = open_notebook(browser, lab, "quickstart.ipynb", height=RUNNING)
    run_all(page)
    page.wait_for_selector(".aiinfra-job")
    frame(page)
    page.wait_for_function(
        "() => /epoch\\s+6 /.test(document.querySelector('.aiinfra-job')?.textContent ?? '')"
    )
    take(page, lab, folder / "running.png")
    page.set_viewport_size({"width": WIDTH, "height": TALL})
    page.wait_for_selector(".jp-RenderedHTMLCommon .aiinfra-succeeded")
    wait_for_idle(page)
    frame(page)
    take(page, lab, folder / "finished.png")
    change_theme(page, "JupyterLab Dark")
    frame(page)
    take(page, lab, folder / "finished-dark.png")
    change_theme(page, "JupyterLab Light")
    page.context.close()


def failing(browser: Browser, lab: Lab, folder: Path) -> None:
    """Take a cell one of whose ranks raised."""
    page = open_notebook(browser, lab, "failing.ipynb", height=LOW)
    run_all(page)
    page.wait_for_selector(".aiinfra-failed")
    wait_for_idle(page)
    frame(page)
    take(page, lab, folder / "failed.png")
    page.context.close()


def dry_run(browser: Browser, lab: Lab, folder: Path) -> None:
    """Take the manifest and the plan of the quickstart's cell."""
    page = open_notebook(browser, lab, "dry-run.ipynb", height=LOW)
    run_all(page)
    page.wait_for_selector("text=dry run: nothing was started")
    wait_for_idle(page)
    frame(page, bottom=True)
    take(page, lab, folder / "dry-run.png")
    page.context.close()


def main(arguments: Sequence[str]) -> int:
    """Take every picture."""
    folder = Path(arguments[0]) if arguments else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no Chromium on the PATH; `make system` installs the distribution's own")
    with (
        tempfile.TemporaryDirectory(prefix="screenshots-") as place,
        serve(Path(place)) as lab,
        sync_playwright() as driver,
    ):
        write_notebooks(lab.work)
        browser = driver.chromium.launch(executable_path=chromium)
        for picture in (quickstart, failing, dry_run):
            picture(browser, lab, folder)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
