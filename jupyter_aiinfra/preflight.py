"""What stands against a launch, said before anything is started: pure checks of facts given.

Each finding names the culprit and its fix. ``ERROR`` is kept for what is certain to fail: a launch
that might work gets a warning. Where a fact is unknown there is no finding, except for a node of
whose Python nothing is known.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jupyter_aiinfra.errors import PreflightError
from jupyter_aiinfra.model import CaptureKind, Finding, Interpreter, JobSpec, Node, Severity
from jupyter_aiinfra.node import parcel

__all__ = ["LOOPBACK", "built", "check", "render", "verdict"]

_NODE_SIDE = (3, 8)
_ACCELERATE = (1, 0)
_MIB = 1 << 20
_GIB = 1 << 30
_NAMED_NODES = 3
_LARGE_BYTES = 100 * _MIB
_TOO_LARGE_BYTES = 2 * _GIB
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Addresses of nodes that are this machine."""

# Module and distribution differ in name. Where a variant of the one that the notebook has would do
# as well, it is listed too.
_VARIANTS = {
    "PIL": ("pillow", "pillow-simd"),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "yaml": ("pyyaml",),
}


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """A finding before equal ones of several nodes are put on one line."""

    check: str
    severity: Severity
    text: str
    hint: str
    node: str | None = None


def check(
    spec: JobSpec,
    nodes: Sequence[Node],
    *,
    cpu: bool = False,
    kernel: Interpreter | None = None,
    variables: Mapping[str, Any] | None = None,
    imports: Mapping[str, Sequence[str]] | None = None,
    locked: Mapping[str, str | None] | None = None,
    locked_complete: bool = False,
    taken_ports: Collection[int] = (),
    free_memory_bytes: Mapping[str, int] | None = None,
    missing_bytes: int | None = None,
    disk_margin_bytes: int = 256 * _MIB,
) -> tuple[Finding, ...]:
    """Hold a job against the nodes it would run on; return what is wrong, errors first.

    Parameters
    ----------
    nodes
        The nodes of the pool, those the job would get first. ``packages`` of a node's Python are
        taken to be all that it has.
    cpu
        Whether CPUs were asked for; what the job's environment tells its ranks counts as well.
    kernel
        The interpreter that the job comes from.
    variables
        The manifest of the bundle: versions, and the entries under ``variables``.
    imports
        The top-level modules that the code imports, each with the distributions that may have
        brought it (none where that is unknown, as for the user's own modules).
    locked
        Where the job has an environment of its own: the packages that its files name, with their
        versions where they are fixed. What is installed in a node's Python does not count then.
    locked_complete
        Whether there will be no others in it.
    taken_ports
        Ports known to be in use on the head node.
    free_memory_bytes
        Free memory by node name, where it is known; else a node's whole memory is reckoned with.
    missing_bytes
        What is still to be sent to a node; ``None`` is everything in ``spec.files``.
    disk_margin_bytes
        What should be left on the disk for logs, checkpoints and results.
    """
    if missing_bytes is None:
        missing_bytes = sum(file.size_bytes for file in spec.files)
    cpu = cpu or spec.env.get("ACCELERATE_USE_CPU", "").lower() in {"1", "true", "yes"}
    problems = [*_nodes(spec, nodes), *_port(spec, nodes, taken_ports), *_sources(spec)]
    for node in nodes[: spec.nodes]:
        problems += _ranks(spec, node, cpu=cpu)
        problems += _disk(node, missing_bytes, disk_margin_bytes)
        problems += _memory(spec, node, (free_memory_bytes or {}).get(node.name, node.memory_bytes))
        python = node.python
        if python is None:
            text = "nothing is known of its Python"
            problems.append(_warning("python", node, text, "%pool show tells what it answered"))
            continue
        problems += _python(node, python)
        problems += _software(
            spec,
            node,
            python,
            kernel,
            variables=variables or {},
            imports=imports or {},
            locked=None if spec.environment is None else locked or {},
            complete=spec.environment is None or locked_complete,
        )
    return _merged(problems)


def built(spec: JobSpec, node: Node, python: Interpreter) -> tuple[Finding, ...]:
    """Hold a job against its own environment once that is made, whose Python is `python`."""
    made = dataclasses.replace(python, executable=_source(spec, python))
    return _merged(_required(spec, node, made))


def verdict(findings: Sequence[Finding]) -> None:
    """Raise if any finding is an error.

    Raises
    ------
    PreflightError
        Its message has one line for each error, with the fix; ``findings`` holds all of them.
    """
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if len(errors) == 1:
        raise PreflightError(errors[0].message, findings, hint=errors[0].hint)
    if errors:
        message = f"{len(errors)} things stop the launch\n{render(errors)}"
        raise PreflightError(message, findings, hint="nothing was started")


