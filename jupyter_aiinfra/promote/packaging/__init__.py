"""A package: a model of the notebook as a folder that can be served, and its proof.

``package`` makes one, ``replay`` holds it against the calls that were recorded, ``register`` puts
it into MLflow's registry.
"""

from __future__ import annotations

from jupyter_aiinfra.promote.packaging.calls import Call, Recorded, record, recording
from jupyter_aiinfra.promote.packaging.folders import Package, read_package
from jupyter_aiinfra.promote.packaging.making import package
from jupyter_aiinfra.promote.packaging.measuring import report
from jupyter_aiinfra.promote.packaging.models import chosen_uri
from jupyter_aiinfra.promote.packaging.registering import register
from jupyter_aiinfra.promote.packaging.replaying import Replay, replay, replay_in

__all__ = [
    "Call",
    "Package",
    "Recorded",
    "Replay",
    "chosen_uri",
    "package",
    "read_package",
    "record",
    "recording",
    "register",
    "replay",
    "replay_in",
    "report",
]
