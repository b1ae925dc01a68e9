"""A model served, tried, watched and rolled back: the page of endpoints."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
ROWS = f"{PAGE} .aiinfra-Table-row:visible"
TOASTS = ".Toastify__toast"
# Long enough for a model to load where two cores run all of this.
STARTS = 120.0


class Served:
    """An endpoint ``adder`` on the local pool, as whoever may use the server sees it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.site.attach()
        model(lab.site.work / "adder")
        asked = {"folder": "adder", "pool": "here", "workers": 1, "note": "the first"}
        self.id: str = lab.ask("POST", "/aiinfra/endpoints", asked)["id"]
        wait_until(lambda: self.item["state"] == "ready", seconds=STARTS)

    @property
    def item(self) -> dict[str, Any]:
        """The endpoint as it is now."""
        return dict(self.lab.ask("GET", f"/aiinfra/endpoint/{self.id}")["item"])

    def version(self, number: int) -> dict[str, Any]:
        """One of its versions."""
        return next(each for each in self.item["versions"] if each["number"] == number)

    @property
    def shares(self) -> dict[int, float]:
        """Which part of the requests each version gets."""
        return {each["version"]: each["weight"] for each in self.item["traffic"]}

    def update(self, folder: str, body: str, **values: Any) -> None:
        """Begin with another version, as a canary that stays at its first step."""
        model(self.lab.site.work / folder, body)
        asked = {"folder": folder, "how": "canary", "steps": [50], "step_seconds": 3600}
        asked |= {"gates": {"error_rate": 0.5, "p95_ms": None, "agreement": None}, **values}
        self.lab.ask("POST", f"/aiinfra/endpoint/{self.id}/update", asked)
        wait_until(lambda: (self.item["rollout"] or {}).get("percent") == 50, seconds=STARTS)

    def call(self, key: str | None = None) -> int:
        """Call it at its own address; return the status."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.item['url']}/predict", data=b'{"inputs": [[1, 2]]}', headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def end(self) -> None:
        """Serve it no more; returns once nothing of it runs."""
        if self.item["removed_at"] is None:
            self.lab.ask("DELETE", f"/aiinfra/endpoint/{self.id}")
        wait_until(lambda: not self.lab.site.store.list_jobs(active=True), seconds=STARTS)


@pytest.fixture
def served(lab: Lab) -> Iterator[Served]:
    made = Served(lab)
    yield made
    made.end()


def tab(page: LabPage, name: str) -> None:
    page.page.locator(PAGE).get_by_role("tab", name=name, exact=True).click()


def test_a_canary_is_watched_and_rolled_back(
    lab: Lab, served: Served, window: Window, shots: Shots
) -> None:
    page = window(width=1400, height=900)
    page.command("aiinfra:open-endpoints")
    row = page.page.locator(ROWS)
    expect(row).to_have_count(1)
    expect(row).to_contain_text("ready")
    expect(row).to_contain_text("1 of 1")
    assert faults(page.page, PAGE) == []
    shots(page, "endpoints")
    row.get_by_role("button", name="adder", exact=True).click()
    shown = page.page.locator(PAGE)
    expect(shown.locator("h2")).to_have_text("adder")

    served.update("doubled", "return 2 * x.sum(axis=1, keepdims=True)", note="doubled")
    rollout = shown.get_by_label("What is under way")
    expect(rollout).to_contain_text("From version 1 to 2")
    expect(rollout.locator("[aria-current=step]")).to_have_text("50 %")
    expect(shown.get_by_label("Part of version 2 in percent")).to_be_disabled()
    with ThreadPoolExecutor(4) as callers:
        statuses = list(callers.map(lambda _: served.call(), range(80)))
    assert set(statuses) == {200}
    # What was asked is seen by version, without asking for it anew.
    table = shown.get_by_role("region", name="Versions").locator("tbody tr")
    expect(table.nth(0).locator("td").nth(6)).to_have_text(re.compile("^[1-9]"))
    expect(table.nth(1).locator("td").nth(6)).to_have_text(re.compile("^[1-9]"))
    expect(shown.locator(".aiinfra-EndpointPage-line[data-colour='1']").first).to_have_attribute(
        "d", re.compile("^M")
    )
    assert faults(page.page, PAGE) == []
    shots(page, "endpoint-canary")

    shown.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.page.locator(TOASTS, has_text="version 1 is served")).to_be_visible()
    expect(rollout).to_contain_text("Version 2 was given up")
    assert served.shares == {1: 100.0}
    assert served.version(2)["state"] == "failed"
    tab(page, "History")
    expect(shown.locator("tbody tr:visible").first).to_contain_text("rolled back")
    assert faults(page.page, PAGE) == []


def test_it_is_tried_by_a_form_and_called_with_a_key(
    lab: Lab, served: Served, window: Window, shots: Shots
) -> None:
    page = window(width=1400, height=900)
    page.command("aiinfra:open-endpoint", {"id": served.id})
    shown = page.page.locator(PAGE)
    tab(page, "Try it")
    shown.get_by_label("x, value 1", exact=True).fill("4")
    shown.get_by_label("x, value 2", exact=True).fill("2.5")
    request = shown.get_by_label("Request, as JSON")
    expect(request).to_have_value('{"inputs": [[4, 2.5]]}')
    shown.get_by_role("button", name="Send", exact=True).click()
    answer = shown.locator(".aiinfra-EndpointPage-answer")
    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text("version 1")
    expect(answer.locator("pre")).to_contain_text('"outputs": [[6.5]]')
    assert faults(page.page, PAGE) == []
    shots(page, "endpoint-try")
    request.fill('{"inputs": [[1, 2, 3]]}')
    request.press("Control+Enter")
    expect(answer).to_contain_text("400")
    expect(answer.locator("pre")).to_contain_text("inputs")

    # A key is shown once, and nobody may call without one from then on.
    tab(page, "Keys")
    shown.get_by_label("Name", exact=True).fill("anna")
    shown.get_by_role("button", name="Make a key", exact=True).click()
    secret = shown.locator(".aiinfra-EndpointPage-secret code")
    expect(secret).to_be_visible()
    key = secret.inner_text()
    assert faults(page.page, PAGE) == []
    shots(page, "endpoint-keys")
    wait_until(lambda: served.call() == 401)
    assert served.call(key) == 200
    shown.get_by_role("button", name="Revoke anna", exact=True).click()
    page.page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    expect(shown.locator("tbody:visible")).to_contain_text("no more")
    wait_until(lambda: served.call(key) == 401)

    # How it was looked at is there again after a reload; the key is not.
    tab(page, "Try it")
    shown.get_by_role("button", name="Python", exact=True).click()
    request.fill('{"inputs": [[7, 8]]}')
    expect(shown.get_by_label("Call from Python")).to_contain_text("ENDPOINT_KEY")

    def kept() -> bool:
        text = json.dumps(lab.ask("GET", "/lab/api/workspaces"))
        assert key not in text
        return "[[7, 8]]" in text and '"python"' in text

    wait_until(kept)
    page.reload()
    expect(page.page.locator(f"{PAGE} h2")).to_have_text("adder")
    expect(request).to_have_value('{"inputs": [[7, 8]]}')
    expect(shown.get_by_label("x, value 2", exact=True)).to_have_value("8")
    # Who may use the server needs no key through it.
    shown.get_by_role("button", name="Send", exact=True).click()
    expect(answer.locator("pre")).to_contain_text("[[15]]")


def test_the_traffic_is_divided_and_it_is_removed(
    lab: Lab, served: Served, window: Window, shots: Shots
) -> None:
    page = window(width=1400, height=900)
    page.command("aiinfra:open-endpoint", {"id": served.id})
    shown = page.page.locator(PAGE)
    served.update("tripled", "return 3 * x.sum(axis=1, keepdims=True)")
    shown.get_by_role("button", name="Promote version 2", exact=True).click()
    expect(page.page.locator(TOASTS, has_text="version 2 is served")).to_be_visible()
    # The version before is kept for a while, and can have a part again.
    slider = shown.get_by_label("Part of version 1 in percent")
    expect(slider).to_be_enabled()
    slider.fill("30")
    expect(shown.get_by_label("Part of version 2 in percent")).to_have_value("70")
    shown.get_by_role("button", name="Divide", exact=True).click()
    wait_until(lambda: served.shares == {1: 30.0, 2: 70.0})
    expect(shown.locator(".aiinfra-EndpointPage-facts").first).to_contain_text("v1 30 % · v2 70 %")

    tab(page, "Replicas")
    expect(shown.locator("tbody tr:visible")).to_have_count(2)
    shown.locator("tbody tr:visible").first.get_by_role("button", name="Log of").click()
    expect(shown.locator(".aiinfra-EndpointPage-log")).to_contain_text("Log of")
    expect(shown.locator(".aiinfra-EndpointPage-log")).not_to_contain_text("loading")
    assert faults(page.page, PAGE) == []
    shots(page, "endpoint-replicas")

    # It is removed with a time to think, had back, and removed.
    shown.get_by_role("button", name="All endpoints").click()
    row = page.page.locator(ROWS)
    expect(row).to_have_count(1)
    row.focus()
    page.page.keyboard.press("Delete")
    expect(row).to_have_count(0)
    toast = page.page.locator(TOASTS, has_text="was removed")
    toast.get_by_role("button", name="Undo").click()
    expect(row).to_have_count(1)
    assert served.item["removed_at"] is None
    row.focus()
    page.page.keyboard.press("Delete")
    wait_until(lambda: served.item["removed_at"] is not None)
    expect(page.page.locator(f"{PAGE} .aiinfra-EndpointPage-empty")).to_contain_text(
        "Nothing is served"
    )
