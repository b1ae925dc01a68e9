"""The Jupyter server extension: REST for the JupyterLab panel, over the same engine as the rest."""

from jupyter_aiinfra.server.app import AiInfraApp

__all__ = ["AiInfraApp"]
