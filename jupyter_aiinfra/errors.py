"""Every error of ours: one tree, each with an HTTP status and a hint at what to do next.

    AiInfraError                 500
      UsageError                 400   a command, option or line that cannot be understood
        UnknownOption            400
      NotFound                   404
        PoolNotFound             404
        JobNotFound              404
      Conflict                   409
        PoolExists               409
        PoolInUse                409
        BudgetSpent              409   a launch that a budget does not let begin
      CaptureError               422   a name that cannot travel; nothing was started
      PreflightError             412   a launch that cannot work; nothing was started
      PoolError                  502   the pool answered, and said no
        Unreachable              503   the pool did not answer: says nothing about its jobs
          NameNotResolved        503   a host's name has no address
          ConnectionRefused      503   nothing listens there
          ConnectionTimedOut     503   no answer, or a login that did not end
          NoRoute                503   the network does not lead there
          ConnectionLost         503   an open connection broke
        SubmitError              502
        AuthenticationFailed     502   a host let nobody in
          LoginNeeded            502   it wants a password or second factor, which only a person has
        HostKeyUnknown           502   nobody has said yet that this is the right host
        HostKeyChanged           502   a host is not the one it was
        NoRemoteShell            502   a host ran something else than what was asked
        MissingProgram           502   a program of this machine that is not installed
      StorageFull                507
      StoreError                 500
        SchemaTooNew             500
      ResultError                409   results that are not there, or cannot be loaded here
      JobFailed                  500   raised in a cell when its job did not succeed
      MissingExtra               501   an optional dependency is not installed

The number is the HTTP status; a class without one of its own has that of its parent.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from jupyter_aiinfra.model import Finding, ManifestItem

__all__ = [
    "AiInfraError",
    "AuthenticationFailed",
    "BudgetSpent",
    "CaptureError",
    "Conflict",
    "ConnectionLost",
    "ConnectionRefused",
    "ConnectionTimedOut",
    "HostKeyChanged",
    "HostKeyUnknown",
    "JobFailed",
    "JobNotFound",
    "LoginNeeded",
    "MissingExtra",
    "MissingProgram",
    "NameNotResolved",
    "NoRemoteShell",
    "NoRoute",
    "NotFound",
    "PoolError",
    "PoolExists",
    "PoolInUse",
    "PoolNotFound",
    "PreflightError",
    "ResultError",
    "SchemaTooNew",
    "StorageFull",
    "StoreError",
    "SubmitError",
    "UnknownOption",
    "Unreachable",
    "UsageError",
    "did_you_mean",
]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``'did you mean X?'`` for the nearest known word, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


class AiInfraError(Exception):
    """The root. ``str(error)`` says what is wrong; ``error.hint`` says what to do next."""

    status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        """What is wrong, in one or more lines, without the hint."""
        return str(self.args[0])

    def _render_traceback_(self) -> list[str]:
        # IPython shows this instead of a stack of our own frames: a user's mistake is answered
        # with a sentence. The last line is what notebook tools take as the error's value.
        lines = [f"{type(self).__name__}: {self.message}"]
        if self.hint:
            lines.append(f"  {self.hint}")
        return lines


class UsageError(AiInfraError):
    """A command, option or value that cannot be understood.

    ``option`` is the option that it is about, where it is about one.
    """

    status = 400

    def __init__(self, message: str, *, hint: str = "", option: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.option = option


class UnknownOption(UsageError):
    """An option nobody knows. The hint names the nearest one."""

    def __init__(self, option: str, known: Iterable[str], *, otherwise: str = "") -> None:
        near = did_you_mean(option, known)
        super().__init__(
            f"unknown option {option}",
            hint=near or otherwise or "--help lists the options",
            option=option,
        )


class NotFound(AiInfraError):
    """A name that stands for nothing."""

    status = 404


class PoolNotFound(NotFound):
    """No pool of that name is attached."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        near = did_you_mean(name, known)
        attached = f"attached: {', '.join(known)}" if known else "no pool is attached yet"
        hint = near or f"{attached}; attach one: %pool attach {name} --kind local"
        super().__init__(f"no pool named {name!r}", hint=hint)
        self.name = name


