"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Have interrupts and hang-ups arrive, here and in what the tests start.

    A shell starts what it puts into the background with SIGINT ignored, ``nohup`` ignores SIGHUP,
    and both are inherited; the tests of these signals would then wait for ever.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
