# SPDX-License-Identifier: GPL-2.0-only
"""What the history tells: runs, one test, figures, what is flaky, what is bad.

Times are in seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.results.results import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A run.

    :param kind: ``run`` or ``bench``.
    :param position: ``None`` where there was none.
    :param inputs: a key of what it was about; empty when nobody may compare it.
    :param tests: how many there were, and *bad* how many were not as they should be.
    """

    id: int
    at: float
    kind: str
    release: str
    commit_id: str
    series: str | None
    position: int | None
    profile: str
    accel: str
    inputs: str
    directory: str
    seconds: float
    tests: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTest:
    """A test in a run.

    :param bad: 1 when it was not as it should be, else 0.
    """

    at: float
    release: str
    profile: str
    position: int | None
    test: str
    outcome: Outcome
    bad: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PastFigure:
    """A figure of a run of the benchmarks."""

    at: float
    release: str
    profile: str
    accel: str
    name: str
    unit: str
    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaky:
    """A test that came to different verdicts on the same inputs.

    :param runs: how often it was run on them, and *bad* how often it was not as it should be.
    """

    test: str
    release: str
    profile: str
    runs: int
    bad: int

    @property
    def rate(self) -> float:
        """The share of runs that were bad, from 0 to 1."""
        return self.bad / self.runs


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSince:
    """A test that is bad in its newest run on a line of kernels (``7.2``) with a series.

    :param release: the kernel of that run.
    :param at: when the first of the bad runs in a row was.
    :param good: when it was good last, ``None`` when it never was.
    """

    test: str
    profile: str
    position: int | None
    release: str
    at: float
    commit: str
    good: float | None
    runs: int
