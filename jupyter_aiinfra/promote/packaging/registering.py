"""A package in the MLflow registry: what is served, with where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from jupyter_aiinfra.errors import PoolError, UsageError
from jupyter_aiinfra.model import from_json
from jupyter_aiinfra.promote.packaging.folders import ABOUT, Package, read_package
from jupyter_aiinfra.promote.packaging.models import mlflow_module, quiet, tracking, using
from jupyter_aiinfra.serving.model import MANIFEST, Manifest

__all__ = ["register"]

_CODE = Path(__file__).with_name("pyfunc.py")
_EXPERIMENT = "endpoints"


def register(
    package: Package, *, tracking_uri: str | None = None, alias: str | None = None
) -> Package:
    """Put `package` into the registry under its name, and return it with the URI it has there.

    A package of a registered model, and one that is there already, is left as it is. What is
    registered is loaded by ``mlflow.pyfunc`` like any other model.

    Parameters
    ----------
    alias
        A name for this version, such as ``champion``.

    Raises
    ------
    UsageError
        What `package` is was not registered, and is no package of ours to register: a run's model.
    PoolError
        The registry does not take it; says why.
    """
    mlflow = mlflow_module()
    uri = tracking(tracking_uri)
    if package.manifest.get("registered"):
        return package
    client = mlflow.MlflowClient(tracking_uri=uri)
    try:
        number = _known(client, package) or _logged(mlflow, client, package, uri)
        if alias:
            client.set_registered_model_alias(package.name, alias, number)
    except mlflow.exceptions.MlflowException as error:
        raise PoolError(f"the registry at {uri} does not take it: {error.message}") from error
    told = {**package.manifest, "registered": f"models:/{package.name}/{number}"}
    path = package.folder / ABOUT
    path.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    return read_package(package.folder)


def _known(client: Any, package: Package) -> str | None:
    """Return the version that holds this very package, if there is one."""
    found = client.search_model_versions(f"name='{package.name}'")
    same = [each for each in found if each.tags.get("aiinfra.digest") == package.digest]
    return str(same[0].version) if same else None


def _logged(mlflow: Any, client: Any, package: Package, uri: str) -> str:
    manifest = from_json((package.folder / MANIFEST).read_bytes(), Manifest)
    if package.manifest["kind"] == "mlflow":
        source = package.manifest["source"]
        run = (package.manifest["lineage"]["run"] or {}).get("id")
        if run is None:
            raise UsageError(
                f"{source} is a model of no run, which cannot be registered from here",
                hint=f"mlflow.register_model({source!r}, {package.name!r})",
            )
        _named(mlflow, client, package.name)
        found = client.create_model_version(package.name, source, run_id=run, tags=_tags(package))
        return str(found.version)
    requirements = [*package.manifest["requirements"], f"numpy=={np.__version__}"]
    experiment = _experiment(client)
    with (
        using(uri),
        quiet(),
        mlflow.start_run(experiment_id=experiment, run_name=package.name, nested=True),
    ):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_CODE),
            artifacts={"package": str(package.folder)},
            signature=_signature(manifest),
            input_example=_example(manifest),
            pip_requirements=sorted(set(requirements)),
            registered_model_name=package.name,
            metadata={"digest": package.digest},
        )
    number = str(logged.registered_model_version)
    for key, value in _tags(package).items():
        client.set_model_version_tag(package.name, number, key, value)
    return number


def _experiment(client: Any) -> str:
    # The notebook's own choice of an experiment stays what it is.
    known = client.get_experiment_by_name(_EXPERIMENT)
    return str(known.experiment_id if known else client.create_experiment(_EXPERIMENT))


def _named(mlflow: Any, client: Any, name: str) -> None:
    try:
        client.create_registered_model(name)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _tags(package: Package) -> dict[str, str]:
    told = package.manifest
    notebook = told["lineage"]["notebook"] or {}
    tags = {
        "aiinfra.digest": package.digest,
        "aiinfra.source": str(told["source"]),
        "aiinfra.git.commit": told["git"].get("commit", ""),
        "aiinfra.git.dirty": told["git"].get("dirty", ""),
        "aiinfra.notebook": notebook.get("path", ""),
        "aiinfra.notebook.digest": notebook.get("digest", ""),
        "aiinfra.data": " ".join(
            f"{each['name']}@{each['digest'][:12]}" for each in told["lineage"]["data"]
        ),
    }
    return {name: value for name, value in tags.items() if value}


def _signature(manifest: Manifest) -> Any:
    from mlflow.models import ModelSignature  # noqa: PLC0415 - slow to import
    from mlflow.types import ColSpec, Schema, TensorSpec  # noqa: PLC0415
    from mlflow.types.schema import AnyType  # noqa: PLC0415 - the same

    if not manifest.inputs:
        anything = AnyType()  # type: ignore[no-untyped-call]
        return ModelSignature(inputs=Schema([ColSpec(anything)]))

    def side(fields: Any) -> Any:
        specs: list[ColSpec | TensorSpec] = []
        for field in fields:
            kind = np.dtype("O" if field.dtype == "string" else field.dtype)
            shape = (-1, *(-1 if size is None else size for size in field.shape))
            # A single tensor has no name, so that an array by itself is taken for it.
            specs.append(TensorSpec(kind, shape, field.name if len(fields) > 1 else None))
        return Schema(specs)

    outputs = side(manifest.outputs) if manifest.outputs else None
    return ModelSignature(inputs=side(manifest.inputs), outputs=outputs)


def _example(manifest: Manifest) -> Any:
    # Of what has no types MLflow makes something else; calls.jsonl, which travels, has it as it is.
    if manifest.example is None or not manifest.inputs:
        return None
    kinds = {f.name: np.dtype("O" if f.dtype == "string" else f.dtype) for f in manifest.inputs}
    if len(kinds) == 1:
        return np.asarray(manifest.example, next(iter(kinds.values())))
    return {name: np.asarray(manifest.example[name], kind) for name, kind in kinds.items()}
