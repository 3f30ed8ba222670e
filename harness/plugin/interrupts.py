# SPDX-License-Identifier: GPL-2.0-only
"""Interrupts of a run: what counts as one, and where one has to wait."""

from __future__ import annotations

import atexit
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from harness.base.errors import ExitCode

_AGAIN_S = 0.05
"""When an interrupt that was lost comes again."""


def take_interrupts(config: pytest.Config) -> None:
    """Let what ends a job in CI end compilers and machines too, as Ctrl-C does.

    An interrupt that comes where Python can raise nothing, such as the callback of a weak
    reference, would be lost: it comes again a moment later (``sys.unraisablehook``).
    """
    for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        if signal.getsignal(ending) is signal.SIG_DFL:
            signal.signal(ending, signal.default_int_handler)
    before = sys.unraisablehook

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            # No thread: it may have come while threading holds its lock.
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        else:
            before(unraisable)

    sys.unraisablehook = again
    config.add_cleanup(lambda: setattr(sys, "unraisablehook", before))


@contextlib.contextmanager
def held(session: pytest.Session) -> Iterator[None]:
    """Let what would end *session* wait until the block has ended; the second one ends the block.

    From then on it changes the exit code, and nothing else: the results are there, and neither
    the rest of pytest nor Python's own end has a place for it. So nothing is given back: for a
    process that ends with its session.
    """
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    taken = [each for each in ending if signal.getsignal(each) is signal.default_int_handler]
    if threading.current_thread() is not threading.main_thread():
        taken = []
    count = 0
    written = False

    def note(_number: int, _frame: object) -> None:
        nonlocal count
        count += 1
        session.exitstatus = int(ExitCode.INTERRUPTED)
        if count > 1 and not written:
            raise KeyboardInterrupt

    def ignore() -> None:
        # Python gives its handlers back while it ends: the signal would then kill it.
        for each in taken:
            signal.signal(each, signal.SIG_IGN)

    for each in taken:
        signal.signal(each, note)
    if taken:
        atexit.register(ignore)
    try:
        yield
    finally:
        written = True
        if count:
            session.exitstatus = int(ExitCode.INTERRUPTED)
