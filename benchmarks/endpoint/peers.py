"""The small model behind other servers: each in packages of its own, asked in turn with ours."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.endpoint.mlp import asked, free_port, served, started
from benchmarks.endpoint.models import write
from benchmarks.extras import installed
from benchmarks.figure import Figure, Goal
from benchmarks.registry import CannotMeasure, Measure, Run

__all__ = ["PEERS"]

_CLIENTS = 32
_LITSERVE = """
import sys
import litserve, torch
from net import build

class Api(litserve.LitAPI):
    def setup(self, device):
        self.model = build().eval()
    def decode_request(self, request):
        return torch.tensor(request["inputs"][0])
    def batch(self, inputs):
        return torch.stack(inputs)
    def predict(self, batch):
        with torch.inference_mode():
            return self.model(batch)
    def unbatch(self, output):
        return list(output)
    def encode_response(self, output):
        return {"outputs": [output.tolist()]}

if __name__ == "__main__":
    api = Api(max_batch_size=32, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        port=int(sys.argv[1]), num_api_servers=1, log_level="error", generate_client_file=False
    )
"""
_BENTOML = """
import bentoml, torch
from net import build

@bentoml.service(workers=1)
class Mlp:
    def __init__(self):
        self.model = build().eval()
    @bentoml.api(route="/predict", batchable=True, max_batch_size=64, max_latency_ms=10000)
    def predict(self, inputs: list[list[float]]) -> list[list[float]]:
        with torch.inference_mode():
            return self.model(torch.tensor(inputs)).tolist()
"""
_MLFLOW = """
import mlflow, numpy, torch
from net import build

class Mlp(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.model = build().eval()
    def predict(self, context, model_input):
        with torch.inference_mode():
            given = torch.from_numpy(numpy.asarray(model_input, dtype="float32"))
            return self.model(given).numpy()

mlflow.models.set_model(Mlp())
"""
_RAY = """
import os, sys, time
os.environ |= {"RAY_raylet_start_wait_time_s": "150", "RAY_worker_niceness": "0"}
import ray, torch
from ray import serve
from ray.serve.schema import LoggingConfig
from net import build

@serve.deployment(max_ongoing_requests=256, logging_config={"enable_access_log": False})
class Mlp:
    def __init__(self):
        self.model = build().eval()
    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def many(self, rows):
        with torch.inference_mode():
            return self.model(torch.tensor(rows)).tolist()
    async def __call__(self, request):
        return {"outputs": [await self.many((await request.json())["inputs"][0])]}

ray.init(num_cpus=4, include_dashboard=False, configure_logging=False)
quiet = LoggingConfig(enable_access_log=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config=quiet)
serve.run(Mlp.bind(), route_prefix="/predict")
while True:
    time.sleep(3600)
"""


@dataclass(frozen=True, kw_only=True)
class _Peer:
    """A server, how it is had, and the command that runs it with the model in a folder."""

    name: str
    version: str
    code: str
    argv: Callable[[Path, int], Sequence[str]]
    limit: float | None
    path: str = "/predict"
    package: str = ""


def _python(*told: str) -> Callable[[Path, int], Sequence[str]]:
    return lambda _folder, port: [sys.executable, *(one.format(port=port) for one in told)]


def _mlflow(folder: Path, port: int) -> Sequence[str]:
    import mlflow  # noqa: PLC0415 - it takes seconds

    place = folder / "logged"
    if not place.exists():
        sys.path.insert(0, str(folder))
        mlflow.pyfunc.save_model(str(place), python_model=str(folder / "peer.py"))
    argv = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(place), "-w", "1"]
    return [*argv, "--env-manager", "local", "-p", str(port), "-h", "127.0.0.1"]


_ALL = (
    _Peer(
        name="LitServe",
        version="0.2.19",
        code=_LITSERVE,
        argv=_python("peer.py", "{port}"),
        limit=11,
        package="litserve",
    ),
    _Peer(
        name="BentoML",
        version="1.4.39",
        code=_BENTOML,
        argv=_python("-m", "bentoml", "serve", "peer:Mlp", "--port", "{port}"),
        limit=16,
        package="bentoml",
    ),
    # The project itself needs it, so it is here.
    _Peer(name="MLflow", version="", code=_MLFLOW, argv=_mlflow, limit=20, path="/invocations"),
    _Peer(
        name="Ray Serve",
        version="2.60.0",
        code=_RAY,
        argv=_python("peer.py", "{port}"),
        limit=None,
        package="ray[serve]",
    ),
)


def _told(peer: _Peer, run: Run) -> Sequence[Figure]:
    """Measure beside a peer; one that cannot be had here is said by name."""
    try:
        return _measured(peer, run)
    except CannotMeasure as error:
        run.say(f"{peer.name} {peer.version} cannot be measured here: {error}")
        return ()


def _measured(peer: _Peer, run: Run) -> Sequence[Figure]:
    """Ask ours and a peer in turn."""
    version = peer.version or importlib.metadata.version("mlflow")
    packages = None
    if peer.package:
        name = peer.package.partition("[")[0]
        packages = installed(name, f"{peer.package}=={version}")
    folder = write(run.folder / "mlp")
    (folder / "peer.py").write_text(peer.code)
    port = free_port()
    argv = peer.argv(folder, port)
    found: dict[tuple[str, str], list[float]] = {}
    theirs = started(argv, folder, port, path=peer.path, packages=packages)
    with served(folder, ours=True) as ours, theirs as raw:
        for number in range(1, run.rounds + 1):
            for name, server, path in (("ours", ours, "/predict"), ("raw", raw, peer.path)):
                told = asked(server, _CLIENTS, path)
                for what in ("rate", "cpu"):
                    found.setdefault((name, what), []).append(told[what])
            rates = [f"{n} {found[n, 'rate'][-1]:.0f}/s" for n in ("ours", "raw")]
            run.say(f"{peer.name} {number}/{run.rounds}: {', '.join(rates)}")
    note = f"{peer.name} {version} with its own batching where it has one, one worker, JSON."
    least = None if peer.limit is None else Goal(limit=peer.limit, at_least=True)
    return tuple(
        Figure(
            name=f"{what} beside {peer.name}, {_CLIENTS} clients",
            unit=unit,
            ours=tuple(found["ours", key]),
            raw=tuple(found["raw", key]),
            goal=goal,
            note=note,
        )
        for what, key, unit, goal in (
            ("requests", "rate", "1/s", least),
            ("processor time a request", "cpu", "ms", None),
        )
    )


def _named(peer: _Peer) -> Measure:
    measure = partial(_told, peer)
    measure.__name__ = peer.name.lower().replace(" ", "_")  # type: ignore[attr-defined]
    return measure


PEERS: tuple[Measure, ...] = tuple(map(_named, _ALL))
