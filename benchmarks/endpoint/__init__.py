"""Endpoints: a model behind ours, behind FastAPI as one writes it, other servers, and a router."""

from __future__ import annotations

from benchmarks.endpoint.mlp import mlp
from benchmarks.endpoint.more import encoder, switched_on
from benchmarks.endpoint.peers import PEERS
from benchmarks.endpoint.router import from_zero, router

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("torch", "fastapi", "uvicorn", "uvloop", "httptools", "msgspec")
MEASURES = (mlp, switched_on, encoder, *PEERS, router, from_zero)
