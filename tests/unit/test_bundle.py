"""What is placed is whole, private, where it belongs, and written once."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra import bundle as bundles
from jupyter_aiinfra.bundle import (
    Bundle,
    BundleFile,
    Transfer,
    bundle_file,
    place,
    pull,
    push,
    stored,
)
from jupyter_aiinfra.errors import (
    Conflict,
    NotFound,
    PoolError,
    StorageFull,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.model import from_wire, to_wire
from jupyter_aiinfra.node import receive
from jupyter_aiinfra.shell import Completed, Pipe


def made(*files: tuple[str | None, Any]) -> Bundle:
    return Bundle(files=tuple(bundle_file(path, content) for path, content in files))


def below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    return tmp_path / "home" / "blobs"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "home" / "runs" / "job"


# --- files ---------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=5), max_size=5), st.integers(0, 30), st.integers(0, 30))
def test_content_reads_alike_from_any_offset(parts: list[bytes], offset: int, limit: int) -> None:
    file = bundle_file("x", parts)
    whole = b"".join(parts)
    assert file.digest == hashlib.sha256(whole).hexdigest()
    assert file.size_bytes == len(whole)
    assert b"".join(file.read(offset)) == whole[offset:]
    assert b"".join(file.read(offset, limit)) == whole[offset : offset + limit]


def test_a_file_may_be_text_bytes_a_path_or_buffers(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("grüße".encode())
    contents = ["grüße", "grüße".encode(), path, [b"gr", memoryview("üße".encode())]]
    files = [bundle_file("x", content) for content in contents]  # type: ignore[arg-type]
    assert len({file.digest for file in files}) == 1
    assert {b"".join(file.read(3, 4)) for file in files} == {"grüße".encode()[3:7]}


def test_a_known_digest_spares_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "sha256", None)
    assert bundle_file(None, b"x", digest="ab" * 32).digest == "ab" * 32


def test_memory_is_not_copied() -> None:
    memory = bytearray(b"a" * 100)
    (piece,) = bundle_file(None, [memoryview(memory)]).read(50)
    memory[50] = ord("b")
    assert bytes(piece[:2]) == b"ba"


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//x", "", ".", "a/.", "a\0b"])
def test_a_path_out_of_the_run_directory_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="is not a plain relative path"):
        bundle_file(path, b"")


def test_equal_content_counts_once() -> None:
    bundle = made(("a", b"1234"), ("b", b"1234"), (None, b"56"))
    assert bundle.size_bytes == 6
    assert [ref.path for ref in bundle.refs()] == ["a", "b", None]
    assert all(from_wire(to_wire(ref), type(ref)) == ref for ref in bundle.refs())


# --- placing -------------------------------------------------------------------------------------


def test_place_writes_blobs_and_copies(blobs: Path, run_dir: Path) -> None:
    bundle = made(("cell.py", "print(1)\n"), ("src/lib/a.py", b""), (None, b"data"))
    transfer = place(bundle, blobs=blobs, run_dir=run_dir)
    assert transfer == Transfer(sent_files=3, sent_bytes=13, kept_files=0, kept_bytes=0)
    assert below(run_dir) == {"cell.py": b"print(1)\n", "src/lib/a.py": b""}
    assert below(blobs) == {
        f"{file.digest[:2]}/{file.digest}": b"".join(file.read()) for file in bundle.files
    }
    # A job may write to its files without changing what others are sent.
    (run_dir / "cell.py").write_text("changed")
    assert stored(bundle.refs(), blobs=blobs).size_bytes == 13
    assert b"print(1)\n" in below(blobs).values()


def test_a_second_place_writes_no_blob(blobs: Path, run_dir: Path) -> None:
    bundle = made(("cell.py", "x = 1\n"), (None, b"data"))
    place(bundle, blobs=blobs, run_dir=run_dir)
    before = {path: path.stat().st_ino for path in blobs.rglob("*")}
    transfer = place(bundle, blobs=blobs, run_dir=run_dir.with_name("other"))
    assert transfer == Transfer(sent_files=0, sent_bytes=0, kept_files=2, kept_bytes=10)
    assert {path: path.stat().st_ino for path in blobs.rglob("*")} == before
    assert below(run_dir.with_name("other")) == {"cell.py": b"x = 1\n"}


def test_everything_is_private(tmp_path: Path, blobs: Path, run_dir: Path) -> None:
    place(made(("a/b.py", b"x"), (None, b"y")), blobs=blobs, run_dir=run_dir)
    paths = list((tmp_path / "home").rglob("*"))
    assert {stat.S_IMODE(p.stat().st_mode) for p in paths if p.is_file()} == {0o600}
    assert {stat.S_IMODE(p.stat().st_mode) for p in paths if p.is_dir()} == {0o700}


@pytest.mark.parametrize("spoil", ["longer", "shorter", "link"])
def test_a_blob_of_the_wrong_size_is_replaced(
    tmp_path: Path, blobs: Path, run_dir: Path, spoil: str
) -> None:
    bundle = made((None, b"data"))
    place(bundle, blobs=blobs, run_dir=run_dir)
    (blob,) = [path for path in blobs.rglob("*") if path.is_file()]
    blob.unlink()
    if spoil == "link":
        (tmp_path / "elsewhere").write_bytes(b"evil")
        blob.symlink_to(tmp_path / "elsewhere")
    else:
        blob.write_bytes(b"data!" if spoil == "longer" else b"da")
    assert place(bundle, blobs=blobs, run_dir=run_dir).sent_files == 1
    assert blob.read_bytes() == b"data"
    assert not blob.is_symlink()


def test_what_a_killed_process_left_is_gone_on_with(blobs: Path, run_dir: Path) -> None:
    good, bad = b"good" * 1000, b"evil" * 1000
    for content, left in ((good, good[:1500]), (bad, b"?" * 1500), (b"tiny", b"longer than that")):
        incoming = blobs / "incoming" / hashlib.sha256(content).hexdigest()
        incoming.parent.mkdir(parents=True, exist_ok=True)
        incoming.write_bytes(left)
    place(made((None, good), (None, bad), (None, b"tiny")), blobs=blobs, run_dir=run_dir)
    assert set(below(blobs).values()) == {good, bad, b"tiny"}


def test_old_leftovers_are_swept(blobs: Path, run_dir: Path) -> None:
    incoming = blobs / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "old").write_bytes(b"x")
    (incoming / "new").write_bytes(b"x")
    yesterday = time.time() - 100_000
    os.utime(incoming / "old", (yesterday, yesterday))
    place(made((None, b"y")), blobs=blobs, run_dir=run_dir)
    assert [path.name for path in incoming.iterdir()] == ["new"]


def test_content_that_changed_meanwhile_is_not_kept(blobs: Path, run_dir: Path) -> None:
    memory = bytearray(b"a" * 100)
    bundle = made((None, [memoryview(memory)]))
    memory[3] = 0
    with pytest.raises(Conflict, match="changed while it was being sent"):
        place(bundle, blobs=blobs, run_dir=run_dir)
    assert below(blobs) == {}
    assert not run_dir.exists()


@pytest.mark.parametrize("size", [1, 9])
def test_a_file_that_changed_its_size_is_not_kept(
    tmp_path: Path, blobs: Path, run_dir: Path, size: int
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"12345")
    bundle = made(("data.bin", path))
    path.write_bytes(b"1" * size)
    with pytest.raises(Conflict, match=r"data\.bin changed"):
        place(bundle, blobs=blobs, run_dir=run_dir)
    assert not run_dir.exists()


def test_links_in_the_run_directory_are_not_followed(
    tmp_path: Path, blobs: Path, run_dir: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    run_dir.mkdir(parents=True)
    (run_dir / "src").symlink_to(outside)
    with pytest.raises(UsageError, match="goes through the link"):
        place(made(("src/a.py", b"x")), blobs=blobs, run_dir=run_dir)
    (run_dir / "cell.py").symlink_to(outside / "target")
    place(made(("cell.py", b"x")), blobs=blobs, run_dir=run_dir)
    assert list(outside.iterdir()) == []
    assert (run_dir / "cell.py").read_bytes() == b"x"


def test_a_digest_cannot_be_a_path(blobs: Path) -> None:
    with pytest.raises(receive.Refused, match="not a SHA-256"):
        receive.store(str(blobs), "../../x", 1, lambda _: [b"x"])


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_half_made(
    blobs: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def half(handle: int, data: Any) -> int:
        return write(handle, data[:3]) if len(data) == 10 else full()

    bundle = made(("cell.py", b"0123456789"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(StorageFull) as caught:
            place(bundle, blobs=blobs, run_dir=run_dir)
    assert str(blobs) in caught.value.message
    assert "bytes are free, 10 are needed" in caught.value.message
    assert caught.value.hint
    assert below(blobs) == {}
    assert not run_dir.exists()
    place(bundle, blobs=blobs, run_dir=run_dir)
    assert below(run_dir) == {"cell.py": b"0123456789"}


@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_full_while_copying_undoes_the_run_directory(
    blobs: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    if existing:
        run_dir.mkdir(parents=True)
        (run_dir / "mine").write_text("kept")
    fill = receive._fill

    def third_fails(descriptor: int, blob: str) -> None:
        fill(descriptor, blob)
        if Path(blob).read_bytes() == b"3":
            full()

    bundle = made(("a.py", b"1"), ("src/b.py", b"2"), ("src/c.py", b"3"))
    monkeypatch.setattr(receive, "_fill", third_fails)
    with pytest.raises(StorageFull, match=str(run_dir)):
        place(bundle, blobs=blobs, run_dir=run_dir)
    assert run_dir.exists() == existing
    assert below(run_dir) == ({"mine": b"kept"} if existing else {})


def test_no_room_is_found_before_anything_is_written(
    blobs: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "_free_bytes", lambda _: 5)
    with pytest.raises(StorageFull, match="5 bytes are free, 20 are needed"):
        place(made(("x", b"0123456789")), blobs=blobs, run_dir=run_dir)
    assert not blobs.exists()


def test_stored_rebuilds_the_bundle_or_names_what_is_gone(blobs: Path, run_dir: Path) -> None:
    bundle = made(("cell.py", b"x = 1"), (None, b"data"))
    place(bundle, blobs=blobs, run_dir=run_dir)
    again = stored(bundle.refs(), blobs=blobs)
    assert again.refs() == bundle.refs()
    place(again, blobs=blobs.with_name("b2"), run_dir=run_dir.with_name("r2"))
    assert below(run_dir.with_name("r2")) == {"cell.py": b"x = 1"}
    digest = bundle.files[0].digest
    (blobs / digest[:2] / digest).unlink()
    with pytest.raises(NotFound, match=r"cell\.py of this job is no longer stored"):
        stored(bundle.refs(), blobs=blobs)


# --- through a shell -----------------------------------------------------------------------------


class Closed:
    """A place where nothing is kept open."""

    async def open(self, argv: Sequence[str]) -> Pipe:
        raise Unreachable(f"{argv[0]} is not opened here")


class Far(Closed):
    """The far end in this process: what a program of ours is told and answers, to be spoilt."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.cut: int | None = None

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0
    ) -> Completed:
        self.sent.append(len(stdin))
        stdin = stdin if self.cut is None else stdin[: self.cut]
        out = self.serve(argv, stdin)
        return Completed(argv=tuple(argv), status=0, stdout=out, stderr=b"")

    async def stream(self, argv: Sequence[str], *, stdin: bytes = b"") -> AsyncIterator[bytes]:
        out = self.serve(argv, stdin)
        for at in range(0, len(out) if self.cut is None else self.cut, 7):
            yield out[at : at + 7]

    def serve(self, argv: Sequence[str], stdin: bytes) -> bytes:
        assert argv[1:4] == ["-I", "-S", "-c"]
        assert argv[4] == Path(receive.__file__).read_text(encoding="utf-8")
        output = io.BytesIO()
        umask = os.umask(0o022)
        with (
            mock.patch("sys.stdin", SimpleNamespace(buffer=io.BytesIO(stdin))),
            mock.patch("sys.stdout", SimpleNamespace(buffer=output)),
        ):
            assert receive.main(list(argv[5:])) == 0
        os.umask(umask)
        return b"Welcome! <<not a marker\n\xff\x00" + output.getvalue() + b"bye\n"


