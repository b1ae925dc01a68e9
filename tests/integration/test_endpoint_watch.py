"""What is known of a real endpoint: its requests as kept, and what they cost."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.endpoint import EndpointOptions
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.endpointsamples import SamplePage, SamplesAsked
from jupyter_aiinfra.engine.endpointviews import Asked
from jupyter_aiinfra.promote.samplecalls import calls_of
from tests.support.bench import wait_until
from tests.support.endpoints import engine_at, model, until


async def kept(engine: Engine, count: int, asked: SamplesAsked | None = None) -> SamplePage:
    """Wait for so many samples: the router writes them a moment after it has answered."""
    while True:
        page = await engine.endpoints.samples("adder", asked)
        if page.found >= count:
            return page
        await asyncio.sleep(0.05)


@pytest.mark.timeout(240)
async def test_requests_are_kept_and_cost_what_replicas_do(tmp_path: Path) -> None:
    async with engine_at(tmp_path / "home") as engine:
        engine.set_price("here", PriceOptions(price="3.60/node-h"))
        folder = model(tmp_path / "adder")
        options = EndpointOptions(sampling=1.0, redact=("name",))
        await engine.endpoints.deploy("adder", folder, pool="here", options=options)
        await engine.endpoints.wait("adder", seconds=90)
        for number in range(20):
            assert await engine.endpoints.call("adder", {"inputs": [[number, 1]]})
        page = await asyncio.wait_for(kept(engine, 20), 30)
        assert page.samples[0].request == {"inputs": [[19, 1]]}
        assert page.samples[0].answer["outputs"] == [[20.0]]
        assert {each.version for each in page.samples} == {1}
        assert all(each.milliseconds > 0 for each in page.samples)

        # The next version has to answer them alike.
        made = calls_of(reversed(page.samples))
        assert json.loads(made.lines[0]) == {"inputs": [[0, 1]], "outputs": [[1.0]]}
        better = model(tmp_path / "better", "return 0 + x.sum(axis=1, keepdims=True)")
        (better / "package.json").write_text(json.dumps({"tolerance": [1e-5, 1e-6]}))
        (better / "calls.jsonl").write_text("\n".join(made.lines) + "\n")
        await engine.endpoints.update("adder", better, Asked(how="blue-green", step_seconds=0.0))
        await until(engine, "adder", lambda view: view.endpoint.main == 2)
        assert await engine.endpoints.call("adder", {"inputs": [[1, 1]]})
        second = await asyncio.wait_for(kept(engine, 1, SamplesAsked(version=2)), 30)
        assert second.samples[0].answer["outputs"] == [[2.0]]

        ((_, cost),) = await engine.endpoints.costs("adder", window_seconds=3600.0)
        assert cost.whole.all.requests == 21
        assert cost.versions[1].all.requests == 20
        assert cost.whole.all.reason == ""
        thousand = cost.whole.all.per_thousand
        assert thousand is not None
        (spent,) = cost.whole.all.cost
        assert thousand[0].amount == spent.amount * 1000 / 21
        view = await engine.endpoints.show("adder")
        assert view.cost is not None

        # Samples go with their endpoint.
        path = engine.endpoints.router.places.samples("adder")
        assert path.is_file()
        assert path.stat().st_mode & 0o777 == 0o600
        other = model(tmp_path / "other")
        await engine.endpoints.deploy("other", other, pool="here")
        await engine.endpoints.remove("adder")
        await engine.endpoints.gone("adder", seconds=60)
        await asyncio.to_thread(wait_until, lambda: not path.exists(), seconds=30)
