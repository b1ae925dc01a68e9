"""What is promoted is registered where there is a registry, and is deployed in any case."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_aiinfra.commands.endpointpromote import _register
from jupyter_aiinfra.errors import PoolError
from jupyter_aiinfra.promote.packaging import Package
from jupyter_aiinfra.settings import Settings
from tests.support.notebook import Notebook
from tests.support.packages import packed


@pytest.fixture
def made(tmp_path: Path) -> Package:
    return packed(
        Notebook(tmp_path).run("def predict(x: float) -> float: return x"), "predict", example=1.0
    )


def said(folder: Path, settings: Settings) -> list[str]:
    texts: list[str] = []
    context: Any = SimpleNamespace(
        session=SimpleNamespace(settings=settings), surface=SimpleNamespace(text=texts.append)
    )
    _register(context, folder)
    return texts


def test_where_and_whether(made: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def register(package: Package, *, tracking_uri: str | None = None) -> Any:
        asked.append(tracking_uri)
        return SimpleNamespace(manifest={"registered": f"models:/{package.name}/1"})

    monkeypatch.setattr("jupyter_aiinfra.promote.packaging.register", register)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert said(made.folder, Settings(home=tmp_path)) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert said(made.folder, Settings(home=tmp_path)) == ["registered as models:/predict/1"]
    said(made.folder, Settings(home=tmp_path, tracking_uri="http://mine"))
    assert asked == ["http://there", "http://mine"]
    # A folder that somebody wrote by hand is no package of ours.
    assert said(tmp_path, Settings(home=tmp_path)) == []


def test_a_registry_that_is_away(
    made: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(*_: Any, **__: Any) -> Any:
        raise PoolError("the registry does not take it: nobody is there")

    monkeypatch.setattr("jupyter_aiinfra.promote.packaging.register", register)
    told = said(made.folder, Settings(home=tmp_path, tracking_uri="http://mine"))
    assert told == ["not registered: the registry does not take it: nobody is there"]
