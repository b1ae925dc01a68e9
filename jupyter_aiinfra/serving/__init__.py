"""A model in a folder, served to other people's programs.

It runs on nodes, in the user's environment, and so imports nothing of ours; what it needs beside
numpy and msgspec is the extra ``[serve]``.
"""

from __future__ import annotations
