"""What was asked of an endpoint and what that costs, on its page."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.endpoints import model
from tests.support.lab import Lab, LabPage

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PAGE = ".aiinfra-EndpointPage"
STARTS = 120.0


@pytest.fixture
def served(lab: Lab) -> Iterator[dict[str, Any]]:
    """Yield an endpoint on a pool that has a price."""
    lab.site.attach("--price", "3600/node-h")
    model(lab.site.work / "adder")
    made = lab.ask("POST", "/aiinfra/endpoints", {"folder": "adder", "pool": "here", "workers": 1})
    address = f"/aiinfra/endpoint/{made['id']}"

    def item() -> dict[str, Any]:
        return dict(lab.ask("GET", address)["item"])

    wait_until(lambda: item()["state"] == "ready", seconds=STARTS)
    yield item()
    lab.ask("DELETE", address)
    wait_until(lambda: not lab.site.store.list_jobs(active=True), seconds=STARTS)


def ask(url: str, inputs: Any) -> None:
    body = json.dumps({"inputs": inputs}).encode()
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/predict", data=body, headers=kind)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
        assert answer.status == 200


def test_requests_are_kept_shown_and_what_they_cost_is_told(
    lab: Lab, served: dict[str, Any], window: Window, shots: Shots
) -> None:
    page = window(width=1400, height=900)
    page.command("aiinfra:open-endpoints", {"endpoint": served["id"], "tab": "samples"})
    shown = page.page.locator(PAGE)
    expect(shown).to_contain_text("No request is kept.")
    shown.get_by_label("Percent of requests").fill("100")
    shown.get_by_label("Left out").fill("email")
    shown.get_by_role("button", name="Keep", exact=True).click()
    expect(shown).to_contain_text("100 % of the requests are kept with their answers")

    # The router is told of it a moment later.
    address = f"/aiinfra/endpoint/{served['id']}/samples"

    def kept() -> bool:
        ask(served["url"], [[41, 1]])
        return bool(lab.ask("GET", address)["found"])

    wait_until(kept, seconds=STARTS)
    shown.get_by_role("button", name="Read again").click()
    row = shown.get_by_role("region", name="Kept requests").locator("tbody tr").first
    expect(row).to_contain_text("200")
    expect(row).to_contain_text("/predict")
    row.get_by_role("button", name="Show what was asked").click()
    expect(shown.get_by_role("region", name="Answer")).to_contain_text("42")
    assert faults(page.page, PAGE) == []
    shots(page, "endpoint-samples")

    # What the router does is set there, too.
    shown.get_by_role("tab", name="Settings").click()
    shown.get_by_label("A caller keeps to a version by").fill("X-User")
    routing = shown.get_by_role("form", name="Routing")
    routing.get_by_role("button", name="Save").click()
    expect(routing.get_by_role("button", name="Save")).to_be_disabled()
    options = lab.ask("GET", f"/aiinfra/endpoint/{served['id']}")["item"]["options"]
    assert (options["sticky"], options["redact"]) == ("X-User", ["email"])
    assert faults(page.page, PAGE) == []
    shots(page, "endpoint-settings")

    # What the replica costs is metered by and by.
    cost = shown.locator(".aiinfra-EndpointPage-facts div", has_text="Cost of 1,000")
    expect(cost).to_contain_text(re.compile(r"\$\d"))
    shown.get_by_role("tab", name="Overview").click()
    table = shown.get_by_role("region", name="Versions")
    expect(table.locator("tbody tr").first).to_contain_text(re.compile(r"\$\d"))
    assert faults(page.page, PAGE) == []
    shots(page, "endpoint-cost")
