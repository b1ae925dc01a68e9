"""A program of several modules as one archive, which Python runs from memory as from a disk.

Standard library only, Python 3.8 and later; sent to nodes.
"""

from __future__ import annotations

import io
import os
import re
from typing import Mapping

__all__ = ["archive", "in_memory"]

# As `else:  # its neighbours` imports them.
_NEIGHBOUR = re.compile(r"^ {4}(?:import|from) (\w+)", re.MULTILINE)


def archive(name: str, sources: Mapping[str, str]) -> bytes:
    """Return a program that runs ``main()`` of the module `name`, with the modules it needs.

    ``python -I -S ARCHIVE ARGUMENT …`` runs it.
    """
    import zipfile  # tens of milliseconds of a node's time that few need

    modules = {"__main__": f"import sys\nfrom {name} import main\nsys.exit(main())\n"}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in sources and module not in modules:
            modules[module] = sources[module]
            waiting += _NEIGHBOUR.findall(sources[module])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for module, source in modules.items():
            file.writestr(f"{module}.py", source)
    return packed.getvalue()


def in_memory(name: str, data: bytes) -> int:
    """Return a descriptor of a file that is on no disk; ``/proc/PID/fd/N`` is its path."""
    descriptor = os.memfd_create(name)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor
