# SPDX-License-Identifier: GPL-2.0-only
"""What nobody expected, and which of it has one cause."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.text import first_line
from harness.results.results import RunResults, Standing, TestResult

_VOLATILE = re.compile(r"0x[0-9a-f]+|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+", re.I)
"""What differs from one kernel to the next although nothing else does: addresses and numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Something about one kernel that nobody expected.

    :param test: the test, ``None`` when it is about the kernel itself.
    :param verdict: whether it says something about the kernel; trouble of the host does not.
    :param log: where to read on, or ``None``.
    :param reproduce: the command line that runs it again; empty when it is not known.
    """

    position: int
    profile: str
    test: str | None
    expected: str
    outcome: str
    message: str
    verdict: bool
    log: Path | None
    reproduce: str


def complaints_about(
    tests: Iterable[TestResult], judge: str, *, position: int, profile: str, directory: Path
) -> Iterator[Complaint]:
    """Yield what nobody expected of tests on one kernel.

    :param judge: by what they are judged, see :class:`harness.results.results.RunResults`.
    :param directory: where the run's files are.
    """
    for test in tests:
        standing = test.standing(judge)
        if standing is Standing.GOOD:
            continue
        yield Complaint(
            position=position,
            profile=profile,
            test=test.id,
            expected=test.expected.value if judge == "expected" else "passed",
            outcome=test.outcome.value,
            message=test.message,
            verdict=standing is Standing.BAD,
            log=directory / test.console if test.console is not None else None,
            reproduce="",
        )


def complaints_of(
    results: RunResults, *, position: int, profile: str, directory: Path
) -> Iterator[Complaint]:
    """Yield what nobody expected of one run: its tests, and that some are missing.

    :param directory: where its files are.
    """
    if not results.complete:
        yield Complaint(
            position=position,
            profile=profile,
            test=None,
            expected="tested",
            outcome="no verdict",
            message="pytest ended before its last test",
            verdict=False,
            log=None,
            reproduce="",
        )
    yield from complaints_about(
        results.tests, results.judge, position=position, profile=profile, directory=directory
    )


# -- causes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """Complaints with one cause, one at least: of one test's cases, or of the kernel itself.

    :param complaints: by position, then profile.
    """

    complaints: tuple[Complaint, ...]

    @property
    def first(self) -> Complaint:
        """The complaint at the lowest position."""
        return self.complaints[0]

    @property
    def cases(self) -> tuple[str, ...]:
        """The ids of the tests, none when it is about the kernel: they differ in parameters."""
        return tuple(dict.fromkeys(item.test for item in self.complaints if item.test))

    @property
    def name(self) -> str:
        """What it is about: a test's id, without parameters when there are several."""
        if not self.cases:
            return "the kernel itself"
        return self.cases[0] if len(self.cases) == 1 else _without_parameters(self.cases[0])

    @property
    def positions(self) -> dict[str, tuple[int, ...]]:
        """The positions that have it, by profile."""
        found: dict[str, set[int]] = {}
        for item in self.complaints:
            found.setdefault(item.profile, set()).add(item.position)
        return {profile: tuple(sorted(positions)) for profile, positions in found.items()}


def cause_of(message: str) -> str:
    """Return what a message says first, without what differs from run to run."""
    # pytest says it of some assertions only.
    line = first_line(message, None).removeprefix("AssertionError: ")
    return _VOLATILE.sub("#", line)


def _without_parameters(test: str) -> str:
    return re.sub(r"\[.*\]", "", test)


def problems_of(complaints: Iterable[Complaint]) -> tuple[Problem, ...]:
    """Return complaints by test and cause: what speaks against the kernel first, by position."""
    found: dict[tuple[str, str, str, str], list[Complaint]] = {}
    for item in complaints:
        test = _without_parameters(item.test or "")
        key = (test, item.expected, cause_of(item.outcome), cause_of(item.message))
        found.setdefault(key, []).append(item)
    problems = [
        Problem(tuple(sorted(own, key=lambda item: (item.position, item.profile))))
        for own in found.values()
    ]
    return tuple(sorted(problems, key=lambda p: (not p.first.verdict, p.first.position)))
