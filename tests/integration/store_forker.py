"""A process that forks while its threads use a store: run by ``test_store_processes.py``.

    store_forker.py HOME URL CHILDREN

Each child writes through the store it inherited, at once; so do two threads of the parent all the
while. Prints as JSON how many events each side believes to have added.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path

from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store

__all__: list[str] = []

PER_CHILD = 5


def child(store: Store) -> None:
    """Use the inherited store; never return."""
    signal.alarm(60)  # a child that hangs is not left behind when its parent is killed
    try:
        for _ in range(PER_CHILD):
            store.add_event("note", "child", {})
            store.events(subject="child")
        store.close()
    except BaseException:  # noqa: BLE001 - whatever it is, the child ends here and says so
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    # That this is dangerous is why it is tested.
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    home, url, children = sys.argv[1:]
    store = open_store(Settings(home=Path(home), database_url=None if url == "-" else url))
    store.version()
    stop = threading.Event()
    added = [0, 0]

    def write(which: int) -> None:
        while not stop.is_set():
            store.add_event("note", "parent", {})
            added[which] += 1

    threads = [threading.Thread(target=write, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    statuses = []
    for _ in range(int(children)):
        pid = os.fork()
        if pid == 0:
            child(store)
        store.add_event("note", "between", {})
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    stop.set()
    for thread in threads:
        thread.join()
    store.close()
    result = {"parent": sum(added), "statuses": statuses, "per_child": PER_CHILD}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
