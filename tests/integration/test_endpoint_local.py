"""Models deployed on this machine: called, changed under load, killed, put to sleep, removed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from jupyter_aiinfra.commands.endpointshow import endpoint_lines, endpoint_value
from jupyter_aiinfra.endpoint import Gates, ReplicaOptions, ReplicaState, Scaling, VersionState
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.endpointviews import Asked
from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.model import Desired, JobState
from tests.support.endpoints import Callers, engine_at, model, until

ONE = ReplicaOptions(workers=1)


def post(url: str, key: str | None = None) -> tuple[int, bytes]:
    """Ask over TCP, as anybody does."""
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    request = urllib.request.Request(  # noqa: S310 - our own
        f"{url}/predict", data=b'{"inputs": [[1, 2]]}', headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def over_grpc(address: str, key: str | None = None) -> object:
    """Ask as a program with NVIDIA's client does."""
    given = triton.InferInput("x", [1, 2], "FP32")
    given.set_data_from_numpy(np.array([[1, 2]], np.float32))
    headers = {"x-api-key": key} if key else None
    with triton.InferenceServerClient(address) as client:
        return client.infer("adder", [given], headers=headers).as_numpy("y").tolist()


async def deployed(engine: Engine, folder: Path, **values: object) -> str:
    """Deploy a model and wait until it answers; return its URL."""
    made = {"pool": "here", "asked": Asked(options=ONE), **values}
    await engine.endpoints.deploy("adder", folder, **made)  # type: ignore[arg-type]
    view = await engine.endpoints.wait("adder", seconds=90)
    assert view.state in ("ready", "asleep"), view.whole.versions
    assert view.url is not None
    return view.url


@pytest.mark.timeout(240)
async def test_a_model_is_deployed_called_with_a_key_and_removed(tmp_path: Path) -> None:
    async with engine_at(tmp_path / "home", router_grpc_port=0) as engine:
        folder = model(tmp_path / "m")
        url = await deployed(engine, folder)
        view = await engine.endpoints.show("adder")
        assert view.grpc is not None
        assert f"  grpc      {view.grpc}, model adder" in endpoint_lines(view)
        assert endpoint_value(view)["grpc"] == view.grpc
        assert await asyncio.to_thread(over_grpc, view.grpc) == [[3.0]]
        assert post(url) == (200, b'{"outputs":[[3.0]],"version":"1"}')
        assert await engine.endpoints.call("adder", {"inputs": [[3, 4]]}) == {
            "outputs": [[7.0]],
            "version": "1",
        }
        with pytest.raises(UsageError, match=r"adder answers 400: inputs"):
            await engine.endpoints.call("adder", {"inputs": [["x", 4]]})
        with pytest.raises(UsageError, match=r"adder answers 404: .*nowhere"):
            await engine.endpoints.call("adder", {}, path="nowhere")
        with pytest.raises(NotFound, match="no version before 1") as caught:
            await engine.endpoints.rollback("adder")
        assert caught.value.hint == "it is the only one"

        secret, key = await engine.endpoints.add_key("adder", "anna")
        await until(engine, "adder", lambda _: post(url)[0] == 401)
        assert post(url, secret)[0] == 200
        with pytest.raises(triton.InferenceServerException, match="UNAUTHENTICATED"):
            await asyncio.to_thread(over_grpc, view.grpc)
        assert await asyncio.to_thread(over_grpc, view.grpc, secret) == [[3.0]]
        newer, _ = await engine.endpoints.rotate_key("adder", "anna", keep_seconds=600)
        await until(engine, "adder", lambda _: post(url, newer)[0] == 200)
        assert post(url, secret)[0] == 200
        await engine.endpoints.revoke_key("adder", key.id)
        await until(engine, "adder", lambda _: post(url, secret)[0] == 401)
        assert post(url, newer)[0] == 200
        # Whose endpoint it is needs none.
        assert (await engine.endpoints.call("adder", {"inputs": [[1, 2]]}))["version"] == "1"
        for path in (tmp_path / "home" / "routing").glob("router*.json"):
            assert secret not in path.read_text()
            assert path.stat().st_mode & 0o077 == 0

        await engine.endpoints.remove("adder")
        view = await engine.endpoints.gone("adder", seconds=60)
        assert view.state == "removed"
        assert not view.whole.replicas
        (replica,) = engine.store.endpoint_replicas(view.endpoint.id)
        assert engine.store.get_job(replica.id).state is JobState.CANCELLED
        # With the last endpoint the router is wanted no more.
        (router,) = (job for job in engine.store.list_jobs() if job.spec.name == "router")
        assert router.desired is Desired.STOP


