"""The model, in a folder for ours, and behind FastAPI in the way that its tutorial shows."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["BODY", "write"]

_NET = """
import torch

def build():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(128, 512), torch.nn.ReLU(),
        torch.nn.Linear(512, 512), torch.nn.ReLU(),
        torch.nn.Linear(512, 10),
    )
"""
_RAW = """
import torch
from fastapi import FastAPI
from pydantic import BaseModel
from net import build

model = build().eval()
app = FastAPI()

class Body(BaseModel):
    inputs: list[list[float]]

@app.post("/predict")
def predict(body: Body) -> dict[str, list[list[float]]]:
    with torch.inference_mode():
        return {"outputs": model(torch.tensor(body.inputs)).tolist()}
"""

_EXAMPLE = [round(0.0123 * number % 1, 6) for number in range(128)]
BODY = json.dumps({"inputs": [_EXAMPLE]}).encode()


def write(folder: Path) -> Path:
    """Write both into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(_NET)
    (folder / "raw.py").write_text(_RAW)
    manifest = {
        "name": "mlp",
        "loader": "torch",
        "entry": "net:build",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [128]}],
        "example": [_EXAMPLE],
    }
    (folder / "endpoint.json").write_text(json.dumps(manifest))
    return folder
