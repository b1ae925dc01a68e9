"""NVIDIA's client of the Open Inference Protocol over gRPC calls an endpoint, unchanged."""

from __future__ import annotations

import json
import queue
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.integration.serving_endpoint import Endpoint, model_folder

triton = pytest.importorskip("tritonclient.grpc")
service = pytest.importorskip("tritonclient.grpc.service_pb2")


class OverGrpc(Endpoint):
    """An endpoint that says where it answers gRPC."""

    def __init__(self, folder: Path, *options: str, workers: int = 1) -> None:
        super().__init__(folder, "--grpc-port", "0", *options, workers=workers)
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode().strip()
        self.grpc = said.removeprefix("serving gRPC on ")

    def __enter__(self) -> OverGrpc:  # noqa: PYI034 - Self is newer than Python 3.10
        super().__enter__()
        return self


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverGrpc]:
    folder = model_folder(tmp_path_factory.mktemp("served") / "double")
    with OverGrpc(folder, "--max-body", "1", workers=2) as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: OverGrpc) -> Iterator[Any]:
    with triton.InferenceServerClient(endpoint.grpc) as client:
        yield client


def rows(count: int = 3) -> Any:
    return np.arange(count * 2, dtype=np.float32).reshape(count, 2)


def given(values: Any, kind: str = "FP32") -> Any:
    made = triton.InferInput("x", list(values.shape), kind)
    made.set_data_from_numpy(values)
    return made


def test_it_is_ready_and_says_what_it_takes(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("double")
    assert client.is_model_ready("double", "3")
    assert not client.is_model_ready("double", "4")
    assert client.get_server_metadata().name == "jupyter_aiinfra"
    told = client.get_model_metadata("double", as_json=True)
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "2"]}]
    assert told["versions"] == ["3"]


def test_infer(client: Any) -> None:
    wanted = triton.InferRequestedOutput("y")
    result = client.infer("double", [given(rows(200))], outputs=[wanted], request_id="7")
    assert (result.as_numpy("y") == rows(200) * 2).all()
    assert result.get_response().id == "7"
    assert (client.infer("double", [given(rows())]).as_numpy("y") == rows() * 2).all()


def test_many_at_once_share_batches(client: Any, endpoint: OverGrpc) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    for number in range(64):
        client.async_infer(
            "double",
            [given(rows() + number)],
            callback=lambda result, error: answers.put((result, error)),
            request_id=str(number),
        )
    for _ in range(64):
        result, error = answers.get(timeout=30)
        assert error is None
        number = int(result.get_response().id)
        assert (result.as_numpy("y") == (rows() + number) * 2).all()
    told = requests.get(f"{endpoint.url}/metrics", timeout=30).text
    good = re.search(r'requests_total\{[^}]*code="200"\} (\d+)', told)
    assert good is not None, told
    assert int(good[1]) >= 64


