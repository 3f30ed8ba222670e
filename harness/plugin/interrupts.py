# SPDX-License-Identifier: GPL-2.0-only
"""Interrupts of a run: what counts as one, and where one has to wait."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

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
def held(interrupts: list[int]) -> Iterator[None]:
    """Note in *interrupts* what would end the session in the block; the second one ends it."""

    def note(number: int, _frame: object) -> None:
        interrupts.append(number)
        if len(interrupts) > 1:
            raise KeyboardInterrupt

    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    taken = [each for each in ending if signal.getsignal(each) is signal.default_int_handler]
    if threading.current_thread() is not threading.main_thread():
        taken = []
    for each in taken:
        signal.signal(each, note)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.default_int_handler)