def render(findings: Sequence[Finding]) -> str:
    """Return the findings as aligned lines: severity, what was checked, what is wrong, the fix."""
    rows = [(finding.severity.value, finding.check) for finding in findings]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines = []
    for (severity, name), finding in zip(rows, findings, strict=True):
        line = f"{severity:<{widths[0]}}  {name:<{widths[1]}}  {finding.message}"
        lines.append(f"{line} -> {finding.hint}" if finding.hint else line)
    return "\n".join(lines)


# --- room ------------------------------------------------------------------------------------


def _nodes(spec: JobSpec, nodes: Sequence[Node]) -> Iterator[_Problem]:
    if len(nodes) < spec.nodes:
        have = f"{len(nodes)}: {_listed([node.name for node in nodes])}" if nodes else "none"
        hint = f"--nodes {len(nodes)}" if nodes else "%pool show tells why"
        text = f"{_count(spec.nodes, 'node')} asked for, and the pool has {have}"
        yield _Problem(check="nodes", severity=Severity.ERROR, text=text, hint=hint)


def _port(spec: JobSpec, nodes: Sequence[Node], taken: Collection[int]) -> Iterator[_Problem]:
    if spec.port is not None and spec.port in taken:
        head = f" on {nodes[0].name}" if nodes else ""
        hint = "give --port another number, or leave it out: a free port is found then"
        text = f"port {spec.port} is taken{head}"
        yield _Problem(check="port", severity=Severity.ERROR, text=text, hint=hint)


def _ranks(spec: JobSpec, node: Node, *, cpu: bool) -> Iterator[_Problem]:
    asked = _count(spec.procs, "process", "processes")
    if _launches(spec) and not cpu:
        if not node.gpus:
            yield _error("gpus", node, "it has no GPU, and the job is to compute on GPUs", "--cpu")
        elif spec.procs > len(node.gpus):
            text = f"{asked} asked for, and it has {_count(len(node.gpus), 'GPU')}"
            hint = f"--procs {len(node.gpus)}, or --cpu to compute without GPUs"
            yield _error("gpus", node, text, hint)
    elif node.max_procs is not None and spec.procs > node.max_procs:
        text = f"{asked} asked for, and at most {node.max_procs} are allowed"
        hint = f"--procs {node.max_procs}, or attach the pool with --max-procs {spec.procs}"
        yield _error("procs", node, text, hint)


def _disk(node: Node, need: int, margin: int) -> Iterator[_Problem]:
    free = node.disk_free_bytes
    if free is None or free >= need + margin:
        return
    hint = "make room there: files of jobs that are over are a start"
    if free < need or free == 0:
        state = f"{_size(free)} free" if free else "full"
        yield _error("disk", node, f"the disk is {state}, and {_size(need)} are to be sent", hint)
    else:
        text = f"the disk will have {_size(free - need)} left for logs and results"
        yield _warning("disk", node, text, hint)


def _memory(spec: JobSpec, node: Node, free: int | None) -> Iterator[_Problem]:
    need = spec.manifest.size_bytes * spec.procs
    if free is not None and need > free:
        each = _size(spec.manifest.size_bytes)
        asked = _count(spec.procs, "process", "processes")
        text = f"{asked} with {each} of data each, and {_size(free)} of memory are free"
        hint = "send less, or fewer --procs"
        yield _warning("memory", node, text, hint)


def _sources(spec: JobSpec) -> Iterator[_Problem]:
    """Look at the size of the modules that travel: they are copied to each node and each job."""
    files = [file for file in spec.files if file.path and file.path.startswith("src/")]
    total = sum(file.size_bytes for file in files)
    if total <= _LARGE_BYTES:
        return
    largest = sorted(files, key=lambda file: -file.size_bytes)[:_NAMED_NODES]
    named = ", ".join(f"{str(f.path)[4:]} ({_size(f.size_bytes)})" for f in largest)
    text = f"{_size(total)} of local modules and their data travel; the largest are {named}"
    hint = "list what is not needed in .aiinfraignore, one pattern a line as in a .gitignore"
    severity = Severity.ERROR if total > _TOO_LARGE_BYTES else Severity.WARNING
    yield _Problem(check="size", severity=severity, text=text, hint=hint)


# --- Python and its packages -----------------------------------------------------------------


def _python(node: Node, python: Interpreter) -> Iterator[_Problem]:
    if python.minor < _NODE_SIDE:
        text = f"{python.executable} is Python {python.version}, and jobs need 3.8 or newer"
        yield _error("python", node, text, "attach the pool with --python PATH of a newer one")