class Stuck(Far):
    """Takes everything and has nothing of it."""

    def serve(self, argv: Sequence[str], stdin: bytes) -> bytes:
        return super().serve(argv, stdin.split(b"\n", 1)[0] + b"\n")


@pytest.fixture
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_FIRST_REQUEST_BYTES", 64)
    monkeypatch.setattr(bundles, "_MOST_REQUEST_BYTES", 256)


async def pushed(bundle: Bundle, far: Far, blobs: Path, run_dir: Path) -> Transfer:
    return await push(bundle, far, python="python", blobs=str(blobs), run_dir=str(run_dir))


@pytest.mark.usefixtures("small_requests")
async def test_push_sends_in_pieces_and_only_once(blobs: Path, run_dir: Path) -> None:
    far = Far()
    bundle = made(("cell.py", b"x"), (None, bytes(range(256)) * 8), ("empty", b""))
    transfer = await pushed(bundle, far, blobs, run_dir)
    assert transfer == Transfer(sent_files=3, sent_bytes=2049, kept_files=0, kept_bytes=0)
    assert len(far.sent) > 5
    assert max(far.sent) < 1000
    assert below(run_dir) == {"cell.py": b"x", "empty": b""}
    far.sent.clear()
    transfer = await pushed(bundle, far, blobs, run_dir.with_name("two"))
    assert transfer == Transfer(sent_files=0, sent_bytes=0, kept_files=3, kept_bytes=2049)
    assert len(far.sent) == 1
    assert below(run_dir.with_name("two")) == {"cell.py": b"x", "empty": b""}


