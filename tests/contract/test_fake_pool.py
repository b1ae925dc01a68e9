"""The shipped fake holds the same contract as the real pools, or testing with it proves nothing."""

from __future__ import annotations

import pytest

from jupyter_aiinfra.model import LAUNCHER, Job, JobSpec, JobState
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.testing import FakeCluster, FakePool
from tests.contract.suite import PoolContract, Rig, a_spec


class FakeRig(Rig):
    def __init__(self) -> None:
        self.cluster = FakeCluster()

    def open(self) -> Pool:
        return FakePool(self.cluster)

    def spec(self, *, exit_code: int | None = 0, text: str = "") -> JobSpec:
        return a_spec("fake", str(exit_code), text)

    async def settle(self, job: Job) -> None:
        _, code, text = job.spec.argv
        self.cluster.begin(job.id)
        self.cluster.write(job.id, text.encode(), rank=LAUNCHER)
        if code != "None":
            state = JobState.SUCCEEDED if code == "0" else JobState.FAILED
            self.cluster.end(job.id, state)

    def cut(self) -> bool:
        self.cluster.reachable = False
        return True


@pytest.fixture
def rig() -> Rig:
    return FakeRig()


class TestFakePool(PoolContract):
    pass
