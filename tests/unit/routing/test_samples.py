"""What is kept of requests is what may be kept, and no more of it than was asked for."""

from __future__ import annotations

import asyncio
import gzip
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.routing.config import Sampling
from jupyter_aiinfra.routing.samples import REDACTED, Sample, Samples, pointer_of, redacted


@pytest.mark.parametrize(
    ("pointer", "value", "left"),
    [
        ("/a", {"a": 1, "b": 2}, {"a": REDACTED, "b": 2}),
        ("/a/0", {"a": [1, 2]}, {"a": [REDACTED, 2]}),
        ("/*/a", [{"a": 1}, {"b": 1}, 3], [{"a": REDACTED}, {"b": 1}, 3]),
        ("/a/*", {"a": {"x": 1, "y": 2}}, {"a": {"x": REDACTED, "y": REDACTED}}),
        ("/a~1b/c~0d", {"a/b": {"c~d": 1}}, {"a/b": {"c~d": REDACTED}}),
        ("/a/b", {"a": 1}, {"a": 1}),
        ("/a", {"a": {"b": {"c": 1}}}, {"a": REDACTED}),
    ],
)
def test_redaction(pointer: str, value: Any, left: Any) -> None:
    assert redacted(value, pointer_of(pointer)) == left


def sample(number: int, **told: Any) -> Sample:
    known: dict[str, Any] = {
        "at": 0.0,
        "path": "/predict",
        "version": "1",
        "replica": "j",
        "status": 200,
        "milliseconds": 1.5,
        "request": json.dumps({"x": number}).encode(),
    }
    return Sample(**(known | told))


async def kept(path: Path, told: Sampling, *batches: list[Sample]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(1) as threads:
        samples = Samples(path, told, threads)
        for batch in batches:
            for one in batch:
                samples.keep(one)
            await samples.close()
    files = [path.with_suffix(".1.jsonl"), path]
    return [
        json.loads(line) for one in files if one.exists() for line in one.read_text().splitlines()
    ]


async def test_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "samples-a.jsonl"
    batches = [[sample(number)] for number in range(25)]
    found = await kept(path, Sampling(rate=1, keep=10), *batches)
    assert [one["request"]["x"] for one in found] == list(range(15, 25))
    # Another router goes on with the file.
    found = await kept(path, Sampling(rate=1, keep=10), [sample(number) for number in (25, 26)])
    assert [one["request"]["x"] for one in found] == [*range(20, 27)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_cannot_be_redacted_is_not_kept(tmp_path: Path) -> None:
    told = Sampling(rate=1, redact=("/x",))
    bodies = [b"secret", b'{"x": "secret"', b"\xff", b"[" * 100_000, None]
    batch = [sample(0, request=body, answer=b'{"x": "secret"}') for body in bodies]
    found = await kept(tmp_path / "s.jsonl", told, batch)
    sizes = [{"bytes": len(body)} for body in bodies if body is not None]
    assert [one["request"] for one in found] == [*sizes, None]
    assert all(one["answer"] == {"x": REDACTED} for one in found)
    assert "secret" not in (tmp_path / "s.jsonl").read_text()


async def test_packed_bodies_are_redacted_too(tmp_path: Path) -> None:
    told = Sampling(rate=1, redact=("/x",))
    packed = sample(
        0,
        request=gzip.compress(b'{"x": "secret", "y": 1}'),
        request_lines=b"content-encoding: gzip\r\n",
        answer=b"cannot be read",
        answer_lines=b"content-encoding: br\r\n",
    )
    (found,) = await kept(tmp_path / "s.jsonl", told, [packed])
    assert found["request"] == {"x": REDACTED, "y": 1}
    assert found["answer"] == {"bytes": 14}


async def test_a_share_of_them(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        samples = Samples(tmp_path / "s.jsonl", Sampling(rate=0.1), threads)
        assert sum(samples.wanted() for _ in range(1000)) in {99, 100}
        samples.told(Sampling(rate=0.0))
        assert not any(samples.wanted() for _ in range(1000))
        samples.told(Sampling(rate=1.0, keep=0))
        assert not any(samples.wanted() for _ in range(1000))


async def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").mkdir()
    with ThreadPoolExecutor(1) as threads:
        samples = Samples(tmp_path / "s.jsonl", Sampling(rate=1), threads)
        for number in range(300):
            if samples.wanted():
                samples.keep(sample(number))
        # More than may wait is not kept.
        assert not samples.wanted()
        samples.flush()
        await samples.close()
        await asyncio.sleep(0)
        assert samples.wanted()
