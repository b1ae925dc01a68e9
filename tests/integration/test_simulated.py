"""GPUs that are not there, through the command line and a server of its own: recorded, shown."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.integration.test_serve import Served
from tests.support.bench import wait_until
from tests.support.site import Site, open_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        yield site


def told(site: Site, *words: str) -> Any:
    done = site.command(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_recorded_by_one_pool_and_shown_by_another(site: Site) -> None:
    attached = told(site, "pool", "attach", "sim", "--kind", "simulated", "--nodes", "3")
    assert [node["name"] for node in attached["nodes"]] == ["sim01", "sim02", "sim03"]
    # By its name in the folder where the commands are run.
    words = ("gpus", "sim", "--record", "t.jsonl.gz", "--for", "3s", "--anonymous")
    recorded = told(site, *words)
    assert recorded["nodes"] == ["node1", "node2", "node3"]
    assert recorded["lines"] >= 6
    again = told(site, "pool", "attach", "again", "--kind", "simulated", "--trace", "t.jsonl.gz")
    assert again["record"]["options"]["trace"] == str(site.work / "t.jsonl.gz")
    (pool,) = told(site, "gpus", "again")
    gpus = [gpu for node in pool["nodes"] for gpu in node["gpus"]]
    assert len(gpus) == 12
    users = {each["user"] for gpu in gpus for each in gpu["processes"] or ()}
    assert users
    assert all(user.startswith("user") for user in users)


def test_until_it_is_interrupted(site: Site, tmp_path: Path) -> None:
    told(site, "pool", "attach", "sim", "--kind", "simulated")
    path = tmp_path / "t.jsonl"
    recording = site.begin("gpus", "sim", "--record", str(path))
    wait_until(lambda: path.exists() and path.stat().st_size, seconds=60)
    recording.send_signal(signal.SIGINT)
    said, _ = recording.communicate(timeout=60)
    assert recording.returncode == 0
    assert "recorded" in said
    assert "--anonymous replaces them" in said


def test_what_is_no_trace_and_what_cannot_run(site: Site, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"format":"aiinfra-gpus","version":9}\n')
    refused = site.command("pool", "attach", "x", "--kind", "simulated", "--trace", str(bad))
    assert refused.returncode != 0
    assert 'bad.jsonl is no trace, line 1: expected "version": 1, not 9' in refused.stderr
    told(site, "pool", "attach", "sim", "--kind", "simulated")
    site.script("hello.py", "print('hello')\n")
    refused = site.command("run", "hello.py", "--pool", "sim", "--cpu")
    assert refused.returncode != 0
    assert "nothing runs on GPUs that are not there" in refused.stderr
    for words in (["--for", "5s"], ["sim", "--record", "x", "--for", "soon"]):
        assert site.command("gpus", *words).returncode != 0
    assert told(site, "jobs", "list") == []


def test_a_server_shows_it_in_every_way(site: Site) -> None:
    told(site, "pool", "attach", "sim", "--kind", "simulated", "--nodes", "64", "--gpus", "8")
    served = Served(site)
    token = served.said["token"]

    def ask(path: str, **query: Any) -> Any:
        return served.ask(f"aiinfra/{path}?{urlencode(query)}", token=token)

    try:
        kinds = {each["kind"]: each for each in ask("kinds")}
        assert "trace" in kinds["simulated"]["schema"]["properties"]
        now = ask("gpus", pool="sim")
        assert (len(now["nodes"]), len(now["gpus"])) == (64, 512)
        assert {node["state"] for node in now["nodes"]} == {"live"}
        past = wait_until(lambda: ask("gpus/history", pool="sim", since=0))
        assert len(past) == 64
        # What was read is kept, also whose each GPU was, and is there at once.
        users = ask("gpus/range", pool="sim", by="user", series="power")["curves"]
        assert {curve["user"] for curve in users} == {"ada", "grace", "emmy", "service"}
        assert all(any(curve["mean"]) for curve in users)
        ranks = ask("gpus/range", pool="sim", by="rank")["curves"]
        assert max(curve["rank"] for curve in ranks) == 15  # two nodes of 8
        nodes = ask("gpus/range", pool="sim", of="nodes", series="cpu,network_rx")["curves"]
        assert len(nodes) == 128
        assert all(curve["gpu"] is None for curve in nodes)
        request = urllib.request.Request(  # noqa: S310
            served.said["url"] + "aiinfra/metrics", headers={"Authorization": f"token {token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            assert answer.read().count(b"\nDCGM_FI_DEV_GPU_UTIL{") >= 500
        assert asyncio.run(over_the_socket(served)) == ["gpus", "gpus+", "gpus+"]
    finally:
        served.end(signal.SIGTERM)


async def over_the_socket(served: Served) -> list[str]:
    """Return what kinds of messages come of all GPUs."""
    url = served.said["url"].replace("http", "ws", 1) + "aiinfra/stream"
    request = HTTPRequest(url, headers={"Authorization": f"token {served.said['token']}"})
    connection = await websocket_connect(request)
    await connection.write_message(json.dumps({"topics": [{"topic": "gpus", "pool": "sim"}]}))
    found: list[str] = []
    while len(found) < 3:
        said = await asyncio.wait_for(connection.read_message(), 60)
        assert said is not None, "the server has closed the socket"
        news = json.loads(said)
        if news["type"] == "gpus" and not news["gpus"]:
            continue  # nothing is known yet
        if news["type"] in {"gpus", "gpus+"}:
            found.append(news["type"])
    connection.close()
    return found
