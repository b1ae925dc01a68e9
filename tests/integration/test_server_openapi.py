"""Strangers send to a Jupyter server whatever `docs/openapi.json` allows and does not."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.openapi import fuzzed
from tests.support.site import open_site

_DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"

# What is accepted depends on what there is (pools, notebooks, endpoints), which no schema says; and
# attaching a pool would have ssh look for hosts whose names are made up. Bodies of that are sent to
# a made-up cluster by `tests/server/test_fuzz.py`, random ones for all other operations too.
_CONFIG = """
[checks]
positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /aiinfra/pools"
enabled = false
"""


@pytest.mark.timeout(300)  # a minute of work, on a machine that does other things beside it
def test_a_server_answers_as_its_document_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        open_site(tmp_path / "site") as site,
        site.begin("serve", "--port", "0", "--json", "--", "--allow-root", log=log) as process,
    ):
        try:
            _hold(process, tmp_path)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    text = log.read_text()
    assert "Traceback" not in text
    assert "Uncaught exception" not in text


def _hold(process: subprocess.Popen[str], folder: Path) -> None:
    assert process.stdout is not None
    told = ""
    for line in iter(process.stdout.readline, ""):
        told += line
        if line.startswith("}"):
            break
    said = json.loads(told)
    asked = fuzzed(
        str(_DOCUMENT),
        folder,
        *("--url", said["url"].rstrip("/")),
        phases="coverage",
        config=_CONFIG,
        headers={"Authorization": f"token {said['token']}"},
    )
    assert asked > 2000
