"""One of several processes that share a store: run by ``test_store_processes.py``.

    store_worker.py HOME URL SEED TURNS    ("-" for the URL: SQLite in HOME)

Says ``ready``, waits for a line, opens the store, contends for ``job1`` and prints what it won as
JSON: the version each won compare-and-set was based on, by verb.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

from jupyter_aiinfra.model import Desired, Handle, Job, JobState, Observation
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store

__all__: list[str] = []


def turn(store: Store, job: Job, *, verb: str, name: str) -> bool:
    """Try one change of what was just read; return whether it was made."""
    if verb == "bind":
        return store.bind(job.id, handle=Handle(kind="local", data={"by": name}))
    if verb == "request":
        desired = random.choice(list(Desired))  # noqa: S311
        return store.request(job.id, expected=job.version, desired=desired)
    # Read, change, write: where two could win on one version, an update would be lost.
    before = job.seen or Observation(state=JobState.STARTING, seen_at=0.0)
    seen = replace(before, seen_at=time.time(), results=(*before.results, name))
    if random.random() < 0.2:  # noqa: S311
        seen = replace(seen, state=JobState.RUNNING)
    if seen.state is JobState.PENDING:
        seen = replace(seen, state=JobState.STARTING)
    return store.advance(job.id, expected=job.version, seen=seen)


def main() -> None:
    home, url, seed, turns = sys.argv[1:]
    random.seed(seed)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    store = open_store(Settings(home=Path(home), database_url=None if url == "-" else url))
    won: dict[str, list[int]] = {"bind": [], "request": [], "advance": []}
    for number in range(int(turns)):
        job = store.get_job("job1")
        verb = "bind" if number == 0 else random.choice(["request", "advance"])  # noqa: S311
        if turn(store, job, verb=verb, name=seed):
            won[verb].append(job.version)
    store.close()
    sys.stdout.write(json.dumps(won) + "\n")


if __name__ == "__main__":
    main()
