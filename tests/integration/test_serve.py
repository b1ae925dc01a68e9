"""``jupyter aiinfra serve`` as a process of its own: what it answers, does by itself, and ends."""

from __future__ import annotations

import json
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
