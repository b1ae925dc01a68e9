"""What a model was made from, where that is known: the notebook, its data, its MLflow run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.packaging.folders import hashed

__all__ = ["lineage_of", "of_run"]

_MOST_FILES = 10_000


def lineage_of(*, notebook: Path | str | None, data: Sequence[str], root: Path) -> dict[str, Any]:
    """Return the notebook's version and the digests of `data`, files and folders below `root`.

    Raises
    ------
    UsageError
        One of them is not there.
    """
    found: dict[str, Any] = {"notebook": None, "data": [], "run": None}
    if notebook is not None:
        path = Path(notebook)
        if not path.is_file():
            raise UsageError(f"there is no notebook {path}", hint="save it first")
        found["notebook"] = {"path": path.name, "digest": hashed(path)}
    for name in data:
        path = root / name
        if path.is_file():
            size = path.stat().st_size
            found["data"].append({"name": name, "digest": hashed(path), "size_bytes": size})
        elif path.is_dir():
            found["data"].append({"name": name, **_folder(path, name)})
        else:
            raise UsageError(f"data {name!r}: there is no such file or folder in {root}")
    return found


def _folder(folder: Path, name: str) -> dict[str, Any]:
    sha = hashlib.sha256()
    size = 0
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(files) > _MOST_FILES:
        raise UsageError(
            f"data {name!r} holds {len(files)} files, and {_MOST_FILES} at most are looked at",
            hint="name a file that lists them",
        )
    for path in files:
        sha.update(f"{path.relative_to(folder).as_posix()} {hashed(path)}\n".encode())
        size += path.stat().st_size
    return {"digest": sha.hexdigest(), "size_bytes": size, "files": len(files)}


def of_run(client: Any, run_id: str | None) -> dict[str, Any] | None:
    """Return what the tracking server knows of the run that made a model."""
    if not run_id:
        return None
    run = client.get_run(run_id)
    inputs = getattr(run.inputs, "dataset_inputs", None) or []
    tags: Mapping[str, str] = run.data.tags
    return {
        "id": run_id,
        "experiment": run.info.experiment_id,
        "source": tags.get("mlflow.source.name"),
        "commit": tags.get("mlflow.source.git.commit"),
        "datasets": [{"name": each.dataset.name, "digest": each.dataset.digest} for each in inputs],
    }
