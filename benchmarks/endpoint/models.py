"""The model, in a folder for ours, and behind FastAPI in the way that its tutorial shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["BODY", "TOKENS", "write", "write_encoder"]

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
_ENCODER = """
import torch

class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(1000, 256)
        layer = torch.nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True, dropout=0.0)
        self.layers = torch.nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = torch.nn.Linear(256, 10)

    def forward(self, tokens):
        return self.head(self.layers(self.words(tokens)).mean(1))

def build():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Encoder().eval()
"""
# The batched forward pass alone: `python inside.py SECONDS` prints examples a second, and what one
# takes of a processor.
_INSIDE = """
import sys, time
import torch
from encoder import build

model, tokens = build(), torch.arange(32 * 64).reshape(32, 64) % 1000
with torch.inference_mode():
    model(tokens)
    begun, used, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < float(sys.argv[1]):
        model(tokens)
        count += 32
    print(count / (time.perf_counter() - begun), (time.process_time() - used) / count)
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
    taken = {"name": "x", "dtype": "float32", "shape": [128]}
    files = {"net.py": _NET, "raw.py": _RAW}
    return _written(folder, files, name="mlp", entry="net:build", taken=taken, example=_EXAMPLE)


_SENTENCE = [number * 7 % 1000 for number in range(64)]
TOKENS = json.dumps({"inputs": [_SENTENCE]}).encode()


def write_encoder(folder: Path) -> Path:
    """Write a larger model into `folder`, and what runs it in its own process; return it."""
    taken = {"name": "tokens", "dtype": "int64", "shape": [64]}
    files = {"encoder.py": _ENCODER, "inside.py": _INSIDE}
    return _written(
        folder, files, name="encoder", entry="encoder:build", taken=taken, example=_SENTENCE
    )


def _written(
    folder: Path,
    files: Mapping[str, str],
    *,
    name: str,
    entry: str,
    taken: Mapping[str, object],
    example: Sequence[float],
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        (folder / path).write_text(text)
    manifest = {
        "name": name,
        "loader": "torch",
        "entry": entry,
        "inputs": [taken],
        "example": [example],
    }
    (folder / "endpoint.json").write_text(json.dumps(manifest))
    return folder
