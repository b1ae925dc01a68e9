"""A pool of hosts over ssh, in the browser: attached by the form, watched as a host goes away."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.hosts import Hosts, open_hosts
from tests.support.lab import Lab, LabPage, open_lab
from tests.support.sshpool import connections
from tests.support.sshsite import SshSite

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PANEL = "#aiinfra-panel"
TALKING = """\
import os, pathlib, time
print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"], "is there", flush=True)
while not (pathlib.Path.home() / "go on").exists():
    time.sleep(0.1)
print("rank", os.environ["RANK"], "is done", flush=True)
"""


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with connections(), open_hosts(tmp_path / "hosts") as opened:
        yield opened


@pytest.fixture
def site(tmp_path: Path, hosts: Hosts) -> Iterator[SshSite]:
    root = tmp_path / "site"
    try:
        opened = SshSite(root, hosts, impatient=True)
        yield opened
    finally:
        opened.close()


@pytest.fixture
def lab(site: SshSite) -> Iterator[Lab]:
    # A pool that is watched is asked often: what a host does is to be seen soon.
    options = ["--Background.pool_seconds=3", "--Background.refresh_longest_seconds=2"]
    with open_lab(site, options=options) as opened:
        yield opened


def pool(page: LabPage, name: str = "lab") -> Any:
    return page.page.locator(f'{PANEL} [data-pool="{name}"]')


def node(page: LabPage, name: str) -> Any:
    return pool(page).locator(f'[data-node="{name}"]')


def test_hosts_are_trusted_one_by_one_and_by_the_keyboard_alone(
    hosts: Hosts, window: Window, shots: Shots
) -> None:
    hosts.known_hosts.write_text("")
    page = window(width=1024)
    keyboard = page.page.keyboard
    page.command("aiinfra:show-panel")
    panel = page.page.locator(PANEL)
    panel.get_by_role("button", name="Attach a pool…").press("Enter")
    dialog = page.page.get_by_role("dialog")
    expect(dialog.get_by_label("Name")).to_be_focused()
    keyboard.type("lab")
    keyboard.press("Tab")
    keyboard.type("SSH")  # the kind: SSH hosts; simulated ones begin with an S, too
    expect(dialog.get_by_label("Hosts (or Hosts from)")).to_be_visible()
    shots(page, "attach-ssh")
    assert faults(page.page, ".jp-Dialog") == []

    # What cannot be is said at its field, and the focus goes there.
    dialog.get_by_label("Hosts (or Hosts from)").focus()
    keyboard.type("gpu1,gpu 2")
    keyboard.press("Enter")
    hosts_field = dialog.get_by_label("Hosts (or Hosts from)")
    expect(hosts_field).to_have_attribute("aria-invalid", "true")
    expect(hosts_field).to_be_focused()
    expect(dialog).to_contain_text("'gpu 2' is not a host")
    shots(page, "attach-ssh-wrong-host")
    assert faults(page.page, ".jp-Dialog") == []

    keyboard.press("Control+a")
    keyboard.type("gpu1,gpu2")
    dialog.get_by_label("Python (optional)").focus()
    keyboard.type(sys.executable)
    keyboard.press("Enter")
    expect(dialog).to_contain_text("Trust this host?")
    expect(dialog.get_by_role("button", name="Do not trust")).to_be_focused()
    expect(dialog.locator("code").first).to_have_text(fingerprint(hosts, "gpu1"))
    shots(page, "attach-ssh-host-key")
    assert faults(page.page, ".jp-Dialog") == []
    keyboard.press("Enter")
    expect(dialog).to_contain_text("Nothing was sent to gpu1")
    assert hosts.known_hosts.read_text() == ""

    expect(dialog.get_by_label("Name")).to_be_focused()
    keyboard.press("Enter")
    for name in ("gpu1", "gpu2"):
        expect(dialog.locator("code").first).to_have_text(fingerprint(hosts, name))
        expect(dialog.get_by_role("button", name="Do not trust")).to_be_focused()
        keyboard.press("ArrowRight")
        keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    assert len(hosts.known_hosts.read_text().splitlines()) == 2

    expect(pool(page).locator(".aiinfra-PoolRow-toggle")).to_be_focused()
    expect(pool(page).locator(".aiinfra-PoolRow-status").first).to_have_text("live")
    for name in hosts:
        expect(node(page, name)).to_contain_text("live")
        expect(node(page, name)).to_contain_text(hosts[name].address)
    shots(page, "panel-ssh")
    assert faults(page.page, PANEL) == []


def fingerprint(hosts: Hosts, name: str) -> str:
    key = hosts[name].folder / "etc/host_key.pub"
    words = hosts[name].run(["ssh-keygen", "-l", "-f", str(key)]).stdout.decode().split()
    return words[1]


def test_a_host_goes_away_and_comes_back_while_a_job_runs_on_it(
    hosts: Hosts, site: SshSite, window: Window, shots: Shots
) -> None:
    site.attach_hosts()
    site.script("talking.py", TALKING)
    words = ["talking.py", "--pool", "lab", "--cpu", "--nodes", "2", "--procs", "2"]
    job = site.launch(*words)
    page = window(width=1024)
    page.command("aiinfra:show-panel")
    page.command("aiinfra:open-job", {"id": job})
    job_page = page.page.locator(".aiinfra-JobPage")
    state = job_page.locator(".aiinfra-state")
    expect(state).to_have_text("running")
    expect(job_page.locator(".aiinfra-facts")).to_contain_text("2 nodes x 2 ranks")
    pool(page).locator(".aiinfra-PoolRow-toggle").click()
    expect(node(page, "gpu2")).to_contain_text("live")
    # With the panel beside it, the tabs fit into a wide page, and a narrow one has a list.
    tabs = job_page.locator(".aiinfra-LogSection").get_by_role("tab")
    page.page.set_viewport_size({"width": 1600, "height": 800})
    expect(tabs).to_contain_text(
        ["gpu1 · rank 0", "rank 1", "gpu2 · rank 2", "rank 3", "launcher gpu1", "launcher gpu2"]
    )
    page.page.set_viewport_size({"width": 1024, "height": 800})
    log = job_page.get_by_role("combobox", name="Log")
    expect(log).to_be_visible()
    expect(tabs).to_have_count(0)
    log.select_option(label="rank 3")
    expect(job_page).to_contain_text("rank 3 of 4 is there")
    shots(page, "job-ssh")
    assert faults(page.page, ".aiinfra-JobPage") == []

    hosts["gpu2"].cut()
    expect(pool(page).locator(".aiinfra-PoolRow-status").first).to_contain_text("degraded since")
    expect(node(page, "gpu2")).to_contain_text("unreachable since")
    expect(node(page, "gpu1")).to_contain_text("live")
    expect(job_page.locator(".aiinfra-trouble")).to_contain_text("gpu2 does not answer")
    expect(state).to_have_text("running")
    job_page.get_by_role("tab", name="Ranks").click()
    expect(job_page.get_by_role("table", name="Nodes")).to_contain_text("does not answer")
    shots(page, "job-ssh-degraded")
    assert faults(page.page, PANEL) == []
    assert faults(page.page, ".aiinfra-JobPage") == []

    # Now nothing at all is heard of the job.
    hosts["gpu1"].cut()
    notice = job_page.locator(".aiinfra-JobPage-notice")
    expect(notice).to_contain_text("Last heard at")
    expect(pool(page).locator(".aiinfra-PoolRow-status").first).to_contain_text("unreachable since")
    expect(state).to_have_text("running")
    shots(page, "job-ssh-silent")
    assert faults(page.page, ".aiinfra-JobPage") == []

    for name in hosts:
        hosts[name].mend()
    expect(notice).to_be_hidden()
    expect(node(page, "gpu2")).to_contain_text("answers again")
    expect(job_page.locator(".aiinfra-trouble")).to_be_hidden()
    shots(page, "job-ssh-back")
    for name in hosts:
        (hosts[name].home / "go on").touch()
    expect(state).to_have_text("succeeded")
    job_page.get_by_role("tab", name="Timeline").click()
    expect(job_page).to_contain_text("succeeded")
    wait_until(lambda: not any(hosts[name].tagged() for name in hosts), seconds=60)
