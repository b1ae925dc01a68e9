"""``python -m benchmarks [TOPIC…] [--json] [--rounds N] [--only MEASURE] [--write]``."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.machine import Machine, describe_machine, load_now
from benchmarks.registry import TOPICS, CannotMeasure, Run, load_topic
from benchmarks.report import as_json, header_lines, merge_page, section, table_text

__all__ = ["main"]

_PAGE = Path(__file__).parent / "RESULTS.md"
_OWN = ("jupyter_aiinfra",)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure ours and the raw tool in turn. Ends with 1 when a goal is not met, "
        "with 2 when something cannot be measured here.",
    )
    topics = ", ".join(TOPICS)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of: {topics} (all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measure (5)")
    parser.add_argument("--only", action="append", metavar="MEASURE", help="only these measures")
    parser.add_argument("--json", action="store_true", help="print JSON, each round included")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {_PAGE.name}")
    return parser


def _asked(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for; what makes no sense ends the program."""
    parser = _parser()
    asked = parser.parse_args(argv)
    asked.topics = asked.topics or list(TOPICS)
    unknown = [name for name in asked.topics if name not in TOPICS]
    if unknown:
        parser.error(f"{unknown[0]!r} is no topic; there are {', '.join(TOPICS)}")
    if asked.rounds < 1:
        parser.error(f"--rounds {asked.rounds}: at least 1")
    known = [m.__name__ for name in asked.topics for m in load_topic(name).MEASURES]
    for name in asked.only or ():
        if name not in known:
            parser.error(f"{name!r} is no measure here; there are {', '.join(known)}")
    if asked.write and asked.only:
        parser.error("--write keeps whole topics: leave --only out")
    return asked


def _measure(topic: str, *, rounds: int, only: Sequence[str] | None) -> list[Figure]:
    figures: list[Figure] = []
    for measure in load_topic(topic).MEASURES:
        if only and measure.__name__ not in only:
            continue
        with tempfile.TemporaryDirectory(prefix="aiinfra-benchmark-") as folder:
            figures += measure(Run(rounds=rounds, folder=Path(folder)))
    return figures


def _measure_all(
    names: Sequence[str], *, rounds: int, only: Sequence[str] | None
) -> dict[str, list[Figure]]:
    """Measure the topics; what cannot be measured here is said, and left out."""
    figures = {}
    for name in names:
        try:
            figures[name] = _measure(name, rounds=rounds, only=only)
        except CannotMeasure as error:  # noqa: PERF203 - the others are measured all the same
            print(f"{name} cannot be measured here: {error}", file=sys.stderr)
    return figures


def _keep(figures: Mapping[str, Sequence[Figure]], machine: Machine, *, rounds: int) -> None:
    page = _PAGE.read_text(encoding="utf-8") if _PAGE.exists() else ""
    date = dt.datetime.now(tz=dt.timezone.utc).date().isoformat()
    for name, of in figures.items():
        page = merge_page(page, name, section(name, of, machine, rounds=rounds, date=date))
    _PAGE.write_text(page, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0 when every goal is met, 1 when not, 2 when it is not known."""
    asked = _asked(argv)
    load_before = load_now()
    figures = _measure_all(asked.topics, rounds=asked.rounds, only=asked.only)
    packages = [*_OWN, *dict.fromkeys(p for name in figures for p in load_topic(name).PACKAGES)]
    machine = describe_machine(load_before=load_before, packages=packages)
    if asked.json:
        print(json.dumps(as_json(figures, machine, rounds=asked.rounds), indent=1))
    else:
        print("\n".join(header_lines(machine, rounds=asked.rounds)))
        for name, of in figures.items():
            print(f"\n{name}\n\n{table_text(of)}")
    if asked.write:
        _keep(figures, machine, rounds=asked.rounds)
    if len(figures) < len(asked.topics):
        return 2
    return 0 if all(f.met is not False for of in figures.values() for f in of) else 1


if __name__ == "__main__":
    sys.exit(main())
