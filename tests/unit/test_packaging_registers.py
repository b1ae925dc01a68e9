"""What is promoted is registered where there is a registry, and is deployed in any case."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from jupyter_aiinfra.commands.endpointpromote import _register
from jupyter_aiinfra.errors import PoolError
from jupyter_aiinfra.promote.packaging import Package
from tests.support.notebook import Notebook
from tests.support.packages import packed


@pytest.fixture
def made(tmp_path: Path) -> Package:
    return packed(
        Notebook(tmp_path).run("def predict(x: float) -> float: return x"), "predict", example=1.0
    )


def said(folder: Path) -> list[str]:
    texts: list[str] = []
    context: Any = SimpleNamespace(surface=SimpleNamespace(text=texts.append))
    _register(context, folder)
    return texts


@pytest.fixture(autouse=True)
def nobody_has_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # what a test before has told it
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "JUPYTER_AIINFRA_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def test_where_and_whether(made: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def register(package: Package, *, tracking_uri: str | None = None) -> Any:
        asked.append(tracking_uri)
        return SimpleNamespace(manifest={"registered": f"models:/{package.name}/1"})

    monkeypatch.setattr("jupyter_aiinfra.promote.packaging.register", register)
    assert said(made.folder) == []
    monkeypatch.setenv("JUPYTER_AIINFRA_TRACKING_URI", "http://mine")
    assert said(made.folder) == ["registered as models:/predict/1"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    said(made.folder)
    told = SimpleNamespace(is_tracking_uri_set=lambda: True, get_tracking_uri=lambda: "http://set")
    monkeypatch.setitem(sys.modules, "mlflow", cast("ModuleType", told))
    said(made.folder)
    assert asked == ["http://mine", "http://there", "http://set"]
    # A folder that somebody wrote by hand is no package of ours.
    assert said(tmp_path) == []


def test_a_registry_that_is_away(made: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    def register(*_: Any, **__: Any) -> Any:
        raise PoolError("the registry does not take it: nobody is there")

    monkeypatch.setattr("jupyter_aiinfra.promote.packaging.register", register)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    told = said(made.folder)
    assert told == ["not registered: the registry does not take it: nobody is there"]