@pytest.mark.usefixtures("small_requests")
async def test_a_cut_push_leaves_no_final_name_and_is_gone_on_with(
    blobs: Path, run_dir: Path
) -> None:
    far = Far()
    content = os.urandom(10_000)
    bundle = made((None, content), ("cell.py", b"y" * 50))
    far.cut = 350
    with pytest.raises(PoolError, match="cut"):
        await pushed(bundle, far, blobs, run_dir)
    assert {path.split("/")[0] for path in below(blobs)} == {"incoming"}
    assert not run_dir.exists()
    (part,) = below(blobs).values()
    assert content.startswith(part)
    far.cut = None
    transfer = await pushed(bundle, far, blobs, run_dir)
    assert transfer.sent_bytes == 10_050 - len(part)
    assert set(below(blobs).values()) == {content, b"y" * 50}


async def test_a_push_of_what_changes_ends_with_a_reason(
    tmp_path: Path, blobs: Path, run_dir: Path
) -> None:
    memory = bytearray(100)
    bundle = made((None, [memoryview(memory)]))
    memory[0] = 1
    with pytest.raises(Conflict, match="changed"):
        await pushed(bundle, Far(), blobs, run_dir)
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    bundle = made(("x", path))
    path.write_bytes(b"1")
    with pytest.raises(Conflict, match="x changed"):
        await pushed(bundle, Far(), blobs, run_dir)
    assert [name for name in below(blobs) if not name.startswith("incoming")] == []


