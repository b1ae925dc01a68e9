"""The line of ``%%accelerate`` and of ``jupyter aiinfra run``: our options, and accelerate's."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jupyter_aiinfra.accelerate import option_table, parse_passed
from jupyter_aiinfra.commands.tags import parse_tag
from jupyter_aiinfra.cost.money import parse_money
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import IdleRule
from jupyter_aiinfra.training import LaunchLine

__all__ = [
    "OPTIONS",
    "LaunchProblem",
    "Option",
    "help_text",
    "idle_rule",
    "launch_problems",
    "parse_launch",
    "parse_seconds",
    "pool_word",
    "split_script",
]

_Takes = Literal["nothing", "one", "maybe"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of ours. ``field`` names where its value goes in :class:`LaunchLine`."""

    name: str
    field: str
    help: str
    metavar: str = ""
    takes: _Takes = "one"
    convert: Callable[[str, str], Any] = lambda _flag, text: text
    many: bool = False
    values: str = ""


def _whole(flag: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise UsageError(f"{flag} {text!r}: expected a whole number from 1 on")
    return number


def _integer(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{flag} {text!r}: expected a whole number, such as 10 or -5") from None


def _port(flag: str, text: str) -> int:
    number = _whole(flag, text)
    if not 1024 <= number <= 65535:  # noqa: PLR2004 - below are the system's, above is no port
        raise UsageError(f"{flag} {text}: expected a port from 1024 to 65535")
    return number


def _nodes(flag: str, text: str) -> tuple[int | None, int]:
    """Read ``3``, or ``2..3``: begin on three, and go on as long as there are two."""
    fewest, dots, most = text.partition("..")
    try:
        numbers = (int(fewest), int(most) if dots else int(fewest))
    except ValueError:
        numbers = (0, 0)
    if not 1 <= numbers[0] <= numbers[1]:
        raise UsageError(
            f"{flag} {text!r}: expected a whole number from 1 on, or a range",
            hint=f"{flag} 2..3 begins on three nodes and goes on as long as there are two",
        )
    return (numbers[0] if dots else None), numbers[1]


def _count(flag: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise UsageError(f"{flag} {text!r}: expected a whole number from 0 on")
    return number


def _patterns(flag: str, text: str) -> tuple[str, ...]:
    patterns = tuple(part.strip() for part in text.split(",") if part.strip())
    for pattern in patterns:
        if pattern.startswith("/") or ".." in pattern.split("/"):
            raise UsageError(
                f"{flag} {pattern!r}: expected files below the working directory of the ranks",
                hint=f"{flag} 'out/**' brings back all that lies in the folder out",
            )
    if not patterns:
        raise UsageError(f"{flag}: expected a pattern, or several with commas between")
    return patterns


def _amount(flag: str, text: str) -> str:
    try:
        amount = parse_money(text)
    except UsageError as error:
        raise UsageError(f"{flag} {error.message}", hint=error.hint) from None
    if not amount.amount:
        raise UsageError(f"{flag} {text}: a budget is more than nothing", hint="such as 20usd")
    return f"{amount.wire_exact} {amount.currency}"


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_seconds(flag: str, text: str) -> float:
    """Read ``90``, ``90s``, ``30m``, ``2h``, ``1d`` or ``1h30m`` as seconds.

    Raises
    ------
    UsageError
        Anything else.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(
            f"{flag} {text!r}: expected a length of time", hint="such as 90s, 30m, 2h or 1h30m"
        )
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _some_seconds(flag: str, text: str) -> float:
    seconds = parse_seconds(flag, text)
    if seconds <= 0:
        raise UsageError(f"{flag} {text}: a job cannot end before it begins", hint="such as 30m")
    return seconds


def idle_rule(flag: str, text: str) -> IdleRule:
    """Read ``30m``, ``warn`` (say so, and stop nothing) or ``never`` (do not even look).

    Raises
    ------
    UsageError
        Anything else, or a time too short to tell.
    """
    if text in ("warn", "never"):
        return IdleRule(watch=text == "warn")
    seconds = parse_seconds(flag, text)
    if seconds < _SHORTEST_IDLE:
        raise UsageError(
            f"{flag} {text}: in less than {_SHORTEST_IDLE // 60} min a job may just be waiting",
            hint="such as 30m; warn says so and stops nothing, never does not look",
        )
    return IdleRule(stop_seconds=seconds)


def _names(flag: str, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not name.isidentifier():
            raise UsageError(f"{flag} {name!r}: expected a name, or several with commas between")
    if not names:
        raise UsageError(f"{flag}: expected a name, or several with commas between")
    return names


def _variable(flag: str, text: str) -> tuple[tuple[str, str], ...]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"{flag} {text!r}: expected NAME=VALUE")
    return ((name, value),)


def _tag(flag: str, text: str) -> tuple[tuple[str, str], ...]:
    return (parse_tag(flag, text),)


def _environment(flag: str, text: str) -> str:
    if text != "current" and not text.endswith(_ENVIRONMENT_FILES):
        raise UsageError(
            f"{flag} {text!r}: expected NAME=VALUE, current, or the path of a requirements.txt, "
            "uv.lock, pyproject.toml or environment.yml",
            hint=f"{flag} NAME=VALUE sets a variable, {flag} FILE names the ranks' environment",
        )
    return text


_SHORTEST_IDLE = 300
_ENVIRONMENT_FILES = (".txt", ".in", ".lock", ".toml", ".yml", ".yaml")


OPTIONS: tuple[Option, ...] = (
    Option(
        name="--procs",
        field="procs",
        metavar="N",
        convert=_whole,
        help="ranks on each node; without it one a GPU, or one",
    ),
    Option(
        name="--nodes",
        field="nodes",
        metavar="N[..M]",
        convert=_nodes,
        help="nodes (1); 2..3 begins on three and goes on as long as there are two",
    ),
    Option(
        name="--max-restarts",
        field="max_restarts",
        metavar="N",
        convert=_count,
        help="begin again so often when a node or a rank is lost (0; 3 with --nodes N..M)",
    ),
    Option(name="--cpu", field="cpu", takes="nothing", help="train on CPUs even where GPUs are"),
    Option(name="--name", field="name", metavar="NAME", help="what to call the job"),
    Option(
        name="--send",
        field="send",
        metavar="NAME,…",
        convert=_names,
        many=True,
        values="variables",
        help="variables to send beside those the code is seen to use",
    ),
    Option(
        name="--keep",
        field="keep",
        metavar="NAME,…",
        convert=_names,
        many=True,
        values="variables",
        help="variables to keep here although the code names them",
    ),
    Option(
        name="--fetch",
        field="fetch",
        metavar="NAME,…",
        convert=_names,
        many=True,
        values="variables",
        help="variables of rank 0 to bring back when the job has succeeded",
    ),
    Option(
        name="--secret",
        field="secrets",
        metavar="NAME,…",
        convert=_names,
        many=True,
        help="environment variables to hand on without ever recording their values",
    ),
    Option(
        name="--env",
        field="env",
        metavar="NAME=VALUE|FILE",
        convert=_variable,
        many=True,
        help="variable for the ranks (recorded), or what to build their Python from",
    ),
    Option(
        name="--artifacts",
        field="artifacts",
        metavar="GLOB,…",
        convert=_patterns,
        many=True,
        help="files of rank 0's working directory to keep with the job, such as 'out/**'",
    ),
    Option(
        name="--mlflow",
        field="mlflow",
        metavar="[URI]",
        takes="maybe",
        help="keep an MLflow run around the job, at URI or where MLflow is set to",
    ),
    Option(
        name="--no-mlflow",
        field="no_mlflow",
        takes="nothing",
        help="keep none although a tracking URI is set",
    ),
    Option(
        name="--port",
        field="port",
        metavar="PORT",
        convert=_port,
        help="where the ranks meet; without it a free port is chosen",
    ),
    Option(name="--cwd", field="cwd", metavar="DIR", help="working directory of the ranks"),
    Option(
        name="--grace",
        field="grace_seconds",
        metavar="TIME",
        convert=parse_seconds,
        help="how long a stopped job may take to end by itself (10s)",
    ),
    Option(
        name="--max-duration",
        field="time_limit_seconds",
        metavar="TIME",
        convert=_some_seconds,
        help="stop the job after this long: 90s, 30m, 2h",
    ),
    Option(
        name="--tag",
        field="tags",
        metavar="NAME=VALUE",
        convert=_tag,
        many=True,
        help="who pays: project=…, team=…, cost-centre=…, or another word",
    ),
    Option(
        name="--budget",
        field="budget",
        metavar="AMOUNT",
        convert=_amount,
        help="stop the job, with time to save, once it has cost this: 20usd, 0.50eur",
    ),
    Option(
        name="--idle-stop",
        field="idle",
        metavar="TIME|warn",
        convert=idle_rule,
        help="stop it after this long without use of its GPUs; warn, or never",
    ),
    Option(
        name="--share",
        field="share",
        takes="nothing",
        help="share GPUs with other jobs that ask for it too",
    ),
    Option(
        name="--priority",
        field="priority",
        metavar="N",
        convert=_integer,
        help="jobs of a higher number are the first to get GPUs (0)",
    ),
    Option(
        name="--detach",
        field="detach",
        takes="nothing",
        help="return at once; %jobs attach ID shows the output later",
    ),
    Option(
        name="--dry-run",
        field="dry_run",
        takes="nothing",
        help="show what would be sent and run, and change nothing",
    ),
)
_BY_NAME = {option.name: option for option in OPTIONS}
# Accelerate's own word for something that is ours to decide, read as ours.
_ALIASES = {"--main-process-port": "--port", "-h": "--help"}


@dataclass(frozen=True, kw_only=True)
class LaunchProblem:
    """What is wrong with the words from number `first` up to number `end`, counted from 0."""

    first: int
    end: int
    error: UsageError


def parse_launch(words: Sequence[str], *, pool_positional: bool = True) -> LaunchLine:
    """Read the words of a launch line.

    The first word that is no option names the pool (unless `pool_positional` is false and
    ``--pool`` does); what follows a bare ``--`` goes to accelerate unchecked.

    Raises
    ------
    UsageError, UnknownOption
        Says which word, what was expected, and the nearest known option.
    """
    reader = _Reader(words, pool_positional=pool_positional)
    if reader.problems:
        raise reader.problems[0].error
    return LaunchLine(**reader.values, passed=tuple(reader.passed))


def launch_problems(words: Sequence[str]) -> tuple[LaunchProblem, ...]:
    """Return all that :func:`parse_launch` would refuse in `words`, by where it stands."""
    return tuple(_Reader(words, pool_positional=True).problems)


def pool_word(words: Sequence[str]) -> int | None:
    """Return the number of the word that names the pool, from 0, also where others are wrong."""
    return _Reader(words, pool_positional=True).places.get("pool")


class _Reader:
    """Reads a launch line to its end, whatever is wrong with parts of it.

    ``values`` are the fields of :class:`LaunchLine` that were given, ``places`` the word that gave
    each, ``passed`` what goes to accelerate.
    """

    def __init__(self, words: Sequence[str], *, pool_positional: bool) -> None:
        self.values: dict[str, Any] = {}
        self.places: dict[str, int] = {}
        self.passed: list[str] = []
        self.problems: list[LaunchProblem] = []
        self._words = words
        self._at = 0
        self._read(pool_positional=pool_positional)
        for name in ("send", "keep", "fetch", "secrets", "artifacts"):
            self.values[name] = tuple(dict.fromkeys(self.values.get(name, ())))
        self.values["env"] = dict(self.values.get("env", ()))
        self.values["tags"] = dict(self.values.get("tags", ()))
        if "nodes" in self.values:
            self.values["min_nodes"], self.values["nodes"] = self.values["nodes"]

    def _read(self, *, pool_positional: bool) -> None:
        while self._at < len(self._words):
            first = self._at
            word = self._next()
            if word == "--":
                self.passed += self._words[self._at :]
                return
            flag, equals, attached = word.partition("=")
            option = _ours(flag, pool_positional=pool_positional)
            try:
                if option is not None:
                    self._take(option, flag, attached if equals else None)
                elif word.startswith("-"):
                    self._pass(word)
                else:
                    self._name_pool(word, allowed=pool_positional)
            except _AtValue as found:
                self._refuse(self._at - 1, found.error)
            except UsageError as error:
                self._refuse(first, error)

    def _next(self) -> str:
        self._at += 1
        return self._words[self._at - 1]

    def _refuse(self, first: int, error: UsageError) -> None:
        self.problems.append(LaunchProblem(first=first, end=first + 1, error=error))

    def _name_pool(self, word: str, *, allowed: bool) -> None:
        if not allowed or "pool" in self.values:
            raise UsageError(
                f"{word!r} is neither an option nor the value of one",
                hint="the pool comes first: %%accelerate POOL --option …",
            )
        self.values["pool"], self.places["pool"] = word, self._at - 1

    def _take(self, option: Option, flag: str, text: str | None) -> None:
        """Read one option of ours, whose value is `text` or the next word."""
        place = self._at - 1
        value: Any = True
        if option.takes == "nothing":
            if text is not None:
                raise UsageError(f"{flag} takes no value, got {text!r}")
        else:
            if text is None and self._at < len(self._words):
                text = None if self._words[self._at].startswith("--") else self._next()
            if text is None:
                if option.takes == "one":
                    raise UsageError(f"{flag} needs a value: {flag} {option.metavar}")
                text = ""
            option = _meant(option, text)
            try:
                value = option.convert(flag, text)
            except UsageError as error:
                raise _AtValue(error) from None
            if option.many:
                value = (*self.values.get(option.field, ()), *value)
            elif option.field in self.values:
                raise UsageError(f"{flag} is given twice")
        self.values[option.field] = value
        self.places[option.field] = place
        if self.values.get("mlflow") is not None and self.values.get("no_mlflow"):
            raise UsageError("--mlflow and --no-mlflow contradict each other")

    def _pass(self, word: str) -> None:
        """Read one of accelerate's options, and its value where it takes one."""
        group = [word]
        info = option_table().get(word.replace("_", "-") if word.startswith("--") else word)
        takes_one = info is not None and info.takes != "nothing"
        if "=" not in word and self._at < len(self._words):
            following = self._words[self._at]
            # Of an option that nobody knows the next word may be the value: the error names the
            # option. What looks like the next option is one.
            unknown = info is None and not following.startswith("-")
            if unknown or (takes_one and (not following.startswith("--") or " " in following)):
                group.append(self._next())
        try:
            self.passed += parse_passed(group, ours=[*_BY_NAME, "--pool", "--help"])
        except UsageError as error:
            if takes_one and len(group) > 1:
                raise _AtValue(error) from None
            raise


class _AtValue(Exception):
    """An error about the value of an option, which is the word read last."""

    def __init__(self, error: UsageError) -> None:
        super().__init__(error)
        self.error = error


_ENVIRONMENT = Option(
    name="--env", field="environment", metavar="FILE", convert=_environment, help=""
)


def _meant(option: Option, text: str) -> Option:
    """Return what `text` makes of `option`: ``--env`` takes a variable or an environment."""
    name, equals, _ = text.partition("=")
    if option.field == "env" and not (equals and name.isidentifier()):
        return _ENVIRONMENT
    return option


_POOL = Option(name="--pool", field="pool", metavar="POOL", help="where to run")


def _ours(flag: str, *, pool_positional: bool) -> Option | None:
    name = flag.replace("_", "-") if flag.startswith("--") else flag
    name = _ALIASES.get(name, name)
    if name == "--pool" and not pool_positional:
        return _POOL
    return _BY_NAME.get(name)


def split_script(words: Sequence[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Split ``SCRIPT --options … -- script arguments`` into script, option words and arguments.

    Raises
    ------
    UsageError
        There is no script.
    """
    before, after = list(words), []
    if "--" in before:
        cut = before.index("--")
        before, after = before[:cut], before[cut + 1 :]
    if not before or before[0].startswith("-"):
        raise UsageError(
            "no script was named",
            hint="jupyter aiinfra run SCRIPT --pool NAME --procs 2 -- script arguments",
        )
    return before[0], tuple(before[1:]), tuple(after)


def help_text(usage: str, *, examples: Iterable[str], pool_option: bool = False) -> str:
    """Return the help of a launch line: usage, our options, a word on accelerate's, examples."""
    rows = [(f"{o.name} {o.metavar}".strip(), o.help) for o in OPTIONS]
    if pool_option:
        rows.insert(0, ("--pool POOL", _POOL.help))
    width = max(len(left) for left, _ in rows) + 2
    lines = [f"Usage: {usage}", "", "Options:"]
    lines += [f"  {left:<{width}}{right}" for left, right in rows]
    known = ", ".join(name for name, info in option_table().items() if info.help or info.choices)
    lines += ["", "Options of accelerate launch are passed on unchanged, among them:"]
    lines += textwrap.wrap(known, width=88, initial_indent="  ", subsequent_indent="  ")
    lines += ["", "Examples:", *(f"  {example}" for example in examples)]
    return "\n".join(lines)
