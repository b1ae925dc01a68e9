"""The folder that a package is: written whole or not at all, and named by what is in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.packaging.records import CALLS
from jupyter_aiinfra.serving.model import MANIFEST

__all__ = ["ABOUT", "Package", "filled", "fresh", "hashed", "read_package", "write_package"]

ABOUT = "package.json"
"""What is known of the package beside what serves it. The only file that its digest leaves out."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A model ready to be served.

    Parameters
    ----------
    folder
        With ``endpoint.json``, and all that it needs.
    digest
        Of everything that makes the model, its version's name aside.
    manifest
        What ``package.json`` holds: source, git, lineage, requirements, where it is registered.
    calls
        How many recorded calls it is held against.
    """

    folder: Path
    name: str
    digest: str
    manifest: Mapping[str, Any]
    calls: int


def read_package(folder: Path | str) -> Package:
    """Return the package in `folder`.

    Raises
    ------
    UsageError
        There is none.
    """
    place = Path(folder)
    try:
        about = json.loads((place / ABOUT).read_bytes())
        return Package(
            folder=place,
            name=about["name"],
            digest=about["digest"],
            manifest=about,
            calls=int(about["calls"]),
        )
    except OSError as error:
        raise UsageError(
            f"{place} holds no package: {error.strerror} ({error.filename})",
            hint="make one with package()",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{place} holds no package: {ABOUT}: {error!r}") from None


def write_package(
    content: Path,
    endpoint: Mapping[str, Any],
    about: Mapping[str, Any],
    *,
    records: bytes,
    to: Path | None,
) -> Package:
    """Make the package of `content`, a folder that becomes it, at `to`; return it.

    Without `to` it lies beside `content`, under a name of its own.

    A package of the same digest that is there already stays as it is.

    Raises
    ------
    UsageError
        Something else is at `to`.
    """
    filled(content, endpoint, records)
    digest = _digest(content)
    # Answers name the version that gave them; deploying gives it a number of its own.
    told = {**endpoint, "version": endpoint.get("version") or digest[:12]}
    (content / MANIFEST).write_bytes(_text(told))
    made = {**about, "digest": digest, "calls": len(records.splitlines())}
    (content / ABOUT).write_bytes(_text(made))
    _only_ours(content)
    to = to or content.parent / f"{made['name']}-{digest[:12]}"
    if to.exists():
        known = _known(to)
        if known is None:
            raise UsageError(
                f"{to} is there already, and is no package",
                hint="name a folder that is not there, or leave `to` out",
            )
        if known.digest == digest and known.manifest.get("name") == made["name"]:
            shutil.rmtree(content)
            return known
        shutil.rmtree(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    content.rename(to)
    return read_package(to)


def filled(content: Path, endpoint: Mapping[str, Any], records: bytes) -> None:
    """Put into a folder with what is served what it is served by, and its recorded calls."""
    (content / MANIFEST).write_bytes(_text({**endpoint, "version": ""}))
    (content / CALLS).write_bytes(records)


@contextlib.contextmanager
def fresh(beside: Path) -> Iterator[Path]:
    """Hold an empty folder on the disk of `beside`; what is left of it goes at the end."""
    beside.mkdir(0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".making-", dir=beside))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _known(folder: Path) -> Package | None:
    try:
        return read_package(folder)
    except UsageError:
        return None


def _text(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _digest(folder: Path) -> str:
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ABOUT:
            sha.update(f"{path.relative_to(folder).as_posix()} {hashed(path)}\n".encode())
    return sha.hexdigest()


def hashed(path: Path) -> str:
    """Return the SHA-256 of a file."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            sha.update(part)
    return sha.hexdigest()


def _only_ours(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    folder.chmod(0o700)
