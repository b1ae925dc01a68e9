"""The extension's wiring: its configuration, what handlers share, and which handler is where."""

from __future__ import annotations

import os

from jupyter_server.extension.application import ExtensionApp
from traitlets import Unicode

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.server import health
from jupyter_aiinfra.server.handlers import ENGINE_SETTING, NAMESPACE
from jupyter_aiinfra.server.routes import Route
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store

__all__ = ["ROUTES", "AiInfraApp"]

ROUTES: tuple[Route, ...] = (*health.ROUTES,)


class AiInfraApp(ExtensionApp):
    """AI Infra for JupyterLab: GPU pools, distributed training cells and jobs."""

    name = "jupyter_aiinfra"

    home = Unicode(
        "",
        help="""Folder of the database, run directories and blobs. Empty leaves it to the settings
        file and environment. Holds for this server and for the kernels that it starts.""",
    ).tag(config=True)

    database_url = Unicode(
        "",
        help="""SQLAlchemy URL of the database. Empty leaves it to the settings file and
        environment. Holds for this server and for the kernels that it starts.""",
    ).tag(config=True)

    def initialize_settings(self) -> None:
        """Hand the configuration on to settings and kernels, and share one engine."""
        # Server, kernels and command line must agree on where jobs are recorded: kernels inherit
        # the environment, and settings are read from it.
        for name in ("home", "database_url"):
            if value := getattr(self, name):
                os.environ[f"JUPYTER_AIINFRA_{name.upper()}"] = value
        # Nothing is opened yet: a broken database must not keep the server from starting.
        self.shared_engine = SharedEngine(_open_engine)
        self.settings[ENGINE_SETTING] = self.shared_engine

    def initialize_handlers(self) -> None:
        """Register the handlers below ``/aiinfra``."""
        self.handlers.extend((rf"/{NAMESPACE}/{each.pattern}", each.handler) for each in ROUTES)

    async def stop_extension(self) -> None:
        """Let go of the engine."""
        await self.shared_engine.close()


def _open_engine() -> Engine:
    settings = load_settings()
    return Engine(open_store(settings), settings)
