"""Endpoints: a small model behind ours and behind FastAPI as one writes it."""

from __future__ import annotations

from benchmarks.endpoint.mlp import mlp

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("torch", "fastapi", "uvicorn", "uvloop", "httptools", "msgspec")
MEASURES = (mlp,)
