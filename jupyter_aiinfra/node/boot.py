"""The first thing a node reads of a channel: makes modules of sources sent after it, runs one.

Started as ``python -I -S -c 'exec(read from standard input)' MARKER``. A payload follows there: ten
digits with its length, then zlib-compressed JSON, an object of module names and sources. Nothing is
written to the node's disk. Python 3.6 can read this file, so that an old one can say so.
"""

import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
import types
import zlib
from typing import Any, Dict, Optional

__all__ = ["main"]


def _take(length: int) -> bytes:
    data = b""
    while len(data) < length:
        chunk = os.read(0, length - len(data))
        if not chunk:
            sys.exit("aiinfra: the channel was cut while it was opened")
        data += chunk
    return data


class _Sent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads modules among the sources; tracebacks show their lines."""

    def __init__(self, sources: Dict[str, str]) -> None:  # noqa: FA100 - Python 3.6 has it not
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> Optional[importlib.machinery.ModuleSpec]:  # noqa: FA100
        del path, target
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in self._sources else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave the making of the module to the machinery."""

    def exec_module(self, module: types.ModuleType) -> None:
        import linecache

        text = self._sources[module.__name__]
        path = "<aiinfra>/" + module.__name__ + ".py"
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
        module.__file__ = path
        exec(compile(text, path, "exec"), module.__dict__)  # noqa: S102 - our own modules


def main(marker: str) -> None:
    """Take the payload and serve the channel; never returns."""
    if sys.version_info < (3, 8):  # noqa: UP036 - that is what it is here for
        version = ".".join(str(part) for part in sys.version_info[:3])
        sys.exit("aiinfra: python " + version + " " + sys.executable)
    sources = json.loads(zlib.decompress(_take(int(_take(10)))).decode("utf-8"))
    sys.meta_path.insert(0, _Sent(sources))
    importlib.import_module("channel").main(marker, sources)


if __name__ == "__main__":
    main(sys.argv[1])
