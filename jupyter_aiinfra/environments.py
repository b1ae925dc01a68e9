"""Environments of ranks: read from the user's own files here, built once a digest on each node.

What is read becomes an :class:`~.model.EnvironmentSpec` and the files that travel with it; equal
content gives an equal digest. The far end is ``node/environment.py``, whose text travels with the
request.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jupyter_aiinfra.errors import AiInfraError, NotFound, PoolError, StorageFull, UsageError
from jupyter_aiinfra.model import EnvironmentSpec
from jupyter_aiinfra.node import environment
from jupyter_aiinfra.shell import Shell

__all__ = [
    "FOLDER",
    "PYTHON",
    "BuildStep",
    "BuiltEnvironment",
    "Locked",
    "Report",
    "build",
    "locked_packages",
    "parse_requirements",
    "read_environment",
    "remove",
    "survey",
]

FOLDER = "env"
"""Where the files of an environment lie in the run directory."""

PYTHON = "${AIINFRA_PYTHON}"
"""Stands for the environment's interpreter in a job's argv; the node fills it in."""

_DIGEST_FORMAT = 1
_LARGE_BYTES = 512 << 20
_ARCHIVES = (".whl", ".tar.gz", ".zip")
# Credentials before a host; ``${NAME}`` is filled in on the node and tells nothing. The name that
# ssh logs in with is no secret.
_CREDENTIALS = re.compile(r"(?i)\b(?!git\+ssh|ssh)[a-z][a-z0-9+.-]*://(?P<who>[^/\s@'\"]+)@")
_CHANNEL_TOKEN = re.compile(r"://(?P<host>[^/\s]+)/t/(?P<who>[^/\s]+)/")
_FILLED_IN = re.compile(r"(?:[^:]*:)?\$\{[A-Z0-9_]+\}")
_OPTION = re.compile(r"(?P<flag>--?[a-z][a-z-]*)(?:\s*=\s*|\s+|(?<=^-[rcef]))(?P<value>.+)")
_LONG = {"-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-f": "--find-links"}
_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?P<rest>.*)")


# --- read ----------------------------------------------------------------------------------------


def read_environment(
    value: str | None, cwd: Path
) -> tuple[EnvironmentSpec | None, Mapping[str, bytes]]:
    """Read what ``--env`` names; return the environment, and its files by their path in the job.

    ``None`` and ``current`` are the Python that the pool runs jobs with anyway.

    Raises
    ------
    UsageError
        No such file, a kind that is not known, content that only means something on this machine,
        or a secret in it; names the line.
    """
    if value in (None, "current"):
        return None, {}
    assert value is not None  # noqa: S101 - the line above
    path = (cwd / Path(value).expanduser()).absolute()
    if not path.is_file():
        raise UsageError(
            f"--env {value}: there is no such file",
            hint="name a requirements.txt, uv.lock, pyproject.toml or environment.yml; "
            "NAME=VALUE sets a variable",
        )
    if path.name in ("uv.lock", "pyproject.toml"):
        kind, files, content = "uv", *_read_uv(path)
    elif path.suffix in (".yml", ".yaml"):
        kind, files, content = "conda", *_read_conda(path)
    elif path.suffix in (".txt", ".in"):
        kind, files, content = "requirements", *_read_requirements(path)
    else:
        raise UsageError(
            f"--env {value}: cannot tell what {path.name} is",
            hint="a requirements file ends in .txt or .in, a lock is called uv.lock, "
            "a conda environment ends in .yml",
        )
    spec = EnvironmentSpec(
        kind=kind,
        digest=_digest(kind, content),
        source=value,
        files=tuple(sorted(f"{FOLDER}/{name}" for name in files)),
    )
    return spec, {f"{FOLDER}/{name}": data for name, data in files.items()}


def _digest(kind: str, content: Mapping[str, bytes]) -> str:
    sha = hashlib.sha256(f"{_DIGEST_FORMAT} {kind}\n".encode())
    for name, data in sorted(content.items()):
        sha.update(f"{name} {len(data)}\n".encode())
        sha.update(data)
    return sha.hexdigest()


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", hint="name a text file") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    _refuse_secrets(path, text)
    return text


def _refuse_secrets(path: Path, text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in (_CREDENTIALS, _CHANNEL_TOKEN):
            found = pattern.search(line)
            if found is None or _FILLED_IN.fullmatch(found["who"]):
                continue
            raise UsageError(
                f"{path}:{number} has a user name, password or token in a URL, and would be "
                "recorded with the job",
                hint="leave it out of the file: the node's own pip configuration, keyring or "
                "~/.netrc knows it, or write ${NAME}, which pip and uv fill in there",
            )


# --- requirements.txt ----------------------------------------------------------------------------


def parse_requirements(text: str) -> list[tuple[int, str]]:
    """Return the lines that say something, with their numbers; continued ones are joined."""
    lines: list[tuple[int, str]] = []
    begun, parts = 0, []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        begun = begun or number
        goes_on = line.endswith("\\")
        parts.append(line[:-1].strip() if goes_on else line.strip())
        if not goes_on:
            if joined := " ".join(part for part in parts if part):
                lines.append((begun, joined))
            begun, parts = 0, []
    if joined := " ".join(part for part in parts if part):
        lines.append((begun, joined))
    return lines


class _Requirements:
    """Reads a requirements file and those it includes, and makes their paths those of the job."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._names: dict[tuple[Path, str], str] = {}
        self._size = 0

    def read(self, path: Path, name: str) -> None:
        lines = []
        for number, line in parse_requirements(_text(path)):
            where = f"{path.name}:{number}"
            lines.append(self._line(line, path.parent, where))
        self.files[name] = "".join(f"{line}\n" for line in lines).encode()

    def _line(self, line: str, folder: Path, where: str) -> str:
        option = _OPTION.fullmatch(line) if line.startswith("-") else None
        if option is not None:
            flag, value = _LONG.get(option["flag"], option["flag"]), option["value"].strip()
            if flag == "--editable":
                raise _only_here(where, line)
            if flag in ("--requirement", "--constraint"):
                return f"{flag} {self._include(value, folder, where, flag)}"
            if flag == "--find-links" and "://" not in value:
                return self._find_links(value, folder, where)
            return line
        return line if line.startswith("-") else self._requirement(line, folder, where)

    def _include(self, value: str, folder: Path, where: str, flag: str) -> str:
        if "://" in value:
            return value
        path = (folder / Path(value).expanduser()).resolve()
        if not path.is_file():
            raise UsageError(
                f"{where}: {value} does not exist", hint="put it there, or leave it out"
            )
        known = self._names.get((path, flag))
        if known is None:
            known = self._names[path, flag] = f"{len(self._names) + 1}-{path.name}"
            self.read(path, known)
        return known

    def _find_links(self, value: str, folder: Path, where: str) -> str:
        place = (folder / Path(value.removeprefix("file:")).expanduser()).resolve()
        if not place.is_dir():
            if Path(value).is_absolute():
                return f"--find-links {value}"  # a folder of the node's
            raise UsageError(f"{where}: {value} is no folder", hint="name one, or leave it out")
        for path in sorted(place.iterdir()):
            if path.name.endswith(_ARCHIVES) and path.is_file():
                self._take(path, where)
        return "--find-links wheels"

    def _requirement(self, line: str, folder: Path, where: str) -> str:
        name, at, target = line.partition("@")
        direct = bool(at) and bool(re.fullmatch(r"\s*[\w.-]+\s*(\[[^]]*\])?\s*", name))
        target = target.strip() if direct else line
        place, space, rest = target.partition(" ")
        if "://" in place and not place.startswith("file:"):
            return line
        is_path = place.startswith((".", "/", "~", "file:")) or place.endswith(_ARCHIVES)
        if not is_path and not (not direct and "/" in place):
            return line
        bare, _, _ = place.removeprefix("file://").removeprefix("file:").partition("#")
        bare, extras = re.fullmatch(r"(.*?)(\[[^]]*\])?", bare).groups()  # type: ignore[union-attr]
        path = (folder / Path(bare).expanduser()).resolve()
        if not path.is_file():
            if path.is_dir():
                raise _only_here(where, line)
            raise UsageError(
                f"{where}: {bare} does not exist", hint="put it there, or leave it out"
            )
        if not path.name.endswith(_ARCHIVES):
            raise UsageError(f"{where}: {path.name} is no wheel and no source archive")
        self._take(path, where)
        return f"./wheels/{path.name}{extras or ''}{space}{rest}"

    def _take(self, path: Path, where: str) -> None:
        data = path.read_bytes()
        name = f"wheels/{path.name}"
        if self.files.setdefault(name, data) != data:
            raise UsageError(
                f"{where}: there are two files called {path.name} with different content",
                hint="give one of them another version",
            )
        self._size = sum(len(content) for content in self.files.values())
        if self._size > _LARGE_BYTES:
            raise UsageError(
                f"{where}: the local packages come to more than {_LARGE_BYTES >> 20} MiB",
                hint="put them on an index, or in a folder of the nodes and name that absolutely",
            )


