"""The Grafana dashboard that we ship is one, and asks for nothing that is not told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jupyter_aiinfra.telemetry.prometheus import METRICS

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "gpus.json"
LABELS = {"pool", "node", "gpu", "UUID", "modelName", "Hostname", "aiinfra_job", "rank", "state"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def queries() -> list[str]:
    found = dashboard()
    variables = [v["definition"] for v in found["templating"]["list"] if v["type"] == "query"]
    return variables + [each["expr"] for panel in found["panels"] for each in panel["targets"]]


def test_every_metric_and_label_is_told_of() -> None:
    for query in queries():
        names = set(re.findall(r"\b(?:DCGM_FI|aiinfra)_[A-Za-z0-9_]+", query)) - {"aiinfra_job"}
        assert names, query
        assert names <= METRICS, query
        assert set(re.findall(r"(\w+)=~", query)) <= LABELS, query


def test_panels_do_not_overlap_and_use_the_chosen_source() -> None:
    taken: set[tuple[int, int]] = set()
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"


def test_its_variables_are_those_that_it_uses() -> None:
    found = dashboard()
    known = {variable["name"] for variable in found["templating"]["list"]}
    assert set(re.findall(r"\$(\w+)", " ".join(queries()))) <= known
