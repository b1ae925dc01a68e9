"""Events of a running notebook are read from where one is, and make the notebook they tell of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.model import Handle
from jupyter_aiinfra.node import live, outputs, scrub, supervise
from jupyter_aiinfra.pools import browsing
from jupyter_aiinfra.pools.base import FileReader, RunFile
from jupyter_aiinfra.promote.following import EventReader, Picture


class Folder:
    """A run directory on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def files(self, handle: Handle, *, limit: int) -> Sequence[RunFile]:
        return browsing.list_files(self.root, limit=limit)

    async def open_file(self, handle: Handle, path: str, *, offset: int = 0) -> FileReader:
        return browsing.open_file(self.root, path, offset=offset)


HANDLE = Handle(kind="folder", data={})


@pytest.fixture
def written(tmp_path: Path) -> live.Live:
    return live.Live(supervise.Run(tmp_path), scrub.Scrubber())


def reader(written: live.Live, **how: Any) -> EventReader:
    return EventReader(Folder(Path(written.run.folder)), HANDLE, **how)


async def test_what_is_new_is_read_once_and_only_whole_lines(written: live.Live) -> None:
    follower = reader(written)
    assert not await follower.poll()
    written.event("cell", cell=0, state="running")
    (event,) = await follower.poll()
    assert (event["event"], event["cell"]) == ("cell", 0)
    assert not await follower.poll()
    os.write(written._file, b'{"event": "clear", "cell"')
    assert not await follower.poll()
    os.write(written._file, b': 0, "wait": false}\n')
    (event,) = await follower.poll()
    assert event["event"] == "clear"
    written.event("end", state="succeeded")
    other = reader(written, file=follower.file, offset=follower.offset)
    assert [each["event"] for each in await other.poll()] == ["end"]
    assert other.ended


async def test_a_file_that_is_given_up_is_followed_into_the_next(
    written: live.Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_EVENTS_BYTES", 300)
    shown = outputs.CellOutputs(outputs.Limits())
    written.running(0, shown)
    follower, late = reader(written), reader(written)
    picture, seen_late = Picture({"cells": [{}]}), Picture({"cells": [{}]})
    for number in range(20):
        shown.write("stdout", f"line {number}\n")
        written.write(0, "stdout", f"line {number}\n")
        written.flush(whole=True)
        for event in await follower.poll():
            picture.apply(event)
    for event in await follower.poll():
        picture.apply(event)
    for event in await late.poll():
        seen_late.apply(event)
    whole = [{"output_type": "stream", "name": "stdout", "text": shown.outputs()[0]["text"]}]
    assert picture.notebook["cells"][0]["outputs"] == whole
    assert seen_late.notebook["cells"][0]["outputs"] == whole
    names = [path.name for path in Path(written.run.path("notebook")).glob("events-*")]
    assert len(names) == 1, "files that were given up are gone"
    assert names != ["events-1.jsonl"]


async def test_a_full_disk_loses_nothing_that_still_counts(
    written: live.Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = outputs.CellOutputs(outputs.Limits())
    written.running(0, shown)
    written.event("cell", cell=0, state="running")
    real = os.write
    full = True

    def write(descriptor: int, data: bytes) -> int:
        if full and descriptor == written._file:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    shown.write("stdout", "unseen\n")
    written.write(0, "stdout", "unseen\n")
    written.flush(whole=True)
    assert written.full
    full = False
    shown.write("stdout", "seen\n")
    written.write(0, "stdout", "seen\n")
    written.flush(whole=True)
    follower, picture = reader(written), Picture({"cells": [{}]})
    for _ in range(2):
        for event in await follower.poll():
            picture.apply(event)
    assert picture.notebook["cells"][0]["outputs"][0]["text"] == "unseen\nseen\n"


async def test_a_token_in_two_pieces_is_hidden(written: live.Live) -> None:
    token = "ghp_" + "a1B2" * 9
    for piece in ("see ", token[:13], token[13:], " there\n"):
        written.write(0, "stdout", piece)
        written.flush()
    written.flush(whole=True)
    text = "".join(event["text"] for event in await reader(written).poll())
    assert text == "see ••• there\n"


def test_pictures_clear_update_and_overwrite() -> None:
    picture = Picture({"cells": [{}, {}]})
    shown = {"output_type": "display_data", "data": {"text/plain": "1"}, "metadata": {}}
    events: list[dict[str, Any]] = [
        {"event": "begin"},
        {"event": "cell", "cell": 0, "state": "running"},
        {"event": "stream", "cell": 0, "name": "stdout", "text": "gone\n"},
        {"event": "clear", "cell": 0, "wait": True},
        {"event": "output", "cell": 0, "output": shown, "display_id": "d"},
        {"event": "cell", "cell": 0, "state": "completed", "execution_count": 1},
        {"event": "cell", "cell": 1, "state": "running"},
        {"event": "stream", "cell": 1, "name": "stderr", "text": "10 %"},
        {"event": "stream", "cell": 1, "name": "stderr", "text": "\r20 %"},
        {"event": "update", "display_id": "d", "data": {"text/plain": "2"}, "metadata": {}},
    ]
    for event in events:
        picture.apply(event)
    first, second = picture.notebook["cells"]
    assert first == {
        "outputs": [{**shown, "data": {"text/plain": "2"}}],
        "execution_count": 1,
    }
    assert second["outputs"] == [{"output_type": "stream", "name": "stderr", "text": "20 %"}]
