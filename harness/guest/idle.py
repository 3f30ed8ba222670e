# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel holds while nothing runs: it has to come back to that after every test.

The suite says what is counted, as shell commands that print one number each.  Whole classes of
bugs show in that: a reference that nobody gives back keeps an open file, a pinned page, a module.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.base.errors import GuestError

if TYPE_CHECKING:
    from harness.guest.machine import Machine

_PAUSE_S = 0.1


def read_idle(machine: Machine, counts: Mapping[str, str]) -> dict[str, int]:
    """Return what a guest holds, by the names of *counts*.

    :param counts: name -> the shell command that prints the number.
    :raises GuestError: when a command fails or prints something else.
    """
    if not counts:
        return {}
    lines = machine.check(["sh", "-c", "\n".join(counts.values())]).split()
    if len(lines) != len(counts) or not all(line.lstrip("-").isdecimal() for line in lines):
        raise GuestError(f"the counts of what the kernel holds are no numbers: {lines}")
    return dict(zip(counts, map(int, lines), strict=True))


def what_is_left(
    machine: Machine, counts: Mapping[str, str], before: Mapping[str, int]
) -> str | None:
    """Say what a guest holds more than before; ``None`` when it is nothing.

    What is given back a little later, such as the files of a process that ends, is waited for.

    :param before: what :func:`read_idle` returned.
    :raises GuestError: as :func:`read_idle` does.
    """
    end = time.monotonic() + machine.timeouts.idle_s
    while True:
        now = read_idle(machine, counts)
        more = {name: count for name, count in now.items() if count > before[name]}
        if not more:
            return None
        if time.monotonic() > end:
            said = (f"{name}: {count}, {before[name]} before" for name, count in more.items())
            return f"not given back after the test: {'; '.join(said)}"
        time.sleep(_PAUSE_S)
