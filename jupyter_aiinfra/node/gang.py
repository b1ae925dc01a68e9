"""The supervisors of a job on several nodes, or of several attempts, together.

One file, standard library only, Python 3.8 or newer (and its neighbours). The supervisor of the
lowest slot leads: it begins an attempt once the nodes are there, says when the ranks may begin,
has everybody stop when one fails or falls silent, and begins the next attempt on those that are
left. Nobody of ours need be connected for any of it.

What passes is state, never a command that could be lost. A follower tells what is so on its node
(its *report*), the leader what is wanted of all (its *orders*); both are told again with each
beat, so a link that was cut needs no more than a new one.

A leader that has fallen silent is succeeded by the lowest slot that is left. Who goes on must have
been more than half of the last attempt's nodes, or half of them with the lowest slot: of two parts
that do not hear each other at most one trains on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Mapping

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import link, supervise
    from jupyter_aiinfra.node import peers as peers_module
else:  # its neighbours in the bundle
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import link
    import peers as peers_module
    import supervise

__all__ = ["GangSupervisor", "Json", "begin", "may_go_on"]

Json = Dict[str, Any]

_JOIN_SECONDS = 60.0
_DEAD_SECONDS = 10.0
_LONGEST_BEAT_SECONDS = 2.0
# After a first failure the others' are waited for, so that the earliest can be named.
_SETTLE_SECONDS = 1.0
# Ranks of an attempt that has failed hang in a collective: nothing is gained by patience.
_HALT_GRACE_SECONDS = 1.0
_BUSY_POLL_SECONDS = 0.02
# A rank that reports says so with a signal; this is for one that cannot reach us with it.
_STARTING_POLL_SECONDS = 0.1
_CALM_POLL_SECONDS = 0.25
_FORMAT = 1
_VANISHED = "every process of the job was killed there; no exit status is known"


def may_go_on(
    kept: Iterable[int], members: Iterable[int], *, fewest: int, restarts_left: int
) -> bool:
    """Whether `kept`, what is left of the `members` of the last attempt, may begin another one."""
    left, all_of_them = set(kept), set(members)
    left &= all_of_them
    most = 2 * len(left) > len(all_of_them)
    half = 2 * len(left) == len(all_of_them) and bool(left) and min(all_of_them) in left
    return (most or half) and len(left) >= fewest and restarts_left > 0


class GangSupervisor(supervise.Supervisor):
    """One node's supervisor, with the others in mind."""

    def __init__(self, run: supervise.Run, spec: Json, secrets: Mapping[str, str] | None) -> None:
        super().__init__(run, spec)
        self.secrets = secrets
        self.slot = int(spec["node_rank"])
        self.names = {slot: node["name"] for slot, node in enumerate(spec["nodes"])}
        self.addresses = {slot: node["address"] for slot, node in enumerate(spec["nodes"])}
        self.dead_seconds = float(spec.get("dead_peer_seconds") or _DEAD_SECONDS)
        self.beat_seconds = min(_LONGEST_BEAT_SECONDS, self.dead_seconds / 5)
        self.fewest = int(spec.get("min_nodes") or spec["node_count"])
        self.known = run.json("gang.json") or {}
        self.key = bytes.fromhex(self.known.get("key", ""))
        self.listener = _listen(self.addresses[self.slot], self.known.get("port"))
        self.peers = peers_module.Peers(self.slot, self.key, self.listener)
        self.known["port"] = self.listener.getsockname()[1]
        self.ports: dict[int, int] = {int(s): p for s, p in self.known.get("ports", {}).items()}
        self.ports[self.slot] = self.known["port"]
        self.leader = int(self.known.get("leader", 0))
        self.orders: Json = self.known.get("orders") or _no_orders()
        self.reports: dict[int, Json] = {}
        self.attempt = 0
        self.phase = "idle"
        self.problem: str | None = None
        self.failure: Json | None = None
        self.bereaved_at: float | None = None
        self.lost_leaders: set[int] = set()
        self.led_at = time.monotonic()
        self.bad_at: float | None = None
        self.told_at = 0.0
        self.told: Any = None
        self.strays = 0
        self.ending: Json | None = None
        self.silent_since: dict[int, float | None] = {}
        self.over_at: float | None = None
        self.written: Any = None
        self.systems: Json = {}
        if self.key:
            self.remember()

    # --- the loop --------------------------------------------------------------------------------

    def main(self) -> None:
        """Watch until the job is over, and its end is written down here and told to the others."""
        while not self.through():
            self.beat()
            self.hear()
            self.watch_node()
            if self.leads:
                self.lead()
            else:
                self.follow()
            self.tell()
            self.limit_time()
            self.note()
            self.wait()
        self.peers.close()
        self.end_tracker()

    def meet(self) -> bool:
        """Wait until the pool has said by which key, and where, the head is found.

        All supervisors start at once, and the head's own says both. Return whether they came; if
        not, the end of this node's part is written down.
        """
        while True:
            told = self.run.json(supervise.MEET)
            if told is not None:
                self.known["key"] = told["key"]
                self.key = bytes.fromhex(told["key"])
                self.peers = peers_module.Peers(self.slot, self.key, self.listener)
                self.ports.setdefault(0, int(told["head_port"]))
                self.led_at = time.monotonic()
                self.remember()
                os.unlink(self.run.path(supervise.MEET))
                return True
            stop = self.run.json("stop.json")
            late = time.monotonic() - self.led_at > self.join_seconds
            if stop is not None or late:
                state = stop.get("state", "cancelled") if stop else "failed"
                reason = stop["reason"] if stop else "the launch ended before the nodes had met"
                # The others may have begun without this one.
                self.conclude(state, reason, certain=False)
                assert self.ending is not None  # noqa: S101 - that was said just now
                record = {**self.ending, "attempt": 1, "led": False}
                self.run.write("exit.json", supervise.dated(self.run, record))
                self.give_back()
                self.listener.close()
                return False
            self.beat()
            if select.select([self.wake], [], [], _STARTING_POLL_SECONDS)[0]:
                os.read(self.wake, 4096)

    @property
    def leads(self) -> bool:
        """Whether this supervisor leads."""
        return self.leader == self.slot

    def through(self) -> bool:
        """Whether nothing is left to do: it is over, and those who can be told have been."""
        if self.over_at is None:
            return False
        if not self.leads:
            return True
        others = [slot for slot in self.reports if slot != self.slot and self.alive(slot)]
        told = all(self.reports[slot].get("over") for slot in others)
        return told or time.monotonic() - self.over_at > self.dead_seconds

    def wait(self) -> None:
        """Sleep until something comes, or until it is time to look again."""
        pause = min(_CALM_POLL_SECONDS, self.beat_seconds / 2)
        if self.stopper is not None:
            pause = _BUSY_POLL_SECONDS
        elif self.phase == "running" and not self.orders["go"]:
            pause = _STARTING_POLL_SECONDS
        readers = [self.wake, *self.peers.descriptors()]
        with contextlib.suppress(OSError, ValueError):
            ready, _, _ = select.select(readers, self.peers.writers(), [], pause)
            if self.wake in ready:
                os.read(self.wake, 4096)

    def hear(self) -> None:
        """Take in what the others say."""
        for slot, message in self.peers.exchange():
            if "port" in message:
                self.ports[slot] = int(message["port"])
            if message["kind"] == "report":
                self.reports[slot] = message
                self.keep_system(slot, message.get("system"))
            elif message["kind"] == "orders":
                self.obey(slot, message["orders"])

    def keep_system(self, slot: int, said: Json | None) -> None:
        """Write down what another node's processors and GPUs do, for the tracker beside us."""
        if said is None or self.slot or said == self.systems.get(str(slot)):
            return
        self.systems[str(slot)] = said
        with contextlib.suppress(OSError):  # on a full disk the job goes on
            self.run.write(supervise.NODES_SYSTEM, self.systems, durable=False)

    def tell(self) -> None:
        """Send report or orders: when they have changed, and with each beat."""
        now = time.monotonic()
        message: Json
        if self.leads:
            self.orders["ports"] = {str(slot): port for slot, port in self.ports.items()}
            message = {"kind": "orders", "slot": self.slot, "orders": self.orders}
        else:
            message = {"kind": "report", **self.report()}
        text = json.dumps(message, sort_keys=True)
        if text == self.told and now - self.told_at < self.beat_seconds:
            return
        self.told, self.told_at = text, now
        if self.leads:
            self.peers.send_all([s for s in self.names if s != self.slot], message)
            self.call_lower(message)
        elif self.peers.linked(self.leader):
            self.peers.send(self.leader, message)
        self.peers.flush()

    def call_lower(self, message: Json) -> None:
        """Call the slots below ours, who should lead instead of us if they are there."""
        for slot in range(self.slot):
            self.call(slot, message)

    def call(self, slot: int, hello: Json) -> None:
        """Call a slot that is not linked, if it is known where it listens."""
        if slot in self.ports and not self.peers.linked(slot):
            self.peers.call(slot, self.addresses[slot], self.ports[slot], hello)

    # --- this node -------------------------------------------------------------------------------

    def begin(self, orders: Json) -> None:
        """Begin an attempt here."""
        self.put_away()
        self.attempt = int(orders["attempt"])
        self.phase, self.problem, self.rc = "running", None, None
        self.child, self.stopper = None, None
        self.begun = time.monotonic()
        if self.attempt > 1:
            self.announce(orders)
        if self.secrets is None and self.spec.get("secrets"):
            self.problem = "the secrets of the job are gone with its former supervisor"
            self.phase = "ended"
            return
        try:
            told = {**self.contract(orders), **self.network(orders)}
            spec = self.spec
            if told["AIINFRA_WORLD_SIZE"] == "1" and spec.get("argv_alone"):
                spec = {**spec, "argv": spec["argv_alone"]}  # no launcher of several would take it
            self.child = supervise.launch(self.run, spec, self.secrets or {}, told)
            mine = supervise.identity(self.child.pid)
            record = {**supervise.myself(), "wrapper": mine}
            self.run.write("supervisor.json", record, durable=False)
        except OSError as error:
            self.problem = f"it could not be started: {error.strerror or error}"
            self.halt(0.0)

    def contract(self, orders: Json) -> dict[str, str]:
        """Return the rank contract of an attempt for this node."""
        members = orders["members"]
        turn = {
            "attempt": orders["attempt"],
            "rank": members.index(self.slot),
            "count": len(members),
            "head": self.addresses[members[0]],
            "port": orders["port"],
        }
        return supervise.contract(self.spec, self.run, turn)

    def network(self, orders: Json) -> dict[str, str]:
        """Return what leads the ranks' connections to the right network of this node."""
        members = orders["members"]
        return peers_module.network_names(
            {slot: self.addresses[slot] for slot in members},
            slot=self.slot,
            head=members[0],
            taken={**os.environ, **self.spec["env"]},
        )

    def put_away(self) -> None:
        """Move the records of the attempt before to a folder of their own."""
        if self.attempt == 0 and not os.listdir(self.run.path("ranks")):
            return
        folder = self.run.path("attempts", str(self.attempt or self.orders["attempt"] - 1))
        os.makedirs(folder, 0o700, exist_ok=True)
        for name in ("ranks", "rc", "go"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.run.path(name), os.path.join(folder, name))
        os.makedirs(self.run.path("ranks"), 0o700, exist_ok=True)

    def processes(self) -> list[Json]:
        """Return the living processes of this node's part of the job.

        Two slots may see each other's processes, as containers of one machine do: what is ours is
        known by its run directory.
        """
        return supervise.tagged(self.run.folder, supervise.RUN_TAG)

    def resume(self) -> None:
        """Go on where a killed supervisor has left off."""
        now = time.monotonic()
        for slot in self.names:
            if slot != self.slot:
                self.peers.heard_at[slot] = now  # each has its time to find us again
        self.attempt = int((self.run.json("attempt.json") or {}).get("begun", 0))
        if self.attempt:
            self.phase = "running"  # the next look tells what has become of it

    def announce(self, orders: Json) -> None:
        """Say in this node's logs why it begins anew: who reads them must not wonder."""
        why = orders["restarts"][-1]["reason"] if orders["restarts"] else "a failure"
        names = ", ".join(self.names[slot] for slot in orders["members"])
        most = 1 + int(self.spec.get("max_restarts") or 0)
        text = f"\naiinfra: {why}; attempt {self.attempt} of {most} begins on {names}\n"
        for seat in range(self.slot * self.spec["procs"], (self.slot + 1) * self.spec["procs"]):
            path = self.run.path("logs", f"rank-{seat}.log")
            with contextlib.suppress(OSError):  # a full disk must not keep it from beginning
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)

    def halt(self, grace: float) -> None:
        """Begin to end what runs here of the attempt."""
        if self.phase not in ("running", "stopping"):
            return
        if self.stopper is None:
            self.stopper = supervise.Stopper(
                self.run, self.spec["job"], grace, processes=self.processes
            )
        self.stopper.grace = min(self.stopper.grace, grace)
        self.phase = "stopping"

    def watch_node(self) -> None:
        """See what has become of the attempt here."""
        stop = self.run.json("stop.json")
        if stop is not None and self.phase in ("running", "stopping"):
            self.halt(stop["grace_seconds"])
        if self.phase == "running" and self.finished():
            self.strays += len(self.processes())
            self.halt(min(_HALT_GRACE_SECONDS, self.spec["grace_seconds"]))
        if self.phase == "stopping" and self.stopper is not None:
            left = self.stopper.step()
            self.reap()
            if not left and self.finished():
                self.phase = "ended"
        if self.phase == "ended" and self.problem is None and self.rc is None:
            self.problem = _VANISHED

    def report(self) -> Json:
        """Return what is so on this node."""
        exits = {str(seat): _brief(record) for seat, record in self.run.exits().items()}
        reports = {str(seat): record for seat, record in self.run.reports().items()}
        ended = self.phase == "ended"
        return {
            "slot": self.slot,
            "port": self.known["port"],
            "attempt": self.attempt,
            "phase": self.phase,
            "reports": reports,
            "exits": exits,
            "rc": self.rc if ended else None,
            "problem": self.problem,
            "stop": self.run.json("stop.json"),
            "strays": self.strays,
            "ended_by": self.stopper.ended_by() if ended and self.stopper else {},
            "disk_full": ended and bool(self.rc) and supervise.disk_was_full(self.run),
            "over": self.over_at is not None,
            "system": self.run.json(supervise.SYSTEM) if self.spec.get("tracker") else None,
        }

    # --- following -------------------------------------------------------------------------------

    def follow(self) -> None:
        """Keep in touch with who leads; see to it that somebody does."""
        now = time.monotonic()
        hello = {"kind": "report", **self.report()}
        self.call(self.leader, hello)
        heard = max(self.peers.heard_at.get(self.leader, 0.0), self.led_at)
        patience = self.dead_seconds if self.orders["attempt"] else self.join_seconds
        if now - heard <= patience:
            return
        if self.bereaved_at is None:
            self.bereaved_at = now
            self.lost_leaders.add(self.leader)
            self.halt(_HALT_GRACE_SECONDS)
        self.succeed(now, hello)

    def succeed(self, now: float, hello: Json) -> None:
        """Find out who leads now that the leader has fallen silent."""
        lower = [slot for slot in range(self.slot) if slot not in self.lost_leaders]
        for slot in lower:
            self.call(slot, hello)
            self.peers.send(slot, hello)
        assert self.bereaved_at is not None  # noqa: S101 - the caller has set it
        waited = now - self.bereaved_at
        reachable = any(self.peers.silent_for(slot, now) < self.dead_seconds for slot in lower)
        if reachable and waited < self.spec["start_timeout_seconds"]:
            return  # it will lead, once it too has missed the leader; or we are the one cut off
        if lower and not reachable and waited < self.dead_seconds:
            return
        self.take_over(now)

    def take_over(self, now: float) -> None:
        """Lead from now on."""
        name = self.names[self.leader]
        reason = f"node {name} was lost: it was silent for {self.dead_seconds:g} s"
        if not self.orders["attempt"]:
            reason = f"node {name} did not begin: it was silent for {self.join_seconds:g} s"
        self.leader, self.led_at, self.bereaved_at = self.slot, now, None
        self.reports = {}
        self.orders = {**self.orders, "halt": True}
        self.failure = {"reason": reason, "at": now, "fatal": False}

    def obey(self, slot: int, orders: Json) -> None:
        """Do what is wanted by who leads, if it does."""
        newer = orders["attempt"] - self.orders["attempt"]
        settled = slot != self.leader and self.bereaved_at is None
        if newer < 0 or (newer == 0 and settled and slot > self.leader):
            return  # it led once, and does not know yet that this is over
        self.leader, self.orders, self.bereaved_at = slot, orders, None
        self.failure, self.bad_at, self.ending = None, None, None
        self.lost_leaders.discard(slot)
        self.ports.update({int(key): port for key, port in orders.get("ports", {}).items()})
        self.ports[self.slot] = self.known["port"]
        self.carry_out()

    def carry_out(self) -> None:
        """Take the steps from what is so on this node to what the orders want."""
        orders = self.orders
        mine = self.slot in orders["members"]
        if orders["stop"] and self.run.json("stop.json") is None:
            self.run.write("stop.json", orders["stop"])
        if self.phase in ("running", "stopping"):
            if orders["attempt"] != self.attempt or not mine or orders["halt"]:
                self.halt(_HALT_GRACE_SECONDS)
        elif mine and orders["attempt"] > self.attempt and not (orders["halt"] or orders["over"]):
            self.begin(orders)
        if orders["attempt"] == self.attempt and orders["go"]:
            self.let_begin(orders["go"])
        if orders["over"] and self.phase in ("idle", "ended"):
            self.finish(orders["over"])

    def let_begin(self, go: Json) -> None:
        """Let the ranks of this node begin."""
        if not os.path.exists(self.run.path("go")):
            self.run.write("go", go, durable=False)

    # --- leading ---------------------------------------------------------------------------------

    @property
    def join_seconds(self) -> float:
        """How long the nodes have to find each other at first."""
        return float(self.spec.get("join_seconds") or _JOIN_SECONDS)

    def alive(self, slot: int) -> bool:
        """Whether `slot` was heard of lately."""
        now = time.monotonic()
        return slot == self.slot or self.peers.silent_for(slot, now) < self.dead_seconds

    def lead(self) -> None:
        """Take the next step, from what all nodes have told."""
        self.reports[self.slot] = self.report()
        now = time.monotonic()
        stops = [r["stop"] for slot, r in sorted(self.reports.items()) if r.get("stop")]
        if stops and not self.orders["stop"]:
            self.orders["stop"] = stops[0]
        if self.ending is not None:
            # Rank 0 ran where the leader is: the job is over when what it has left is kept.
            if self.slot not in self.orders["members"] or self.collected():
                self.orders["over"] = self.ending
        elif not self.orders["attempt"] and self.failure is None:
            self.gather(now)
        elif self.failure is None:
            self.judge(now)
        else:
            self.recover(now)
        self.orders["nodes"] = self.health()
        self.carry_out()

    def gather(self, now: float) -> None:
        """Wait for the nodes, then begin the first attempt."""
        joined = [slot for slot in sorted(self.names) if self.alive(slot)]
        missing = [self.names[slot] for slot in self.names if slot not in joined]
        waited = now - self.led_at
        if self.orders["stop"]:
            self.conclude("cancelled", self.orders["stop"]["reason"])
        elif not missing or (waited > self.join_seconds and len(joined) >= self.fewest):
            self.order_attempt(joined)
        elif waited > self.join_seconds:
            who = ", ".join(missing)
            text = f"node {who} did not join within {self.join_seconds:g} s"
            self.conclude("failed", f"{text}; %pool check tells whether the nodes reach each other")
        else:
            self.orders["waiting"] = f"waiting for {', '.join(missing)}"

    def order_attempt(self, members: list[int], reason: str | None = None) -> None:
        """Have everybody begin the next attempt on `members`, ourselves first."""
        members = [self.slot, *(slot for slot in members if slot != self.slot)]
        members = members[: self.spec["node_count"]]
        number = self.orders["attempt"] + 1
        restarts = list(self.orders["restarts"])
        if reason is not None:
            begun = {"attempt": number, "at": time.time(), "reason": reason}
            restarts.append({**begun, "nodes": [self.names[slot] for slot in members]})
        first = number == 1 and self.spec.get("port")
        self.failure, self.bad_at = None, None
        self.orders = {
            **self.orders,
            "attempt": number,
            "members": members,
            "port": self.spec["port"] if first else supervise.free_port(self.addresses[self.slot]),
            "go": None,
            "halt": False,
            "waiting": None,
            "restarts": restarts,
        }

    def judge(self, now: float) -> None:
        """See whether the attempt goes well, and whether it is through."""
        members = self.orders["members"]
        current = self.current()
        lost = [slot for slot in members if not self.alive(slot)]
        if lost:
            names = ", ".join(self.names[slot] for slot in lost)
            which = "node" if len(lost) == 1 else "nodes"
            self.fail(f"{which} {names} was lost: silent for {self.dead_seconds:g} s", now)
            return
        ended = [slot for slot in members if current.get(slot, {}).get("phase") == "ended"]
        through = len(ended) == len(members)
        bad = self.is_bad(current)
        if bad and self.bad_at is None:
            self.bad_at = now
        if self.orders["stop"]:
            # Each node sees to its own ranks, which have the grace that was asked for.
            if through:
                self.stopped(bad=bad)
        elif self.bad_at is not None and (through or now - self.bad_at > _SETTLE_SECONDS):
            self.fail(self.why(current), now)
        elif through:
            self.conclude("succeeded", None)
        elif not self.orders["go"]:
            self.verify(current)

    def stopped(self, *, bad: bool) -> None:
        """Conclude a job that was told to end, and may have been through before that."""
        stop = self.orders["stop"]
        if bad or any(report["ended_by"] for report in self.reports.values()):
            self.conclude(stop.get("state", "cancelled"), stop["reason"])
        else:
            self.conclude("succeeded", None)

    def current(self) -> dict[int, Json]:
        """Return the reports that are about the attempt under way."""
        number = self.orders["attempt"]
        return {slot: r for slot, r in self.reports.items() if r["attempt"] == number}

    def is_bad(self, current: Mapping[int, Json]) -> bool:
        """Whether something has failed anywhere."""
        for report in current.values():
            if report["problem"] or (report["phase"] == "ended" and report["rc"]):
                return True
            if any(each.get("exit_code") != 0 for each in report["exits"].values()):
                return True
        return False

    def why(self, current: Mapping[int, Json]) -> str:
        """Return in one sentence why the attempt failed."""
        problems = [
            f"node {self.names[slot]}: {report['problem']}"
            for slot, report in sorted(current.items())
            if report["problem"]
        ]
        seen = _Seen(current.values())
        failed = supervise.first_failure(seen, seen.exits())
        bad = [r for r in current.values() if r["rc"]]
        if failed is None and problems:
            return problems[0]
        rc = int(bad[0]["rc"]) if bad else 1
        text = supervise.why_failed(seen, self.spec, rc, failed, seen.exits())
        if failed is not None:
            text = f"{text}, on node {self.names[failed // self.spec['procs']]}"
        if any(report["disk_full"] for report in current.values()):
            text = f"the disk of the run directory is full; {text}"
        return text

    def verify(self, current: Mapping[int, Json]) -> None:
        """Let the ranks begin once as many distinct ones as asked have reported, or fail."""
        seen = _Seen(current.values())
        world = len(self.orders["members"]) * self.spec["procs"]
        spec = {**self.spec, "world": world}
        problem = supervise.world_problem(seen.reports(), spec)
        here = len(seen.reports())
        waited = time.monotonic() - self.begun
        if not self.spec["verify_world"] or (problem is None and here == world):
            self.orders["go"] = {"at": time.time(), "world": world}
            self.orders["started_at"] = self.orders["started_at"] or time.time()
            return
        if problem is None and waited > self.spec["start_timeout_seconds"]:
            limit = self.spec["start_timeout_seconds"]
            problem = f"{here} of {world} ranks reported within {limit:g} s"
        if problem is not None:
            self.fail(problem, time.monotonic(), fatal=True)

    def fail(self, reason: str, now: float, *, fatal: bool = False) -> None:
        """Have everybody end the attempt; what comes then is decided once they have."""
        current = self.current()
        seen = _Seen(current.values())
        self.failure = {
            "reason": reason,
            "at": now,
            "fatal": fatal,
            "rank": supervise.first_failure(seen, seen.exits()),
            "rc": next((r["rc"] for r in current.values() if r["rc"]), None),
            "vanished": any(report["problem"] == _VANISHED for report in current.values()),
        }
        self.orders["halt"] = True

    def recover(self, now: float) -> None:
        """Begin again on what is left, wait for it, or give up."""
        failure = self.failure
        assert failure is not None  # noqa: S101 - the caller looked
        here = [slot for slot in sorted(self.names) if self.alive(slot)]
        busy = [s for s in here if self.reports.get(s, {}).get("phase") in ("running", "stopping")]
        if busy:
            return
        members = self.orders["members"]
        number = self.orders["attempt"]
        left = int(self.spec.get("max_restarts") or 0) + 1 - max(1, number)
        stop = self.orders["stop"]
        if stop:
            self.conclude(stop.get("state", "cancelled"), stop["reason"])
            return
        new_leader = now - self.led_at < self.dead_seconds and number > 0 and self.slot != 0
        expected = [slot for slot in members if slot not in self.lost_leaders]
        if new_leader and not all(self.alive(slot) for slot in expected):
            return  # those who are left need a moment to find us
        kept = [slot for slot in members if slot in here]
        hopeless = failure["fatal"] or left < 1 or number == 0
        if (
            not hopeless
            and may_go_on(kept, members, fewest=0, restarts_left=left)
            and len(here) >= self.fewest
        ):
            self.order_attempt(here, failure["reason"])
        elif hopeless or now - failure["at"] > self.spec["start_timeout_seconds"]:
            others = [slot for slot in members if slot not in here]
            unseen = may_go_on(others, members, fewest=self.fewest, restarts_left=left)
            state = "lost" if failure.get("vanished") else "failed"
            self.conclude(state, failure["reason"], certain=not unseen)
        else:
            away = [self.names[s] for s in self.names if s not in here]
            self.orders["waiting"] = f"waiting for {', '.join(away)} to come back"

    def health(self) -> list[Json]:
        """Return how each node is heard from here."""
        found: list[Json] = []
        for slot, name in sorted(self.names.items()):
            if self.alive(slot):
                self.silent_since.pop(slot, None)
                found.append({"name": name, "health": "live", "reason": None})
                continue
            known = slot in self.reports or slot in self.lost_leaders
            state = "lost" if known else "unreachable"
            since = self.silent_since.setdefault(slot, self.heard_of(slot))
            reason = self.peers.told.get(slot)
            found.append({"name": name, "health": state, "reason": reason, "since": since})
        return found

    def heard_of(self, slot: int) -> float | None:
        """Return when `slot` was heard of last, by the wall clock; ``None`` if it never was."""
        silent = self.peers.silent_for(slot, time.monotonic())
        return round(time.time() - silent, 1) if silent < float("inf") else None

    def conclude(self, state: str, reason: str | None, *, certain: bool = True) -> None:
        """Say how the job has ended. `certain` is false where others may yet go on."""
        seen = list(self.reports.values())
        failure = self.failure or {}
        rcs = [r["rc"] for r in self.current().values() if r["rc"] is not None]
        ended_by: dict[str, list[int]] = {}
        for report in seen:
            for name, seats in report["ended_by"].items():
                ended_by.setdefault(name, []).extend(seats)
        rc = failure.get("rc")
        self.ending = {
            "format": _FORMAT,
            "state": state,
            "rc": rc if rc is not None else max(rcs, default=None),
            "started_at": self.orders["started_at"],
            "ended_at": time.time(),
            "reason": reason,
            "failed_rank": failure.get("rank") if state == "failed" else None,
            "ended_by": {n: sorted(s) for n, s in ended_by.items()} if state != "failed" else {},
            "strays": sum(report["strays"] for report in seen),
            "certain": certain,
        }
        self.orders["halt"] = True

    # --- the record ------------------------------------------------------------------------------

    def note(self) -> None:
        """Write down what the next supervisor here would have to know, and what status tells."""
        orders = self.orders
        record = {
            "attempt": max(1, orders["attempt"]),
            "begun": self.attempt,
            "restarts": orders["restarts"],
            "started_at": orders["started_at"],
            "nodes": orders["nodes"],
            "waiting": orders["waiting"],
            "led": self.leads,
        }
        text = json.dumps([record, self.leader, {**orders, "nodes": None}, self.ports])
        if text != self.written and self.over_at is None:
            # On a full disk the job goes on: what is in memory is what counts.
            with contextlib.suppress(OSError):
                self.run.write("attempt.json", record, durable=False)
                self.remember()
                self.written = text

    def remember(self) -> None:
        """Write down who leads, what was ordered, and where the others listen."""
        self.known.update(
            leader=self.leader,
            orders=self.orders,
            ports={str(slot): port for slot, port in self.ports.items()},
        )
        self.run.write("gang.json", self.known, durable=False)

    def finish(self, over: Json) -> None:
        """Write down the end of the job."""
        if self.over_at is not None:
            return
        self.note()
        turn = self.run.json("attempt.json") or {}
        kept = {key: turn.get(key) for key in ("attempt", "restarts", "nodes", "led")}
        record = {**over, **kept}
        self.run.write("exit.json", supervise.dated(self.run, record))
        self.give_back()
        self.over_at = time.monotonic()
        if not self.leads:
            self.peers.send(self.leader, {"kind": "report", **self.report()})
            self.peers.flush()


