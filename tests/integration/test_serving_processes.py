"""Workers are killed, parents go, bad bodies come: it goes on answering, or ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import psutil
import pytest
import requests

from tests.integration.serving_endpoint import Endpoint, model_folder
from tests.support.bench import wait_until

until = partial(wait_until, seconds=30)


class Load:
    """Asks all the time, each request on a connection of its own; counts how it went."""

    def __init__(self, url: str, *, threads: int = 4) -> None:
        self._url = f"{url}/predict"
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.good = 0
        self.failed = 0
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            good = False
            with contextlib.suppress(requests.RequestException):
                good = requests.post(self._url, json={"inputs": [[1, 2]]}, timeout=30).ok
            with self._lock:
                self.good += good
                self.failed += not good

    def __enter__(self) -> Load:  # noqa: PYI034 - Self is newer than Python 3.10
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_killed_worker_is_replaced_under_load(tmp_path: Path) -> None:
    with Endpoint(model_folder(tmp_path / "m"), workers=2) as endpoint:
        before = set(endpoint.workers())
        assert len(before) == 2
        with Load(endpoint.url) as load:
            until(lambda: load.good > 50)
            killed = endpoint.kill_worker()
            until(lambda: len(set(endpoint.workers()) - {killed}) == 2)
            seen = load.good
            until(lambda: load.good > seen + 50)
        # What was on its way in the worker that died, of each thread at most one.
        assert load.failed <= 4
        assert set(endpoint.workers()) != before
        until(lambda: 'code="200"' in requests.get(f"{endpoint.url}/metrics", timeout=10).text)


def test_sigterm_answers_what_is_under_way(tmp_path: Path) -> None:
    with Endpoint(model_folder(tmp_path / "m", entry="slow")) as endpoint:
        answers: list[int] = []

        def ask() -> None:
            body = {"inputs": [[1, 2]]}
            answers.append(
                requests.post(f"{endpoint.url}/predict", json=body, timeout=30).status_code
            )

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: " 3" in _active(endpoint))
        endpoint.process.terminate()
        for thread in threads:
            thread.join()
        assert answers == [200, 200, 200]
        assert endpoint.process.wait(30) == 0


def _active(endpoint: Endpoint) -> str:
    text = requests.get(f"{endpoint.url}/metrics", timeout=10).text
    (line,) = [line for line in text.splitlines() if line.startswith("aiinfra_endpoint_active")]
    # This very request is one of them.
    return f" {int(line.split()[-1]) - 1}"


def test_it_says_that_it_goes_before_it_goes(tmp_path: Path) -> None:
    with Endpoint(model_folder(tmp_path / "m"), "--notice", "1.5") as endpoint:
        endpoint.process.terminate()
        ready = f"{endpoint.url}/readyz"
        until(lambda: requests.get(ready, timeout=10).status_code == 503, seconds=1.4)
        answer = requests.post(f"{endpoint.url}/predict", json={"inputs": [[1, 2]]}, timeout=10)
        assert answer.status_code == 200
        assert endpoint.process.wait(30) == 0


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    with Endpoint(model_folder(tmp_path / "m"), workers=2) as endpoint:
        workers = [psutil.Process(pid) for pid in endpoint.workers()]
        endpoint.process.kill()
        gone, alive = psutil.wait_procs(workers, timeout=30)
        assert (len(gone), alive) == (2, [])


def test_a_model_that_cannot_be_served_ends_it(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", example=[[1]])
    argv = [sys.executable, "-m", "jupyter_aiinfra.serving", str(folder), "--port", "0"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "the example is not what the model takes" in done.stderr
    argv[3] = str(tmp_path)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "endpoint.json" in done.stderr) == (3, True)


def test_keys_from_the_command_line(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "jupyter_aiinfra.serving", "--new-key", "anna"]
    made = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    keys = tmp_path / "keys.json"
    keys.write_text(f"[{made.stderr.strip().splitlines()[-1]}]")
    with Endpoint(model_folder(tmp_path / "m"), "--keys", str(keys)) as endpoint:

        def status(key: str) -> int:
            return requests.post(
                f"{endpoint.url}/predict",
                json={"inputs": [[1, 2]]},
                headers={"authorization": f"Bearer {key}"},
                timeout=10,
            ).status_code

        assert status("aii_anna_wrong") == 401
        assert status(made.stdout.strip()) == 200
        assert made.stdout.strip() not in endpoint.log.read_text()


HEAD = b"POST /predict HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\n"
RAW = {
    "no http": (b"\x16\x03\x01nonsense\r\n\r\n", b" 400 "),
    "a body that is too large": (HEAD + b"Content-Length: 99999999\r\n\r\n", b" 413 "),
    "a body that does not come": (HEAD + b"Content-Length: 10\r\n\r\n{", b" 408 "),
    "chunks that are none": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", b" 400 "),
    "deep json": (HEAD + b"Content-Length: 90000\r\n\r\n" + b"[" * 90000, b" 400 "),
    "no utf-8": (HEAD + b"Content-Length: 2\r\n\r\n\xff\xfe", b" 400 "),
    "broken gzip": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8bxx",
        b" 400 ",
    ),
    "a length that is none": (HEAD + b"Content-Length: -1\r\n\r\n", b" 400 "),
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = model_folder(tmp_path_factory.mktemp("strict") / "m")
    with Endpoint(folder, "--body-timeout", "0.3", "--max-body", "1") as endpoint:
        yield endpoint


@pytest.mark.parametrize("name", RAW)
def test_what_comes_over_the_wire_never_kills(strict: Endpoint, name: str) -> None:
    body, status = RAW[name]
    workers = strict.workers()
    host, _, port = strict.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(body)
        assert status in connection.recv(65536).split(b"\r\n")[0]
    answer = requests.post(f"{strict.url}/predict", json={"inputs": [[1, 2]]}, timeout=10)
    assert answer.json()["outputs"] == [[2, 4]]
    assert strict.workers() == workers


def test_requests_one_after_the_other_without_waiting(strict: Endpoint) -> None:
    bodies = [json.dumps({"inputs": [[number, 1]]}).encode() for number in range(20)]
    host, _, port = strict.address.partition(":")

    async def ask() -> list[bytes]:
        reader, writer = await asyncio.open_connection(host, int(port))
        for body in bodies:
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answers = []
        for _ in bodies:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answers.append(await reader.readexactly(length))
        writer.close()
        return answers

    firsts = [json.loads(answer)["outputs"][0][0] for answer in asyncio.run(ask())]
    assert firsts == [2.0 * number for number in range(20)]


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with Endpoint(model_folder(tmp_path / "m"), "--notice", "60") as endpoint:
        endpoint.process.terminate()
        ready = f"{endpoint.url}/readyz"
        until(lambda: requests.get(ready, timeout=10).status_code == 503)
        os.kill(endpoint.process.pid, signal.SIGINT)
        assert endpoint.process.wait(30) == 0
