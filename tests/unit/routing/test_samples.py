"""What is kept of requests is what may be kept, and no more of it than was asked for."""

from __future__ import annotations

import asyncio
import gzip
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from jupyter_aiinfra.routing.config import Sampling
from jupyter_aiinfra.routing.redacting import REDACTED
from jupyter_aiinfra.routing.samples import Sample, Samples, read_lines

NOW = 1_790_000_000.0
DAY = 86_400.0


def sample(number: int, **told: Any) -> Sample:
    known: dict[str, Any] = {
        "at": NOW,
        "path": "/predict",
        "version": "1",
        "replica": "j",
        "status": 200,
        "milliseconds": 1.5,
        "request": json.dumps({"x": number}).encode(),
    }
    return Sample(**(known | told))


async def kept(
    path: Path, told: Sampling, *batches: list[Sample], now: float = NOW
) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(1) as threads:
        samples = Samples(path, told, threads, clock=lambda: now)
        for batch in batches:
            for one in batch:
                samples.keep(one)
            await samples.close()
        samples.flush()
        await samples.close()
    return shown(path)


def shown(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(msgspec.json.encode(read_lines(path)))
    return found


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
    assert [one["request"] for one in found] == [None] * 5
    assert [one["request_bytes"] for one in found] == [6, 14, 1, 100_000, None]
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
    assert found["answer"] is None
    assert found["answer_bytes"] == 14
    assert found["hidden"]


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


async def test_what_is_too_old_goes_also_with_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "samples-a.jsonl"
    told = Sampling(rate=1, keep=6, days=2)
    batch = [sample(number, at=NOW - number * DAY) for number in range(4)]
    found = await kept(path, told, batch)
    assert [one["request"]["x"] for one in found] == [0, 1, 2, 3]
    # The next router, at the same time.
    assert [one["request"]["x"] for one in await kept(path, told)] == [0, 1, 2]
    assert [one["request"]["x"] for one in await kept(path, told, now=NOW + DAY)] == [0, 1]
    assert await kept(path, told, now=NOW + 9 * DAY) == []
    assert list(tmp_path.iterdir()) == []


async def test_another_endpoint_of_the_name_has_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "samples-a.jsonl"
    await kept(path, Sampling(rate=1), [sample(1, at=NOW - 10), sample(2)])
    (found,) = await kept(path, Sampling(rate=1, since=NOW - 5))
    assert found["request"] == {"x": 2}


async def test_other_rules_hold_for_what_is_kept_already(tmp_path: Path) -> None:
    path = tmp_path / "samples-a.jsonl"
    with ThreadPoolExecutor(1) as threads:
        samples = Samples(path, Sampling(rate=1, keep=10), threads, clock=lambda: NOW)
        for number in range(7):
            samples.keep(sample(number))
        await samples.close()
        assert not any(one["hidden"] for one in shown(path))
        samples.told(Sampling(rate=1, keep=10, redact=("x",)))
        samples.flush()
        await samples.close()
        assert [one["request"] for one in shown(path)] == [{"x": REDACTED}] * 7
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        samples.told(Sampling(rate=1, keep=2))
        samples.flush()
        await samples.close()
        assert len(shown(path)) == 2
        samples.keep(sample(7))
        await samples.close()
        assert [one["request"] for one in shown(path)][-1] == {"x": 7}
        samples.told(Sampling(rate=1, keep=0))
        samples.flush()
        await samples.close()
        assert shown(path) == []
        samples.told(Sampling(rate=1))
        samples.keep(sample(8))
        await samples.close()
        samples.remove()
    assert list(tmp_path.iterdir()) == []


async def test_no_token_is_kept_wherever_it_stands(tmp_path: Path) -> None:
    token = "hf_" + "a1B2" * 8
    body = {"inputs": [f"use {token} please"], token: 1, "password": "hunter2"}
    one = sample(0, path=f"/predict/{token}", request=json.dumps(body).encode())
    (found,) = await kept(tmp_path / "s.jsonl", Sampling(rate=1), [one])
    assert found["hidden"]
    assert found["request"]["inputs"] == ["use ••• please"]
    assert found["request"]["password"] == REDACTED
    text = (tmp_path / "s.jsonl").read_text()
    assert token not in text
    assert "hunter2" not in text


async def test_bodies_and_files_have_bounds(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    # Numbers are large, too, and need not be searched for secrets.
    large = json.dumps([10**18] * 15_000).encode()
    fits = json.dumps([10**18] * 10_000).encode()
    assert len(fits) < 256 << 10 < len(large)
    told = Sampling(rate=1, keep=100_000)
    (found,) = await kept(path, told, [sample(0, request=large)])
    assert (found["request"], found["request_bytes"]) == (None, len(large))
    batches = [[sample(number, request=fits) for number in range(60)] for _ in range(6)]
    found_all = await kept(path, told, *batches)
    assert 100 < len(found_all) < 361
    sizes = [one.stat().st_size for one in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert all(size <= 32 << 20 for size in sizes)
    # More than may wait in memory is not kept.
    found_all = await kept(
        tmp_path / "t.jsonl", told, [sample(number, request=fits) for number in range(200)]
    )
    assert len(found_all) == (16 << 20) // len(fits)


async def test_half_a_line_of_who_was_killed_is_no_sample(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    await kept(path, Sampling(rate=1), [sample(1)])
    with path.open("ab") as file:
        file.write(b'{"id": 5, "at"')
    assert [one["request"]["x"] for one in shown(path)] == [1]
    found = await kept(path, Sampling(rate=1), [sample(2)])
    assert [one["request"]["x"] for one in found] == [1, 2]
    assert found[0]["id"] < found[1]["id"]
