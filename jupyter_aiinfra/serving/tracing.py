"""What a request went through here, as spans: how long it waited, its batch, the model.

Where no collector is named, :func:`started` returns nothing, and nothing of this costs anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from jupyter_aiinfra.serving.otlp import Otlp, opened
from jupyter_aiinfra.serving.schema import Batch, rows_of

if TYPE_CHECKING:
    from jupyter_aiinfra.serving.batcher import Ticket

__all__ = ["CURRENT", "Span", "Traces", "started"]

_FAILED = 500
_NANO = 1e9

CURRENT: ContextVar[Span | None] = ContextVar("CURRENT", default=None)
"""The request of this task; that of :mod:`.front` needs none."""


class Span:
    """One request."""

    __slots__ = ("_since", "_traces", "made", "put_ns")

    def __init__(self, traces: Traces, made: Any) -> None:
        self._traces = traces
        self.made = made
        self._since = time.perf_counter()
        self.put_ns = time.time_ns()

    def queued(self) -> None:
        """Note that it waits from now on."""
        self.put_ns = time.time_ns()

    def end(self, status: int) -> None:
        """Say how it was answered."""
        self._traces.ended(self.made, status, time.perf_counter() - self._since)


class Traces:
    """The spans of one worker."""

    def __init__(self, otlp: Otlp, *, endpoint: str, version: str) -> None:
        self._otlp = otlp
        self._labels = {"aiinfra.endpoint": endpoint, "aiinfra.version": version}
        self._called: tuple[int, int] | None = None
        meter = otlp.meter
        self._examples = meter.create_histogram(
            "aiinfra.batch.examples", description="Examples in one forward pass."
        )
        self._forward = meter.create_histogram(
            "aiinfra.model.duration", unit="s", description="Time of a forward pass."
        )

    def begin(self, headers: Mapping[bytes, bytes]) -> Span:
        """Begin with a request whose head is there: a part of the trace that it names, or a new."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - there, as it is traced

        made = self._otlp.tracer.start_span(
            "predict",
            context=self._otlp.context(headers),
            kind=SpanKind.SERVER,
            attributes=self._labels,
        )
        return Span(self, made)

    def timed(self, predict: Callable[[Batch], Batch]) -> Callable[[Batch], Batch]:
        """Return `predict`, whose time is known afterwards; one call runs at a time."""

        def called(batch: Batch) -> Batch:
            begin = time.time_ns()
            try:
                return predict(batch)
            finally:
                end = time.time_ns()
                self._called = begin, end
                self._forward.record((end - begin) / _NANO, self._labels)
                self._examples.record(rows_of(batch), self._labels)

        return called

    def batched(self, items: Iterable[Ticket], seconds: float) -> None:
        """Tell of a batch that has been computed, to each request that was in it."""
        spans = [(item.span, item.rows) for item in items if item.span is not None]
        called, self._called = self._called, None
        if not spans:
            return
        end = time.time_ns()
        begin = end - int(seconds * _NANO)
        examples = sum(rows for _, rows in spans)
        for span, rows in spans:
            self._part(span.made, "queue", span.put_ns, begin)
            told = {"requests": len(spans), "examples": examples, "own": rows}
            batch = self._part(span.made, "batch", begin, end, told)
            if batch is not None and called is not None:
                self._part(batch, "model", *called)

    def ended(self, made: Any, status: int, seconds: float) -> None:
        """End a request."""
        if made.is_recording():
            made.set_attribute("http.response.status_code", status)
            if status >= _FAILED:
                from opentelemetry.trace import StatusCode  # noqa: PLC0415 - the same

                made.set_status(StatusCode.ERROR)
            made.end()
        labels: dict[str, str | int] = {**self._labels, "http.response.status_code": status}
        self._otlp.seconds.record(seconds, labels)

    def _part(
        self,
        made: Any,
        name: str,
        begin_ns: int,
        end_ns: int,
        attributes: Mapping[str, int] | None = None,
    ) -> Any:
        """Tell of a part of `made` that is over; return it, if anybody wants to know."""
        if not made.get_span_context().trace_flags.sampled:
            return None
        told = {f"aiinfra.batch.{key}": value for key, value in (attributes or {}).items()}
        part = self._otlp.tracer.start_span(
            name, context=self._otlp.within(made), start_time=begin_ns, attributes=told
        )
        part.end(max(end_ns, begin_ns))
        return part

    def close(self) -> None:
        """Tell the rest, for some seconds at most."""
        self._otlp.close()


def started(endpoint: str, version: str) -> Traces | None:
    """Return what traces requests, if the environment names a collector."""
    otlp = opened("aiinfra-endpoint", {"aiinfra.endpoint": endpoint, "aiinfra.version": version})
    return None if otlp is None else Traces(otlp, endpoint=endpoint, version=version)
