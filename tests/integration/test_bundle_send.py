"""Bundles through the channel of a node, against its real far end."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.bundle import Bundle, BundleFile, bundle_file
from jupyter_aiinfra.channel import Channel, Upload
from jupyter_aiinfra.errors import Conflict, PoolError, Unreachable, UsageError
from jupyter_aiinfra.pools.sending import send
from jupyter_aiinfra.shell import LocalShell


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    async with Channel(LocalShell(), python=sys.executable, name="n1") as channel:
        yield channel


@pytest.fixture
def where(tmp_path: Path) -> dict[str, str]:
    return {"blobs": str(tmp_path / "blobs"), "run_dir": str(tmp_path / "run")}


async def test_only_what_is_missing_is_sent(channel: Channel, where: dict[str, str]) -> None:
    big, array = os.urandom(9_000_000), memoryview(os.urandom(3_000_000))
    files = (
        bundle_file("src/a b.py", "x = 'ä'\n"),
        bundle_file("data.bin", big),
        bundle_file("empty", b""),
        bundle_file(None, [array[:1_000_000], array[1_000_000:]]),
    )
    sent = await send(Bundle(files=files), channel.upload, **where)
    assert (sent.sent_files, sent.sent_bytes) == (4, Bundle(files=files).size_bytes)
    run_dir = Path(where["run_dir"])
    assert (run_dir / "data.bin").read_bytes() == big
    assert (run_dir / "src/a b.py").read_text() == "x = 'ä'\n"
    assert not (run_dir / "empty").read_bytes()
    assert (Path(where["blobs"]) / files[3].digest[:2] / files[3].digest).read_bytes() == array
    assert (run_dir / "data.bin").stat().st_mode & 0o777 == 0o600

    more = Bundle(files=(*files, bundle_file("new", b"12345")))
    again = await send(more, channel.upload, **{**where, "run_dir": where["run_dir"] + "2"})
    assert (again.sent_files, again.sent_bytes, again.kept_files) == (1, 5, 4)
    assert Path(where["run_dir"] + "2/data.bin").read_bytes() == big


async def test_a_cut_transfer_is_gone_on_with(where: dict[str, str]) -> None:
    big = os.urandom(20_000_000)
    bundle = Bundle(files=(bundle_file("data.bin", big),))
    cut = Channel(LocalShell(), python=sys.executable, name="n1")

    class Cut(BundleFile):
        def read(self, offset: int = 0, limit: int | None = None) -> Iterator[bytes | memoryview]:
            for number, piece in enumerate(super().read(offset, limit)):
                if number == 0:
                    yield from (
                        piece[at : at + 1_000_000] for at in range(0, 12_000_000, 1_000_000)
                    )
                raise Unreachable("the cable was pulled")

    (file,) = bundle.files
    parts: dict[str, Any] = {name: getattr(file, name) for name in ("path", "digest", "parts")}
    broken = Bundle(files=(Cut(size_bytes=file.size_bytes, **parts),))
    async with cut:
        with pytest.raises(Unreachable, match="cable"):
            await send(broken, cut.upload, **where)
    partial = Path(where["blobs"]) / "incoming" / file.digest
    # What was under way when the far end ended is lost; what it had read before is not.
    assert 0 < partial.stat().st_size <= 12_000_000
    have = partial.stat().st_size
    async with Channel(LocalShell(), python=sys.executable, name="n1") as channel:
        sent = await send(bundle, channel.upload, **where)
    assert sent.sent_bytes == len(big) - have
    assert (Path(where["run_dir"]) / "data.bin").read_bytes() == big


async def test_a_file_that_became_shorter_is_a_conflict(
    channel: Channel, where: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"x" * 100)
    bundle = Bundle(files=(bundle_file("data.bin", path),))
    path.write_bytes(b"x")
    with pytest.raises(Conflict, match=r"data\.bin changed"):
        await send(bundle, channel.upload, **where)
    assert not Path(where["run_dir"]).exists()
    assert (await channel.call("ping")) == {}


async def test_a_file_that_changed_is_a_conflict(
    channel: Channel, where: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"x" * 100)
    bundle = Bundle(files=(bundle_file("data.bin", path),))
    path.write_bytes(b"y" * 100)
    with pytest.raises(Conflict, match=r"data\.bin changed"):
        await send(bundle, channel.upload, **where)
    assert not list(Path(where["blobs"]).glob("??/*"))


async def test_what_the_node_refuses_is_said(
    channel: Channel, where: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/out").symlink_to("/etc")
    with pytest.raises(UsageError, match="n1: 'out/passwd' goes through the link"):
        await send(Bundle(files=(bundle_file("out/passwd", "x"),)), channel.upload, **where)
    (tmp_path / "file").write_text("no folder")
    blobs = {**where, "blobs": str(tmp_path / "file")}
    with pytest.raises(PoolError, match=r"n1: .*file"):
        await send(Bundle(files=(bundle_file("a", "x" * 3_000_000),)), channel.upload, **blobs)


async def test_two_at_once_send_the_same(channel: Channel, where: dict[str, str]) -> None:
    bundle = Bundle(files=(bundle_file("data.bin", os.urandom(30_000_000)),))

    async def one(number: int) -> bytes:
        run_dir = f"{where['run_dir']}{number}"
        await send(bundle, channel.upload, blobs=where["blobs"], run_dir=run_dir)
        return (Path(run_dir) / "data.bin").read_bytes()

    first, second = await asyncio.gather(one(1), one(2))
    assert first == second
    assert not list((Path(where["blobs"]) / "incoming").iterdir())


async def test_upload_names_its_verb(channel: Channel) -> None:
    upload = channel.upload("nonsense")
    assert isinstance(upload, Upload)
    async with upload:
        with pytest.raises(UsageError, match="knows no 'nonsense'"):
            await upload.head()
