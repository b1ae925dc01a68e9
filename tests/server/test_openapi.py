"""The committed OpenAPI file is what the server's table of endpoints says."""

from __future__ import annotations

import json
from pathlib import Path

from jupyter_aiinfra.server.app import ROUTES
from jupyter_aiinfra.server.openapi import openapi

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_committed_file_is_current() -> None:
    again = "run `python -m jupyter_aiinfra.server.openapi > docs/openapi.json && npm run types`"
    assert json.loads(FILE.read_text()) == json.loads(json.dumps(openapi(ROUTES))), again
