"""Notebooks as jobs on the local pool, with real kernels: what they leave, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.model import Job, JobState
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.promote.following import Picture
from tests.support.notebooks import Notebooks, Ran, code, notebook_of, open_notebooks

NASTY = "__import__('os').system('x') \"quoted\" 'single' \\ back\nline\ttab é 🎉 {braces} %s ${X}"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Notebooks]:
    async with open_notebooks(tmp_path, Notebooks) as place:
        yield place


def kernels(job: Job) -> list[dict[str, Any]]:
    """Return the kernels among the processes of a job: what its one rank has started."""
    assert job.handle is not None
    (report,) = supervise.Run(job.handle.data["run_dir"]).reports().values()
    found = []
    for who in supervise.tagged(job.id):
        status = Path(f"/proc/{who['pid']}/status").read_text().split()
        if int(status[status.index("PPid:") + 1]) == report["pid"]:
            found.append(who)
    return found


def joined(notebook: dict[str, Any]) -> list[Any]:
    """Return the outputs of each cell, texts in one piece."""

    def text(value: Any) -> Any:
        return "".join(value) if isinstance(value, list) else value

    def plain(output: dict[str, Any]) -> dict[str, Any]:
        data = {mime: text(value) for mime, value in output.get("data", {}).items()}
        return {**output, "data": data, "text": text(output.get("text"))}

    return [[plain(each) for each in cell.get("outputs", [])] for cell in notebook["cells"]]


# --- what it leaves ------------------------------------------------------------------------------


async def test_cells_are_run_in_order_and_what_they_show_is_kept(place: Notebooks) -> None:
    ran = await place.run(
        "x = 20\nprint('first')",
        {"cell_type": "markdown", "metadata": {}, "source": "# A title"},
        "x + 22",
        "from IPython.display import HTML, display\n"
        "shown = display(HTML('<b>old</b>'), display_id='d')",
        "shown.update(HTML('<b>new</b>'))\nimport sys; print('to stderr', file=sys.stderr)",
        "from IPython.display import clear_output\nprint('gone')\nclear_output()\nprint('stays')",
    )
    assert (ran.job.state, ran.reason) == (JobState.SUCCEEDED, "")
    assert ran.text(0) == "first\n"
    assert ran.text(2) == "42"
    assert ran.notebook["cells"][3]["outputs"][0]["data"]["text/html"] == ["<b>new</b>"]
    assert ran.notebook["cells"][4]["outputs"][0]["name"] == "stderr"
    assert ran.text(5) == "stays\n"
    counts = [cell.get("execution_count") for cell in ran.notebook["cells"]]
    assert counts == [1, None, 2, 3, 4, 5]
    assert set(ran.statuses()) == {"completed"}
    assert ran.notebook["metadata"]["language_info"]["name"] == "python"
    assert "first" in ran.log
    assert "42" in ran.log
    assert ran.state["state"] == "succeeded"
    kinds = [event["event"] for event in ran.events]
    assert kinds[0] == "begin"
    assert kinds[-1] == "end"
    assert {"cell", "stream", "output", "update", "clear"} <= set(kinds)
    picture = Picture({"cells": [{} for _ in ran.notebook["cells"]]})
    for event in ran.events:
        picture.apply(event)
    assert joined(picture.notebook) == joined(ran.notebook), "events make the same notebook"


async def test_values_stay_what_they_are(place: Notebooks) -> None:
    values = {
        "text": NASTY,
        "number": 3,
        "real": 0.1,
        "flag": True,
        "nothing": None,
        "many": [1, NASTY, {"deep": [False]}],
        "by_name": {"a": 1, 'k"ey': "v"},
    }
    ran = await place.run(
        code("text = 'default'\nnumber = 0", "parameters"),
        "import json\nnames = ('text', 'number', 'real', 'flag', 'nothing', 'many', 'by_name')\n"
        "print(json.dumps({name: globals()[name] for name in names}))",
        values=values,
    )
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    injected = ran.notebook["cells"][1]
    assert injected["metadata"]["tags"] == ["injected-parameters"]
    assert json.loads(ran.text(2)) == values
    assert ran.notebook["metadata"]["papermill"]["parameters"] == values


async def test_a_name_that_is_code_is_refused(place: Notebooks) -> None:
    ran = await place.run("print('never')", values={"x = 1; y": 2})
    assert ran.job.state is JobState.FAILED
    assert ran.reason == "parameter 'x = 1; y' cannot be the name of a variable"
    assert ran.state["refused"] is True
    assert ran.state["cell"] is None


async def test_secrets_and_tokens_are_nowhere(place: Notebooks) -> None:
    token = "ghp_" + "a1B2" * 9
    ran = await place.run(
        code("password = None", "parameters"),
        "print('word:', password)\nprint(len(password))",
        f"'{token[:10]}' + '{token[10:]}'",
        f"import sys\nsys.stdout.write('{token[:12]}')\nsys.stdout.flush()\n"
        f"import time; time.sleep(0.5)\nprint('{token[12:]}')",
        f"raise ValueError('no such {token[:9]}' + '{token[9:]}')",
        values={"password": "secret:MY_PASSWORD"},
        environ={"MY_PASSWORD": "correct horse"},
    )
    assert ran.job.state is JobState.FAILED
    assert ran.reason == "cell 6 (In [6]) raised ValueError: no such •••"
    assert ran.text(2) == "word: •••\n13\n"
    assert ran.text(3) == "'•••'"
    assert ran.text(4) == "•••\n"
    for path in (p for p in ran.folder.rglob("*") if p.is_file() and "input" not in p.name):
        data = path.read_bytes()
        assert b"correct horse" not in data, path
        assert token.encode() not in data, path
    assert {"cell": 3, "kind": "GitHub token", "count": 1} in ran.state["findings"]
    assert {"cell": 2, "kind": "secret of the job", "count": 1} in ran.state["findings"]


async def test_a_flood_is_folded(place: Notebooks) -> None:
    ran = await place.run(
        "print('the beginning')\nline = 'x' * 99\n"
        "for _ in range(1_000_000):\n    print(line)\nprint('the end')",
        "'still here'",
    )
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    text = ran.text(0)
    assert text.startswith("the beginning\n")
    assert text.endswith("the end\n")
    assert "98.9 MB of output folded away here" in text or "99.0 MB of output" in text
    assert len(text) < 1_200_000
    assert (ran.folder / "notebook/output.ipynb").stat().st_size < 2_000_000
    assert (ran.folder / "logs/rank-0.log").stat().st_size < 2_000_000
    assert sum(len(json.dumps(event)) for event in ran.events) < 2_000_000
    assert ran.text(1) == "'still here'"


@pytest.mark.timeout(600)
async def test_a_gigabyte_is_folded(place: Notebooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.notebooks.SECONDS", 500.0)
    ran = await place.run(
        "import sys\nprint('the beginning')\nline = 'x' * ((1 << 20) - 1) + '\\n'\n"
        "for _ in range(1024):\n    sys.stdout.write(line)\nprint('the end')",
        "'still here'",
    )
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    text = ran.text(0)
    assert text.startswith("the beginning\n")
    assert text.endswith("the end\n")
    assert "GB of output folded away here" in text
    assert len(text) < 1_200_000
    assert (ran.folder / "logs/rank-0.log").stat().st_size < 2_000_000
    assert ran.text(1) == "'still here'"


# --- how it ends ---------------------------------------------------------------------------------


async def test_a_cell_that_raises_fails_the_run(place: Notebooks) -> None:
    ran = await place.run("1", "print('so far')\nraise ValueError('a bad batch')", "print('never')")
    assert ran.job.state is JobState.FAILED
    assert ran.reason == "cell 2 (In [2]) raised ValueError: a bad batch"
    assert ran.state["failed"] == {"cell": 2, "type": "ValueError", "message": "a bad batch"}
    assert ran.statuses() == ["completed", "failed", "pending"]
    assert ran.notebook["cells"][1]["outputs"][-1]["ename"] == "ValueError"
    assert ran.notebook["cells"][2]["outputs"] == []
    assert ran.job.seen is not None
    (rank,) = ran.job.seen.ranks
    assert rank.error is not None
    assert "a bad batch" in rank.error.traceback
    assert "\x1b" not in rank.error.traceback


async def test_an_error_that_is_allowed_is_none(place: Notebooks) -> None:
    ran = await place.run(code("1/0", "raises-exception"), code("1/0", "skip-execution"), "7")
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    assert ran.notebook["cells"][0]["outputs"][0]["ename"] == "ZeroDivisionError"
    assert ran.text(2) == "7"


@pytest.mark.parametrize(
    ("source", "state", "reason"),
    [
        ("import sys; sys.exit(0)", JobState.SUCCEEDED, ""),
        ("import sys; sys.exit(3)", JobState.FAILED, "cell 1 (In [1]) raised SystemExit: 3"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            JobState.FAILED,
            "the kernel died in cell 1: it was ended by SIGKILL (often the machine, out of memory)",
        ),
        (
            "import os; os._exit(5)",
            JobState.FAILED,
            "the kernel died in cell 1: it exited with status 5",
        ),
    ],
)
async def test_ends_of_the_kernel(
    place: Notebooks, source: str, state: JobState, reason: str
) -> None:
    ran = await place.run(source, "print('never')")
    assert (ran.job.state, ran.reason) == (state, reason)
    assert ran.notebook["cells"][1]["outputs"] == []


async def test_a_cell_may_not_take_longer_than_it_may(place: Notebooks) -> None:
    ran = await place.run("1", "import time\ntime.sleep(300)", cell_seconds=1.0)
    assert ran.job.state is JobState.FAILED
    assert ran.reason == "cell 2 took longer than 1 s"
    assert ran.notebook["cells"][1]["outputs"][-1]["ename"] == "KeyboardInterrupt"


async def test_a_run_may_not_take_longer_than_it_may(place: Notebooks) -> None:
    stubborn = (
        "import time\nwhile True:\n    try:\n        time.sleep(300)\n"
        "    except KeyboardInterrupt:\n        print('no', flush=True)"
    )
    ran = await place.run("1", stubborn, run_seconds=5.0)
    assert ran.job.state is JobState.FAILED
    assert ran.reason == "the run took longer than 5 s: it was in cell 2"
    assert "no\n" in ran.text(1)


async def test_a_run_that_is_cancelled_saves_what_it_has(place: Notebooks) -> None:
    job = await place.launch("print('done')", "import time\nprint('begun')\ntime.sleep(300)")
    await place.until_said(job, "begun")
    await place.engine.cancel(job.id)
    ran = await place.ended(job)
    assert ran.job.state is JobState.CANCELLED
    assert ran.text(0) == "done\n"
    assert ran.text(1).startswith("begun\n")
    assert ran.state["state"] == "interrupted"


async def test_a_runner_that_is_killed_fails_the_run_and_its_kernel_goes(place: Notebooks) -> None:
    job = await place.launch("print('done')", "import time\nprint('begun')\ntime.sleep(300)")
    await place.until_said(job, "begun")
    job = await place.until(job, lambda now: Ran(now).text(0) == "done\n")
    assert job.seen is not None
    (rank,) = job.seen.ranks
    (kernel,) = kernels(job)
    assert rank.pid is not None
    os.kill(rank.pid, signal.SIGKILL)
    ran = await place.ended(job)
    assert ran.job.state is JobState.FAILED
    assert ran.reason.startswith(
        "the process that runs the notebook in cell 2 was ended by SIGKILL"
    )
    assert not supervise.alive(kernel)
    assert ran.text(0) == "done\n"


async def test_a_kernel_that_is_killed_from_outside_fails_the_run(place: Notebooks) -> None:
    job = await place.launch("import time\nprint('begun')\ntime.sleep(300)")
    job = await place.until_said(job, "begun")
    (kernel,) = kernels(job)
    supervise.send(kernel, signal.SIGKILL)
    ran = await place.ended(job)
    assert ran.reason.startswith("the kernel died in cell 1: it was ended by SIGKILL")
    assert ran.text(0) == "begun\n"


async def test_a_long_cell_is_seen_and_saved_while_it_runs(place: Notebooks) -> None:
    gate = place.work / "gate"
    job = await place.launch(
        "import os, time\nprint('early', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)",
        save_seconds=0.2,
    )

    def saved(now: Job) -> bool:
        ran = Ran(now) if now.handle else None
        there = ran is not None and (ran.folder / "notebook/output.ipynb").exists()
        return there and ran is not None and "early" in ran.text(0)

    job = await place.until(job, saved)
    ran = Ran(job)
    assert ran.statuses() == ["running"]
    assert [e["text"] for e in ran.events if e["event"] == "stream"] == ["early\n"]
    gate.touch()
    assert (await place.ended(job)).job.state is JobState.SUCCEEDED


# --- what cannot be run --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{ not json", "nb.ipynb is not a notebook: it is no JSON (Expecting property name"),
        (b"[1]", "nb.ipynb is not a notebook: it is JSON, but does not say its nbformat"),
        (b"\xff\xfe\x00", "nb.ipynb is not a notebook: it is no text in UTF-8"),
        (b'{"nbformat": 7, "cells": []}', "nb.ipynb is of notebook format 7; 4 is the newest"),
        (b'{"nbformat": 4, "cells": 3}', "nb.ipynb is not a notebook: it has no list of cells"),
        (
            b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}',
            "the notebook names no kernel (it was never saved with one): choose one",
        ),
        (
            json.dumps(notebook_of("1", kernel="fortress")).encode(),
            "the notebook asks for kernel 'fortress', which is not on this machine: there is",
        ),
    ],
)
async def test_what_is_no_notebook_is_refused(place: Notebooks, raw: bytes, reason: str) -> None:
    ran = await place.run("1", raw=raw)
    assert ran.job.state is JobState.FAILED
    assert ran.reason.startswith(reason)
    assert ran.state["refused"] is True
    assert not (ran.folder / "notebook/output.ipynb").exists()


async def test_an_old_notebook_is_run(place: Notebooks) -> None:
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "", "kernelspec": {"name": "python3", "language": "python"}},
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {
                        "cell_type": "code",
                        "collapsed": False,
                        "input": "6 * 7",
                        "language": "python",
                        "metadata": {},
                        "outputs": [],
                    }
                ],
            }
        ],
    }
    ran = await place.run("1", raw=json.dumps(old).encode())
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    assert ran.text(0) == "42"


async def test_many_at_once_do_not_meet(place: Notebooks) -> None:
    jobs = [await place.launch(f"print({number} * 2)") for number in range(4)]
    ran = await asyncio.gather(*(place.ended(job) for job in jobs))
    assert [each.text(0) for each in ran] == ["0\n", "2\n", "4\n", "6\n"]