def _software(
    spec: JobSpec,
    node: Node,
    python: Interpreter,
    kernel: Interpreter | None,
    *,
    variables: Mapping[str, Any],
    imports: Mapping[str, Sequence[str]],
    locked: Mapping[str, str | None] | None,
    complete: bool,
) -> Iterator[_Problem]:
    """Look at the Python that the ranks will have and its packages, there or still to be made."""
    if locked is not None:
        python = _to_be(spec, python, kernel, locked)
    if not complete:
        # What the file names brings others with it: what is missing may still come.
        imports = {}
        yield from _named_in(spec, node, python)
        said: set[str] = set()
    else:
        required = list(_required(spec, node, python))
        yield from required
        said = {problem.check for problem in required}
    bound = list(_data(node, python, variables, imports))
    yield from bound
    if kernel is not None and not bound:
        travels = _torch_travels(spec, variables)
        yield from _differences(spec, node, python, kernel, torch_travels=travels)
    if complete and not _same_environment(kernel, node, python):
        others = {root: known for root, known in imports.items() if root not in said}
        yield from _imports(spec, node, python, others)


def _source(spec: JobSpec, python: Interpreter) -> str:
    return spec.environment.source if spec.environment else python.executable


def _to_be(
    spec: JobSpec,
    python: Interpreter,
    kernel: Interpreter | None,
    locked: Mapping[str, str | None],
) -> Interpreter:
    """Return the Python of the job's own environment as far as it can be told before it is made."""
    packages = {name: version or "" for name, version in locked.items()}
    if "pytorch" in packages:  # as conda calls it
        packages.setdefault("torch", packages["pytorch"])
    version = python.version
    if spec.environment is not None and spec.environment.kind == "conda":
        pinned = packages.get("python", "")
        # Where the file leaves it open nothing is known, which is no evidence.
        version = pinned if re.match(r"\d+\.\d+", pinned) else (kernel or python).version
    return Interpreter(
        executable=_source(spec, python),
        version=version,
        implementation=python.implementation,
        packages=packages,
    )


def _named_in(spec: JobSpec, node: Node, python: Interpreter) -> Iterator[_Problem]:
    """Look for what a job needs in an environment's file that names only part of it."""
    packages = dict(python.packages)
    if "accelerate" in packages:
        packages.setdefault("torch", "")  # accelerate asks for it
    whole = dataclasses.replace(python, packages=packages)
    for problem in _required(spec, node, whole):
        if problem.check in packages:
            yield problem
        else:
            text = f"{problem.check} is not named in {python.executable}"
            hint = f"{_remedy(spec, python, problem.check)}, unless another package brings it"
            yield _warning(problem.check, node, text, hint)


def _required(spec: JobSpec, node: Node, python: Interpreter) -> Iterator[_Problem]:
    wanted = {"torch": "torch", "accelerate": "accelerate>=1.0"} if _launches(spec) else {}
    for name, requirement in wanted.items():
        version = python.packages.get(name)
        if version is None:
            yield _error(
                name,
                node,
                f"no {name} in {python.executable}",
                _remedy(spec, python, requirement),
            )
        elif version and name == "accelerate" and _numbers(version) < _ACCELERATE:
            text = f"accelerate {version} in {python.executable} is older than 1.0"
            yield _error(name, node, text, _remedy(spec, python, requirement))
    if spec.tracking is not None and not _present(_VARIANTS["mlflow"], python):
        text = f"no mlflow in {python.executable}, and the job is to be tracked"
        yield _error("mlflow", node, text, f"{_remedy(spec, python, 'mlflow')}, or --no-mlflow")


def _data(
    node: Node,
    python: Interpreter,
    variables: Mapping[str, Any],
    imports: Mapping[str, Sequence[str]],
) -> Iterator[_Problem]:
    # The rule by which the ranks will decide, asked before they are started.
    entries = variables.get("variables", ())
    here = _as_header(python, entries, imports)
    for problem in parcel.check(variables, entries=entries, here=here):
        text, _, hint = problem.partition("; ")
        yield _error("data", node, text, hint)


def _differences(
    spec: JobSpec, node: Node, python: Interpreter, kernel: Interpreter, *, torch_travels: bool
) -> Iterator[_Problem]:
    if (kernel.implementation, kernel.minor) != (python.implementation, python.minor):
        theirs, ours = _spoken(python), _spoken(kernel)
        text = f"the code was written under {ours} and runs under {theirs}"
        hint = f"attach the pool with --python PATH of {ours}, if that matters"
        yield _warning("python", node, text, hint)
    made, found = kernel.packages.get("torch"), python.packages.get("torch")
    if torch_travels and made and found and _numbers(made)[:2] != _numbers(found)[:2]:
        text = f"tensors or modules of torch {made} travel to torch {found}"
        yield _warning(
            "torch", node, text, _remedy(spec, python, f"torch=={made.partition('+')[0]}")
        )


