# SPDX-License-Identifier: GPL-2.0-only
"""Whether a machine's processors got their time: those of a guest are threads of the host.

A guest whose threads wait for a processor of the host sees its own stand still, and reports a stall
of RCU, a lockup or a hung task.  That says nothing about its kernel.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 1.0
_WINDOW_S = 90.0
"""How far back is looked: a stall is reported when it has lasted for 20 to 60 seconds."""

_SHARE = 0.2
"""Of the time that passed, what a thread waited at least in a guest that starves."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """What there was until then, in seconds.

    :param waited: by thread, how long it could have run and did not.
    :param stolen: from the host, on all of its processors.
    """

    at: float
    waited: dict[str, float]
    stolen: float


class ProcessorTime:
    """How long the threads of a process waited for a processor, in the last minutes.

    :param proc: where the host's ``proc(5)`` is.
    """

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self._pid, self._proc = pid, proc
        self._samples: deque[_Sample] = deque(maxlen=int(4 * _WINDOW_S / _SAMPLE_S))
        self.sample()

    def sample(self) -> None:
        """Look, unless that was done a moment ago; a process that is gone changes nothing."""
        now = time.monotonic()
        if self._samples and now - self._samples[-1].at < _SAMPLE_S:
            return
        waited = {}
        for file in self._proc.glob(f"{self._pid}/task/*/schedstat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                # Documentation/scheduler/sched-stats.rst: on a processor, waiting for one, turns.
                waited[file.parent.name] = int(file.read_text().split()[1]) / 1e9
        if waited:
            self._samples.append(_Sample(now, waited, self._stolen()))

    def _stolen(self) -> float:
        with contextlib.suppress(OSError, ValueError, IndexError):
            # proc_stat(5): user nice system idle iowait irq softirq steal
            ticks = (self._proc / "stat").read_text().partition("\n")[0].split()[8]
            return int(ticks) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def why_starved(self) -> str | None:
        """Say how the processors did not get their time; ``None`` when they did."""
        self.sample()
        if not self._samples:
            return None
        now = self._samples[-1]
        # The latest that is a window away, so that one look in a long silence counts.
        older = [sample for sample in self._samples if now.at - sample.at >= _WINDOW_S]
        before = older[-1] if older else self._samples[0]
        passed = now.at - before.at
        if passed <= 0:
            return None
        waited = max(s - before.waited.get(thread, 0.0) for thread, s in now.waited.items())
        stolen = (now.stolen - before.stolen) / (os.cpu_count() or 1)
        lost, how = max((waited, "waited for a processor"), (stolen, "were stolen from the host"))
        if lost < _SHARE * passed:
            return None
        return f"{lost:.0f} of the guest's last {passed:.0f} s {how}"
