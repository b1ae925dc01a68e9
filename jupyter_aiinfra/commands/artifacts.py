"""The files that a job has declared as artifacts, brought here and told of."""

from __future__ import annotations

from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.show import bytes_text
from jupyter_aiinfra.model import Job

__all__ = ["bring_artifacts"]

_NAMED_PROBLEMS = 3


def bring_artifacts(session: Session, job: Job) -> str:
    """Bring what a job has left of its artifacts; return what to say of it, or nothing.

    Raises
    ------
    Unreachable
        The pool does not answer; the files stay where they are.
    """
    left = job.seen.artifacts if job.seen else None
    if left is None:
        return ""
    lines = []
    if left.files:
        folder = session.run(session.engine.artifacts(job.id))
        count = f"{left.files} file" + ("" if left.files == 1 else "s")
        lines.append(f"artifacts: {count}, {bytes_text(left.size_bytes)} in {folder}")
    lines += [f"artifacts: {problem}" for problem in left.problems[:_NAMED_PROBLEMS]]
    more = len(left.problems) - _NAMED_PROBLEMS
    if more > 0:
        lines.append(f"artifacts: {more} more could not be had: %jobs show {job.id}")
    return "\n".join(lines)
