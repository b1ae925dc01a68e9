"""``promote endpoint``: from what the notebook has to a URL, in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.endpointverbs import (
    DEPLOYING,
    DETACH,
    UPDATING,
    WAIT,
    deploy_folder,
    options_of,
    update_folder,
)
from jupyter_aiinfra.commands.group import TAKES_CONTEXT, complete_pool
from jupyter_aiinfra.endpoint import check_endpoint_name
from jupyter_aiinfra.errors import AiInfraError, NotFound, UsageError

__all__ = ["promote_endpoint"]

# Of the options of a version each is taken once.
_OPTIONS = (*DEPLOYING, *(each for each in UPDATING if each not in DEPLOYING))


@click.command("endpoint")
@click.argument("source")
@click.option("--name", required=True, help="what it is called, in its URL too")
@click.option(
    "--pool", shell_complete=complete_pool, help="where it runs; as before, for a new one"
)
@click.option("--replicas", type=click.IntRange(1), help="how many, of one that is new")
@click.option(
    "--example", metavar="JSON", help="the argument of one call; in a notebook also a name"
)
@click.option("--one-at-a-time", is_flag=True, help="a call takes one example, not many")
@click.option(
    *("--calls", "answers"),
    metavar="FILE",
    help="what has to be answered alike, too: as endpoint samples --out writes it",
)
@click.option("--form", help="of a torch module: source, bf16, export, onnx or int8 (source)")
@click.option("--device", help="of a torch module: cpu, cuda, cuda:0 or auto (cuda with --gpus)")
@click.option("--data", "lineage", multiple=True, metavar="PATH", help="what it was made from")
@options_of(_OPTIONS)
@DETACH
@WAIT
@TAKES_CONTEXT
def promote_endpoint(
    context: Context,
    /,
    source: str,
    *,
    name: str,
    pool: str | None,
    replicas: int | None,
    example: str | None,
    one_at_a_time: bool,
    answers: str | None,
    form: str | None,
    device: str | None,
    lineage: tuple[str, ...],
    through: bool,
    detach: bool,
    wait_seconds: float | None,
    **given: Any,
) -> None:
    """Package what SOURCE names, hold it against its recorded calls, and serve it.

    SOURCE is a name of the notebook (a function or a torch module), a notebook with a cell tagged
    predict, runs:/… or models:/…, or a folder with endpoint.json. Where there is an endpoint of
    that name it gets a new version, as endpoint update does; otherwise it is deployed.

    \b
    Examples:
      promote endpoint predict --name digits --pool lab --example "[[0, 0.5]]"
      promote endpoint models:/digits@champion --name digits --canary 10
      promote endpoint net --name digits --calls calls.jsonl     as endpoint samples --out wrote
      promote endpoint net --name digits --pool lab --gpus 1 --form bf16 --example batch
      promote endpoint train.ipynb --name digits --pool lab --min 0 --max 4
    """  # noqa: D301 - click keeps the lines below its \b
    check_endpoint_name(name)
    store = context.session.engine.store
    try:
        there = store.get_endpoint(name).name == name
    except NotFound:
        there = False
    if pool is None and not there:
        raise UsageError("on which pool?", hint="--pool POOL", option="pool")
    folder = _folder(
        source,
        name=name,
        example=example,
        batched=False if one_at_a_time else None,
        environment=given["environment"],
        lineage=lineage,
        chosen={
            "form": form,
            "device": device,
            "calls": answers,
            # Whoever asks for GPUs means the module to be on them.
            "otherwise": "cuda" if given["gpus"] and form != "int8" else None,
        },
    )
    context.surface.text(f"packaged in {folder}")
    _tell_form(context, folder)
    if there:
        update_folder(
            context,
            name,
            folder,
            pool=pool,
            through=through,
            detach=detach,
            wait_seconds=wait_seconds,
            given=given,
        )
    else:
        deploy_folder(
            context,
            folder,
            name=name,
            pool=pool or "",
            replicas=replicas,
            detach=detach,
            wait_seconds=wait_seconds,
            given=given,
        )
    _register(context, folder)


def _register(context: Context, folder: Path) -> None:
    """Put the package into MLflow's registry, where there is one; it has passed its gate."""
    if not (folder / "package.json").is_file():
        return
    from jupyter_aiinfra.promote.packaging import (  # noqa: PLC0415 - brings numpy
        chosen_uri,
        read_package,
        register,
    )

    uri = chosen_uri()
    if uri is None:
        return
    try:
        made = register(read_package(folder), tracking_uri=uri)
    except AiInfraError as error:
        # What is deployed does not hang on a registry.
        context.surface.text(f"not registered: {error.message}")
        return
    context.surface.text(f"registered as {made.manifest['registered']}")


