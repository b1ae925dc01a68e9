"""The extension's wiring: its configuration, what handlers share, and which handler is where."""

from __future__ import annotations

import os

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import Bool, Callable, Type, Unicode

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.pools import open_pool
from jupyter_aiinfra.server import (
    budgets,
    cost,
    endpointproxy,
    endpoints,
    endpointsamples,
    files,
    gpus,
    health,
    jobs,
    kinds,
    launchline,
    logs,
    notices,
    plans,
    pools,
    runresults,
    schedules,
    stream,
)
from jupyter_aiinfra.server.background import BACKGROUND_SETTING, Background
from jupyter_aiinfra.server.events import EventBus
from jupyter_aiinfra.server.handlers import ENGINE_SETTING, NAMESPACE, POKE_SETTING
from jupyter_aiinfra.server.hub import Hub
from jupyter_aiinfra.server.logs import BOOK_SETTING, LogBook
from jupyter_aiinfra.server.nodelay import without_delay
from jupyter_aiinfra.server.pools import BOARD_SETTING, PoolBoard
from jupyter_aiinfra.server.routes import Route
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store

__all__ = ["ROUTES", "AiInfraApp"]

ROUTES: tuple[Route, ...] = (
    *health.ROUTES,
    *kinds.ROUTES,
    *pools.ROUTES,
    *jobs.ROUTES,
    *plans.ROUTES,
    *files.ROUTES,
    *logs.ROUTES,
    *gpus.ROUTES,
    *cost.ROUTES,
    *budgets.ROUTES,
    *schedules.ROUTES,
    *runresults.ROUTES,
    *notices.ROUTES,
    *endpoints.ROUTES,
    *endpointsamples.ROUTES,
    *endpointproxy.ROUTES,
    *launchline.ROUTES,
    *stream.ROUTES,
)


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

    pool_opener = Callable(
        open_pool,
        help="""Opens a pool from its record and the settings: a function of these two. Set it in a
        configuration file, to put something else than the registered kinds behind pools.""",
    ).tag(config=True)

    background_class = Type(
        Background,
        klass=Background,
        help="""What watches the record, refreshes jobs and asks pools while the server runs.""",
    ).tag(config=True)

    pool_board_class = Type(
        PoolBoard,
        klass=PoolBoard,
        help="""What knows how the pools were when they were last asked.""",
    ).tag(config=True)

    log_book_class = Type(
        LogBook,
        klass=LogBook,
        help="""What reads logs for pages: their rows, their bytes and where a text is in them.""",
    ).tag(config=True)

    tcp_nodelay = Bool(
        default_value=True,
        help="""Send a kernel's answers at once, instead of holding small messages back until the
        browser has acknowledged the one before: about 40 ms less on every small cell.""",
    ).tag(config=True)

    def initialize_settings(self) -> None:
        """Hand the configuration on to settings and kernels, and share one engine."""
        # Server, kernels and command line must agree on where jobs are recorded: kernels inherit
        # the environment, and settings are read from it.
        for name in ("home", "database_url"):
            if value := getattr(self, name):
                os.environ[f"JUPYTER_AIINFRA_{name.upper()}"] = value
        # Nothing is opened yet: a broken database must not keep the server from starting.
        self.shared_engine = SharedEngine(self._open_engine)
        self.settings[ENGINE_SETTING] = self.shared_engine
        self.pool_board = self.pool_board_class(self.shared_engine)
        self.settings[BOARD_SETTING] = self.pool_board
        self.log_book = self.log_book_class(self.shared_engine)
        self.settings[BOOK_SETTING] = self.log_book
        self._initialize_background()
        if self.tcp_nodelay:
            name = "kernel_websocket_connection_class"
            self.settings[name] = without_delay(self.settings[name])

    def _initialize_background(self) -> None:
        logger = self.serverapp.event_logger if self.serverapp else None
        assert logger is not None  # noqa: S101 - a server makes it before its extensions
        self.background = self.background_class(
            self.shared_engine,
            hub=Hub(),
            bus=EventBus(logger),
            board=self.pool_board,
            book=self.log_book,
            parent=self,
        )
        self.settings[BACKGROUND_SETTING] = self.background
        self.settings[POKE_SETTING] = self.background.poke

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Begin what is done without being asked; called by the server in its loop."""
        del serverapp
        self.background.start()

    def initialize_handlers(self) -> None:
        """Register the handlers below ``/aiinfra``."""
        self.handlers.extend((rf"/{NAMESPACE}/{each.pattern}", each.handler) for each in ROUTES)

    async def stop_extension(self) -> None:
        """End what is going on, then let go of the engine."""
        await self.background.stop()
        await self.pool_board.close()
        await self.shared_engine.close()

    def _open_engine(self) -> Engine:
        settings = load_settings()
        engine = Engine(open_store(settings), settings, opener=self.pool_opener)
        # Others come and go; a server is there for as long as anybody wants to look back.
        engine.telemetry.records = True
        return engine
