"""``jupyter aiinfra serve``: the server extension without JupyterLab."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jupyter_aiinfra.cli.service import UNIT, Service, ServiceNews
from jupyter_aiinfra.commands.context import Context, Surface
from jupyter_aiinfra.errors import AiInfraError, UsageError
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.shell import LocalShell

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__ = ["serve"]

_EXTENSION = "jupyter_aiinfra"


@click.command("serve")
@click.option("--ip", help="the address to listen on  [default: localhost]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes any  [default: 8888]")
@click.option("--base-url", help="the path that every address begins with  [default: /]")
@click.option(
    "--install-service", "service", flag_value="install", help="at each start, by systemd"
)
@click.option("--uninstall-service", "service", flag_value="uninstall", help="not any more")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.make_pass_decorator(Context)
def serve(
    context: Context,
    *,
    ip: str | None,
    port: int | None,
    base_url: str | None,
    service: str | None,
    options: tuple[str, ...],
) -> int | None:
    """Serve pools, jobs and logs over HTTP, without JupyterLab.

    Runs until it is interrupted or told to end (SIGTERM), and keeps every job's record up to
    date meanwhile. A token protects it, as it does any Jupyter server. What follows a bare -- are
    options of Jupyter's own.

    \b
    Examples:
      jupyter aiinfra serve
      jupyter aiinfra serve --port 8900 --json
      jupyter aiinfra serve --ip 0.0.0.0 -- --ServerApp.certfile=server.pem
      jupyter aiinfra serve --port 8900 --install-service
    """  # noqa: D301 - click keeps the lines below its \b
    named = {"ServerApp.ip": ip, "ServerApp.port": port, "ServerApp.base_url": base_url}
    words = [f"--{name}={value}" for name, value in named.items() if value is not None]
    if service is not None:
        return _service(context, install=service == "install", options=[*words, *options])
    server = _server([*words, *options])
    # Said by the server's own loop, which listens first: the address answers whoever reads it.
    server.io_loop.add_callback(_announce, context.surface, server)
    server.start()
    return None


def _service(context: Context, *, install: bool, options: Sequence[str]) -> int:
    """Install or uninstall the service, and say what has become of it; 1 where systemd has not."""
    service = Service(LocalShell(), environ=os.environ, home=Path.home())
    if install:
        news = asyncio.run(service.install(["--", *options] if options else []))
    else:
        news = asyncio.run(service.uninstall())
    context.surface.text("\n".join(_service_lines(news, install=install)))
    context.surface.value(to_wire(news))
    return 1 if news.problem else 0


def _service_lines(news: ServiceNews, *, install: bool) -> list[str]:
    if not install:
        lines = [f"removed {news.unit}; jobs that run go on"]
    else:
        lines = [f"wrote {news.unit}"]
        if news.running:
            lines += [f"it runs: systemctl --user status {UNIT}, journalctl --user -u {UNIT}"]
        lines += [f"variables of its own, such as secrets of schedules: {news.variables}"]
        if news.left_out:
            lines += [f"  not written into the unit, put them there: {', '.join(news.left_out)}"]
    if news.problem:
        lines += [f"systemd was not told: {news.problem}"]
    if news.lingers is False:
        lines += ["it ends when you log out everywhere, unless you let it linger"]
    if news.todo:
        lines += ["run this on the machine, logged in as yourself:", *(f"  {t}" for t in news.todo)]
    return lines


def _announce(surface: Surface, server: ServerApp) -> None:
    provider = server.identity_provider
    made = bool(provider.token) and provider.token_generated
    surface.text(f"serving {server.connection_url}")
    surface.text(_hint(made=made, protected=provider.auth_enabled))
    # A token that was chosen is known to who chose it, and is not repeated.
    surface.value({"url": server.connection_url, "token": provider.token if made else None})
    sys.stdout.flush()  # who reads it through a pipe waits for it


def _server(words: list[str]) -> ServerApp:
    """Return a server with our extension only; it listens, and answers once it is started.

    Raises
    ------
    UsageError
        Jupyter has refused its options, or cannot listen; it has said why.
    """
    from jupyter_server.serverapp import ServerApp  # noqa: PLC0415 - costs more than any verb

    server = ServerApp.instance(
        jpserver_extensions={_EXTENSION: True}, open_browser=False, answer_yes=True
    )
    try:
        server.initialize(argv=words, find_extensions=False)
    except SystemExit as ended:
        if not ended.code:
            raise
        raise UsageError("the server did not start", hint="see what Jupyter has said") from ended
    if _EXTENSION not in server.extension_manager.extension_apps:
        raise AiInfraError("the server extension could not be loaded", hint="see the log above")
    return server


def _hint(*, made: bool, protected: bool) -> str:
    if not protected:
        return "nothing protects it: whoever reaches it may do everything"
    if made:
        return "its token: jupyter server list"
    return "its token or password is the one you have set"
