"""A worker, a replica, the router, a tunnel die under load, one at a time: it heals by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from jupyter_aiinfra.routing.config import Endpoint as Told
from jupyter_aiinfra.routing.config import Replica, Share, Tunnel, Version
from tests.integration.router_home import Load, Router, endpoint, until
from tests.integration.serving_endpoint import Endpoint, model_folder


def started(folder: Path, number: int, *, workers: int = 1, entry: str = "predict") -> Endpoint:
    model = model_folder(folder / f"m{number}", entry=entry)
    return Endpoint(model, "--unix", str(folder / f"{number}.sock"), workers=workers)


def address(folder: Path, number: int) -> str:
    return f"unix:{folder / f'{number}.sock'}"


def test_a_worker_is_killed(tmp_path: Path) -> None:
    with (
        started(tmp_path, 0, workers=2) as one,
        Router(tmp_path, a=endpoint({"1": [address(tmp_path, 0)]})) as router,
    ):
        router.up("a", 1)
        until(lambda: len(one.workers()) == 2)
        with Load(router.port, "/a/predict") as load:
            until(lambda: load.good > 200)
            killed = one.kill_worker()
            until(lambda: len(set(one.workers()) - {killed}) == 2)
            seen = load.good
            until(lambda: load.good > seen + 500)
        # What it had was asked again: the other worker, or the next one, answered.
        assert set(load.statuses) == {200}
        assert (load.lost, load.refused) == (0, 0)


@pytest.mark.timeout(600)
def test_a_replica_is_killed(tmp_path: Path) -> None:
    addresses = [address(tmp_path, number) for number in (0, 1)]
    # Who asks while nobody is there waits until a process is: on a busy machine that is long.
    one_of_both = endpoint({"1": addresses}, hold_seconds=300)
    with (
        started(tmp_path, 0) as one,
        started(tmp_path, 1) as other,
        Router(tmp_path, a=one_of_both) as router,
    ):
        router.up("a", 2)
        with Load(router.port, "/a/predict", patience=400) as load:
            until(lambda: load.good > 200)
            _killed(one)
            until(lambda: router.states("a")["1-0"] == "ejected")
            seen = load.good
            until(lambda: load.good > seen + 500)
            with started(tmp_path, 0):
                router.up("a", 2)
                seen = load.good
                until(lambda: load.good > seen + 500)
                # Both at once, for a while nobody: whoever asks then waits.
                _killed(other)
            until(lambda: "up" not in router.states("a").values())
            until(lambda: router.of("a").held > 0)
            with started(tmp_path, 1):
                seen = load.good
                until(lambda: load.good > seen + 500)
                load.stop()
        assert set(load.statuses) == {200}
        assert (load.lost, load.refused) == (0, 0)


def _killed(one: Endpoint) -> None:
    """Kill a replica with all its workers at once."""
    family = [one.process.pid, *one.workers()]
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    one.process.wait()


def test_the_router_is_killed(tmp_path: Path) -> None:
    connections = 16
    with (
        started(tmp_path, 0),
        Router(tmp_path, a=endpoint({"1": [address(tmp_path, 0)]})) as router,
    ):
        router.up("a", 1)
        with Load(router.port, "/a/predict", connections=connections) as load:
            until(lambda: load.good > 500)
            router.kill()
            router.start()
            seen = load.good
            until(lambda: load.good > seen + 500)
        # What was on its way through it, of each connection one, and one that its socket still took
        # while the process ended. Who came when it was there again was answered, though it had to
        # find its replica first.
        assert set(load.statuses) == {200}
        assert load.lost <= 2 * connections
        assert router.of("a").versions["1"].errors == 0


def test_sigterm_answers_what_is_under_way(tmp_path: Path) -> None:
    with (
        started(tmp_path, 0, entry="slow"),
        Router(tmp_path, a=endpoint({"1": [address(tmp_path, 0)]})) as router,
    ):
        router.up("a", 1)
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(router.ask("/a/predict").status)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: router.of("a").versions["1"].in_flight == 4)
        router.process.terminate()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 4
        assert router.process.wait(30) == 0
        assert not router.places.control.exists()
        assert not router.places.inside.exists()


def test_there_is_one_router_a_configuration(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "jupyter_aiinfra.routing", str(tmp_path / "router.json")]
    with Router(tmp_path) as router:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, "another router goes by" in done.stderr) == (3, True)
        assert router.status().pid == router.process.pid
    router.places.config.write_text("{")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "router configuration" in done.stderr) == (3, True)


def test_it_looks_by_itself_and_moves(tmp_path: Path) -> None:
    with Router(tmp_path) as router:
        port = router.port
        text = router.places.config.read_text()
        router.places.config.write_text(text.replace('"revision": 1', '"revision": 5'))
        until(lambda: router.status().revision == 5)
        assert router.status().port == port
        with Router(_made(tmp_path / "other")) as other:
            taken = other.port
            text = text.replace('"port": 0', f'"port": {taken}')
            router.places.config.write_text(text)
            status, told = router.control("POST", "/reload")
            # Where it was it still is.
            assert (status, b"in use" in told) == (400, True)
            assert router.ask("/healthz", method="GET").status == 200
        assert router.control("POST", "/reload")[0] == 200
        router.port = taken
        assert router.ask("/healthz", method="GET").status == 200


def test_a_home_may_have_a_long_path(tmp_path: Path) -> None:
    with Router(_made(tmp_path / ("long" * 30) / "home")) as router:
        assert router.status().port == router.port
        assert router.inside("/healthz")[0] == 404
        assert router.places.inside.is_socket()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("how", ["the tunnel", "the router"])
def test_a_tunnel_lives_as_long_as_its_replica(tmp_path: Path, how: str) -> None:
    """What opens the address is a program of the router's: here, the server itself."""
    model = model_folder(tmp_path / "m")
    argv = [sys.executable, "-m", "jupyter_aiinfra.serving", str(model), "--workers", "1"]
    tunnel = Tunnel(argv=(*argv, "--unix", str(tmp_path / "near.sock")))
    far = Replica(
        id="far", address=address(tmp_path, 0).replace("0.sock", "near.sock"), tunnel=tunnel
    )
    one = Told(versions={"1": Version(replicas=(far,))}, traffic=(Share(version="1", weight=1),))
    with Router(tmp_path, a=one) as router:
        router.up("a", 1)
        assert router.ask("/a/predict").status == 200
        (there,) = _tunnels(router)
        if how == "the tunnel":
            there.kill()
        else:
            router.kill()
            # It does not stay behind, and is not in the way of the next one's.
            there.wait(30)
            router.start()
        until(lambda: _tunnels(router) not in ([], [there]))
        assert router.ask("/a/predict").status == 200
        (again,) = _tunnels(router)
        router.change(a=endpoint({"1": []}))
        again.wait(30)


def _tunnels(router: Router) -> list[psutil.Process]:
    return psutil.Process(router.process.pid).children()


def test_a_tunnel_that_ends_says_why(tmp_path: Path) -> None:
    code = "import sys; sys.exit('no route to there')"
    tunnel = Tunnel(argv=(sys.executable, "-c", code))
    far = Replica(id="far", address=f"unix:{tmp_path}/near.sock", tunnel=tunnel)
    with Router(tmp_path, a=Told(versions={"1": Version(replicas=(far,))})) as router:

        def reason() -> str:
            return router.of("a").versions["1"].replicas["far"].reason

        until(lambda: "the tunnel ended: no route to there" in reason())
        nothing = Tunnel(argv=("/nowhere/at/all",))
        far = Replica(id="far", address=f"unix:{tmp_path}/near.sock", tunnel=nothing)
        router.change(a=Told(versions={"1": Version(replicas=(far,))}))
        until(lambda: "cannot be started" in reason())
