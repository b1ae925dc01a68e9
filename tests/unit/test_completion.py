from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.completer import CompletionContext

from jupyter_aiinfra.accelerate import option_table
from jupyter_aiinfra.commands.launch_line import OPTIONS
from jupyter_aiinfra.magics.completion import Completion
from tests.support.engines import EMPTY, POOL, House, a_spec


@pytest.fixture
def completion(house: House) -> Completion:
    space = {"model": 1, "model_state": 2, "_private": 3, "In": []}
    shell = SimpleNamespace(user_ns=space, user_ns_hidden={"In": None})
    magics: Any = SimpleNamespace(session=house.session(), shell=shell)
    return Completion(magics)


def complete(completion: Completion, line: str, *, token: str | None = None) -> list[str]:
    """Return the line as it would be after each completion."""
    if token is None:
        token = line.rpartition(" ")[2]
    context = CompletionContext(
        token=token, full_text=line, cursor_position=len(line), cursor_line=0, limit=None
    )
    found = completion.matches(context)
    texts = [each.text for each in found["completions"]]
    assert found["suppress"] is bool(texts)
    return [line[: len(line) - len(token)] + text for text in texts]


def test_lines_of_others_are_left_alone(completion: Completion) -> None:
    for line in ("x = poo", "%pools ", "%timeit po", "# %pool "):
        assert complete(completion, line) == []


def test_verbs(completion: Completion) -> None:
    assert complete(completion, "%pool at") == ["%pool attach"]
    assert "%jobs rerun" in complete(completion, "%jobs ")
    assert complete(completion, "%jobs nope ") == []
    assert complete(completion, "%pool list xyz") == []


def test_pools_and_jobs_are_named_where_one_is_wanted(house: House, completion: Completion) -> None:
    session = house.session()
    job = session.run(session.engine.launch(POOL, a_spec(), EMPTY))
    assert complete(completion, f"%pool show {POOL[:2]}") == [f"%pool show {POOL}"]
    assert complete(completion, f"%pool attach {POOL[:2]}") == []
    assert complete(completion, f"%jobs attach {job.id[:5]}") == [f"%jobs attach {job.id}"]
    assert complete(completion, f"%jobs show {job.id} {job.id[:5]}") == []
    assert complete(completion, "%%accelerate fa") == ["%%accelerate fake"]
    assert complete(completion, "%%accelerate fake fa") == []


def test_gpus_of_a_pool_or_a_job(house: House, completion: Completion) -> None:
    session = house.session()
    job = session.run(session.engine.launch(POOL, a_spec(), EMPTY))
    assert complete(completion, f"%gpus {POOL[:2]}") == [f"%gpus {POOL}"]
    assert complete(completion, f"%gpus {job.id[:5]}") == [f"%gpus {job.id}"]
    assert complete(completion, f"%gpus {POOL} --w") == [f"%gpus {POOL} --watch"]


def test_options_of_a_verb(completion: Completion) -> None:
    assert complete(completion, "%jobs logs --la") == ["%jobs logs --launcher"]
    assert complete(completion, "%pool attach here --max") == ["%pool attach here --max-procs"]
    assert complete(completion, "%pool attach here --id") == ["%pool attach here --idle-stop"]
    assert "%pool attach here --kind local" in complete(completion, "%pool attach here --kind ")


def test_options_of_a_launch(completion: Completion) -> None:
    assert complete(completion, "%%accelerate here --pro") == ["%%accelerate here --procs"]
    assert complete(completion, "%%accelerate here --use-f") == ["%%accelerate here --use-fsdp"]
    assert complete(completion, "%accelerate here --hel") == ["%accelerate here --help"]
    everything = complete(completion, "%%accelerate here --")
    assert len(everything) == len(OPTIONS) + len(option_table()) + 1


def test_what_an_option_takes(completion: Completion) -> None:
    assert complete(completion, "%%accelerate here --fetch mo") == [
        "%%accelerate here --fetch model",
        "%%accelerate here --fetch model_state",
    ]
    assert complete(completion, "%%accelerate here --send x,model_") == [
        "%%accelerate here --send x,model_state"
    ]
    assert complete(completion, "%%accelerate here --procs ") == []
    assert complete(completion, "%%accelerate here --mixed_precision b") == [
        "%%accelerate here --mixed_precision bf16"
    ]


@pytest.mark.parametrize(
    ("line", "token", "completed"),
    [
        ("%%accelerate here --pro", "pro", "%%accelerate here --procs"),
        ("%%accelerate here --send x,model_", "model_", "%%accelerate here --send x,model_state"),
        ("%%accelerate here --dry-r", "r", "%%accelerate here --dry-run"),
    ],
)
def test_only_ipythons_own_idea_of_a_token_is_replaced(
    completion: Completion, line: str, token: str, completed: str
) -> None:
    assert complete(completion, line, token=token) == [completed]


def test_a_store_that_cannot_be_opened_completes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_aiinfra.commands.session import Session

    (tmp_path / "aiinfra.db").write_text("this is no database, and never was one")
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path))
    magics: Any = SimpleNamespace(session=Session(), shell=SimpleNamespace(user_ns={}))
    completion = Completion(magics)
    assert complete(completion, "%pool show ") == []
    magics.session.close()