class _Seen:
    """The records of several nodes' ranks, as :mod:`supervise` asks a run for them."""

    def __init__(self, reports: Iterable[Json]) -> None:
        self._reports = list(reports)

    def reports(self) -> dict[int, Json]:
        """Return all reports by seat."""
        return self._all("reports")

    def exits(self) -> dict[int, Json]:
        """Return all exit records by seat."""
        return self._all("exits")

    def _all(self, what: str) -> dict[int, Json]:
        return {int(seat): record for each in self._reports for seat, record in each[what].items()}


def _no_orders() -> Json:
    return {
        "attempt": 0,
        "members": [],
        "port": None,
        "go": None,
        "halt": False,
        "stop": None,
        "over": None,
        "waiting": None,
        "restarts": [],
        "started_at": None,
        "nodes": [],
    }


def _brief(record: Json) -> Json:
    """Return an exit record without its traceback, which stays in the node's files."""
    error = record.get("error")
    if not error:
        return record
    kept = {key: error.get(key) for key in ("type", "line")}
    return {**record, "error": {**kept, "message": error["message"][:500]}}


def _listen(address: str, port: int | None) -> Any:
    if port:
        try:
            return link.listen(address, port)
        except OSError:
            pass  # somebody else has taken it since: the others are told of the new one
    return link.listen(address)


