"""Syntax: a cell's text as a tree, or an error that shows the line before anything starts."""

from __future__ import annotations

import ast
import re
import warnings

from jupyter_aiinfra.errors import CaptureError

__all__ = ["parse"]

_MAGIC = re.compile(
    r"(?P<indent>\s*)(?:[\w.,* \[\]'\"]+=\s*)?"  # perhaps assigned: files = !ls
    r"(?P<mark>%%|%|!!|!|\?\??)\s*(?P<word>[A-Za-z_~./]\S*)"
)
_HELP = re.compile(r"^(?P<indent>\s*)%{0,2}[A-Za-z_][\w.*]*\?\??\s*$")

_INSTEAD = {
    "pip": "install it where the pool runs, or in a cell of its own before this one",
    "conda": "install it where the pool runs, or in a cell of its own before this one",
    "time": "use time.perf_counter() in the cell",
    "timeit": "use timeit.timeit() in the cell",
    "env": "set variables of the ranks with --env NAME=VALUE",
    "cd": "use os.chdir() in the cell",
}


def parse(source: str, *, what: str = "the cell") -> ast.Module:
    """Return the tree of `source`, a script as each rank will run it.

    Raises
    ------
    CaptureError
        It does not compile, or holds IPython's own syntax; shows the lines.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
            # Finds more than the parser: `return` and `await` outside a function, say.
            compile(source, "<cell>", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise _error(source, error, what) from None
    except ValueError as error:
        raise CaptureError(f"{what} is not Python: {error}") from None
    return tree


def _error(source: str, error: SyntaxError, what: str) -> CaptureError:
    foreign = _ipython_lines(source)
    if foreign:
        lines = [f"line {number}: {text}" for number, text, _ in foreign]
        return CaptureError(
            f"{what} runs as a plain Python script on the ranks, where IPython's commands do not "
            "work:\n  " + "\n  ".join(lines),
            hint="; ".join(dict.fromkeys(instead for _, _, instead in foreign)),
        )
    message = f"{what} has a syntax error in line {error.lineno}: {error.msg}"
    hint = ""
    if "outside function" in str(error.msg) and "await" in str(error.msg):
        hint = "put it in an async function and call asyncio.run() on it"
    lines = source.splitlines()
    if error.lineno and error.lineno <= len(lines):
        line = lines[error.lineno - 1]
        text = line.lstrip()
        shift = len(line) - len(text)
        caret = " " * max((error.offset or 1) - 1 - shift, 0) + "^"
        message += f"\n  {text}\n  {caret}"
    return CaptureError(message, hint=hint)


def _ipython_lines(source: str) -> list[tuple[int, str, str]]:
    """Return the lines that are IPython's, each with its number and what to do instead.

    Only lines that Python stumbles on: a line of Python, or of a text, may begin with ``%`` too.
    """
    lines = source.splitlines()
    found: list[tuple[int, str, str]] = []
    while True:
        number = _error_line("\n".join(lines))
        if number is None or not 0 < number <= len(lines):
            return found
        line = lines[number - 1]
        match = _MAGIC.match(line) or _HELP.match(line)
        if match is None:
            return found
        found.append((number, line.strip(), _instead(match)))
        lines[number - 1] = match["indent"] + "pass"


def _error_line(source: str) -> int | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except SyntaxError as error:
        return error.lineno
    return None


def _instead(match: re.Match[str]) -> str:
    groups = match.groupdict()
    if "word" not in groups:
        return "leave out the question mark, or ask in a cell of its own"
    known = _INSTEAD.get(groups["word"])
    if known:
        return known
    if groups["mark"].startswith("!"):
        return "use subprocess.run() in the cell, or run it in a cell of its own before this one"
    return "run it in a cell of its own before this one"
