"""Bundles pushed and pulled with real processes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from jupyter_aiinfra.bundle import Bundle, bundle_file, place, pull, push
from jupyter_aiinfra.errors import PoolError, StorageFull, Unreachable, UsageError
from jupyter_aiinfra.node import parcel, receive
from jupyter_aiinfra.shell import Completed, LocalShell


def below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class LoginShell(LocalShell):
    """Prints what login shells print, and runs the rest through one."""

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0
    ) -> Completed:
        return await super().run(self._noisy(argv), stdin=stdin, timeout=timeout)

    def stream(self, argv: Sequence[str], *, stdin: bytes = b""):  # type: ignore[no-untyped-def]  # noqa: ANN201
        return super().stream(self._noisy(argv), stdin=stdin)

    @staticmethod
    def _noisy(argv: Sequence[str]) -> list[str]:
        script = "printf 'Last login: never\\n\\377\\0<<\\n'; echo warning >&2; \"$@\"; echo bye"
        return ["sh", "-c", script, "sh", *argv]


@pytest.fixture(params=[LocalShell, LoginShell])
def shell(request: pytest.FixtureRequest) -> LocalShell:
    made: LocalShell = request.param()
    return made


async def test_push_then_pull_what_a_rank_left(tmp_path: Path, shell: LocalShell) -> None:
    big = os.urandom(20_000_000)
    bundle = Bundle(
        files=(
            bundle_file("src/a b.py", "x = 'ä'\n"),
            bundle_file("copy.bin", [memoryview(big)[:7], memoryview(big)[7:1000]]),
            bundle_file(None, [memoryview(big)]),
        )
    )
    blobs, run_dir = tmp_path / "blobs", tmp_path / "runs" / "job"
    where = {"python": sys.executable, "blobs": str(blobs)}
    transfer = await push(bundle, shell, run_dir=str(run_dir), **where)
    assert transfer.sent_bytes == bundle.size_bytes
    assert below(run_dir) == {"src/a b.py": "x = 'ä'\n".encode(), "copy.bin": big[:1000]}
    again = await push(bundle, shell, run_dir=str(run_dir), **where)
    assert (again.sent_files, again.sent_bytes) == (0, 0)
    assert again.kept_bytes == bundle.size_bytes

    values = {"weights": list(range(50_000)), "loss": 0.5}
    parcel.write_results(str(run_dir / "results"), values)
    into = tmp_path / "results"
    files = await pull(shell, python=sys.executable, folder=str(run_dir / "results"), into=into)
    assert files == 2
    assert parcel.read_results(str(into)) == (values, {})


async def test_tilde_is_the_home_of_the_other_side(tmp_path: Path) -> None:
    shell = LocalShell(env={"HOME": str(tmp_path)})
    bundle = Bundle(files=(bundle_file("cell.py", "1"),))
    await push(bundle, shell, python=sys.executable, blobs="~/b", run_dir="~/r")
    assert below(tmp_path / "r") == {"cell.py": b"1"}


async def test_a_killed_push_is_gone_on_with(tmp_path: Path) -> None:
    big = os.urandom(64_000_000)
    digest = hashlib.sha256(big).hexdigest()
    bundle = Bundle(files=(bundle_file(None, [big], digest=digest),))
    blobs = tmp_path / "blobs"
    incoming = blobs / "incoming" / digest

    async def go() -> int:
        transfer = await push(
            bundle,
            LocalShell(),
            python=sys.executable,
            blobs=str(blobs),
            run_dir=str(tmp_path / "run"),
        )
        return transfer.sent_bytes

    async def until_half_there() -> None:
        while not (incoming.exists() and incoming.stat().st_size > 1_000_000):
            assert not first.done()
            await asyncio.sleep(0.001)

    first = asyncio.ensure_future(go())
    await asyncio.wait_for(until_half_there(), 30)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not (blobs / digest[:2] / digest).exists()
    assert await go() < len(big)
    assert (blobs / digest[:2] / digest).read_bytes() == big
    assert list((blobs / "incoming").iterdir()) == []


async def test_two_pushes_of_the_same_blob_at_once(tmp_path: Path) -> None:
    big = os.urandom(30_000_000)
    bundle = Bundle(files=(bundle_file("x.bin", [big]),))

    async def go(name: str) -> None:
        await push(
            bundle,
            LocalShell(),
            python=sys.executable,
            blobs=str(tmp_path / "blobs"),
            run_dir=str(tmp_path / name),
        )

    await asyncio.gather(*(go(name) for name in "abc"))
    digest = bundle.files[0].digest
    assert below(tmp_path / "blobs") == {f"{digest[:2]}/{digest}": big}
    assert all((tmp_path / name / "x.bin").read_bytes() == big for name in "abc")


def _place(folder: str, seed: int, start: object) -> None:
    start.wait(30)  # type: ignore[attr-defined]
    content = bytes([seed]) * 5_000_000
    files = [bundle_file("own.txt", str(os.getpid())), bundle_file("data.bin", content)]
    place(
        Bundle(files=tuple(files)),
        blobs=Path(folder, "blobs"),
        run_dir=Path(folder, f"run-{os.getpid()}"),
    )


def test_processes_place_the_same_content_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    processes = [context.Process(target=_place, args=(str(tmp_path), 7, start)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    runs = list(tmp_path.glob("run-*"))
    assert len(runs) == 4
    assert all((run / "data.bin").read_bytes() == b"\7" * 5_000_000 for run in runs)
    blobs = below(tmp_path / "blobs")
    assert len(blobs) == 5
    assert all(hashlib.sha256(data).hexdigest() == Path(name).name for name, data in blobs.items())


async def test_the_other_side_refuses_in_words(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "src").symlink_to("/tmp")
    bundle = Bundle(files=(bundle_file("src/a.py", "1"),))
    where = {"python": sys.executable, "blobs": str(tmp_path / "b")}
    with pytest.raises(UsageError, match="goes through the link"):
        await push(bundle, LocalShell(), run_dir=str(tmp_path / "run"), **where)
    (tmp_path / "file").write_text("")
    with pytest.raises(PoolError, match="Not a directory"):
        await push(bundle, LocalShell(), run_dir=str(tmp_path / "file" / "run"), **where)
    with pytest.raises(Unreachable, match="cannot start"):
        await push(bundle, LocalShell(), python=str(tmp_path / "nope"), blobs="b", run_dir="r")
    with pytest.raises(PoolError, match=r"gave no answer \(status 1\)"):
        await push(bundle, LocalShell(), python="false", blobs="b", run_dir="r")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_really_full_device(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"data").hexdigest()
    handle = os.open("/dev/full", os.O_RDWR)
    try:
        with pytest.raises(OSError, match="No space left"):
            receive._append(handle, "/dev/full", str(tmp_path / digest), 4, lambda _: [b"data"])
    finally:
        os.close(handle)


def test_the_far_end_is_small_enough_for_an_argument() -> None:
    # One argument may have 128 KiB on Linux; ssh quotes it and may make it twice as long.
    assert Path(receive.__file__).stat().st_size < 32_000
    assert StorageFull.status == 507


def other_pythons() -> list[str]:
    """Find Pythons of other versions that really start (a version manager's stub may not)."""
    managed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [os.environ.get("PATH", os.defpath), *map(str, managed.glob("3.*/bin"))]
    found = []
    for minor in range(8, 16):
        path = shutil.which(f"python3.{minor}", path=os.pathsep.join(reversed(folders)))
        if path and minor != sys.version_info.minor:
            done = subprocess.run([path, "-c", ""], capture_output=True, check=False)
            found += [path] if done.returncode == 0 else []
    return found


OPEN = """
import base64, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("parcel", sys.argv[1])
parcel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parcel)
request = json.load(sys.stdin)
blobs = {digest: base64.b64decode(text) for digest, text in request["blobs"].items()}
said = []
for entry in request["entries"]:
    try:
        said.append(repr(parcel.unpack(entry, blobs.__getitem__)))
    except parcel.Incompatible as error:
        said.append(str(error))
back = parcel.pack("back", {"from": sys.version_info[1], "to": [1.5, b"x", {"a": (None, True)}]})
json.dump({"said": said, "entry": back.entry}, sys.stdout)
"""


@pytest.mark.skipif(not other_pythons(), reason="only one Python here")
async def test_plain_data_crosses_versions_and_the_rest_is_refused(tmp_path: Path) -> None:
    plain = {"lr": 0.1, "names": ["ä", "b"] * 20_000, "when": b"x"}
    packed = [parcel.pack("plain", plain), parcel.pack("bound", Bundle(files=()))]
    request = {
        "entries": [each.entry for each in packed],
        "blobs": {
            digest: base64.b64encode(b"".join(buffers)).decode()
            for each in packed
            for digest, buffers in each.buffers.items()
        },
    }
    bundle = Bundle(files=(bundle_file("cell.py", "1"), bundle_file("empty", b"")))
    for python in other_pythons():
        done = subprocess.run(
            [python, "-c", OPEN, parcel.__file__],
            input=json.dumps(request).encode(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        answer = json.loads(done.stdout)
        assert answer["said"][0] == repr(plain)
        assert "made by Python" in answer["said"][1]
        assert parcel.unpack(answer["entry"], lambda _: b"")["to"] == [
            1.5,
            b"x",
            {"a": (None, True)},
        ]
        folder = tmp_path / Path(python).name
        run_dir = folder / "run"
        where = {"python": python, "blobs": str(folder / "blobs"), "run_dir": str(run_dir)}
        assert (await push(bundle, LocalShell(), **where)).sent_files == 2
        assert await pull(LocalShell(), python=python, folder=str(run_dir), into=folder / "r") == 2
        assert below(folder / "r") == {"cell.py": b"1", "empty": b""}
