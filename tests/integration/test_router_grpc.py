"""NVIDIA's client calls endpoints over gRPC through the router: divided, limited and counted."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc import StatusCode

from jupyter_aiinfra.routing.keys import new_key
from tests.integration.router_home import Router, endpoint, until
from tests.integration.serving_endpoint import Endpoint, model_folder

SECRET, KEY = new_key("anna")
BEARER = {"authorization": f"Bearer {SECRET}"}


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """One endpoint that wants a key, and one of two versions; both double what they get."""
    folder = tmp_path_factory.mktemp("routed")
    zero, one, two = (folder / f"{name}.sock" for name in ("zero", "one", "two"))
    first = model_folder(folder / "first", name="shared")
    second = model_folder(folder / "second", name="shared", version="4")
    with (
        Endpoint(model_folder(folder / "double"), "--unix", str(zero)),
        Endpoint(first, "--unix", str(one)),
        Endpoint(second, "--unix", str(two)),
        Router(
            folder,
            grpc_port=0,
            double=endpoint({"3": [f"unix:{zero}"]}, keys=(KEY,), max_body=4096),
            shared=endpoint({"3": [f"unix:{one}"], "4": [f"unix:{two}"]}),
        ) as opened,
    ):
        opened.up("double", 1)
        opened.up("shared", 2)
        yield opened


@pytest.fixture
def client(router: Router) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{router.status().grpc_port}") as client:
        yield client


def rows(count: int = 3) -> Any:
    return np.arange(count * 2, dtype=np.float32).reshape(count, 2)


def given(values: Any) -> Any:
    made = triton.InferInput("x", list(values.shape), "FP32")
    made.set_data_from_numpy(values)
    return made


def refused(client: Any, *words: Any, **told: Any) -> tuple[str, str]:
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer(*words, **told)
    return caught.value.status(), caught.value.message()


def test_who_has_a_key_is_answered(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("double", headers=BEARER)
    assert client.is_model_ready("double", "3", headers=BEARER)
    assert not client.is_model_ready("double", "4", headers=BEARER)
    assert not client.is_model_ready("triple")
    told = client.get_model_metadata("double", headers=BEARER, as_json=True)
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "2"]}]
    wanted = triton.InferRequestedOutput("y")
    result = client.infer(
        "double", [given(rows(200))], outputs=[wanted], request_id="7", headers=BEARER
    )
    assert (result.as_numpy("y") == rows(200) * 2).all()
    assert result.get_response().id == "7"
    assert result.get_response().model_version == "3"


def test_what_is_refused_says_why(client: Any) -> None:
    code = {each.name: f"StatusCode.{each.name}" for each in StatusCode}
    status, said = refused(client, "double", [given(rows())])
    assert status == code["UNAUTHENTICATED"]
    assert said.startswith("a key is needed")
    with pytest.raises(triton.InferenceServerException, match="a key is needed"):
        client.is_model_ready("double")
    status, said = refused(client, "triple", [given(rows())])
    assert status == code["NOT_FOUND"]
    assert "triple" in said
    status, said = refused(client, "", [given(rows())])
    assert (status, said) == (
        code["INVALID_ARGUMENT"],
        "model_name: is empty; it is the name of an endpoint",
    )
    status, said = refused(client, "double", [given(rows()[:, :1])], headers=BEARER)
    assert status == code["INVALID_ARGUMENT"]
    assert "inputs.x" in said
    status, said = refused(client, "double", [given(rows(4000))], headers=BEARER)
    assert status == code["RESOURCE_EXHAUSTED"]
    status, said = refused(client, "double", [given(rows())], model_version="9", headers=BEARER)
    assert status == code["NOT_FOUND"]


def test_versions_get_their_parts_and_are_counted(router: Router, client: Any) -> None:
    def counts() -> Counter[str]:
        versions = router.of("shared").versions
        return Counter({name: told.requests for name, told in versions.items()})

    before = counts()
    seen = Counter(
        client.infer("shared", [given(rows())]).get_response().model_version for _ in range(40)
    )
    assert seen == {"3": 20, "4": 20}
    until(lambda: counts() - before == seen)


def test_a_stream_goes_on_after_a_mistake(client: Any) -> None:
    got: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: got.put((result, error)), headers=BEARER)
    client.async_stream_infer("double", [given(rows()[:, :1])], request_id="1")
    client.async_stream_infer("double", [given(rows())], request_id="2")
    _, error = got.get(timeout=60)
    assert "inputs.x" in str(error)
    result, error = got.get(timeout=60)
    assert error is None
    assert (result.as_numpy("y") == rows() * 2).all()
    client.stop_stream()


def test_it_comes_back_to_its_port_and_goes_when_it_is_not_asked_for(
    tmp_path: Path, router: Router
) -> None:
    address = router.config.endpoints["shared"].versions["3"].replicas[0].address
    shared = endpoint({"3": [address]})
    with Router(tmp_path, grpc_port=0, shared=shared) as one:
        port = one.status().grpc_port
        one.kill()
        one.start()
        assert one.status().grpc_port == port
        one.up("shared", 1)
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            assert (client.infer("shared", [given(rows())]).as_numpy("y") == rows() * 2).all()
        one.config = msgspec.structs.replace(one.config, grpc_port=one.port)
        one.change(shared=shared)
        assert "gRPC" in one.status().problem
        assert one.status().grpc_port == 0
        assert one.ask("/shared/predict").status == 200
        one.config = msgspec.structs.replace(one.config, grpc_port=None)
        one.change(shared=shared)
        assert (one.status().problem, one.status().grpc_port) == ("", 0)
        one.config = msgspec.structs.replace(one.config, grpc_port=0)
        one.change(shared=shared)
        assert one.status().grpc_port == port
