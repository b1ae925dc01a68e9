"""Questions and news to a person, put in the thread that waits for the engine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection
from typing import Protocol

import click

from jupyter_aiinfra.errors import HostKeyUnknown

__all__ = ["KeyQuestion", "Progress", "ask_in_terminal"]


class _Asks(Protocol):
    def ask(self, question: str) -> bool | None:
        """Ask a person; ``None`` where nobody can answer."""
        ...


class KeyQuestion:
    """Whether a host's key is right: told beforehand, or asked of a person, once a key.

    The engine awaits it in its own thread; `meanwhile` asks in that of who waits for the engine,
    where a kernel and a terminal can be asked.

    Parameters
    ----------
    surface
        Where a person can be asked.
    accepted
        Fingerprints that are right without a question.
    """

    def __init__(self, surface: _Asks, accepted: Collection[str] = ()) -> None:
        self._surface = surface
        self._accepted = [each.strip() for each in accepted]
        self._waiting: Callable[[], None] | None = None

    async def __call__(self, key: HostKeyUnknown) -> bool:
        """Return whether the key is accepted.

        Raises
        ------
        HostKeyUnknown
            There is nobody to ask; its hint names the option that says it.
        """
        if key.fingerprint in self._accepted:
            return True
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool | None] = loop.create_future()

        def put() -> None:
            said = self._surface.ask(_question(key))

            def take() -> None:
                if not answer.done():  # who asked may have been interrupted
                    answer.set_result(said)

            loop.call_soon_threadsafe(take)

        self._waiting = put
        said = await answer
        if said is None:
            key.hint = (
                "compare the fingerprint with what the host's administrator says; if it is the "
                f"same, add --accept-key {key.fingerprint}"
            )
            raise key
        return said

    def meanwhile(self) -> None:
        """Put the question that waits, if there is one."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()


class _Shows(Protocol):
    def progress(self, text: str) -> None:
        """Show one line that the next call replaces."""
        ...


class Progress:
    """The newest word on how far something is: heard in the engine's thread, shown in ours."""

    def __init__(self, surface: _Shows) -> None:
        self._surface = surface
        self._heard = ""
        self._shown = ""

    def hear(self, text: str) -> None:
        """Take in how far it is."""
        self._heard = text

    def tell(self) -> None:
        """Show what is new."""
        heard = self._heard
        if heard != self._shown:
            self._surface.progress(heard)
            self._shown = heard

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            self._surface.progress("")
            self._shown = self._heard = ""


def _question(key: HostKeyUnknown) -> str:
    return (
        f"Nobody has said yet that {key.host} is the right host.\n"
        f"It shows the {key.key_type} key {key.fingerprint}.\n"
        "Trust this key from now on?"
    )


def ask_in_terminal(question: str) -> bool | None:
    """Ask for yes or no in the terminal; ``None`` where standard input is none."""
    if not sys.stdin.isatty():
        return None
    # Not on standard output, which may be a file.
    return click.confirm(question, default=False, err=True)
