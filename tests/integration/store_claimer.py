"""One of several processes that want the same GPUs: run by ``test_store_processes.py``.

    store_claimer.py HOME URL SEED TURNS    ("-" for the URL: SQLite in HOME)

Says ``ready``, waits for a line, then claims queued jobs, some of them shared, and ends what it
has claimed. Prints as JSON how often it won, and every GPU that it found leased against the rules.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from jupyter_aiinfra.model import JobState, Observation, Placement, Submitter
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store

__all__: list[str] = []

GPUS = ("g0", "g1", "g2")


def turn(store: Store, job_id: str, me: str) -> bool:
    """Try to claim one job; whether it was won."""
    job = store.get_job(job_id)
    if job.state is not JobState.QUEUED:
        return False
    gpus = tuple(random.sample(GPUS, job.spec.gpus))
    return store.claim(
        job.id,
        expected=job.version,
        placement=(Placement(node="n", gpus=gpus),),
        shared=job.spec.share,
        submitter=Submitter(host=me),
    )


def doubled(store: Store) -> list[str]:
    """Return the GPUs that are leased twice although not all of the leases are shared."""
    held: dict[str, list[bool]] = {}
    for lease in store.leases():
        held.setdefault(lease.gpu, []).append(lease.shared)
    return [gpu for gpu, shared in held.items() if len(shared) > 1 and not all(shared)]


def main() -> None:
    home, url, seed, turns = sys.argv[1:]
    random.seed(seed)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    store = open_store(Settings(home=Path(home), database_url=None if url == "-" else url))
    won: list[str] = []
    wrong: list[str] = []
    for _ in range(int(turns)):
        ids = [job.id for job in store.list_jobs(states=[JobState.QUEUED])]
        if not ids:
            break
        job_id = random.choice(ids)  # noqa: S311
        if turn(store, job_id, seed):
            won.append(job_id)
            wrong += doubled(store)
            end = Observation(state=JobState.SUCCEEDED, seen_at=1.0, ended_at=1.0)
            store.advance(job_id, expected=store.get_job(job_id).version, seen=end)
    store.close()
    sys.stdout.write(json.dumps({"won": won, "wrong": wrong}) + "\n")


if __name__ == "__main__":
    main()
