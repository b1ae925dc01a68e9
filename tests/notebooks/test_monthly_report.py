"""The monthly report tells what is on record, in each of the ways that it can be asked."""

from __future__ import annotations

import csv
import datetime as dt
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.papermill import Executed, execute
from tests.support.site import Site, open_site
from tests.support.spending import DAY, HOUR, Spender

pytestmark = pytest.mark.timeout(300)

NOTEBOOK = Path(__file__).parents[2] / "example_notebooks" / "monthly_report.ipynb"
BEGIN = dt.datetime.now().astimezone().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
MONTH = f"{BEGIN - dt.timedelta(days=1):%Y-%m}"
Report = Callable[..., Executed]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("report") / "site") as site:
        shutil.copy(NOTEBOOK, site.work / NOTEBOOK.name)
        begin = (BEGIN - dt.timedelta(days=1)).replace(day=10, hour=6).timestamp()
        spent = Spender(site.store)
        spent.attach("lab", at=begin, gpus=2, amount="2.50")
        spent.attach("haus", at=begin, gpus=1, amount="1.20", currency="EUR")
        spent.attach("bare", at=begin, gpus=1, amount=None)
        spent.job("digits", "lab", at=begin, hours=4, gpus=2, busy=75, user="ada", project="vision")
        spent.job("words", "haus", at=begin + DAY, hours=10, user="bob", project="speech")
        spent.job("test", "bare", at=begin + DAY, hours=1, user="bob")
        for name in ("lab", "haus", "bare"):
            spent.detach(name, at=begin + DAY + 10 * HOUR)
        yield site


@pytest.fixture(scope="module")
def report(site: Site) -> Report:
    done: dict[tuple[tuple[str, str], ...], Executed] = {}

    def run(**parameters: str) -> Executed:
        asked = tuple(sorted(parameters.items()))
        if asked not in done:  # what is on record stays as it is
            done[asked] = execute(site, site.work / NOTEBOOK.name, parameters=parameters)
        assert done[asked].status == 0, done[asked].said
        assert done[asked].errors == []
        return done[asked]

    return run


def rows(done: Executed, cell: str) -> dict[str, list[str]]:
    """Return the cells of a table's rows by the first of each."""
    found = [re.split(r" {2,}", line.strip()) for line in done.printed(cell).splitlines()]
    return {first: rest for first, *rest in found}


def test_without_parameters_it_is_the_last_month_by_project(report: Report) -> None:
    done = report()
    whole = rows(done, "figures =")
    # 34 hours of two GPUs, and of one in euros.
    assert whole["cost"] == ["40.80 EUR + 170.00 USD"]
    assert whole["GPU-hours"] == ["136.0"]
    assert whole["of them no job was given"] == ["117.0"]
    assert whole["jobs"] == ["3"]
    # Of the pool in euros nobody read the GPUs: that is not 0.
    assert whole["idle time cost"] == ["5.00 USD"]
    assert "34.0 hours have no price and are in no amount" in done.printed("figures =")
    lines = rows(done, "def line_rows")
    assert lines["vision"] == ["8.0", "75 %", "25 %", "20.00 USD", "5.00 USD"]
    assert lines["speech"] == ["10.0", "n/a", "n/a", "12.00 EUR", "n/a"]
    assert lines["(no project)"] == ["1.0", "n/a", "n/a", "n/a", "n/a"]
    assert lines["(nobody)"][3] == "28.80 EUR + 150.00 USD"


def test_days_are_drawn_a_picture_a_currency(report: Report) -> None:
    pictures = report().outputs("def picture")
    assert len(pictures) == 2
    texts = [each["data"]["text/plain"] for each in pictures]
    for text, amount, currency in zip(texts, (40.80, 170.0), ("EUR", "USD"), strict=True):
        found = [float(each) for each in re.findall(rf"([\d.,]+) {currency}$", text, re.MULTILINE)]
        assert sum(found) == pytest.approx(amount, abs=0.02)
    assert all(each["data"]["text/html"].count("<svg") == 1 for each in pictures)


def test_prices_come_with_who_says_so_and_the_rows_stay(report: Report, site: Site) -> None:
    said = report().printed("csv.DictReader")
    assert re.search(r"^lab +n/a +2\.5 USD a GPU-Hour +the contract ", said, re.MULTILINE)
    assert re.search(r"^bare +n/a +n/a +n/a +n/a +n/a +34\.0$", said, re.MULTILINE), said
    with (site.work / f"usage-{MONTH}.csv").open(newline="") as file:
        amounts = [float(row["BilledCost"] or 0) for row in csv.DictReader(file)]
    assert sum(amounts) == pytest.approx(210.80)


def test_it_is_narrowed_and_split_as_is_asked(report: Report) -> None:
    done = report(month=MONTH, by="user", tag="project=vision")
    assert list(rows(done, "def line_rows")) == ["user", "ada"]
    assert rows(done, "figures =")["cost"] == ["20.00 USD"]
    by_pool = rows(report(by="pool"), "def line_rows")
    assert {"lab", "lab (nobody)", "haus", "haus (nobody)"} < set(by_pool)


def test_a_month_without_anything_says_so(report: Report) -> None:
    done = report(month="2020-02")
    assert "Nothing is on record for 2020-02" in done.printed("figures =")
    # A busy kernel may send the line's end by itself.
    assert done.printed("def picture").strip() == "nothing to draw"


def test_a_wrong_parameter_is_told_by_its_name(site: Site) -> None:
    done = execute(site, site.work / NOTEBOOK.name, parameters={"by": "mood"})
    assert done.status != 0
    assert "mood" in done.said
