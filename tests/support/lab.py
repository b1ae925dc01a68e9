"""A real JupyterLab in a process of its own, and what a test does in its pages."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.site import Site

__all__ = ["PATIENCE_MS", "Lab", "LabPage", "chromium", "notebook", "open_lab"]

PATIENCE_MS = 90_000
_START_SECONDS = 90.0

# Each keeps something out of the page that is not ours, or comes from the network.
_OVERRIDES: Mapping[str, Mapping[str, object]] = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
}


def chromium() -> str:
    """Return the browser of the distribution."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "there is no chromium on the PATH; `make system` installs it"
    return found


def notebook(*cells: str) -> dict[str, object]:
    """Return a notebook of these code cells; their ids are c0, c1, …"""
    return {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"c{number}",
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


class Lab:
    """JupyterLab on a free port, with nothing of the user's own settings.

    Parameters
    ----------
    site
        Where everything lies that it reads and writes.
    options
        Further words of its command line.
    env
        Further variables of its environment.
    overrides
        Settings of JupyterLab's plugins, over those that keep strangers' notices away.
    """

    def __init__(
        self,
        site: Site,
        *,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        self.site = site
        self.token = secrets.token_hex(16)
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        settings = site.root / "config" / "labconfig" / "default_setting_overrides.json"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps({**_OVERRIDES, **(overrides or {})}))
        folders = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
        own = {name: str(site.root / path) for name, path in folders.items()}
        self._environ = {**site.environ, **own, "PYTHONFAULTHANDLER": "1", **(env or {})}
        self._options = [
            *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={self.port}"),
            *("--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}"),
            f"--ServerApp.root_dir={site.work}",
            *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
            *("--LanguageServerManager.autodetect=False", *options),
        ]
        self.log = site.root / "server.log"
        self.was_killed = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's process."""
        assert self._process is not None, "the server has not been started"
        return self._process

    def start(self) -> Lab:
        """Start the server, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyter", "lab", *self._options],
                cwd=self.site.work,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            said = self.log.read_text(errors="replace")
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """End the server as a user does, its kernels with it; fail with its stacks if it hangs."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # faulthandler writes where each thread is
            self._process.wait()
            stacks = self.log.read_text(errors="replace").rpartition("Fatal Python error")[2]
            # A request for a file that is under way when jupyter_server is told to stop is never
            # finished, and the thread that reads the file for it then keeps the process. A stack
            # of ours, but for the loop that idles, is ours to mend.
            ours = [line for line in stacks.splitlines() if "/jupyter_aiinfra/" in line]
            busy = [line for line in ours if "aio.py" not in line]
            assert "AnyIO" in stacks or "anyio" in stacks, stacks
            assert not busy, stacks

    def kill(self) -> None:
        """Kill -9 of the server alone: its kernels live on; returns once it is gone."""
        self.was_killed = True
        self.process.kill()
        self.process.wait()

    def ask(self, verb: str, path: str, body: Any = None) -> Any:
        """Ask the REST API; return what it answers, decoded."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}{path}",
            method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
            return json.loads(answer.read() or b"null")

    def write(self, name: str, content: Mapping[str, object]) -> None:
        """Put a notebook into the folder that the server shows."""
        (self.site.work / name).write_text(json.dumps(content))

    def _answers(self) -> bool:
        try:
            self.ask("GET", "/api/status")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True


@contextmanager
def open_lab(
    site: Site,
    *,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[Lab]:
    """Yield a running JupyterLab; it and its kernels are gone afterwards."""
    lab = Lab(site, options=options, env=env, overrides=overrides)
    try:
        yield lab.start()
    finally:
        lab.stop()


class LabPage:
    """One window with JupyterLab in it.

    What went wrong in its scripts is in ``errors``, what it sent through our socket in ``sent``.
    """

    def __init__(self, browser: Any, lab: Lab, *, width: int = 1280, height: int = 800) -> None:
        self.lab = lab
        self.errors: list[str] = []
        self.sent: list[str | bytes] = []
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(error.stack or str(error)))
        self.page.on("websocket", self._listen)

    def _listen(self, socket: Any) -> None:
        if "/aiinfra/" in socket.url:
            socket.on("framesent", lambda frame: self.sent.append(frame))  # noqa: PLW0108 - no builtin

    def open(self, *, reset: bool = True, extension: bool = True) -> LabPage:
        """Go to JupyterLab, in a fresh workspace or in the one that was left."""
        self.page.goto(f"{self.lab.url}/lab?token={self.lab.token}{'&reset' if reset else ''}")
        return self.ready(extension=extension)

    def reload(self) -> LabPage:
        """Load the page anew, as F5 does."""
        self.page.reload()
        return self.ready()

    def ready(self, *, extension: bool = True) -> LabPage:
        """Wait until JupyterLab is there, and our plugins where the extension is."""
        self.page.wait_for_function("() => window.jupyterapp !== undefined")
        self.page.evaluate("async () => { await jupyterapp.started; await jupyterapp.restored; }")
        if extension:
            self.page.wait_for_function("() => jupyterapp.commands.hasCommand('aiinfra:check')")
        return self

    def command(self, name: str, arguments: Mapping[str, object] | None = None) -> None:
        """Execute a command and wait for it."""
        script = "async ([name, args]) => { await jupyterapp.commands.execute(name, args); }"
        self.page.evaluate(script, [name, dict(arguments or {})])

    def begin(self, name: str, arguments: Mapping[str, object] | None = None) -> None:
        """Execute a command, and leave it running."""
        script = "([name, args]) => { void jupyterapp.commands.execute(name, args); }"
        self.page.evaluate(script, [name, dict(arguments or {})])

    def open_notebook(self, path: str) -> None:
        """Open a notebook; returns once its kernel is idle."""
        self.command("docmanager:open", {"path": path, "factory": "Notebook"})
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.wait_for_kernel("idle")

    def open_notebook_again(self, path: str) -> None:
        """Bring a notebook to the front whose kernel may be at work."""
        self.command("docmanager:open", {"path": path, "factory": "Notebook"})
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")

    def wait_for_kernel(self, status: str) -> None:
        """Wait until the kernel of the notebook in front has this status."""
        self.page.wait_for_function(
            "status => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status"
            " === status",
            arg=status,
        )

    def run_cell(self, index: int) -> None:
        """Start one cell of the notebook in front; do not wait for it."""
        script = """index => {
            const notebook = jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = index;
            notebook.deselectAll();
            void jupyterapp.commands.execute('notebook:run-cell');
        }"""
        self.page.evaluate(script, index)

    def wait_for_prompt(self, index: int, text: str) -> None:
        """Wait until a cell of the notebook in front says ``[text]``: ``*`` while it runs.

        JupyterLab's own word for the kernel may be idle then: with ipykernel 7 its widgets talk
        to another thread of it, and each end there counts.
        """
        self.page.wait_for_function(
            "([index, text]) => jupyterapp.shell.currentWidget.content.widgets[index].node"
            ".querySelector('.jp-InputPrompt').textContent.includes(`[${text}]`)",
            arg=[index, text],
        )

    def change_theme(self, name: str) -> None:
        """Switch the theme; returns once its style sheet counts."""
        self.command("apputils:change-theme", {"theme": name})
        # The mark on the body is set before the colours are loaded.
        self.page.wait_for_function(_THEME_COUNTS, arg=[name, "Dark" in name])
        # JupyterLab removes its splash once for each switch, even when there is one for two.
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def screenshot(self, path: Path) -> None:
        """Save the window as a PNG, with nothing moving in it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.mouse.move(2, 2)
        self.page.screenshot(path=path, animations="disabled")

    def close(self) -> None:
        """Close the window."""
        self.context.close()


_THEME_COUNTS = """([name, dark]) => {
    const numbers = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number);
    return document.body.dataset.jpThemeName === name && (numbers[0] < 128) === dark;
}"""
