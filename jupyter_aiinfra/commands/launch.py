"""From a launch line and code to a job under way: plan it, check it, start it."""

from __future__ import annotations

import collections
import dataclasses
import getpass
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_aiinfra import preflight
from jupyter_aiinfra.accelerate import value_in
from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.commands.costshow import estimate_value
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.show import bytes_text
from jupyter_aiinfra.commands.tags import job_tags
from jupyter_aiinfra.cost.estimate import Estimate, hourly
from jupyter_aiinfra.environments import BuildStep, Locked, locked_packages
from jupyter_aiinfra.errors import BudgetSpent, JobFailed, NotFound, Unreachable, UsageError
from jupyter_aiinfra.governance import BUDGET_CHECK
from jupyter_aiinfra.model import (
    CaptureKind,
    Finding,
    Job,
    JobSpec,
    Manifest,
    Node,
    Plan,
    Severity,
    to_wire,
)
from jupyter_aiinfra.node import describe
from jupyter_aiinfra.pools.building import environment_files
from jupyter_aiinfra.tracking import (
    Tracking,
    git_state,
    run_params,
    run_tags,
    safe_environ,
    tracking_spec,
)
from jupyter_aiinfra.training import (
    Code,
    LaunchLine,
    check_secrets,
    choose_procs,
    compose,
    job_name,
    missing_bytes,
    refuse_secret_values,
    this_interpreter,
)

__all__ = [
    "MANIFEST_COLUMNS",
    "BuildNews",
    "Prepared",
    "dry_run_text",
    "dry_run_value",
    "launch",
    "manifest_rows",
    "prepare",
]

_BUILD_NEWS_SECONDS = 5.0
MANIFEST_COLUMNS = ("name", "type", "size", "how it travels")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job ready to be launched, with what was found in checking it. Nothing has happened yet."""

    pool: str
    spec: JobSpec
    bundle: Bundle
    plan: Plan
    findings: tuple[Finding, ...]
    estimate: Estimate
    secrets: Mapping[str, str] = field(repr=False)


def prepare(
    session: Session, line: LaunchLine, code: Code, *, environ: Mapping[str, str] | None = None
) -> Prepared:
    """Plan and check a launch. Changes nothing. Secrets are looked up in `environ`.

    Raises
    ------
    AiInfraError
        A pool that is not there, options that cannot be, secrets that are not set. What preflight
        finds is returned, not raised.
    """
    name = line.pool or _only_pool(session)
    tags = job_tags(session.settings, code.notebook, line.tags)
    line = dataclasses.replace(line, pool=name, tags=tags)
    refuse_secret_values(line.env, safe_environ(line.env))
    secrets = check_secrets(line.secrets, os.environ if environ is None else environ)
    every = session.run(session.engine.nodes(name))
    # Those first that answer: what is planned is planned for nodes like them.
    nodes = sorted(every, key=lambda node: node.problem is not None)
    elsewhere = nodes[0].address not in preflight.LOOPBACK
    if not elsewhere:
        line = dataclasses.replace(line, cwd=_folder(line.cwd))
    git = git_state(Path(code.notebook).parent if code.notebook else Path.cwd())
    tracking = _tracking(session, line, code, nodes[0], git)
    if tracking is not None:
        secrets.update(tracking.secrets)
        names = dict.fromkeys((*line.secrets, *tracking.secrets))
        line = dataclasses.replace(line, secrets=tuple(names))
    spec, bundle = compose(
        line,
        code,
        node=nodes[0],
        settings=session.settings,
        tracking=tracking.spec if tracking else None,
        git=git,
        elsewhere=elsewhere,
    )
    plan = session.run(session.engine.plan(name, spec))
    findings = _findings(session, spec, bundle, code, nodes, cpu=line.cpu, elsewhere=elsewhere)
    charged = dataclasses.replace(
        spec, origin=dataclasses.replace(spec.origin, user=getpass.getuser())
    )
    findings += session.engine.governor.findings(charged, pool=name)
    estimate = session.engine.costing.estimate(name, spec, nodes)
    return Prepared(
        pool=name,
        spec=spec,
        bundle=bundle,
        plan=plan,
        findings=findings,
        estimate=estimate,
        secrets=secrets,
    )


def launch(
    session: Session,
    prepared: Prepared,
    *,
    tell: Callable[[str], None] = lambda _text: None,
    ask: Callable[[str], bool | None] = lambda _question: None,
) -> Job:
    """Start what was prepared.

    Parameters
    ----------
    tell
        Is given lines: what budgets have to say, and how far its environment is.
    ask
        Asks a person whether it may begin although a budget that asks is spent.

    Raises
    ------
    PreflightError
        It cannot work; every reason with its fix. Nothing was started.
    BudgetSpent
        A budget does not let it begin. Nothing was started.
    SubmitError, StorageFull
        The pool did not take it. Nothing is left running.
    JobFailed
        An interrupt came before the pool had answered. The job is told to end.
    """
    # Those of budgets are told here, and decided by the engine, which writes that down.
    preflight.verdict([each for each in prepared.findings if each.check != BUDGET_CHECK])
    for each in prepared.findings:
        if each.check == BUDGET_CHECK and each.severity is Severity.WARNING:
            tell(f"budget: {each.message}" + (f" ({each.hint})" if each.hint else ""))
    try:
        return _launched(session, prepared, tell)
    except BudgetSpent as error:
        if not error.asks or not ask(f"{error.message}. Let this one begin all the same?"):
            raise
    return _launched(session, prepared, tell, over_budget=True)


def _launched(
    session: Session,
    prepared: Prepared,
    tell: Callable[[str], None],
    *,
    over_budget: bool = False,
) -> Job:
    engine, job_id = session.engine, prepared.plan.job.id
    launching = engine.launch(
        prepared.pool,
        prepared.spec,
        prepared.bundle,
        secrets=prepared.secrets,
        job_id=job_id,
        report=(news := BuildNews(tell)).hear,
        over_budget=over_budget,
    )
    try:
        if prepared.spec.environment is None:
            return session.run(launching)
        return session.run(launching, meanwhile=news.tell)
    except KeyboardInterrupt:
        raise _taken_back(session, job_id) from None


class BuildNews:
    """What a person is told of builds: each new phase, and now and then that it goes on.

    It is heard of in the engine's thread and told in that of who waits.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._heard: collections.deque[tuple[str, BuildStep]] = collections.deque()
        self._told: dict[str, BuildStep] = {}

    def hear(self, node: str, step: BuildStep) -> None:
        """Take in how far the build on a node is."""
        self._heard.append((node, step))

    def tell(self) -> None:
        """Tell what is new."""
        while self._heard:
            node, step = self._heard.popleft()
            told = self._told.get(node)
            if step.built is not None and step.built.reused:
                continue  # that nothing had to be done is no news
            since = None if told is None or told.phase != step.phase else told.elapsed_seconds
            if since is not None and step.elapsed_seconds - since < _BUILD_NEWS_SECONDS:
                continue
            self._told[node] = step
            self._tell(f"{node}: {step.text}")


