# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel says of a process group, in ``proc(5)``."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def group_alive(pgid: int, timeout_s: float) -> bool:
    """Wait for the end of a group, and return whether some of it runs still.

    Zombies do not count: whoever adopted them may reap them late, as the first process of many a
    container, or never.

    :param pgid: the group.
    """
    deadline = time.monotonic() + timeout_s
    while any(_group_of(stat) == pgid for stat in Path("/proc").glob("[0-9]*/stat")):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.01)
    return False


def _group_of(stat: Path) -> int | None:
    """Return the group of a process that runs."""
    with contextlib.suppress(OSError):
        state, _, group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
        return None if state in "ZX" else int(group)
    return None