async def test_a_full_disk_elsewhere_is_named(
    blobs: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "_free_bytes", lambda _: 5)
    far = Far()
    with pytest.raises(StorageFull, match="5 bytes are free, 10 are needed"):
        await pushed(made(("x", b"0123456789")), far, blobs, run_dir)
    assert len(far.sent) == 1


async def test_a_place_that_takes_nothing_ends_the_push(blobs: Path, run_dir: Path) -> None:
    far = Stuck()
    with pytest.raises(PoolError, match="takes nothing more"):
        await pushed(made(("x", b"1")), far, blobs, run_dir)
    assert len(far.sent) < 10


async def test_refusals_of_the_far_end_are_errors_of_ours(blobs: Path, run_dir: Path) -> None:
    (run_dir / "src").mkdir(parents=True)
    with pytest.raises(UsageError, match="is a folder"):
        await pushed(made(("src", b"1")), Far(), blobs, run_dir)
    (run_dir / "file").write_text("")
    with pytest.raises(PoolError, match="Not a directory"):
        await pushed(made(("file/x", b"1")), Far(), blobs, run_dir)
    bad = Bundle(files=(BundleFile(path=None, digest="../x", size_bytes=0, parts=()),))
    with pytest.raises(UsageError, match="not a SHA-256 digest"):
        await pushed(bad, Far(), blobs, run_dir)


class Mute(Closed):
    """A place whose program says nothing of ours."""

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0
    ) -> Completed:
        return Completed(argv=tuple(argv), status=127, stdout=b"hello\n", stderr=b"no such file")

    async def stream(self, argv: Sequence[str], *, stdin: bytes = b"") -> AsyncIterator[bytes]:
        yield b"hello\n"


