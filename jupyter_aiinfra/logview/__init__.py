"""Logs of many ranks as something to look at. Pure: no input, no output, no clock."""

from __future__ import annotations

from jupyter_aiinfra.logview.ansi import Style, ansi_html, spans, strip_ansi
from jupyter_aiinfra.logview.view import (
    ByteRedactor,
    LogLine,
    LogSnapshot,
    LogView,
    RankLog,
    Redactor,
    log_text,
)

__all__ = [
    "ByteRedactor",
    "LogLine",
    "LogSnapshot",
    "LogView",
    "RankLog",
    "Redactor",
    "Style",
    "ansi_html",
    "log_text",
    "spans",
    "strip_ansi",
]
