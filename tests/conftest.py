"""What holds for every test."""

from __future__ import annotations

import signal

import pytest

# The files that take longest, longest first. What several processes share is over soonest if none
# of these is begun when the others are done; it need not be exact.
_LONGEST = """
    schedule_year ssh_faults examples schedule_deaths budgets packaging_forms serving_gpu
    environments server_openapi ssh_cancel endpoint_local cost cell_survives ssh_training
    ssh_submit_deaths disk_full command_line packaging_replay wheel monthly_report
    schedule_cron notebook_run progress engine_interleavings schedule_minutes store fuzz runs
"""
_TURNS = {f"test_{name}.py": turn for turn, name in enumerate(_LONGEST.split())}


def pytest_configure() -> None:
    """Have interrupts and hang-ups arrive, here and in what the tests start.

    A shell starts what it puts into the background with SIGINT ignored, ``nohup`` ignores SIGHUP,
    and both are inherited; the tests of these signals would then wait for ever.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, and leave the order within each."""
    items.sort(key=lambda item: _TURNS.get(item.path.name, len(_TURNS)))
