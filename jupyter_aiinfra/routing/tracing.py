"""A request's way through the router as a span, handed on to the replica (W3C Trace Context).

Where no collector is named nothing is traced, and what a client says of a trace goes on as it came.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from jupyter_aiinfra.routing.status import EndpointStatus
from jupyter_aiinfra.serving.otlp import Otlp, opened

if TYPE_CHECKING:
    from jupyter_aiinfra.routing.relay import Relay

__all__ = ["Span", "Traces", "started"]

_FAILED = 500
_CARRIED = re.compile(rb"(?im)^(?:traceparent|tracestate):[^\r\n]*\r\n")


class Span:
    """One request."""

    __slots__ = ("_made", "_traces")

    def __init__(self, traces: Traces, made: Any) -> None:
        self._traces = traces
        self._made = made

    def end(self, relay: Relay, status: int) -> None:
        """Say how it was answered, and by whom."""
        relay.span = None
        self._traces.ended(self._made, relay, status)


class Traces:
    """The spans of a router, and what it counts."""

    def __init__(self, otlp: Otlp) -> None:
        self._otlp = otlp
        self._seen: Mapping[str, EndpointStatus] = {}
        gauges = {
            "aiinfra.endpoint.in_flight": ("Requests under way.", self._in_flight),
            "aiinfra.endpoint.replicas_up": ("Replicas that are asked.", self._up),
            "aiinfra.endpoint.held": ("Requests that wait for a replica.", self._held),
        }
        for name, (about, read) in gauges.items():
            otlp.meter.create_observable_gauge(name, callbacks=[read], description=about)

    def begin(self, relay: Relay, endpoint: str) -> None:
        """Begin with a request that is handed on, and hand its trace on with it."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - there, as it is traced

        made = self._otlp.tracer.start_span(
            f"{relay.method.decode('latin-1')} {endpoint}",
            context=self._otlp.context(relay.headers),
            start_time=time.time_ns() - int(1e9 * (time.monotonic() - relay.begun)),
            kind=SpanKind.SERVER,
            attributes={
                "aiinfra.endpoint": endpoint,
                "http.request.method": relay.method.decode("latin-1"),
                "url.path": f"/{endpoint}{relay.path.decode('latin-1')}",
            },
        )
        relay.span = Span(self, made)
        told = self._otlp.carried(made)
        lines = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in told.items())
        relay.request.lines = _CARRIED.sub(b"", relay.request.lines) + lines
        # What was made for others carries no trace, or another's.
        relay.request.head = b""

    def ended(self, made: Any, relay: Relay, status: int) -> None:
        """End a request."""
        labels: dict[str, str | int] = {
            "aiinfra.endpoint": relay.endpoint.name if relay.endpoint is not None else "",
            "aiinfra.version": relay.version or "",
            "http.response.status_code": status,
        }
        if made.is_recording():
            made.set_attributes({**labels, "aiinfra.replica": relay.replica})
            if status >= _FAILED:
                from opentelemetry.trace import StatusCode  # noqa: PLC0415 - the same

                made.set_status(StatusCode.ERROR)
            made.end()
        self._otlp.seconds.record(time.monotonic() - relay.begun, labels)

    # --- numbers -----------------------------------------------------------------------------

    def look(self, seen: Mapping[str, EndpointStatus]) -> None:
        """Take how all stands: who asks for numbers is another thread."""
        self._seen = seen

    def _in_flight(self, _options: object) -> Iterable[Any]:
        for labels, told in self._versions():
            yield _observed(told.in_flight, labels)

    def _up(self, _options: object) -> Iterable[Any]:
        for labels, told in self._versions():
            up = sum(each.state == "up" for each in told.replicas.values())
            yield _observed(up, labels)

    def _held(self, _options: object) -> Iterable[Any]:
        for name, told in self._seen.items():
            yield _observed(told.held, {"aiinfra.endpoint": name})

    def _versions(self) -> Iterable[Any]:
        for name, endpoint in self._seen.items():
            for version, told in endpoint.versions.items():
                yield {"aiinfra.endpoint": name, "aiinfra.version": version}, told

    def close(self) -> None:
        """Tell the rest, for some seconds at most."""
        self._otlp.close()


def _observed(value: float, labels: Mapping[str, str]) -> Any:
    from opentelemetry.metrics import Observation  # noqa: PLC0415 - there, as it is traced

    return Observation(value, labels)


def started() -> Traces | None:
    """Return what traces requests, if the environment names a collector."""
    otlp = opened("aiinfra-router", {})
    return None if otlp is None else Traces(otlp)
