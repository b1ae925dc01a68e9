"""Programs of other people call one endpoint through the router, unchanged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import requests
import tritonclient.http as triton

from jupyter_aiinfra.routing.keys import new_key
from tests.integration.router_home import Router, endpoint
from tests.integration.serving_endpoint import Endpoint, model_folder

SECRET, KEY = new_key("anna")
BEARER = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """Two endpoints: a model of numbers that wants a key, and one that answers in parts."""
    folder = tmp_path_factory.mktemp("routed")
    near = folder / "double.sock"
    letters = model_folder(folder / "letters", entry="spell", inputs=[], outputs=[], example=["a"])
    with (
        Endpoint(model_folder(folder / "double"), "--unix", str(near), "--max-queue", "200000"),
        Endpoint(letters) as parts,
        Router(
            folder,
            double=endpoint({"3": [f"unix:{near}"]}, keys=(KEY,)),
            letters=endpoint({"1": [parts.url]}),
        ) as one,
    ):
        one.up("double", 1)
        one.up("letters", 1)
        yield one


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packing", [None, "gzip"])
def test_tritons_client(router: Router, binary: bool, packing: str | None) -> None:
    rows = np.arange(40_000, dtype=np.float32).reshape(20_000, 2)
    given = triton.InferInput("x", rows.shape, "FP32")
    given.set_data_from_numpy(rows, binary_data=binary)
    wanted = triton.InferRequestedOutput("y", binary_data=binary)
    with triton.InferenceServerClient(f"127.0.0.1:{router.port}/double") as client:
        assert client.is_server_ready()
        assert client.get_model_metadata("double", headers=dict(BEARER))["name"] == "double"
        result = client.infer(
            "double",
            [given],
            outputs=[wanted],
            headers=dict(BEARER),
            request_compression_algorithm=packing,
            response_compression_algorithm=packing,
        )
        assert (result.as_numpy("y") == rows * 2).all()
        with pytest.raises(Exception, match="a key is needed"):
            client.infer("double", [given])


def test_requests(router: Router) -> None:
    with requests.Session() as session:
        for number in range(20):
            body = {"inputs": [[number, 1]]}
            told = session.post(
                f"{router.url}/double/predict", json=body, headers=dict(BEARER), timeout=30
            )
            assert told.json() == {"outputs": [[2 * number, 2]], "version": "3"}
            assert told.headers["x-endpoint-version"] == "3"
        told = session.post(f"{router.url}/double/predict", json=body, timeout=30)
        assert (told.status_code, told.headers["www-authenticate"]) == (401, "Bearer")
        bad = '{"inputs": [[1, "x"]]}'
        told = session.post(
            f"{router.url}/double/predict", data=bad, headers=dict(BEARER), timeout=30
        )
        assert (told.status_code, told.json()["field"]) == (400, "inputs[0][1]")


def test_answers_in_parts(router: Router) -> None:
    told = requests.post(
        f"{router.url}/letters/predict",
        json={"inputs": ["ab"]},
        headers={"Accept": "text/event-stream"},
        stream=True,
        timeout=30,
    )
    assert told.headers["content-type"] == "text/event-stream"
    events = b"".join(told.iter_content(None))
    assert events == b'data: "a"\n\ndata: "b"\n\nevent: end\ndata: {}\n\n'


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl(router: Router, tmp_path: Path) -> None:
    rows = [[number, 1] for number in range(120_000)]
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"inputs": rows}))
    # More than a mebibyte: it asks first, and waits for `100 Continue`.
    argv = ["curl", "-sS", "--compressed", "-H", "Content-Type: application/json"]
    argv += ["-H", f"X-API-Key: {SECRET}", "-d", f"@{body}", f"{router.url}/double/predict"]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout)["outputs"][:2] == [[0, 2], [2, 2]]


def test_the_page_of_its_documentation(router: Router) -> None:
    page = requests.get(f"{router.url}/double/docs", timeout=30)
    assert "'/double/openapi.json'" in page.text
    schema = requests.get(f"{router.url}/double/openapi.json", timeout=30).json()
    assert schema["servers"] == [{"url": "/double"}]


# In a process of its own: importing it warns, which would be an error here.
_MLFLOW = """
import sys
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", sys.argv[1])
client.wait_server_ready(30)
print(client.invoke([[1, 2]]).get_predictions().values.tolist())
"""


def test_mlflows_own_client(router: Router) -> None:
    # It knows no keys.
    told = router.config.endpoints
    open_to_all = msgspec.structs.replace(told["double"], keys=None)
    router.change(double=open_to_all, letters=told["letters"])
    router.up("double", 1)
    argv = [sys.executable, "-c", _MLFLOW, f"{router.port}/double"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.startswith("[[2.0, 4.0]]"), done.stderr