@pytest.mark.timeout(300)
async def test_a_canary_that_errs_is_rolled_back_and_a_good_one_promoted_under_load(
    tmp_path: Path,
) -> None:
    async with engine_at(tmp_path / "home") as engine:
        await deployed(engine, model(tmp_path / "m"))
        # Its example is answered, what comes later is not.
        broken = model(tmp_path / "broken", "if x[0, 0] == 1: raise ValueError\nreturn x[:, :1]")
        manifest = json.loads((broken / "endpoint.json").read_text())
        (broken / "endpoint.json").write_text(json.dumps({**manifest, "example": [[7, 7]]}))
        asked = Asked(
            options=ONE,
            how="canary",
            steps=(20.0,),
            step_seconds=60.0,
            least_requests=20,
            gates=Gates(p95_ms=None),
        )
        async with Callers(engine, "adder") as callers:
            await engine.endpoints.update("adder", broken, asked)
            view = await engine.endpoints.wait("adder", seconds=120, through=True)
            assert view.whole.version(2).state is VersionState.FAILED
            assert "errors" in (view.whole.version(2).reason or "")
            assert view.endpoint.main == 1
            # Of 20 requests, more than 2 in 100 are bad at the first one.
            assert callers.failed <= 4, callers.answers
            failed = callers.failed
            better = model(tmp_path / "better", "return 2 * x.sum(axis=1, keepdims=True)")
            good = Asked(
                options=ONE,
                how="canary",
                steps=(20.0,),
                step_seconds=0.5,
                least_requests=10,
                gates=Gates(p95_ms=None),
            )
            await engine.endpoints.update("adder", better, good)
            view = await engine.endpoints.wait("adder", seconds=120, through=True)
            assert view.endpoint.main == 3
        assert callers.failed == failed, callers.answers
        assert callers.answers["v1"]
        assert callers.answers["v3"]
        kinds = [event.kind for event in engine.endpoints.events("adder")]
        assert kinds == [
            "endpoint.added",
            *("endpoint.updated", "endpoint.rollout", "endpoint.rolled-back"),
            *("endpoint.updated", "endpoint.rollout", "endpoint.promoted"),
        ]
        # The version before is still warm, so it takes over at once.
        view = await engine.endpoints.rollback("adder")
        assert view.endpoint.main == 1
        view = await until(engine, "adder", lambda view: view.whole.version(3).wanted == 0)
        assert (await engine.endpoints.call("adder", {"inputs": [[1, 2]]}))["version"] == "1"


@pytest.mark.timeout(300)
async def test_replicas_and_the_router_are_killed_and_everything_heals(tmp_path: Path) -> None:
    async with engine_at(tmp_path / "home") as engine:
        url = await deployed(engine, model(tmp_path / "m"), scaling=Scaling(least=2, most=2))
        view = await engine.endpoints.show("adder")
        async with Callers(engine, "adder", count=2) as callers:
            first, _ = view.whole.replicas
            job = await engine.refresh(first.id)
            assert job.seen is not None
            pid = job.seen.ranks[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

            def again(view: object) -> bool:
                now = engine.store.get_job(first.id).seen
                return now is not None and now.attempt == 2 and post(url)[0] == 200

            await until(engine, "adder", again)
            await until(engine, "adder", lambda view: view.up == 2)
            assert not callers.failed, callers.answers

        router = engine.endpoints.router.job()
        assert router is not None
        router = await engine.refresh(router.id)
        assert router.seen is not None
        pid = router.seen.ranks[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        before = pid
        view = await until(
            engine,
            "adder",
            lambda view: view.router is not None and view.router.pid != before and view.up == 2,
        )
        assert view.url == url  # its port is the one it had
        assert post(url)[0] == 200

        # One whose supervisor gives up is replaced by whoever looks.
        await engine.cancel(first.id)
        view = await until(
            engine,
            "adder",
            lambda view: view.up == 2 and first.id not in {r.id for r in view.whole.replicas},
        )
        assert post(url)[0] == 200


@pytest.mark.timeout(240)
async def test_what_nobody_calls_sleeps_and_the_first_request_wakes_it(tmp_path: Path) -> None:
    async with engine_at(tmp_path / "home") as engine:
        url = await deployed(
            engine,
            model(tmp_path / "m"),
            scaling=Scaling(least=0, most=2, idle_seconds=1.0),
        )
        await until(engine, "adder", lambda view: view.state == "asleep" and not view.up)
        asked = asyncio.create_task(asyncio.to_thread(post, url))
        await until(engine, "adder", lambda _: asked.done())
        assert (await asked)[0] == 200


@pytest.mark.timeout(240)
async def test_a_model_that_does_not_load_is_given_up_with_its_reason(tmp_path: Path) -> None:
    async with engine_at(tmp_path / "home") as engine:
        broken = model(tmp_path / "m", head="import no_such_module")
        await engine.endpoints.deploy("adder", broken, pool="here", asked=Asked(options=ONE))
        view = await engine.endpoints.wait("adder", seconds=150)
        assert view.state == "failed"
        assert "it never answered" in (view.whole.version(1).reason or "")
        newest = engine.store.endpoint_replicas(view.endpoint.id)[0]
        assert newest.state is ReplicaState.GONE
        said = b"".join([chunk.data async for chunk in engine.logs(newest.id)])
        assert b"no_such_module" in said
