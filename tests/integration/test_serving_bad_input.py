"""Bad bodies of each protocol, to a worker and through the router: 4xx that names the field."""

from __future__ import annotations

import gzip
import io
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import requests

from jupyter_aiinfra.serving import formats
from tests.integration.router_home import Router, endpoint
from tests.integration.serving_endpoint import Endpoint, model_folder

JSON = "application/json"
DEEP = b"[" * 60_000


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A request, and what is told of it; `where` is what part of it is to blame."""

    path: str
    body: bytes
    status: int = 400
    where: str | None = None
    said: str = ""
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def infer(data: Any = (1, 2), **told: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": data} | told
    return json.dumps({"inputs": [tensor]}).encode()


def binary(data: bytes, size: int | None = None, *, head: int | None = None) -> dict[str, Any]:
    """Return a request with a tensor behind its JSON."""
    parameters = {"binary_data_size": len(data) if size is None else size}
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": parameters}
    text = json.dumps({"inputs": [tensor]}).encode()
    length = {"Inference-Header-Content-Length": str(len(text) if head is None else head)}
    return {"path": INFER, "body": text + data, "headers": length, "kind": ""}


INFER = "/v2/models/numbers/infer"
F32 = np.float32
NUMBERS: dict[str, Bad] = {
    "predict: shape": Bad(path="/predict", body=b'{"inputs": [[1, 2, 3]]}', where="inputs"),
    "predict: ragged": Bad(path="/predict", body=b'{"inputs": [[1, 2], [3]]}', where="inputs[1]"),
    "predict: type": Bad(path="/predict", body=b'{"inputs": [[1, "2"]]}', where="inputs[0][1]"),
    "predict: null": Bad(path="/predict", body=b'{"inputs": [[1, null]]}', where="inputs[0][1]"),
    "predict: NaN": Bad(path="/predict", body=b'{"inputs": [[1, NaN]]}', where="inputs[0][1]"),
    "predict: large": Bad(path="/predict", body=b'{"inputs": [[1e39, 1]]}', where="inputs[0][0]"),
    "predict: nothing": Bad(path="/predict", body=b'{"inputs": []}', where="inputs"),
    "predict: more": Bad(path="/predict", body=b'{"inputs": [[1, 2]], "a": 1}', said="`a`"),
    "predict: empty": Bad(path="/predict", body=b""),
    "predict: kind": Bad(path="/predict", body=b"x", kind="text/plain", status=415),
    "npy: type": Bad(
        path="/predict", body=npy(np.ones((1, 2), int)), kind=formats.NPY, where="inputs.x"
    ),
    "npy: shape": Bad(
        path="/predict", body=npy(np.ones((1, 3), F32)), kind=formats.NPY, where="inputs.x"
    ),
    "npy: NaN": Bad(
        path="/predict",
        body=npy(np.array([[1, np.nan]], F32)),
        kind=formats.NPY,
        where="inputs.x[0][1]",
    ),
    "npy: objects": Bad(
        path="/predict", body=npy(np.array([[{}]])), kind=formats.NPY, said="Python objects"
    ),
    "npy: cut": Bad(path="/predict", body=npy(np.ones((1, 2), F32))[:-3], kind=formats.NPY),
    "safetensors: name": Bad(
        path="/predict",
        body=formats.to_safetensors({"y": np.ones((1, 2), F32)}),
        kind=formats.SAFETENSORS,
        where="inputs.y",
    ),
    "safetensors: infinite": Bad(
        path="/predict",
        body=formats.to_safetensors({"x": np.array([[np.inf, 1]], F32)}),
        kind=formats.SAFETENSORS,
        where="inputs.x[0][0]",
    ),
    "safetensors: cut": Bad(path="/predict", body=b"\xff" * 9, kind=formats.SAFETENSORS),
    "infer: type": Bad(path=INFER, body=infer(datatype="INT64"), where="inputs.x"),
    "infer: values": Bad(path=INFER, body=infer(["a", 1]), where="inputs.x"),
    "infer: shape": Bad(path=INFER, body=infer([1, 2, 3]), where="inputs.x"),
    "infer: negative": Bad(path=INFER, body=infer(shape=[-1, 2]), where="inputs.x"),
    "infer: NaN": Bad(path=INFER, body=infer([1, float("nan")]), where="inputs[0].data[1]"),
    "infer: name": Bad(path=INFER, body=infer(name="y"), where="inputs[0]"),
    "infer: no data": Bad(path=INFER, body=b'{"inputs": []}', where="inputs.x"),
    "infer: output": Bad(
        path=INFER,
        body=infer()[:-1] + b', "outputs": [{"name": "z"}]}',
        where="outputs.z",
    ),
    "infer: bytes": Bad(**binary(b"123"), where="inputs.x"),
    "infer: NaN in bytes": Bad(
        **binary(np.array([1, np.nan], F32).tobytes()), where="inputs.x[0][1]"
    ),
    "infer: more bytes": Bad(**binary(b"12345678", 10**9), where="inputs.x"),
    "infer: long head": Bad(**binary(b"", head=10**6), where="Inference-Header-Content-Length"),
    "infer: no utf-8": Bad(path=INFER, body=infer().replace(b'"x"', b'"\xff"'), said="UTF-8"),
    "infer: deep data": Bad(path=INFER, body=infer().replace(b"[1, 2]}", DEEP), said="too deep"),
    "infer: deep parameters": Bad(
        path=INFER, body=b'{"parameters": {"a": ' + DEEP, said="too deep"
    ),
    "infer: other model": Bad(path="/v2/models/other/infer", body=infer(), status=404),
    "invocations: shape": Bad(path="/invocations", body=b'{"inputs": [[1]]}', where="inputs"),
    "invocations: two": Bad(path="/invocations", body=b'{"inputs": [[1, 2]], "instances": []}'),
    "invocations: NaN": Bad(
        path="/invocations", body=b'{"instances": [[NaN, 1]]}', where="instances[0][0]"
    ),
    "invocations: deep": Bad(
        path="/invocations", body=b'{"params": {"a": ' + DEEP, said="too deep"
    ),
    "invocations: table": Bad(path="/invocations", body=b"x\n1\n", kind="text/csv", status=415),
}
SPLIT = '{"dataframe_split": {"columns": ["age", "town"], "data": %s}}'
TABLE: dict[str, Bad] = {
    "split: type": Bad(
        path="/invocations",
        body=(SPLIT % '[[1, "a"], ["b", "a"]]').encode(),
        where="dataframe_split.age[1]",
    ),
    "split: row": Bad(
        path="/invocations", body=(SPLIT % "[[1]]").encode(), where="dataframe_split.data[0]"
    ),
    "split: large": Bad(
        path="/invocations",
        body=(SPLIT % '[[300, "a"]]').encode(),
        where="dataframe_split.age[0]",
    ),
    "records: missing": Bad(
        path="/invocations",
        body=b'{"dataframe_records": [{"age": 1}]}',
        where="dataframe_records[0].town",
    ),
    "records: unknown": Bad(
        path="/invocations",
        body=b'{"dataframe_records": [{"age": 1, "town": "a", "b": 1}]}',
        where="inputs.b",
    ),
    "csv: value": Bad(path="/invocations", body=b"age,town\nx,a\n", kind="text/csv", where="age"),
    "csv: row": Bad(path="/invocations", body=b"age,town\n1\n", kind="text/csv", where="line 2"),
    "csv: no utf-8": Bad(
        path="/invocations", body=b"age,town\n1,\xff\n", kind="text/csv", said="UTF-8"
    ),
    "predict: uneven": Bad(
        path="/predict", body=b'{"inputs": {"age": [1, 2], "town": ["a"]}}', where="inputs.town"
    ),
    "predict: no utf-8": Bad(
        path="/predict",
        body=b'{"inputs": {"age": [1], "town": ["\xff"]}}',
        said="UTF-8",
    ),
    "records: no utf-8": Bad(
        path="/invocations",
        body=b'{"dataframe_records": [{"age": 1, "town": "\xff"}]}',
        said="UTF-8",
    ),
    "predict: half a letter": Bad(
        path="/predict", body=b'{"inputs": {"age": [1], "town": ["\\ud800"]}}'
    ),
}
PATHS = ("/predict", "/invocations", INFER)
for _path in PATHS:
    NUMBERS |= {
        f"{_path}: deep": Bad(path=_path, body=DEEP),
        f"{_path}: no utf-8": Bad(path=_path, body=b"\xff\xfe", said="UTF-8"),
        f"{_path}: no JSON": Bad(path=_path, body=b'{"inputs": ['),
        f"{_path}: broken gzip": Bad(
            path=_path, body=b"\x1f\x8b1234", headers={"Content-Encoding": "gzip"}
        ),
        f"{_path}: gzip cut": Bad(
            path=_path,
            body=gzip.compress(infer() * 100)[:-9],
            headers={"Content-Encoding": "gzip"},
        ),
        f"{_path}: huge when unpacked": Bad(
            path=_path,
            body=gzip.compress(bytes(30 * 2**20)),
            status=413,
            headers={"Content-Encoding": "gzip"},
        ),
        f"{_path}: other packing": Bad(
            path=_path, body=b"x", status=415, headers={"Content-Encoding": "br"}
        ),
        f"{_path}: huge": Bad(path=_path, body=bytes(2**20 + 1), status=413),
    }


class Asked:
    """The two models, each at its worker and behind the router."""

    def __init__(self, router: Router, numbers: Endpoint, table: Endpoint) -> None:
        self.router = router
        self.models = {"numbers": numbers, "table": table}
        self.workers = {name: one.workers() for name, one in self.models.items()}

    def url(self, model: str, way: str) -> str:
        """Return where a model is asked."""
        return self.models[model].url if way == "worker" else f"{self.router.url}/{model}"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("bad")
    table = model_folder(
        folder / "table",
        inputs=[{"name": "age", "dtype": "int8"}, {"name": "town", "dtype": "string"}],
        outputs=[],
        example={"age": [1], "town": ["a"]},
    )
    (table / "endpoint_code.py").write_text("def predict(age, town): return age\n")
    numbers = model_folder(folder / "numbers", name="numbers")
    options = ("--max-body", "1", "--body-timeout", "0.5")
    with (
        Endpoint(numbers, *options) as one,
        Endpoint(table, *options) as two,
        Router(
            folder,
            numbers=endpoint({"1": [one.url]}, body_timeout=0.5),
            table=endpoint({"1": [two.url]}, body_timeout=0.5),
        ) as router,
    ):
        router.up("numbers", 1)
        router.up("table", 1)
        made = Asked(router, one, two)
        yield made
        for name, model in made.models.items():
            # Nobody has died of all that, and nothing was a surprise.
            assert model.workers() == made.workers[name]
            assert "Traceback" not in model.log.read_text()
        assert "Traceback" not in router.log.read_text()


@pytest.mark.parametrize("way", ["worker", "router"])
@pytest.mark.parametrize(
    ("model", "name"), [("numbers", name) for name in NUMBERS] + [("table", name) for name in TABLE]
)
def test_what_is_wrong_is_named(asked: Asked, model: str, name: str, way: str) -> None:
    bad = (NUMBERS if model == "numbers" else TABLE)[name]
    headers = {"Content-Type": bad.kind, **bad.headers}
    with requests.Session() as session:
        url = asked.url(model, way) + bad.path
        answer = session.post(url, data=bad.body, headers=headers, timeout=30)
        told = answer.json()
        assert (answer.status_code, told["field"]) == (bad.status, bad.where), told
        assert bad.said in told["error"]
        assert told["message"] == told["error"]
        good = (
            '{"inputs": [[1, 2]]}'
            if model == "numbers"
            else '{"inputs": {"age": [1], "town": [""]}}'
        )
        right = session.post(
            f"{asked.url(model, way)}/predict",
            data=good,
            headers={"Content-Type": JSON},
            timeout=30,
        )
        assert right.status_code == 200, right.text


@pytest.mark.parametrize("way", ["worker", "router"])
@pytest.mark.parametrize("path", PATHS)
def test_a_client_that_is_slow(asked: Asked, path: str, way: str) -> None:
    url = asked.url("numbers", way)
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    prefix = "" if way == "worker" else "/numbers"
    head = f"POST {prefix}{path} HTTP/1.1\r\nHost: e\r\nContent-Type: {JSON}\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n".encode() + b'{"inputs"')
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.5 s" in answer
