"""``jupyter aiinfra serve``: the server extension without JupyterLab."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from jupyter_aiinfra.commands.context import Context, Surface
from jupyter_aiinfra.errors import AiInfraError, UsageError

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__ = ["serve"]

_EXTENSION = "jupyter_aiinfra"


@click.command("serve")
@click.option("--ip", help="the address to listen on  [default: localhost]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes any  [default: 8888]")
@click.option("--base-url", help="the path that every address begins with  [default: /]")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.make_pass_decorator(Context)
def serve(
    context: Context, ip: str | None, port: int | None, base_url: str | None, options: tuple[str]
) -> None:
    """Serve pools, jobs and logs over HTTP, without JupyterLab.

    Runs until it is interrupted or told to end (SIGTERM), and keeps every job's record up to
    date meanwhile. A token protects it, as it does any Jupyter server. What follows a bare -- are
    options of Jupyter's own.

    \b
    Examples:
      jupyter aiinfra serve
      jupyter aiinfra serve --port 8900 --json
      jupyter aiinfra serve --ip 0.0.0.0 -- --ServerApp.certfile=server.pem
    """  # noqa: D301 - click keeps the lines below its \b
    named = {"ServerApp.ip": ip, "ServerApp.port": port, "ServerApp.base_url": base_url}
    words = [f"--{name}={value}" for name, value in named.items() if value is not None]
    server = _server([*words, *options])
    # Said by the server's own loop, which listens first: the address answers whoever reads it.
    server.io_loop.add_callback(_announce, context.surface, server)
    server.start()


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
