from __future__ import annotations

import contextlib
import dataclasses
import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_aiinfra.accelerate import option_table
from jupyter_aiinfra.commands.launch_line import (
    OPTIONS,
    help_text,
    launch_problems,
    parse_launch,
    parse_seconds,
    pool_word,
    split_script,
)
from jupyter_aiinfra.commands.words import split_words
from jupyter_aiinfra.errors import UnknownOption, UsageError
from jupyter_aiinfra.training import LaunchLine


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("", {}),
        ("here", {"pool": "here"}),
        ("here --procs 2 --nodes=3", {"pool": "here", "procs": 2, "nodes": 3}),
        ("--procs 2 here", {"pool": "here", "procs": 2}),
        ("here --cpu --detach --dry-run", {"cpu": True, "detach": True, "dry_run": True}),
        ("here --dry_run", {"dry_run": True}),
        ("here --name digits --cwd /work", {"name": "digits", "cwd": "/work"}),
        ("here --send a,b --send b,c", {"send": ("a", "b", "c")}),
        ("here --keep a --fetch history,state", {"keep": ("a",), "fetch": ("history", "state")}),
        ("here --secret HF_TOKEN", {"secrets": ("HF_TOKEN",)}),
        ("here --env A=1 --env B= --env A=x=y", {"env": {"A": "x=y", "B": ""}}),
        ("here --env current", {"environment": "current"}),
        ("here --env=../uv.lock", {"environment": "../uv.lock"}),
        (
            "here --env A=b.txt --env a=b/requirements.txt --env /a=b/environment.yml",
            {
                "env": {"A": "b.txt", "a": "b/requirements.txt"},
                "environment": "/a=b/environment.yml",
            },
        ),
        ("here --share --priority 3", {"share": True, "priority": 3}),
        ("here --priority -5", {"priority": -5}),
        ("here --mlflow", {"mlflow": ""}),
        ("here --mlflow sqlite:///x", {"mlflow": "sqlite:///x"}),
        ("here --mlflow=http://m --procs 2", {"mlflow": "http://m", "procs": 2}),
        ("here --mlflow --procs 2", {"mlflow": "", "procs": 2}),
        ("here --no-mlflow", {"no_mlflow": True}),
        ("here --port 29500", {"port": 29500}),
        ("here --main_process_port 29500", {"port": 29500}),
        ("here --grace 0 --max-duration 1h30m", {"grace_seconds": 0.0, "time_limit_seconds": 5400}),
        (
            "here --mixed-precision bf16 --use_fsdp",
            {"passed": ("--mixed-precision", "bf16", "--use_fsdp")},
        ),
        ("here --zero_stage=3 --procs 2", {"passed": ("--zero_stage=3",), "procs": 2}),
        ("here -- --newer-than-us 7", {"passed": ("--newer-than-us", "7")}),
        ("here --procs 2 -- --procs", {"procs": 2, "passed": ("--procs",)}),
    ],
)
def test_a_line_is_read(line: str, fields: dict[str, Any]) -> None:
    pool = {"pool": "here"} if "here" in line else {}
    assert parse_launch(line.split()) == LaunchLine(**{**pool, **fields})


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("here --proc 2", "unknown option --proc", "did you mean --procs?"),
        ("here --procs two", "--procs 'two': expected a whole number from 1 on", ""),
        ("here --procs 0", "--procs '0'", ""),
        ("here --priority high", "--priority 'high': expected a whole number", ""),
        ("here --procs -2", "--procs '-2'", ""),
        ("here --procs", "--procs needs a value: --procs N", ""),
        ("here --procs --cpu", "--procs needs a value", ""),
        ("here --procs 2 --procs 3", "--procs is given twice", ""),
        ("here --cpu=yes", "--cpu takes no value, got 'yes'", ""),
        ("here --port 80", "--port 80: expected a port from 1024 to 65535", ""),
        ("here --port 70000", "--port 70000", ""),
        ("here --env A", "--env 'A': expected NAME=VALUE", ""),
        ("here --env 1A=2", "--env '1A=2'", ""),
        ("here --env a.txt --env current", "--env is given twice", ""),
        ("here --env torch", "--env 'torch': expected NAME=VALUE, current", "names the ranks'"),
        ("here --send a-b", "--send 'a-b': expected a name", ""),
        ("here --fetch ,", "--fetch: expected a name", ""),
        ("here --grace soon", "--grace 'soon': expected a length of time", "30m"),
        ("here --max-duration 0", "--max-duration 0", "30m"),
        ("here there", "'there' is neither an option nor the value of one", "pool comes first"),
        ("here --mlflow x --no-mlflow", "--mlflow and --no-mlflow contradict each other", ""),
        ("here --num_processes 2", "--num_processes", "--procs"),
        ("here --mixed-precision fp7", "fp7", ""),
        ("here --mixed-precision", "--mixed-precision", ""),
        ("here -x", "-x", ""),
    ],
)
def test_what_cannot_be_is_named(line: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_launch(line.split())
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_a_misspelt_option_is_an_unknown_one_whatever_follows_it() -> None:
    for line in ("here --fech history", "here --fech=history", "here --fech"):
        with pytest.raises(UnknownOption, match="--fech") as caught:
            parse_launch(line.split())
        assert caught.value.hint == "did you mean --fetch?"


def test_a_command_line_names_its_pool_by_an_option() -> None:
    line = parse_launch(["--procs", "2", "--pool", "here"], pool_positional=False)
    assert (line.pool, line.procs) == ("here", 2)
    with pytest.raises(UsageError, match="'here' is neither"):
        parse_launch(["here"], pool_positional=False)
    with pytest.raises(UsageError, match="--pool is given twice"):
        parse_launch(["--pool", "a", "--pool", "b"], pool_positional=False)
    with pytest.raises(UsageError, match="--pool"):
        parse_launch(["here", "--pool", "there"])


def test_every_option_has_its_field_and_its_help() -> None:
    fields = {field.name for field in dataclasses.fields(LaunchLine)}
    assert {option.field for option in OPTIONS} == fields - {
        "pool",
        "passed",
        "environment",
        "min_nodes",
    }
    for option in OPTIONS:
        assert option.help
        assert (option.metavar == "") is (option.takes == "nothing")
        assert option.name not in option_table()


WORDS = st.one_of(
    st.sampled_from([*(option.name for option in OPTIONS), *option_table(), "--", "-", "=", ""]),
    st.sampled_from(["2", "here", "a,b", "A=1", "1h", "--pool", "--help", "bf16", "0", "-1"]),
    st.text(max_size=6),
    st.builds("{}={}".format, st.sampled_from([o.name for o in OPTIONS]), st.text(max_size=6)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=8), st.booleans())
def test_whatever_is_typed_is_read_or_refused_in_words(words: list[str], positional: bool) -> None:
    with contextlib.suppress(UsageError):
        line = parse_launch(words, pool_positional=positional)
        assert line.procs is None or line.procs >= 1
        assert line.nodes >= 1
        assert all(name.isidentifier() for name in (*line.send, *line.keep, *line.fetch))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("1h30m10s", 5410)],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert parse_seconds("--grace", text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1w", "1 h", "-5", "1h30", "1h 30m", "1e3", "."])
def test_other_words_are_no_length_of_time(text: str) -> None:
    if text == "1h30":  # minutes are not guessed: a bare number is seconds
        assert parse_seconds("--grace", text) == 3630
        return
    with pytest.raises(UsageError, match="expected a length of time"):
        parse_seconds("--grace", text)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("train.py", ("train.py", (), ())),
        ("train.py --procs 2", ("train.py", ("--procs", "2"), ())),
        ("train.py -- --lr 0.1 -- x", ("train.py", (), ("--lr", "0.1", "--", "x"))),
        ("train.py --cpu --", ("train.py", ("--cpu",), ())),
    ],
)
def test_a_script_its_options_and_its_arguments(words: str, parts: tuple[Any, ...]) -> None:
    assert split_script(words.split()) == parts


