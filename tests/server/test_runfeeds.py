"""What browsers are told of schedules, runs and notebooks that are behind, late or new."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from jupyter_aiinfra.schedule import Run, RunState
from jupyter_aiinfra.server.feeds import ItemsFeed
from jupyter_aiinfra.server.hub import SCHEDULES
from jupyter_aiinfra.server.runfeeds import NotebookFeed, feed_of
from jupyter_aiinfra.server.runreading import NotebookReading
from jupyter_aiinfra.server.schedulewire import RunItem, run_item
from jupyter_aiinfra.server.wire import GoneNews, ProblemNews, Topic

A_NOTEBOOK = Topic(topic="notebook", id="r1")


def a_run(number: int, state: RunState = RunState.RUNNING) -> RunItem:
    run = Run(
        id=f"r{number}",
        schedule="s1",
        version=1,
        key=f"now:{number}",
        trigger="now",
        state=state,
        created_at=float(number),
    )
    return run_item(run, "report")


def read(frame: bytes | None) -> dict[str, Any]:
    assert frame is not None
    news: dict[str, Any] = json.loads(frame)
    return news


def ids(news: dict[str, Any]) -> list[str]:
    return [each["id"] for each in news["changed"]]


def runs(*numbers: int) -> ItemsFeed[RunItem]:
    feed: Any = feed_of(Topic(topic="runs", id="s1"))
    feed.begin([a_run(number) for number in numbers])
    return feed  # type: ignore[no-any-return]


class TestRuns:
    def test_each_reader_gets_what_that_reader_lacks(self) -> None:
        feed = runs(1, 2)
        early = feed.stamp
        assert feed.change([a_run(3)])
        late = feed.stamp
        assert feed.change([a_run(1, RunState.FAILED)], removed=["r2"])

        news = read(feed.since(early))
        assert (ids(news), news["removed"], news["reset"]) == (["r3", "r1"], ["r2"], False)
        assert ids(read(feed.since(late))) == ["r1"]
        everything = read(feed.since(None))
        assert (ids(everything), everything["reset"]) == (["r3", "r1"], True)
        assert (everything["id"], everything["more"]) == ("s1", False)
        assert feed.since(feed.stamp) is None

    def test_the_same_again_is_no_news_also_of_old_ones(self) -> None:
        feed = runs(*range(100, 250))
        assert len(feed.known) == 100
        assert read(feed.since(None))["more"]
        assert not feed.change([a_run(249)])
        assert feed.change([a_run(5, RunState.FAILED)])
        assert not feed.change([a_run(5, RunState.FAILED)])
        assert "r5" not in feed.known
        assert ids(read(feed.since(feed.stamp - 1))) == ["r5"]
        assert feed.change([], removed=["r5"])
        assert not feed.change([], removed=["r5"])

    def test_says_nothing_before_it_is_begun_and_begins_again_after_a_problem(self) -> None:
        feed: Any = feed_of(Topic(topic="runs"))
        assert not feed.change([a_run(1)])
        assert feed.since(None) is None
        assert feed.fail(ProblemNews(message="no database"))
        assert not feed.fail(ProblemNews(message="no database"))
        told = feed.stamp
        assert not feed.change([a_run(1)])
        feed.begin([a_run(1)])
        assert read(feed.since(told))["reset"]

    def test_who_is_far_behind_begins_anew(self) -> None:
        feed = runs(1)
        early = feed.stamp
        for number in range(2, 700):
            feed.change([a_run(number)])
        news = read(feed.since(early))
        assert (news["reset"], news["more"], len(news["changed"])) == (True, True, 100)
        assert ids(news)[0] == "r699"


def test_there_is_no_more_than_all_schedules() -> None:
    feed: Any = feed_of(SCHEDULES)
    feed.begin([])
    assert read(feed.since(None)) == {
        "type": "schedules",
        "changed": [],
        "removed": [],
        "reset": True,
    }


def cell(text: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": "", "outputs": [{"text": text}]}


def seen(**values: Any) -> NotebookReading:
    usual: dict[str, Any] = {
        "run": a_run(1),
        "live": True,
        "state": "running",
        "cell": 1,
        "cells": 2,
        "findings": (),
        "problem": None,
    }
    return NotebookReading(**{**usual, **values})


class TestNotebook:
    def begun(self) -> NotebookFeed:
        feed = NotebookFeed("r1")
        assert feed.put(seen(notebook={"cells": [cell("a"), cell("b")]}))
        return feed

    def test_only_cells_that_are_others_are_told(self) -> None:
        feed = self.begun()
        early = feed.stamp
        assert feed.put(seen(changes={0: cell("aa")}))
        late = feed.stamp
        assert feed.put(seen(changes={1: cell("bb")}, cell=2))

        news = read(feed.since(early))
        assert (news["reset"], news["notebook"], news["cell"]) == (False, None, 2)
        assert [at for at, _ in news["changes"]] == [0, 1]
        assert [at for at, _ in read(feed.since(late))["changes"]] == [1]
        whole = read(feed.since(None))
        assert whole["reset"]
        assert [each["outputs"][0]["text"] for each in whole["notebook"]["cells"]] == ["aa", "bb"]
        assert whole["changes"] == []

    def test_the_same_again_is_no_news(self) -> None:
        feed = self.begun()
        assert not feed.put(seen(changes={}))
        assert feed.put(seen(changes={}, cell=2))
        assert read(feed.since(feed.stamp - 1))["changes"] == []

    def test_another_notebook_takes_the_place_of_all(self) -> None:
        feed = self.begun()
        early = feed.stamp
        feed.put(seen(changes={0: cell("aa")}))
        over = replace(a_run(1), state=RunState.SUCCEEDED)
        feed.put(seen(notebook={"cells": [cell("z")]}, state="over", live=False, run=over))
        news = read(feed.since(early))
        assert (news["reset"], len(news["notebook"]["cells"])) == (True, 1)

    def test_after_a_problem_everybody_begins_anew(self) -> None:
        feed = self.begun()
        assert feed.fail(ProblemNews(message="the pool does not answer", topic=A_NOTEBOOK))
        told = feed.stamp
        assert read(feed.since(None))["type"] == "problem"
        feed.put(seen(notebook={"cells": [cell("a")]}))
        assert read(feed.since(told))["reset"]
        assert feed.fail(GoneNews(id="r1"))
        assert read(feed.since(told)) == {"type": "gone", "id": "r1"}

    def test_where_there_is_no_notebook_it_is_said_why(self) -> None:
        feed = NotebookFeed("r1")
        feed.put(seen(state="over", problem="its job was removed", cells=None))
        news = read(feed.since(None))
        assert (news["notebook"], news["problem"]) == (None, "its job was removed")
