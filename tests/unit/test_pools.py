from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.pools import KINDS, kinds, open_pool, pool_class
from jupyter_aiinfra.pools.base import Adopting, Pool
from jupyter_aiinfra.pools.local import LocalPool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.testing import FakeCluster, FakePool


class Options:
    """Of a pool that another package brings."""


class Brought(FakePool):
    kind = "brought"
    options_type = Options

    @classmethod
    def from_record(cls, record: PoolRecord, settings: Settings) -> Pool:
        del settings
        return cls(FakeCluster(), name=record.name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_ours_is_what_it_says(kind: str) -> None:
    found = pool_class(kind)
    assert found.kind == kind
    assert isinstance(found, type)
    assert issubclass(found, Pool)


def test_the_local_pool_is_opened_from_its_record(tmp_path: Path) -> None:
    record = PoolRecord(name="here", kind="local", options={"max_procs": "3"})
    pool = open_pool(record, Settings(home=tmp_path))
    assert isinstance(pool, LocalPool)
    assert pool.options.max_procs == 3
    assert isinstance(pool, Adopting)


def test_another_package_can_bring_a_kind_but_not_replace_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    group = "jupyter_aiinfra.pools"
    brought = importlib.metadata.EntryPoint("brought", f"{__name__}:Brought", group)
    evil = importlib.metadata.EntryPoint("local", "evil:Pool", group)
    installed = {group: [brought, evil]}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: installed[group])
    assert dict(kinds()) == {**KINDS, "brought": f"{__name__}:Brought"}
    pool = open_pool(PoolRecord(name="theirs", kind="brought"), Settings(home=tmp_path))
    assert pool.kind == "brought"
    assert isinstance(pool, FakePool)
    assert pool.name == "theirs"


def test_entry_points_are_not_read_for_a_kind_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*, group: str) -> None:
        pytest.fail(f"the entry points of {group} were read")

    monkeypatch.setattr(importlib.metadata, "entry_points", refuse)
    assert pool_class("local") is LocalPool


@pytest.mark.parametrize(
    ("kind", "hint"), [("locl", "did you mean local?"), ("xyzzy", "known kinds: local")]
)
def test_a_kind_nobody_knows_is_named(kind: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"there is no pool kind '{kind}'") as caught:
        pool_class(kind)
    assert hint in caught.value.hint


async def test_closing_is_optional_for_a_pool() -> None:
    await FakePool(FakeCluster()).aclose()
