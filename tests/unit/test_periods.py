from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.commands.periods import PERIODS, parse_moment, parse_period
from jupyter_aiinfra.commands.tags import job_tags, notebook_tags, parse_tag
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.settings import Settings


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


NOW = dt.datetime(2026, 11, 25, 14, 30).astimezone()


def test_the_words_for_a_time() -> None:
    found = {name: parse_period(name, now=NOW) for name in PERIODS}
    assert found["today"] == (at("2026-11-25"), at("2026-11-26"))
    assert found["yesterday"] == (at("2026-11-24"), at("2026-11-25"))
    assert found["week"] == (at("2026-11-23"), at("2026-11-26"))
    assert found["month"] == (at("2026-11-01"), at("2026-11-26"))
    assert found["last-month"] == (at("2026-10-01"), at("2026-11-01"))
    assert found["year"] == (at("2026-01-01"), at("2026-11-26"))
    assert parse_period("2026-12", now=NOW) == (at("2026-12-01"), at("2027-01-01"))
    assert parse_period("2026-11-09", now=NOW) == (at("2026-11-09"), at("2026-11-10"))
    days = parse_period("2026-11-01..2026-11-15", now=NOW)
    assert days == (at("2026-11-01"), at("2026-11-16"))


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("day", "hours"), [("2026-10-25", 25), ("2026-03-29", 23), ("2026-06-01", 24)]
)
def test_a_day_on_which_clocks_are_changed_is_longer_or_shorter(day: str, hours: int) -> None:
    start, end = parse_period(day)
    assert (end - start) / 3600 == hours


@pytest.mark.parametrize(
    "text", ["tody", "2026-13", "2026-02-30", "2026-11-02..2026-11-01", "..", "2026-11-01.."]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_period(text, now=NOW)
    assert caught.value.hint


def test_a_moment_is_a_day_or_a_time_of_it() -> None:
    assert parse_moment("2026-11-09") == at("2026-11-09")
    assert parse_moment("2026-11-09T14:30") == at("2026-11-09T14:30")
    with pytest.raises(UsageError):
        parse_moment("noon")


# --- tags ----------------------------------------------------------------------------------------


def test_a_tag_is_read() -> None:
    assert parse_tag("--tag", "Project=vision") == ("project", "vision")
    assert parse_tag("--tag", "cost_centre=a=b") == ("cost-centre", "a=b")
    for wrong in ("project", "=x", "a b=c", "project=", "1=2", "x=" + "y" * 300):
        with pytest.raises(UsageError):
            parse_tag("--tag", wrong)


def test_who_pays_is_said_by_line_notebook_and_settings(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, project="common", team="red")
    notebook = tmp_path / "a.ipynb"
    tags = {"project": "vision", "mood": "good", "bad name": "x", "empty": ""}
    notebook.write_text(json.dumps({"metadata": {"aiinfra": {"tags": tags}}, "cells": []}))
    assert job_tags(settings, None, {}) == {"project": "common", "team": "red"}
    assert job_tags(settings, str(notebook), {"mood": "bad"}) == {
        "project": "vision",
        "team": "red",
        "mood": "bad",
    }


@pytest.mark.parametrize("text", ["", "[]", "{", '{"metadata": {"aiinfra": {"tags": 3}}}', "{}"])
def test_a_notebook_without_tags_has_none(tmp_path: Path, text: str) -> None:
    notebook = tmp_path / "a.ipynb"
    notebook.write_text(text)
    assert notebook_tags(str(notebook)) == {}
    assert notebook_tags(str(tmp_path / "gone.ipynb")) == {}
    assert notebook_tags("script.py") == {}
    assert notebook_tags(None) == {}