def _folder(
    source: str,
    *,
    name: str,
    example: str | None,
    batched: bool | None,
    environment: str | None,
    lineage: tuple[str, ...],
    chosen: Mapping[str, str | None],
) -> Path:
    """Return a folder with the package of what `source` names."""
    path = Path(source)
    if (path / "endpoint.json").is_file():
        given = [name for name in ("form", "device", "calls") if chosen[name] is not None]
        if given:
            raise UsageError(
                f"{source} is packaged already, so --{given[0]} comes too late",
                hint="its endpoint.json says what it is",
                option=given[0],
            )
        return path
    from jupyter_aiinfra.promote.packaging import package  # noqa: PLC0415 - brings numpy

    values: dict[str, Any] = {}
    if example is not None:
        values["example"] = _example(example)
    found = _found(source, path)
    device = chosen["device"] or (chosen["otherwise"] if _is_module(found) else None)
    wanted = {"form": chosen["form"], "device": device, "calls": chosen["calls"]}
    values |= {name: value for name, value in wanted.items() if value is not None}
    made = package(
        found,
        name=name,
        environment=environment,
        batched=batched,
        data=lineage,
        notebook=found if isinstance(found, Path) else None,
        **values,
    )
    return made.folder


def _tell_form(context: Context, folder: Path) -> None:
    """Say how what is about to be deployed compares with the module as it is."""
    if not (folder / "package.json").is_file():
        return
    from jupyter_aiinfra.promote.packaging import (  # noqa: PLC0415 - brings numpy
        read_package,
        report,
    )

    told = report(read_package(folder).manifest)
    if told is not None:
        context.surface.text(told)


def _is_module(value: Any) -> bool:
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _example(text: str) -> Any:
    """Return what ``--example`` says: JSON, or a name of the notebook."""
    names = vars(sys.modules["__main__"])
    if "get_ipython" in names and text.isidentifier() and text in names:
        return names[text]
    try:
        return _argument(json.loads(text))
    except ValueError as error:
        raise UsageError(
            f"--example is no JSON, and no name of the notebook: {error}", option="example"
        ) from None


def _argument(told: Any) -> Any:
    """Return an example as the function takes it: lists of numbers as an array."""
    import numpy as np  # noqa: PLC0415

    if isinstance(told, list):
        array = np.asarray(told)
        if array.dtype.kind == "f":
            return array.astype(np.float32)
        return array if array.dtype.kind in "biu" else told
    return told


def _found(source: str, path: Path) -> Any:
    """Return what `source` names: a URI, a notebook, or something of the notebook."""
    if source.startswith(("runs:/", "models:/")):
        return source
    if path.suffix == ".ipynb":
        return path
    # A kernel's names are those of its main module; of any other program they mean nothing.
    names = vars(sys.modules["__main__"])
    if "get_ipython" in names and source.isidentifier():
        if source in names:
            return names[source]
        raise UsageError(
            f"the notebook has no {source!r}", hint="run the cell that makes it", option="source"
        )
    raise UsageError(
        f"{source!r} is nothing that can be served",
        hint="a notebook, runs:/…, models:/…, a folder with endpoint.json; in a notebook a name",
        option="source",
    )
