from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.node import folders, receive
from jupyter_aiinfra.node.channel import Refusal
from jupyter_aiinfra.node.folders import entries
from jupyter_aiinfra.pools.moving import look_local


class Asked:
    """A request, as far as these verbs look at it."""

    cancelled = False

    def __init__(self, **args: Any) -> None:
        self.args = args

    def argument(self, name: str, kind: Any, default: Any = None) -> Any:
        return self.args.get(name, default)


def kinds(folder: Path) -> dict[str, str]:
    return {entry[0]: entry[1] for entry in entries(str(folder))}


def test_links_to_files_within_are_files_and_all_others_are_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub/file").write_text("x")
    (root / "same").symlink_to("sub/file")
    (root / "folder").symlink_to("sub")
    (root / "out").symlink_to(tmp_path)
    (root / "broken").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    assert kinds(root) == {
        "sub": "folder",
        "sub/file": "file",
        "same": "file",
        "folder": "link",
        "out": "link",
        "broken": "link",
        "pipe": "other",
    }
    with pytest.raises(UsageError, match="links that lead elsewhere: broken, folder, out"):
        look_local(root)


def test_what_is_looked_for_here(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no"):
        look_local(tmp_path / "none")
    (tmp_path / "file").write_text("four")
    tree = look_local(tmp_path / "file")
    assert (tree.kind, [each.size_bytes for each in tree.files]) == ("file", [4])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        look_local(tmp_path / "pipe")
    with pytest.raises(UsageError, match="neither file nor folder: pipe"):
        look_local(tmp_path)


def test_folders_are_made_below_their_own_and_nowhere_else(tmp_path: Path) -> None:
    place = tmp_path / "place"
    asked: Any = Asked(path=str(place), names=["a", "a/b"])
    assert folders.make_folders(asked) == {"made": 3}
    assert folders.make_folders(asked) == {"made": 0}
    with pytest.raises(receive.Refused):
        folders.make_folders(Asked(path=str(place), names=["../c"]))  # type: ignore[arg-type]
    (place / "link").symlink_to(tmp_path)
    with pytest.raises(Refusal, match="leads out of"):
        folders.make_folders(Asked(path=str(place), names=["link/c"]))  # type: ignore[arg-type]
    (place / "file").write_text("")
    with pytest.raises(Refusal, match="cannot make"):
        folders.make_folders(Asked(path=str(place), names=["file/c"]))  # type: ignore[arg-type]


def test_a_digest_is_of_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert folders.digest(Asked(path=str(tmp_path / "file"))) == {"sha256": empty}  # type: ignore[arg-type]
    assert folders.digest(Asked(path=str(tmp_path / "none"))) == {"sha256": None}  # type: ignore[arg-type]
