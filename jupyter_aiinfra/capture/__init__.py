"""Capture: what a cell needs of the notebook, so that it can run somewhere else.

A cell travels as source plus data, never as pickled code: its imports as lines, its functions and
classes as text, its local modules as files, its variables as parcels.
"""

from jupyter_aiinfra.capture.cell import Capture, capture_cell
from jupyter_aiinfra.capture.script import capture_script
from jupyter_aiinfra.capture.sources import Definition, SourceIndex

__all__ = ["Capture", "Definition", "SourceIndex", "capture_cell", "capture_script"]
