"""The documentation keeps up with the code: what it shows is read by the code that will read it."""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import click
import msgspec
import pytest

from jupyter_aiinfra import errors
from jupyter_aiinfra.cli.main import cli
from jupyter_aiinfra.commands import tree
from jupyter_aiinfra.commands.budgetverbs import budget, idle
from jupyter_aiinfra.commands.costverbs import cost
from jupyter_aiinfra.commands.endpointverbs import endpoint
from jupyter_aiinfra.commands.gpus import gpus
from jupyter_aiinfra.commands.launch_line import OPTIONS, parse_launch, split_script
from jupyter_aiinfra.commands.notifyverbs import notify
from jupyter_aiinfra.commands.scheduleverbs import promote, schedule
from jupyter_aiinfra.pools import KINDS, pool_class
from jupyter_aiinfra.settings import Settings

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted((ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in fence.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(page=page, line=line, language=found[1], text=found[2])


BLOCKS = list(blocks())


def lines_with(*languages: str, start: tuple[str, ...]) -> list[tuple[Block, str]]:
    return [
        (block, line.strip())
        for block in BLOCKS
        if block.language in languages
        for line in block.text.splitlines()
        if line.startswith(start)
    ]


def named(case: object) -> str | None:
    return str(case) if isinstance(case, Block | str) else None


def parsed(command: click.Command, words: list[str], *, name: str) -> None:
    """Read `words` down to the verb, and run nothing."""
    context = command.make_context(name, list(words))
    while isinstance(context.command, click.Group):
        group = context.command
        rest = [*context._protected_args, *context.args]
        verb, found, rest = group.resolve_command(context, rest)
        assert found is not None
        context = found.make_context(verb, rest, parent=context)


# --- what is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "line"), lines_with("text", "python", start=("%%accelerate",)), ids=named
)
def test_a_launch_line_is_understood(block: Block, line: str) -> None:
    if "[OPTIONS]" in line:
        return  # the usage, and no example
    asked = parse_launch(shlex.split(line)[1:])
    assert asked.pool in {"here", "lab"}


MAGICS = (
    "%pool",
    "%jobs",
    "%gpus",
    "%cost",
    "%budget",
    "%idle",
    "%schedule",
    "%promote",
    "%endpoint",
)


@pytest.mark.parametrize(
    ("block", "line"),
    lines_with("text", "python", start=MAGICS),
    ids=named,
)
def test_a_magic_is_understood(block: Block, line: str) -> None:
    name, *words = shlex.split(line)
    commands = {
        "%pool": tree.pool,
        "%jobs": tree.jobs,
        "%gpus": gpus,
        "%cost": cost,
        "%budget": budget,
        "%idle": idle,
        "%schedule": schedule,
        "%promote": promote,
        "%endpoint": endpoint,
    }
    parsed(commands[name], words, name=name)


@pytest.mark.parametrize(
    ("block", "line"),
    lines_with("sh", start=("jupyter aiinfra ", "jupyter-aiinfra ")),
    ids=named,
)
def test_a_command_is_understood(block: Block, line: str) -> None:
    words = shlex.split(line.partition(" >")[0])
    words = words[2:] if words[0] == "jupyter" else words[1:]
    words = [word for word in words if word != "--json"]
    if words[0] == "run":
        _, options, _ = split_script(words[1:])
        assert parse_launch(options, pool_positional=False).pool in {"here", "lab"}
    elif words != ["--version"]:
        parsed(cli, words, name="jupyter-aiinfra")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=named)
def test_python_compiles(block: Block) -> None:
    first, _, rest = block.text.partition("\n")
    source = rest if first.startswith("%%") else block.text
    compile(textwrap.dedent(source), str(block), "exec", flags=ast.PyCF_ONLY_AST)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("json", "toml")], ids=named)
def test_data_is_well_formed(block: Block) -> None:
    if block.language == "json":
        msgspec.json.decode(block.text)
    else:
        names = {field.name for field in dataclasses.fields(Settings)}
        assert names >= msgspec.toml.decode(block.text).keys()


def test_every_block_says_what_it_is() -> None:
    known = {"text", "python", "sh", "json", "toml", "yaml"}
    assert [str(block) for block in BLOCKS if block.language not in known] == []


