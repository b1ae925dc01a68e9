"""What the extension does to the server it is loaded into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import jupyter_aiinfra
from jupyter_aiinfra.server import AiInfraApp
from jupyter_aiinfra.settings import load_settings


def test_jupyter_finds_the_extension() -> None:
    (point,) = jupyter_aiinfra._jupyter_server_extension_points()

    assert point == {"module": "jupyter_aiinfra.server", "app": AiInfraApp}


def test_is_loaded_and_opens_no_database(jp_serverapp: Any, aiinfra_home: Path) -> None:
    assert "jupyter_aiinfra" in jp_serverapp.extension_manager.extension_apps
    assert not aiinfra_home.exists()


class TestConfiguration:
    """`AiInfraApp.home` and `AiInfraApp.database_url`."""

    @pytest.fixture
    def aiinfra_config(self, tmp_path: Path) -> dict[str, Any]:
        return {"home": str(tmp_path / "team"), "database_url": "postgresql://db/team"}

    def test_holds_for_server_and_kernels(self, jp_serverapp: Any, tmp_path: Path) -> None:
        settings = load_settings()

        assert settings.home == tmp_path / "team"
        assert settings.database == "postgresql://db/team"


def test_without_configuration_the_settings_stay(jp_serverapp: Any, aiinfra_home: Path) -> None:
    assert load_settings().home == aiinfra_home
