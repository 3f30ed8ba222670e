# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel has which known bug: a cell for each kernel, and what its tests say of each bug."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.base.features import FeatureSpec
from harness.base.kernel_name import target_named
from harness.base.spec import Target
from harness.base.text import first_line
from harness.results.bugs import Bug, BugResult, BugsResults, KernelRun, State, state_of
from harness.results.facts import FixFacts
from harness.results.records import CellStatus
from harness.results.results import Outcome
from harness.run.cell import Cell, CellResult, reproduce


def series_bugs(features: Sequence[FeatureSpec]) -> tuple[str, ...]:
    """Return the features that the suite's own series brings, and that fix a bug."""
    return tuple(each.name for each in features if each.fixes and each.series)


def bugs_of(features: Sequence[FeatureSpec]) -> tuple[Bug, ...]:
    """Return the bugs that a suite knows, by the release that fixes them."""
    found = [
        Bug(feature=each.name, what=each.fixes, fixed_in=each.fixed_in)
        for each in features
        if each.fixes
    ]
    return tuple(sorted(found, key=lambda bug: [int(n) for n in re.findall(r"\d+", bug.fixed_in)]))


def kernel_cell(
    name: str, like: Target, *, by_series: Sequence[str] = (), cmdline: str = ""
) -> Cell:
    """Return the cell with a kernel's tests that are about bugs.

    :param name: of the kernel, see :mod:`harness.base.kernel_name`.
    :param like: suite, profile and host.
    :param by_series: see :func:`series_bugs`.
    :raises SpecError: when it is no kernel.
    """
    about = ("fails_without", *(f"fails_before(bug={feature!r})" for feature in by_series))
    arguments = ("-m", " or ".join(about))
    return Cell(target=target_named(name, like), pytest_args=arguments, cmdline=cmdline)


def bug_results(
    bugs: Sequence[Bug],
    results: Mapping[str, CellResult],
    profile: str,
    *,
    by_series: Sequence[str] = (),
) -> BugsResults:
    """Return what is known of each bug on each kernel.

    :param results: name of a kernel -> what became of its cell.
    :param by_series: see :func:`series_bugs`.  The tests about these are the cell's others: failing
        of such a bug counts against a series, so their results do not name it.
    """
    return BugsResults(
        profile=profile,
        bugs=tuple(bugs),
        kernels=tuple(_run(name, result) for name, result in results.items()),
        results=tuple(
            _result(bug, name, result, by_series=bug.feature in by_series)
            for bug in bugs
            for name, result in results.items()
        ),
    )


def _run(name: str, result: CellResult) -> KernelRun:
    return KernelRun(
        kernel=name,
        release=result.build.release if result.build is not None else "",
        directory=result.directory,
        seconds=result.seconds,
        cached=result.cached,
        reproduce=reproduce(result.cell),
    )


def _result(bug: Bug, name: str, result: CellResult, *, by_series: bool) -> BugResult:
    about = "" if by_series else bug.feature
    tests = [test for test in result.tests if test.bug == about]
    if result.status is CellStatus.TESTED and result.results is not None:
        state, deciding = state_of(tests, has_fix=_has_fix(bug, result.results.kernel.fixes))
        message = first_line(deciding.message) if deciding is not None else ""
    else:
        tests, state = [], State.NO_VERDICT
        message = f"{result.status.value}: {first_line(result.message)}"
    return BugResult(
        feature=bug.feature,
        kernel=name,
        state=state,
        tests={test.id: test.outcome for test in tests if test.outcome is not Outcome.SKIPPED},
        message=message,
    )


def _has_fix(bug: Bug, fixes: Sequence[FixFacts]) -> bool:
    return any(fix.has for fix in fixes if fix.feature == bug.feature)
