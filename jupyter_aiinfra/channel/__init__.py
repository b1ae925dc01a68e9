"""A long-lived channel to a node: requests, and streams that go on where a cut left them.

The far end is ``node/channel.py``; its text travels through the channel itself, so nothing has to
be installed on the node.
"""

from __future__ import annotations

from jupyter_aiinfra.channel.client import Channel
from jupyter_aiinfra.channel.streams import Piece, Stream
from jupyter_aiinfra.channel.transfer import Upload

__all__ = ["Channel", "Piece", "Stream", "Upload"]
