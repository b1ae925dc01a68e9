"""Who pays for a job: tags of the launch line, of the notebook, and of the settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.settings import Settings

__all__ = ["METADATA", "job_tags", "notebook_tags", "parse_tag"]

METADATA: Final = "aiinfra"
"""The key of a notebook's metadata whose ``tags`` are those of its jobs."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_VALUE_LENGTH: Final = 200
_NOTEBOOK_BYTES: Final = 64 << 20


def parse_tag(flag: str, text: str, *, empty: bool = False) -> tuple[str, str]:
    """Read ``project=vision``; ``cost_centre`` is ``cost-centre``.

    Raises
    ------
    UsageError
        It is none.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip().lower().replace("_", "-"), value.strip()
    if not equals or not _NAME.fullmatch(name) or not (value or empty):
        raise UsageError(
            f"{flag} {text!r}: expected NAME=VALUE",
            hint="such as project=vision, team=research or cost-centre=4711",
        )
    if len(value) > _VALUE_LENGTH:
        raise UsageError(f"{flag} {name}: a value has {_VALUE_LENGTH} characters at most")
    return name, value


def job_tags(settings: Settings, notebook: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a job: those given, else of its notebook, else of the settings."""
    common = {
        "project": settings.project,
        "team": settings.team,
        "cost-centre": settings.cost_centre,
    }
    known = {name: value for name, value in common.items() if value}
    return {**known, **notebook_tags(notebook), **given}


def notebook_tags(notebook: str | None) -> dict[str, str]:
    """Return the tags in the metadata of a notebook, as it was saved last; of none, nothing.

    ``{"aiinfra": {"tags": {"project": "vision"}}}``; what is no tag there is left out.
    """
    if not notebook or not notebook.endswith(".ipynb"):
        return {}
    path = Path(notebook)
    try:
        if path.stat().st_size > _NOTEBOOK_BYTES:
            return {}
        data: Any = json.loads(path.read_bytes())
        tags = data["metadata"][METADATA]["tags"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found: dict[str, str] = {}
    for name, value in tags.items() if isinstance(tags, dict) else ():
        try:
            key, text = parse_tag("tag", f"{name}={value}")
        except UsageError:
            continue
        found[key] = text
    return found
