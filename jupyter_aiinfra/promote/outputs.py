"""Where the results of a run go: to folders by URL, in the forms that were asked for, for so long.

URLs are those of fsspec: ``file:///data/reports``, ``s3://bucket/reports``, ``gs://…``,
``sftp://host/…``, or a path. Who may write there is known to the machine that finishes the run (its
environment, its configuration files); a URL with a password in it is refused, since it is recorded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jupyter_aiinfra.errors import AiInfraError, UsageError
from jupyter_aiinfra.promote.pdf import browser, printed

__all__ = [
    "FORMS",
    "Kept",
    "NotRead",
    "NotStored",
    "base_name",
    "check_forms",
    "check_target",
    "expired",
    "fetched",
    "pieces",
    "remove",
    "rendered",
    "store",
]

FORMS: Final = ("ipynb", "html", "py", "pdf")
"""The forms that results can be stored in; ``py`` is a script in the notebook's own language.

``pdf`` needs a browser on the machine that finishes the run.
"""

_RENAMED: Final = frozenset(("file", "local", "sftp", "ssh", "smb"))
_PIECE_BYTES: Final = 1 << 20
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_COMMENT: Final[Mapping[str, str]] = {"scala": "//", "javascript": "//", "c++": "//", "sql": "--"}


class NotStored(AiInfraError):
    """Results could not be written, or removed, where they were to be: now, or for good."""

    status = 502


class NotRead(AiInfraError):
    """A result that was stored cannot be read where it was: it is gone, or cannot be reached."""

    status = 404


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is stored of one run: when it ended, how, and where its files are."""

    run: str
    ended_at: float
    failed: bool
    urls: tuple[str, ...]


# --- checked before anything is saved ------------------------------------------------------------


def check_forms(forms: Sequence[str]) -> None:
    """Refuse a form that is not known, or cannot be made on this machine.

    Raises
    ------
    UsageError
        Names it, and those there are, or what is missing.
    """
    for form in forms:
        if form not in FORMS:
            raise UsageError(
                f"results cannot be stored as {form!r}", hint=f"the forms are {', '.join(FORMS)}"
            )
    if "pdf" in forms:
        browser()


def check_target(url: str) -> None:
    """Refuse a target that can never be written to. Asks nobody.

    Raises
    ------
    UsageError
        It has a password in it, or is of a kind that is not known, or whose package is missing.
    """
    if urlsplit(url).password or re.search(r"[?&](sig|token|X-Amz-Signature)=", url):
        raise UsageError(
            "the URL for results has a password or a token in it, and would be recorded",
            hint="leave it out: environment variables and the configuration of the machine tell it",
        )
    protocol, _, rest = url.partition("://")
    if not rest:
        return  # a path
    from fsspec import get_filesystem_class  # noqa: PLC0415 - only those who store need it

    try:
        get_filesystem_class(protocol)
    except ValueError as error:
        raise UsageError(
            f"results cannot be stored at {protocol}://…: {error}",
            hint="file, s3, gs, az and sftp are some that can",
        ) from error
    except ImportError as error:
        raise UsageError(
            f"results cannot be stored at {protocol}://…: a package for it is missing",
            hint=str(error),
        ) from error


# --- forms ---------------------------------------------------------------------------------------


def rendered(notebook: Mapping[str, Any], form: str) -> bytes:
    """Return a notebook in one of the forms. Takes a second for ``html``, some for ``pdf``.

    Not to be called in an event loop.

    Raises
    ------
    UsageError
        The form is not known, or cannot be made here.
    """
    check_forms([form])
    if form == "ipynb":
        return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode(
            "utf-8", "backslashreplace"
        )
    if form == "py":
        return _script(notebook).encode("utf-8", "backslashreplace")
    if form == "pdf":
        return printed(_html(notebook, template="webpdf"))
    return _html(notebook).encode("utf-8", "backslashreplace")


def _html(notebook: Mapping[str, Any], *, template: str = "lab") -> str:
    from nbconvert import HTMLExporter  # noqa: PLC0415
    from nbformat import v4  # noqa: PLC0415 - slow to import, as is the next

    make: Any = HTMLExporter
    read: Any = v4.reads_json  # it joins the lines that texts are kept in
    node = read(json.dumps(notebook))
    text, _ = make(template_name=template).from_notebook_node(node)
    return str(text)


def _language(notebook: Mapping[str, Any]) -> Mapping[str, Any]:
    told = (notebook.get("metadata") or {}).get("language_info")
    return told if isinstance(told, Mapping) else {}


