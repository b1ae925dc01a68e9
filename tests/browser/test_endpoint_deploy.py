"""What a notebook has, deployed from its toolbar, given another version, and rolled back."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage, notebook

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PAGE = ".aiinfra-EndpointPage"
DIALOG = ".jp-Dialog"
TOOLBAR = ".jp-NotebookPanel-toolbar [data-jp-item-name='aiinfra-deploy']"
TOASTS = ".Toastify__toast"
STARTS = 120.0

MODEL = """import numpy as np

def predict(x):
    return x.sum(axis=1, keepdims=True)

rows = np.array([[1.0, 2.0]], dtype=np.float32)"""
WORSE = "def predict(x):\n    return 100 * x.sum(axis=1, keepdims=True)"


class Deployed:
    """The endpoints of a server, as whoever may use it sees them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.site.attach()

    @property
    def item(self) -> dict[str, Any]:
        """The only one."""
        (found,) = self.lab.ask("GET", "/aiinfra/endpoints")["endpoints"]
        return dict(found)

    def call(self, key: str | None) -> tuple[int, Any]:
        """Call it at its own address; return the status and what was answered."""
        headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.item['url']}/predict", data=b'{"inputs": [[1, 2]]}', headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return int(answer.status), json.loads(answer.read())["outputs"]
        except urllib.error.HTTPError as error:
            return error.code, None

    def end(self) -> None:
        """Serve nothing more; returns once nothing of it runs."""
        for each in self.lab.ask("GET", "/aiinfra/endpoints")["endpoints"]:
            self.lab.ask("DELETE", f"/aiinfra/endpoint/{each['id']}")
        wait_until(lambda: not self.lab.site.store.list_jobs(active=True), seconds=STARTS)


@pytest.fixture
def deployed(lab: Lab) -> Iterator[Deployed]:
    made = Deployed(lab)
    yield made
    made.end()


def run(page: LabPage, index: int) -> None:
    """Run a cell to its end."""
    page.run_cell(index)
    page.wait_for_prompt(index, str(index + 1))


def test_a_function_is_deployed_from_the_toolbar_changed_and_rolled_back(
    lab: Lab, deployed: Deployed, window: Window, shots: Shots
) -> None:
    lab.write("adder.ipynb", notebook(MODEL, WORSE))
    page = window(width=1400, height=900)
    page.open_notebook("adder.ipynb")
    run(page, 0)
    page.page.locator(TOOLBAR).click()
    form = page.page.get_by_role("dialog", name="Deploy an endpoint")
    expect(form.get_by_label("Model")).to_have_value("name predict")
    expect(form.get_by_label("Endpoint")).to_have_value("adder")
    line = form.get_by_label("The line that is run")
    expect(line).to_have_text("%promote endpoint predict --name adder --pool here --replicas 1")

    # What the verb has against it is told at the field that it is about.
    form.get_by_label("Example (optional)").fill("nothing")
    form.get_by_role("button", name="Deploy").click()
    expect(form.get_by_label("Example (optional)")).to_have_attribute("aria-invalid", "true")
    expect(form).to_contain_text("no name of the notebook")
    form.get_by_label("Example (optional)").fill("rows")
    form.get_by_label("Key for").fill("anna")
    assert faults(page.page, DIALOG) == []
    shots(page, "deploy-form")
    form.get_by_role("button", name="Deploy").click()

    became = page.page.get_by_role("dialog").filter(has_text="“adder” is deployed")
    steps = became.get_by_role("list", name="What becomes of it").get_by_role("listitem")
    expect(steps).to_have_count(3)
    key = became.locator(".aiinfra-DeployProgress-key code").inner_text()
    expect(steps.last).to_have_text("It gets all requests: done")
    assert faults(page.page, DIALOG) == []
    shots(page, "deploy-progress")
    assert deployed.call(None) == (401, None)
    assert deployed.call(key) == (200, [[3]])
    # Nothing was written into the notebook, and nothing is left of the key in it.
    assert len(json.loads((lab.site.work / "adder.ipynb").read_text())["cells"]) == 2
    became.get_by_role("button", name="Open the endpoint").click()
    shown = page.page.locator(PAGE)
    expect(shown.locator("h2")).to_have_text("adder")

    # Another version of what the kernel has by now, from the page.
    page.open_notebook("adder.ipynb")
    run(page, 1)
    page.command("aiinfra:open-endpoint", {"id": deployed.item["id"]})
    shown.get_by_role("button", name="New version").click()
    form = page.page.get_by_role("dialog", name="New version of “adder”")
    expect(form).to_contain_text("it gets version 2")
    expect(form.get_by_label("Model")).to_have_value("name predict")
    form.get_by_label("Example (optional)").fill("rows")
    form.get_by_label("Change").select_option("canary")
    form.get_by_label("Percent").fill("20")
    assert faults(page.page, DIALOG) == []
    shots(page, "deploy-version-form")
    form.get_by_label("Change").select_option("blue-green")
    form.get_by_role("button", name="Deploy").click()
    became = page.page.get_by_role("dialog").filter(has_text="Version 2 of “adder”")
    expect(became.get_by_text("It gets all requests")).to_be_visible()
    became.get_by_role("button", name="Close", exact=True).last.click()
    assert deployed.call(key) == (200, [[300]])

    shown.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.page.locator(TOASTS, has_text="version 1 is served")).to_be_visible()
    wait_until(lambda: deployed.call(key) == (200, [[3]]), seconds=STARTS)


def test_the_line_goes_into_a_cell_where_that_is_asked(
    lab: Lab, deployed: Deployed, window: Window
) -> None:
    made: Any = notebook(MODEL, "1 + 1")
    made["cells"][0]["metadata"] = {"tags": ["predict"]}
    lab.write("tagged one.ipynb", made)
    page = window(width=1400, height=900)
    page.open_notebook("tagged one.ipynb")
    page.begin("aiinfra:deploy-notebook")
    form = page.page.get_by_role("dialog", name="Deploy an endpoint")
    expect(form.get_by_label("Model")).to_have_value("tagged")
    # Nothing was run yet.
    expect(form.get_by_label("Model").locator("option")).to_have_count(2)
    form.get_by_label("Example (optional)").fill('{"x":[[1, 2]]}')
    form.get_by_role("button", name="Insert as cell").click()
    expect(form).to_have_count(0)
    inserted = page.page.locator(".jp-Notebook .jp-Cell").nth(1)
    expect(inserted.locator(".cm-content")).to_have_text(
        '%promote endpoint "tagged one.ipynb" --name tagged-one --pool here'
        " --example '{{\"x\":[[1, 2]]}}' --replicas 1"
    )
    assert lab.ask("GET", "/aiinfra/endpoints")["endpoints"] == []
