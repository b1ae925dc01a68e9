"""What a reconcile found, in lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jupyter_aiinfra.engine import Orphan, Reconciled
from jupyter_aiinfra.pools.abilities import Reclaimed

__all__ = ["leak_lines", "reclaimed_lines", "reconciled_lines"]


def reconciled_lines(name: str, found: Reconciled) -> list[str]:
    """Return a line for each thing that is not as the record has it, and what to do."""
    would = "would be " if found.dry_run else ""
    lines = [
        *(f"{would}bound    {job}: it had reached its pool unrecorded" for job in found.bound),
        *(f"{would}failed   {job}: it never reached its pool" for job in found.failed),
        *(
            f"undecided {job}: its launch was cut short, and not every node answers"
            for job in found.undecided
        ),
        *(f"ghost    {job}: on record, and gone from its nodes" for job in found.ghosts),
        *(
            f"partial  {job}: nothing of it is on {', '.join(nodes)}"
            for job, nodes in (found.partial or {}).items()
        ),
        *(_orphan_line(each) for each in found.found),
        *(f"silent   {node}: {why}" for node, why in (found.silent or {}).items()),
    ]
    if not lines:
        return [f"{name}: the record is true"]
    if any(each.runs and each.nodes for each in found.found):
        lines.append(
            f"an orphan may be of another machine or database of yours: --adopt ID takes one into "
            f"this record, %pool reconcile {name} --reclaim ends them all"
        )
    elif found.leftovers:
        lines.append(f"%pool reconcile {name} --reclaim removes the files of what is over")
    return lines


def _orphan_line(each: Orphan) -> str:
    what = "orphan  " if each.runs else "leftover"
    known = f" ({each.name}, launched" if each.name else ""
    if known:
        known += f" by {each.user}" if each.user else ""
        known += f" from {each.host})" if each.host else " from somewhere)"
    where = f" on {', '.join(each.nodes)}" if each.nodes else ""
    doing = f", {each.processes} processes" if each.processes else ""
    state = "it runs" if each.runs else "it is over"
    return f"{what} {each.job}{known}: {state}{where}{doing}, and {each.why}"


def leak_lines(leaks: Mapping[str, Reconciled]) -> list[str]:
    """Return a line for each pool on which something runs that nobody records."""
    return [
        f"on {name} runs what nobody records: {', '.join(found.orphans)}; %pool reconcile {name}"
        for name, found in leaks.items()
    ]


def reclaimed_lines(done: Sequence[Reclaimed]) -> list[str]:
    """Return a line for each node on which something was ended or removed."""
    lines = []
    for each in done:
        ended = f"{each.ended} processes killed" if each.ended else "no process was left"
        removed = "its run directory removed" if each.removed else "no run directory to remove"
        said = f"NOT reclaimed: {each.problem}" if each.problem else f"{ended}, {removed}"
        lines.append(f"{each.job} on {each.node}: {said}")
    return lines
