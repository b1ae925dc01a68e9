"""Programs of other people call one endpoint, unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import tritonclient.http as triton

from tests.integration.serving_endpoint import Endpoint, model_folder


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with Endpoint(model_folder(tmp_path_factory.mktemp("served") / "double")) as endpoint:
        yield endpoint


class TestTriton:
    @pytest.fixture
    def client(self, endpoint: Endpoint) -> Iterator[triton.InferenceServerClient]:
        with triton.InferenceServerClient(endpoint.address) as client:
            yield client

    def test_it_is_ready_and_says_what_it_takes(self, client: triton.InferenceServerClient) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("double")
        assert client.is_model_ready("double", "3")
        assert not client.is_model_ready("double", "4")
        told = client.get_model_metadata("double")
        assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
        assert client.get_server_metadata()["name"] == "jupyter_aiinfra"

    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
    def test_infer(
        self, client: triton.InferenceServerClient, binary: bool, packing: str | None
    ) -> None:
        rows = np.arange(400, dtype=np.float32).reshape(200, 2)
        given = triton.InferInput("x", rows.shape, "FP32")
        given.set_data_from_numpy(rows, binary_data=binary)
        wanted = triton.InferRequestedOutput("y", binary_data=binary)
        result = client.infer(
            "double",
            [given],
            outputs=[wanted],
            request_id="7",
            request_compression_algorithm=packing,
            response_compression_algorithm=packing,
        )
        assert (result.as_numpy("y") == rows * 2).all()
        assert result.get_response()["id"] == "7"
        assert (client.infer("double", [given]).as_numpy("y") == rows * 2).all()

    def test_what_is_wrong_is_said_in_its_exception(
        self, client: triton.InferenceServerClient
    ) -> None:
        given = triton.InferInput("x", [1, 3], "FP32")
        given.set_data_from_numpy(np.ones((1, 3), np.float32))
        with pytest.raises(Exception, match=r"inputs\.x: has shape \[1, 3\]"):
            client.infer("double", [given])


# In a process of its own: importing it warns, which would be an error here.
_MLFLOW = """
import sys
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient(sys.argv[1], int(sys.argv[2]))
client.wait_server_ready(30)
frame = pd.DataFrame({"b": [1.0, 2.0], "a": [10.0, 20.0]})
answer = client.invoke(frame).get_predictions()
print(answer[answer.columns[0]].tolist())
try:
    client.invoke(frame.drop(columns="b"))
except Exception as error:
    print(error)
"""


def test_mlflows_own_client(tmp_path: Path) -> None:
    fields = [{"name": "a", "dtype": "float64"}, {"name": "b", "dtype": "float64"}]
    folder = model_folder(tmp_path / "table", inputs=fields, outputs=[], example=None)
    (folder / "endpoint_code.py").write_text("def predict(a, b): return a + b\n")
    with Endpoint(folder) as endpoint:
        argv = [sys.executable, "-c", _MLFLOW, *endpoint.address.split(":")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
        assert done.stdout.startswith("[11.0, 22.0]"), done.stderr
        assert "dataframe_split.b: is missing" in done.stdout


_SAVE = """
import sys
import numpy as np
import pandas as pd
import mlflow
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

frame = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [0.0, 2.0, 1.0]})
line = LinearRegression().fit(frame, frame["a"] + 10 * frame["b"])
mlflow.sklearn.save_model(
    line, sys.argv[1], signature=infer_signature(frame, line.predict(frame)),
    pip_requirements=["scikit-learn"],
)
"""


def test_a_model_of_mlflow_with_the_signature_it_was_logged_with(tmp_path: Path) -> None:
    folder = model_folder(
        tmp_path / "line",
        entry="",
        loader="mlflow",
        inputs=[],
        outputs=[],
        example={"a": [1.0], "b": [2.0]},
    )
    manifest = json.loads((folder / "endpoint.json").read_text()) | {"entry": "model"}
    (folder / "endpoint.json").write_text(json.dumps(manifest))
    argv = [sys.executable, "-c", _SAVE, str(folder / "model")]
    saved = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert saved.returncode == 0, saved.stderr
    with Endpoint(folder) as endpoint:
        for body in ({"a": [1.0], "b": [2.0]}, {"a": [1, 3], "b": [2, 0]}):
            answer = requests.post(f"{endpoint.url}/predict", json={"inputs": body}, timeout=30)
            told = answer.json()["outputs"]
            assert np.allclose(told, np.array(body["a"]) + 10 * np.array(body["b"])), answer.text
        wrong = requests.post(f"{endpoint.url}/predict", json={"inputs": {"a": [1]}}, timeout=30)
        assert wrong.status_code == 400


def test_requests(endpoint: Endpoint) -> None:
    with requests.Session() as session:
        for number in range(20):
            answer = session.post(f"{endpoint.url}/predict", json={"inputs": [[number, 1]]})
            assert answer.json() == {"outputs": [[2 * number, 2]], "version": "3"}


def test_curl(endpoint: Endpoint) -> None:
    argv = ["curl", "-sS", "--compressed", f"{endpoint.url}/predict"]
    argv += ["-H", "Content-Type: application/json", "-d", '{"inputs": [[1, 2]]}']
    said = subprocess.run(argv, check=True, capture_output=True, timeout=30).stdout
    assert json.loads(said)["outputs"] == [[2, 4]]


def test_events_arrive_one_by_one(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "s", entry="spell", inputs=[], outputs=[], example=["a"])
    with Endpoint(folder) as endpoint:
        answer = requests.post(
            f"{endpoint.url}/predict",
            json={"inputs": ["abc"]},
            headers={"accept": "text/event-stream"},
            stream=True,
            timeout=30,
        )
        lines = [line for line in answer.iter_lines(decode_unicode=True) if line]
        assert lines == ['data: "a"', 'data: "b"', 'data: "c"', "event: end", "data: {}"]


def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    place = tmp_path / "socket"
    with Endpoint(model_folder(tmp_path / "u"), "--unix", str(place)) as endpoint:
        assert endpoint.url == f"unix:{place}"
        argv = ["curl", "-sS", "--retry", "20", "--retry-delay", "1", "--unix-socket", str(place)]
        argv += ["http://endpoint/readyz"]
        said = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
        assert json.loads(said) == {"ready": True}
    assert not place.exists()
