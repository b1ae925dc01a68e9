from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

import benchmarks.__main__
from benchmarks.cell.kernel import most_in_a_second
from benchmarks.cell.output import final_counts, unaccounted_lines
from benchmarks.figure import Figure, Goal, Judged, number_text, spread
from benchmarks.machine import Machine
from benchmarks.registry import TOPICS, CannotMeasure, Run, in_turn, load_topic
from benchmarks.report import COLUMNS, as_json, header_lines, merge_page, row, section, table_text

MACHINE = Machine(
    cores=2,
    memory_gib=23.5,
    system="Linux x86_64",
    load_before=(0.25, 1.0, 2.0),
    load_after=(1.5, 1.25, 2.0),
    versions={"python": "3.11.7", "torch": "2.13.0"},
)


def figure(**changes: Any) -> Figure:
    values: dict[str, Any] = {"name": "a", "unit": "s", "ours": (2.0, 3.0, 4.0)}
    return Figure(**{**values, "raw": (1.0, 2.0, 2.0), **changes})


def test_ratios_are_taken_round_by_round_and_not_of_the_medians() -> None:
    made = figure(ours=(1.0, 10.0, 4.0), raw=(1.0, 5.0, 1.0))
    assert made.ratios == (1.0, 2.0, 4.0)
    assert made.differences == (0.0, 5.0, 3.0)
    assert spread(made.ratios).median == 2.0
    assert (spread(made.ratios).least, spread(made.ratios).most) == (1.0, 4.0)


def test_a_ratio_to_nothing_is_not_known() -> None:
    made = figure(raw=(0.0, 1.0, 1.0), goal=Goal(limit=1.0))
    assert made.ratios == ()
    assert made.met is None


@pytest.mark.parametrize(
    ("goal", "values", "met"),
    [
        (Goal(limit=1.0), (0.5, 1.0, 9.0), True),
        (Goal(limit=1.0), (0.5, 1.1, 9.0), False),
        (Goal(limit=1.0, at_least=True), (0.5, 1.0, 9.0), True),
        (Goal(limit=1.0, at_least=True), (0.5, 0.9, 9.0), False),
        (Goal(limit=1.0, always=True), (0.5, 0.6, 9.0), False),
        (Goal(limit=0.0, always=True), (0.0, 0.0), True),
    ],
)
def test_the_median_is_held_against_the_goal_or_every_round(
    goal: Goal, values: Sequence[float], met: bool
) -> None:
    assert goal.met(values) is met


@pytest.mark.parametrize(
    ("judged", "limit", "met"),
    [
        (Judged.RATIO, 2.0, True),
        (Judged.RATIO, 1.9, False),
        (Judged.DIFFERENCE, 1.0, True),
        (Judged.DIFFERENCE, 0.9, False),
        (Judged.OURS, 3.0, True),
        (Judged.OURS, 2.9, False),
    ],
)
def test_what_is_judged_is_what_the_figure_says(judged: Judged, limit: float, met: bool) -> None:
    made = figure(ours=(2.0, 3.0, 4.0), raw=(1.0, 2.0, 2.0), judged=judged, goal=Goal(limit=limit))
    assert made.met is met


def test_a_figure_without_a_goal_is_neither_met_nor_missed() -> None:
    assert figure().met is None
    assert row(figure())[-2:] == ("-", "-")


@pytest.mark.parametrize(
    "changes",
    [{"ours": ()}, {"raw": (1.0,)}, {"raw": ()}, {"raw": (), "judged": Judged.DIFFERENCE}],
)
def test_rounds_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a: "):
        figure(**changes)


def test_a_row_tells_ratio_spread_medians_goal_and_how_many_rounds_met_it() -> None:
    cells = row(figure(goal=Goal(limit=1.75)))
    assert cells == (
        "a",
        "2 [1.5 to 2]",
        "3 s",
        "2 s",
        "the ratio",
        "<= 1.75",
        "NO (1/3)",
    )


def test_a_row_judged_by_the_difference_tells_its_spread_with_the_unit() -> None:
    goal = Goal(limit=1.5)
    cells = dict(zip(COLUMNS, row(figure(judged=Judged.DIFFERENCE, goal=goal)), strict=True))
    assert cells["judged"] == "ours - raw: 1 [1 to 2] s"
    assert cells["goal"] == "<= 1.5 s"
    assert cells["met"] == "yes (2/3)"


def test_a_row_of_something_exact_needs_no_raw_tool() -> None:
    goal = Goal(limit=0, always=True)
    made = figure(unit="B", ours=(0.0, 0.0), raw=(), judged=Judged.OURS, goal=goal)
    assert row(made) == ("a", "-", "0 B", "-", "ours: 0 B", "<= 0 B, every round", "yes (2/2)")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.000123, "1.2e-04"), (0.98765, "0.988"), (12.345, "12.3"), (2e8, "200,000,000")],
)
def test_numbers_have_three_digits_or_thousands(value: float, text: str) -> None:
    assert number_text(value) == text


def test_the_table_is_aligned_and_has_the_notes_below() -> None:
    text = table_text([figure(note="how"), figure(name="longer", unit="steps/s")])
    lines = text.splitlines()
    assert len({line.index("ours / raw") for line in lines[:1]}) == 1
    assert lines[2].index("2 [1.5") == lines[3].index("2 [1.5") == lines[0].index("ours / raw")
    assert lines[-1] == "* a: how"


