"""``jupyter aiinfra serve`` as a process of its own: what it answers, does by itself, and ends."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.model import JobState
from tests.support.bench import wait_until
from tests.support.site import Site, open_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        yield site


class Served:
    """A headless server, from its first line of output on."""

    def __init__(self, site: Site, *options: str) -> None:
        words = ("serve", "--port", "0", "--json", *options, "--", "--allow-root")
        self.process: subprocess.Popen[str] = site.begin(*words)
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        text = ""
        for line in lines:
            text += line
            if line.startswith("}"):
                break
        self.said: dict[str, Any] = json.loads(text)

    def ask(self, path: str, *, token: str | None) -> Any:
        headers = {} if token is None else {"Authorization": f"token {token}"}
        request = urllib.request.Request(self.said["url"] + path, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())

    def end(self, number: signal.Signals) -> str:
        """Send a signal and wait for the end; return what was logged."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=60)
        return log


@pytest.fixture
def served(site: Site) -> Iterator[Served]:
    served = Served(site, "--base-url", "/gpu/")
    yield served
    if served.process.poll() is None:
        served.end(signal.SIGKILL)


def test_answers_who_has_the_token_and_nobody_else(served: Served) -> None:
    assert served.said["url"].endswith("/gpu/")
    token = served.said["token"]
    assert served.ask("aiinfra/health", token=token)["status"] == "ok"
    for stranger in (None, "wrong"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            served.ask("aiinfra/health", token=stranger)
        assert refused.value.code == 403
        refused.value.close()


def test_keeps_the_record_up_to_date_and_ends_when_told(site: Site, served: Served) -> None:
    site.attach()
    site.script("hello.py", "print('hello')\n")
    launched = site.command("run", "hello.py", "--pool", "here", "--detach", "--json")
    assert launched.returncode == 0, launched.stderr
    job_id = json.loads(launched.stdout)["id"]

    # Nobody follows it, and reading the record observes nothing: only the server does.
    wait_until(lambda: site.store.get_job(job_id).state.final, seconds=90)
    assert site.store.get_job(job_id).state is JobState.SUCCEEDED, site.story(job_id)

    log = served.end(signal.SIGTERM)
    assert served.process.returncode == 0, log
    assert "Traceback" not in log


def test_ends_when_interrupted(site: Site, served: Served) -> None:
    served.ask("aiinfra/health", token=served.said["token"])

    log = served.end(signal.SIGINT)

    assert served.process.returncode == 0, log
    assert "Traceback" not in log


def test_option_that_jupyter_refuses_is_an_error(site: Site) -> None:
    done = site.command("serve", "--port", "0", "--", "--allow-root", "--ServerApp.port=no-number")

    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def install(site: Site, *words: str, systemctl: str) -> subprocess.CompletedProcess[str]:
    """Install the service on a machine whose systemctl is this script."""
    programs = site.root / "programs"
    programs.mkdir(exist_ok=True)
    for name, text in (("systemctl", systemctl), ("loginctl", "echo no")):
        script = programs / name
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
    path = f"{programs}:{site.environ['PATH']}"
    return site.command("serve", "--json", *words, env={"PATH": path})


def test_the_service_runs_what_was_asked_for(site: Site) -> None:
    calls = site.root / "calls"
    done = install(
        site,
        "--port",
        "0",
        "--install-service",
        systemctl=f'echo "$@" >> {shlex.quote(str(calls))}',
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["enabled"], said["running"], said["problem"]) == (True, True, "")
    assert said["todo"] == ["loginctl enable-linger"]
    assert calls.read_text().split("\n")[:3] == [
        "--user daemon-reload",
        "--user enable jupyter-aiinfra.service",
        "--user restart jupyter-aiinfra.service",
    ]
    unit = Path(said["unit"]).read_text()
    (line,) = [each for each in unit.splitlines() if each.startswith("ExecStart=")]
    # What systemd would run, up to the options that only a test needs.
    words = shlex.split(line.partition("=")[2])
    assert words[1:] == ["serve", "--", "--ServerApp.port=0"]
    process = subprocess.Popen(
        [*words, "--allow-root"],
        env=site.environ,
        cwd=site.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        serving = next(text for text in iter(process.stdout.readline, "") if "serving http" in text)
        assert serving.startswith("serving http://")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

    gone = install(site, "--uninstall-service", systemctl=":")
    assert gone.returncode == 0, gone.stderr
    assert not Path(said["unit"]).exists()


def test_a_systemd_that_does_not_answer_is_told_with_what_to_do(site: Site) -> None:
    done = install(site, "--install-service", systemctl="echo 'no bus here' >&2; exit 1")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["problem"] == "systemctl --user daemon-reload: no bus here"
    assert said["todo"][0] == "systemctl --user daemon-reload"
    assert Path(said["unit"]).exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_itself_can_read_the_unit(site: Site) -> None:
    odd = '--ServerApp.custom_display_url=http://a b/%h$HOME\\"'
    done = install(site, "--install-service", "--", odd, systemctl=":")
    unit = json.loads(done.stdout)["unit"]
    runtime = site.root / "systemd"
    runtime.mkdir()
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--user", unit],
        env={**site.environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    # It also reads the units of the machine, and has its own to say of those.
    assert Path(unit).name not in checked.stderr
