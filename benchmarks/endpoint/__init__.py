"""Endpoints: a small model behind ours and behind FastAPI as one writes it, and behind a router."""

from __future__ import annotations

from benchmarks.endpoint.mlp import mlp
from benchmarks.endpoint.router import from_zero, router

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("torch", "fastapi", "uvicorn", "uvloop", "httptools", "msgspec")
MEASURES = (mlp, router, from_zero)
