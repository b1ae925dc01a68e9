"""Traces and metrics for a collector, by OTLP over HTTP: only where the environment names one.

OpenTelemetry is imported here when that is so, and nowhere else; its own variables (``OTEL_…``) say
the rest: headers, sampling, how often metrics are sent.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

__all__ = ["Otlp", "opened", "wanted"]

_log = logging.getLogger(__name__)

_ALL = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_METRICS = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
_NAME = "jupyter_aiinfra"
_CARRIED = ("traceparent", "tracestate")
# Seconds: as the semantic conventions have it, and below, where models are small.
_BOUNDS = (*(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075), *(0.1, 0.25, 0.5, 0.75))
_LONG_BOUNDS = (1.0, 2.5, 5.0, 7.5, 10.0)
_FLUSH_MS = 3000


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether somebody wants to be told."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return any(environ.get(name) for name in (_ALL, _TRACES, _METRICS))


def opened(service: str, attributes: Mapping[str, str]) -> Otlp | None:
    """Return what tells a collector, if the environment names one and it can be told."""
    environ = os.environ
    if not wanted(environ):
        return None
    protocol = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        _log.warning("OTEL_EXPORTER_OTLP_PROTOCOL=%s: http/protobuf is what is spoken", protocol)
        return None
    try:
        return Otlp(service, attributes, environ)
    except ImportError as error:
        _log.warning(
            "a collector is named, and %s is not installed: pip install 'jupyter_aiinfra[otel]'",
            error.name or error,
        )
        return None


class Otlp:
    """A tracer, a meter, and what is handed on of a trace.

    Parameters
    ----------
    service
        The service's name, unless the environment has another.
    """

    def __init__(
        self, service: str, attributes: Mapping[str, str], environ: Mapping[str, str]
    ) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
            OTLPMetricExporter,
        )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        own = dict(attributes)
        if "OTEL_SERVICE_NAME" not in environ:
            own["service.name"] = service
        resource = Resource.create(own)
        self._spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        if _told(environ, "TRACES", _TRACES):
            self._spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        readers = []
        if _told(environ, "METRICS", _METRICS):
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        self._numbers = MeterProvider(
            resource=resource, metric_readers=readers, shutdown_on_exit=False
        )
        self.tracer = self._spans.get_tracer(_NAME)
        self.meter = self._numbers.get_meter(_NAME)
        self._within = set_span_in_context
        self._propagator = TraceContextTextMapPropagator()
        self.seconds = self.meter.create_histogram(
            "http.server.request.duration",
            unit="s",
            description="From a request's head to the end of its answer.",
            explicit_bucket_boundaries_advisory=[*_BOUNDS, *_LONG_BOUNDS],
        )

    def context(self, headers: Mapping[bytes, bytes]) -> Any:
        """Return the trace that a request is a part of, if its header names one."""
        told = {
            name: headers[name.encode()].decode("latin-1")
            for name in _CARRIED
            if name.encode() in headers
        }
        return self._propagator.extract(told) if told else None

    def within(self, span: Any) -> Any:
        """Return the context of what happens as a part of `span`."""
        return self._within(span)

    def carried(self, span: Any) -> dict[str, str]:
        """Return the header that hands `span` on."""
        told: dict[str, str] = {}
        self._propagator.inject(told, context=self._within(span))
        return told

    def close(self) -> None:
        """Tell the rest, for some seconds at most."""
        self._spans.force_flush(_FLUSH_MS)
        self._numbers.force_flush(_FLUSH_MS)
        self._spans.shutdown()
        self._numbers.shutdown(_FLUSH_MS)


def _told(environ: Mapping[str, str], kind: str, endpoint: str) -> bool:
    none = environ.get(f"OTEL_{kind}_EXPORTER", "").strip().lower() == "none"
    return not none and bool(environ.get(_ALL) or environ.get(endpoint))