def _only_here(where: str, line: str) -> UsageError:
    return UsageError(
        f"{where}: {line!r} is a folder of this machine, which no node can install",
        hint="leave the line out: modules of yours that are imported travel with each job; or "
        "make a wheel (pip wheel --no-deps -w dist FOLDER) and name that",
    )


def _read_requirements(path: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    reader = _Requirements()
    reader.read(path, "requirements.txt")
    return reader.files, reader.files


# --- uv.lock -------------------------------------------------------------------------------------


def _read_uv(path: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    project, lock = path.with_name("pyproject.toml"), path.with_name("uv.lock")
    if not lock.is_file():
        raise UsageError(
            f"there is no uv.lock beside {project}",
            hint="uv lock makes it; a requirements.txt does without",
        )
    if not project.is_file():
        raise UsageError(
            f"{lock} has no pyproject.toml beside it, which says what it locks",
            hint="name the uv.lock in its project's folder",
        )
    files, content = {}, {}
    for each in (project, lock):
        text = _text(each).replace("\r\n", "\n")
        files[each.name] = text.encode()
        content[each.name] = _canonical(_toml(each, text), whole=each is lock)
    _refuse_local_packages(lock, _toml(lock, files["uv.lock"].decode()))
    return files, content


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    return value


def _canonical(value: Mapping[str, Any], *, whole: bool) -> bytes:
    """Return what matters of a file: of a ``pyproject.toml`` that is not its linters' settings."""
    kept = dict(value)
    if not whole:
        project = dict(value.get("project", {}))
        names = ("name", "version", "requires-python", "dependencies", "optional-dependencies")
        kept = {
            "project": {name: project[name] for name in names if name in project},
            "dependency-groups": value.get("dependency-groups", {}),
            "uv": value.get("tool", {}).get("uv", {}),
        }
    return json.dumps(kept, sort_keys=True, default=str).encode()


def _refuse_local_packages(lock: Path, value: Mapping[str, Any]) -> None:
    for package in value.get("package", ()):
        source = package.get("source", {})
        # The project itself and its workspace stay out: what is imported of them travels with jobs.
        registry = source.get("registry", "://")
        place = source.get("directory") or source.get("path")
        place = place if "://" in registry else registry
        if place is not None:
            raise UsageError(
                f"{lock}: {package.get('name')} comes from {place} on this machine, which no node "
                "can install",
                hint="put it on an index, or make it editable = true in [tool.uv.sources]: "
                "modules of yours that are imported travel with each job",
            )


# --- environment.yml -----------------------------------------------------------------------------


def _read_conda(path: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    kept = []
    for number, raw in enumerate(_text(path).splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        # Where it is made is decided on the node.
        if not line or re.match(r"(name|prefix)\s*:", line):
            continue
        item = re.match(r"\s*-\s+['\"]?(?P<item>[^'\"]+)", line)
        if item and re.match(r"(-e|--editable|-r|-c|--requirement|file:|\.|/|~)", item["item"]):
            raise UsageError(
                f"{path.name}:{number}: {line.strip()!r} is a file of this machine, which no node "
                "can install",
                hint="write what it stands for into the file itself; modules of yours that are "
                "imported travel with each job",
            )
        kept.append(line)
    if not any(line.startswith("dependencies") for line in kept):
        raise UsageError(f"{path} has no dependencies", hint="name a conda environment file")
    files = {"environment.yml": "".join(f"{line}\n" for line in kept).encode()}
    return files, files


# --- what is in it -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Locked:
    """The packages that an environment names, with versions where they are fixed.

    ``complete`` says that there will be no others.
    """

    packages: Mapping[str, str | None]
    complete: bool


def locked_packages(spec: EnvironmentSpec, files: Mapping[str, bytes]) -> Locked:
    """Return what can be told of an environment before it is built. Names are normalised."""
    if spec.kind == "uv":
        lock: dict[str, Any] = msgspec.toml.decode(files[f"{FOLDER}/uv.lock"])
        found = {_plain(each["name"]): each.get("version") for each in lock.get("package", ())}
        return Locked(packages=found, complete=True)
    if spec.kind == "conda":
        text = files[f"{FOLDER}/environment.yml"].decode()
        items = re.findall(
            r"^\s*-\s+['\"]?(?:[\w-]+::)?([A-Za-z0-9][\w.-]*)(.*)$", text, re.MULTILINE
        )
        return Locked(packages=_pinned(items), complete=False)
    items = []
    for path, data in files.items():
        name = path.removeprefix(f"{FOLDER}/")
        if not name.startswith("wheels/"):
            lines = [line for _, line in parse_requirements(data.decode())]
            items += [m.groups() for line in lines if (m := _NAME.fullmatch(line))]
            lines = [line.removeprefix("./wheels/") for line in lines if "./wheels/" in line]
            wheels = [line.split("-", 2) for line in lines]
            items += [(parts[0], f"=={parts[1]}") for parts in wheels if len(parts) > 1]
    return Locked(packages=_pinned(items), complete=False)


def _pinned(items: Sequence[Sequence[str]]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, rest in items:
        pin = re.search(r"={1,3}\s*([\w.!+-]+)", rest.partition(";")[0])
        found[_plain(name)] = pin[1] if pin and not re.search(r"[<>~!]=", rest) else None
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- on a node -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BuildStep:
    """How far a build is. The last one has ``built``."""

    phase: str
    elapsed_seconds: float
    done: int | None = None
    total: int | None = None
    line: str = ""
    built: BuiltEnvironment | None = None

    @property
    def text(self) -> str:
        """One line for a person."""
        if self.built is not None:
            verb = "ready" if self.built.reused else "built"
            return f"environment {verb} ({self.elapsed_seconds:.1f} s)"
        count = ""
        if self.done is not None:
            count = f" {self.done}" + (f" of {self.total}" if self.total is not None else "")
            count += " packages"
        line = f": {self.line}" if self.line else ""
        return f"environment: {self.phase}{count}, {self.elapsed_seconds:.0f} s{line}"


@dataclass(frozen=True, kw_only=True)
class BuiltEnvironment:
    """An environment on a node. ``whole`` is false for what a killed build has left."""

    digest: str
    folder: str
    whole: bool = True
    reused: bool = False
    kind: str = ""
    source: str = ""
    tool: str = ""
    python: str | None = None
    version: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    package_count: int | None = None
    size_bytes: int | None = None
    seconds: float | None = None
    built_at: float | None = None
    used_at: float | None = None


Report = Callable[[str, BuildStep], None]
"""Told how far a build is: the node's name, and the step."""


async def build(
    shell: Shell, *, python: str, envs: str, spec: EnvironmentSpec, files: Mapping[str, bytes]
) -> AsyncIterator[BuildStep]:
    """Build an environment where `shell` leads, if it is not there; yield how far it is.

    The last step has ``built``. To be asked for is to be used. `envs` may begin with ``~``. Who
    stops listening leaves the build to go on, or to be begun again by the next who asks.

    Raises
    ------
    PoolError
        It cannot be built; has the tool's last lines.
    StorageFull
        No room there; nothing half-done is left.
    Unreachable
        The shell did not get through.
    """
    prefix = f"{FOLDER}/"
    sent = {name.removeprefix(prefix): data for name, data in files.items()}
    order = {
        "digest": spec.digest,
        "kind": spec.kind,
        "source": spec.source,
        "files": [[name, len(data)] for name, data in sent.items()],
    }
    stdin = json.dumps(order).encode() + b"\n" + b"".join(sent.values())
    elapsed, built = 0.0, False
    async for message in _ask(shell, python, "build", envs, stdin=stdin):
        if "built" in message:
            built = True
            made = _built({**message["built"], "whole": True})
            yield BuildStep(phase="done", elapsed_seconds=elapsed, built=made)
        else:
            elapsed = message["elapsed"]
            yield BuildStep(
                phase=message["phase"],
                elapsed_seconds=elapsed,
                done=message["done"],
                total=message["total"],
                line=message["line"],
            )
    if not built:
        raise PoolError(f"{python} built no environment in {envs}", hint="try again")


async def survey(shell: Shell, *, python: str, envs: str) -> tuple[BuiltEnvironment, ...]:
    """Return the environments that are where `shell` leads."""
    return tuple([_built(entry) async for entry in _ask(shell, python, "list", envs)])


async def remove(
    shell: Shell, *, python: str, envs: str, digest: str
) -> tuple[BuiltEnvironment, ...]:
    """Remove the environments whose digest begins so; return what they were.

    Raises
    ------
    PoolError
        There is none, or a process uses it.
    """
    return tuple([_built(entry) async for entry in _ask(shell, python, "remove", envs, digest)])


def _built(entry: Mapping[str, Any]) -> BuiltEnvironment:
    facts = entry.get("python", {})
    return BuiltEnvironment(
        digest=entry["digest"],
        folder=entry["folder"],
        whole=entry["whole"],
        reused=entry.get("reused", False),
        kind=entry.get("kind", ""),
        source=entry.get("source", ""),
        tool=entry.get("tool", ""),
        python=facts.get("executable"),
        version=facts.get("version"),
        packages={_plain(name): version for name, version in facts.get("packages", {}).items()},
        package_count=entry.get("package_count"),
        size_bytes=entry.get("size_bytes"),
        seconds=entry.get("seconds"),
        built_at=entry.get("built_at"),
        used_at=entry.get("used_at"),
    )


async def _ask(
    shell: Shell, python: str, verb: str, *names: str, stdin: bytes = b""
) -> AsyncIterator[dict[str, Any]]:
    """Yield what the far end says between its markers."""
    token = secrets.token_hex(12)
    argv = [python, "-I", "-S", "-c", _far_end(), verb, token, *names]
    stream = shell.stream(argv, stdin=stdin)
    begin, end = f"<<{token}".encode(), f"{token}>>".encode()
    begun, rest = False, b""
    try:
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line == end:
                    return
                if begun:
                    message: dict[str, Any] = json.loads(line)
                    if "failed" in message:
                        raise _refusal(message["failed"])
                    yield message
                begun = begun or line == begin
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    said = "was cut off" if begun else "gave no answer"
    raise PoolError(f"{python} {said}", hint="try again: what was built is kept")


@functools.lru_cache(maxsize=1)
def _far_end() -> str:
    return Path(environment.__file__).read_text(encoding="utf-8")


def _refusal(failed: Mapping[str, Any]) -> AiInfraError:
    if failed["full"]:
        folder, free = failed["full"]
        return StorageFull(
            f"{failed['message']} in {folder}: {free:,} bytes are free",
            hint="free some space there; %pool env NAME lists environments that can be removed",
        )
    message = failed["message"]
    if message.startswith("no environment "):
        return NotFound(message, hint="%pool env NAME lists them")
    tail = "".join(f"\n  {line}" for line in failed["tail"])
    return PoolError(f"{message}{tail}", hint=failed["hint"])
