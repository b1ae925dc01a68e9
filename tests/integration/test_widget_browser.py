"""The job widget in JupyterLab in a real browser, while its cell runs and when it is over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright import sync_api as playwright

from jupyter_aiinfra.widgets import job as widget

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
TOKEN = "of-this-test"
PATIENCE_MS = 60_000

CELL = """
import pathlib, time
from dataclasses import replace
from jupyter_aiinfra.logview import LogView
from jupyter_aiinfra.model import Job, JobKind, JobSpec, JobState
from jupyter_aiinfra.model import Observation, RankError, RankStatus
from jupyter_aiinfra.widgets import JobView

spec = JobSpec(kind=JobKind.TRAIN, name="digits", argv=("python",), procs=2)
job = Job(id="0abc", pool="here", spec=spec)
logs = LogView()

def rank(number, **what):
    return RankStatus(rank=number, node="a", pid=1 + number, **what)

def seen(state, **what):
    ranks = what.pop("ranks", (rank(0), rank(1)))
    now = time.time()
    return replace(job, state=state, seen=Observation(
        state=state, seen_at=now, started_at=now - 5, ranks=ranks, **what))

view = JobView(job, logs.snapshot())
view.show()
step = 0
while not pathlib.Path("stop").exists():
    for number in (0, 1):
        logs.feed(number, logs.offset(number), b"\\repoch %d \\x1b[32m<b>ok</b>\\x1b[0m\\n" % step)
    view.update(seen(JobState.RUNNING), logs.snapshot())
    step += 1
    time.sleep(0.1)
trace = "Traceback\\nValueError: bad batch"
error = RankError(type="ValueError", message="bad batch", traceback=trace, line=12)
failed = (rank(0, signal=15), rank(1, exit_code=1, error=error))
end = {"ended_at": time.time(), "failed_rank": 1, "ranks": failed}
view.finish(seen(JobState.FAILED, **end), logs.snapshot())
print("cell over")
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """Serve a folder with one notebook; nothing of the user's own settings is read."""
    (tmp_path / "work").mkdir()
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "source": CELL}
    notebook = {
        "cells": [{**cell, "execution_count": None}],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (tmp_path / "work" / "job.ipynb").write_text(json.dumps(notebook))
    settings = tmp_path / "config" / "labconfig"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    overrides = {"@jupyterlab/apputils-extension:notification": quiet}
    (settings / "default_setting_overrides.json").write_text(json.dumps(overrides))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    environ = {**os.environ, **{name: str(tmp_path / path) for name, path in folders.items()}}
    environ["PYTHONPATH"] = str(ROOT)
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={tmp_path / 'work'}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
        "--LanguageServerManager.autodetect=False",
    ]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options],
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/status?token={TOKEN}", server)
        yield f"http://127.0.0.1:{port}/lab?token={TOKEN}&reset"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while True:
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
                assert answer.status == 200
                return
        except OSError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)


def in_own_thread(work: Callable[[], T]) -> T:
    """Run `work` where Playwright's event loop is in nobody's way."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def open_notebook(browser: Any, url: str, errors: list[str]) -> Any:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.wait_for_function("window.jupyterapp !== undefined")
    page.evaluate("async () => { await jupyterapp.started; await jupyterapp.restored; }")
    page.evaluate("() => jupyterapp.commands.execute('docmanager:open', {path: 'job.ipynb'})")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    # Not awaited: the cell runs until this test says stop.
    page.evaluate("() => void jupyterapp.commands.execute('notebook:run-all-cells')")
    return page


def test_a_cell_shows_its_job_live_and_keeps_it_when_over(lab: str, tmp_path: Path) -> None:
    assert widget._BUILT.is_file(), "the widget is not built: npm run build:widgets"
    errors: list[str] = []

    def scenario() -> None:
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM)
            page = open_notebook(browser, lab, errors)
            running = page.locator(".aiinfra-job .aiinfra-state", has_text="running")
            running.wait_for()
            last = page.locator(".aiinfra-job .aiinfra-line").last
            before = last.text_content()
            page.wait_for_function(
                "before => [...document.querySelectorAll('.aiinfra-job .aiinfra-line')]"
                ".at(-1).textContent !== before",
                arg=before,
            )
            assert "<b>ok</b>" in last.text_content()
            green = "getComputedStyle(document.querySelector('.aiinfra-line .aiinfra-fg-2')).color"
            assert page.evaluate(green) == "rgb(17, 99, 41)"
            page.get_by_role("tab", name="rank 1").click()
            page.get_by_text("rank 1 printed the same as rank 0").wait_for()
            page.keyboard.press("ArrowLeft")
            page.locator("[role=tab][aria-selected=true]", has_text="rank 0").wait_for()
            (tmp_path / "work" / "stop").touch()
            page.locator(".aiinfra-job.aiinfra-failed .aiinfra-error pre").wait_for()
            page.locator(".jp-OutputArea-output pre", has_text="cell over").wait_for()
            page.locator(".aiinfra-job [role=tablist]").wait_for(state="detached")
            assert page.locator(".aiinfra-job").count() == 1
            said = page.locator(".aiinfra-job .aiinfra-error b").text_content()
            assert said == "rank 1 raised ValueError: bad batch"
            # The last lines are in sight at once, though no script scrolls there.
            in_sight = page.locator(".aiinfra-log").first.evaluate(
                "log => log.querySelector('pre').getBoundingClientRect().bottom"
                " <= log.getBoundingClientRect().bottom"
            )
            assert in_sight
            if os.environ.get("AIINFRA_SCREENSHOTS"):
                page.screenshot(path=os.environ["AIINFRA_SCREENSHOTS"])
            browser.close()

    in_own_thread(scenario)
    assert errors == []
