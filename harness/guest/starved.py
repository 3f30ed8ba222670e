# SPDX-License-Identifier: GPL-2.0-only
"""Whether a machine's processors got their time: those of a guest are threads of the host.

A guest whose threads wait for a processor of the host sees its own stand still, and reports a stall
of RCU, a lockup or a hung task.  So does one whose QEMU was stopped (SIGSTOP, a container that was
paused).  That says nothing about its kernel.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.process_group import process_state

_SAMPLE_S = 1.0
_WINDOW_S = 90.0
"""How far back is looked: a stall is reported when it has lasted for 20 to 60 seconds."""

_SHARE = 0.2
"""Of the time that passed, what a thread waited at least in a guest that starves."""

STOPPED_S = 3.0
"""Seconds from which on it may matter to a test that QEMU was stopped."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """What there was until then, in seconds.

    :param waited: by thread, how long it could have run and did not.
    :param stolen: from the host, on all of its processors.
    :param stopped: how long the process was stopped.
    """

    at: float
    waited: dict[str, float]
    stolen: float
    stopped: float


class ProcessorTime:
    """How long the threads of a process waited for a processor, in the last minutes.

    :param proc: where the host's ``proc(5)`` is.
    :ivar stopped_s: for how many seconds it was stopped so far, as far as was looked.
    """

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self._pid, self._proc = pid, proc
        self._samples: deque[_Sample] = deque(maxlen=int(4 * _WINDOW_S / _SAMPLE_S))
        self._sampling = threading.Lock()
        self._ended = threading.Event()
        self.stopped_s = 0.0
        self.sample()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look every second, in the block."""
        thread = threading.Thread(target=self._watch, name="processor-time", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(_SAMPLE_S):
            late = time.monotonic() - last - _SAMPLE_S
            if late > STOPPED_S:
                # We stood still as well: everything here did.
                self.stopped_s += late
            elif self.is_stopped:
                self.stopped_s += late + _SAMPLE_S
            last = time.monotonic()
            self.sample()

    @property
    def is_stopped(self) -> bool:
        """Whether it is stopped now."""
        return process_state(self._pid, self._proc) in ("T", "t")

    def sample(self) -> None:
        """Look, unless that was done a moment ago; a process that is gone changes nothing."""
        with self._sampling:
            self._sample()

    def _sample(self) -> None:
        now = time.monotonic()
        if self._samples and now - self._samples[-1].at < _SAMPLE_S:
            return
        if waited := self._waited():
            self._samples.append(_Sample(now, waited, self._stolen(), self.stopped_s))

    def _waited(self) -> dict[str, float]:
        """Return for how many seconds each of its threads has waited for a processor so far."""
        waited = {}
        with contextlib.suppress(OSError):  # it may end while its threads are listed
            for file in self._proc.glob(f"{self._pid}/task/*/schedstat"):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    # Documentation/scheduler/sched-stats.rst: on a processor, waiting, turns.
                    waited[file.parent.name] = int(file.read_text().split()[1]) / 1e9
        return waited

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
        if (stopped := now.stopped - before.stopped) >= STOPPED_S:
            return why_stopped(stopped)
        waited = max(s - before.waited.get(thread, 0.0) for thread, s in now.waited.items())
        stolen = (now.stolen - before.stolen) / (os.cpu_count() or 1)
        lost, how = max((waited, "waited for a processor"), (stolen, "were stolen from the host"))
        if lost < _SHARE * passed:
            return None
        return f"{lost:.0f} of the guest's last {passed:.0f} s {how}"


def why_stopped(seconds: float) -> str | None:
    """Say that QEMU was stopped for so many seconds; ``None`` when that can matter to nobody."""
    return f"QEMU was stopped for {seconds:.0f} s" if seconds >= STOPPED_S else None