@pytest.mark.parametrize("words", ["", "--procs 2 train.py", "-- train.py"])
def test_a_script_must_come_first(words: str) -> None:
    with pytest.raises(UsageError, match="no script was named") as caught:
        split_script(words.split())
    assert "run SCRIPT" in caught.value.hint


def test_the_help_names_every_option_of_ours_and_some_of_accelerates() -> None:
    text = help_text("%%accelerate POOL", examples=["%%accelerate here --procs 2"])
    assert text.startswith("Usage: %%accelerate POOL\n")
    for option in OPTIONS:
        assert f"  {option.name} " in text
    assert "--mixed-precision" in text
    assert "%%accelerate here --procs 2" in text
    assert "--pool" not in text
    assert "--pool POOL" in help_text("run", examples=(), pool_option=True)
    assert max(len(line) for line in text.splitlines()) <= 100


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=8))
def test_problems_are_what_the_parser_refuses(words: list[str]) -> None:
    problems = launch_problems(words)
    assert all(0 <= each.first < each.end <= len(words) for each in problems)
    assert sorted(problems, key=lambda each: each.first) == list(problems)
    if problems:
        with pytest.raises(UsageError) as caught:
            parse_launch(words)
        assert caught.value.message == problems[0].error.message
        return
    at = pool_word(words)
    assert parse_launch(words).pool == (words[at] if at is not None else None)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=" \t'\"\\ab💡ü\u00a0=-,#", max_size=16))
def test_words_are_the_shells_and_stand_where_they_say(line: str) -> None:
    try:
        expected = shlex.split(line)
    except ValueError:
        with pytest.raises(UsageError, match="No ") as caught:
            split_words(line)
        assert caught.value.hint == "close the quote"
        return
    words = split_words(line)
    assert [word.text for word in words] == expected
    at = 0
    for word in words:
        assert at <= word.start < word.end <= len(line)
        assert shlex.split(line[word.start : word.end]) == [word.text]
        assert not line[at : word.start].strip(" \t")
        at = word.end
    assert not line[at:].strip(" \t")


@pytest.mark.parametrize(
    ("words", "fewest", "most"),
    [("--nodes 3", None, 3), ("--nodes 2..3", 2, 3), ("--nodes=1..4", 1, 4), ("", None, 1)],
)
def test_nodes_are_a_number_or_a_range(words: str, fewest: int | None, most: int) -> None:
    line = parse_launch(["lab", *words.split()])
    assert (line.min_nodes, line.nodes) == (fewest, most)


@pytest.mark.parametrize("word", ["0", "3..2", "..", "2..", "..3", "a..b", "0..2", "-1"])
def test_a_range_of_nodes_that_cannot_be_is_named(word: str) -> None:
    with pytest.raises(UsageError, match=r"expected a whole number from 1 on, or a range"):
        parse_launch(["lab", f"--nodes={word}"])


@pytest.mark.parametrize("word", ["/etc/passwd", "../x", "a/../../b", ","])
def test_artifacts_lie_below_the_working_directory(word: str) -> None:
    with pytest.raises(UsageError, match="--artifacts"):
        parse_launch(["lab", f"--artifacts={word}"])


def test_restarts_may_be_written_as_accelerate_does() -> None:
    assert parse_launch(["lab", "--max_restarts", "2"]).max_restarts == 2
