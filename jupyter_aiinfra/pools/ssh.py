"""Machines that the user can reach by ssh, as one pool: nothing to install, no root.

Each node holds a run directory of its own, and a supervisor that is told by the others how the job
goes. All requests, and all logs of a node, share one channel over one connection of the user's ssh.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TypeVar

from jupyter_aiinfra.bundle import Bundle, bundle_file, pull
from jupyter_aiinfra.channel import Stream
from jupyter_aiinfra.endpoint import Reach
from jupyter_aiinfra.environments import BuiltEnvironment, Report, remove, survey
from jupyter_aiinfra.errors import (
    AiInfraError,
    HostKeyUnknown,
    NotFound,
    PoolError,
    SubmitError,
    Unreachable,
    UsageError,
    did_you_mean,
)
from jupyter_aiinfra.model import (
    LAUNCHER,
    Handle,
    Health,
    Job,
    LogChunk,
    Node,
    NodePlan,
    Observation,
    Plan,
    PoolRecord,
)
from jupyter_aiinfra.node import stall
from jupyter_aiinfra.pools.abilities import (
    NodeCheck,
    NodeSurvey,
    ProcessTrace,
    Reclaimed,
    RunTrace,
    Tell,
    Transferred,
    TransferStep,
)
from jupyter_aiinfra.pools.base import FileReader, Pool, RankStacks, RunFile
from jupyter_aiinfra.pools.building import build_for
from jupyter_aiinfra.pools.facts import node_from_facts
from jupyter_aiinfra.pools.files import orders
from jupyter_aiinfra.pools.merging import NodeWord, merged_observation
from jupyter_aiinfra.pools.moving import get_tree, look_local, put_tree
from jupyter_aiinfra.pools.nodeside import with_node_files
from jupyter_aiinfra.pools.options import options_of
from jupyter_aiinfra.pools.probing import INTERVAL_SECONDS, probe_over_channel
from jupyter_aiinfra.pools.remote import Ground, RemoteNode
from jupyter_aiinfra.pools.remotefiles import RemoteFile, parted
from jupyter_aiinfra.pools.sending import send
from jupyter_aiinfra.pools.sockets import near_end
from jupyter_aiinfra.pools.sshcheck import Checkup
from jupyter_aiinfra.pools.stacks import DUMP_SECONDS, stacks_from_answer
from jupyter_aiinfra.pools.surveying import reclaim_on_node, survey_node
from jupyter_aiinfra.pools.tails import Tails
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.shell import Shell
from jupyter_aiinfra.ssh.client import SshOptions as ClientOptions
from jupyter_aiinfra.ssh.connection import SshShell
from jupyter_aiinfra.ssh.hosts import HostSpec, hosts_from, parse_hosts

__all__ = ["SshOptions", "SshPool"]

T = TypeVar("T")

_FOLDER = "~/.local/share/jupyter-aiinfra"
_AT_ONCE = 8
_OBSERVE_SECONDS = 15.0
_DESCRIBE_SECONDS = 60.0
_START_SECONDS = 60.0
_TAKE_BACK_SECONDS = 20.0
# Of sixteen nodes at once each gets its turn a little late: what is on its way has to bridge that.
_LOG_WINDOW_BYTES = 1 << 21
_LONGEST_SOCKET = 100


@dataclass(frozen=True, kw_only=True)
class SshOptions:
    """Options of ``%pool attach NAME --kind ssh``.

    Parameters
    ----------
    hosts
        Hosts as ssh knows them: ``gpu1,gpu2,me@gpu3:2222``.
    hosts_from
        A file of ssh's configuration and a pattern: ``~/.ssh/config:gpu*``.
    python
        Interpreter the ranks run with, a path on the nodes; ``None`` is their ``python3``.
    folder
        Where jobs live on the nodes.
    addresses
        By which the nodes reach each other, in the order of the hosts; ``None`` is where ssh
        reached them.
    max_procs
        Most ranks of a job on a node.
    """

    hosts: str | None = field(
        default=None,
        metadata={"help": "hosts as ssh knows them: gpu1,gpu2,me@gpu3:2222", "either": True},
    )
    hosts_from: str | None = field(
        default=None,
        metadata={"help": "or those of a file: ~/.ssh/config:gpu*", "either": True},
    )
    python: str | None = field(
        default=None, metadata={"help": "interpreter of the nodes that the ranks run with"}
    )
    folder: str | None = field(
        default=None, metadata={"help": f"where jobs live on the nodes ({_FOLDER})"}
    )
    addresses: str | None = field(
        default=None, metadata={"help": "by which nodes reach each other, one a host"}
    )
    max_procs: int | None = field(
        default=None, metadata={"help": "most ranks a job may have on a node"}
    )


class SshPool(Pool):
    """Runs jobs on hosts that the user's own ssh reaches."""

    kind: ClassVar[str] = "ssh"
    title: ClassVar[str] = "SSH hosts"
    options_type: ClassVar[type] = SshOptions
    gpus_are_leased = True
    holds_files = True

    def __init__(
        self,
        options: SshOptions,
        settings: Settings,
        *,
        hosts: Sequence[HostSpec],
        shell: Callable[[HostSpec], Shell] | None = None,
    ) -> None:
        self.options = options
        self._settings = settings
        client = ClientOptions.of(settings)
        make = shell or (lambda host: SshShell(host, options=client))
        # Only an absolute path means the same before and after a login.
        python = options.python if (options.python or "").startswith("/") else None
        self._nodes = [
            RemoteNode(str(host), make(host), python=python or "python3") for host in hosts
        ]
        self._by_name = {node.name: node for node in self._nodes}
        self._hellos: dict[str, Mapping[str, Any]] = {}
        self._untrusted: dict[str, HostKeyUnknown] = {}
        self._tails = Tails()
        self._over: set[str] = set()

    @classmethod
    def from_record(cls, record: PoolRecord, settings: Settings) -> SshPool:
        """Open the pool that `record` describes.

        Raises
        ------
        UsageError
            An option that is unknown to this kind or makes no sense; names it.
        """
        options = options_of(record, SshOptions)
        hosts = _hosts(options)
        if options.max_procs is not None and options.max_procs < 1:
            raise UsageError(
                f"pool {record.name}: --max-procs {options.max_procs} leaves no rank",
                hint="give a number from 1 on",
                option="max_procs",
            )
        addresses = _listed(options.addresses)
        if addresses and len(addresses) != len(hosts):
            raise UsageError(
                f"pool {record.name}: --addresses names {len(addresses)} and there are "
                f"{len(hosts)} hosts",
                hint="one for each host, in their order, with commas between",
                option="addresses",
            )
        return cls(options, settings, hosts=hosts)

    # --- the nodes -------------------------------------------------------------------------------

    async def nodes(self) -> Sequence[Node]:
        """Return all nodes; those that do not answer say so. See :class:`~.base.Pool`.

        Raises
        ------
        Unreachable
            None of them answers.
        PoolError
            What is wrong with the first, where none can be used.
        """
        found = await _each(self._nodes, self._describe)
        self._untrusted = {
            node.name: each
            for node, each in zip(self._nodes, found, strict=True)
            if isinstance(each, HostKeyUnknown)
        }
        errors = [each for each in found if isinstance(each, PoolError)]
        if len(errors) == len(found):
            raise errors[0]
        return tuple(
            self._silent(node, each) if isinstance(each, PoolError) else each
            for node, each in zip(self._nodes, found, strict=True)
        )

    async def _describe(self, node: RemoteNode) -> Node:
        hello = await self._hello(node)
        facts = await node.call(
            "describe",
            folder=self._folder(hello),
            python=self._rank_python(hello),
            timeout=_DESCRIBE_SECONDS,
        )
        described = node_from_facts(
            facts,
            name=node.name,
            address=self._address(node, hello),
            max_procs=self.options.max_procs,
        )
        return dataclasses.replace(described, health=node.status.health)

    def _silent(self, node: RemoteNode, error: PoolError) -> Node:
        status = node.status
        return Node(
            name=node.name,
            address="",
            health=Health.UNREACHABLE,
            since=status.since,
            problem=error.message,
        )

    @property
    def untrusted(self) -> Sequence[HostKeyUnknown]:
        """The keys that nobody has accepted; see :class:`~.base.Trusting`."""
        return tuple(self._untrusted.values())

    async def trust(self, error: HostKeyUnknown) -> None:
        """Accept a host's key for good; see :class:`~.base.Trusting`."""
        node = self._by_name.get(error.host)
        if node is None or not isinstance(node.shell, SshShell):
            raise UsageError(
                f"{error.host} is no host of this pool", hint=f"it has {', '.join(self._by_name)}"
            )
        await node.shell.trust(error)
        self._untrusted.pop(error.host, None)

    async def _hello(self, node: RemoteNode) -> Mapping[str, Any]:
        hello = await node.hello()
        self._hellos[node.name] = hello
        return hello

    async def _ground(self, node: RemoteNode) -> Ground:
        """Meet a node, and return what is known of it."""
        hello = await self._hello(node)
        return Ground(
            hello=hello,
            folder=self._folder(hello),
            python=self._rank_python(hello),
            address=self._address(node, hello),
        )

    async def check(self, tell: Tell) -> Sequence[NodeCheck]:
        """Look into all that jobs need; see :class:`~.abilities.Checking`."""
        checkup = Checkup(self._nodes, self._ground, max_procs=self.options.max_procs)
        try:
            return await checkup.run(tell)
        finally:
            self._untrusted = dict(checkup.unknown)

    async def put_files(
        self,
        source: Path,
        target: str,
        *,
        nodes: Sequence[str],
        report: Callable[[TransferStep], None],
    ) -> Sequence[Transferred]:
        """Copy to the nodes, all at once; see :class:`~.abilities.Transferring`."""
        chosen = [self._asked_for(name) for name in nodes] or self._nodes
        tree = await asyncio.to_thread(look_local, source)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(node: RemoteNode) -> Transferred:
            try:
                async with limit:
                    await node.call("ping")  # a node that is off is no cut to be waited out
                    return await put_tree(node.channel, tree, target, node=node.name, report=report)
            except AiInfraError as error:
                return Transferred(
                    node=node.name, path=target, problem=error.message, hint=error.hint
                )

        return await asyncio.gather(*(one(node) for node in chosen))

    async def get_files(
        self,
        source: str,
        target: Path,
        *,
        node: str | None,
        report: Callable[[TransferStep], None],
    ) -> Transferred:
        """Copy from a node; see :class:`~.abilities.Transferring`."""
        chosen = (await self._answering())[0] if node is None else self._asked_for(node)
        await chosen.call("ping")
        return await get_tree(chosen.channel, source, target, node=chosen.name, report=report)

    async def survey(self) -> Sequence[NodeSurvey]:
        """Look for what is ours on every node; see :class:`~.abilities.Surveying`."""

        async def one(node: RemoteNode) -> NodeSurvey:
            return await survey_node(node, await self._runs_folder(node))

        found = await _each(self._nodes, one)
        return tuple(
            NodeSurvey(node=node.name, problem=each.message)
            if isinstance(each, PoolError)
            else each
            for node, each in zip(self._nodes, found, strict=True)
        )

    def handle_of(self, trace: RunTrace) -> Handle:
        """Return the handle of a run's job; see :class:`~.abilities.Surveying`."""
        return self._handle(trace.job, trace.nodes, int(trace.orders.get("procs") or 1))

    async def reclaim(self, job: str, *, grace: float) -> Sequence[Reclaimed]:
        """End a job that nobody records; see :class:`~.abilities.Surveying`."""
        places: dict[str, set[str]] = {}
        for seen in await self.survey():
            traces: list[RunTrace | ProcessTrace] = [*seen.runs, *seen.processes]
            names = {PurePosixPath(each.run_dir).name for each in traces if each.job == job}
            if names:
                places[seen.node] = names

        async def one(node: RemoteNode, names: set[str]) -> Reclaimed:
            runs = await self._runs_folder(node)
            return await reclaim_on_node(node, runs, sorted(names), job=job, grace=grace)

        return await asyncio.gather(
            *(one(self._by_name[name], names) for name, names in places.items())
        )

    async def _runs_folder(self, node: RemoteNode) -> str:
        return f"{self._folder(await self._known(node))}/runs"

    def _asked_for(self, name: str) -> RemoteNode:
        if name not in self._by_name:
            known = list(self._by_name)
            raise UsageError(
                f"this pool has no node {name!r}",
                hint=did_you_mean(name, known) or f"it has {', '.join(known)}",
            )
        return self._by_name[name]

    async def _known(self, node: RemoteNode) -> Mapping[str, Any]:
        """Return what the node said when it was first met."""
        return self._hellos.get(node.name) or await self._hello(node)

    def _folder(self, hello: Mapping[str, Any]) -> str:
        return _expanded(self.options.folder or _FOLDER, hello["home"])

    def _rank_python(self, hello: Mapping[str, Any]) -> str:
        return _expanded(self.options.python or hello["executable"], hello["home"])

    def _address(self, node: RemoteNode, hello: Mapping[str, Any]) -> str:
        given = _listed(self.options.addresses)
        if given:
            return given[self._nodes.index(node)]
        known: Sequence[str] = hello["addresses"]
        return known[0] if known else "127.0.0.1"

    def _node(self, name: str) -> RemoteNode:
        found = self._by_name.get(name)
        if found is None:
            raise Unreachable(
                f"{name} is not among the hosts of this pool any more",
                hint=f"attach the pool with it again: --hosts {','.join([*self._by_name, name])}",
            )
        return found

    async def shells(self, handle: Handle | None = None) -> Sequence[tuple[Node, Shell]]:
        """Return a shell on each node (of the job, when given) that answers."""
        names = handle.data["nodes"] if handle else list(self._by_name)
        return [
            (node, self._by_name[node.name].shell)
            for node in await self.nodes()
            if node.name in names and node.problem is None
        ]

    # --- readings --------------------------------------------------------------------------------

    def probe_nodes(self) -> Sequence[str]:
        """Return the names of the hosts; see :class:`~.base.Probing`."""
        return tuple(self._by_name)

    def probe(self, node: str) -> AsyncGenerator[bytes, None]:
        """Yield what the probe of a host prints; see :class:`~.base.Probing`."""
        return probe_over_channel(self._node(node), INTERVAL_SECONDS)

    # --- a job begins ----------------------------------------------------------------------------

    async def plan(self, job: Job) -> Plan:
        """Lay the job out: on the nodes it was given, else on the first ones that answer."""
        if job.placement:
            chosen = [(self._node(each.node), each.gpus) for each in job.placement]
        else:
            chosen = [(node, ()) for node in (await self._answering())[: job.spec.nodes]]
        fewest = job.spec.min_nodes or job.spec.nodes
        if len(chosen) < fewest:
            raise Unreachable(
                f"{fewest} nodes asked for, and {len(chosen)} of {len(self._nodes)} answer",
                hint="%pool check tells why the others do not",
            )
        made = []
        for slot, (node, gpus) in enumerate(chosen):
            hello = await self._known(node)
            run_dir = f"{self._folder(hello)}/runs/{_run_name(job.id, slot)}"
            made.append(
                NodePlan(
                    node_rank=slot,
                    node=node.name,
                    address=self._address(node, hello),
                    argv=job.spec.argv,
                    env=dict(job.spec.env),
                    cwd=_expanded(job.spec.cwd, hello["home"]) if job.spec.cwd else run_dir,
                    run_dir=run_dir,
                    gpus=gpus,
                )
            )
        return Plan(job=job, nodes=tuple(made))

    async def _answering(self) -> list[RemoteNode]:
        found = await _each(self._nodes, self._known)
        errors = [each for each in found if isinstance(each, PoolError)]
        if len(errors) == len(found):
            raise errors[0]
        pairs = zip(self._nodes, found, strict=True)
        return [node for node, each in pairs if not isinstance(each, PoolError)]

    async def prepare(self, plan: Plan, bundle: Bundle, report: Report) -> None:
        """Build the job's environment on its nodes; see :class:`~.base.Building`."""
        await self._interpreters(plan, bundle, report)

    async def _interpreters(
        self, plan: Plan, bundle: Bundle, report: Report | None = None
    ) -> list[str | None]:
        if plan.job.spec.environment is None:
            return [None] * len(plan.nodes)

        async def one(node: NodePlan) -> str:
            remote = self._node(node.node)
            hello = await self._known(remote)
            made = await build_for(
                plan.job.spec,
                bundle,
                node=Node(name=node.node, address=node.address),
                shell=remote.shell,
                python=self._rank_python(hello),
                envs=f"{self._folder(hello)}/envs",
                report=report,
            )
            assert made.python is not None  # noqa: S101 - a build that ends is whole
            return made.python

        return list(await asyncio.gather(*(one(node) for node in plan.nodes)))

    async def environments(self) -> Sequence[tuple[str, BuiltEnvironment]]:
        """Return what was built on the nodes; see :class:`~.base.Building`."""

        async def one(node: RemoteNode) -> list[tuple[str, BuiltEnvironment]]:
            hello = await self._known(node)
            envs = f"{self._folder(hello)}/envs"
            found = await survey(node.shell, python=self._rank_python(hello), envs=envs)
            return [(node.name, each) for each in found]

        found = await asyncio.gather(*(one(node) for node in await self._answering()))
        return [each for several in found for each in several]

    async def remove_environment(self, digest: str) -> Sequence[tuple[str, BuiltEnvironment]]:
        """Remove environments by the beginning of their digest; see :class:`~.base.Building`."""
        gone: list[tuple[str, BuiltEnvironment]] = []
        for node in await self._answering():
            hello = await self._known(node)
            envs, python = f"{self._folder(hello)}/envs", self._rank_python(hello)
            try:
                removed = await remove(node.shell, python=python, envs=envs, digest=digest)
            except NotFound:
                continue
            gone += [(node.name, each) for each in removed]
        if not gone:
            raise NotFound(f"no node has an environment {digest!r}", hint="%pool env lists them")
        return gone

    async def submit(
        self, plan: Plan, bundle: Bundle, *, secrets: Mapping[str, str] | None = None
    ) -> Handle:
        """Send the bundle to each node, start all, then tell the others of the head.

        See :class:`~.base.Pool`.
        """
        handle = self._handle(plan.job.id, [n.node for n in plan.nodes], plan.job.spec.procs)
        bundle = with_node_files(bundle)
        pythons = await self._interpreters(plan, bundle)
        try:
            await self._place(plan, bundle, pythons)
            given = dict(secrets or {})
            head, *_ = await _all(self._begin(node, given) for node in plan.nodes)
            await _all(self._meet(node, head) for node in plan.nodes[1:])
        except AiInfraError as error:  # a full disk as well
            await self._take_back(handle)
            if type(error) is PoolError:
                raise SubmitError(error.message, hint=error.hint) from error
            raise
        return handle

    async def _place(self, plan: Plan, bundle: Bundle, pythons: Sequence[str | None]) -> None:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(node: NodePlan, python: str | None) -> None:
            remote = self._node(node.node)
            hello = await self._known(remote)
            folder = self._folder(hello)
            text = orders(
                plan.job.id,
                plan.job.spec,
                node,
                head=plan.nodes[0].address,
                blobs=f"{folder}/blobs",
                nodes=plan.nodes,
                checkpoints=f"{folder}/checkpoints/{plan.job.id}",
            )
            if python is not None:
                text["python"] = python
            spec = bundle_file("spec.json", json.dumps(text, sort_keys=True) + "\n")
            async with limit:
                await send(
                    Bundle(files=(*bundle.files, spec)),
                    remote.upload,
                    blobs=f"{folder}/blobs",
                    run_dir=node.run_dir,
                )

        await _all(one(node, python) for node, python in zip(plan.nodes, pythons, strict=True))

    async def _begin(self, node: NodePlan, secrets: Mapping[str, str]) -> Mapping[str, Any]:
        """Start a node's supervisor; return what those of other nodes find it by, if it leads."""
        answer = await self._node(node.node).call(
            "start", run_dir=node.run_dir, secrets=dict(secrets), gang={}, timeout=_START_SECONDS
        )
        found: Mapping[str, Any] = answer["gang"]
        return found

    async def _meet(self, node: NodePlan, head: Mapping[str, Any]) -> None:
        await self._node(node.node).call(
            "meet",
            run_dir=node.run_dir,
            key=head["key"],
            head_port=head["port"],
            timeout=_START_SECONDS,
        )

    async def _take_back(self, handle: Handle) -> None:
        """Leave nothing of a submit that failed: half a start is no start."""

        async def one(slot: int, name: str) -> None:
            node = self._node(name)
            run_dir = await self._run_dir(handle, slot)
            deadline = time.monotonic() + _TAKE_BACK_SECONDS
            while time.monotonic() < deadline:
                status = (await node.call("status", run_dirs=[run_dir]))["runs"][run_dir]
                # Absent: there are no orders, and of its other files some at most.
                over = ("absent", "failed", "cancelled", "lost")
                if status.get("never") or status["state"] in over:
                    await self._remove_at(node, handle, slot)
                    return
                await node.call("kill", run_dir=run_dir, grace=0.0)
                await asyncio.sleep(0.1)

        jobs = [one(slot, name) for slot, name in enumerate(handle.data["nodes"])]
        # What cannot be taken back now is found by reconcile.
        await asyncio.gather(*jobs, return_exceptions=True)

    # --- a job as it goes ------------------------------------------------------------------------

    async def observe(self, handle: Handle) -> Observation:
        """Ask all nodes of the job at once; see :class:`~.base.Pool`."""
        words = await self._statuses(handle)
        seen = merged_observation(words, names=handle.data["nodes"], seen_at=time.time())
        if seen.state.final:
            await self._end_tails(handle)
        return seen

    async def _end_tails(self, handle: Handle) -> None:
        """From now on logs are read to their end: what was streamed so far may not be all."""
        job = handle.data["job"]
        if job not in self._over:
            self._over.add(job)
            await self._tails.forget(job)

    async def _statuses(self, handle: Handle) -> list[NodeWord]:
        async def one(slot: int, name: str) -> NodeWord:
            run_dir = await self._run_dir(handle, slot)
            answer = await self._node(name).call(
                "status", run_dirs=[run_dir], timeout=_OBSERVE_SECONDS, polled=True
            )
            status: Mapping[str, Any] = answer["runs"][run_dir]
            if "error" in status and "state" not in status:
                raise Unreachable(f"{name}: {run_dir} cannot be read: {status['error']}")
            return status

        async def told(slot: int, name: str) -> NodeWord:
            try:
                return await one(slot, name)
            except Unreachable as error:
                return error
            except PoolError as error:
                # A changed host key, say: no word of the job, whatever it is of the host.
                return Unreachable(error.message, hint=error.hint)

        names = handle.data["nodes"]
        return list(await asyncio.gather(*(told(slot, name) for slot, name in enumerate(names))))

    async def cancel(self, handle: Handle, *, grace: float) -> None:
        """Ask every node that answers; the nodes tell each other. See :class:`~.base.Pool`."""

        async def one(slot: int, name: str) -> None:
            run_dir = await self._run_dir(handle, slot)
            await self._node(name).call("kill", run_dir=run_dir, grace=float(grace))

        names = handle.data["nodes"]
        done = await asyncio.gather(
            *(one(slot, name) for slot, name in enumerate(names)), return_exceptions=True
        )
        errors = [each for each in done if isinstance(each, BaseException)]
        for error in errors:
            if not isinstance(error, (Unreachable, NotFound)):
                raise error
        silent = [error for error in errors if isinstance(error, Unreachable)]
        if silent and len(errors) == len(done):
            raise silent[0]

    async def adopt(self, handle: Handle) -> None:
        """Put new supervisors where the old ones were killed; see :class:`~.base.Adopting`."""
        words = await self._statuses(handle)
        for slot, (name, word) in enumerate(zip(handle.data["nodes"], words, strict=True)):
            if isinstance(word, Mapping) and not word.get("supervised", True):
                run_dir = await self._run_dir(handle, slot)
                await self._node(name).call("adopt", run_dir=run_dir)

    async def logs(
        self, handle: Handle, *, rank: int = 0, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[LogChunk]:
        """Yield a rank's log; below 0 are the launchers, -1 that of node 0, -2 of the next."""
        slot = LAUNCHER - rank if rank < 0 else rank // handle.data["procs"]
        if slot >= len(handle.data["nodes"]):
            return
        node = self._node(handle.data["nodes"][slot])
        run_dir = await self._run_dir(handle, slot)
        name = f"rank-{rank}.log" if rank >= 0 else "launcher.log"

        def opened(at: int, *, following: bool) -> Stream:
            where = {"run_dir": run_dir, "stream": name, "offset": at}
            return node.stream("tail", window=_LOG_WINDOW_BYTES, follow=following, **where)

        key = (handle.data["job"], rank)
        if not follow and handle.data["job"] not in self._over:
            for piece in self._tails.news(key, offset):
                yield LogChunk(rank=rank, offset=piece.offset, data=piece.data)
                offset = piece.offset + len(piece.data)
            if self._tails.holds(key, offset):
                return
        # What is there by now, in whole: nothing that was written before this call is left out.
        stream = opened(offset, following=follow)
        try:
            async for piece in stream:
                yield LogChunk(rank=rank, offset=piece.offset, data=piece.data)
                offset = piece.offset + len(piece.data)
        finally:
            await stream.aclose()
        if not follow and handle.data["job"] not in self._over:
            await self._tails.keep(key, opened(offset, following=True), offset)

    async def dump_stacks(self, handle: Handle) -> Sequence[RankStacks]:
        """Ask all ranks where they are; see :class:`~.base.StackDumping`."""
        program = Path(stall.__file__).name

        async def one(slot: int, name: str) -> Sequence[RankStacks]:
            node, run_dir = self._node(name), await self._run_dir(handle, slot)
            argv = [node.python, "-I", "-S", f"{run_dir}/aiinfra/{program}", "dump", run_dir]
            return stacks_from_answer(await node.shell.run(argv, timeout=DUMP_SECONDS))

        names = handle.data["nodes"]
        found = await asyncio.gather(*(one(slot, name) for slot, name in enumerate(names)))
        return tuple(each for several in found for each in several)

    # --- what a job leaves -----------------------------------------------------------------------

    async def results(self, handle: Handle) -> Path | None:
        """Bring the results here from the node of rank 0; see :class:`~.base.Pool`."""
        return await self._bring(handle, "results")

    async def artifacts(self, handle: Handle) -> Path | None:
        """Bring the artifacts here from the node of rank 0; see :class:`~.base.Collecting`."""
        return await self._bring(handle, "artifacts")

    async def _bring(self, handle: Handle, what: str) -> Path | None:
        words = await self._statuses(handle)
        for slot, word in enumerate(words):
            if not isinstance(word, Mapping) or not word.get(what):
                continue
            node = self._node(handle.data["nodes"][slot])
            folder = f"{await self._run_dir(handle, slot)}/{what}"
            into = self._settings.home / what / handle.data["job"]
            await asyncio.to_thread(into.mkdir, mode=0o700, parents=True, exist_ok=True)
            await pull(node.shell, python=node.python, folder=folder, into=into)
            return Path(into)
        silent = [word for word in words if isinstance(word, Unreachable)]
        if silent:
            raise silent[0]
        return None

    async def files(self, handle: Handle, *, limit: int) -> Sequence[RunFile]:
        """Return the files of all nodes; those of further nodes lie below their names."""
        found: list[RunFile] = []
        for slot, name in enumerate(handle.data["nodes"]):
            run_dir = await self._run_dir(handle, slot)
            answer = await self._node(name).call("files", run_dir=run_dir, limit=limit)
            above = f"nodes/{name}/" if slot else ""
            found += [
                RunFile(
                    path=above + each["path"],
                    size_bytes=each["size_bytes"],
                    modified_at=each["modified_at"],
                )
                for each in answer["files"]
            ]
        return sorted(found, key=lambda file: file.path.split("/"))[:limit]

    async def open_file(self, handle: Handle, path: str, *, offset: int = 0) -> FileReader:
        """Open a file of a node's run directory; see :class:`~.base.Browsing`."""
        slot, rest = parted(path, handle.data["nodes"])
        node = self._node(handle.data["nodes"][slot])
        run_dir = await self._run_dir(handle, slot)
        stream = node.stream("open_file", run_dir=run_dir, path=rest, offset=offset)
        return await RemoteFile.open(stream, path)

    async def reach(self, handle: Handle, path: str) -> Reach:
        """Return a tunnel to a socket of the first node; see :class:`~.abilities.Reaching`."""
        node = self._node(handle.data["nodes"][0])
        if not isinstance(node.shell, SshShell):
            raise PoolError(f"no tunnel leads to {node.name}")
        far = f"{await self._run_dir(handle, 0)}/{path}"
        if len(far.encode()) > _LONGEST_SOCKET:
            raise PoolError(
                f"{far} on {node.name} is too long a name for a socket",
                hint="attach the pool with a shorter --folder",
            )
        near = near_end(f"{node.name}:{far}")
        return Reach(address=f"unix:{near}", tunnel=tuple(node.shell.forward_argv(near, far)))

    async def jobs(self) -> Sequence[Handle]:
        """Return a handle for each job that any node holds orders of."""

        async def one(node: RemoteNode) -> Mapping[str, Any]:
            hello = await self._known(node)
            answer = await node.call("runs", folder=f"{self._folder(hello)}/runs")
            specs: Mapping[str, Any] = answer["specs"]
            return specs

        found: dict[str, Handle] = {}
        for specs in await asyncio.gather(*(one(node) for node in self._nodes)):
            for spec in specs.values():
                names = [node["name"] for node in spec["nodes"]]
                found[spec["job"]] = self._handle(spec["job"], names, spec["procs"])
        return tuple(found[job] for job in sorted(found))

    async def remove(self, handle: Handle) -> None:
        """Delete what an ended job left on its nodes."""
        state = (await self.observe(handle)).state
        if not state.final:
            raise SubmitError(f"job {handle.data['job']} is {state.value}", hint="cancel it first")
        for slot, name in enumerate(handle.data["nodes"]):
            deadline = time.monotonic() + _TAKE_BACK_SECONDS
            while True:
                try:
                    await self._remove_at(self._node(name), handle, slot)
                    break
                except SubmitError:
                    # Its node may be a moment behind the one that has told us of the end.
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.2)

    async def _remove_at(self, node: RemoteNode, handle: Handle, slot: int) -> None:
        folder = self._folder(await self._known(node))
        job = handle.data["job"]
        await node.call("remove", folder=f"{folder}/checkpoints", job=job)
        await node.call("remove", folder=f"{folder}/runs", job=_run_name(job, slot))

    async def aclose(self) -> None:
        """End the channels; the shared connections stay for others. Idempotent."""
        await self._tails.aclose()
        await asyncio.gather(*(node.aclose() for node in self._nodes))

    # --- names -----------------------------------------------------------------------------------

    def _handle(self, job_id: str, names: Sequence[str], procs: int) -> Handle:
        return Handle(kind=self.kind, data={"job": job_id, "nodes": list(names), "procs": procs})

    async def _run_dir(self, handle: Handle, slot: int) -> str:
        node = self._node(handle.data["nodes"][slot])
        folder = self._folder(await self._known(node))
        return f"{folder}/runs/{_run_name(handle.data['job'], slot)}"


