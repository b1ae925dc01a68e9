"""``python -m jupyter_aiinfra.promote.packaging.converting FOLDER TARGET``: a graph of a package.

In a process of its own, as it runs the package's code and has its modules on ``sys.path``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.promote.packaging.calls import Call
from jupyter_aiinfra.promote.packaging.exporting import as_graph
from jupyter_aiinfra.promote.packaging.schema import Schema
from jupyter_aiinfra.serving.manifest import CannotServe, Manifest, read_manifest
from jupyter_aiinfra.serving.schema import Reader
from jupyter_aiinfra.serving.torched import module_of

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Write the graph of the module in a folder into another; return an exit status."""
    folder, target = (Path(each) for each in argv)
    try:
        manifest = read_manifest(folder)
        sys.path.insert(0, str(folder))
        as_graph(
            _source(folder, manifest),
            Call(args=_example(manifest)),
            target,
            name=manifest.name,
            schema=Schema(inputs=manifest.inputs, outputs=manifest.outputs, batched=True),
        )
    except (AiInfraError, CannotServe) as error:
        print(error, file=sys.stderr)  # noqa: T201 - to whoever started it
        return 1
    return 0


def _source(folder: Path, manifest: Manifest) -> Any:
    import torch  # noqa: PLC0415 - only modules of it are converted

    if manifest.entry.endswith(".pt2"):
        return torch.export.load(folder / manifest.entry)
    # Graphs compute in single precision: what bfloat16 has rounded stays rounded.
    return module_of(torch, folder, manifest, torch.device("cpu")).float()


def _example(manifest: Manifest) -> tuple[Any, ...]:
    import torch  # noqa: PLC0415 - only modules of it are converted

    if manifest.example is None:
        raise CannotServe("without an example in endpoint.json no module becomes a graph")
    body = msgspec.json.encode({"inputs": manifest.example})
    batch: Any = Reader(manifest.signature).read(body)
    return tuple(torch.from_numpy(batch[field.name].copy()) for field in manifest.inputs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
