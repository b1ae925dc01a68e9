"""Environments built for real, from wheels made on the spot: once each, whole or not at all."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.environments import (
    PYTHON,
    BuildStep,
    BuiltEnvironment,
    build,
    read_environment,
    remove,
    survey,
)
from jupyter_aiinfra.errors import NotFound, PoolError, PoolInUse, SubmitError
from jupyter_aiinfra.model import EnvironmentSpec, JobKind, JobSpec, JobState
from jupyter_aiinfra.node import environment
from jupyter_aiinfra.shell import LocalShell
from tests.support.bench import wait_until
from tests.support.site import Site, open_site
from tests.support.wheels import make_wheel

SMALL_BYTES = 3 << 20
Environment = tuple[EnvironmentSpec, Mapping[str, bytes]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A requirements file of one tiny package, found beside it and nowhere else."""
    folder = tmp_path_factory.mktemp("tiny")
    make_wheel(folder / "dist", "tiny", "1.0", {"tiny.py": "SAID = 'hello'\n"})
    return requirements(folder, "--no-index\n--find-links dist\ntiny==1.0  # why\n")


def requirements(folder: Path, text: str) -> Environment:
    (folder / "requirements.txt").write_text(text)
    spec, files = read_environment("requirements.txt", folder)
    assert spec is not None
    return spec, files


