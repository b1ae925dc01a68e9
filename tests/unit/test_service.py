from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from jupyter_aiinfra.cli.service import UNIT, Service, unit_text
from jupyter_aiinfra.errors import Conflict, Unreachable, UsageError
from jupyter_aiinfra.testing import FakeShell, Reply

USER = ("systemctl", "--user")
RELOAD = (*USER, "daemon-reload")
ENABLE = (*USER, "enable", UNIT)
RESTART = (*USER, "restart", UNIT)
DISABLE = (*USER, "disable", "--now", UNIT)


class Desk:
    """A user's home, with the programs of a machine that has systemd."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = root / "home"
        self.programs = root / "bin"
        for folder in (self.home, self.programs):
            folder.mkdir()
        for name in ("systemctl", "loginctl", "jupyter-aiinfra"):
            (self.programs / name).touch(mode=0o755)
        self.environ = {
            "HOME": str(self.home),
            "PATH": str(self.programs),
            "JUPYTER_AIINFRA_HOME": "/data/ai infra",
            "JUPYTER_TOKEN": "not to be written",
            "EDITOR": "vi",
        }
        monkeypatch.setattr(sys, "executable", str(self.programs / "python"))
        self.shell = FakeShell([])

    def service(self, *replies: Reply) -> Service:
        self.shell = FakeShell(replies)
        return Service(self.shell, environ=self.environ, home=self.home)

    @property
    def unit(self) -> Path:
        return self.home / ".config" / "systemd" / "user" / UNIT


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def lingers(answer: bytes) -> Reply:
    argv = ("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value")
    return Reply(argv=argv, stdout=answer)


def test_a_unit_says_what_is_run_and_how() -> None:
    text = unit_text(
        ["/opt/env/bin/jupyter-aiinfra", "serve", "--", "--ServerApp.ip=*", 'a "b" $c %d \\e'],
        environ={"PATH": "/usr/bin:/100%", "JUPYTER_AIINFRA_HOME": "/data/$x", "LANG": "C"},
        variables=Path("/home/ada/my config/service.env"),
        folder=Path("/home/ada"),
    )
    lines = text.splitlines()
    assert lines[0].startswith("# Written by: ")
    assert (
        'ExecStart="/opt/env/bin/jupyter-aiinfra" "serve" "--" "--ServerApp.ip=*" '
        '"a \\"b\\" $$c %%d \\\\e"'
    ) in lines
    # Only a line that is run replaces variables; the others leave a $ alone.
    assert 'Environment="JUPYTER_AIINFRA_HOME=/data/$x"' in lines
    assert 'Environment="PATH=/usr/bin:/100%%"' in lines
    assert not [line for line in lines if "LANG" in line]
    assert "EnvironmentFile=-/home/ada/my config/service.env" in lines
    # Jobs of this machine are below it: they must not end with it.
    assert "KillMode=process" in lines
    assert "OOMPolicy=continue" in lines
    assert "WantedBy=default.target" in lines


def test_what_would_be_another_line_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot stand in a unit"):
        unit_text(["serve", "a\nExecStart=b"], environ={}, variables=Path("v"), folder=Path("f"))


async def test_it_is_written_enabled_and_begun(desk: Desk) -> None:
    service = desk.service(
        *(Reply(argv=each) for each in (RELOAD, ENABLE, RESTART)), lingers(b"no")
    )
    news = await service.install(["--", "--ServerApp.port=8900"])
    desk.shell.finish()
    assert (news.enabled, news.running, news.problem) == (True, True, "")
    assert news.unit == str(desk.unit)
    assert news.lingers is False
    assert news.todo == ("loginctl enable-linger",)
    assert news.left_out == ("JUPYTER_TOKEN",)
    text = desk.unit.read_text()
    assert 'Environment="JUPYTER_AIINFRA_HOME=/data/ai infra"' in text
    assert (
        f'ExecStart="{desk.programs}/jupyter-aiinfra" "serve" "--" "--ServerApp.port=8900"' in text
    )
    assert "not to be written" not in text
    assert stat.S_IMODE(desk.unit.stat().st_mode) == 0o600
    # Again is no error: the unit is the new one.
    again = desk.service(*(Reply(argv=each) for each in (RELOAD, ENABLE, RESTART)), lingers(b"yes"))
    assert (await again.install([])).todo == ()
    assert "8900" not in desk.unit.read_text()


@pytest.mark.parametrize("fails", [0, 1, 2])
async def test_what_systemd_did_not_do_is_to_be_done(desk: Desk, fails: int) -> None:
    steps: Sequence[tuple[str, ...]] = (RELOAD, ENABLE, RESTART)
    replies = [Reply(argv=each) for each in steps[:fails]]
    failing = Reply(argv=steps[fails], status=1, stderr=b"Failed to connect to bus\nmore\n")
    news = await desk.service(*replies, failing).install([])
    desk.shell.finish()
    assert news.problem == f"{' '.join(steps[fails])}: Failed to connect to bus"
    assert news.todo == tuple(" ".join(each) for each in steps[fails:])
    assert (news.enabled, news.running) == (fails > 1, False)
    assert desk.unit.exists()


async def test_without_systemd_it_is_written_and_that_is_said(desk: Desk) -> None:
    (desk.programs / "systemctl").unlink()
    news = await desk.service().install([])
    assert news.problem == "there is no systemctl here"
    assert len(news.todo) == 3
    assert desk.unit.exists()


async def test_a_systemd_that_hangs_is_a_problem(desk: Desk) -> None:
    hangs = Reply(argv=RELOAD, error=Unreachable("systemctl did not answer within 60 s"))
    news = await desk.service(hangs).install([])
    assert news.problem == "systemctl did not answer within 60 s"


async def test_it_is_taken_away(desk: Desk) -> None:
    replies = [Reply(argv=each) for each in (RELOAD, ENABLE, RESTART)]
    await desk.service(*replies, lingers(b"yes")).install([])
    news = await desk.service(Reply(argv=DISABLE), Reply(argv=RELOAD)).uninstall()
    desk.shell.finish()
    assert (news.problem, news.todo) == ("", ())
    assert not desk.unit.exists()
    # Nothing is there: nothing is run.
    assert (await desk.service().uninstall()).problem == ""


async def test_it_is_taken_away_also_where_systemd_does_not_answer(desk: Desk) -> None:
    replies = [Reply(argv=each) for each in (RELOAD, ENABLE, RESTART)]
    await desk.service(*replies, lingers(b"yes")).install([])
    link = desk.unit.parent / "default.target.wants" / UNIT
    link.parent.mkdir()
    link.symlink_to(desk.unit)
    news = await desk.service(Reply(argv=DISABLE, status=1, stderr=b"no bus")).uninstall()
    assert news.problem.endswith("no bus")
    assert news.todo == (f"systemctl --user stop {UNIT}", " ".join(RELOAD))
    assert not desk.unit.exists()
    assert not link.is_symlink()


async def test_a_unit_of_somebody_else_is_left_alone(desk: Desk) -> None:
    desk.unit.parent.mkdir(parents=True)
    desk.unit.write_text("[Unit]\n")
    for act in (desk.service().install([]), desk.service().uninstall()):
        with pytest.raises(Conflict, match="not written by us"):
            await act
    assert desk.unit.read_text() == "[Unit]\n"