def _torch_travels(spec: JobSpec, variables: Mapping[str, Any]) -> bool:
    return any(item.kind is CaptureKind.TENSOR for item in spec.manifest.items) or any(
        entry["route"] == "tensor" or "torch" in entry["packages"]
        for entry in variables.get("variables", ())
    )


def _as_header(
    python: Interpreter,
    entries: Iterable[Mapping[str, Any]],
    imports: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    packages: dict[str, str | None] = {}
    for root in {root for entry in entries for root in entry["packages"]}:
        names = _names(root, imports.get(root, ()))
        found = _present(names, python)
        if found is not None and python.packages[found]:
            packages[root] = python.packages[found]
        elif found is not None:
            continue  # it will be there, in a version that nobody knows yet
        elif imports.get(root) and not _related(names, python):
            packages[root] = None
    return {
        "python": python.version,
        "implementation": python.implementation,
        "packages": packages,
    }


def _imports(
    spec: JobSpec, node: Node, python: Interpreter, imports: Mapping[str, Sequence[str]]
) -> Iterator[_Problem]:
    for root, known in sorted(imports.items()):
        names = _names(root, known)
        # What ranks need of ours travels with them.
        ours = root == __package__
        if ours or root in sys.stdlib_module_names or _present(names, python) is not None:
            continue
        text = f"the code imports {root}, and {python.executable} has no {_either(names)}"
        certain = bool(known) and not _related(names, python)
        report = _error if certain else _warning
        hint = _remedy(spec, python, names[0]) if known else "install it there if it is needed"
        yield report("imports", node, text, hint)


def _names(root: str, known: Sequence[str]) -> tuple[str, ...]:
    # The distributions that would do for a module, the likeliest first.
    own = re.sub(r"[-_.]+", "-", root).lower()
    return tuple(dict.fromkeys((*known, *_VARIANTS.get(root, ()), own)))


def _present(names: Sequence[str], python: Interpreter) -> str | None:
    return next((name for name in names if name in python.packages), None)


def _related(names: Sequence[str], python: Interpreter) -> bool:
    # cupy-cuda12x stands for cupy-cuda11x: who has a relative is warned, not refused.
    families = {name.partition("-")[0] for name in names}
    return any(name.partition("-")[0] in families for name in python.packages)


def _same_environment(kernel: Interpreter | None, node: Node, python: Interpreter) -> bool:
    # What could be imported in the notebook needs no look at distributions: some have no metadata.
    here = node.address in LOOPBACK
    return here and kernel is not None and kernel.executable == python.executable


# --- words -----------------------------------------------------------------------------------


def _error(name: str, node: Node, text: str, hint: str) -> _Problem:
    return _Problem(check=name, severity=Severity.ERROR, text=text, hint=hint, node=node.name)


def _warning(name: str, node: Node, text: str, hint: str) -> _Problem:
    return _Problem(check=name, severity=Severity.WARNING, text=text, hint=hint, node=node.name)


def _merged(problems: Iterable[_Problem]) -> tuple[Finding, ...]:
    """Put what is wrong with many nodes alike on one line; errors first, else in order."""
    nodes: dict[tuple[str, Severity, str, str], list[str]] = {}
    for problem in problems:
        key = (problem.check, problem.severity, problem.text, problem.hint)
        nodes.setdefault(key, []).extend([problem.node] if problem.node else [])
    findings = []
    for (name, severity, text, hint), names in nodes.items():
        place = f"{'node' if len(names) == 1 else 'nodes'} {_listed(names)}: " if names else ""
        findings.append(Finding(check=name, severity=severity, message=place + text, hint=hint))
    return tuple(sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_NODES
    return ", ".join(names[:_NAMED_NODES]) + (f" and {more} more" if more > 0 else "")


def _either(names: Sequence[str]) -> str:
    return " or ".join(names[:2])


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _size(size_bytes: int) -> str:
    size, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:  # noqa: PLR2004
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"


def _spoken(python: Interpreter) -> str:
    name = "Python" if python.implementation == "CPython" else python.implementation
    return f"{name} {python.minor[0]}.{python.minor[1]}"


def _remedy(spec: JobSpec, python: Interpreter, requirement: str) -> str:
    if spec.environment is None:
        return _pip(python, requirement)
    again = ", and lock it again" if spec.environment.kind == "uv" else ""
    return f"add {requirement} to {spec.environment.source}{again}"


def _pip(python: Interpreter, requirement: str) -> str:
    return shlex.join([python.executable, "-m", "pip", "install", requirement])


def _numbers(version: str) -> tuple[int, ...]:
    found = [int(part) for part in re.findall(r"\d+", version.partition("+")[0])]
    return tuple([*found, 0, 0, 0][:3])


def _launches(spec: JobSpec) -> bool:
    return "accelerate.commands.launch" in spec.argv