def begin(
    run: supervise.Run,
    spec: Json,
    secrets: Mapping[str, str] | None,
    given: Json | None,
    ready: Callable[[str], None],
) -> None:
    """Be the supervisor of this node until the job is over.

    `given` is what the pool says at the first start: the job's ``key``, and for all but the head
    ``head_port``, where the head listens; without them all but the head wait to be told. ``None``
    continues what a killed supervisor has left.
    """
    late = given is not None and not given.get("key") and int(spec["node_rank"]) > 0
    old = run.json("supervisor.json") or {}
    wrapper = old.get("wrapper") if given is None else None
    if given is not None and not late:
        known: Json = {"key": given.get("key") or os.urandom(32).hex()}
        if given.get("head_port"):
            known["ports"] = {"0": given["head_port"]}
        run.write("gang.json", known)
    record = {**supervise.myself(), "wrapper": wrapper, "adopted": given is None}
    run.write("supervisor.json", record, durable=False)
    supervisor = GangSupervisor(run, spec, secrets)
    if given is None:
        supervisor.resume()
    # The tracker of the first node lives on without us; on others it ends with its supervisor.
    if given is not None or supervisor.slot:
        told = supervise.contract(spec, run, {"port": 1})
        supervisor.tracker = supervise.launch_tracker(run, spec, secrets or {}, told)
    ready("")
    if late and not supervisor.meet():
        supervisor.end_tracker()
        return
    supervisor.main()
