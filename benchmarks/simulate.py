# SPDX-License-Identifier: GPL-2.0-only
"""A matrix on a cluster of any size, simulated: how long it takes, and what it waits for.

Jobs go to workers as Dask gives them: as soon as they can be done, to the one that will be free
first.  Times are seconds of the simulation's own clock.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.crowd import GUESTS, Costs

ASKING_CPUS = 2
"""Processors of the machine that asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Matrices that are run at once, of different series on the same base.

    :param cells_s: what the tests of each position take.
    :param series: how many series there are.
    :param build_s: a kernel where the object tree has been built.
    :param first_build_s: the first one of each worker.
    """

    cells_s: tuple[float, ...]
    series: int
    build_s: float
    first_build_s: float

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.series * len(self.cells_s)

    @property
    def kernels(self) -> int:
        """How many there are: position 0 is the same in all series."""
        return self.series * (len(self.cells_s) - 1) + 1

    def kernel(self, cell: int) -> tuple[int, int]:
        """Return the kernel of a cell."""
        series, position = divmod(cell, len(self.cells_s))
        return (series if position else 0, position)

    def needed(self, cell: int) -> set[tuple[int, int]]:
        """Return the kernels that the tests of a cell go between, its own among them."""
        return {self.kernel(cell), (0, 0), (cell // len(self.cells_s), len(self.cells_s) - 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How long it took.

    :param bounds_s: below which it cannot come, by what is in the way.
    """

    workers: int
    seconds: float
    bounds_s: dict[str, float]

    @property
    def limit(self) -> str:
        """What is in the way most."""
        return max(self.bounds_s, key=self.bounds_s.__getitem__)


class _Places:
    """Places where one job at a time is done, the one that is free first goes first."""

    def __init__(self, count: int, each: int) -> None:
        self._free = [(0.0, place, worker) for place in range(each) for worker in range(count)]

    def take(self, ready: float, seconds: Callable[[int], float]) -> float:
        """Do a job; return when it is done.  It is asked what it takes on a worker."""
        free, place, worker = heapq.heappop(self._free)
        end = max(ready, free) + seconds(worker)
        heapq.heappush(self._free, (end, place, worker))
        return end


def simulate(work: Work, workers: int, costs: Costs) -> Outcome:
    """Run all cells, in their order, as many at once as ``harness matrix --cluster`` has."""
    asking, scheduler = _Places(1, ASKING_CPUS), _Places(1, 1)
    builds, guests = _Places(workers, 1), _Places(workers, GUESTS)
    built: dict[tuple[int, int], float] = {}
    warm: set[int] = set()
    slowed = 1.0 / max(0.01, 1.0 - costs.idle - costs.look_s)

    def build_s(worker: int) -> float:
        first = worker not in warm
        warm.add(worker)
        return work.first_build_s if first else work.build_s

    # What is ready first is done first: events are (time, order, what to do then).
    events: list[tuple[float, int, Callable[[float], None]]] = []
    count = 0

    def at(when: float, what: Callable[[float], None]) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (when, count, what))

    left = list(range(work.cells))[::-1]
    ended = 0.0

    def begin(now: float) -> None:
        if left:
            cell = left.pop()
            at(asking.take(now, lambda _: costs.prepare_s), lambda when: ask(cell, when))

    def ask(cell: int, now: float) -> None:
        for kernel in sorted(
            work.needed(cell) - built.keys(), key=lambda k: k != work.kernel(cell)
        ):
            sent = scheduler.take(now, lambda _: costs.scheduler_s * slowed / 2)
            built[kernel] = builds.take(sent, build_s)
        ready = max(built[kernel] for kernel in work.needed(cell))
        at(ready, lambda when: test(cell, when))

    def test(cell: int, now: float) -> None:
        seconds = work.cells_s[cell % len(work.cells_s)]
        at(guests.take(now, lambda _: seconds), collect)

    def collect(now: float) -> None:
        handed = scheduler.take(now, lambda _: costs.scheduler_s * slowed / 2)
        at(asking.take(handed, lambda _: costs.collect_s), end)

    def end(now: float) -> None:
        nonlocal ended
        ended = max(ended, now)
        begin(now)

    for _ in range(workers * GUESTS + 1):
        begin(0.0)
    while events:
        now, _, what = heapq.heappop(events)
        what(now)
    return Outcome(workers=workers, seconds=ended, bounds_s=_bounds(work, workers, costs, slowed))


def _bounds(work: Work, workers: int, costs: Costs, slowed: float) -> dict[str, float]:
    tests = sum(work.cells_s) * work.series
    longest = max(work.cells_s)
    builders = min(workers, work.kernels)
    all_builds = builders * work.first_build_s + (work.kernels - builders) * work.build_s
    # One after the other: asking, a first build, the longest cell, its results.
    chain = costs.prepare_s + work.first_build_s + longest + costs.collect_s
    return {
        "tests": tests / (workers * GUESTS),
        "builds": all_builds / workers,
        "one cell: its build and its tests": chain,
        "who asks": work.cells * (costs.prepare_s + costs.collect_s) / ASKING_CPUS,
        "scheduler": (work.cells + work.kernels) * costs.scheduler_s / 2 * slowed,
    }


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the rows of a Markdown table."""
    alone = outcomes[0]
    rows = [
        "| workers | makespan | speed-up | efficiency | what is in the way |",
        "| ---: | ---: | ---: | ---: | --- |",
    ]
    for each in outcomes:
        speed = alone.seconds * alone.workers / each.seconds
        rows.append(
            f"| {each.workers} | {each.seconds:,.0f} s | {speed:.1f} | {speed / each.workers:.0%} "
            f"| {each.limit} ({each.bounds_s[each.limit]:,.0f} s) |"
        )
    return rows


def stops(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the first that twice as many workers make less than a tenth faster."""
    for each, twice in itertools.pairwise(outcomes):
        if twice.seconds > 0.9 * each.seconds:
            return each
    return outcomes[-1]
