"""Which kernel runs a notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import kernels


def spec_in(folder: Path, name: str, language: str) -> None:
    place = folder / "kernels" / name
    place.mkdir(parents=True)
    spec = {"argv": ["/bin/kernel"], "display_name": name, "language": language}
    (place / "kernel.json").write_text(json.dumps(spec))


def metadata(name: str, language: str = "python") -> dict[str, Any]:
    return {"kernelspec": {"name": name, "language": language}}


def test_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, language in [("python3", "python"), ("conda", "python"), ("ir", "R")]:
        spec_in(tmp_path, name, language)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    def chosen(name: str, asked: str | None = None, *, own: bool = False) -> tuple[str, str, bool]:
        choice = kernels.choose(metadata(name), asked, own_only=own)
        return choice.name, choice.language, choice.own

    assert chosen("python3") == ("python3", "python", True)
    assert chosen("python3", "python3") == ("python3", "python", False)
    assert chosen("conda") == ("conda", "python", False)
    assert chosen("conda", own=True) == ("conda", "python", True)
    assert chosen("gone", own=True) == ("gone", "python", True)
    assert chosen("python3", "ir") == ("ir", "R", False)
    assert chosen("ir", own=True) == ("ir", "R", False)
    with pytest.raises(
        kernels.Refused, match=r"'gone', which is not on this machine: there is .*ir"
    ):
        chosen("gone")
    with pytest.raises(kernels.Refused, match="names no kernel"):
        kernels.choose({}, None, own_only=False)
