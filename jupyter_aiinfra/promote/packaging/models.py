"""Packages of models that MLflow has: ``runs:/…`` and ``models:/…``.

What MLflow loads may be a pickle, which runs what is in it. So only models of the registry or
tracking server that the user has set are taken, never a folder from anywhere.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_aiinfra.errors import MissingExtra, NotFound, UsageError
from jupyter_aiinfra.promote.packaging.calls import Call
from jupyter_aiinfra.promote.packaging.examples import outputs_of
from jupyter_aiinfra.promote.packaging.folders import Package, write_package
from jupyter_aiinfra.promote.packaging.lineage import of_run
from jupyter_aiinfra.promote.packaging.records import Record, lines, recorded, tolerance
from jupyter_aiinfra.promote.packaging.schema import Schema
from jupyter_aiinfra.serving.model import CannotServe, mlflow_fields
from jupyter_aiinfra.serving.schema import Field
from jupyter_aiinfra.settings import load_settings

__all__ = [
    "chosen_uri",
    "is_model_uri",
    "mlflow_module",
    "package_model",
    "quiet",
    "tracking",
    "using",
]

_URI = re.compile(r"(runs|models):/(?!/)[^\s]+")
_MODEL = "model"
_BARS = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"


def is_model_uri(source: Any) -> bool:
    """Whether `source` names a model of MLflow."""
    return isinstance(source, str) and source.startswith(("runs:", "models:"))


def mlflow_module() -> Any:
    """Return MLflow.

    Raises
    ------
    MissingExtra
        It is not installed.
    """
    try:
        return importlib.import_module("mlflow")
    except ImportError:
        raise MissingExtra("mlflow", "mlflow") from None


def tracking(uri: str | None) -> str:
    """Return the tracking URI to use: `uri`, what was chosen, or what MLflow does without."""
    return uri or chosen_uri() or str(mlflow_module().get_tracking_uri())


def chosen_uri() -> str | None:
    """Return where somebody has said that MLflow is: the program, its environment, our settings."""
    mlflow: Any = sys.modules.get("mlflow")
    # Of the environment MLflow says it, too; not loaded, it was told nothing else.
    if mlflow is not None and mlflow.is_tracking_uri_set():
        return str(mlflow.get_tracking_uri())
    return os.environ.get("MLFLOW_TRACKING_URI") or load_settings().tracking_uri


@contextlib.contextmanager
def using(uri: str) -> Iterator[None]:
    """Have MLflow use the server `uri` while the block runs; then what it had before."""
    mlflow = mlflow_module()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Have MLflow draw no progress bars while the block runs."""
    before = os.environ.get(_BARS)
    os.environ[_BARS] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_BARS]
        else:
            os.environ[_BARS] = before


def package_model(
    uri: str,
    folder: Path,
    about: Mapping[str, Any],
    *,
    given: tuple[Any] | None,
    known: Sequence[Record] = (),
    to: Path | None,
    tracking_uri: str | None,
) -> Package:
    """Make a package of the model at `uri`, in `folder` first.

    Raises
    ------
    UsageError
        It is no URI, or the model has no signature or no example.
    NotFound
        MLflow has no such model.
    """
    if not _URI.fullmatch(uri):
        raise UsageError(
            f"{uri!r} names no model",
            hint="runs:/RUN/NAME, models:/NAME/VERSION or models:/NAME@ALIAS is expected",
        )
    place, found, version, run_id = _fetched(uri, folder, tracking_uri)
    mlflow = mlflow_module()
    logged = found.signature
    if logged is None or logged.inputs is None:
        raise UsageError(
            f"{uri} was logged without a signature, so what it takes is not known",
            hint="log it again with signature= or input_example=",
        )
    try:
        inputs = mlflow_fields(logged.inputs)
    except CannotServe as error:
        raise UsageError(f"{uri}: {error}") from None
    example = given[0] if given else found.load_input_example(str(place))
    tensors = bool(logged.inputs.is_tensor_spec())
    calls, schema = [], _schema(inputs, (), tensors=tensors)
    if example is not None:
        # Loaded as MLflow does it: the user has named a model of their own registry.
        result = mlflow.pyfunc.load_model(str(place)).predict(example)
        calls = [Call(args=(_as_given(example, inputs, uri, tensors=tensors),), result=result)]
        schema = _schema(inputs, outputs_of([result]), tensors=tensors)
    records = [*recorded(_predict, calls, schema), *known]
    endpoint: dict[str, Any] = {
        "name": about["name"],
        "loader": "mlflow",
        "entry": _MODEL,
        "inputs": [_told(field) for field in schema.inputs],
        "outputs": [_told(field) for field in schema.outputs],
    }
    if records:
        told = records[0].inputs
        one = (
            {name: rows[:1] for name, rows in told.items()} if isinstance(told, dict) else told[:1]
        )
        endpoint["example"] = one
    client = mlflow.MlflowClient(tracking_uri=tracking(tracking_uri))
    lineage = {**about["lineage"], "run": of_run(client, run_id or found.run_id)}
    needs = place / "requirements.txt"
    required = needs.read_text(encoding="utf-8").splitlines() if needs.is_file() else []
    made = {
        **about,
        "kind": "mlflow",
        "source": uri,
        "lineage": lineage,
        "environment": None,
        "requirements": required,
        "tolerance": list(tolerance(schema)),
        "carries": [],
        "registered": None if version is None else f"models:/{version[0]}/{version[1]}",
    }
    return write_package(folder, endpoint, made, records=lines(records), to=to)


