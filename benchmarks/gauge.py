# SPDX-License-Identifier: GPL-2.0-only
"""Gauges: ways to measure figures, and measuring with many of them in one run.

Gauges that are compared take turns, so that whatever else the host does falls on all of them.
One that fails does not keep the others from going on.
"""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import MEANINGS, RATIOS, Figure
from harness.base.errors import HarnessError, InputError
from harness.base.progress import OnProgress, Progress

Values = Mapping[str, Sequence[float]]
"""What one run measured: figure -> values."""

SLOW = (
    *("luo_vmtest", "luo_vmtest_whole", "selftests"),
    *("one_line_verdict", "matrix", "matrix_cached", "soak_clones", "soak_updates"),
)
"""Figures that take half a minute or more each."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "quick": tuple(name for name in MEANINGS if name not in SLOW),
    "slow": SLOW,
    "soak": ("soak_clones", "soak_updates"),
}
"""Names for several figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A way to measure figures.

    :param figures: their names.
    :param measure: measures once; given an empty directory for logs, which is removed afterwards.
    :param prepare: makes what has to be there before, untimed; given a directory likewise.
    :param runs: how often it measures at most.
    :param alone: whether it has the host for itself, else it takes turns with others.
    :param foreign: whether it is about what may be missing: another tool, tests of a newer kernel.
    """

    figures: tuple[str, ...]
    measure: Callable[[Path], Values]
    prepare: Callable[[Path], object] | None = None
    runs: int = 1000
    alone: bool = False
    foreign: bool = False


def choose(names: Sequence[str]) -> set[str]:
    """Return the figures that *names* (of figures, ratios and groups) ask for; none means all.

    :raises InputError: for a name that means nothing.
    """
    several = dict(GROUPS) | {name: (ratio.slow, ratio.fast) for name, ratio in RATIOS.items()}
    chosen: set[str] = set()
    for name in names or MEANINGS:
        if name not in several and name not in MEANINGS:
            known = ", ".join([*MEANINGS, *several])
            raise InputError(f"there is no figure {name!r}", hint=f"known: {known}")
        chosen.update(several.get(name, (name,)))
    return chosen


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds *work* takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def take(
    gauges: Sequence[Gauge], directory: Path, *, runs: int, progress: OnProgress
) -> list[Figure]:
    """Measure with *gauges*, those that take turns first.

    :param directory: where logs go while something is measured.
    :param runs: how often, where a gauge allows so many.
    """
    return _Taking(directory, runs, progress).take(gauges)


class _Taking:
    def __init__(self, directory: Path, runs: int, progress: OnProgress) -> None:
        self._directory = directory
        self._runs = runs
        self._progress = progress
        self._values: dict[str, list[float]] = {}
        self._errors: dict[str, str] = {}

    def take(self, gauges: Sequence[Gauge]) -> list[Figure]:
        for gauge in gauges:
            self._values.update((name, []) for name in gauge.figures)
        turns = [gauge for gauge in gauges if not gauge.alone]
        for group in (turns, *([gauge] for gauge in gauges if gauge.alone)):
            self._together(group)
        return [
            Figure(name, tuple(self._values[name]), self._errors.get(name))
            for name in MEANINGS
            if name in self._values
        ]

    def _together(self, gauges: Sequence[Gauge]) -> None:
        for gauge in gauges:
            if gauge.prepare is not None:
                self._attempt(gauge, "preparing", gauge.prepare)
        for number in range(self._runs):
            for gauge in gauges:
                most = min(self._runs, gauge.runs)
                if number < most:
                    measure = functools.partial(self._measure, gauge)
                    self._attempt(gauge, f"run {number + 1} of {most}", measure)

    def _measure(self, gauge: Gauge, logs: Path) -> None:
        for name, values in gauge.measure(logs).items():
            self._values[name] += values

    def _attempt(self, gauge: Gauge, what: str, work: Callable[[Path], object]) -> None:
        named = ", ".join(gauge.figures)
        if any(name in self._errors for name in gauge.figures):
            return
        self._progress(Progress(named, what))
        logs = self._directory / gauge.figures[0]
        logs.mkdir(parents=True, exist_ok=True)
        try:
            work(logs)
        except (HarnessError, OSError, AssertionError) as error:
            said = str(error) or type(error).__name__
            self._errors.update(dict.fromkeys(gauge.figures, said))
            self._progress(Progress(named, f"failed: {said}"))
        finally:
            shutil.rmtree(logs, ignore_errors=True)