def _taken_back(session: Session, job_id: str) -> JobFailed:
    """Make sure that a job whose launch was interrupted ends; return what to say of it."""
    try:
        session.run(session.engine.cancel(job_id, grace=0.0))
    except NotFound:
        return JobFailed(
            "interrupted before the job was on record", job_id=job_id, hint="nothing was started"
        )
    except Unreachable as error:
        return JobFailed(
            f"interrupted while job {job_id} was being started; {error.message}",
            job_id=job_id,
            hint=f"it is told to end when its pool answers: %jobs show {job_id}",
        )
    return JobFailed(
        f"interrupted while job {job_id} was being started; it is told to end",
        job_id=job_id,
        hint=f"%jobs show {job_id} tells how it ended",
    )


def _only_pool(session: Session) -> str:
    names = [record.name for record in session.engine.store.list_pools()]
    if len(names) == 1:
        return names[0]
    if names:
        raise UsageError(
            "which pool?", hint=f"attached are {', '.join(names)}: %%accelerate {names[0]} …"
        )
    raise UsageError(
        "no pool is attached yet", hint="attach this machine first: %pool attach here --kind local"
    )


def _folder(cwd: str | None) -> str:
    folder = Path(cwd or Path.cwd()).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(f"--cwd {cwd}: there is no such folder")
    return str(folder)


def _tracking(
    session: Session, line: LaunchLine, code: Code, node: Node, git: Mapping[str, str]
) -> Tracking | None:
    """Return the MLflow run to keep, with the secrets it needs."""
    if line.no_mlflow:
        return None
    params = run_params(
        pool=line.pool,
        nodes=line.nodes,
        procs=choose_procs(line, node),
        mixed_precision=value_in(line.passed, "mixed_precision") or "no",
        python=node.python,
    )
    tags = run_tags(
        source=code.notebook or code.entry,
        is_notebook=code.is_cell,
        user=getpass.getuser(),
        git=git,
    )
    found = tracking_spec(
        asked=line.mlflow,
        settings=session.settings,
        job_name=line.name or job_name(code),
        cwd=Path(line.cwd or "."),
        params=params,
        tags=tags,
    )
    return None if found is None else _with_price(session, line, node, found)


