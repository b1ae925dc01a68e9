"""What pools share that build a job's environment on their nodes."""

from __future__ import annotations

from collections.abc import Mapping

from jupyter_aiinfra import preflight
from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.environments import FOLDER, BuiltEnvironment, Report, build
from jupyter_aiinfra.errors import PoolError, SubmitError
from jupyter_aiinfra.model import Interpreter, JobSpec, Node
from jupyter_aiinfra.shell import Shell

__all__ = ["build_for", "environment_files"]


def environment_files(bundle: Bundle) -> Mapping[str, bytes]:
    """Return the files of a job's environment, by their path in the run directory."""
    return {
        file.path: b"".join(bytes(piece) for piece in file.read())
        for file in bundle.files
        if file.path is not None and file.path.startswith(f"{FOLDER}/")
    }


async def build_for(
    spec: JobSpec,
    bundle: Bundle,
    *,
    node: Node,
    shell: Shell,
    python: str,
    envs: str,
    report: Report | None = None,
) -> BuiltEnvironment:
    """Build the environment of a job on `node`, where `shell` leads; one that is there is found.

    Raises
    ------
    SubmitError
        It cannot be built, or lacks what the job needs; nothing of the job was started.
    StorageFull
        No room there; nothing half-done is left.
    Unreachable
        The shell did not get through.
    """
    assert spec.environment is not None  # noqa: S101 - the caller looked
    made: BuiltEnvironment | None = None
    files = environment_files(bundle)
    try:
        async for step in build(
            shell, python=python, envs=envs, spec=spec.environment, files=files
        ):
            if report is not None:
                report(node.name, step)
            made = step.built or made
    except PoolError as error:
        if type(error) is not PoolError:
            raise
        said = f"the environment of {spec.environment.source} cannot be built on {node.name}"
        raise SubmitError(f"{said}: {error.message}", hint=error.hint) from error
    assert made is not None  # noqa: S101 - a build without an end raises
    assert made.python is not None  # noqa: S101 - and one that ends is whole
    _refuse_lacking(spec, node, made.python, made)
    return made


def _refuse_lacking(spec: JobSpec, node: Node, python: str, made: BuiltEnvironment) -> None:
    # Only now is known what came along with the packages that its files name.
    found = Interpreter(executable=python, version=made.version or "0.0", packages=made.packages)
    findings = preflight.built(spec, node, found)
    if findings:
        message = "; ".join(finding.message for finding in findings)
        raise SubmitError(message, hint=findings[0].hint)
