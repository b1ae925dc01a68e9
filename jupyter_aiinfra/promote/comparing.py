"""What differs between two notebooks: of two versions their cells, of two runs what they show."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Comparison", "compare", "essence"]

# What differs between any two runs, and says nothing.
_PASSING = ("papermill", "execution", "collapsed", "scrolled", "trusted")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The differences as text, as nbdime prints them, and as its JSON, which a page can draw."""

    text: str
    diff: tuple[Mapping[str, Any], ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.diff


def compare(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    outputs: bool,
    names: tuple[str, str] = ("old", "new"),
) -> Comparison:
    """Compare two notebooks; with `outputs` also what their cells show. Takes seconds at first.

    Execution counts, times, and what papermill notes down are not compared.
    """
    from nbdime import diff_notebooks  # noqa: PLC0415 - seconds to import
    from nbdime.prettyprint import (  # noqa: PLC0415
        PrettyPrintConfig,
        pretty_print_notebook_diff,
    )

    before, after = (essence(each, outputs=outputs) for each in (old, new))
    diff = diff_notebooks(before, after)
    written = io.StringIO()
    if diff:
        config = PrettyPrintConfig(out=written, use_color=False, use_git=False)
        pretty_print_notebook_diff(*names, before, diff, config)
    plain: list[Mapping[str, Any]] = json.loads(json.dumps(diff))
    return Comparison(text=written.getvalue(), diff=tuple(plain))


def essence(notebook: Mapping[str, Any], *, outputs: bool) -> Any:
    """Return a notebook without what differs each time, as nbformat has it in memory."""
    from nbformat import v4  # noqa: PLC0415 - slow to import

    kept = copy.deepcopy(dict(notebook))
    kept["metadata"] = _lasting(kept.get("metadata"))
    for cell in kept.get("cells", []):
        cell["metadata"] = _lasting(cell.get("metadata"))
        if cell.get("cell_type") == "code":
            cell["execution_count"] = None
            cell["outputs"] = cell.get("outputs", []) if outputs else []
            for output in cell["outputs"]:
                if "execution_count" in output:
                    output["execution_count"] = None
    read: Any = v4.reads_json
    return read(json.dumps(kept))


def _lasting(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    found = (metadata or {}).items()
    return {key: value for key, value in found if key not in _PASSING}