def test_the_header_tells_the_load_at_both_ends() -> None:
    text = "\n".join(header_lines(MACHINE, rounds=5))
    assert "2 cores, 23.5 GiB" in text
    assert "5 rounds" in text
    assert "0.25 1.00 2.00 at the start, 1.50 1.25 2.00 at the end" in text
    assert "torch 2.13.0" in text


def test_json_holds_every_round() -> None:
    goal = Goal(limit=2.0)
    told = as_json({"cell": [figure(goal=goal)]}, MACHINE, rounds=3)
    (one,) = json.loads(json.dumps(told))["topics"]["cell"]
    assert one["ours"] == [2.0, 3.0, 4.0]
    assert one["ratios"] == [2.0, 1.5, 2.0]
    assert one["ratio"] == {"median": 2.0, "least": 1.5, "most": 2.0}
    assert one["judged_spread"] == one["ratio"]
    assert one["met"] is True
    assert one["goal"] == {"limit": 2.0, "at_least": False, "always": False}


def test_the_page_keeps_the_other_topics() -> None:
    cell = section("cell", [figure()], MACHINE, rounds=3, date="2026-01-02")
    lab = section("lab", [figure(name="b")], MACHINE, rounds=3, date="2026-01-03")
    both = merge_page(merge_page("", "cell", cell), "lab", lab)
    assert both.index("## cell") < both.index("## lab")
    newer = section("cell", [figure(name="c")], MACHINE, rounds=3, date="2026-01-04")
    page = merge_page(both, "cell", newer)
    assert "| c | 2 [1.5 to 2] |" in page
    assert "| b | 2 [1.5 to 2] |" in page
    assert "| a |" not in page
    assert page.count("## cell") == 1
    assert merge_page(page, "cell", newer) == page


@pytest.mark.parametrize("name", TOPICS)
def test_every_topic_has_measures_with_names_of_their_own(name: str) -> None:
    topic = load_topic(name)
    names = [measure.__name__ for measure in topic.MEASURES]
    assert names
    assert len(set(names)) == len(names)
    assert topic.PACKAGES


def test_what_cannot_be_measured_here_is_said_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(run: Run) -> list[Figure]:
        raise CannotMeasure(f"{run.rounds} rounds need root")

    def able(run: Run) -> list[Figure]:
        return [figure(ours=(1.0,) * run.rounds, raw=(2.0,) * run.rounds)]

    topics = {"cell": able, "ssh": refuse}
    monkeypatch.setattr(
        benchmarks.__main__,
        "load_topic",
        lambda name: SimpleNamespace(PACKAGES=(), MEASURES=(topics[name],)),
    )
    assert benchmarks.__main__.main(["cell", "ssh", "--json", "--rounds", "2"]) == 2
    out, err = capsys.readouterr()
    assert list(json.loads(out)["topics"]) == ["cell"]
    assert err == "ssh cannot be measured here: 2 rounds need root\n"
    assert benchmarks.__main__.main(["cell"]) == 0


def test_rounds_are_taken_in_turn(tmp_path: Any) -> None:
    order: list[str] = []
    told: list[str] = []

    def take(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    run = Run(rounds=2, folder=tmp_path, say=told.append)
    series = in_turn(run, "x", ours=lambda: take("ours", 1.0), raw=lambda: take("raw", 2.0))
    assert order == ["ours", "raw", "ours", "raw"]
    assert series == ((1.0, 1.0), (2.0, 2.0))
    assert told == ["x 1/2: ours 1.000, raw 2.000", "x 2/2: ours 1.000, raw 2.000"]


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([5.0], 1), ([0.0, 0.5, 0.9, 1.2, 3.0], 3), ([0.0, 1.0], 1), ([2.0] * 4, 4)],
)
def test_the_busiest_second_may_begin_anywhere(times: list[float], most: int) -> None:
    assert most_in_a_second(times) == most


def widget(state: dict[str, Any], kind: str = "comm_msg") -> tuple[float, dict[str, Any]]:
    return 0.0, {"msg_type": kind, "content": {"data": {"state": state}}}


def test_the_counts_are_those_a_page_has_at_the_end() -> None:
    full = {"seen": 1, "shown": 1, "folded": 0, "left_out": 0}
    messages = [
        widget({"log": {"ranks": {"0": {"counts": full}}}}, kind="comm_open"),
        widget({"delta": {"ranks": {"0": {"counts": {"seen": 9, "left_out": 8}}}}}),
        widget({"delta": {"ranks": {"1": {"counts": {"seen": 7}}}}}),
        widget({"header": {"state": "succeeded"}}),
    ]
    assert final_counts(messages) == {"seen": 9, "shown": 1, "folded": 0, "left_out": 8}


def test_a_line_that_is_missing_anywhere_is_unaccounted_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from benchmarks.cell import output

    monkeypatch.setattr(output, "_LINES", 3)
    lines = [f"step {step:07d} {output._WORDS}\n".encode() for step in range(3)]
    assert len(lines[0]) == output._LINE_BYTES
    whole = {"seen": 3, "shown": 1, "folded": 0, "left_out": 2}
    assert unaccounted_lines(whole, b"".join(lines)) == 0
    assert unaccounted_lines({**whole, "shown": 0}, b"".join(lines)) == 1
    assert unaccounted_lines({**whole, "seen": 2}, b"".join(lines)) == 1
    assert unaccounted_lines(whole, b"".join(lines[:2])) == 1
    assert unaccounted_lines(whole, b"".join([lines[0], lines[0], lines[2]])) == 1