# --- links and pictures -------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        there = place.exists()
        if not there or (anchor and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


def test_pictures_are_shown_and_of_the_right_size() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert pictures
    for picture in pictures:
        head = picture.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(head[16:20], "big") == 1280, picture.name
        assert picture.stat().st_size < 200_000, picture.name
        assert f"images/{picture.name}" in text, f"{picture.name} is in no page"


def test_every_page_of_the_guide_is_listed() -> None:
    index = (GUIDE / "README.md").read_text(encoding="utf-8")
    assert [
        p.name for p in GUIDE.glob("*.md") if p.name != "README.md" and p.name not in index
    ] == []
    decisions = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    pages = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    assert [page.name for page in pages if page.name not in decisions] == []
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))


# --- what must be mentioned ---------------------------------------------------------------------


def in_code(page: str) -> set[str]:
    """Return the words of a page that stand between backticks or in blocks."""
    text = (GUIDE / page).read_text(encoding="utf-8")
    spans = re.findall(r"`([^`\n]+)`", text) + re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return {word for span in spans for word in re.split(r"[\s,()=]+", span)}


def test_every_launch_option_is_in_the_guide() -> None:
    assert {option.name for option in OPTIONS} - in_code("cell.md") == set()


def verbs(group: click.Group) -> Iterator[tuple[str, click.Parameter | None]]:
    for name, command in group.commands.items():
        yield name, None
        params = command.get_params(click.Context(command))
        yield from ((name, param) for param in params if isinstance(param, click.Option))


@pytest.mark.parametrize(
    ("group", "page"), [(tree.pool, "pools.md"), (tree.jobs, "jobs.md")], ids=["pool", "jobs"]
)
def test_every_verb_and_its_options_are_in_the_guide(group: click.Group, page: str) -> None:
    known = in_code(page)
    for verb, option in verbs(group):
        flags = [verb] if option is None else [f for f in option.opts if f != "-h"]
        missing = [flag for flag in flags if flag not in known and flag != "--help"]
        assert missing == [], f"{page} says nothing of {verb} {missing}"


def test_every_command_is_in_the_guide() -> None:
    assert set(cli.commands) - in_code("command-line.md") == set()


def test_every_kind_of_pool_is_in_the_guide() -> None:
    for kind in KINDS:
        options = dataclasses.fields(pool_class(kind).options_type)
        flags = {f"--{field.name.replace('_', '-')}" for field in options}
        assert {kind, *flags} - in_code("pools.md") == set()


def test_every_setting_is_in_the_guide_with_its_variable_and_default() -> None:
    text = (GUIDE / "settings.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Settings):
        row = re.search(rf"^\| `{field.name}` \| `(\w+)` \| ([^|]*) \|", text, re.MULTILINE)
        assert row, f"no row for {field.name}"
        assert row[1] == f"JUPYTER_AIINFRA_{field.name.upper()}"
        if isinstance(field.default, int | float):
            assert float(row[2]) == field.default


def test_every_error_is_in_the_guide() -> None:
    text = (GUIDE / "troubleshooting.md").read_text(encoding="utf-8")
    ours = {
        name
        for name in errors.__all__
        if isinstance(value := getattr(errors, name), type) and issubclass(value, Exception)
    }
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows == ours


class TestHelp:
    """The examples in the program's own help are examples too."""

    GROUPS: ClassVar = {
        "pool": tree.pool,
        "jobs": tree.jobs,
        "budget": budget,
        "idle": idle,
        "schedule": schedule,
        "promote": promote,
        "notify": notify,
        "endpoint": endpoint,
    }

    @pytest.mark.parametrize("name", list(GROUPS))
    def test_examples_are_understood(self, name: str) -> None:
        group = self.GROUPS[name]
        texts = [group.help or "", *(c.help or "" for c in group.commands.values())]
        found = re.findall(rf"^\s+{name}( .*)?$", "\n".join(texts), re.MULTILINE)
        assert found
        for line in found:
            # What follows several spaces explains the example.
            words = re.split(r"\s{2,}", line)[0]
            parsed(group, shlex.split(words), name=name)
