"""``endpoint export``: the model of an endpoint for other servers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from jupyter_aiinfra.bundle import stored
from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.group import TAKES_CONTEXT, complete_endpoint
from jupyter_aiinfra.engine.endpointviews import base_of
from jupyter_aiinfra.errors import NotFound, UsageError

__all__ = ["export"]

_MODEL = "model/"


@click.command("export")
@click.argument("source", metavar="ENDPOINT|FOLDER", shell_complete=complete_endpoint)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--to",
    "kind",
    type=click.Choice(["triton", "onnx"]),
    default="triton",
    show_default=True,
    help="a model repository of Triton, or a package with a graph of ONNX",
)
@click.option("--version", type=click.IntRange(1), help="of the endpoint (the one that serves)")
@click.option("--max-batch", type=click.IntRange(1), default=64, show_default=True)
@TAKES_CONTEXT
def export(
    context: Context,
    source: str,
    directory: Path,
    *,
    kind: str,
    version: int | None,
    max_batch: int,
) -> None:
    """Write a torch module for other servers, once it answers there as it was recorded.

    ENDPOINT|FOLDER is an endpoint, or a folder with endpoint.json. For Triton, DIR is the model
    repository, and gets a folder with the model, its config.pbtxt with dynamic batching, and a
    README of how it is started. For onnx, DIR is a package that can be deployed, too.

    \b
    Examples:
      endpoint export digits repository/ --to triton
      endpoint export packages/digits-1f2e3d4c5b6a digits-graph/ --to onnx
      endpoint export digits repository/ --version 3 --max-batch 256
    """  # noqa: D301 - click keeps the lines below its \b
    from jupyter_aiinfra.promote.packaging.handing import hand_over  # noqa: PLC0415 - brings numpy

    directory = directory.absolute()
    if (Path(source) / "endpoint.json").is_file():
        if version is not None:
            raise UsageError(f"{source} is a folder, and has no versions", hint="name an endpoint")
        made = hand_over(Path(source), directory, kind=kind, max_batch=max_batch)
    else:
        with tempfile.TemporaryDirectory(prefix="aiinfra-export-") as place:
            name = _laid_out(context, source, version, Path(place))
            made = hand_over(Path(place), directory, kind=kind, name=name, max_batch=max_batch)
    for path in made.files:
        context.surface.text(str(path))
    context.surface.text(made.replay.text)
    context.surface.value(
        {
            "to": kind,
            "folder": str(made.folder),
            "files": [str(path) for path in made.files],
            "calls": made.replay.calls,
            "replay": made.replay.text,
        }
    )


def _laid_out(context: Context, source: str, version: int | None, place: Path) -> str:
    """Put the package of an endpoint's version into a folder; return the endpoint's name."""
    engine = context.session.engine
    try:
        whole = engine.store.whole_endpoint(engine.store.get_endpoint(source).id)
    except NotFound as error:
        raise NotFound(
            error.message, hint="an endpoint or a folder with endpoint.json is expected"
        ) from None
    package = (whole.version(version) if version else base_of(whole)).package
    for file in stored(package.files, blobs=engine.settings.blobs).files:
        if file.path is None or not file.path.startswith(_MODEL):
            continue
        target = place / file.path.removeprefix(_MODEL)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            for piece in file.read():
                out.write(piece)
    return whole.endpoint.name
