"""Results go where they are to go, whole, under the same name each time, and not for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote import outputs
from tests.support.notebooks import code, notebook_of

TEXT = {"cell_type": "markdown", "metadata": {}, "source": "# A title\nand more"}


def shown() -> dict[str, Any]:
    cell = code("print('é')\n%matplotlib inline")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["é & <b>\n"]}]
    return notebook_of(TEXT, cell)


def test_forms() -> None:
    notebook = shown()
    assert json.loads(outputs.rendered(notebook, "ipynb")) == notebook
    page = outputs.rendered(notebook, "html").decode()
    assert "é &amp; &lt;b&gt;" in page
    assert "A title" in page
    script = outputs.rendered(notebook, "py").decode()
    assert script == (
        "# %% [markdown]\n# # A title\n# and more\n\n# %%\nprint('é')\n# %matplotlib inline\n"
    )
    compile(script, "script", "exec")
    with pytest.raises(UsageError, match="'docx'"):
        outputs.rendered(notebook, "docx")


def test_names_are_the_same_each_time_and_safe() -> None:
    name = outputs.base_name("/a b/re port:é.ipynb", moment=1_767_225_600.9, run="r1")
    assert name == "re-port-2026-01-01T000000Z-r1"
    assert outputs.base_name("é.ipynb", moment=0, run="r").startswith("notebook-1970-01-01")


def test_files_are_stored_whole_and_again_is_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for text in (b"one", b"two"):
        placed = outputs.store(f"file://{folder}", {"a.ipynb": text, "b.html": b"x"})
        assert (folder / "a.ipynb").read_bytes() == text
    assert placed == {"a.ipynb": f"file://{folder}/a.ipynb", "b.html": f"file://{folder}/b.html"}
    assert sorted(path.name for path in folder.iterdir()) == ["a.ipynb", "b.html"]
    assert outputs.store(str(folder), {"c": b""}) == {"c": f"file://{folder}/c"}


def test_other_kinds_of_url() -> None:
    placed = outputs.store("memory://reports/daily", {"a.ipynb": b"data"})
    assert placed == {"a.ipynb": "memory:///reports/daily/a.ipynb"}
    assert fsspec.filesystem("memory").cat("/reports/daily/a.ipynb") == b"data"
    assert outputs.remove([*placed.values(), "memory://reports/gone"]) == 1
    assert not fsspec.filesystem("memory").exists("/reports/daily/a.ipynb")


def test_what_cannot_be_stored_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(outputs.NotStored, match=r"could not be stored at .*/file/under: NotADir"):
        outputs.store(str(tmp_path / "file" / "under"), {"a": b""})
    with pytest.raises(outputs.NotStored, match="nothing://x"):
        outputs.store("nothing://x", {"a": b""})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sftp://me:word@host/x", "password or a token"),
        ("https://host/x?sig=abc", "password or a token"),
        ("nothing://x", "nothing"),
    ],
)
def test_targets_that_can_never_be_are_refused(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        outputs.check_target(url)


@pytest.mark.parametrize("url", ["/a/path", "~/reports", "file:///x", "memory://x"])
def test_targets_that_can_be_are_not(url: str) -> None:
    outputs.check_target(url)


def kept(*ends: float, failed: tuple[float, ...] = ()) -> list[outputs.Kept]:
    return [
        outputs.Kept(run=f"r{end:g}", ended_at=end, failed=end in failed, urls=()) for end in ends
    ]


@pytest.mark.parametrize(
    ("count", "seconds", "keep_failures", "gone"),
    [
        (None, None, True, []),
        (2, None, True, ["r1", "r3"]),
        (2, None, False, ["r1", "r2", "r3"]),
        (None, 6.5, True, ["r1", "r3"]),
        (None, 6.5, False, ["r1", "r2", "r3"]),
        (1, 100.0, True, ["r1", "r3", "r4"]),
        (0, None, True, ["r1", "r3", "r4", "r5"]),
    ],
)
def test_what_is_not_kept_any_longer(
    count: int | None, seconds: float | None, keep_failures: bool, gone: list[str]
) -> None:
    found = outputs.expired(
        kept(3, 1, 5, 2, 4, failed=(2,)),
        count=count,
        seconds=seconds,
        keep_failures=keep_failures,
        now=10.0,
    )
    assert [each.run for each in found] == gone
