"""What users get: the wheel and the sdist, installed where there is no Node."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "jupyter_aiinfra"
VERSION = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["version"]
WIDGETS = {
    f"jupyter_aiinfra/widgets/static/{name}.{kind}"
    for name in ("job", "gpus")
    for kind in ("js", "css")
}
LABEXTENSION = "share/jupyter/labextensions/jupyter-aiinfra"


def _run(
    argv: Sequence[str], *, environ: Mapping[str, str], cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        list(argv),
        env=dict(environ),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True, kw_only=True)
class Built:
    """A wheel and the sdist it was built from."""

    wheel: Path
    sdist: Path

    @property
    def wheel_names(self) -> list[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.namelist()

    @property
    def sdist_names(self) -> list[str]:
        with tarfile.open(self.sdist) as archive:
            # Without the leading folder "jupyter_aiinfra-<version>/".
            return [name.partition("/")[2] for name in archive.getnames()]


@pytest.fixture(scope="module")
def nodeless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose PATH has no program at all, and a home of its own."""
    folder = tmp_path_factory.mktemp("nodeless")
    kept = {name: value for name, value in os.environ.items() if name.startswith(("LC_", "LANG"))}
    empty = folder / "bin"
    empty.mkdir()
    return {
        **kept,
        "PATH": str(empty),
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_AIINFRA_HOME": str(folder / "aiinfra"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter-config"),
        "JUPYTER_DATA_DIR": str(folder / "jupyter-data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter-runtime"),
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, nodeless: dict[str, str]) -> Built:
    """Build both: the front end with Node where it is out of date, all the rest without."""
    _run([sys.executable, "build_frontend.py"], environ=os.environ)
    folder = tmp_path_factory.mktemp("dist")
    # The wheel is built from the sdist. What the build needs is in the test requirements; Node,
    # which pip would fetch, must not be needed from here on.
    build = [sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"]
    _run([*build, "--outdir", str(folder)], environ=nodeless)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return Built(wheel=wheel, sdist=sdist)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An environment with the wheel, and all else from the environment of this test."""

    prefix: Path
    environ: Mapping[str, str]

    def python(self, *arguments: str) -> str:
        """Run the environment's Python outside the checkout; return all that it printed."""
        python = self.prefix / "bin" / "python"
        done = _run([str(python), *arguments], environ=self.environ, cwd=self.prefix)
        return re.sub(r"\x1b\[\d*m", "", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, nodeless: dict[str, str], built: Built
) -> Installed:
    prefix = tmp_path_factory.mktemp("user") / "venv"
    venv.create(prefix, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(prefix / "bin" / "python")]
    _run([*pip, "install", "--no-deps", "--no-index", str(built.wheel)], environ=nodeless)
    # Installing the dependencies again would take minutes; a path line lends ours. The editable
    # checkout stays out: path lines are not read in a folder that a path line names.
    (site,) = (prefix / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(prefix=prefix, environ={**nodeless, "PATH": str(prefix / "bin")})


def test_wheel_carries_the_node_side_the_migrations_and_the_widgets(built: Built) -> None:
    names = set(built.wheel_names)
    expected = [
        path
        for folder in ("node", "migrations")
        for path in (PACKAGE / folder).rglob("*")
        if path.suffix in {".py", ".mako"}
    ]

    assert len(expected) > 4
    assert {str(path.relative_to(ROOT)) for path in expected} <= names
    assert names >= WIDGETS
    assert "jupyter_aiinfra/py.typed" in names


def test_wheel_holds_the_labextension_once_and_enables_the_server(built: Built) -> None:
    names = built.wheel_names
    entries = [name for name in names if "static/remoteEntry" in name]
    (data,) = {name.partition("/")[0] for name in names if ".data/" in name}

    assert len(entries) == 1
    assert entries[0].startswith(f"{data}/data/{LABEXTENSION}/")
    assert f"{data}/data/{LABEXTENSION}/install.json" in names
    assert f"{data}/data/{LABEXTENSION}/package.json" in names
    assert f"{data}/data/etc/jupyter/jupyter_server_config.d/jupyter_aiinfra.json" in names
    assert not [name for name in names if name.startswith("jupyter_aiinfra/labextension/")]


def test_wheel_holds_nothing_else(built: Built) -> None:
    folders = {name.partition("/")[0] for name in built.wheel_names}

    assert {folder.partition("-")[0] for folder in folders} == {"jupyter_aiinfra"}
    assert not [name for name in built.wheel_names if "__pycache__" in name]


def test_sdist_carries_the_sources_and_what_needs_node_to_build(built: Built) -> None:
    names = set(built.sdist_names)

    assert {
        "LICENSE",
        "package-lock.json",
        "labextension/src/index.ts",
        "jupyter_aiinfra/labextension/.sources.sha256",
        "tests/integration/test_wheel.py",
        *WIDGETS,
    } <= names
    assert not [name for name in names if name.startswith(("node_modules", ".venv", "build/"))]


def test_installed_package_is_the_wheel(installed: Installed) -> None:
    printed = installed.python(
        "-c", "import jupyter_aiinfra as a; print(a.__file__, a.__version__)"
    )

    where, version = printed.split()
    assert Path(where).is_relative_to(installed.prefix)
    assert version == VERSION


def test_server_extension_is_enabled(installed: Installed) -> None:
    listed = installed.python(
        "-c", "from jupyter_server.extension.serverextension import main; main()", "list"
    )

    verdicts = [line.split() for line in listed.splitlines() if "jupyter_aiinfra " in line]
    assert [verdict[:2] for verdict in verdicts] == [
        ["jupyter_aiinfra", "enabled"],
        ["jupyter_aiinfra", VERSION],
    ]
    assert verdicts[1][-1] == "OK"


def test_labextension_is_enabled(installed: Installed) -> None:
    listed = installed.python("-c", "from jupyterlab.labextensions import main; main()", "list")

    (line,) = [line for line in listed.splitlines() if "jupyter-aiinfra" in line]
    assert "enabled" in line
    assert "OK" in line
    assert str(installed.prefix) in listed


def test_magics_load(installed: Installed) -> None:
    printed = installed.python("-m", "IPython", "-c", "%load_ext jupyter_aiinfra\n%pool list")

    assert "Error" not in printed
    assert "Traceback" not in printed


def test_command_line_is_installed(installed: Installed) -> None:
    program = installed.prefix / "bin" / "jupyter-aiinfra"

    done = _run([str(program), "--help"], environ=installed.environ, cwd=installed.prefix)

    assert "Usage" in done.stdout
