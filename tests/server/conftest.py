"""A Jupyter server in this process, with our extension in it and a home of its own.

These tests run as ``pytest tests/server``, apart from the others: pytest-jupyter keeps an event
loop in the main thread, and runs coroutine tests on it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from tests.support.quickstore import quick_stores
from tests.support.served import Api

pytest_plugins = ("pytest_jupyter.jupyter_server",)


def pytest_configure(config: pytest.Config) -> None:
    # pytest-asyncio would take the coroutine tests away from pytest-jupyter.
    config.option.asyncio_mode = "strict"


@pytest.fixture(scope="session", autouse=True)
def _quick_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick_stores(tmp_path_factory.mktemp("migrated")):
        yield


@pytest.fixture
def aiinfra_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for this test alone, and none of the user's own settings."""
    home = tmp_path / "aiinfra"
    # The extension exports its configuration; setting both here takes it back after the test.
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(home))
    monkeypatch.setenv("JUPYTER_AIINFRA_DATABASE_URL", f"sqlite:///{home / 'aiinfra.db'}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return home


@pytest.fixture
def aiinfra_config() -> dict[str, Any]:
    """Configuration of ``AiInfraApp``; a test parametrizes or overrides it."""
    return {}


@pytest.fixture
def jp_server_config(aiinfra_home: Path, aiinfra_config: dict[str, Any]) -> Config:
    return Config(
        {
            "ServerApp": {
                "jpserver_extensions": {"jupyter_aiinfra": True},
                # A handler of ours without a decorator is refused, and a test sees it.
                "allow_unauthenticated_access": False,
            },
            "AiInfraApp": aiinfra_config,
        }
    )


@pytest.fixture
def api(http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str]) -> Api:
    """The REST interface, asked by whoever the token is of."""
    return Api(http_server_client, base_url=jp_base_url, headers=jp_auth_header)
