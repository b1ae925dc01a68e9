"""A request's way through router and replica, as a collector of OpenTelemetry's is told of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.router_home import Router, endpoint, until
from tests.integration.serving_endpoint import Endpoint, model_folder
from tests.support.collector import Collector, Told, collecting

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HERE = "aiinfra-router"
THERE = "aiinfra-endpoint"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in [each for each in os.environ if each.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    with collecting() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=k1")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
        yield made


def served(tmp_path: Path, *, entry: str = "predict") -> Endpoint:
    return Endpoint(model_folder(tmp_path / "model", entry=entry))


def asked(router: Router, headers: dict[str, str] | None = None, path: str = "predict") -> int:
    return requests.post(
        f"{router.url}/a/{path}", json={"inputs": [[1, 2]]}, headers=headers, timeout=30
    ).status_code


def told(collector: Collector, trace: str, count: int) -> dict[str, Told]:
    """Wait for so many spans of a trace, and return them by name."""
    until(lambda: len(collector.of(trace)) >= count)
    spans = collector.of(trace)
    return {f"{span.service} {span.name}": span for span in spans}


def test_a_trace_goes_from_the_client_to_the_model(tmp_path: Path, collector: Collector) -> None:
    with (
        served(tmp_path) as replica,
        Router(tmp_path, a=endpoint({"3": [replica.url]})) as router,
    ):
        router.up("a", 1)
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "mine=1"}
        assert asked(router, headers) == 200
        spans = told(collector, TRACE, 5)
        first = spans[f"{HERE} POST a"]
        assert first.parent == PARENT
        assert first.attributes["url.path"] == "/a/predict"
        assert first.attributes["http.response.status_code"] == 200
        assert (first.attributes["aiinfra.version"], first.failed) == ("3", False)
        assert first.attributes["aiinfra.replica"] == "3-0"
        second = spans[f"{THERE} predict"]
        assert second.parent == first.id
        assert second.attributes["aiinfra.endpoint"] == "double"
        queue, batch = spans[f"{THERE} queue"], spans[f"{THERE} batch"]
        model = spans[f"{THERE} model"]
        assert (queue.parent, batch.parent, model.parent) == (second.id, second.id, batch.id)
        assert batch.attributes["aiinfra.batch.examples"] == 1
        assert first.begin_ns <= second.begin_ns <= queue.begin_ns <= queue.end_ns
        assert model.begin_ns <= model.end_ns <= first.end_ns
        assert collector.keys == {"k1"}

        # A client that knows of no trace begins a new one, and so do two of them.
        assert [asked(router), asked(router)] == [200, 200]
        until(lambda: sum(span.name == "POST a" for span in collector.spans) == 3)
        others = [span for span in collector.spans if span.name == "POST a" and not span.parent]
        assert len({span.trace for span in others}) == 2
        told(collector, others[0].trace, 5)
        # Nobody wants to know of what is asked to see whether it lives.
        assert requests.get(f"{router.url}/a/readyz", timeout=30).status_code == 200
        metric, replicas = "http.server.request.duration", "aiinfra.endpoint.replicas_up"
        until(
            lambda: (
                {each["service"] for each in collector.points(metric) if each["count"] == 3}
                == {HERE, THERE}
            )
        )
        until(lambda: any(each["value"] == 1 for each in collector.points(replicas)))
        assert any(each["count"] >= 3 for each in collector.points("aiinfra.batch.examples"))
        assert {each["aiinfra.version"] for each in collector.points(metric)} == {"3"}


def test_a_trace_that_is_not_recorded_is_not_told(tmp_path: Path, collector: Collector) -> None:
    with (
        served(tmp_path) as replica,
        Router(tmp_path, a=endpoint({"3": [replica.url]})) as router,
    ):
        router.up("a", 1)
        assert asked(router, {"traceparent": f"00-{TRACE}-{PARENT}-00"}) == 200
        assert asked(router) == 200
        until(lambda: any(span.name == "model" for span in collector.spans))
        assert collector.of(TRACE) == []


def test_what_fails_is_told_as_failed(tmp_path: Path, collector: Collector) -> None:
    with Router(tmp_path, a=endpoint({"3": ["unix:/nowhere"]}, hold_seconds=0)) as router:
        assert asked(router, {"traceparent": f"00-{TRACE}-{PARENT}-01"}) == 503
        (span,) = told(collector, TRACE, 1).values()
        assert (span.failed, span.attributes["http.response.status_code"]) == (True, 503)
        # What is no trace is none.
        assert asked(router, {"traceparent": "hello"}) == 503
        until(lambda: len(collector.spans) == 2)
    # What was not told yet is told at the end.
    assert {span.service for span in collector.spans} == {HERE}


def test_a_body_in_parts_is_traced_too(tmp_path: Path, collector: Collector) -> None:
    with served(tmp_path) as replica:
        answer = requests.post(
            f"{replica.url}/predict",
            data=iter([b'{"inputs"', b": [[1, 2]]}"]),
            headers={
                "traceparent": f"00-{TRACE}-{PARENT}-01",
                "content-type": "application/json",
            },
            timeout=30,
        )
        assert answer.status_code == 200
        spans = told(collector, TRACE, 4)
        assert spans[f"{THERE} predict"].parent == PARENT
        assert spans[f"{THERE} queue"].parent == spans[f"{THERE} predict"].id
        bad = requests.post(f"{replica.url}/predict", data=b"{", timeout=30)
        assert bad.status_code == 400


def test_without_a_collector_it_goes_on_as_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in os.environ if each.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    heads: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answered()

        def do_POST(self) -> None:
            heads.append(self.headers.get("traceparent"))
            self.rfile.read(int(self.headers["content-length"]))
            self._answered()

        def _answered(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        with Router(tmp_path, a=endpoint({"3": [address]})) as router:
            router.up("a", 1)
            context = f"00-{TRACE}-{PARENT}-01"
            assert asked(router, {"traceparent": context}) == 200
            assert asked(router) == 200
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert heads == [context, None]


def test_a_collector_that_does_not_answer_costs_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with (
        served(tmp_path) as replica,
        Router(tmp_path, a=endpoint({"3": [replica.url]})) as router,
    ):
        router.up("a", 1)
        assert [asked(router) for _ in range(20)] == [200] * 20
