from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.errors import StoreError
from jupyter_aiinfra.settings import Settings


async def seven() -> int:
    return 7


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    session = Session(Settings(home=tmp_path / "home"))
    session.close()
    assert not (tmp_path / "home").exists()


def test_settings_are_read_at_first_use_and_again_after_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session()
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path / "one"))
    assert session.settings.home == tmp_path / "one"
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path / "two"))
    assert session.settings.home == tmp_path / "one"
    session.close()
    assert session.settings.home == tmp_path / "two"


def test_a_session_opens_again_after_close(tmp_path: Path) -> None:
    session = Session(Settings(home=tmp_path / "home"))
    engine = session.engine
    assert session.engine is engine
    assert session.run(seven()) == 7
    assert session.submit(seven()).result(5) == 7
    session.close()
    session.close()
    assert session.engine is not engine
    assert session.run(seven()) == 7
    session.close()


def test_a_forked_child_opens_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(Settings(home=tmp_path / "home"))
    engine, loop = session.engine, session._running_loop()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 7)
        session.close()  # the parent's are left to the parent
        assert not loop._loop.is_closed()
        assert session.engine is not engine
    engine.store.close()
    loop.close()


def test_a_store_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    session = Session(Settings(home=tmp_path / "home"))
    with pytest.raises(StoreError, match="home"):
        _ = session.engine
    session.close()
