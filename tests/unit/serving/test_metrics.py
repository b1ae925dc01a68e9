"""Counters of several workers are one; those of a worker that died stay."""

from __future__ import annotations

from pathlib import Path

from jupyter_aiinfra.serving.metrics import Metrics


def value(text: str, name: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(f"aiinfra_endpoint_{name} ")]
    return float(line.split()[-1])


def test_workers_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    one = Metrics(path, worker=0, workers=2)
    two = Metrics(path, worker=1, workers=2)
    one.began()
    one.ended(200, 0.003)
    two.began()
    two.ended(418, 99)
    two.began()
    two.batch(3, 0.5)
    two.queue(7)
    label = 'model="m",version="1"'
    text = one.text(model="m", version="1")
    assert value(text, f'requests_total{{{label},code="200"}}') == 1
    assert value(text, f'requests_total{{{label},code="other"}}') == 1
    assert value(text, f'request_seconds_bucket{{{label},le="0.0025"}}') == 0
    assert value(text, f'request_seconds_bucket{{{label},le="0.005"}}') == 1
    assert value(text, f'request_seconds_bucket{{{label},le="+Inf"}}') == 2
    assert value(text, f"request_seconds_count{{{label}}}") == 2
    assert value(text, f"request_seconds_sum{{{label}}}") == 99.003
    assert value(text, f'batch_examples_bucket{{{label},le="4"}}') == 1
    assert value(text, f"queue_examples{{{label}}}") == 7
    assert value(text, f"active_requests{{{label}}}") == 1

    again = Metrics(path, worker=1, workers=2)
    text = again.text(model="m", version="1")
    assert value(text, f"request_seconds_count{{{label}}}") == 2
    assert value(text, f"queue_examples{{{label}}}") == 0
    assert value(text, f"active_requests{{{label}}}") == 0


def test_labels_are_escaped() -> None:
    assert r'model="a\"b\\c\nd"' in Metrics().text(model='a"b\\c\nd', version="1")