def _told(field: Field) -> dict[str, Any]:
    told = {"name": field.name, "dtype": field.dtype, "shape": list(field.shape)}
    return {**told, "nan": True} if field.nan else told


def _predict(model_input: Any) -> Any:
    """Stand for what MLflow's models have, for the name of its parameter."""
    return model_input


def _schema(inputs: tuple[Field, ...], outputs: tuple[Field, ...], *, tensors: bool) -> Schema:
    one = tensors and len(inputs) == 1
    return Schema(
        inputs=inputs,
        outputs=outputs,
        batched=True,
        takes={"model_input": "array"},
        shape="rows" if one else "frame",
    )


def _as_given(example: Any, inputs: tuple[Field, ...], uri: str, *, tensors: bool) -> Any:
    """Return `example` by the names of the inputs, as the endpoint will be given it."""
    if tensors and len(inputs) == 1:
        return next(iter(example.values())) if isinstance(example, Mapping) else example
    pandas = importlib.import_module("pandas")
    names = [field.name for field in inputs]
    if tensors:
        return example
    if isinstance(example, Mapping):
        values = {
            name: value if hasattr(value, "__len__") else [value] for name, value in example.items()
        }
        return pandas.DataFrame(values)[names]
    frame = example if hasattr(example, "columns") else pandas.DataFrame(example)
    if len(frame.columns) != len(names):
        raise UsageError(
            f"the example has {len(frame.columns)} columns, and {uri} takes {', '.join(names)}"
        )
    if not set(names) <= {str(name) for name in frame.columns}:
        frame = frame.set_axis(names, axis=1)
    return frame[names]


def _fetched(
    uri: str, folder: Path, tracking_uri: str | None
) -> tuple[Path, Any, tuple[str, str] | None, str | None]:
    """Bring the model into `folder`; return it, with its registered version and its run."""
    mlflow = mlflow_module()
    server = tracking(tracking_uri)
    client = mlflow.MlflowClient(tracking_uri=server)
    target = folder / _MODEL
    try:
        version, source = _version(client, uri)
        with using(server), quiet():
            artifacts = mlflow.artifacts.download_artifacts(
                artifact_uri=source, dst_path=str(folder / ".fetched"), tracking_uri=server
            )
    except mlflow.exceptions.MlflowException as error:
        raise NotFound(f"{uri}: {error.message}", hint="see what the registry has") from None
    Path(artifacts).rename(target)
    if (folder / ".fetched").is_dir():
        (folder / ".fetched").rmdir()
    run_id = None if version is None else version[2]
    return target, mlflow.models.Model.load(str(target)), version and version[:2], run_id


def _version(client: Any, uri: str) -> tuple[tuple[str, str, str | None] | None, str]:
    """Return name, number and run of a registered version, and where its files are."""
    if uri.startswith("runs:/"):
        return None, uri
    path = uri.removeprefix("models:/")
    name, at, alias = path.partition("@")
    if at:
        found = client.get_model_version_by_alias(name, alias)
    else:
        name, slash, number = path.partition("/")
        if not slash:
            return None, uri  # a logged model, by its id
        found = (
            _latest(client, name) if number == "latest" else client.get_model_version(name, number)
        )
    where = client.get_model_version_download_uri(found.name, found.version)
    return (found.name, str(found.version), found.run_id), where


def _latest(client: Any, name: str) -> Any:
    known = client.search_model_versions(f"name='{name}'")
    if not known:
        raise NotFound(f"models:/{name}/latest: the registry has no version of it")
    return max(known, key=lambda version: int(version.version))