def _with_price(session: Session, line: LaunchLine, node: Node, tracking: Tracking) -> Tracking:
    """Have the MLflow run say what the job costs, where that is known."""
    price = session.engine.ledger.price(line.pool or "")
    gpus = 0 if line.cpu or not node.gpus else choose_procs(line, node)
    rate, _ = hourly(
        None if price is None else price.rate,
        nodes=line.nodes,
        gpus=gpus,
        node_gpus=len(node.gpus),
    )
    if rate is None or price is None:
        return tracking
    spec = dataclasses.replace(
        tracking.spec,
        hourly=rate.wire,
        currency=rate.currency,
        tags={**tracking.spec.tags, "aiinfra.price": price.terms.text()},
    )
    return dataclasses.replace(tracking, spec=spec)


def _findings(
    session: Session,
    spec: JobSpec,
    bundle: Bundle,
    code: Code,
    nodes: Sequence[Node],
    *,
    cpu: bool,
    elsewhere: bool,
) -> tuple[Finding, ...]:
    packages = ("torch", "accelerate", "numpy")
    locked = Locked(packages={}, complete=False)
    if spec.environment is not None:
        locked = locked_packages(spec.environment, environment_files(bundle))
    return preflight.check(
        spec,
        nodes,
        cpu=cpu,
        kernel=this_interpreter(packages),
        variables=code.variables,
        imports=_imports(code),
        locked=locked.packages,
        locked_complete=locked.complete,
        taken_ports=() if elsewhere else _taken(spec.port),
        # What another machine has already is known to it alone: all of it may be to be sent.
        missing_bytes=None
        if elsewhere
        else missing_bytes(spec.files, blobs=session.settings.blobs),
    )


def _imports(code: Code) -> Mapping[str, Sequence[str]]:
    """Return the top-level modules that travel as imports, each with what it may have come from."""
    lines = [item.how for item in code.manifest.items if item.kind is CaptureKind.IMPORT]
    words = [line.split() for line in lines if line.startswith(("import ", "from "))]
    return describe.providers({word[1].partition(".")[0] for word in words})


def _taken(port: int | None) -> tuple[int, ...]:
    """Return `port` if something listens there on this machine."""
    if port is None:
        return ()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return (port,)
    return ()


def manifest_rows(manifest: Manifest) -> list[tuple[str, ...]]:
    """Return one row a name for :data:`MANIFEST_COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for item in manifest.items:
        how = item.how
        if item.kind in (CaptureKind.REFUSED, CaptureKind.MISSING):
            how = f"{item.kind.value}: {item.reason}"
        size = bytes_text(item.size_bytes) if item.size_bytes is not None else ""
        rows.append((item.name, item.type, size, how))
    return rows


def dry_run_text(prepared: Prepared) -> str:
    """Return plan and findings as text, without the manifest."""
    total = bytes_text(prepared.bundle.size_bytes)
    lines = [f"bundle: {len(prepared.bundle.files)} files, {total}"]
    lines += prepared.plan.text.splitlines()
    if prepared.spec.tracking is not None:
        lines.append(f"mlflow  {prepared.spec.tracking.uri}")
    lines.append(f"cost    {prepared.estimate.text}")
    lines += [f"tag     {name}={value}" for name, value in sorted(prepared.spec.tags.items())]
    if (own := prepared.spec.environment) is not None:
        lines.append(f"env     {own.source} ({own.kind}, {own.digest[:12]})")
    notes = [finding for finding in prepared.findings if finding.severity is not Severity.OK]
    lines += ["", preflight.render(notes) if notes else "preflight: nothing is in the way"]
    lines.append("dry run: nothing was started")
    return "\n".join(lines)


def dry_run_value(prepared: Prepared) -> dict[str, Any]:
    """Return what a dry run tells, as plain JSON types."""
    return {
        "manifest": to_wire(prepared.spec.manifest),
        "plan": to_wire(prepared.plan.nodes),
        "findings": to_wire(prepared.findings),
        "bundle_bytes": prepared.bundle.size_bytes,
        "cost": estimate_value(prepared.estimate),
        "tags": dict(prepared.spec.tags),
    }
