"""papermill's engine ``aiinfra``: ``papermill --engine aiinfra in.ipynb out.ipynb`` on a pool.

papermill loads this with itself, so nothing of ours is imported before a notebook is run. What
papermill does before and after (parameters, metadata, error markers, saving) it does here too; the
cells are run as a job, and what they show is taken over as it comes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papermill.engines import Engine
from papermill.log import logger

if TYPE_CHECKING:
    from jupyter_aiinfra.commands.session import Session
    from jupyter_aiinfra.model import Job

__all__ = ["AiInfraEngine"]

_POOL = "JUPYTER_AIINFRA_POOL"
_POLL_SECONDS = 0.05
_OBSERVE_SECONDS = 0.5


class AiInfraEngine(Engine):  # type: ignore[misc] # papermill has no types
    """Runs a notebook as a job on a pool.

    Which pool is told by the keyword ``pool`` of ``papermill.execute_notebook``, else by
    ``JUPYTER_AIINFRA_POOL``; else it is the only one that is attached.
    """

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str | None,
        *,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: float = 60,
        execution_timeout: float | None = None,
        pool: str | None = None,
        session: Session | None = None,
        **options: Any,
    ) -> None:
        """Run the cells of `nb_man`'s notebook; see papermill.

        Parameters
        ----------
        options
            Further fields of :class:`.NotebookOptions`, such as ``gpus``; what papermill's own
            engine knows and ours does not is left out.
        """
        from jupyter_aiinfra.commands.session import Session  # noqa: PLC0415 - papermill waits

        own = session is None
        session = session or Session()
        taker = _Taker(nb_man, log_output=log_output, stdout=stdout_file, stderr=stderr_file)
        try:
            name = _pool(session, pool or os.environ.get(_POOL))
            asked = {
                "kernel": kernel_name,
                "start_seconds": float(start_timeout),
                "cell_seconds": float(execution_timeout) if execution_timeout else None,
            }
            job = _launch(session, name, nb_man.nb, {**options, **asked})
            logger.info("Job %s on pool %s", job.id, name)
            try:
                job = _follow(session, job, taker)
            except BaseException:
                session.run(session.engine.cancel(job.id))
                raise
            taker.finish(session, job)
        finally:
            if own:
                session.close()


def _pool(session: Session, name: str | None) -> str:
    from jupyter_aiinfra.errors import UsageError  # noqa: PLC0415

    names = [record.name for record in session.engine.store.list_pools()]
    if name is not None:
        return name
    if len(names) == 1:
        return names[0]
    raise UsageError(
        "which pool?" if names else "no pool is attached yet",
        hint=f"attached are {', '.join(names)}: set {_POOL}"
        if names
        else "attach this machine first: jupyter aiinfra pool attach here",
    )


def _launch(session: Session, pool: str, nb: Any, asked: Mapping[str, Any]) -> Job:
    from dataclasses import fields  # noqa: PLC0415

    from jupyter_aiinfra import preflight  # noqa: PLC0415
    from jupyter_aiinfra.promote.notebookjob import (  # noqa: PLC0415
        NotebookOptions,
        compose_notebook,
        preflight_notebook,
        secret_names,
    )
    from jupyter_aiinfra.promote.snapshot import freeze  # noqa: PLC0415
    from jupyter_aiinfra.training import check_secrets  # noqa: PLC0415

    known = {each.name for each in fields(NotebookOptions)}
    options = NotebookOptions(**{k: v for k, v in asked.items() if k in known})
    nodes = session.run(session.engine.nodes(pool))
    nodes = sorted(nodes, key=lambda node: node.problem is not None)
    here = nodes[0].address in preflight.LOOPBACK
    if here and options.cwd is None:
        # papermill runs notebooks in the folder that it is called in.
        options = NotebookOptions(**{**vars(options), "cwd": str(Path.cwd()), "modules": False})
    told = nb.metadata.get("papermill", {}).get("input_path")
    source = Path(str(told or "notebook.ipynb")).name or "notebook.ipynb"
    snapshot, frozen = freeze(
        Path.cwd() / source,
        data=json.dumps(nb).encode(),
        files=options.files,
        kernel=options.kernel,
        environment=options.environment,
        modules=options.modules,
    )
    preflight.verdict(preflight_notebook(snapshot, {}, nodes[:1]))
    spec, bundle = compose_notebook(
        snapshot, frozen, {}, options, node=nodes[0], settings=session.settings
    )
    secrets = check_secrets(secret_names(options, {}), os.environ)
    return session.run(session.engine.launch(pool, spec, bundle, secrets=secrets))


def _follow(session: Session, job: Job, taker: _Taker) -> Job:
    """Hand events on until the job is over and all of them are had."""
    from jupyter_aiinfra.pools.base import Browsing  # noqa: PLC0415
    from jupyter_aiinfra.promote.following import EventReader  # noqa: PLC0415

    reader = None
    observed = 0.0
    while True:
        if time.monotonic() - observed >= _OBSERVE_SECONDS or (reader and reader.ended):
            observed = time.monotonic()
            job = session.run(session.engine.refresh(job.id))
        if reader is None and job.handle is not None:
            pool = session.engine.pool(job.pool)
            assert isinstance(pool, Browsing)  # noqa: S101 - all pools that have run directories
            reader = EventReader(pool, job.handle)
        events = session.run(reader.poll()) if reader is not None else ()
        for event in events:
            taker.take(event)
        if job.state.final and not events:
            return job
        if not events:
            time.sleep(_POLL_SECONDS)


class _Taker:
    """Makes of events what papermill's own client would have done."""

    def __init__(self, nb_man: Any, *, log_output: bool, stdout: Any, stderr: Any) -> None:
        from jupyter_aiinfra.promote.following import Picture  # noqa: PLC0415

        self.nb_man = nb_man
        self.picture = Picture(nb_man.nb, make=_as_node)
        self.log_output = log_output
        self.files = {"stdout": stdout, "stderr": stderr}
        self.begun = 0
        self.end: Mapping[str, Any] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event."""
        kind, at = event["event"], event.get("cell")
        if kind == "cell" and event["state"] == "running":
            assert at is not None  # noqa: S101 - events of cells say which
            self._pass_over(at)
            self.nb_man.cell_start(self.nb_man.nb.cells[at], at)
            self.begun = at + 1
        self.picture.apply(event)
        if kind == "cell" and event["state"] != "running":
            cell = self.nb_man.nb.cells[at]
            if event["state"] == "failed" or event.get("exited"):
                self.nb_man.cell_exception(cell, cell_index=at)
            self.nb_man.cell_complete(cell, cell_index=at)
        elif kind in ("stream", "output"):
            self.nb_man.autosave_cell()
            self._tell(event)
        elif kind == "end":
            self.end = event

    def _pass_over(self, until: int) -> None:
        """Tell papermill of cells that are not run, as its own client does."""
        for at in range(self.begun, until):
            cell = self.nb_man.nb.cells[at]
            self.nb_man.cell_start(cell, at)
            self.nb_man.cell_complete(cell, cell_index=at)
        self.begun = max(self.begun, until)

    def _tell(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "stream":
            name, text = event["name"], event["text"]
            if self.log_output:
                (logger.info if name == "stdout" else logger.warning)(text)
            file = self.files.get(name)
            if file is not None:
                file.write(text)
                file.flush()
        elif self.log_output and "text/plain" in event["output"].get("data", {}):
            logger.info("".join(event["output"]["data"]["text/plain"]))

    def finish(self, session: Session, job: Job) -> None:
        """Take over what is known in the end, and raise what papermill's own engine would."""
        error = self.end.get("error") or {}
        exited = bool(self.end.get("exited"))
        if self.end.get("state") == "succeeded" and not exited:
            self._pass_over(len(self.nb_man.nb.cells))
        self._take_metadata(session, job)
        if job.state.value == "succeeded" or "raised" in error:
            return  # a cell that raised is for papermill to find
        reason = (job.seen.reason if job.seen else None) or f"job {job.id} is {job.state.value}"
        if error.get("type") == "DeadKernelError":
            from nbclient.exceptions import DeadKernelError  # noqa: PLC0415

            raise DeadKernelError(reason)
        if error.get("type") == "TimeoutError":
            from nbclient.exceptions import CellTimeoutError  # noqa: PLC0415

            raise CellTimeoutError(reason)
        from papermill.exceptions import PapermillException  # noqa: PLC0415

        raise PapermillException(reason)

    def _take_metadata(self, session: Session, job: Job) -> None:
        from jupyter_aiinfra.engine.running import Running  # noqa: PLC0415

        engine = session.engine
        running = Running(engine.store, session.settings, launch=engine.launch, pool=engine.pool)
        left = session.run(running.left(job))
        metadata = (left.notebook or {}).get("metadata", {})
        for key in ("language_info", "widgets"):
            if key in metadata:
                self.nb_man.nb.metadata[key] = _as_node(metadata[key])


def _as_node(value: Any) -> Any:
    import nbformat  # noqa: PLC0415 - papermill has it by now

    make: Any = nbformat.from_dict
    return make(value)
