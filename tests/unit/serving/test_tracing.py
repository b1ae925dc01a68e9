"""Nothing is traced, and nothing is paid for that, unless a collector is named that can be told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_aiinfra.serving.otlp import opened, wanted

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
URL = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: URL}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": URL}, True),
        ({ENDPOINT: URL, "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: URL, "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_who_is_told(environ: dict[str, str], found: bool) -> None:
    assert wanted(environ) is found


def test_another_protocol_is_not_spoken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, URL)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert opened("a", {}) is None
    assert "http/protobuf is what is spoken" in caplog.text


def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, URL)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert opened("a", {}) is None
    assert "jupyter_aiinfra[otel]" in caplog.text


def test_without_a_collector_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from jupyter_aiinfra.routing import main, tracing\n"
        "from jupyter_aiinfra.serving import tracing as serving, worker\n"
        "assert tracing.started() is None and serving.started('a', '1') is None\n"
        # FastAPI brings the interface by itself, where that is installed.
        "ours = ('opentelemetry.sdk', 'opentelemetry.exporter')\n"
        "found = [name for name in sys.modules if name.startswith(ours)]\n"
        "assert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