class JobNotFound(NotFound):
    """No job has that id (or that beginning of an id)."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id!r}", hint="%jobs lists them")
        self.job_id = job_id


class Conflict(AiInfraError):
    """The request does not fit what is there."""

    status = 409


class PoolExists(Conflict):
    """A pool of that name is attached already."""


class PoolInUse(Conflict):
    """The pool still has jobs that are not over."""


class BudgetSpent(Conflict):
    """A budget is spent, and lets nothing that it counts begin.

    ``asks`` where somebody who says so may let it begin all the same.
    """

    def __init__(self, message: str, *, hint: str = "", asks: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.asks = asks


class CaptureError(AiInfraError):
    """Names that cannot travel to the ranks. Nothing was started."""

    status = 422

    def __init__(self, message: str, items: Sequence[ManifestItem] = (), *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.items = tuple(items)


class PreflightError(AiInfraError):
    """A launch that cannot work. Nothing was started."""

    status = 412

    def __init__(self, message: str, findings: Sequence[Finding] = (), *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.findings = tuple(findings)


class PoolError(AiInfraError):
    """The pool answered, and refused or failed."""

    status = 502


class Unreachable(PoolError):
    """The pool did not answer. This is never evidence about a job."""

    status = 503


class NameNotResolved(Unreachable):
    """The name of a host has no address, now."""


class ConnectionRefused(Unreachable):
    """The host is there, and nothing listens on that port."""


class ConnectionTimedOut(Unreachable):
    """No answer from the host, or a login that did not come to its end."""


class NoRoute(Unreachable):
    """The network does not lead to the host, now."""


class ConnectionLost(Unreachable):
    """A connection that was open broke. What ran over it may still run."""


class AuthenticationFailed(PoolError):
    """The host let nobody in."""


class LoginNeeded(AuthenticationFailed):
    """A password or second factor is wanted that only a person can give, in a terminal.

    ``command`` is the one to run there; the connection that it makes is then used.
    """

    def __init__(self, message: str, *, hint: str = "", command: str = "") -> None:
        super().__init__(message, hint=hint)
        self.command = command


class HostKeyUnknown(PoolError):
    """A host whose key is in no file of known hosts; a person has to say whether it is right.

    Parameters
    ----------
    host
        The host, as it was asked for.
    fingerprint, key_type
        What a person compares: ``SHA256:…`` and, for example, ``ED25519``.
    line
        The line for the file of known hosts: names, type, key.
    """

    def __init__(
        self, message: str, *, host: str, fingerprint: str, key_type: str, line: str, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.host = host
        self.fingerprint = fingerprint
        self.key_type = key_type
        self.line = line


class HostKeyChanged(PoolError):
    """A host shows another key than the known one. It is never used until somebody cleared that."""


class NoRemoteShell(PoolError):
    """The host let us in and then ran something else than what was asked."""


class MissingProgram(PoolError):
    """A program of this machine, needed to reach the pool, is not installed."""


class SubmitError(PoolError):
    """The pool did not take the job; nothing of it is left running."""


class StorageFull(AiInfraError):
    """No room left where something had to be written."""

    status = 507


class StoreError(AiInfraError):
    """The database cannot be used."""


class SchemaTooNew(StoreError):
    """The database was written by a newer version of this package."""


class ResultError(AiInfraError):
    """Results that are not there, or cannot be loaded in this process."""

    status = 409


class JobFailed(AiInfraError):
    """A job that did not succeed, raised where someone waited for it."""

    def __init__(self, message: str, *, job_id: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.job_id = job_id


class MissingExtra(AiInfraError):
    """An optional dependency is needed and not installed."""

    status = 501

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed here",
            hint=f"pip install 'jupyter_aiinfra[{extra}]'",
        )
        self.package = package
        self.extra = extra
