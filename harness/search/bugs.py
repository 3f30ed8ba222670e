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

ABOUT_BUGS = ("-m", "fails_without")
"""What tells pytest which tests are about known bugs."""


def bugs_of(features: Sequence[FeatureSpec]) -> tuple[Bug, ...]:
    """Return the bugs that a suite knows, by the release that fixes them."""
    found = [
        Bug(feature=each.name, what=each.fixes, fixed_in=each.fixed_in)
        for each in features
        if each.fixes
    ]
    return tuple(sorted(found, key=lambda bug: [int(n) for n in re.findall(r"\d+", bug.fixed_in)]))


def kernel_cell(name: str, like: Target, *, cmdline: str = "") -> Cell:
    """Return the cell with a kernel's tests that are about bugs.

    :param name: of the kernel, see :mod:`harness.base.kernel_name`.
    :param like: suite, profile and host.
    :raises SpecError: when it is no kernel.
    """
    return Cell(target=target_named(name, like), pytest_args=ABOUT_BUGS, cmdline=cmdline)


def bug_results(
    bugs: Sequence[Bug], results: Mapping[str, CellResult], profile: str
) -> BugsResults:
    """Return what is known of each bug on each kernel.

    :param results: name of a kernel -> what became of its cell.
    """
    return BugsResults(
        profile=profile,
        bugs=tuple(bugs),
        kernels=tuple(_run(name, result) for name, result in results.items()),
        results=tuple(
            _result(bug, name, result) for bug in bugs for name, result in results.items()
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


def _result(bug: Bug, name: str, result: CellResult) -> BugResult:
    tests = [test for test in result.tests if test.bug == bug.feature]
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