def _script(notebook: Mapping[str, Any]) -> str:
    """Return the cells as a script in the percent format, which editors know cells by."""
    mark = _COMMENT.get(str(_language(notebook).get("name", "python")).lower(), "#")
    parts = []
    for cell in notebook.get("cells", []):
        source = "".join(cell.get("source") or "").rstrip("\n")
        if cell.get("cell_type") == "code":
            lines = [
                f"{mark} {line}" if re.match(r"\s*[%!]", line) else line
                for line in source.split("\n")
            ]
            parts.append("\n".join([f"{mark} %%", *lines]))
        else:
            lines = [f"{mark} {line}".rstrip() for line in source.split("\n")]
            parts.append("\n".join([f"{mark} %% [{cell.get('cell_type')}]", *lines]))
    return "\n\n".join(parts) + "\n"


def base_name(notebook: str, *, moment: float, run: str) -> str:
    """Return what the files of a run are called: always the same, so that they are there once."""
    stem = _UNSAFE.sub("-", Path(notebook).stem).strip("-.")[:60] or "notebook"
    stamp = datetime.fromtimestamp(moment, tz=timezone.utc).strftime("%Y-%m-%dT%H%M%SZ")
    return f"{stem}-{stamp}-{run}"


# --- files ---------------------------------------------------------------------------------------


def store(url: str, files: Mapping[str, bytes]) -> dict[str, str]:
    """Write files by their names into the folder `url`; return where each is. May take its time.

    A file that is there is written anew; each is there as a whole or not at all.

    Raises
    ------
    NotStored
        In one sentence what went wrong, of whatever the far end says.
    """
    try:
        fs, folder = _open(url)
        fs.makedirs(folder, exist_ok=True)
        return {
            name: _write(fs, f"{folder.rstrip('/')}/{name}", data) for name, data in files.items()
        }
    except Exception as error:
        raise _trouble(url, "be stored", error) from error


def remove(urls: Sequence[str]) -> int:
    """Remove files; return how many were there. One that is gone already is none.

    Raises
    ------
    NotStored
        One of them cannot be removed; those before it are.
    """
    count = 0
    for url in urls:
        try:
            fs, path = _open(url)
            if fs.exists(path):
                fs.rm_file(path)
                count += 1
        except Exception as error:  # noqa: PERF203 - each file speaks for itself
            raise _trouble(url, "be removed", error) from error
    return count


def fetched(url: str) -> bytes:
    """Return a file that was stored, whole. May take its time.

    Raises
    ------
    NotRead
        In one sentence what went wrong.
    """
    return b"".join(pieces(url))


def pieces(url: str) -> Generator[bytes, None, None]:
    """Yield a file that was stored, a piece at a time.

    Raises
    ------
    NotRead
        In one sentence what went wrong.
    """
    try:
        fs, path = _open(url)
        with fs.open(path, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield bytes(piece)
    except Exception as error:
        told = str(error).strip().splitlines()
        raise NotRead(
            f"what was stored at {url} cannot be read: {type(error).__name__}"
            + (f": {told[0][:300]}" if told else ""),
            hint="it may have been moved, or lie on another machine",
        ) from error


def _open(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # noqa: PLC0415 - only those who store need it

    fs, path = url_to_fs(str(Path(url).expanduser()) if "://" not in url else url)
    return fs, str(path)


def _write(fs: Any, path: str, data: bytes) -> str:
    kinds = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    if _RENAMED.isdisjoint(kinds):
        fs.pipe_file(path, data)  # an object is there whole, or not at all
    else:
        part = f"{path}.part"
        try:
            fs.pipe_file(part, data)
            fs.mv(part, path)
        except BaseException:
            if fs.exists(part):
                fs.rm_file(part)
            raise
    return str(fs.unstrip_protocol(path))


def _trouble(url: str, what: str, error: Exception) -> NotStored:
    told = str(error).strip().splitlines()
    return NotStored(
        f"results could not {what} at {url}: {type(error).__name__}"
        + (f": {told[0][:300]}" if told else ""),
        hint="they are kept with the job",
    )


# --- retention -----------------------------------------------------------------------------------


def expired(
    kept: Sequence[Kept],
    *,
    count: int | None,
    seconds: float | None,
    keep_failures: bool,
    now: float,
) -> tuple[Kept, ...]:
    """Return the runs whose results are not to be kept any longer, the oldest first; pure.

    Parameters
    ----------
    count
        So many of the newest are kept; ``None``: all.
    seconds
        Those that ended so long ago are not kept; ``None``: however old they are.
    keep_failures
        Failed runs are kept in any case, and are not counted.
    """
    newest = sorted(kept, key=lambda each: each.ended_at, reverse=True)
    counted = [each for each in newest if not (keep_failures and each.failed)]
    gone = [
        each
        for place, each in enumerate(counted)
        if (count is not None and place >= count)
        or (seconds is not None and now - each.ended_at > seconds)
    ]
    return tuple(reversed(gone))
