from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from jupyter_aiinfra.commands import poolverbs
from jupyter_aiinfra.commands.asking import ask_in_terminal
from jupyter_aiinfra.errors import HostKeyUnknown, Unreachable
from jupyter_aiinfra.model import Node, PoolRecord
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.testing import FakeCluster, FakePool
from tests.support.engines import POOL, House
from tests.unit.test_tree import Desk, Kind


def a_key(host: str) -> HostKeyUnknown:
    return HostKeyUnknown(
        f"the host key of {host} is not known",
        host=host,
        fingerprint=f"SHA256:{host}",
        key_type="ED25519",
        line=f"{host} ssh-ed25519 AAAA",
    )


class Strangers(FakeCluster):
    """A cluster of hosts whose keys nobody has accepted."""

    def __init__(self, *hosts: str, in_vain: bool = False) -> None:
        super().__init__()
        self.hosts = hosts
        self.known: set[str] = set()
        self.in_vain = in_vain

    def opener(self, record: PoolRecord, settings: Settings) -> Pool:
        return StrangerPool(self, name=record.name)


class StrangerPool(FakePool):
    cluster: Strangers

    @property
    def untrusted(self) -> Sequence[HostKeyUnknown]:
        return [a_key(host) for host in self.cluster.hosts if host not in self.cluster.known]

    async def trust(self, error: HostKeyUnknown) -> None:
        if not self.cluster.in_vain:
            self.cluster.known.add(error.host)

    async def nodes(self) -> Sequence[Node]:
        if len(self.untrusted) == len(self.cluster.hosts):
            raise Unreachable("none of them can be used")
        return await super().nodes()


def a_desk(tmp_path: Path, cluster: FakeCluster) -> Desk:
    return Desk(House(tmp_path / "home", cluster))


@pytest.fixture(autouse=True)
def _kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poolverbs, "pool_class", lambda _kind: Kind)


@pytest.fixture
def desks() -> Iterator[list[Desk]]:
    opened: list[Desk] = []
    yield opened
    for desk in opened:
        desk.house.close()


def test_each_host_is_asked_about_once(tmp_path: Path, desks: list[Desk]) -> None:
    cluster = Strangers("gpu1", "gpu2")
    desk = a_desk(tmp_path, cluster)
    desks.append(desk)
    desk.answers = [True, True]
    desk("pool attach lab --kind fake")
    assert cluster.known == {"gpu1", "gpu2"}
    assert len(desk.surface.questions) == 2
    assert "gpu1" in desk.surface.questions[0]
    assert "ED25519 key SHA256:gpu1" in desk.surface.questions[0]
    assert desk.said.startswith("attached")


def test_a_no_attaches_nothing(tmp_path: Path, desks: list[Desk]) -> None:
    cluster = Strangers("gpu1", "gpu2")
    desk = a_desk(tmp_path, cluster)
    desks.append(desk)
    desk.answers = [True, False]
    with pytest.raises(HostKeyUnknown, match="gpu2"):
        desk("pool attach lab --kind fake")
    assert cluster.known == {"gpu1"}
    assert [record.name for record in desk.engine.store.list_pools()] == [POOL]


def test_nobody_to_ask_is_told_of_the_option(tmp_path: Path, desks: list[Desk]) -> None:
    cluster = Strangers("gpu1")
    desk = a_desk(tmp_path, cluster)
    desks.append(desk)
    with pytest.raises(HostKeyUnknown) as caught:
        desk("pool attach lab --kind fake")
    assert "--accept-key SHA256:gpu1" in caught.value.hint
    assert cluster.known == set()
    desk("pool attach lab --kind fake --accept-key SHA256:gpu1")
    assert desk.surface.questions == []
    assert cluster.known == {"gpu1"}


def test_another_key_than_the_accepted_one_is_asked_about(
    tmp_path: Path, desks: list[Desk]
) -> None:
    desk = a_desk(tmp_path, Strangers("gpu1"))
    desks.append(desk)
    with pytest.raises(HostKeyUnknown):
        desk("pool attach lab --kind fake --accept-key SHA256:another")
    assert len(desk.surface.questions) == 1


def test_a_key_accepted_in_vain_is_not_asked_about_for_ever(
    tmp_path: Path, desks: list[Desk]
) -> None:
    desk = a_desk(tmp_path, Strangers("gpu1", in_vain=True))
    desks.append(desk)
    desk.answers = [True, True, True]
    with pytest.raises(HostKeyUnknown):
        desk("pool attach lab --kind fake")
    assert len(desk.surface.questions) == 1


def test_the_terminal_is_asked_only_if_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask_in_terminal("really?") is None
    asked: list[Mapping[str, Any]] = []

    def confirm(question: str, **how: Any) -> bool:
        asked.append({"question": question, **how})
        return True

    monkeypatch.setattr(click, "confirm", confirm)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert ask_in_terminal("really?") is True
    assert asked == [{"question": "really?", "default": False, "err": True}]