async def test_no_answer_is_told_with_what_was_said(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"python9 gave no answer \(status 127\): no such file"):
        await push(made(), Mute(), python="python9", blobs="b", run_dir="r")
    with pytest.raises(PoolError, match="cut"):
        await pull(Mute(), python="python9", folder="f", into=tmp_path)


async def test_pull_brings_a_folder_and_each_blob_once(tmp_path: Path) -> None:
    source, into = tmp_path / "results", tmp_path / "here" / "results"
    digest = hashlib.sha256(b"tensor").hexdigest()
    (source / "blobs").mkdir(parents=True)
    (source / "blobs" / digest).write_bytes(b"tensor")
    (source / "manifest.json").write_bytes(b"{}")
    (source / ".part-1").write_bytes(b"half")
    (source / "link").symlink_to("/etc/passwd")
    far = Far()
    assert await pull(far, python="python", folder=str(source), into=into) == 2
    assert below(into) == {f"blobs/{digest}": b"tensor", "manifest.json": b"{}"}
    kept = (into / "blobs" / digest).stat().st_ino
    (source / "manifest.json").write_bytes(b"[]")
    assert await pull(far, python="python", folder=str(source), into=into) == 2
    assert (into / "manifest.json").read_bytes() == b"[]"
    assert (into / "blobs" / digest).stat().st_ino == kept
    assert {stat.S_IMODE(path.stat().st_mode) for path in into.rglob("*.json")} == {0o600}
    assert stat.S_IMODE(into.stat().st_mode) == 0o700


async def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    into = tmp_path / "into"
    assert await pull(Far(), python="python", folder=str(tmp_path / "no"), into=into) == 0
    assert not into.exists()


async def test_a_cut_pull_has_no_manifest_and_nothing_half(tmp_path: Path) -> None:
    source, into = tmp_path / "results", tmp_path / "into"
    (source / "blobs").mkdir(parents=True)
    (source / "blobs" / "a").write_bytes(b"a" * 500)
    (source / "blobs" / "b").write_bytes(b"b" * 500)
    (source / "manifest.json").write_bytes(b"{}")
    far = Far()
    far.cut = 900
    with pytest.raises(PoolError, match="cut"):
        await pull(far, python="python", folder=str(source), into=into)
    assert below(into) == {"blobs/a": b"a" * 500}
    far.cut = None
    assert await pull(far, python="python", folder=str(source), into=into) == 3


class Hostile(Far):
    """Answers a pull with a name of its choice."""

    def __init__(self, name: str, *, digest: str = "0" * 64) -> None:
        super().__init__()
        self.name = name
        self.digest = digest

    def serve(self, argv: Sequence[str], stdin: bytes) -> bytes:
        begin, end = bundles._markers(argv[6])
        frame = json.dumps([self.name, 1, False]).encode() + b"\nx"
        return begin + frame + json.dumps(self.digest).encode() + b"\nnull\n" + end


def test_what_is_elsewhere_is_missed_only_when_it_must_be_sent(tmp_path: Path) -> None:
    whole = made(("a", b"here"), ("b", b"there"))
    place(made(("a", b"here")), blobs=tmp_path / "blobs", run_dir=tmp_path / "run")
    bundle = stored(whole.refs(), blobs=tmp_path / "blobs", elsewhere=True)
    assert bundle.refs() == whole.refs()
    here, there = bundle.files
    assert b"".join(here.read()) == b"here"
    with pytest.raises(NotFound, match="b of this job is no longer stored"):
        list(there.read())


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x"])
async def test_a_pull_writes_only_below_its_folder(tmp_path: Path, name: str) -> None:
    into = tmp_path / "into"
    with pytest.raises(PoolError, match="a file was refused"):
        await pull(Hostile(name), python="python", folder="f", into=into)
    assert below(tmp_path) == {}


async def test_a_damaged_file_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="damaged"):
        await pull(Hostile("x"), python="python", folder="f", into=tmp_path)
    assert below(tmp_path) == {}
    good = Hostile("x", digest=hashlib.sha256(b"x").hexdigest())
    assert await pull(good, python="python", folder="f", into=tmp_path) == 1


async def test_a_pull_to_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageFull, match="1 are needed"):
        await pull(
            Hostile("x", digest=hashlib.sha256(b"x").hexdigest()),
            python="python",
            folder="f",
            into=tmp_path,
        )
    assert below(tmp_path) == {}
