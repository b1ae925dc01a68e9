"""From hosts nobody is connected to, to a pool that a job can be planned for."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn
from benchmarks.ssh.bench import Bench, open_bench
from jupyter_aiinfra.errors import HostKeyUnknown
from tests.support.hosts import Host

__all__ = ["attach"]

_MOST_HANDSHAKES = 2


def attach(run: Run) -> Sequence[Figure]:
    """Attach one host that is known, and one whose key has to be accepted first."""
    known: list[float] = []
    new: list[float] = []
    with open_bench(run, 1) as bench:
        (host,) = bench.hosts.values()

        def ours() -> float:
            bench.disconnect(host)
            before = _handshakes(host)
            took = _attach(bench)
            known.append(float(_handshakes(host) - before))
            return took

        def raw() -> float:
            begun = time.monotonic()
            argv = bench.ssh(host.name, "true")
            subprocess.run(argv, stdin=subprocess.DEVNULL, check=True)
            return time.monotonic() - begun

        ours_seconds, raw_seconds = in_turn(run, "attach", ours=ours, raw=raw)
        for _ in range(run.rounds):
            bench.disconnect(host)
            bench.hosts.known_hosts.write_text("")
            before = _handshakes(host)
            _attach_new(bench)
            new.append(float(_handshakes(host) - before))
    return (
        Figure(
            name="attach to usable pool",
            unit="s",
            ours=ours_seconds,
            raw=raw_seconds,
            judged=Judged.DIFFERENCE,
            note="a host whose key is known and that nobody is connected to, until its GPUs and "
            "packages are known; raw is `ssh HOST true`, one handshake and no more.",
        ),
        Figure(
            name="ssh handshakes to attach a known host",
            unit="",
            ours=tuple(known),
            judged=Judged.OURS,
            goal=Goal(limit=_MOST_HANDSHAKES, always=True),
            note="connections that its sshd has logged in the same rounds.",
        ),
        Figure(
            name="ssh handshakes to attach a new host",
            unit="",
            ours=tuple(new),
            judged=Judged.OURS,
            goal=Goal(limit=_MOST_HANDSHAKES, always=True),
            note="its key is shown, accepted, and the host then attached.",
        ),
    )


def _handshakes(host: Host) -> int:
    """Return how many connections its sshd has seen, those that ended early too."""
    return host.log.count("Connection from ")


def _attach(bench: Bench) -> float:
    with bench.session() as session:
        engine = session.engine
        begun = time.monotonic()
        view = session.run(engine.attach("lab", kind="ssh", options=bench.options()))
        took = time.monotonic() - begun
        (node,) = view.nodes or ()
        if node.problem is not None or node.python is None:
            raise RuntimeError(f"{node.name} is not usable: {node.problem}")
        session.run(engine.detach("lab"))
    return took


def _attach_new(bench: Bench) -> None:
    (shell,) = bench.shells()
    with bench.session() as session:
        engine = session.engine
        try:
            session.run(engine.attach("lab", kind="ssh", options=bench.options()))
        except HostKeyUnknown as error:
            session.run(shell.trust(error))
        else:
            raise RuntimeError("a key that nobody has accepted was no obstacle")
        session.run(engine.attach("lab", kind="ssh", options=bench.options()))
        session.run(engine.detach("lab"))
