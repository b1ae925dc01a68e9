"""Results as PDF, printed by a real browser; and what is said where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote import outputs, pdf

NOTEBOOK: dict[str, Any] = {
    "cells": [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# A report"},
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "source": "print(1)",
            "execution_count": 1,
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "1\n"}],
        },
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def test_a_notebook_is_printed() -> None:
    data = outputs.rendered(NOTEBOOK, "pdf")
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    assert len(data) > 5000


def test_without_a_browser_it_is_refused_when_the_schedule_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    with pytest.raises(UsageError, match="there is no Chromium, Chrome or Edge"):
        outputs.check_forms(["ipynb", "pdf"])
    outputs.check_forms(["ipynb", "html"])
    brought = tmp_path / "chromium-1148" / "chrome-linux" / "chrome"
    brought.parent.mkdir(parents=True)
    brought.touch()
    assert pdf.browser() == str(brought)


def test_a_browser_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho no display at all >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UsageError, match="could not print the notebook: no display at all"):
        outputs.rendered(NOTEBOOK, "pdf")
