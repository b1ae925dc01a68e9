"""GPU pools, distributed training cells and jobs for JupyterLab.

Importing this does next to nothing: the kernel, the Jupyter server and the command line each load
only what they need, and when they need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_aiinfra.node.step import step

__all__ = ["__version__", "load_ipython_extension", "step", "unload_ipython_extension"]


def __getattr__(name: str) -> Any:
    if name == "step":
        from jupyter_aiinfra.node.step import step  # noqa: PLC0415 - only training scripts need it

        # A cell's import line is found again by what the module holds under its name.
        globals()["step"] = step
        return step
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    try:
        # Written by the build; a source tree that was never built has none.
        from jupyter_aiinfra._version import __version__ as built  # noqa: PLC0415
    except ImportError:
        from importlib import metadata  # noqa: PLC0415 - costs more than the rest of this file

        try:
            return metadata.version("jupyter_aiinfra")
        except metadata.PackageNotFoundError:
            return "0+unknown"
    return str(built)


__version__ = _version()


def load_ipython_extension(ip: InteractiveShell) -> None:
    """Register the magics in `ip`; what ``%load_ext jupyter_aiinfra`` calls."""
    from jupyter_aiinfra import magics  # noqa: PLC0415 - the server needs no magics

    magics.load(ip)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """Take the magics out of `ip` again; jobs go on."""
    from jupyter_aiinfra import magics  # noqa: PLC0415

    magics.unload(ip)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "jupyter-aiinfra"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    # A kernel imports this package too, and must not pay for the Jupyter server.
    from jupyter_aiinfra.server import AiInfraApp  # noqa: PLC0415

    return [{"module": "jupyter_aiinfra.server", "app": AiInfraApp}]
