"""Several supervisors of one job on this machine, each with a run directory of its own."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_aiinfra.node import supervise
from tests.support.bench import Bench, wait_until

NODE_FILES = ("supervise", "gang", "peers", "link", "rank", "parcel", "step", "stall")
KEY = "5a" * 32


class Gang:
    """A job on `count` nodes, all of them this machine."""

    def __init__(self, bench: Bench, *, count: int, script: str, **changes: Any) -> None:
        self.bench = bench
        nodes = [{"name": f"gpu{slot}", "address": "127.0.0.1"} for slot in range(count)]
        self.port: int | None = None
        self.folders: list[Path] = []
        job = ""
        for slot in range(count):
            wanted = {
                "node_rank": slot,
                "node_count": count,
                "nodes": nodes,
                "world": count,
                "dead_peer_seconds": 1.5,
                "join_seconds": 30.0,
                **changes,
            }
            folder = bench.make(script, **wanted)
            spec = json.loads((folder / "spec.json").read_text())
            job = job or spec["job"]
            supervise.write_json(str(folder / "spec.json"), {**spec, "job": job})
            (folder / "aiinfra").mkdir()
            for name in NODE_FILES:
                source = Path(supervise.__file__).with_name(f"{name}.py")
                shutil.copy(source, folder / "aiinfra")
            self.folders.append(folder)

    def start(self, *slots: int) -> None:
        """Start the supervisors of `slots` (all of them), the head first."""
        for slot in slots or range(len(self.folders)):
            given: dict[str, Any] = {"key": KEY}
            if slot:
                given["head_port"] = self.port
            done = self.bench.verb(
                "start", str(self.folders[slot]), stdin=json.dumps({"gang": given})
            )
            assert done.returncode == 0, done.stdout + done.stderr
            if slot == 0:
                self.port = json.loads(done.stdout)["gang_port"]

    def start_unmet(self, *slots: int) -> None:
        """Start supervisors that are not told yet by which key and where the head is found."""
        for slot in slots:
            done = self.bench.verb("start", str(self.folders[slot]), stdin='{"gang": {}}')
            assert done.returncode == 0, done.stdout + done.stderr

    def meet(self, *slots: int) -> None:
        """Tell supervisors where the head is, which was started."""
        for slot in slots:
            told = {"key": KEY, "head_port": self.port}
            supervise.write_json(str(self.folders[slot] / supervise.MEET), told)
            who = supervise.read_json(str(self.folders[slot] / "supervisor.json"))
            assert supervise.send(who, signal.SIGUSR1)

    def status(self, slot: int) -> dict[str, Any]:
        return dict(supervise.status(str(self.folders[slot])))

    def end(self, slot: int, *, seconds: float = 60) -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            seen = self.status(slot)
            return seen if seen["state"] not in ("starting", "running") else None

        return dict(wait_until(over, seconds=seconds))

    def processes(self, slot: int) -> list[dict[str, Any]]:
        return supervise.tagged(str(self.folders[slot]), supervise.RUN_TAG)

    def kill_supervisor(self, slot: int) -> None:
        who = json.loads((self.folders[slot] / "supervisor.json").read_text())
        assert supervise.send(who, signal.SIGKILL)
        wait_until(lambda: not supervise.alive(who))

    def power_off(self, slot: int) -> None:
        """End everything of one node at once, as a power cut does."""
        self.kill_supervisor(slot)
        for who in self.processes(slot):
            supervise.send(who, signal.SIGKILL)
        wait_until(lambda: not self.processes(slot))

    def wait_for(self, slot: int, name: str, text: str, *, seconds: float = 60) -> None:
        """Wait until a file of the run directory holds `text`."""
        path = self.folders[slot] / name
        wait_until(lambda: path.exists() and text in path.read_text(), seconds=seconds)

    def story(self) -> str:
        """Return all logs and states, for the message of a failed test."""
        parts = []
        for slot, folder in enumerate(self.folders):
            parts.append(f"=== {slot}: {self.status(slot)}")
            logs = sorted((folder / "logs").glob("*"))
            parts += [f"--- {path.name}\n{path.read_text()[-2000:]}" for path in logs]
        return "\n".join(parts)

    def close(self) -> None:
        for slot, folder in enumerate(self.folders):
            who = supervise.read_json(str(folder / "supervisor.json"))
            supervise.send(who, signal.SIGKILL)
            for each in self.processes(slot):
                supervise.send(each, signal.SIGKILL)


@contextmanager
def open_gang(bench: Bench, *, count: int, script: str, **changes: Any) -> Iterator[Gang]:
    """Yield a gang; what is left of it is ended."""
    gang = Gang(bench, count=count, script=script, **changes)
    try:
        yield gang
    finally:
        gang.close()
