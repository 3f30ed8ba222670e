# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel says of processes and their groups, in ``proc(5)``."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def process_state(pid: int, proc: Path = Path("/proc")) -> str | None:
    """Return the letter of a process's state (``proc_pid_stat(5)``); ``None`` when there is none.

    :param proc: where proc(5) is mounted.
    """
    with contextlib.suppress(OSError, IndexError):
        # The state follows the name, which may hold anything.
        text = (proc / str(pid) / "stat").read_text(errors="replace")
        return text.rpartition(")")[2].split()[0]
    return None


def group_alive(pgid: int, timeout_s: float) -> bool:
    """Wait for the end of a group, and return whether some of it runs still.

    Zombies do not count: whoever adopted them may reap them late, as the first process of many a
    container, or never.

    :param pgid: the group.
    """
    deadline = time.monotonic() + timeout_s
    while any(_runs_in(pgid, int(p.name)) for p in Path("/proc").iterdir() if p.name.isdecimal()):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.01)
    return False


def _runs_in(pgid: int, pid: int) -> bool:
    """Return whether a process is of the group and runs."""
    with contextlib.suppress(OSError):
        if os.getpgid(pid) == pgid:
            return process_state(pid) not in ("Z", "X", None)
    return False
