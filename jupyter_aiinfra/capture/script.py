"""A script, and the modules of the user's own that it imports."""

from __future__ import annotations

import tokenize
from pathlib import Path

from jupyter_aiinfra.capture.cell import Capture, module_items, no_variables
from jupyter_aiinfra.capture.modules import LocalModules, imported
from jupyter_aiinfra.capture.syntax import parse
from jupyter_aiinfra.errors import CaptureError, UsageError
from jupyter_aiinfra.model import CaptureKind, Manifest

__all__ = ["capture_script"]


def capture_script(path: Path, *, root: Path) -> Capture:
    """Read the script `path` and find the local modules it needs. Nothing of it is run.

    Modules are looked for as Python would: beside the script first.

    Raises
    ------
    UsageError
        There is no such file, or it is not text.
    CaptureError
        It is not Python, or imports a local module that cannot travel.
    """
    try:
        with tokenize.open(path) as file:
            source = file.read()
    except OSError as error:
        raise UsageError(
            f"cannot read script {path}: {error.strerror}", hint="name a Python file"
        ) from None
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(
            f"script {path} is not Python text: {error}", hint="name a Python file"
        ) from None
    tree = parse(source, what=path.name)
    modules = LocalModules(search=[path.absolute().parent])
    modules.add_all(sorted(imported(tree.body)))
    items = sorted(module_items(modules.found, root=root), key=lambda item: item.name)
    refused = [item for item in items if item.kind is CaptureKind.REFUSED]
    if refused:
        raise CaptureError(
            f"{path.name} needs what cannot travel, so nothing was started:\n"
            + "\n".join(f"  {item.reason}\n    {item.hint}" for item in refused),
            refused,
        )
    return Capture(
        manifest=Manifest(
            items=tuple(items), size_bytes=sum(item.size_bytes or 0 for item in items)
        ),
        cell=source,
        variables=no_variables(),
        sources={name: file for module in modules.found for name, file in module.files.items()},
    )