def plain_environ(home: Path, *, path: str = "/usr/bin:/bin") -> dict[str, str]:
    """Return the environment of a node that has no uv and no conda."""
    kept = {name: text for name, text in os.environ.items() if name.startswith("PIP_")}
    return {**kept, "HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}


@pytest.fixture
def shell(tmp_path: Path) -> LocalShell:
    home = tmp_path / "home"
    home.mkdir()
    return LocalShell(env=plain_environ(home))


async def steps_of(
    shell: LocalShell, envs: Path, environment: Environment, *, python: str = sys.executable
) -> list[BuildStep]:
    spec, files = environment
    made = build(shell, python=python, envs=str(envs), spec=spec, files=files)
    return [step async for step in made]


async def built(shell: LocalShell, envs: Path, environment: Environment) -> BuiltEnvironment:
    last = (await steps_of(shell, envs, environment))[-1].built
    assert last is not None
    return last


def says(python: str | None) -> str:
    assert python is not None
    code = "import tiny, sys; print(tiny.SAID, sys.prefix)"
    return subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def left_in(envs: Path) -> set[str]:
    return {"folder" if path.is_dir() else path.suffix for path in envs.iterdir()}


async def test_an_environment_is_built_once(
    shell: LocalShell, tmp_path: Path, tiny: Environment
) -> None:
    envs = tmp_path / "envs"
    first = await steps_of(shell, envs, tiny)
    made = first[-1].built
    assert made is not None
    assert [step.phase for step in first if step.phase != "waiting"][-2:] == ["checking", "done"]
    assert {"creating", "installing"} <= {step.phase for step in first}
    assert (made.tool, made.reused, made.packages["tiny"]) == ("pip", False, "1.0")
    assert says(made.python) == f"hello {made.folder}"
    assert envs.stat().st_mode & 0o777 == 0o700
    assert "Successfully installed tiny-1.0" in Path(f"{made.folder}.log").read_text()
    marker = Path(made.folder, environment.MARKER)
    os.utime(marker, (1, 1))
    (again,) = await steps_of(shell, envs, tiny)
    assert again.built is not None
    assert again.built.reused
    assert again.built.built_at == made.built_at
    assert marker.stat().st_mtime > 1  # it was used
    (listed,) = await survey(shell, python=sys.executable, envs=str(envs))
    assert (listed.digest, listed.source) == (tiny[0].digest, "requirements.txt")
    assert listed.size_bytes == made.size_bytes
    assert listed.package_count == len(made.packages)
    await it_is_removed_when_nobody_uses_it(shell, envs, made)


async def it_is_removed_when_nobody_uses_it(
    shell: LocalShell, envs: Path, made: BuiltEnvironment
) -> None:
    assert made.python is not None
    process = subprocess.Popen([made.python, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(PoolError, match=f"in use by processes {process.pid}"):
            await remove(shell, python=sys.executable, envs=str(envs), digest=made.digest)
    finally:
        process.communicate(b"\n")
    assert Path(made.python).exists()
    (gone,) = await remove(shell, python=sys.executable, envs=str(envs), digest=made.digest[:6])
    assert gone.folder == made.folder
    assert list(envs.iterdir()) == []
    with pytest.raises(NotFound):
        await remove(shell, python=sys.executable, envs=str(envs), digest=made.digest)


async def test_two_at_once_build_once(shell: LocalShell, tmp_path: Path, tiny: Environment) -> None:
    envs = tmp_path / "envs"
    one, other = await asyncio.gather(built(shell, envs, tiny), built(shell, envs, tiny))
    assert sorted([one.reused, other.reused]) == [False, True]
    assert one.built_at == other.built_at
    assert says(one.python).startswith("hello")


def far_end(envs: Path, tiny: Environment, *, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the node's half by hand, to be ill-treated."""
    spec, files = tiny
    sent = {name.partition("/")[2]: data for name, data in files.items()}
    order = {
        "digest": spec.digest,
        "kind": spec.kind,
        "source": spec.source,
        "files": [[name, len(data)] for name, data in sent.items()],
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", environment.__file__, "build", "token", str(envs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode() + b"\n" + b"".join(sent.values()))
    process.stdin.close()
    return process


async def test_a_build_that_was_killed_is_begun_again(
    shell: LocalShell, tmp_path: Path, tiny: Environment
) -> None:
    envs = tmp_path / "envs"
    process = far_end(envs, tiny, env=plain_environ(tmp_path / "home"))
    assert process.stdout is not None
    # As soon as there is a folder, and long before there is an environment.
    await asyncio.to_thread(
        wait_until, lambda: envs.is_dir() and any(envs.glob("*/pyvenv.cfg")), seconds=60
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (half,) = await survey(shell, python=sys.executable, envs=str(envs))
    assert (half.whole, half.python) == (False, None)
    made = await built(shell, envs, tiny)
    assert not made.reused
    assert says(made.python) == f"hello {made.folder}"
    assert left_in(envs) == {"folder", ".lock", ".log"}


async def test_a_build_goes_on_when_nobody_listens_any_more(
    shell: LocalShell, tmp_path: Path, tiny: Environment
) -> None:
    envs = tmp_path / "envs"
    process = far_end(envs, tiny, env=plain_environ(tmp_path / "home"))
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert await asyncio.to_thread(process.wait, 100) == 0
    assert (await built(shell, envs, tiny)).reused


async def test_what_pip_cannot_find_is_said_in_its_words(shell: LocalShell, tmp_path: Path) -> None:
    envs = tmp_path / "envs"
    missing = requirements(tmp_path, "--no-index\nno-such-package\n")
    with pytest.raises(PoolError, match="No matching distribution found for no-such-package") as e:
        await steps_of(shell, envs, missing)
    assert ".log has all that it said" in e.value.hint
    assert left_in(envs) == {".lock", ".log"}


async def test_conda_that_is_not_there_is_named(shell: LocalShell, tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("dependencies:\n  - python=3.11\n")
    spec, files = read_environment("environment.yml", tmp_path)
    assert spec is not None
    with pytest.raises(PoolError, match="needs micromamba, mamba or conda"):
        await steps_of(shell, tmp_path / "envs", (spec, files))


async def test_conda_is_told_where_to_build(tmp_path: Path) -> None:
    # Only the call is ours; a stand-in makes an environment of the kind that conda makes.
    tools = tmp_path / "tools"
    tools.mkdir()
    fake = tools / "micromamba"
    fake.write_text(
        "#!/bin/sh\n"
        'test "$1 $2 $3 $5 $6" = "create -y -p -f environment.yml" || exit 9\n'
        f'test -f environment.yml && exec "{sys.executable}" -m venv --without-pip "$4"\n'
    )
    fake.chmod(0o755)
    (tmp_path / "environment.yml").write_text("name: x\ndependencies:\n  - python\n")
    spec, files = read_environment("environment.yml", tmp_path)
    assert spec is not None
    shell = LocalShell(env=plain_environ(tmp_path, path=f"{tools}:/usr/bin:/bin"))
    made = await built(shell, tmp_path / "envs", (spec, files))
    assert (made.tool, made.packages) == ("micromamba", {})


def test_a_python_without_ensurepip_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Debian's Python comes like this: the module that makes environments lacks its half.
    broken = tmp_path / "python"
    broken.write_text(
        "#!/bin/sh\n"
        'case "$*" in *"-m venv"*) echo "ensurepip is not available."; exit 1;; esac\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    broken.chmod(0o755)
    run = environment._Build(
        str(tmp_path / "e"),
        str(tmp_path),
        {"kind": "requirements", "digest": "a" * 64, "source": "r"},
        environment._Told(lambda _message: None, 0.0),
        os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT),
    )
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(environment.Failed, match="without venv or ensurepip") as caught:
        run._venv(str(tmp_path / "e"))
    os.close(run._lock)
    assert "python3" in caught.value.hint
    assert "uv" in caught.value.hint


def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path, tiny: Environment) -> None:
    envs = tmp_path / "envs"
    envs.mkdir()
    spec, files = tiny
    sent = {name.partition("/")[2]: data for name, data in files.items()}
    order = {
        "digest": spec.digest,
        "kind": spec.kind,
        "source": "r.txt",
        "files": [[name, len(data)] for name, data in sent.items()],
    }
    (tmp_path / "order").write_bytes(json.dumps(order).encode() + b"\n" + b"".join(sent.values()))
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "-r"]
    script = f"""
    mount -t tmpfs -o size={SMALL_BYTES},mode=700 tmpfs '{envs}' || exit 99
    '{sys.executable}' -I -S '{environment.__file__}' build token '{envs}' <'{tmp_path}/order'
    echo 'left:'; ls '{envs}'
    """
    if shutil.which("unshare") is None:
        pytest.fail("this machine has no unshare to make a small disk with")
    done = subprocess.run(
        [*unshare, "sh", "-c", script],
        env=plain_environ(tmp_path),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, _, left = done.stdout.partition("left:")
    failed = next(json.loads(line) for line in said.splitlines() if '"failed"' in line)["failed"]
    assert failed["message"] == "no room for the environment"
    assert failed["full"][0] == str(envs)
    assert {Path(name).suffix for name in left.split()} == {".lock", ".log"}


# --- uv ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with uv in it, of the tests' own."""
    folder = tmp_path_factory.mktemp("uv")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "uv"]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        pytest.skip(f"uv cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin"


async def test_uv_builds_where_it_is(tmp_path: Path, uv: Path, tiny: Environment) -> None:
    shell = LocalShell(env=plain_environ(tmp_path, path=f"{uv}:/usr/bin:/bin"))
    made = await built(shell, tmp_path / "envs", tiny)
    assert (made.tool, made.packages) == ("uv", {"tiny": "1.0"})
    assert says(made.python) == f"hello {made.folder}"


async def test_a_uv_project_is_synced_without_the_project_itself(tmp_path: Path, uv: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "0.1"\nrequires-python = ">=3.10"\ndependencies = []\n'
        '[build-system]\nrequires = ["no-such-backend"]\nbuild-backend = "no_such_backend"\n'
    )
    environ = plain_environ(tmp_path, path=f"{uv}:/usr/bin:/bin")
    lock = [str(uv / "uv"), "lock", "--offline", "--python", sys.executable]
    subprocess.run(lock, cwd=project, env=environ, check=True, capture_output=True)
    spec, files = read_environment("project/uv.lock", tmp_path)
    assert spec is not None
    made = await built(LocalShell(env=environ), tmp_path / "envs", (spec, files))
    assert (made.tool, made.packages) == ("uv", {})
    assert left_in(tmp_path / "envs") == {"folder", ".lock", ".log"}


# --- jobs ----------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        yield site


def job_with(environment: Environment, *argv: str) -> tuple[JobSpec, Bundle]:
    spec, files = environment
    bundle = Bundle(files=tuple(bundle_file(name, data) for name, data in files.items()))
    return (
        JobSpec(
            kind=JobKind.TRAIN,
            name="tiny",
            argv=(PYTHON, *argv),
            environment=spec,
            files=bundle.refs(),
            verify_world=False,
        ),
        bundle,
    )


async def ended(engine: Engine, job_id: str) -> None:
    while not (await engine.refresh(job_id)).state.final:  # noqa: ASYNC110 - other processes
        await asyncio.sleep(0.05)


async def test_a_job_runs_in_its_environment(site: Site, tiny: Environment) -> None:
    engine = site.engine()
    await engine.attach("here", kind="local")
    told: list[tuple[str, BuildStep]] = []
    code = "import tiny, sys; print(tiny.SAID, sys.executable)"
    waiting = "import tiny, time; time.sleep(300)"
    spec, bundle = job_with(tiny, "-c", code)
    job = await engine.launch("here", spec, bundle, report=lambda *news: told.append(news))
    log = site.run_dir(job.id) / "logs" / "launcher.log"
    await asyncio.to_thread(wait_until, lambda: b"\n" in log.read_bytes() if log.exists() else 0)
    ((node, made),) = await engine.environments("here")
    assert log.read_text() == f"hello {made.folder}/bin/python\n"
    assert {name for name, _ in told} == {node} == {"localhost"}
    assert told[-1][1].built is not None
    await ended(engine, job.id)
    # The same again is there at once; while it runs its environment stays.
    spec, bundle = job_with(tiny, "-c", waiting)
    again = await engine.launch("here", spec, bundle)
    with pytest.raises(PoolInUse, match=again.id):
        await engine.remove_environment("here", made.digest[:8])
    await engine.cancel(again.id, grace=0.0)
    await ended(engine, again.id)
    listed = site.command("pool", "env", "here")
    assert made.digest[:12] in listed.stdout
    gone = site.command("pool", "env", "here", "--remove", made.digest[:12])
    assert gone.stdout == f"removed {made.digest[:12]} from localhost\n", gone.stderr
    assert "no environment was built on here yet" in site.command("pool", "env", "here").stdout


async def test_an_environment_that_cannot_be_built_fails_the_job(
    site: Site, tmp_path: Path
) -> None:
    engine = site.engine()
    await engine.attach("here", kind="local")
    missing = requirements(tmp_path, "--no-index\nno-such-package\n")
    spec, bundle = job_with(missing, "-c", "pass")
    with pytest.raises(SubmitError, match="cannot be built on localhost"):
        await engine.launch("here", spec, bundle)
    (job,) = engine.store.list_jobs()
    assert job.state is JobState.FAILED
    assert "No matching distribution" in (job.seen.reason if job.seen and job.seen.reason else "")
    assert await engine.pool("here").jobs() == ()


def test_a_launch_line_names_the_environment(site: Site) -> None:
    # Both are in the tests' own environment: these tell pip so, and lead Python there.
    here = sysconfig.get_path("purelib")
    site.attach()
    dist = site.work / "dist"
    make_wheel(dist, "tiny", "1.0", {"tiny.py": "SAID = 'hello'\n"})
    make_wheel(dist, "torch", "2.2.0", {})
    make_wheel(dist, "accelerate", "1.1.0", {"here.pth": here + "\n"}, requires="torch")
    (site.work / "requirements.txt").write_text("--no-index\n-f dist\ntiny\naccelerate\n")
    site.script("train.py", "import tiny, sys\nprint(tiny.SAID, sys.prefix)\n")
    options = ("--pool", "here", "--procs", "2", "--cpu", "--no-mlflow")
    done = site.command("run", "train.py", *options, "--env", "requirements.txt", seconds=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "localhost: environment: creating" in done.stdout
    assert "localhost: environment built (" in done.stdout
    (folder,) = (path for path in (site.home / "envs").iterdir() if path.is_dir())
    assert f"hello {folder}" in done.stdout
    dry = site.command("run", "train.py", *options, "--env", "requirements.txt", "--dry-run")
    assert f"env     requirements.txt (requirements, {folder.name[:12]})" in dry.stdout
