from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from jupyter_aiinfra.cli import main
from jupyter_aiinfra.cli.main import cli


@pytest.fixture(autouse=True)
def _pipe_signal() -> Iterator[None]:
    before = signal.getsignal(signal.SIGPIPE)
    yield
    signal.signal(signal.SIGPIPE, before)


def completed(words: str, incomplete: str) -> list[str]:
    complete = ShellComplete(cli, {}, "jupyter-aiinfra", "_JUPYTER_AIINFRA_COMPLETE")
    return [item.value for item in complete.get_completions(words.split(), incomplete)]


def test_verbs_and_options_are_completed() -> None:
    assert completed("", "po") == ["pool"]
    assert completed("pool", "at") == ["attach"]
    assert completed("jobs", "att") == ["attach"]
    assert "--launcher" in completed("jobs logs", "--l")
    assert completed("run train.py", "--fet") == ["--fetch"]
    assert "--zero-stage" in completed("run train.py", "--zero")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_goes_into_the_shells_start_up_file_is_printed(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    assert "_JUPYTER_AIINFRA_COMPLETE" in capsys.readouterr().out


def test_an_error_is_json_too_and_names_commands_as_they_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path))
    assert main(["jobs", "show", "nope", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "error": "JobNotFound",
        "message": "no job 'nope'",
        "hint": "jupyter aiinfra jobs lists them",
    }
    assert said.err == "JobNotFound: no job 'nope'\n  jupyter aiinfra jobs lists them\n"


def _verbs(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _verbs(below, (*words, name))
    else:
        yield words


@pytest.mark.parametrize("words", [*_verbs(cli)], ids=" ".join)
def test_the_help_of_every_verb_has_examples(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^ *Examples?:\n +\S", said, flags=re.MULTILINE)


@pytest.mark.parametrize("words", [["--lr", "0.1"], ["0.1"], ["--zzzqq"]])
def test_arguments_of_the_script_before_the_bare_hyphens_are_explained(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "train.py", "--pool", "here", *words]) == 2
    own = "The script's own arguments go behind a bare --: run train.py --pool POOL -- ARGUMENTS"
    assert own in capsys.readouterr().err


def test_a_wrong_value_is_not_taken_for_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "train.py", "--procs", "x"]) == 2
    assert "bare --" not in capsys.readouterr().err


def test_an_option_of_a_verb_that_is_not_known_sends_to_its_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["budget", "set", "-5usd", "--all"]) == 2
    said = capsys.readouterr().err
    assert "unknown option -5" in said
    assert "--help lists the options" in said
