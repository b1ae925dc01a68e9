"""A collector of OpenTelemetry's: takes what is sent by OTLP over HTTP, and keeps it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

__all__ = ["Collector", "Told", "collecting"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A span, with the name of the service that tells it."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    begin_ns: int
    end_ns: int
    failed: bool
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What has come so far."""

    url: str = ""
    spans: list[Told] = field(default_factory=list)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    keys: set[str | None] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, trace: str) -> list[Told]:
        """Return the spans of a trace."""
        with self.lock:
            return [span for span in self.spans if span.trace == trace]

    def points(self, name: str) -> list[dict[str, Any]]:
        """Return what was measured under a name."""
        with self.lock:
            return list(self.metrics.get(name, ()))

    def took_traces(self, body: bytes) -> bytes:
        """Keep spans."""
        asked = ExportTraceServiceRequest.FromString(body)
        with self.lock:
            for resource in asked.resource_spans:
                service = str(_values(resource.resource.attributes).get("service.name"))
                for scope in resource.scope_spans:
                    self.spans += [_span(service, span) for span in scope.spans]
        return bytes(ExportTraceServiceResponse().SerializeToString())

    def took_metrics(self, body: bytes) -> bytes:
        """Keep measurements."""
        asked = ExportMetricsServiceRequest.FromString(body)
        with self.lock:
            for resource in asked.resource_metrics:
                service = _values(resource.resource.attributes).get("service.name")
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        kind = metric.WhichOneof("data")
                        for point in getattr(metric, kind).data_points:
                            told = {"service": service, **_values(point.attributes)}
                            told["count" if kind == "histogram" else "value"] = (
                                point.count if kind == "histogram" else _number(point)
                            )
                            self.metrics.setdefault(metric.name, []).append(told)
        return bytes(ExportMetricsServiceResponse().SerializeToString())


def _number(point: Any) -> float:
    return float(getattr(point, point.WhichOneof("value")))


def _values(attributes: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in attributes
    }


def _span(service: str, span: Any) -> Told:
    return Told(
        service=service,
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        begin_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes=_values(span.attributes),
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen on a port of this machine."""
    kept = Collector()
    takes = {"/v1/traces": kept.took_traces, "/v1/metrics": kept.took_metrics}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            kept.keys.add(self.headers.get("x-collector-key"))
            answer = takes[self.path](body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
