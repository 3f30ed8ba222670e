# SPDX-License-Identifier: GPL-2.0-only
"""How many CPUs this process may use, which on a shared host or in a container are not all."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
"""The control groups of this process: ``ID:CONTROLLERS:PATH`` (cgroups(7))."""


def usable_cpus() -> int:
    """Return how many programs that compute are worth running at once: at least 1.

    These are the CPUs that the process may be scheduled on, and no more than its control groups
    have time for; a part of one counts as one.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas())]))


def _quotas() -> Iterator[float]:
    """Yield how many CPUs' time each control group that this process is in may use."""
    with contextlib.suppress(OSError, ValueError):
        for line in _OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            names = controllers.split(",")
            if controllers and "cpu" not in names:
                continue
            # Hybrid hosts have version 2 below a name of its own, without this controller.
            top = _CGROUPS / (controllers if (_CGROUPS / controllers).is_dir() else "cpu")
            for group in _up(top if controllers else _CGROUPS, path):
                yield from _quota(group)


def _up(top: Path, path: str) -> Iterator[Path]:
    """Yield a control group and all above it; in a container *path* may be the host's."""
    yield top
    parts = [part for part in path.split("/") if part]
    # Outside of what this namespace sees it begins with ".." (cgroup_namespaces(7)).
    if ".." not in parts:
        for count in range(len(parts)):
            yield top.joinpath(*parts[: count + 1])


def _quota(group: Path) -> Iterator[float]:
    """Yield a control group's limit if it has one, in CPUs."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        # Version 2: "max" for none; docs/admin-guide/cgroup-v2.rst of the kernel.
        most, period = (group / "cpu.max").read_text().split()
        yield int(most) / int(period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        # Version 1: -1 for none; docs/scheduler/sched-bwc.rst.
        most = (group / "cpu.cfs_quota_us").read_text()
        if int(most) > 0:
            yield int(most) / int((group / "cpu.cfs_period_us").read_text())
