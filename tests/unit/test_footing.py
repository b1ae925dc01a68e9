from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node.footing import _unwritable, kills_user_processes


def a_root(tmp_path: Path, files: dict[str, str]) -> str:
    (tmp_path / "run/systemd/seats").mkdir(parents=True)
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(tmp_path)


def test_a_machine_without_logind_ends_nobody(tmp_path: Path) -> None:
    assert kills_user_processes(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({}, False),
        ({"etc/systemd/logind.conf": "[Login]\n#KillUserProcesses=yes\n"}, False),
        ({"etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\n"}, True),
        ({"usr/lib/systemd/logind.conf.d/a.conf": "[Login]\nkilluserprocesses = true\n"}, True),
        (
            {
                "etc/systemd/logind.conf": "KillUserProcesses=yes",
                "etc/systemd/logind.conf.d/z.conf": "KillUserProcesses=no",
            },
            False,
        ),
        (
            {
                "usr/lib/systemd/logind.conf.d/a.conf": "KillUserProcesses=yes",
                "etc/systemd/logind.conf.d/a.conf": "",
            },
            False,
        ),
    ],
)
def test_the_last_file_says_it(tmp_path: Path, files: dict[str, Any], kills: bool) -> None:
    assert kills_user_processes(a_root(tmp_path, files)) is kills


def test_a_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    assert _unwritable(str(tmp_path / "not" / "yet")) is None
    assert not any(tmp_path.iterdir())
    assert _unwritable("/proc/self/not") == "/proc/self: No such file or directory"
