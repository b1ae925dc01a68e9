"""Build the JupyterLab extension and the notebook widgets, when their sources have changed.

Hatchling calls :func:`build` for every wheel, sdist and editable install; ``make`` and a developer
run this file. What was built carries the hash of what it was built from, so a build with nothing
to do takes no time and needs no Node: that is how an sdist installs without it.

    python build_frontend.py             build what is out of date, here and in this environment
    python build_frontend.py --install   only bring node_modules up to date
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "jupyter_aiinfra"
OUTPUTS = (
    PACKAGE / "labextension" / "package.json",
    PACKAGE / "labextension" / "static" / "style.js",
    *(
        PACKAGE / "widgets" / "static" / name
        for name in ("job.js", "job.css", "gpus.js", "gpus.css")
    ),
)
SOURCES_HASH = PACKAGE / "labextension" / ".sources.sha256"
LOCK_HASH = ROOT / "node_modules" / ".aiinfra-lock"
LOCK_FILES = (".npmrc", "package.json", "package-lock.json")
TEST_FILES = (".test.ts", ".spec.ts", ".test.tsx", ".spec.tsx")


def build(target_name: str, version: str, **_options: object) -> None:
    """Build the front end unless it is up to date; the signature is hatch-jupyter-builder's."""
    if is_current():
        return
    print(f"building the front end for {target_name} ({version})", flush=True)
    install()
    npm("run", "--silent", "build:prod")
    missing = [str(path.relative_to(ROOT)) for path in OUTPUTS if not path.is_file()]
    if missing:
        raise SystemExit(f"the front end was built without error, but made no {', '.join(missing)}")
    SOURCES_HASH.write_text(sources_hash(), encoding="ascii")


def refresh_installed() -> None:
    """Bring this environment's copy of the extension up to date, where it has one.

    An editable install copies what was built, as any install does. A link that
    ``jupyter-builder develop`` made needs nothing.
    """
    name = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["name"]
    installed = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / name
    built = SOURCES_HASH.parent
    if installed.is_symlink() or not installed.is_dir():
        return
    if _read(installed / SOURCES_HASH.name) != _read(SOURCES_HASH):
        kept = (installed / "install.json").read_bytes()
        shutil.rmtree(installed)
        shutil.copytree(built, installed)
        (installed / "install.json").write_bytes(kept)


def is_current() -> bool:
    """Whether everything built is there, and was made from these sources."""
    return all(path.is_file() for path in OUTPUTS) and _read(SOURCES_HASH) == sources_hash()


def install() -> None:
    """Make ``node_modules`` what the lock says, unless it is; the lock is never rewritten."""
    wanted = _hash(ROOT / name for name in LOCK_FILES)
    if _read(LOCK_HASH) != wanted:
        npm("ci", "--no-audit", "--no-fund", "--loglevel=error")
        LOCK_HASH.write_text(wanted, encoding="ascii")


def npm(*arguments: str) -> None:
    """Run npm in the project's folder, or end with a message that says what is missing."""
    # The scripts next to this interpreter come last: jupyter-builder is one of them, and a build
    # environment that brings its own, or its own node, goes first.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    program = shutil.which("npm", path=path)
    if program is None:
        raise SystemExit(
            "npm was not found, and the front end has to be built.\n"
            "  Install Node.js 20.19 or newer, or leave it to pip: `pip install .` brings its own."
        )
    done = subprocess.run(
        [program, *arguments], cwd=ROOT, env={**os.environ, "PATH": path}, check=False
    )
    if done.returncode:
        command = " ".join(["npm", *arguments])
        raise SystemExit(f"{command} failed with status {done.returncode}; it says why above")


def sources_hash() -> str:
    """Return the SHA-256 of everything that the built files depend on."""
    return _hash(_sources())


def _sources() -> Iterator[Path]:
    for name in (*LOCK_FILES, "tsconfig.json", "rspack.config.cjs"):
        yield ROOT / name
    yield from sorted((PACKAGE / "widgets").glob("*.css"))
    for folder in ("src", "style", "schema"):
        for path in sorted((ROOT / "labextension" / folder).rglob("*")):
            tested = "__tests__" in path.parts or path.name.endswith(TEST_FILES)
            if path.is_file() and not tested:
                yield path


def _hash(paths: Iterator[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _read(path: Path) -> str | None:
    return path.read_text(encoding="ascii") if path.is_file() else None


if __name__ == "__main__":
    if sys.argv[1:] == ["--install"]:
        install()
    elif not sys.argv[1:]:
        build("development", "this checkout")
        refresh_installed()
    else:
        raise SystemExit(__doc__)
