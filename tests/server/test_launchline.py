"""``/aiinfra/launch-line``, over a real server and a real database."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth import Authorizer
from tornado.httpclient import HTTPClientError

from jupyter_aiinfra.accelerate import option_table
from jupyter_aiinfra.commands import tree
from jupyter_aiinfra.commands.launch_line import OPTIONS
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.server.launchline import check_line, line_words
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store

Fetch = Callable[..., Awaitable[Any]]


async def _ask(jp_fetch: Fetch, line: Any) -> Any:
    body = json.dumps({"line": line})
    response = await jp_fetch("aiinfra", "launch-line", method="POST", body=body)
    return json.loads(response.body)


def _attach(*names: str) -> None:
    store = open_store(load_settings())
    for name in names:
        store.add_pool(PoolRecord(name=name, kind="local"))
    store.close()


async def test_line_that_may_run_has_no_problem(jp_fetch: Fetch) -> None:
    _attach("here", "there")

    report = await _ask(jp_fetch, " here --procs 2 --mixed-precision bf16")

    assert report == {"pool": "here", "problems": []}


async def test_all_mistakes_are_told_each_at_its_word(jp_fetch: Fetch) -> None:
    _attach("here")
    line = " heer --proc 2 --nodes two --mixed-precision fp7 --use_fsdp=1 extra"

    problems = (await _ask(jp_fetch, line))["problems"]

    said = [(line[each["start"] : each["end"]], each["message"], each["hint"]) for each in problems]
    assert said == [
        ("heer", "no pool named 'heer'", "did you mean here?"),
        ("--proc", "unknown option --proc", "did you mean --procs?"),
        (
            "two",
            "--nodes 'two': expected a whole number from 1 on, or a range",
            "--nodes 2..3 begins on three nodes and goes on as long as there are two",
        ),
        (
            "fp7",
            "--mixed-precision 'fp7': expected one of no, fp16, bf16, fp8",
            "did you mean fp8?",
        ),
        ("--use_fsdp=1", "--use_fsdp takes no value, got '1'", ""),
        (
            "extra",
            "'extra' is neither an option nor the value of one",
            "the pool comes first: %%accelerate POOL --option …",
        ),
    ]


async def test_pool_that_is_not_named_is_the_only_one(jp_fetch: Fetch) -> None:
    assert await _ask(jp_fetch, "--procs 2") == {
        "pool": None,
        "problems": [
            {
                "start": 0,
                "end": 0,
                "message": "no pool is attached yet",
                "hint": "attach this machine first: %pool attach here --kind local",
            }
        ],
    }
    _attach("here")
    assert await _ask(jp_fetch, "--procs 2") == {"pool": "here", "problems": []}
    _attach("there")
    report = await _ask(jp_fetch, "--procs 2")
    assert report["pool"] is None
    assert [each["message"] for each in report["problems"]] == ["which pool?"]
    assert report["problems"][0]["hint"] == "attached are here, there: name one"


async def test_database_that_cannot_be_opened_leaves_the_rest_to_be_told(
    jp_fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.db").mkdir()
    monkeypatch.setenv("JUPYTER_AIINFRA_DATABASE_URL", f"sqlite:///{tmp_path / 'folder.db'}")

    report = await _ask(jp_fetch, "anything --proc 2")

    assert report["pool"] == "anything"
    assert [each["message"] for each in report["problems"]] == ["unknown option --proc"]


async def test_what_is_no_line_is_refused(jp_fetch: Fetch) -> None:
    with pytest.raises(HTTPClientError) as refused:
        await _ask(jp_fetch, 7)
    assert refused.value.code == 400


class Reader(Authorizer):
    """Lets everybody read ours, and no more."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return resource != "aiinfra" or action == "read"


async def test_who_may_only_read_may_have_a_line_checked(
    jp_fetch: Fetch, jp_serverapp: Any
) -> None:
    jp_serverapp.web_app.settings["authorizer"] = Reader(parent=jp_serverapp)

    assert (await _ask(jp_fetch, "--help"))["problems"] == []
    assert (await jp_fetch("aiinfra", "launch-line")).code == 200


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("here --name 'two words", "'two words"),
        ('here --name "x', '"x'),
        ("here \\", "\\"),
        ("here --name 'two words' --procs 0", "0"),
        ("here --procs=0", "--procs=0"),
        ("here --procs", "--procs"),
        ("here --procs --cpu", "--procs"),
        ("here --mixed-precision --cpu", "--mixed-precision"),
        ("here --cpu=yes", "--cpu=yes"),
        ("here --num_processes 2", "--num_processes"),
        ("here --no-mlflow --mlflow x", "--mlflow"),
        ("here --name 'ü 💡' --proc", "--proc"),
        ("here there\ther", "there"),
    ],
)
def test_the_first_problem_stands_at_its_word(line: str, wrong: str) -> None:
    first = check_line(line, ["here"]).problems[0]

    assert line[first.start : first.end] == wrong


def test_a_missing_value_does_not_hide_what_follows() -> None:
    problems = check_line("here --mixed-precision --nodes 0 --procs --port 1", ["here"]).problems

    assert [each.message.split()[0] for each in problems] == [
        "--mixed-precision",
        "--nodes",
        "--procs",
        "--port",
    ]


async def test_words_are_those_of_parser_and_tree(jp_fetch: Fetch) -> None:
    words = json.loads((await jp_fetch("aiinfra", "launch-line")).body)

    launch = {option["name"]: option for option in words["options"]["accelerate"]}
    assert set(launch) == {"POOL", "--help", *(o.name for o in OPTIONS), *option_table()}
    assert launch["--procs"]["metavar"] == "N"
    assert launch["--procs"]["help"].startswith("ranks on each node")
    assert launch["--send"]["values"] == "variables"
    assert launch["--mixed-precision"]["choices"] == ["no", "fp16", "bf16", "fp8"]
    assert launch["--use-fsdp"]["metavar"] == ""
    assert words["verbs"] == {"pool": list(tree.pool.commands), "jobs": list(tree.jobs.commands)}


POOL_VERBS = ("show", "price", "check", "env", "put", "get", "detach", "reconcile")


def test_words_say_where_a_pool_or_a_job_is_named() -> None:
    options = line_words().options
    named = {
        (line, each.name): each.values
        for line, each in ((line, each) for line, found in options.items() for each in found)
        if each.values
    }

    assert named.pop(("accelerate", "POOL")) == "pools"
    assert {named.pop(("accelerate", f"--{name}")) for name in ("send", "keep", "fetch")} == {
        "variables"
    }
    assert named.pop(("jobs list", "--pool")) == "pools"
    assert named == {
        **{(f"pool {verb}", "NAME"): "pools" for verb in POOL_VERBS},
        **{
            (f"jobs {verb}", "ID"): "jobs"
            for verb in ("show", "logs", "stacks", "attach", "cancel", "rerun", "remove")
        },
    }
    kind = next(each for each in options["pool attach"] if each.name == "--kind")
    assert "local" in kind.choices
    assert {"--python", "--max-procs"} <= {each.name for each in options["pool attach"]}


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys; from jupyter_aiinfra.server.launchline import check_line, line_words;"
        "line_words(); check_line('here --use_fsdp', ['here']);"
        "print([name for name in ('torch', 'accelerate', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
