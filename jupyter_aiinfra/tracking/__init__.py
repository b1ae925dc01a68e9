"""What is written down of a job: its MLflow run, where its code came from, what was installed.

All of it is decided in the process that launches; the node's companion (``node/track.py``) does the
talking to MLflow. Nothing here imports MLflow, and no secret leaves here in something recorded.
"""

from jupyter_aiinfra.tracking.provenance import git_state
from jupyter_aiinfra.tracking.run import (
    Tracking,
    run_params,
    run_tags,
    track_request,
    tracking_spec,
)
from jupyter_aiinfra.tracking.secrecy import safe_environ

__all__ = [
    "Tracking",
    "git_state",
    "run_params",
    "run_tags",
    "safe_environ",
    "track_request",
    "tracking_spec",
]
