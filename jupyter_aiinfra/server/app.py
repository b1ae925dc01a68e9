"""The extension's wiring: its configuration, what handlers share, and which handler is where."""

from __future__ import annotations

import os
from typing import ClassVar

from jupyter_server.extension.application import ExtensionApp
from traitlets import Unicode

from jupyter_aiinfra.server.handlers import NAMESPACE, STORE_SETTING, AiInfraHandler
from jupyter_aiinfra.server.health import HealthHandler
from jupyter_aiinfra.server.shared import SharedStore
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store

__all__ = ["AiInfraApp"]


class AiInfraApp(ExtensionApp):
    """AI Infra for JupyterLab: GPU pools, distributed training cells and jobs."""

    name = "jupyter_aiinfra"
    handlers_by_path: ClassVar[dict[str, type[AiInfraHandler]]] = {"health": HealthHandler}

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
        """Hand the configuration on to settings and kernels, and share one store."""
        # Server, kernels and command line must agree on where jobs are recorded: kernels inherit
        # the environment, and settings are read from it.
        for name in ("home", "database_url"):
            if value := getattr(self, name):
                os.environ[f"JUPYTER_AIINFRA_{name.upper()}"] = value
        # Nothing is opened yet: a broken database must not keep the server from starting.
        self.shared_store = SharedStore(lambda: open_store(load_settings()))
        self.settings[STORE_SETTING] = self.shared_store

    def initialize_handlers(self) -> None:
        """Register the handlers below ``/aiinfra``."""
        self.handlers.extend(
            (rf"/{NAMESPACE}/{path}", handler) for path, handler in self.handlers_by_path.items()
        )

    async def stop_extension(self) -> None:
        """Let go of the database."""
        await self.shared_store.close()
