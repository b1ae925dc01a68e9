"""What pools that are elsewhere can do beyond running jobs: each a type asked with isinstance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jupyter_aiinfra.errors import HostKeyUnknown
from jupyter_aiinfra.model import Finding, Node, Severity

__all__ = ["Checking", "Confirm", "NodeCheck", "Tell"]

Confirm = Callable[[HostKeyUnknown], Awaitable[bool]]
"""Asks a person whether a host's key is the right one."""

Tell = Callable[[str], None]
"""Is told, in a few words, what is being done."""


@dataclass(frozen=True, kw_only=True)
class NodeCheck:
    """What a check found out about one node; ``None`` is what could not be told.

    ``latency_seconds`` is a request's way there and back, ``skew_seconds`` how far the node's clock
    is ahead of ours. ``address`` is by which the other nodes are to reach it, and ``interface``
    that by which it reaches them. ``unreached`` are the nodes whose port it did not reach, and why
    not. ``noise`` is what its login shell prints before it runs a command.
    """

    name: str
    reachable: bool
    latency_seconds: float | None = None
    node: Node | None = None
    skew_seconds: float | None = None
    address: str | None = None
    interface: str | None = None
    unreached: Mapping[str, str] = field(default_factory=dict)
    noise: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Severity:
        """The worst of its findings."""
        known = {each.severity for each in self.findings}
        for severity in (Severity.ERROR, Severity.WARNING):
            if severity in known:
                return severity
        return Severity.OK


@runtime_checkable
class Checking(Protocol):
    """A pool that can look into all that jobs of several nodes need."""

    async def check(self, tell: Tell) -> Sequence[NodeCheck]:
        """Look at every node, those that do not answer too; changes nothing there."""
        ...
