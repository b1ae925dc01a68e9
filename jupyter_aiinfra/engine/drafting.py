"""From what is wanted of a schedule to a version of it, checked; nothing is recorded here."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.parameters import form_of
from jupyter_aiinfra.promote.policy import check_policy
from jupyter_aiinfra.promote.triggers import timetable_of
from jupyter_aiinfra.promote.values import read_values, validate
from jupyter_aiinfra.promote.zones import zone_of
from jupyter_aiinfra.schedule import Policy, Trigger, Version, new_schedule_id
from jupyter_aiinfra.store import Store

__all__ = ["Draft", "Drafting", "local_zone", "read_notebook"]

_LOCALTIME: Final = Path("/etc/localtime")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is wanted of a schedule; ``None``: as it was, or as is usual.

    Parameters
    ----------
    parameters
        All values that are given, as JSON has them.
    words
        The same from a command line: read by the types of the notebook's parameters, and put over
        `parameters`.
    options
        How a run runs; opaque here.
    by
        Who wants it; ``None``: the user of this process.
    """

    name: str | None = None
    notebook: Path | None = None
    pool: str | None = None
    timezone: str | None = None
    triggers: tuple[Trigger, ...] | None = None
    policy: Policy | None = None
    parameters: Mapping[str, Any] | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] | None = None
    note: str = ""
    by: str | None = None


class Drafting:
    """Puts versions together.

    Parameters
    ----------
    clock
        The time.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def compose(self, draft: Draft, old: Version | None, *, partial: bool = False) -> Version:
        """Return the version that is wanted, checked, without a snapshot.

        A `partial` draft is still being filled in: that a parameter has to be given is no fault.
        """
        notebook = draft.notebook or (Path(old.notebook) if old else None)
        if notebook is None:
            raise UsageError("a schedule needs a notebook", hint="report.ipynb", option="notebook")
        pool = draft.pool or (old.pool if old else self._only_pool())
        self._store.get_pool(pool)
        form = form_of(await asyncio.to_thread(read_notebook, notebook))
        given = draft.parameters
        if given is None:
            # What was given once, and the notebook no longer has, is let go of.
            known = form["properties"]
            kept = old.parameters if old else {}
            given = {name: value for name, value in kept.items() if name in known}
        version = Version(
            schedule=old.schedule if old else new_schedule_id(),
            number=self.next_number(old.schedule) if old else 1,
            notebook=str(notebook.expanduser().absolute()),
            pool=pool,
            timezone=draft.timezone or (old.timezone if old else local_zone()),
            triggers=(
                old.triggers if old and draft.triggers is None else self._named(draft.triggers)
            ),
            policy=replace(draft.policy or (old.policy if old else Policy())),
            parameters=validate(
                {**form, "required": []} if partial else form,
                {**given, **_read_words(form, draft.words)},
            ),
            form=form,
            options=draft.options if draft.options is not None else (old.options if old else {}),
            created_at=self._clock(),
            created_by=draft.by or getpass.getuser(),
            note=draft.note,
        )
        self._check(version)
        return version

    def _only_pool(self) -> str:
        names = [record.name for record in self._store.list_pools()]
        if len(names) == 1:
            return names[0]
        if not names:
            raise UsageError(
                "a schedule needs a pool, and none is attached yet",
                hint="attach this machine: %pool attach here --kind local",
                option="pool",
            )
        raise UsageError(
            "a schedule needs a pool: which?",
            hint=f"attached are {', '.join(names)}: --pool {names[0]}",
            option="pool",
        )

    def next_number(self, schedule_id: str) -> int:
        """Return the number of the version that comes next."""
        return self._store.schedule_versions(schedule_id)[0].number + 1

    def _named(self, triggers: Sequence[Trigger] | None) -> tuple[Trigger, ...]:
        """Return triggers with the ids of the schedules that they name."""
        # Made anew each: what msgspec has decoded would be written without its defaults.
        return tuple(
            replace(each, schedule=self._store.get_schedule(each.schedule or "").id)
            if each.kind == "after" and each.schedule
            else replace(each)
            for each in triggers or ()
        )

    def _check(self, version: Version) -> None:
        zone_of(version.timezone)
        timetable_of(version)
        check_policy(version.policy, version.timezone)
        for kind, what in (("after", "schedule that it follows"), ("file", "file that it watches")):
            if sum(each.kind == kind for each in version.triggers) > 1:
                raise UsageError(f"a schedule has one {what}", option=kind)
        seen = {version.schedule}
        above = next((each.schedule for each in version.triggers if each.kind == "after"), None)
        while above is not None:
            if above in seen:
                raise UsageError(
                    "schedules that follow each other in a circle never end",
                    hint="let one of them run by the clock",
                    option="after",
                )
            seen.add(above)
            above = self._store.get_schedule(above, removed=True).upstream


def _read_words(form: Mapping[str, Any], words: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what the words of a line stand for; that others are required is asked later."""
    return read_values({**form, "required": []}, words)


def read_notebook(path: Path) -> Mapping[str, Any]:
    """Return a notebook's JSON.

    Raises
    ------
    UsageError
        It is not there, or no notebook; says what is wrong.
    """
    path = path.expanduser()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"there is no notebook {path}", option="notebook") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", option="notebook") from error
    except ValueError as error:
        raise UsageError(
            f"{path} is no notebook: it is not JSON ({error})",
            hint="open it in JupyterLab and save it",
            option="notebook",
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise UsageError(
            f"{path} is no notebook of format 4: it has no list of cells",
            hint="open it in JupyterLab and save it",
            option="notebook",
        )
    return found


def local_zone() -> str:
    """Return the time zone of this machine, by its IANA name; ``UTC`` where that is not known."""
    named = os.environ.get("TZ", "").lstrip(":")
    if not named:
        # A link into the zones' folder: that is how systems keep it.
        _, found, named = str(_LOCALTIME.resolve()).rpartition("zoneinfo/")
        named = named.removeprefix("posix/") if found else ""
    try:
        zone_of(named)
    except UsageError:
        return "UTC"
    return named