def test_a_stream_goes_on_after_an_error(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for version in ("3", "4", "3"):
        client.async_stream_infer("double", [given(rows())], model_version=version)
    found = [answers.get(timeout=30) for _ in range(3)]
    client.stop_stream()
    assert [error is None for _, error in found] == [True, False, True]
    assert "this is double, 3" in str(found[1][1])
    assert (found[2][0].as_numpy("y") == rows() * 2).all()


def test_values_that_are_no_bytes(client: Any) -> None:
    # This client sends bytes only; others write numbers into the message.
    asked = service.ModelInferRequest(model_name="double")
    tensor = asked.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    tensor.contents.fp32_contents.extend([1.5, 2])
    answer = client._client_stub.ModelInfer(asked)
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [3, 4]


BAD: dict[str, tuple[Any, str, str]] = {
    "a shape": (np.ones((1, 3), np.float32), "INVALID_ARGUMENT", "inputs.x: has shape [1, 3]"),
    "a type": (np.ones((1, 2), np.int64), "INVALID_ARGUMENT", "is INT64, but FP32 is expected"),
    "NaN": (np.full((1, 2), np.nan, np.float32), "INVALID_ARGUMENT", "inputs.x[0][0]"),
    "nothing": (np.ones((0, 2), np.float32), "INVALID_ARGUMENT", "holds no example"),
    "too much": (np.ones((200_000, 2), np.float32), "RESOURCE_EXHAUSTED", "larger than max"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_kills_nobody(client: Any, case: str) -> None:
    values, status, text = BAD[case]
    kind = "INT64" if values.dtype == np.int64 else "FP32"
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer("double", [given(values, kind)])
    assert caught.value.status() == f"StatusCode.{status}"
    assert text in caught.value.message()
    assert client.is_server_live()


def test_messages_that_do_not_fit_together(client: Any) -> None:
    asked = service.ModelInferRequest(model_name="double", raw_input_contents=[b"1", b"2"])
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    with pytest.raises(Exception, match="2 for 1 inputs; each has one, or none has"):
        client._client_stub.ModelInfer(asked)
    del asked.raw_input_contents[:]
    asked.inputs[0].datatype = "FP16"
    with pytest.raises(Exception, match="comes as raw_input_contents only"):
        client._client_stub.ModelInfer(asked)
    asked.model_name = "other"
    with pytest.raises(Exception, match="this is double, 3"):
        client._client_stub.ModelInfer(asked)


def test_bytes_that_are_no_message(client: Any) -> None:
    nonsense = b"\x0a\xff\xff"
    channel = client._channel
    name = "/inference.GRPCInferenceService/"
    with pytest.raises(Exception, match="message: is none of this protocol") as caught:
        channel.unary_unary(f"{name}ModelInfer")(nonsense)
    assert caught.value.code().name == "INVALID_ARGUMENT"  # type: ignore[attr-defined]
    asked = service.ModelInferRequest(model_name="double", raw_input_contents=[b"\0" * 8])
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    # What follows on the same stream is still answered.
    stream = channel.stream_stream(f"{name}ModelStreamInfer")
    sent = iter([nonsense, asked.SerializeToString()])
    told = [service.ModelStreamInferResponse.FromString(each) for each in stream(sent)]
    assert told[0].error_message == "message: is none of this protocol"
    assert told[1].infer_response.outputs[0].name == "y"


SHAPES = {
    "that is larger than anything": [2**62, 2**62],
    "that is negative": [-1, 2],
    "without axes": [],
    "with very many axes": [1] * 40,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_that_are_none(client: Any, shape: str) -> None:
    asked = service.ModelInferRequest(model_name="double", raw_input_contents=[b"\0" * 8])
    asked.inputs.add(name="x", datatype="FP32", shape=SHAPES[shape])
    with pytest.raises(Exception, match=r"inputs\.x: ") as caught:
        client._client_stub.ModelInfer(asked)
    assert caught.value.code().name == "INVALID_ARGUMENT"  # type: ignore[attr-defined]


def test_texts_and_any_json(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "free", entry="pid", inputs=[], outputs=[], example=[1])
    with OverGrpc(folder) as endpoint, triton.InferenceServerClient(endpoint.grpc) as client:
        values = np.array(['{"a": 1}', '"b"'], dtype=object)
        made = triton.InferInput("input", [2], "BYTES")
        made.set_data_from_numpy(values)
        found = client.infer("double", [made]).as_numpy("output")
        assert len({int(each) for each in found}) == 1
        made.set_data_from_numpy(np.array(["{", "1"], dtype=object))
        with pytest.raises(triton.InferenceServerException, match="no JSON"):
            client.infer("double", [made])
        made.set_data_from_numpy(np.array(["[" * 60_000, "1"], dtype=object))
        with pytest.raises(triton.InferenceServerException, match=r"inputs\.input\[0\]"):
            client.infer("double", [made])
        made.set_data_from_numpy(np.array([b"1", b"\xff"], dtype=object))
        with pytest.raises(triton.InferenceServerException, match="element 1 is no UTF-8"):
            client.infer("double", [made])
        assert client.is_server_ready()


def test_keys(tmp_path: Path) -> None:
    from jupyter_aiinfra.serving.keys import new_key

    secret, key = new_key("anna", scopes=("predict",), per_second=None)
    import msgspec

    (tmp_path / "keys.json").write_bytes(msgspec.json.encode([key]))
    folder = model_folder(tmp_path / "double")
    with (
        OverGrpc(folder, "--keys", str(tmp_path / "keys.json")) as endpoint,
        triton.InferenceServerClient(endpoint.grpc) as client,
    ):
        assert client.is_server_ready()
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer("double", [given(rows())])
        assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        headers = {"authorization": f"Bearer {secret}"}
        found = client.infer("double", [given(rows())], headers=headers)
        assert (found.as_numpy("y") == rows() * 2).all()


def test_what_is_under_way_is_answered_when_it_stops(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "slow", entry="begun", example=None)
    begun = tmp_path / "begun"
    code = folder / "endpoint_code.py"
    slow = f"open({str(begun)!r}, 'w').close(); time.sleep(0.5)"
    code.write_text(code.read_text() + f"\ndef begun(x):\n    {slow}\n    return x * 2\n")
    answers: queue.Queue[Any] = queue.Queue()
    with OverGrpc(folder) as endpoint, triton.InferenceServerClient(endpoint.grpc) as client:
        assert client.is_server_ready()
        client.async_infer(
            "double", [given(rows())], callback=lambda result, error: answers.put((result, error))
        )
        until = time.monotonic() + 30
        while not begun.exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        endpoint.process.send_signal(signal.SIGTERM)
        found, error = answers.get(timeout=30)
        assert error is None
        assert (found.as_numpy("y") == rows() * 2).all()


def test_our_messages_are_the_protocol_s_own() -> None:
    from jupyter_aiinfra.serving.grpc import messages

    ours = messages()
    asked = service.ModelInferRequest(model_name="m", id="1", raw_input_contents=[b"ab"])
    asked.parameters["priority"].int64_param = 3
    asked.inputs.add(name="x", datatype="INT8", shape=[2])
    asked.inputs[0].contents.int_contents.extend([1, -2])
    asked.outputs.add(name="y")
    read = ours["Infer"].FromString(asked.SerializeToString())
    assert (read.model_name, read.id, list(read.raw)) == ("m", "1", [b"ab"])
    assert list(read.inputs[0].contents.int) == [1, -2]
    assert read.outputs[0].name == "y"
    told = ours["Metadata"](
        name="m", inputs=[{"name": "x", "datatype": "FP32", "shape": [-1]}]
    ).SerializeToString()
    assert service.ModelMetadataResponse.FromString(told).inputs[0].shape == [-1]
    assert json.dumps(list(service.DESCRIPTOR.services_by_name)) == '["GRPCInferenceService"]'
