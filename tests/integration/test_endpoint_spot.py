"""A replica is taken back while it is called: another pool takes over, and gives its place back."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from jupyter_aiinfra.endpoint import EndpointOptions, ReplicaOptions
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.endpointviews import Asked, EndpointView
from jupyter_aiinfra.errors import PoolNotFound
from jupyter_aiinfra.promote import spot
from tests.support.endpoints import Callers, engine_at, model, until

SPOT = ReplicaOptions(workers=1, fallback_pool="here")
# Who calls meanwhile waits until another replica is up: on a busy machine that is long.
PATIENT = EndpointOptions(hold_seconds=300)


def pools(engine: Engine, view: EndpointView) -> list[str]:
    """Return the pool of each replica that has a job."""
    return sorted(
        job.pool for job in engine.store.jobs_by_id([each.id for each in view.whole.replicas])
    )


@pytest.mark.timeout(600)
async def test_what_is_taken_back_is_replaced_at_once_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_at(tmp_path / "home") as engine:
        await engine.attach("cheap", kind="local")
        await engine.endpoints.deploy(
            "adder",
            model(tmp_path / "m"),
            pool="cheap",
            options=PATIENT,
            asked=Asked(options=SPOT),
        )
        view = await engine.endpoints.wait("adder", seconds=90)
        assert pools(engine, view) == ["cheap"]
        (first,) = view.whole.replicas

        async with Callers(engine, "adder", count=2) as callers:

            def taken(view: EndpointView) -> bool:
                # As often as its supervisor starts it again: the machine is somebody else's now.
                seen = engine.store.get_job(first.id).seen
                for rank in () if seen is None or seen.state.final else seen.ranks:
                    with contextlib.suppress(ProcessLookupError):
                        if rank.pid is not None:
                            os.kill(rank.pid, signal.SIGKILL)
                gone = first.id not in {each.id for each in view.whole.replicas}
                return gone and view.up == 1 and pools(engine, view) == ["here"]

            await until(engine, "adder", taken, seconds=120)
            good = callers.answers["v1"]
            await until(engine, "adder", lambda _: callers.answers["v1"] > good + 20)

            # Its machines are there again, which is seen by trying; whoever fell back serves on.
            monkeypatch.setattr(spot, "_LONGEST_SECONDS", 1.0)
            view = await until(
                engine,
                "adder",
                lambda view: view.up == 1 and pools(engine, view) == ["cheap"],
                seconds=120,
            )
            good = callers.answers["v1"]
            await until(engine, "adder", lambda _: callers.answers["v1"] > good + 20)
        assert not callers.failed, callers.answers
        kept = engine.store.endpoint_replicas(view.endpoint.id)
        assert [engine.store.get_job(each.id).pool for each in kept] == ["cheap", "here", "cheap"]


async def test_the_other_pool_has_to_be_there(tmp_path: Path) -> None:
    async with engine_at(tmp_path / "home") as engine:
        options = ReplicaOptions(fallback_pool="nowhere")
        with pytest.raises(PoolNotFound, match="nowhere"):
            await engine.endpoints.deploy(
                "adder", model(tmp_path / "m"), pool="here", asked=Asked(options=options)
            )
