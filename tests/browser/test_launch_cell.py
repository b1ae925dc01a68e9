"""Writing a training cell in a real JupyterLab: what is wrong, what may stand there, a dry run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage, notebook
from tests.support.site import Site

WRONG = "%%accelerate heer --proc 2 --mixed-precision fp7\nprint('hello', scale)"
RIGHT = "%%accelerate there --procs 2 --mixed-precision no"

WAIT = """import pathlib, time
while not pathlib.Path('go').exists():
    time.sleep(0.1)
scale = 3
"""

_WRITE = """([index, column]) => {
    const notebook = jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = index;
    notebook.mode = 'edit';
    const editor = notebook.activeCell.editor;
    editor.focus();
    const end = editor.getLine(0).length;
    editor.setCursorPosition({line: 0, column: column < 0 ? end : column});
}"""


def _source(page: LabPage, index: int) -> str:
    script = "i => jupyterapp.shell.currentWidget.content.widgets[i].model.sharedModel.getSource()"
    text: str = page.page.evaluate(script, index)
    return text


def _line(page: LabPage, index: int) -> str:
    return _source(page, index).split("\n")[0]


def _completions(page: LabPage) -> list[str]:
    """Press Tab; return what is offered, best first."""
    page.page.keyboard.press("Tab")
    offered = page.page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-match")
    offered.first.wait_for()
    found: list[str] = offered.all_text_contents()
    return found


def _jobs(lab: Lab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.ask("GET", "/aiinfra/jobs")["jobs"]
    return found


def _underlined(page: LabPage) -> Any:
    return page.page.locator(".aiinfra-line-problem")


def test_a_line_is_made_right_while_the_kernel_is_busy(
    site: Site,
    lab: Lab,
    window: Callable[..., LabPage],
    shots: Callable[[LabPage, str], None],
) -> None:
    site.attach()
    site.attach(name="there")
    lab.write("train.ipynb", notebook(WRONG, WAIT))
    page = window()
    page.open_notebook("train.ipynb")
    page.run_cell(1)
    page.wait_for_kernel("busy")

    _underlined(page).nth(2).wait_for()
    assert _underlined(page).all_text_contents() == ["heer", "--proc", "fp7"]
    problem = page.page.locator(".aiinfra-celltoolbar-problem")
    assert problem.text_content() == "no pool named 'heer' (did you mean here?) (and 2 more)"
    shots(page, "launch-cell-wrong")
    _underlined(page).nth(1).hover()
    tooltip = page.page.locator(".aiinfra-line-tooltip")
    tooltip.wait_for()
    assert tooltip.inner_text().split("\n") == ["unknown option --proc", "did you mean --procs?"]

    picker = page.page.locator(".aiinfra-celltoolbar select")
    assert picker.input_value() == "heer"
    picker.select_option("there")
    assert _line(page, 0) == WRONG.split("\n", maxsplit=1)[0].replace("heer", "there")

    page.page.evaluate(_WRITE, [0, -1])
    for _ in "fp7":
        page.page.keyboard.press("Backspace")
    assert _completions(page)[:4] == ["no", "fp16", "bf16", "fp8"]
    page.page.keyboard.press("Enter")
    page.page.evaluate(_WRITE, [0, _line(page, 0).index("--proc") + len("--proc")])
    page.page.keyboard.type("s")
    assert _line(page, 0) == RIGHT
    _underlined(page).first.wait_for(state="detached")
    assert not problem.is_visible()

    page.page.get_by_role("button", name="Dry run").click()
    dialog = page.page.locator(".aiinfra-dryrun")
    dialog.get_by_text("The kernel is busy").wait_for()
    (site.work / "go").touch()
    dialog.get_by_text("dry run: nothing was started").wait_for()
    assert "scale" in dialog.locator("table").inner_text()
    assert "--num_processes 2" in dialog.inner_text()
    shots(page, "dry-run")
    page.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert _jobs(lab) == []
    assert page.page.locator(".jp-OutputArea-output").count() == 0


def test_the_cell_of_a_job_is_inserted_and_completed(
    site: Site, lab: Lab, window: Callable[..., LabPage]
) -> None:
    site.attach()
    site.attach(name="there")
    cell = "%%accelerate here --cpu --procs 1\nprint(1)"
    lab.write("train.ipynb", notebook("%load_ext jupyter_aiinfra\nscale = 3", cell, "x = 1"))
    page = window()
    page.command("aiinfra:insert-cell", {"id": "0abc"})
    page.page.get_by_text("No notebook is open").wait_for()

    page.open_notebook("train.ipynb")
    page.run_cell(0)
    page.run_cell(1)
    wait_until(lambda: [job["state"] for job in _jobs(lab)] == ["succeeded"], seconds=90)
    page.wait_for_kernel("idle")
    [job] = _jobs(lab)
    page.command("aiinfra:insert-cell", {"id": job["id"]})
    assert _source(page, 2) == f"{cell}\n"

    # By the keyboard alone; no shortcut of the notebook takes the keys.
    page.command("aiinfra:choose-pool")
    page.page.keyboard.press("t")
    page.page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel.getSource()"
        ".startsWith('%%accelerate there ')"
    )
    page.page.keyboard.press("Escape")
    page.page.keyboard.press("Control+z")
    assert _source(page, 2) == f"{cell}\n"

    page.page.evaluate(_WRITE, [2, -1])
    page.page.keyboard.type(" --send sc")
    assert "scale" in _completions(page)
    page.page.keyboard.press("Escape")
    page.page.keyboard.type("ale --pro")
    assert _completions(page) == ["--procs"]  # the kernel's own offer is not a second one
