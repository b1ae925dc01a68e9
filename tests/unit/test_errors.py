from __future__ import annotations

import inspect
import re

import pytest

from jupyter_aiinfra import errors
from jupyter_aiinfra.errors import (
    AiInfraError,
    CaptureError,
    JobFailed,
    JobNotFound,
    MissingExtra,
    PoolNotFound,
    PreflightError,
    UnknownOption,
    Unreachable,
    UsageError,
    did_you_mean,
)
from jupyter_aiinfra.model import CaptureKind, Finding, ManifestItem, Severity


def classes() -> list[type[AiInfraError]]:
    found = [getattr(errors, name) for name in errors.__all__]
    return [value for value in found if isinstance(value, type)]


def test_the_tree_drawn_at_the_top_is_the_tree_there_is() -> None:
    drawn = re.findall(r"^( +)(\w+) +(\d{3})\b", errors.__doc__ or "", flags=re.MULTILINE)
    depths = {name: len(spaces) // 2 - 2 for spaces, name, _ in drawn}
    assert {name: int(status) for _, name, status in drawn} == {
        kind.__name__: kind.status for kind in classes()
    }
    for kind in classes():
        depth = len([base for base in kind.__mro__ if issubclass(base, AiInfraError)]) - 1
        assert depths[kind.__name__] == depth, kind


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_error_is_ours_and_documented(kind: type[AiInfraError]) -> None:
    assert issubclass(kind, AiInfraError)
    assert inspect.getdoc(kind)


def test_a_message_and_a_hint() -> None:
    error = UsageError("--procs 0: expected a number from 1 on", hint="leave it out for one a GPU")
    assert str(error) == error.message == "--procs 0: expected a number from 1 on"
    assert error.hint == "leave it out for one a GPU"
    assert UsageError("no").hint == ""


def test_a_notebook_shows_a_sentence_and_no_stack() -> None:
    assert UsageError("no", hint="try yes")._render_traceback_() == ["UsageError: no", "  try yes"]
    assert Unreachable("gone")._render_traceback_() == ["Unreachable: gone"]


@pytest.mark.parametrize(
    ("word", "said"),
    [("--proc", "did you mean --procs?"), ("--xyzzy", ""), ("", "")],
)
def test_the_nearest_word_is_suggested(word: str, said: str) -> None:
    assert did_you_mean(word, ["--procs", "--nodes"]) == said


def test_errors_say_what_was_meant_and_what_to_do() -> None:
    assert UnknownOption("--proc", ["--procs"]).hint == "did you mean --procs?"
    assert "--help" in UnknownOption("--xyzzy", ["--procs"]).hint
    assert PoolNotFound("her", ["here"]).hint == "did you mean here?"
    assert "attached: a, b" in PoolNotFound("xyz", ["a", "b"]).hint
    assert "%pool attach xyz --kind local" in PoolNotFound("xyz", []).hint
    assert JobNotFound("0ab").job_id == "0ab"
    extra = MissingExtra("torch", "train")
    assert (extra.package, extra.extra) == ("torch", "train")
    assert "pip install 'jupyter_aiinfra[train]'" in extra.hint


def test_errors_carry_what_they_are_about() -> None:
    item = ManifestItem(name="f", kind=CaptureKind.REFUSED, type="file")
    assert CaptureError("f cannot travel", [item]).items == (item,)
    finding = Finding(check="torch", severity=Severity.ERROR, message="no torch")
    assert PreflightError("it cannot work", [finding]).findings == (finding,)
    assert JobFailed("it failed", job_id="1").job_id == "1"