def _run_name(job_id: str, slot: int) -> str:
    # Nodes with one home folder between them must not write over each other's files.
    return f"{job_id}@{slot}" if slot else job_id


def _hosts(options: SshOptions) -> tuple[HostSpec, ...]:
    if options.hosts and options.hosts_from:
        raise UsageError(
            "--hosts and --hosts-from contradict each other",
            hint="give one of them",
            option="hosts_from",
        )
    if options.hosts:
        return _read("hosts", parse_hosts, options.hosts)
    if options.hosts_from:
        return _read("hosts_from", hosts_from, options.hosts_from)
    raise UsageError(
        "which hosts?",
        hint="--hosts gpu1,gpu2,me@gpu3:2222, or --hosts-from '~/.ssh/config:gpu*'",
        option="hosts",
    )


def _read(
    option: str, read: Callable[[str], tuple[HostSpec, ...]], text: str
) -> tuple[HostSpec, ...]:
    try:
        return read(text)
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint, option=option) from error


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _expanded(path: str, home: str) -> str:
    """Return a path of a node: ``~`` and what is relative mean its home folder there."""
    if path == "~" or path.startswith("~/"):
        return home + path[1:]
    return path if path.startswith("/") else f"{home}/{path}"


async def _all(work: Iterable[Awaitable[T]]) -> list[T]:
    """Wait for all, and raise the first error only then: what goes on could not be taken back."""
    done: list[T] = []
    for each in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(each, BaseException):
            raise each
        done.append(each)
    return done


async def _each(
    nodes: Sequence[RemoteNode], ask: Callable[[RemoteNode], Awaitable[T]]
) -> list[T | PoolError]:
    """Ask all nodes at once; what a node refuses stands in its place."""

    async def one(node: RemoteNode) -> T | PoolError:
        try:
            return await ask(node)
        except PoolError as error:
            return error

    return list(await asyncio.gather(*(one(node) for node in nodes)))
